"""The embedded S3: byte-exact keys, checked digests, atomic conditions, faults, through botocore and obstore."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import unicodedata
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import botocore.session
import google_crc32c
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from crossdock.testing import EmbeddedS3, Rule

MIB = 1 << 20
HOSTILE = [
    "a//b",
    "/a",
    "//",
    "a/",
    "a",
    "a/./b",
    "a/../b",
    "../x",
    ".",
    "..",
    " lead",
    "trail ",
    "a%2Fb",
    "a/b",
    "a+b",
    "a b",
    "a#b?c",
    "*[x]",
    "a;b=c",
    "a&b<c>\"'",
    "🚀",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "Case",
    "case",
    "new\nline",
    "carriage\rreturn",
    "tab\tx",
    "control\x01x",
    "x" * 1024,
]


@pytest.fixture
def s3():
    with EmbeddedS3(buckets=("bucket",)) as server:
        yield server


def connect(url, **config):
    """botocore, as our connectors use it: path style, credentials for the client alone."""
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, **config),
    )


@pytest.fixture
def client(s3):
    client = connect(s3.url)
    yield client
    client.close()


def code(error):
    return error.value.response["Error"]["Code"]


def test_hostile_keys_are_exact_alone_and_together(s3, client):
    for number, key in enumerate(HOSTILE):
        client.put_object(Bucket="bucket", Key=key, Body=str(number))

    assert {k: int(o.data) for k, o in s3.objects("bucket").items()} == {k: n for n, k in enumerate(HOSTILE)}
    for number, key in enumerate(HOSTILE):
        assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == str(number).encode()
        assert client.head_object(Bucket="bucket", Key=key)["ContentLength"] == len(str(number))
        client.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": key})
        assert s3.objects("bucket")["copy"].data == str(number).encode()
    client.delete_object(Bucket="bucket", Key="copy")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="bucket", PaginationConfig={"PageSize": 7}
    )
    assert [o["Key"] for page in pages for o in page["Contents"]] == sorted(HOSTILE, key=str.encode)
    for key in HOSTILE:
        client.delete_object(Bucket="bucket", Key=key)
    assert s3.objects("bucket") == {}


def test_hostile_keys_in_multipart_uploads_and_bulk_deletes(s3, client):
    # Control characters are no XML: botocore cannot read, or write, the documents that carry them.
    keys = [k for k in HOSTILE if "\x01" not in k]
    for key in keys:
        upload = client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
        part = client.upload_part(Bucket="bucket", Key=key, UploadId=upload, PartNumber=1, Body=b"1")
        client.complete_multipart_upload(
            Bucket="bucket",
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
    assert set(s3.objects("bucket")) == set(keys)
    client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": k} for k in keys]})
    assert s3.objects("bucket") == {}


def test_two_servers_in_one_process_are_strangers():
    with EmbeddedS3(buckets=("bucket",)) as one, EmbeddedS3(buckets=("bucket",)) as two:
        client = connect(one.url)
        client.put_object(Bucket="bucket", Key="x", Body=b"1")
        client.close()

        assert list(one.objects("bucket")) == ["x"]
        assert two.objects("bucket") == {}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"ContentMD5": "MDAwMDAwMDAwMDAwMDAwMA=="}, "BadDigest"),
        ({"ChecksumCRC32C": "AAAAAA=="}, "BadDigest"),
        ({"ChecksumCRC64NVME": "AAAAAAAAAAA="}, "BadDigest"),
        ({"ChecksumSHA256": "A" * 43 + "="}, "BadDigest"),
    ],
)
def test_a_wrong_digest_is_refused_and_stores_nothing(s3, client, wrong, error):
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="bucket", Key="x", Body=b"hello", **wrong)

    assert code(caught) == error
    assert s3.objects("bucket") == {}


def test_a_flipped_bit_is_caught_by_the_trailing_checksum_that_botocore_sends(s3, client):
    s3.faults.add(Rule(operation="object.insert", flip_upload_bit=100, name="flip"))
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="bucket", Key="x", Body=os.urandom(1000))

    assert code(caught) in {"BadDigest", "XAmzContentSHA256Mismatch"}
    assert s3.faults.fired == {"flip": 1}
    assert s3.objects("bucket") == {}


def test_completion_checks_the_whole_objects_checksum_and_size(s3, client):
    body = os.urandom(5 * MIB + 3)
    whole = google_crc32c.value(body).to_bytes(4, "big")
    upload = client.create_multipart_upload(
        Bucket="bucket", Key="x", ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT"
    )["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(
                Bucket="bucket",
                Key="x",
                UploadId=upload,
                PartNumber=number,
                Body=piece,
                ChecksumAlgorithm="CRC32C",
            )["ETag"],
        }
        for number, piece in enumerate((body[: 5 * MIB], body[5 * MIB :]), start=1)
    ]

    def complete(**more):
        return client.complete_multipart_upload(
            Bucket="bucket", Key="x", UploadId=upload, MultipartUpload={"Parts": parts}, **more
        )

    with pytest.raises(ClientError) as wrong_checksum:
        complete(ChecksumCRC32C="AAAAAA==", ChecksumType="FULL_OBJECT")
    with pytest.raises(ClientError) as wrong_size:
        complete(MpuObjectSize=5)

    assert code(wrong_checksum) == "BadDigest"
    assert code(wrong_size) == "InvalidRequest"
    assert s3.open_uploads("bucket") == {upload: "x"}
    complete(ChecksumCRC32C=b64encode(whole).decode(), ChecksumType="FULL_OBJECT", MpuObjectSize=len(body))
    assert s3.objects("bucket")["x"].data == body
    assert s3.open_uploads("bucket") == {}


def test_completion_refuses_small_parts_and_wrong_tags_and_knows_s3s_etag(s3, client):
    upload = client.create_multipart_upload(Bucket="bucket", Key="x")["UploadId"]
    bodies = [bytes(5 * MIB), b"2", b"3"]
    tags = [
        client.upload_part(Bucket="bucket", Key="x", UploadId=upload, PartNumber=n, Body=body)["ETag"]
        for n, body in enumerate(bodies, start=1)
    ]

    def complete(*numbers, tags=tags):
        parts = [{"PartNumber": n, "ETag": tags[n - 1]} for n in numbers]
        return client.complete_multipart_upload(
            Bucket="bucket", Key="x", UploadId=upload, MultipartUpload={"Parts": parts}
        )

    with pytest.raises(ClientError) as small:
        complete(1, 2, 3)
    with pytest.raises(ClientError) as wrong:
        complete(1, 3, tags=[tags[1]] * 3)
    done = complete(1, 3)
    whole = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in (bodies[0], bodies[2]))).hexdigest()

    assert code(small) == "EntityTooSmall"
    assert code(wrong) == "InvalidPart"
    assert done["ETag"] == f'"{whole}-2"'
    assert s3.objects("bucket")["x"].data == bodies[0] + bodies[2]


def test_create_only_writes_from_many_threads_have_one_winner(s3):
    outcomes = []

    def create():
        client = connect(s3.url)
        try:
            client.put_object(Bucket="bucket", Key="x", Body=b"1", IfNoneMatch="*")
            outcomes.append("created")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
        client.close()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["PreconditionFailed"] * 7 + ["created"]


def test_metadata_arrives_as_sent(s3, client):
    client.put_object(
        Bucket="bucket",
        Key="x",
        Body=b"1",
        ContentType="text/plain",
        ContentEncoding="gzip",
        CacheControl="no-store",
        Metadata={"who": "me", "under_score": "yes"},
    )
    head = client.head_object(Bucket="bucket", Key="x")

    assert (head["ContentType"], head["ContentEncoding"], head["CacheControl"]) == (
        "text/plain",
        "gzip",
        "no-store",
    )
    assert head["Metadata"] == {"who": "me", "under_score": "yes"}


def test_throttling_is_an_xml_slow_down_and_a_lost_acknowledgement_did_the_work(s3, client):
    s3.faults.add(Rule(operation="object.insert", status=503, first=1, retry_after_s=1, name="slow"))
    s3.faults.add(Rule(operation="object.insert", skip=1, first=1, lose_ack=True, name="lost"))
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="bucket", Key="slow", Body=b"1")
    with pytest.raises(ConnectionClosedError):
        client.put_object(Bucket="bucket", Key="lost", Body=b"1")

    assert code(caught) == "SlowDown"
    assert list(s3.objects("bucket")) == ["lost"]
    assert s3.faults.fired == {"slow": 1, "lost": 1}


def test_obstore_works_and_connections_are_kept(s3):
    import obstore as obs
    from obstore.store import S3Store

    store = S3Store(
        "bucket",
        config={
            "endpoint": s3.url,
            "access_key_id": "test",
            "secret_access_key": "test",
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )
    large = os.urandom(MIB) * 12
    obs.put(store, "dir/small", b"small", attributes={"Content-Type": "text/plain"})
    obs.put(store, "dir/large", large, use_multipart=True, chunk_size=5 * MIB)

    assert sorted(m["path"] for batch in obs.list(store) for m in batch) == ["dir/large", "dir/small"]
    assert bytes(obs.get_range(store, "dir/large", start=5, end=10)) == large[5:10]
    assert s3.objects("bucket")["dir/large"].data == large
    assert s3.faults.requests["part.put"] == 3
    with pytest.raises(obs.exceptions.AlreadyExistsError):
        obs.put(store, "dir/small", b"2", mode="create")


def test_keep_alive(s3):
    with urllib3.HTTPConnectionPool(s3.url.removeprefix("http://")) as pool:
        for number in range(5):
            assert pool.request("PUT", f"/bucket/{number}", body=b"1").status == 200
        assert pool.num_connections == 1


def test_it_runs_as_a_process_and_is_steered_from_outside():
    command = [sys.executable, "-m", "crossdock.testing.s3", "--bucket", "bucket"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        with urllib3.PoolManager() as http:
            rule = json.dumps({"operation": "object.insert", "status": 503, "name": "busy"})
            http.request("POST", f"{url}/_crossdock/faults", body=rule)
            busy = http.request("PUT", f"{url}/bucket/x", body=b"1", retries=False)
            counters = http.request("GET", f"{url}/_crossdock/faults").json()
            http.request("DELETE", f"{url}/_crossdock/faults")
            healed = http.request("PUT", f"{url}/bucket/x", body=b"1")
            objects = http.request("GET", f"{url}/_crossdock/objects?bucket=bucket").json()
        process.terminate()
        assert process.wait(10) == 0

    assert b"<Code>SlowDown</Code>" in busy.data
    assert counters["fired"] == {"busy": 1}
    assert healed.status == 200
    assert objects["x"]["size"] == 1


def upload_of(client, key, sizes, **more):
    """A multipart upload with these part sizes; returns its bytes and the completed upload's ETag."""
    body = os.urandom(sum(sizes))
    upload = client.create_multipart_upload(Bucket="bucket", Key=key, **more)["UploadId"]
    parts, at = [], 0
    for number, size in enumerate(sizes, 1):
        answer = client.upload_part(
            Bucket="bucket", Key=key, UploadId=upload, PartNumber=number, Body=body[at : at + size]
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        at += size
    done = client.complete_multipart_upload(
        Bucket="bucket", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return body, done["ETag"]


def test_parts_of_an_object_can_be_asked_for(s3, client):
    """GET and HEAD take partNumber: that part's bytes and size, and how many there are; 416 beyond; a whole is part 1."""
    sizes = [6 * MIB, 5 * MIB, 7]
    body, etag = upload_of(client, "k", sizes)
    at = 0
    for number, size in enumerate(sizes, 1):
        head = client.head_object(Bucket="bucket", Key="k", PartNumber=number)
        got = client.get_object(Bucket="bucket", Key="k", PartNumber=number)
        assert (size, 3, etag) == (head["ContentLength"], head["PartsCount"], head["ETag"])
        assert body[at : at + size] == got["Body"].read()
        at += size
    client.put_object(Bucket="bucket", Key="whole", Body=b"abc")
    client.copy_object(Bucket="bucket", Key="copied", CopySource={"Bucket": "bucket", "Key": "k"})

    for key, size in (("whole", 3), ("copied", sum(sizes))):
        head = client.head_object(Bucket="bucket", Key=key, PartNumber=1)
        assert (size, None) == (head["ContentLength"], head.get("PartsCount"))
    for key in ("k", "whole"):
        with pytest.raises(ClientError) as caught:
            client.get_object(Bucket="bucket", Key=key, PartNumber=4)
        assert code(caught) == "InvalidPartNumber"


def test_a_checksum_that_was_compared_is_echoed_and_kept(s3, client):
    """PUT and UploadPart repeat it; GET and HEAD show it with its type if asked, and never with a range."""
    put = client.put_object(Bucket="bucket", Key="k", Body=b"abc", ChecksumAlgorithm="CRC64NVME")
    upload = client.create_multipart_upload(Bucket="bucket", Key="p")["UploadId"]
    part = client.upload_part(
        Bucket="bucket", Key="p", UploadId=upload, PartNumber=1, Body=b"abc", ChecksumAlgorithm="CRC64NVME"
    )

    shown = [
        ask(Bucket="bucket", Key="k", ChecksumMode="ENABLED")
        for ask in (client.head_object, client.get_object)
    ]
    assert {put["ChecksumCRC64NVME"]} == {answer["ChecksumCRC64NVME"] for answer in (*shown, part)}
    assert {"FULL_OBJECT"} == {answer["ChecksumType"] for answer in shown}
    assert "ChecksumCRC64NVME" not in client.head_object(Bucket="bucket", Key="k")
    ranged = client.get_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED", Range="bytes=0-1")
    assert "ChecksumCRC64NVME" not in ranged


def test_a_composite_checksum_says_of_how_many_parts(s3, client):
    upload_of(client, "k", [5 * MIB, 1], ChecksumAlgorithm="CRC32C")
    head = client.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")

    assert (head["ChecksumType"], head["ChecksumCRC32C"].endswith("-2")) == ("COMPOSITE", True)


def test_a_bucket_that_encrypts_with_kms_has_no_md5_as_etag(s3, client):
    """ETags look like MD5s and are none, of puts and of uploads; the answers say how the object is encrypted."""
    s3.create_bucket("secret", kms=True)
    put = client.put_object(Bucket="secret", Key="k", Body=b"abc")
    head = client.head_object(Bucket="secret", Key="k")

    assert put["ETag"] == head["ETag"] != f'"{hashlib.md5(b"abc").hexdigest()}"'
    assert {"aws:kms"} == {answer["ServerSideEncryption"] for answer in (put, head)}
    assert len(head["ETag"]) == 34


def test_an_upload_that_ended_is_gone(s3, client):
    """Parts of it and a second completion are NoSuchUpload, whether it was completed or aborted."""
    for end in ("complete", "abort"):
        upload = client.create_multipart_upload(Bucket="bucket", Key=end)["UploadId"]
        where = {"Bucket": "bucket", "Key": end, "UploadId": upload}
        part = client.upload_part(**where, PartNumber=1, Body=b"1")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        if end == "complete":
            client.complete_multipart_upload(**where, MultipartUpload=parts)
        else:
            client.abort_multipart_upload(**where)
        for act in (
            lambda where=where: client.upload_part(**where, PartNumber=1, Body=b"2"),
            lambda where=where, parts=parts: client.complete_multipart_upload(**where, MultipartUpload=parts),
        ):
            with pytest.raises(ClientError) as caught:
                act()
            assert code(caught) == "NoSuchUpload"
    assert s3.objects("bucket")["complete"].data == b"1"


def test_open_uploads_are_listed_in_pages_with_hostile_keys_and_their_age(s3, client):
    keys = sorted(HOSTILE + HOSTILE[:3])
    began = datetime.now(UTC)
    uploads = {(key, client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]) for key in keys
               if "\x01" not in key}  # fmt: skip
    seen, marker = [], {}
    while True:
        page = client.list_multipart_uploads(Bucket="bucket", EncodingType="url", MaxUploads=4, **marker)
        seen += [(unquote(row["Key"]), row["UploadId"], row["Initiated"]) for row in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {
            "KeyMarker": unquote(page["NextKeyMarker"]),
            "UploadIdMarker": page["NextUploadIdMarker"],
        }

    assert uploads == {(key, upload) for key, upload, _ in seen}
    assert len(uploads) == len(seen)
    assert all(began - timedelta(seconds=1) <= begun <= datetime.now(UTC) for *_, begun in seen)
