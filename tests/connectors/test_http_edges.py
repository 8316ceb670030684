"""HTTP sources among servers as they are: redirects, lying ranges, cut bodies, replaced objects, TLS, secrets."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from email.utils import format_datetime

import pytest
from click.testing import CliRunner
from http_server import WebServer
from plain_http import answering

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.connectors.http import HTTPOptions, HTTPStore
from crossdock.connectors.http.errors import retry_after_s
from crossdock.connectors.http.headers import digests_in
from crossdock.connectors.layers import layered
from crossdock.connectors.registry import split_url
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    StalledError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import MIB, ByteRange, Verification
from crossdock.testing.rules import Rule
from crossdock.testing.suite.base import content


@pytest.fixture
def server():
    with WebServer() as server:
        yield server


@pytest.fixture
def store(server):
    return HTTPStore(server.url)


class TestURLs:
    def test_copy_by_url(self, server, tmp_path):
        """`xd.copy` from a URL: bytes and the published digest, proven."""
        data = content(100_000)
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        server.keep("data/a.bin", data, headers=[("Repr-Digest", f"sha-256=:{digest}:")])
        receipt = xd.copy(f"{server.url}/data/a.bin", f"file://{tmp_path}/out/")

        assert data == (tmp_path / "out" / "a.bin").read_bytes()
        assert receipt.verification == Verification.V2
        assert receipt.digests.sha256 == hashlib.sha256(data).digest()

    def test_source_by_prefix_and_by_class(self, server):
        server.keep("data/a.bin?x=1/2", b"bytes")

        assert xd.source(f"{server.url}/data/")("a.bin?x=1/2").read() == b"bytes"
        assert xd.HTTPSource(f"{server.url}/data/")("a.bin?x=1/2").read() == b"bytes"

    def test_large_objects_go_in_parts_pinned_to_one_version(self, server, tmp_path):
        data = content(12 * MIB)
        server.keep("big", data)
        receipt = xd.copy(f"{server.url}/big", f"file://{tmp_path}/", sink_options={"part_size": "1MiB"})

        assert data == (tmp_path / "big").read_bytes()
        assert (receipt.method, receipt.parts) == ("parts", 12)
        pinned = [headers for _, _, headers in server.seen if "range" in headers]
        assert len(pinned) >= 12
        assert all(headers["if-match"] == '"v1"' for headers in pinned)

    def test_the_command_line_copies_one_object(self, server, tmp_path):
        """A query is part of the key, and no wildcard."""
        server.keep("data/a.bin?v=1", b"bytes")
        done = CliRunner().invoke(
            cli,
            [
                "cp",
                f"{server.url}/data/a.bin?v=1",
                f"file://{tmp_path}/copy.bin",
                "-q",
                "--run-dir",
                f"{tmp_path}/run",
            ],
        )

        assert done.exit_code == 0, done.output
        assert (tmp_path / "copy.bin").read_bytes() == b"bytes"

    @pytest.mark.parametrize(("url", "cause"), [("/data/", "no listing"), ("/absent", "no such object")])
    def test_what_cannot_be_copied_says_why(self, server, tmp_path, url, cause):
        done = CliRunner().invoke(
            cli, ["cp", f"{server.url}{url}", f"file://{tmp_path}/x/", "-q", "--run-dir", f"{tmp_path}/run"]
        )

        assert done.exit_code in (2, 3)
        assert cause in done.output + done.stderr
        assert "Traceback" not in done.output + done.stderr

    def test_it_is_no_sink(self, server):
        with pytest.raises(ConfigError, match="a source only"):
            xd.sink(f"{server.url}/data/")

    def test_no_password_in_a_url(self):
        with pytest.raises(ConfigError, match="password in a URL") as raised:
            xd.source("https://me:canary@host/")
        assert "canary" not in str(raised.value)

    def test_what_of_a_url_is_the_store(self):
        """The origin, with its scheme; a trailing slash, a query and every escape belong to the key."""
        assert split_url("https://h:8443/a/b%2f?x=/y#z")[1:] == ("https://h:8443", "a/b%2f?x=/y#z")
        assert split_url("HTTP://h")[1:] == ("http://h", "")
        assert xd.source("https://H:443/a/").url == "https://h/a/"

    def test_targets_travel_as_written(self, server, store):
        """Percent escapes in either case, dots, empty segments: byte for byte."""
        for key in ("a%2fb", "a%2Fb", "a/../b", "./a", "a//b", "/a", "a%7Eb?q=%e4&r=a+b;c"):
            server.keep(key, key.encode())

            assert key.encode() == bytes(store.read(key).read_all())
            assert server.seen[-1][1] == f"/{key}"


class TestExactness:
    def test_a_server_that_ignores_ranges(self, server, store):
        """The whole comes: what is before the range is dropped, once; then it is known, and refused."""
        server.manners.ranges = False
        server.keep("k", content(5_000))

        assert content(5_000)[100:300] == bytes(store.read("k", ByteRange(100, 300)).read_all())
        assert not store.capabilities.ranged_reads
        with pytest.raises(UnsupportedError):
            store.read("k", ByteRange(100, 300))

    def test_a_large_object_without_ranges_is_one_stream(self, server, tmp_path):
        """The first answer says so, and the object is read once."""
        server.manners.ranges = server.manners.says_ranges = False
        data = content(5 * MIB)
        server.keep("big", data)
        receipt = xd.copy(f"{server.url}/big", f"file://{tmp_path}/", sink_options={"part_size": "1MiB"})

        assert data == (tmp_path / "big").read_bytes()
        assert receipt.method == "stream"
        assert server.methods().count("GET") == 1

    @pytest.mark.parametrize(
        "said", ["bytes 0-199/5000", "bytes 101-300/5000", "bytes 100-298/5000", "lines 1-2/3", ""]
    )
    def test_a_wrong_content_range_is_loud(self, server, store, said):
        server.manners.content_range = said or " "
        server.keep("k", content(5_000))

        with pytest.raises(IntegrityError):
            store.read("k", ByteRange(100, 300))

    def test_a_part_that_nobody_asked_for_is_loud(self):
        def partial(request):
            request.send_response(206)
            request.send_header("Content-Range", "bytes 0-3/9")
            request.send_header("Content-Length", "4")
            request.end_headers()
            request.wfile.write(b"data")

        with answering(partial) as (url, seen), pytest.raises(IntegrityError):
            HTTPStore(url).read("k")
        assert len(seen) == 1

    def test_a_cut_part_without_content_length_is_never_short(self):
        """Only Content-Range says how long the part is, and the connection ends it: half of it is an error."""

        def half(request):
            request.send_response(206)
            request.send_header("Content-Range", "bytes 0-99/1000")
            request.send_header("Connection", "close")
            request.end_headers()
            request.wfile.write(bytes(50))
            request.close_connection = True

        with answering(half) as (url, _):
            reader = HTTPStore(url).read("k", ByteRange(0, 100))
            with pytest.raises(ConnectionLostError, match="50 bytes early"):
                reader.read_all()

    @pytest.mark.parametrize("cut_with", ["fin", "rst"])
    @pytest.mark.parametrize("cut_at", [0, 1, 700_000])
    def test_a_cut_body_is_never_short(self, server, store, cut_at, cut_with):
        server.keep("k", content(1_000_000))
        fault = server.faults.add(Rule(operation="object.get", cut_at=cut_at, cut_with=cut_with))

        with pytest.raises(ConnectionLostError):
            store.read("k").read_all()
        assert server.faults.fired[fault] == 1

    def test_a_cut_body_goes_on_at_the_offset(self, server, store):
        server.keep("k", content(3_000_000))
        fault = server.faults.add(Rule(operation="object.get", cut_at=1_500_000, first=1))
        read = b"".join(bytes(chunk) for chunk in layered(store).read("k"))

        assert content(3_000_000) == read
        assert server.faults.fired[fault] == 1
        assert server.seen[-1][2]["if-match"] == '"v1"'

    def test_a_cut_body_without_a_version_is_loud(self, server, store):
        """Nothing pins a second request to the first: an error, not a join."""
        server.manners.etags, server.manners.dates = "none", False
        server.keep("k", content(3_000_000))
        fault = server.faults.add(Rule(operation="object.get", cut_at=1_500_000, first=1))

        with pytest.raises(ConnectionLostError):
            list(layered(store).read("k"))
        assert server.faults.fired[fault] == 1

    def test_a_chunked_body_has_no_length_and_an_end(self, server, store, tmp_path):
        server.manners.length = "chunked"
        server.manners.head = 405
        data = content(3 * MIB)
        server.keep("k", data)
        receipt = xd.copy(f"{server.url}/k", f"file://{tmp_path}/", sink_options={"part_size": "1MiB"})

        assert data == (tmp_path / "k").read_bytes()
        assert (receipt.method, receipt.size) == ("stream", len(data))
        assert store.read("k").info.size is None

    def test_a_body_that_ends_with_its_connection_is_refused(self, server, store):
        """Neither length nor chunks: a cut could not be told from the end."""
        server.keep("k", content(1_000))
        fault = server.faults.add(Rule(operation="object.get", no_length=True))

        with pytest.raises(UnsupportedError, match="a cut could not be told"):
            store.read("k")
        assert server.faults.fired[fault] == 1

    @pytest.mark.parametrize("honours", [True, False])
    @pytest.mark.parametrize("etags", ["strong", "weak", "none"])
    def test_replaced_between_two_parts(self, server, etags, honours):
        """Whole old, whole new or loud, whether the server compares or we do."""
        server.manners.etags, server.manners.honours_conditions = etags, honours
        server.keep("k", content(4 * MIB, seed=1))
        first = HTTPStore(server.url).stat("k")
        server.keep("k", content(4 * MIB, seed=2))

        with pytest.raises(PreconditionError):
            HTTPStore(server.url).read("k", ByteRange(MIB, 2 * MIB), version=first.version)
        assert (first.version.etag is None) == (etags != "strong")
        assert (first.version.generation or "weak: ").startswith("weak: ")

    def test_the_weaker_form_is_named_in_the_receipt(self, server, tmp_path):
        server.manners.etags = "none"
        server.keep("k", b"data")
        receipt = xd.copy(f"{server.url}/k", f"file://{tmp_path}/")

        assert receipt.source_version.generation.startswith("weak: Sun, 09 Sep 2001")

    def test_strict_refuses_the_weaker_form(self, server):
        server.keep("k", b"data")
        xd.copy(f"{server.url}/k", "memory://strict-http/", sink_options={"strict": True})
        server.manners.etags = "weak"

        with pytest.raises(xd.StrictError, match="cannot be pinned"):
            xd.copy(f"{server.url}/k", "memory://strict-http/", sink_options={"strict": True})

    def test_a_flipped_bit_is_caught_by_the_published_digest(self, server, tmp_path):
        data = content(10_000)
        digest = base64.b64encode(hashlib.md5(data).digest()).decode()
        server.keep("k", data, headers=[("Content-MD5", digest)])
        fault = server.faults.add(Rule(operation="object.get", flip_bit=777, first=1))
        xd.copy(f"{server.url}/k", f"file://{tmp_path}/")

        assert data == (tmp_path / "k").read_bytes()
        assert server.faults.fired[fault] == 1

    def test_gcs_that_unpacks_on_the_way_is_refused(self, server, store):
        server.keep("k", b"plain", headers=[("x-goog-stored-content-encoding", "gzip")])

        with pytest.raises(UnsupportedError, match="unpacks"):
            store.read("k")


def test_digests_only_where_they_are_beyond_doubt():
    md5 = base64.b64encode(bytes(16)).decode()
    crc = base64.b64encode(bytes(4)).decode()
    sha = base64.b64encode(bytes(32)).decode()

    assert digests_in({"content-md5": md5}, whole=True).md5 == bytes(16)
    assert not digests_in({"content-md5": md5, "digest": f"SHA-256={sha}"}, whole=False)
    assert digests_in({"repr-digest": f"sha-256=:{sha}:, md5=:{md5}:"}, whole=False).sha256 == bytes(32)
    assert digests_in({"x-goog-hash": f"crc32c={crc}, md5={md5}"}, whole=False).crc32c == bytes(4)
    assert not digests_in({"x-amz-checksum-crc32c": crc, "x-amz-checksum-type": "COMPOSITE"}, whole=True)
    assert not digests_in({"x-amz-checksum-crc32c": crc + "-3", "content-md5": "nonsense"}, whole=True)
    assert digests_in({"x-amz-checksum-sha256": sha}, whole=True).sha256 == bytes(32)


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, CredentialsError),
            (403, DeniedError),
            (404, NotFoundError),
            (410, NotFoundError),
            (500, ConnectionLostError),
        ],
    )
    def test_statuses(self, server, store, status, error):
        server.keep("k", b"data")
        server.faults.add(Rule(operation="object.*", status=status))

        for use in (store.stat, store.read):
            with pytest.raises(error) as raised:
                use("k")
            assert type(raised.value) is error
            assert "\n" not in str(raised.value)

    def test_retry_after_in_both_forms(self, server, store):
        server.keep("k", b"data")
        server.faults.add(Rule(operation="object.get", status=429, retry_after_s=7))

        with pytest.raises(ThrottledError) as raised:
            store.read("k")
        assert raised.value.retry_after_s == 7
        now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        then = format_datetime(now + dt.timedelta(seconds=90), usegmt=True)
        assert [retry_after_s(text, now) for text in (then, "12", "soon", None)] == [90.0, 12.0, None, None]

    def test_the_retry_layer_retries_and_the_store_does_not(self, server, store):
        server.keep("k", b"data")
        fault = server.faults.add(Rule(operation="object.get", status=503, first=1))

        with pytest.raises(ThrottledError):
            store.read("k")
        fault = server.faults.add(Rule(operation="object.get", status=503, first=1, name="again"))
        assert bytes(layered(store).read("k").read_all()) == b"data"
        assert server.faults.fired[fault] == 1

    def test_silence_is_stalled(self, server):
        server.keep("k", b"data")
        fault = server.faults.add(Rule(operation="object.get", delay_s=30))

        with pytest.raises(StalledError):
            HTTPStore(server.url, HTTPOptions(no_progress_timeout_s=0.2)).read("k")
        assert server.faults.fired[fault] == 1

    def test_nobody_there(self):
        with WebServer() as server:
            url = server.url

        with pytest.raises(ConnectionLostError, match="cannot connect"):
            HTTPStore(url).check()

    @pytest.mark.parametrize(
        "bad", [{"headers": {"Range": "x"}}, {"headers": {"a b": "x"}}, {"user": "x"}, {"max_redirects": -1}]
    )
    def test_options_that_make_no_sense(self, bad):
        with pytest.raises(ConfigError):
            xd.source("https://host/", **bad)
