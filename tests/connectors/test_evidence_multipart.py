"""Multipart sources on S3 are proven end to end: ``md5(md5s)-N`` recomputed from their part sizes while bytes pass."""

from __future__ import annotations

import hashlib
import os
import uuid

import botocore.session
import pytest
from botocore.config import Config
from plain_http import answering

import crossdock as xd
from crossdock.connectors import ObjectSource, commits, layers
from crossdock.connectors.s3 import S3Options, S3Store
from crossdock.model import MIB, Digests, ObjectInfo, Verification, Version
from crossdock.options import Secret
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule

SINKS = ("s3", "gcs", "local", "memory")
# Parts of a source that are not ours (5 MiB in these tests), in sizes that are, are not, and are not even equal.
LAYOUTS = {
    "as ours": [5 * MIB, 5 * MIB, 3 * MIB],
    "larger": [7 * MIB, 7 * MIB, 7 * MIB],
    "much larger, last small": [13 * MIB, 1],
    "uneven first": [5 * MIB, 9 * MIB, 9 * MIB + 17],
    "one": [11 * MIB],
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr(commits, "backoff_s", lambda *_: 0.0)


@pytest.fixture(scope="module")
def s3():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="module")
def other_s3():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="module")
def gcs():
    with EmbeddedGCS() as server:
        yield server


def options_of(server):
    return {"endpoint_url": server.url, "key": "AKIDEXAMPLE", "secret": "a-secret", "region": "us-east-1"}


def plain_client(url):
    """botocore, told to send no checksum of its own."""
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="a-secret",
        config=Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 0},
            request_checksum_calculation="when_required",
        ),
    )


class Source:
    """A bucket that something else than crossdock has filled, in parts of its own choice."""

    def __init__(self, server):
        self.server, self.bucket = server, f"src-{uuid.uuid4()}"
        server.create_bucket(self.bucket)
        self.store = xd.source(f"s3://{self.bucket}/", **options_of(server))

    def upload(self, sizes, *, key="k", kms=False, **how):
        client = plain_client(self.server.url)
        where = {"Bucket": self.bucket, "Key": key}
        if kms:
            how["ServerSideEncryption"] = "aws:kms"
        part_how = {name: value for name, value in how.items() if name == "ChecksumAlgorithm"}
        body, at, parts = os.urandom(sum(sizes)), 0, []
        upload = client.create_multipart_upload(**where, **how)["UploadId"]
        for number, size in enumerate(sizes, 1):
            part = client.upload_part(
                **where, UploadId=upload, PartNumber=number, Body=body[at : at + size], **part_how
            )
            parts.append({"PartNumber": number, "ETag": part["ETag"]})
            at += size
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        client.close()
        self.server.faults.reset_counters()
        return body

    def questions(self):
        """How many HEADs were sent."""
        return self.server.faults.requests.get("object.stat", 0)


@pytest.fixture
def source(s3):
    made = Source(s3)
    yield made
    s3.faults.clear()


@pytest.fixture
def sink_for(other_s3, gcs, tmp_path):
    def make(kind, **options):
        options = {"part_size": "5MiB", **options}
        name = f"dst-{uuid.uuid4()}"
        if kind == "s3":
            other_s3.create_bucket(name)
            return xd.sink(f"s3://{name}/", **options_of(other_s3), **options)
        if kind == "gcs":
            gcs.create_bucket(name)
            return xd.sink(f"gs://{name}/", endpoint_url=gcs.url, token="anon", **options)
        if kind == "local":
            (tmp_path / name).mkdir()
            return xd.sink(f"file://{tmp_path}/{name}/", **options)
        return xd.sink(f"memory://{name}/", **options)

    return make


def held(sink, key="k"):
    return bytes(sink.store.read(sink.prefix + key).read_all())


def is_empty(sink):
    return not [info for page in sink.store.list() for info in page] and not [*sink.store.list_uploads()]


def etag_of(body, sizes):
    at, md5s = 0, b""
    for size in sizes:
        md5s += hashlib.md5(body[at : at + size]).digest()
        at += size
    return f"{hashlib.md5(md5s).hexdigest()}-{len(sizes)}"


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "uneven first"])
def test_equal_parts_reach_v2_by_default(source, sink_for, name, kind):
    """Two questions at most for an object that moves in parts; none for one of one part, however large."""
    sizes, sink = LAYOUTS[name], sink_for(kind)
    body = source.upload(sizes)

    receipt = sink(source.store("k"))

    assert body == held(sink)
    assert receipt.source_version.etag == etag_of(body, sizes)
    assert (receipt.verification, receipt.method) == (Verification.V2, "parts")
    plural = "s" * (len(sizes) > 1)
    assert receipt.evidence.startswith(f"source md5(md5s) of its {len(sizes)} part{plural}, destination ")
    assert source.questions() == (2 if len(sizes) > 1 else 1)


