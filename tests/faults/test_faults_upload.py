"""Faults of an upload: what a write meets. What is uncertain is looked up, never guessed; nothing is left behind."""

from __future__ import annotations

import threading

import pytest
from fault_kit import LARGE, OLD, PART, ROUTES, SMALL, Bench, new_bucket, prepare

import crossdock as xd
from crossdock.testing import Rule

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
ALWAYS = pytest.mark.parametrize("first", [1, None], ids=["once", "always"])
OVERWRITE = pytest.mark.parametrize("overwrite", [True, False], ids=["overwrite", "create"])
WRITES = ("object.insert", "part.put")
BLOCK = 2**18


def write_of(size):
    """The request that carries payload."""
    return "part.put" if size == LARGE else "object.insert"


def cell(bench, size, first=None):
    often = "" if first is None else " once"
    return f"{bench.route} {'large' if size == LARGE else 'small'}{often}"


def anew(size, times):
    """A whole object is read and sent anew, so often."""
    return dict.fromkeys(
        ("source object.get", "sink part.put", "sink object.insert"), times * (-(-size // PART) + 1)
    )


@pytest.fixture(params=[route for route in ROUTES if route != "gcs-xml"])
def putting(request, servers):
    """A sink whose small objects take the route under test: GCS's are put over JSON whatever the key."""
    kind, key = ROUTES[request.param]
    bench = Bench(
        source=new_bucket(servers["gcs" if kind == "s3" else "s3"]),
        sink=new_bucket(servers[kind]),
        key=key,
        route=request.param,
    )
    bench.sink.put("first", b"S3's obstore route is taken once the server is known")
    bench.sink.delete("first")
    return bench


@OVERWRITE
@pytest.mark.fault("lost-ack-put")
def test_the_answer_to_a_put_is_lost(putting, overwrite, record):
    """The object is there and nobody said so: found by its digest, not sent again."""
    old = OLD if overwrite else None
    body = prepare(putting, old=old)
    putting.sink.wrong(operation="object.insert", first=1, lose_ack=True)

    outcome = putting.copy(body, old=old, overwrite=overwrite)

    assert outcome.requests["sink object.insert"] == 1
    record("lost-ack-put", cell(putting, SMALL), outcome.ending)


@OVERWRITE
@pytest.mark.parametrize("operation", ["upload.complete", "object.compose"])
@pytest.mark.fault("lost-ack-complete")
def test_the_answer_to_a_completion_is_lost(writing, operation, overwrite, record):
    """GCS completes under a temporary name and publishes by a compose: either answer may be lost."""
    if operation == "object.compose" and writing.route == "s3":
        operation = (
            "upload.begin"  # the third answer that can be lost there; the upload it began is not known
        )
    old = OLD if overwrite else None
    body = prepare(writing, LARGE, old=old)
    writing.sink.wrong(operation=operation, first=1, lose_ack=True)

    outcome = writing.copy(body, old=old, overwrite=overwrite, leaves_nothing=operation != "upload.begin")

    record("lost-ack-complete", cell(writing, LARGE), outcome.ending)


@pytest.mark.parametrize("skip", [0, 2], ids=["first", "last"])
@pytest.mark.fault("lost-ack-part")
def test_the_answer_to_a_part_is_lost(writing, skip, record):
    """A part sent again replaces itself."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="part.put", skip=skip, first=1, lose_ack=True)

    outcome = writing.copy(body)

    record("lost-ack-part", cell(writing, LARGE), outcome.ending)


@SIZES
@OVERWRITE
@pytest.mark.fault("twice")
def test_every_write_is_delivered_twice(writing, size, overwrite, record):
    """The second delivery's answer is the one that is seen."""
    old = OLD if overwrite else None
    body = prepare(writing, size, old=old)
    # An upload that is begun twice is another matter: the first one's name is never heard.
    operations = [write_of(size)]
    if size == LARGE:
        operations += ["upload.complete"] if writing.route == "s3" else ["upload.complete", "object.compose"]
    for operation in operations:
        writing.sink.wrong(operation=operation, twice=True)

    outcome = writing.copy(body, old=old, others=[body], overwrite=overwrite)

    record("twice", f"{cell(writing, size)} {'overwrite' if overwrite else 'create'}", outcome.ending)


@SIZES
@ALWAYS
@pytest.mark.fault("upload-bit-flip")
def test_a_bit_flips_on_the_way_there(writing, size, first, record):
    """Refused by the digest sent along: sent again, then loud."""
    body = prepare(writing, size)
    writing.sink.wrong(operation=write_of(size), first=first, flip_upload_bit=500_009)

    outcome = writing.copy(body, resends=anew(size, 2))

    record("upload-bit-flip", cell(writing, size, first), outcome.ending)


@SIZES
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.fault("upload-cut")
def test_the_request_is_cut_at_the_first_second_middle_and_last_byte(writing, size, how, record):
    body = prepare(writing, size)
    shortest = size if size == SMALL else size % PART
    for number, at in enumerate((0, 1, shortest // 2, -1)):
        writing.sink.wrong(
            operation=write_of(size),
            skip=number,
            first=1,
            cut_upload_at=at,
            cut_with=how,
            name=f"cut at {at}",
        )

    outcome = writing.copy(body)

    record("upload-cut", cell(writing, size), outcome.ending)


LAX = (
    "content-md5",
    "x-amz-checksum-*",
    "x-amz-sdk-checksum-algorithm",
    "x-goog-hash",
    "x-amz-mp-object-size",
)


@ALWAYS
@pytest.mark.fault("lax-truncation")
def test_a_lax_server_takes_half_an_object_for_the_whole(servers, first, record):
    """In one request it is visible before anybody can know: found by the ETag, and removed.

    Not on GCS: there the digest is inside the body of the one request, and half of it is no request.
    """
    bench = Bench(source=new_bucket(servers["gcs"]), sink=new_bucket(servers["s3"]), route="s3")
    bench.sink.wrong(operation="object.insert", hide_headers=LAX, name="lax")
    body = prepare(bench)  # also tells the store that this server confirms no checksum
    bench.sink.wrong(operation="object.insert", first=first, truncate_upload_at=-7, name="half")

    outcome = bench.copy(body, others=[None, body[:-7]], resends=anew(SMALL, 2))

    assert bench.sink.held("k") != body[:-7]
    record("lax-truncation", cell(bench, SMALL, first), outcome.ending)


@ALWAYS
@pytest.mark.fault("lax-truncation")
def test_a_lax_server_takes_half_a_part_for_the_whole(writing, first, record):
    """The digests sent along are ignored: what the server says it holds is compared all the same."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="part.put", hide_headers=LAX, name="lax")
    if writing.route == "s3" and first is not None:
        writing.sink.wrong(operation="upload.complete", hide_headers=LAX, name="lax at the end")
    # The last part: any other one would be too short for a completion.
    writing.sink.wrong(
        operation="part.put", path="partNumber=3", first=first, truncate_upload_at=-7, name="half"
    )

    outcome = writing.copy(body, resends=anew(LARGE, 2))

    record("lax-truncation", cell(writing, LARGE, first), outcome.ending)


ERROR = "<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@ALWAYS
@pytest.mark.parametrize("is_done", [True, False], ids=["done", "undone"])
@pytest.mark.fault("200-with-error")
def test_a_completion_answered_200_with_an_error_inside(writing, is_done, first, record):
    """S3 documents it: the status is sent before the work is done. Neither a success nor a failure until looked at."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="upload.complete", first=first, status=200, body=ERROR, lose_ack=is_done)

    outcome = writing.copy(body, leaves_nothing=first == 1)

    record(
        "200-with-error", f"{cell(writing, LARGE, first)} {'done' if is_done else 'undone'}", outcome.ending
    )


@ALWAYS
@pytest.mark.fault("409-on-complete")
def test_a_completion_answered_409(writing, first, record):
    """Another write of this key went on at the same time."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="upload.complete", first=first, status=409)

    outcome = writing.copy(body, leaves_nothing=False)

    record("409-on-complete", cell(writing, LARGE, first), outcome.ending)


@pytest.mark.parametrize("patience_s", [5.0, 0.4], ids=["patient", "hasty"])
@pytest.mark.fault("slow-complete")
def test_a_completion_takes_long(writing, patience_s, record):
    """Within the timeout it is waited for; beyond it the outcome is looked up, and the late one does no harm."""
    body = prepare(writing, LARGE)
    writing.hasty(patience_s)
    writing.sink.wrong(
        operation="upload.complete", first=1, act=lambda: threading.Event().wait(1.0), name="slow"
    )

    outcome = writing.copy(body, leaves_nothing=patience_s == 5.0)

    record("slow-complete", cell(writing, LARGE), outcome.ending)


@SIZES
@pytest.mark.fault("gcs-308")
@pytest.mark.fault("session-gone")
@pytest.mark.fault("lost-ack-final-chunk")
def test_no_resumable_session_is_ever_opened(servers, size, record):
    """So none of its faults can be met: known and unknown lengths, once with parts that fail."""
    bench = Bench(source=new_bucket(servers["s3"]), sink=new_bucket(servers["gcs"]), route="gcs")
    body = prepare(bench, size)
    for operation in ("part.put", "object.insert"):
        if operation == write_of(size):
            bench.sink.wrong(operation=operation, first=1, lose_ack=True)
    sessions = bench.sink.server.faults.add(Rule(path="uploadType=resumable|upload_id=", status=500))

    outcome = bench.copy(body, unfired=[sessions])
    xd.sink(bench.sink.url, **bench.sink.options, part_size_bytes=PART)(
        (body[at : at + PART] for at in range(0, size, PART)), key="streamed"
    )

    assert outcome.ending == "exact"
    assert bench.sink.held("streamed") == body
    assert bench.sink.server.faults.fired[sessions] == 0
    for fault in ("gcs-308", "session-gone", "lost-ack-final-chunk"):
        record(fault, cell(bench, size), "no session")


@pytest.mark.fault("slow-sink")
def test_a_sink_that_takes_the_body_slowly(writing, record):
    """One request of 11 MB at 8 MB/s: longer than the timeout in total, and some byte moves all the time."""
    body = prepare(writing, LARGE)
    writing.hasty(1.0)
    writing.transfer["part_size_bytes"] = 16 * 2**20
    writing.sink.wrong(operation="object.insert", upload_rate_bytes_per_s=8e6, name="slow")

    outcome = writing.copy(body)

    record("slow-sink", f"{writing.route} one request", outcome.ending)


@pytest.mark.fault("slow-sink")
def test_a_stream_whose_source_stays_open_while_the_sink_is_slow(writing, record):
    """A transform reads one answer from end to end; the sink holds it up for longer than the source's timeout."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="part.put", delay_s=0.5, name="slow")
    source = xd.source(writing.source.url, **writing.source.options, no_progress_timeout_s=0.3)
    sink = xd.sink(
        writing.sink.url,
        **writing.sink.options,
        part_size_bytes=PART,
        part_concurrency=1,
        max_in_flight_bytes=PART,
    )
    pair = xd.CombinedTask(
        source.bind(writing.key),
        sink.bind(key=writing.key),
        stitch_function=lambda stream: (bytes(c) for c in stream),
    )

    receipt = pair()

    assert (receipt.method, receipt.parts) == ("stream", 3)
    assert writing.sink.held(writing.key) == body
    assert writing.sink.server.faults.fired["slow"] == 3
    record("slow-sink", f"{writing.route} stream", "exact")
