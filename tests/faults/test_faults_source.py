"""Faults of the source: what a read meets. The object arrives exactly, or the copy is loud and the destination as before."""

from __future__ import annotations

import gzip
import urllib.request

import pytest
from fault_kit import LARGE, OLD, PART, SMALL, body_of, prepare

from crossdock.model import Metadata
from crossdock.testing import Rule

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
ALWAYS = pytest.mark.parametrize("first", [1, None], ids=["once", "always"])


def reads(size):
    """The reads that deliver: of a large object those of ranges, not the one that only opened it."""
    return {"operation": "object.get", "header": "^range: " if size == LARGE else ""}


def cell(bench, size, first=None):
    often = "" if first is None else " once"
    return f"{bench.route} {'large' if size == LARGE else 'small'}{often}"


@SIZES
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("fin", marks=pytest.mark.fault("cut-fin")),
        pytest.param("rst", marks=pytest.mark.fault("cut-rst")),
    ],
)
def test_answers_cut_at_the_first_second_middle_and_last_byte(reading, size, how, record):
    """One read after the other is cut; each goes on or is asked for again, and the object arrives."""
    body = prepare(reading, size)
    shortest = size if size == SMALL else size % PART  # so that every cut is within whatever part it meets
    for number, at in enumerate((0, 1, shortest // 2, -1)):
        reading.source.wrong(
            **reads(size), skip=number, first=1, cut_at=at, cut_with=how, name=f"cut at {at}"
        )

    outcome = reading.copy(body)

    record(f"cut-{how}", cell(reading, size), outcome.ending)


@SIZES
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("fin", marks=pytest.mark.fault("cut-fin")),
        pytest.param("rst", marks=pytest.mark.fault("cut-rst")),
    ],
)
def test_every_answer_is_cut(reading, size, how, record):
    """No attempt gets further than the one before: loud after a bounded number of them."""
    body = prepare(reading, size)
    reading.source.wrong(**reads(size), cut_at=1, cut_with=how)

    outcome = reading.copy(body)

    record(f"cut-{how}", f"{cell(reading, size)} always", outcome.ending)


@SIZES
@ALWAYS
@pytest.mark.fault("no-content-length")
def test_an_answer_without_content_length(reading, size, first, record):
    """Its end cannot be told from a cut: never taken for the whole on trust."""
    body = prepare(reading, size)
    reading.source.wrong(**reads(size), first=first, no_length=True)

    outcome = reading.copy(body)

    record("no-content-length", cell(reading, size, first), outcome.ending)


@ALWAYS
@pytest.mark.fault("range-ignored")
def test_a_range_answered_with_the_whole_object(reading, first, record):
    """The bytes before the range are not taken for those of the range."""
    body = prepare(reading, LARGE)
    reading.source.wrong(**reads(LARGE), first=first, ignore_range=True)

    outcome = reading.copy(body)

    record("range-ignored", cell(reading, LARGE, first), outcome.ending)


@ALWAYS
@pytest.mark.parametrize(
    "said", ["bytes 7-5242886/11534339", "bytes 0-5242879/5242880", ""], ids=["shifted", "other", "none"]
)
@pytest.mark.fault("wrong-content-range")
def test_a_range_that_says_it_is_another_one(reading, said, first, record):
    """What the answer says of itself is compared with what was asked for."""
    body = prepare(reading, LARGE)
    reading.source.wrong(**reads(LARGE), skip=1, first=first, answer_headers=(("Content-Range", said),))

    outcome = reading.copy(body)

    record("wrong-content-range", cell(reading, LARGE, first), outcome.ending)


@SIZES
@ALWAYS
@pytest.mark.fault("source-bit-flip")
def test_a_bit_flips_on_the_way_here(reading, size, first, record):
    """Caught by the digest the source publishes: read again, then loud."""
    body = prepare(reading, size)
    reading.source.wrong(**reads(size), first=first, flip_bit=80_021)

    outcome = reading.copy(body, resends=again(size, 2))

    record("source-bit-flip", cell(reading, size, first), outcome.ending)


