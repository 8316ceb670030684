"""The embedded GCS against Google's documented rules, in raw HTTP: what other tests rely on is proven here."""

import base64
import gzip
import hashlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import google_crc32c
import pytest

from crossdock.testing import EmbeddedGCS, Rule

QUANTUM = 256 << 10
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
    "tab\tx",
    "control\x01x",
    "x" * 1024,
]


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """http.client sends a target as it is given; every better client normalises it."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)

    def __call__(self, method, target, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, body, named)
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def insert(self, key, body, query="", **headers):
        target = f"/upload/storage/v1/b/b/o?uploadType=media&name={quote(key, safe='')}{query}"
        return self("POST", target, body, **headers)


@pytest.fixture
def gcs():
    with EmbeddedGCS() as server:
        yield server


@pytest.fixture
def call(gcs):
    client = Client(gcs.url)
    yield client
    client.connection.close()


def crc32c(body):
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()


def begin_session(call, key="x", query="", metadata=b"", **headers):
    answer = call(
        "POST", f"/upload/storage/v1/b/b/o?uploadType=resumable&name={key}{query}", metadata, **headers
    )
    assert answer.status == 200
    parts = urlsplit(answer.headers["Location"])
    return f"{parts.path}?{parts.query}"


# --- objects


def test_an_insert_answers_the_whole_resource_and_stores_the_bytes(gcs, call):
    answer = call.insert("x", b"hello", content_type="text/plain")

    assert answer.status == 200
    assert answer.json["size"] == "5"
    assert answer.json["crc32c"] == crc32c(b"hello")
    assert answer.json["md5Hash"] == base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert answer.json["metageneration"] == "1"
    assert gcs.objects("b")["x"].data == b"hello"
    assert gcs.objects("b")["x"].metadata.content_type == "text/plain"


def test_generations_only_grow(call):
    first, second = call.insert("x", b"1").json, call.insert("x", b"1").json

    assert int(first["generation"]) < int(second["generation"])


def test_an_absent_content_type_stays_absent_and_is_served_as_octet_stream(call):
    resource = call.insert("x", b"1").json
    media = call("GET", "/storage/v1/b/b/o/x?alt=media")

    assert "contentType" not in resource
    assert media.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("how", ["header", "resource", "md5", "xml"])
def test_a_wrong_digest_is_refused_and_stores_nothing(gcs, call, how):
    wrong = crc32c(b"other")
    if how == "header":
        answer = call.insert("x", b"hello", x_goog_hash=f"crc32c={wrong}")
    elif how == "md5":
        answer = call.insert("x", b"hello", content_md5=base64.b64encode(b"0" * 16).decode())
    elif how == "xml":
        answer = call("PUT", "/b/x", b"hello", x_goog_hash=f"crc32c={wrong}")
    else:
        body = (
            b'--B\r\nContent-Type: application/json\r\n\r\n{"name": "x", "crc32c": "%s"}\r\n'
            b"--B\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n" % wrong.encode()
        )
        target = "/upload/storage/v1/b/b/o?uploadType=multipart"
        answer = call("POST", target, body, content_type="multipart/related; boundary=B")

    assert answer.status == 400
    assert gcs.objects("b") == {}


def test_a_multipart_insert_with_the_boundary_in_its_payload_is_refused(gcs, call):
    body = (
        b'--B\r\n\r\n{"name": "x"}\r\n--B\r\nContent-Type: text/plain\r\n\r\nbefore\r\n--B\r\nafter\r\n--B--'
    )
    answer = call(
        "POST",
        "/upload/storage/v1/b/b/o?uploadType=multipart",
        body,
        content_type="multipart/related; boundary=B",
    )

    assert answer.status == 400
    assert gcs.objects("b") == {}


def test_preconditions_decide_over_writes_reads_and_deletes(gcs, call):
    created = call.insert("x", b"1", "&ifGenerationMatch=0")
    generation = created.json["generation"]
    again = call.insert("x", b"2", "&ifGenerationMatch=0")
    statuses = {
        "replace": call.insert("y", b"2", "&ifGenerationMatch=1").status,
        "read": call("GET", "/storage/v1/b/b/o/x?alt=media&ifGenerationMatch=1").status,
        "not modified": call("GET", f"/storage/v1/b/b/o/x?ifGenerationNotMatch={generation}").status,
        "other generation": call("GET", "/storage/v1/b/b/o/x?generation=1").status,
        "delete": call("DELETE", "/storage/v1/b/b/o/x?ifGenerationMatch=1").status,
        "metageneration": call("DELETE", "/storage/v1/b/b/o/x?ifMetagenerationMatch=2").status,
        "xml read": call("GET", "/b/x", x_goog_if_generation_match="1").status,
        "xml write": call("PUT", "/b/x", b"", x_goog_if_generation_match="0").status,
        "right delete": call("DELETE", f"/storage/v1/b/b/o/x?ifGenerationMatch={generation}").status,
        "missing": call("DELETE", "/storage/v1/b/b/o/x").status,
    }

    assert created.status == 200
    assert again.status == 412
    assert again.json["error"]["errors"][0]["reason"] == "conditionNotMet"
    assert statuses == {
        "replace": 412,
        "read": 412,
        "not modified": 304,
        "other generation": 404,
        "delete": 412,
        "metageneration": 412,
        "xml read": 412,
        "xml write": 412,
        "right delete": 204,
        "missing": 404,
    }
    assert gcs.objects("b") == {}


def test_create_only_writes_from_many_threads_have_one_winner(gcs):
    statuses = []

    def create():
        client = Client(gcs.url)
        statuses.append(client.insert("x", b"1", "&ifGenerationMatch=0").status)
        client.connection.close()

    threads = [threading.Thread(target=create) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [412] * 15


@pytest.mark.parametrize("api", ["json", "xml"])
@pytest.mark.parametrize(
    ("header", "status", "content_range", "body"),
    [
        ("bytes=0-0", 206, "bytes 0-0/10", b"0"),
        ("bytes=3-", 206, "bytes 3-9/10", b"3456789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, None, None),
        ("bytes=5-3", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
    ],
)
def test_ranges(call, api, header, status, content_range, body):
    call.insert("x", b"0123456789")
    target = "/storage/v1/b/b/o/x?alt=media" if api == "json" else "/b/x"
    answer = call("GET", target, range=header)

    assert answer.status == status
    assert answer.headers["Content-Range"] == content_range
    assert body is None or answer.body == body


def test_patch_changes_metadata_and_counts_metagenerations(call):
    call.insert("x", b"1", content_type="text/plain")
    change = b'{"metadata": {"a": "1", "b": "2"}, "contentType": null, "cacheControl": "no-store"}'
    patched = call("PATCH", "/storage/v1/b/b/o/x", change).json
    again = call("PATCH", "/storage/v1/b/b/o/x", b'{"metadata": {"a": null}}').json

    assert (patched["metageneration"], again["metageneration"]) == ("2", "3")
    assert "contentType" not in patched
    assert patched["cacheControl"] == "no-store"
    assert again["metadata"] == {"b": "2"}


def test_a_missing_bucket_is_a_json_404(call):
    answer = call("GET", "/storage/v1/b/none/o")

    assert answer.status == 404
    assert answer.json["error"]["errors"][0]["reason"] == "notFound"
    assert call.insert("x", b"").status == 200
    assert call("POST", "/upload/storage/v1/b/none/o?uploadType=media&name=x", b"").status == 404
    assert b"<Code>NoSuchBucket</Code>" in call("GET", "/none").body


# --- keys


def test_hostile_keys_are_exact_alone_and_together(gcs, call):
    for number, key in enumerate(HOSTILE):
        api = (
            call("PUT", f"/b/{quote(key, safe='/')}", str(number))
            if number % 2
            else call.insert(key, str(number))
        )
        assert api.status == 200, key

    assert {k: int(o.data) for k, o in gcs.objects("b").items()} == {k: n for n, k in enumerate(HOSTILE)}
    for number, key in enumerate(HOSTILE):
        json_read = call("GET", f"/storage/v1/b/b/o/{quote(key, safe='')}?alt=media")
        xml_read = call("GET", f"/b/{quote(key, safe='/')}")
        xml_read_encoded = call("GET", f"/b/{quote(key, safe='')}")
        assert json_read.body == xml_read.body == xml_read_encoded.body == str(number).encode(), key
    listed = [o["name"] for o in call("GET", "/storage/v1/b/b/o").json["items"]]
    assert listed == sorted(HOSTILE, key=str.encode)


@pytest.mark.parametrize("key", ["", ".", "..", "a\nb", "a\rb", "x" * 1025, "é" * 513])
def test_keys_that_gcs_refuses_are_refused(gcs, call, key):
    assert call.insert(key, b"1").status == 400
    assert gcs.objects("b") == {}


def test_keys_that_are_not_utf8_are_refused(call):
    assert call("PUT", "/b/%ff", b"1").status == 400
    assert call("GET", "/storage/v1/b/b/o/%ff").status == 400


# --- listings


def test_pages_are_complete_and_in_byte_order_with_prefixes_counted(call):
    keys = ["a", "b/1", "b/2", "b/c/3", "d", "e/", "e/4", "f/5", "ü", "𐀀", "\ufffd"]
    for key in keys:
        call.insert(key, b"")
    for api in ("json", "xml"):
        seen, token = [], ""
        while True:
            if api == "json":
                page = call(
                    "GET", f"/storage/v1/b/b/o?delimiter=/&maxResults=2&pageToken={quote(token)}"
                ).json
                entries = page.get("prefixes", []) + [o["name"] for o in page.get("items", [])]
                token = page.get("nextPageToken", "")
            else:
                target = f"/b?list-type=2&delimiter=/&max-keys=2&continuation-token={quote(token)}"
                text = call("GET", target).body.decode()
                assert f"<KeyCount>{text.count('<Contents>') + text.count('<CommonPrefixes>')}<" in text
                entries = re.findall(r"<Key>(.*?)</Key>|<CommonPrefixes><Prefix>(.*?)</Prefix>", text)
                entries = ["".join(pair) for pair in entries]
                token = "".join(re.findall(r"<NextContinuationToken>(.*?)<", text))
            assert len(entries) <= 2
            seen += sorted(entries)
            if not token:
                break
        assert seen == ["a", "b/", "d", "e/", "f/", "ü", "\ufffd", "𐀀"]


def test_listing_parameters(call):
    for key in ["a", "b/1", "b/2", "c", "e/", "e/4"]:
        call.insert(key, b"")

    def names(query):
        page = call("GET", f"/storage/v1/b/b/o?{query}").json
        return [o["name"] for o in page.get("items", [])], page.get("prefixes", [])

    assert names("prefix=b/") == (["b/1", "b/2"], [])
    assert names("startOffset=b/2&endOffset=e/4") == (["b/2", "c", "e/"], [])
    assert names("delimiter=/") == (["a", "c"], ["b/", "e/"])
    assert names("delimiter=/&includeTrailingDelimiter=true") == (["a", "c", "e/"], ["b/", "e/"])
    assert names("prefix=e&delimiter=/") == ([], ["e/"])
    assert call("GET", "/storage/v1/b/b/o?fields=items(name)&prefix=a").json == {"items": [{"name": "a"}]}


def test_xml_listings_of_version_1_and_2(call):
    for key in ["a&b", "c d", "e"]:
        call.insert(key, b"")
    text = call("GET", "/b?marker=a%26b&max-keys=1").body.decode()
    encoded = call("GET", "/b?list-type=2&encoding-type=url&start-after=a").body.decode()

    assert re.findall("<Key>(.*?)</Key>", text) == ["c d"]
    assert "<NextMarker>c d</NextMarker>" in text
    assert re.findall("<Key>(.*?)</Key>", encoded) == ["a%26b", "c%20d", "e"]


# --- resumable uploads


def test_a_resumable_upload_persists_chunk_by_chunk(gcs, call):
    body = bytes(range(256)) * 2048 + b"tail"
    session = begin_session(call, metadata=json.dumps({"contentType": "text/x", "crc32c": crc32c(body)}))
    fresh = call("PUT", session, b"", content_range="bytes */*")
    first = call("PUT", session, body[:QUANTUM], content_range=f"bytes 0-{QUANTUM - 1}/*")
    asked = call("PUT", session, b"", content_range=f"bytes */{len(body)}")
    opened = gcs.open_uploads("b")
    last = call("PUT", session, body[QUANTUM:], content_range=f"bytes {QUANTUM}-{len(body) - 1}/{len(body)}")
    after = call("PUT", session, b"", content_range=f"bytes */{len(body)}")

    assert (fresh.status, fresh.headers["Range"]) == (308, None)
    assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert (asked.status, asked.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert list(opened.values()) == ["x"]
    assert last.status == 200
    assert after.json == last.json
    assert gcs.objects("b")["x"].data == body
    assert gcs.objects("b")["x"].metadata.content_type == "text/x"
    assert gcs.open_uploads("b") == {}


def test_a_chunk_is_persisted_to_the_quantum_below_and_may_overlap(gcs, call):
    body = bytes(QUANTUM * 3)
    session = begin_session(call)
    ragged = call("PUT", session, body[: QUANTUM + 5], content_range=f"bytes 0-{QUANTUM + 4}/*")
    tiny = call("PUT", session, b"12345", content_range=f"bytes {QUANTUM}-{QUANTUM + 4}/*")
    gap = call("PUT", session, body[:QUANTUM], content_range=f"bytes {2 * QUANTUM}-{3 * QUANTUM - 1}/*")
    overlap = call("PUT", session, body, content_range=f"bytes 0-{3 * QUANTUM - 1}/{3 * QUANTUM}")

    assert (ragged.status, ragged.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert tiny.status == 400
    assert gap.status == 503
    assert b"exceeds already uploaded size" in gap.body
    assert overlap.status == 200
    assert gcs.objects("b")["x"].data == body


def test_an_upload_without_content_range_and_an_empty_one_complete_at_once(gcs, call):
    assert call("PUT", begin_session(call, "one"), b"1").status == 200
    assert call("PUT", begin_session(call, "none"), b"", content_range="bytes */0").status == 200
    assert {k: o.data for k, o in gcs.objects("b").items()} == {"one": b"1", "none": b""}


def test_a_chunk_that_breaks_off_is_persisted_as_far_as_it_came(gcs, call):
    session = begin_session(call)
    address = urlsplit(gcs.url)
    with socket.create_connection((address.hostname, address.port)) as sock:
        head = f"PUT {session} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {MIB}\r\n"
        sock.sendall(f"{head}Content-Range: bytes 0-{MIB - 1}/{MIB}\r\n\r\n".encode() + bytes(QUANTUM + 7))
        sock.shutdown(socket.SHUT_WR)
        assert b"308" in sock.recv(100)
    asked = call("PUT", session, b"", content_range="bytes */*")

    assert asked.headers["Range"] == f"bytes=0-{QUANTUM - 1}"
    assert gcs.objects("b") == {}


def test_a_cancelled_session_is_gone_and_an_unknown_one_not_found(gcs, call):
    session = begin_session(call)

    assert call("DELETE", session).status == 499
    assert call("PUT", session, b"1").status == 410
    assert call("PUT", re.sub("upload_id=.*", "upload_id=no", session), b"1").status == 404
    assert gcs.open_uploads("b") == {}


def test_preconditions_of_a_session_hold_at_its_start_and_at_its_end(gcs, call):
    session = begin_session(call, query="&ifGenerationMatch=0")
    call.insert("x", b"theirs")
    late = call("PUT", session, b"ours")
    early = call("POST", "/upload/storage/v1/b/b/o?uploadType=resumable&name=x&ifGenerationMatch=0", b"")

    assert late.status == 412
    assert early.status == 412
    assert gcs.objects("b")["x"].data == b"theirs"


def test_a_wrong_hash_on_the_last_chunk_ends_the_session_without_an_object(gcs, call):
    session = begin_session(call)

    assert call("PUT", session, b"hello", x_goog_hash=f"crc32c={crc32c(b'other')}").status == 400
    assert call("PUT", session, b"hello").status == 410
    assert gcs.objects("b") == {}


# --- compose, rewrite, batch


def test_compose_concatenates_without_md5(gcs, call):
    generation = call.insert("one", b"1").json["generation"]
    call.insert("two", b"22")
    sources = [{"name": "one", "generation": generation}, {"name": "two"}, {"name": "one"}]
    body = json.dumps({"sourceObjects": sources, "destination": {"contentType": "text/x"}})
    answer = call("POST", "/storage/v1/b/b/o/all/compose?ifGenerationMatch=0", body)
    refused = call("POST", "/storage/v1/b/b/o/all/compose?ifGenerationMatch=0", body)
    sources[1]["objectPreconditions"] = {"ifGenerationMatch": "1"}
    stale = call("POST", "/storage/v1/b/b/o/all/compose", json.dumps({"sourceObjects": sources}))
    many = json.dumps({"sourceObjects": [{"name": "one"}] * 33})

    assert answer.status == 200
    assert answer.json["componentCount"] == 3
    assert answer.json["crc32c"] == crc32c(b"1221")
    assert "md5Hash" not in answer.json
    assert gcs.objects("b")["all"].data == b"1221"
    assert refused.status == 412
    assert stale.status == 412
    assert call("POST", "/storage/v1/b/b/o/all/compose", many).status == 400


def test_rewrite_copies_metadata_unless_told_and_may_need_two_calls():
    with EmbeddedGCS(buckets=("b", "c"), rewrite_bytes_per_call=10) as gcs:
        call = Client(gcs.url)
        call.insert("x", b"0123456789abc", content_type="text/plain")
        target = "/storage/v1/b/b/o/x/rewriteTo/b/c/o/y%2Fz"
        first = call("POST", target, b"").json
        during = gcs.objects("c")
        second = call("POST", f"{target}?rewriteToken={quote(first['rewriteToken'])}", b"").json
        stale = call("POST", f"{target}?ifSourceGenerationMatch=1", b"")
        exists = call("POST", f"{target}?ifGenerationMatch=0", b"")
        plain = call("POST", "/storage/v1/b/b/o/x/copyTo/b/c/o/plain", b'{"contentType": "text/x"}')
        call.connection.close()

        assert (first["done"], second["done"]) == (False, True)
        assert during == {}
        assert second["resource"]["contentType"] == "text/plain"
        assert gcs.objects("c")["y/z"].data == b"0123456789abc"
        assert (stale.status, exists.status) == (412, 412)
        assert plain.json["contentType"] == "text/x"


# --- XML API


def test_xml_put_and_head_say_what_is_stored(gcs, call):
    put = call(
        "PUT", "/b/x", b"hello", content_type="text/plain", x_goog_meta_who="mé".encode().decode("latin-1")
    )
    head = call("HEAD", "/b/x")

    assert put.headers["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert head.headers.get_all("x-goog-hash") == [
        f"crc32c={crc32c(b'hello')}",
        f"md5={base64.b64encode(hashlib.md5(b'hello').digest()).decode()}",
    ]
    assert head.headers["Content-Length"] == "5"
    assert head.headers["x-goog-stored-content-length"] == "5"
    assert head.headers["x-goog-generation"] == put.headers["x-goog-generation"]
    assert head.headers["x-goog-metageneration"] == "1"
    assert gcs.objects("b")["x"].metadata.custom == {"who": "mé"}
    assert call("GET", "/b/x", if_none_match=put.headers["ETag"]).status == 304
    assert call("GET", "/b/x", if_match='"other"').status == 412


def test_xml_copy(gcs, call):
    call("PUT", "/b/dir/x", b"hello", content_type="text/plain")
    answer = call("PUT", "/b/y", b"", x_goog_copy_source="/b/dir%2Fx")

    assert answer.status == 200
    assert gcs.objects("b")["y"].data == b"hello"
    assert gcs.objects("b")["y"].metadata.content_type == "text/plain"


def test_xml_multipart_checks_parts_order_and_sizes(gcs, call):
    upload = re.findall(
        "<UploadId>(.*?)<", call("POST", "/b/x?uploads", b"", content_type="a/b").body.decode()
    )[0]
    target = f"/b/x?uploadId={upload}"
    first = call(
        "PUT", f"{target}&partNumber=1", bytes(5 * MIB), x_goog_hash=f"crc32c={crc32c(bytes(5 * MIB))}"
    )
    small = call("PUT", f"{target}&partNumber=2", b"2")
    last = call("PUT", f"{target}&partNumber=3", b"3")
    wrong = call("PUT", f"{target}&partNumber=1", b"!", content_md5=base64.b64encode(b"0" * 16).decode())

    def complete(*parts):
        listed = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{a.headers['ETag']}</ETag></Part>" for n, a in parts
        )
        return call("POST", target, f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>")

    parts = call("GET", target).body.decode()
    uploads = call("GET", "/b?uploads").body.decode()

    assert wrong.status == 400
    assert re.findall("<PartNumber>(.*?)<", parts) == ["1", "2", "3"]
    assert re.findall("<Size>(.*?)<", parts) == [str(5 * MIB), "1", "1"]
    assert upload in uploads
    assert b"EntityTooSmall" in complete((1, first), (2, small), (3, last)).body
    assert b"InvalidPartOrder" in complete((3, last), (1, first)).body
    assert b"InvalidPart" in complete((1, first), (3, small)).body
    assert gcs.open_uploads("b") == {upload: "x"}
    assert complete((1, first), (3, last)).status == 200
    assert b"NoSuchUpload" in complete((1, first), (3, last)).body
    stored = gcs.objects("b")["x"]
    assert stored.data == bytes(5 * MIB) + b"3"
    assert stored.crc32c == google_crc32c.value(stored.data)
    assert stored.md5 is None
    assert stored.metadata.content_type == "a/b"
    assert call("HEAD", "/b/x").headers.get_all("x-goog-hash") == [f"crc32c={crc32c(stored.data)}"]


def test_xml_multipart_abort_leaves_nothing(gcs, call):
    upload = re.findall("<UploadId>(.*?)<", call("POST", "/b/x?uploads", b"").body.decode())[0]

    assert call("DELETE", f"/b/x?uploadId={upload}").status == 204
    assert call("PUT", f"/b/x?uploadId={upload}&partNumber=1", b"1").status == 404
    assert gcs.open_uploads("b") == {}


# --- transcoding


@pytest.mark.parametrize("target", ["/b/x", "/storage/v1/b/b/o/x?alt=media"])
def test_gzip_is_served_decompressed_to_those_who_do_not_accept_it(call, target):
    packed = gzip.compress(b"hello" * 100)
    call("PUT", "/b/x", packed, content_encoding="gzip")
    plain = call("GET", target, range="bytes=0-3", accept_encoding="identity")
    stored = call("GET", target, accept_encoding="gzip")
    part = call("GET", target, accept_encoding="gzip", range="bytes=0-3")

    assert (plain.status, plain.body) == (200, b"hello" * 100)
    assert plain.headers["Content-Encoding"] is None
    assert plain.headers["Content-Length"] is None
    assert plain.headers["x-goog-stored-content-encoding"] == "gzip"
    assert plain.headers["Warning"] == "214 UploadServer gunzipped"
    assert f"crc32c={crc32c(packed)}" in plain.headers.get_all("x-goog-hash")
    assert (stored.body, stored.headers["Content-Encoding"]) == (packed, "gzip")
    assert (part.status, part.body) == (206, packed[:4])


def test_no_transform_serves_what_is_stored(call):
    packed = gzip.compress(b"hello")
    call("PUT", "/b/x", packed, content_encoding="gzip", cache_control="no-transform")

    assert call("GET", "/b/x").body == packed


# --- the server


def test_many_requests_share_a_connection_and_chunked_bodies_arrive(gcs, call):
    call.connection.request("PUT", "/b/x", iter([b"he", b"l" * 100_000, b"o"]))
    assert call.connection.getresponse().read() == b""
    sock = call.connection.sock
    for _ in range(3):
        call("GET", "/b/x")

    assert call.connection.sock is sock
    assert gcs.objects("b")["x"].data == b"he" + b"l" * 100_000 + b"o"


def test_stop_ends_every_thread_also_with_idle_connections():
    before = set(threading.enumerate())
    server = EmbeddedGCS().start()
    client = Client(server.url)
    client("GET", "/b")
    server.stop()
    server.stop()
    client.connection.close()

    assert set(threading.enumerate()) <= before


def test_it_runs_as_a_process_and_is_steered_from_outside():
    command = [sys.executable, "-m", "crossdock.testing.gcs", "--bucket", "b", "--bucket", "c"]
    rule = {"operation": "object.insert", "status": 429, "first": 1, "name": "busy", "retry_after_s": 2}
    with subprocess.Popen(
        [*command, "--rules", json.dumps([rule])], stdout=subprocess.PIPE, text=True
    ) as process:
        call = Client(process.stdout.readline().strip())
        busy = call.insert("x", b"1")
        counters = call("GET", "/_crossdock/faults").json
        cleared = call("DELETE", "/_crossdock/faults").json
        call("POST", "/_crossdock/faults", json.dumps({"operation": "object.get", "cut_at": 1}))
        session = begin_session(call)
        uploads = call("GET", "/_crossdock/uploads").json
        mistaken = call("POST", "/_crossdock/faults", b'{"explode": true}')
        call.connection.close()
        process.terminate()
        assert process.wait(10) == 0

    assert (busy.status, busy.headers["Retry-After"]) == (429, "2")
    assert counters["fired"] == {"busy": 1}
    assert counters["requests"] == {"object.insert": 1}
    assert cleared["rules"] == []
    assert list(uploads["b"].values()) == ["x"]
    assert uploads["c"] == {}
    assert session
    assert mistaken.status == 400


def test_faults_speak_the_language_of_the_api(gcs, call):
    gcs.faults.add(Rule(status=503, first=2, name="down"))

    assert call("GET", "/b/x").body.startswith(b"<?xml")
    assert call("GET", "/storage/v1/b/b/o/x").json["error"]["code"] == 503
    assert gcs.faults.fired == {"down": 2}


def test_the_embedded_gcs_is_light():
    """Naming one server never loads the other's libraries, nor a data frame."""
    program = (
        "import sys; from crossdock.testing import EmbeddedGCS, Rule; "
        "print([m for m in ('moto', 'flask', 'botocore', 'pandas', 'pyarrow', 'distributed', 'gcsfs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