def test_a_gcs_copy_of_a_multipart_source_carries_the_combined_crc32c(source, sink_for):
    """Per-part CRC32Cs combine into the whole's, which GCS compares before the object is visible."""
    sink = sink_for("gcs")
    source.upload(LAYOUTS["larger"])

    receipt = sink(source.store("k"))

    assert receipt.evidence.endswith("destination crc32c")
    assert receipt.digests.crc32c == sink.store.stat("k").digests.crc32c is not None


def test_a_copy_on_s3_has_the_sources_parts_and_etag(source, sink_for):
    """Equal parts are sent as they are, so that a rerun sees equal ETags in two listings."""
    sizes, sink = [7 * MIB, 7 * MIB, 5], sink_for("s3")
    body = source.upload(sizes)

    receipt = sink(source.store("k"))

    assert etag_of(body, sizes) == receipt.version.etag == receipt.source_version.etag


@pytest.mark.parametrize("kind", SINKS)
def test_uneven_parts_are_proven_if_asked_for(source, sink_for, kind):
    """Part sizes that do not fit equal parts: V1 by default, and it says why; V2 asks for each part's size."""
    sizes = LAYOUTS["uneven first"]
    source.upload(sizes)

    plain = sink_for(kind)(source.store("k"))
    asked_by_default = source.questions()
    asked = sink_for(kind, verify="v2")(source.store("k"))

    assert (plain.verification, asked.verification) == (Verification.V1, Verification.V2)
    assert "sizes of the source's parts are not known" in plain.evidence
    assert "md5(md5s) of its 3 parts" in asked.evidence
    assert asked_by_default == 2
    assert source.questions() - asked_by_default == 2 + len(sizes)


def test_uneven_parts_that_look_equal_are_no_damage(source, sink_for):
    """The first part and their number fit equal parts, which they are not: asked one by one, and proven."""
    sizes, sink = [7 * MIB, 5 * MIB, 6 * MIB], sink_for("memory")
    body = source.upload(sizes)

    receipt = sink(source.store("k"))

    assert body == held(sink)
    assert (receipt.verification, receipt.retries) == (Verification.V2, 1)


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_wrong_byte_in_any_part_is_caught_by_the_etag(source, sink_for, part, kind):
    """One bit flips on the way from the source, once: seen, read and sent again, and the copy is right."""
    sink = sink_for(kind)
    body = source.upload([7 * MIB, 7 * MIB, 7 * MIB])
    fault = source.server.faults.add(
        Rule(operation="object.get", flip_bit=8 * 1234 + 3, skip=part, first=1, name=f"flip {part} {kind}")
    )

    receipt = sink(source.store("k", info=source.store.store.stat("k")))

    assert source.server.faults.fired[fault] == 1
    assert body == held(sink)
    assert receipt.verification == Verification.V2
    assert receipt.retries >= 1
    assert receipt.resent_bytes == len(body)


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("name", ["larger", "one"])
def test_bytes_that_stay_wrong_are_loud_and_leave_nothing(source, sink_for, name, kind):
    """A source whose bytes are not what its ETag says: ``IntegrityError``, no object, no upload."""
    sink = sink_for(kind)
    source.upload(LAYOUTS[name])
    fault = source.server.faults.add(Rule(operation="object.get", flip_bit=99, name=f"rotten {name} {kind}"))

    with pytest.raises(xd.IntegrityError, match="multipart_etag"):
        sink(source.store("k", info=source.store.store.stat("k")))

    assert source.server.faults.fired[fault] >= 3
    assert is_empty(sink)


@pytest.mark.parametrize("kind", SINKS)
def test_a_wrong_etag_at_the_source_is_loud(source, sink_for, kind):
    """The stored bytes rotted, or the ETag lies: it cannot be told, and is not copied."""
    sink = sink_for(kind)
    source.upload(LAYOUTS["larger"])
    with source.server._home.entered():
        record = source.server._home.backend.get_bucket(source.bucket).keys["k"]
        record._etag = "0" * 32 + "-3"

    with pytest.raises(xd.IntegrityError, match="multipart_etag"):
        sink(source.store("k"))

    assert is_empty(sink)


@pytest.mark.parametrize("verify", ["auto", "v2"])
def test_small_multipart_objects(source, sink_for, verify):
    """One part costs no question; several are asked for only if V2 is wanted, as the object moves in one request."""
    one, two = source.upload([3 * MIB], key="one"), source.upload([5 * MIB, MIB], key="two")
    sink = sink_for("memory", part_size="8MiB", verify=verify)

    receipts = [sink(source.store(key)) for key in ("one", "two")]

    assert (one, two) == (held(sink, "one"), held(sink, "two"))
    assert {"put"} == {receipt.method for receipt in receipts}
    levels = [receipt.verification.name for receipt in receipts]
    assert levels == (["V2", "V1"] if verify == "auto" else ["V2", "V2"])
    assert source.questions() == (0 if verify == "auto" else 3)
    if verify == "auto":
        assert "not asked for" in receipts[1].evidence