def again(size, times):
    """A whole object is read and sent anew, so often."""
    parts = -(-size // PART)
    return dict.fromkeys(("source object.get", "sink part.put", "sink object.insert"), times * (parts + 1))


@SIZES
@pytest.mark.fault("stall-headers")
def test_silence_before_the_headers(reading, size, record):
    """No byte for longer than the timeout: asked for again."""
    body = prepare(reading, size)
    reading.hasty(0.3)
    reading.source.wrong(**reads(size), first=1, black_hole=True)

    outcome = reading.copy(body)

    record("stall-headers", cell(reading, size), outcome.ending)


@SIZES
@pytest.mark.fault("stall-body")
def test_silence_within_the_body(reading, size, record):
    """Half a body, then no byte: what is missing is asked for again."""
    body = prepare(reading, size)
    reading.hasty(0.3)
    reading.source.wrong(**reads(size), first=1, stall_at=50_000)

    outcome = reading.copy(body)

    record("stall-body", cell(reading, size), outcome.ending)


@pytest.mark.fault("trickle")
def test_a_trickle_of_1_kb_a_second_survives(reading, record):
    """The whole takes three times the timeout; some byte moves all the time, so nothing is given up."""
    body = body_of(SMALL)[:1500]
    reading.source.put(reading.key, body)
    reading.sink.put(reading.key, OLD)
    reading.hasty(0.5)
    reading.source.wrong(**reads(SMALL), rate_bytes_per_s=1000, name="trickle")

    outcome = reading.copy(body)

    assert outcome.fired["trickle"] < 3, "the read was given up and begun again: three timeouts fit into it"
    record("trickle", cell(reading, SMALL), outcome.ending)


@pytest.mark.fault("slow-sink")
def test_a_sink_slower_than_every_timeout(reading, record):
    """Each part is answered within the timeout and all together take several; the source waits open-mouthed."""
    body = prepare(reading, LARGE)
    reading.hasty(0.5)
    reading.transfer["part_concurrency"] = 1
    reading.sink.wrong(operation="part.put", delay_s=0.25, name="slow")

    outcome = reading.copy(body)

    assert outcome.fired["slow"] == 3
    record("slow-sink", cell(reading, LARGE), outcome.ending)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("overwritten", marks=pytest.mark.fault("overwritten")),
        pytest.param("deleted", marks=pytest.mark.fault("deleted")),
    ],
)
def test_the_source_changes_between_two_parts(reading, what, record):
    """Reads are pinned: never half of one version and half of another."""
    body, new = prepare(reading, LARGE), body_of(LARGE, seed=1)
    acts = {
        "overwritten": lambda: reading.source.put(reading.key, new),
        "deleted": lambda: reading.source.delete(reading.key),
    }
    reading.transfer["part_concurrency"] = 1
    reading.source.wrong(**reads(LARGE), skip=1, first=1, act=acts[what], name=what)

    outcome = reading.copy(body, versions=[new])

    record(what, cell(reading, LARGE), outcome.ending)


@pytest.mark.fault("gzip-stored")
def test_what_is_stored_compressed_stays_compressed(reading, record):
    """Services and clients decompress such objects on the way; the stored bytes are copied."""
    body = gzip.compress(body_of(SMALL), mtime=0)
    reading.source.put(reading.key, body, Metadata(content_encoding="gzip", content_type="text/plain"))
    plain = decompressed_by(reading.source, reading.key)
    reading.source.server.faults.reset_counters()
    reading.source.server.faults.add(Rule(operation="object.get", delay_s=0, name="read"))

    outcome = reading.copy(body, old=None)

    assert plain is None or plain == body_of(SMALL), "the service does not decompress: nothing is shown"
    assert outcome.receipt.metadata_lost == ()
    record("gzip-stored", cell(reading, SMALL), outcome.ending)


def decompressed_by(side, key):
    """What GCS answers a client that does not say it takes gzip; S3 does no such thing."""
    if side.kind == "s3":
        return None
    with urllib.request.urlopen(f"{side.options['endpoint_url']}/{side.bucket}/{key}", timeout=10) as answer:
        return answer.read()