@pytest.mark.parametrize(
    ("kind", "level", "compared"),
    [("s3", "V2", "source md5"), ("gcs", "V2", "source crc32c"), ("local", "V1", "no digest")],
)
def test_large_objects_put_whole_by_kind_of_source(sink_for, kind, level, compared):
    """Moved in parts: what their store publishes without parts is what is compared."""
    filled, body = sink_for(kind, part_size="64MiB"), os.urandom(12 * MIB)
    if kind == "s3":  # as a client without checksums puts it
        bucket = filled.store.url.removeprefix("s3://")
        client = plain_client(filled.store.inner.inner.options.endpoint_url)
        client.put_object(Bucket=bucket, Key="k", Body=body)
        client.close()
    else:
        filled(body, key="k")

    receipt = sink_for("memory")(ObjectSource(filled.store)("k"))

    assert (receipt.method, receipt.verification.name) == ("parts", level)
    assert compared in receipt.evidence


def test_a_full_object_checksum_is_used_instead(source, sink_for):
    """It costs a hundredth of an MD5, and one question instead of two."""
    source.upload([7 * MIB, 7 * MIB, 1], ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")

    receipt = sink_for("s3")(source.store("k"))

    assert receipt.evidence == "source crc64nvme, destination crc64nvme"
    assert (receipt.verification, source.questions()) == (Verification.V2, 1)
    assert receipt.digests.md5 is None


def test_a_composite_checksum_is_not_taken_for_the_whole(source, sink_for):
    """Its parts are not hashed for it: the ETag proves the same."""
    source.upload([7 * MIB, 7 * MIB], ChecksumAlgorithm="CRC32C")

    receipt = sink_for("gcs")(source.store("k"))

    assert receipt.evidence == "source md5(md5s) of its 2 parts, destination crc32c"


def test_encrypted_with_kms_nothing_is_claimed_by_the_etag(source, sink_for):
    """KMS: the ETag looks like an md5 of md5s and is none; without a checksum V1, with one V2."""
    plain = source.upload([7 * MIB, 7 * MIB], kms=True)
    receipt = sink_for("memory")(source.store("k"))
    source.upload(
        [7 * MIB, 7 * MIB], key="c", kms=True, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )
    checked = sink_for("memory")(source.store("c"))

    assert receipt.source_version.etag != etag_of(plain, [7 * MIB, 7 * MIB])
    assert (receipt.verification, receipt.retries) == (Verification.V1, 0)
    assert checked.evidence.startswith("source crc64nvme, ")


def test_small_objects_of_a_kms_bucket_reach_v2_without_a_question(source, sink_for):
    """The first is asked about once; from then on answers are read that say how it is encrypted and show its CRC."""
    source.server.create_bucket(name := f"kms-{uuid.uuid4()}", kms=True)
    fill = xd.sink(f"s3://{name}/", **options_of(source.server))
    for number in range(4):
        fill(b"%d" % number * 1000, key=str(number))
    encrypted = xd.source(f"s3://{name}/", **options_of(source.server))
    infos = [info for page in encrypted.pages() for info in page]
    source.server.faults.reset_counters()
    sink = sink_for("memory")

    receipts = [sink(encrypted(info.key, info=info)) for info in infos]

    assert {Verification.V2} == {receipt.verification for receipt in receipts}
    assert {"source crc64nvme, destination crc64nvme"} == {receipt.evidence for receipt in receipts}
    assert source.questions() == 1


@pytest.mark.parametrize("verify", ["v0", "v1"])
def test_less_costs_neither_questions_nor_an_md5(source, sink_for, verify):
    """V1: what proves only the source is left out; what the destination checks is not."""
    body, sink = source.upload([7 * MIB, 7 * MIB]), sink_for("gcs", verify=verify)

    receipt = sink(source.store("k"))

    assert body == held(sink)
    assert (receipt.verification, source.questions()) == (Verification.V1, 0)
    assert "not asked for" in receipt.evidence


def test_v3_reads_the_copy_back(source, sink_for):
    source.upload([7 * MIB, 7 * MIB])

    receipt = sink_for("gcs", verify="v3")(source.store("k"))

    assert receipt.verification == Verification.V3
    assert receipt.evidence == (
        "destination read back: crc32c; source md5(md5s) of its 2 parts, destination crc32c"
    )


def test_a_copy_inside_s3_that_cannot_be_proven_is_sent_through_here(source):
    """Of a multipart source without a checksum a copy inside the service shows nothing comparable."""
    body = source.upload([7 * MIB, 7 * MIB])

    def copied(verify):
        sink = xd.sink(f"s3://{source.bucket}/copy/{verify}/", **options_of(source.server), verify=verify)
        receipt = sink(source.store("k"))
        assert body == held(sink)
        return receipt

    assert (copied("auto").method, copied("auto").verification) == ("copy", Verification.V0)
    assert (copied("v2").method, copied("v2").verification) == ("parts", Verification.V2)


def test_memory_stays_within_the_budget_however_large_the_sources_parts(source, sink_for, monkeypatch):
    """Pieces of one large source part are hashed in order without being kept: the byte budget holds them all."""
    from crossdock.connectors.budget import Budget

    most, free = [0], Budget.acquire

    def noted(self, size):
        taken = free(self, size)
        most[0] = max(most[0], self.total_bytes - self._free)
        return taken

    monkeypatch.setattr(Budget, "acquire", noted)
    body = source.upload([48 * MIB, 5 * MIB])
    sink = sink_for("memory", max_in_flight="20MiB")

    receipt = sink(source.store("k"))

    assert body == held(sink)
    assert (receipt.verification, receipt.parts) == (Verification.V2, 11)
    assert 0 < most[0] <= 20 * MIB


ETAG = "0123456789abcdef" * 2 + "-3"
OBJECT = ObjectInfo(key="a//k", size=20, version=Version(etag=ETAG), digests=Digests(multipart_etag=ETAG))


class TestPartSizes:
    """What is asked, and what of an answer is believed."""

    @staticmethod
    def ask(sizes, *, every=False, etag=ETAG, count="3", info=OBJECT):
        """``part_sizes`` of a server that answers HEAD of part n with the n-th size; and the requests it saw."""

        def answer(request):
            number = int(request.path.rpartition("=")[2])
            size = sizes[number - 1]
            request.send_response(416 if size is None else 206)
            request.send_header("ETag", f'"{etag}"')
            request.send_header("Content-Length", str(size or 0))
            if count is not None:
                request.send_header("x-amz-mp-parts-count", count)
            request.end_headers()

        with answering(answer) as (url, seen):
            options = S3Options(
                endpoint_url=url, key=Secret("A"), secret=Secret("canary"), region="us-east-1"
            )
            return S3Store("bucket", options).part_sizes(info, every=every), seen

    def test_one_question_for_equal_parts_pinned_and_exact(self):
        sizes, seen = self.ask([8])

        assert sizes == (8, 8, 4)
        assert [(method, target) for method, target, _ in seen] == [("HEAD", "/bucket/a//k?partNumber=1")]
        assert {f'"{ETAG}"'} == {sent.get("if-match") for *_, sent in seen}

    def test_one_question_a_part_for_any(self):
        sizes, seen = self.ask([5, 8, 7], every=True)

        assert sizes == (5, 8, 7)
        assert [target.rpartition("=")[2] for _, target, _ in seen] == ["1", "2", "3"]

    @pytest.mark.parametrize(
        ("sizes", "more"),
        [
            ([5], {}),  # three of five do not make twenty
            ([10], {}),  # two of ten do
            ([20], {"count": None}),  # a server that knows no parts answers with the whole
            ([8], {"count": "4"}),
            ([None], {}),
            ([5, 8, 8], {"every": True}),  # more than the object has
            ([5, None, 7], {"every": True}),
        ],
    )
    def test_what_does_not_fit_is_not_believed(self, sizes, more):
        assert self.ask(sizes, **more)[0] is None

    def test_no_question_where_the_answer_is_known(self):
        """One part is the whole object; an ETag of a put has none."""
        for etag, expected in ((ETAG[:-1] + "1", (20,)), ("0" * 32, None), ("weird-3", None)):
            sizes, seen = self.ask([], info=ObjectInfo(key="k", size=20, version=Version(etag=etag)))
            assert (expected, []) == (sizes, seen)

    def test_parts_of_another_version_are_loud(self):
        """A server that ignores If-Match: the ETag of its answer is compared."""
        with pytest.raises(xd.PreconditionError):
            self.ask([8], etag="f" * 32 + "-3")

    def test_a_server_that_is_busy_is_asked_again(self, source, sink_for):
        source.upload(LAYOUTS["larger"])
        busy = source.server.faults.add(
            Rule(operation="object.stat", path="partNumber=1", status=503, first=2, name="busy part")
        )

        receipt = sink_for("memory")(source.store("k"))

        assert source.server.faults.fired[busy] == 2
        assert receipt.verification == Verification.V2
