"""The obstore engine: which keys it may touch, what it makes of bad answers, that it fails on no progress only."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from urllib.parse import unquote

import obstore
import pytest
from obstore.store import S3Store
from plain_http import answering, error_body, fixed

from crossdock.connectors import native
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StalledError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ABSENT, ByteRange, Condition, Metadata, Version

WHERE = "s3://bucket"
STATE = {"ETag": '"abc"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
STRANGE = [chr(code) for code in range(1, 256)] + [
    "\u2028",
    "e\u0301",
    "\ufeff",
    "\U0001f600",
    "%2F",
    "%00",
    "..x",
]


def store_at(url: str, no_progress_timeout_s: float = 30.0) -> S3Store:
    config = {"endpoint": url, "region": "us-east-1", "access_key_id": "A", "secret_access_key": "B"}
    return S3Store(
        "bucket",
        config={**config, "unsigned_payload": True},
        client_options=native.client_options(
            connect_timeout_s=5, no_progress_timeout_s=no_progress_timeout_s, allow_http=True
        ),
        retry_config=native.NO_RETRIES,
    )


def read_all(url: str, byte_range: ByteRange | None = None, **options) -> bytes:
    return bytes(native.read(store_at(url, **options), "key", byte_range, where=WHERE).read_all())


def test_addressable_keys_are_sent_exactly():
    """Every key that is called addressable arrives as it is, percent signs and all."""
    with answering(fixed(200, b"hello", STATE)) as (url, seen):
        store = store_at(url)
        keys = [
            key for text in STRANGE for key in (f"a{text}b", text, f"x/{text}") if native.addressable(key)
        ]
        for key in keys:
            native.read(store, key, None, where=WHERE).close()

    assert [f"/bucket/{key}" for key in keys] == [unquote(target) for _, target, _ in seen]
    assert len(keys) > 600


@pytest.mark.parametrize(
    "key", ["", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "../a", "a\nb", "\x7f", "a\x00"]
)
def test_keys_that_would_be_bent_are_not_addressable(key):
    """What obstore drops, folds or refuses is left to the other route."""
    assert not native.addressable(key)


def test_obstore_still_bends_keys():
    """The fact the rule rests on (0.12.1): a slash at either end is dropped silently."""
    with answering(fixed(200, b"hello", STATE)) as (url, seen):
        obstore.get(store_at(url), "dir/")
        obstore.get(store_at(url), "/dir")

    assert [target for _, target, _ in seen] == ["/bucket/dir", "/bucket/dir"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (Metadata(content_type="text/plain; charset=utf-8", user={"a-b": "one two"}), True),
        (Metadata(user={"content-type": "x"}), False),
        (Metadata(user={"a": "two  spaces"}), False),
        (Metadata(user={"a": " padded"}), False),
        (Metadata(user={"a": "line\nbreak"}), False),
        (Metadata(user={"a b": "x"}), False),
        (Metadata(user={"a": "é"}), False),
        (Metadata(cache_control="a\tb"), False),
    ],
)
def test_expressible(metadata, expected):
    """Metadata that obstore would bend, mis-sign or panic at is left to the other route."""
    assert expected == native.expressible(metadata)


def test_an_answer_in_full():
    """Key, whole size, version, metadata and time come from the one GET; the range is what was asked for."""
    headers = {
        **STATE,
        "Content-Range": "bytes 1-3/10",
        "Content-Type": "text/plain",
        "Content-Encoding": "gzip",
        "x-amz-meta-content-type": "user's own",
        "x-amz-storage-class": "STANDARD_IA",
    }
    with answering(fixed(206, b"ell", headers)) as (url, seen):
        reader = native.read(store_at(url), "key", ByteRange(1, 4), Version(etag="abc"), where=WHERE)
        data = bytes(reader.read_all())

    assert data == b"ell"
    assert (reader.info.size, reader.info.version) == (10, Version(etag="abc"))
    assert reader.info.modified == datetime(2024, 1, 1, tzinfo=UTC)
    expected = Metadata(
        content_type="text/plain", content_encoding="gzip", user={"content-type": "user's own"}
    )
    assert expected == reader.info.metadata
    assert (seen[0][2]["range"], seen[0][2]["if-match"]) == ("bytes=1-3", '"abc"')


CASES = [
    (404, "NoSuchKey", NotFoundError, Retry.NEVER),
    (404, "NoSuchBucket", NotFoundError, Retry.NEVER),
    (403, "AccessDenied", DeniedError, Retry.NEVER),
    (403, "InvalidAccessKeyId", CredentialsError, Retry.NEVER),
    (403, "SignatureDoesNotMatch", CredentialsError, Retry.NEVER),
    (403, "InvalidObjectState", UnsupportedError, Retry.NEVER),
    (400, "ExpiredToken", CredentialsError, Retry.NEVER),
    (401, "Whatever", CredentialsError, Retry.NEVER),
    (400, "BadDigest", IntegrityError, Retry.LATER),
    (409, "ConditionalRequestConflict", PreconditionError, Retry.NEVER),
    (412, "PreconditionFailed", PreconditionError, Retry.NEVER),
    (416, "InvalidRange", RangeError, Retry.NEVER),
    (429, "TooMany", ThrottledError, Retry.LATER),
    (503, "SlowDown", ThrottledError, Retry.LATER),
    (500, "InternalError", ConnectionLostError, Retry.LATER),
    (502, "", ConnectionLostError, Retry.LATER),
    (301, "PermanentRedirect", ConfigError, Retry.NEVER),
]


@pytest.mark.parametrize(("status", "code", "kind", "retry"), CASES)
def test_answers_become_our_errors(status, code, kind, retry):
    """One table: the class says what happened, ``retry`` whether to try again, the vendor's error is the cause."""
    with (
        answering(fixed(status, error_body(code) if code else b"")) as (url, seen),
        pytest.raises(kind) as caught,
    ):
        read_all(url)

    assert type(caught.value) is kind
    assert (retry, "read", WHERE, "key") == (
        caught.value.retry,
        caught.value.operation,
        caught.value.where,
        caught.value.key,
    )
    assert caught.value.__cause__ is not None
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("status", "condition"), [(412, ABSENT), (409, ABSENT), (412, Condition(version=Version(etag="old")))]
)
def test_conditional_puts_that_are_refused(status, condition):
    """A destination in another state is a ``PreconditionError``, whatever obstore calls it; the header was sent."""
    with (
        answering(fixed(status, error_body("PreconditionFailed"))) as (url, seen),
        pytest.raises(PreconditionError),
    ):
        native.put(store_at(url), "key", b"x", condition=condition, where=WHERE)

    headers = seen[0][2]
    assert ("*" if condition.absent else '"old"') == headers.get("if-none-match", headers.get("if-match"))


@pytest.mark.parametrize(
    ("answer", "byte_range"),
    [
        (fixed(200, b"short", {**STATE, "Content-Length": "100", "Connection": "close"}), None),
        (fixed(206, b"el", {**STATE, "Content-Range": "bytes 0-1/5"}), ByteRange(1, 3)),
    ],
    ids=["short body", "another range"],
)
def test_lying_answers_are_loud(answer, byte_range):
    """A short body or another range is never passed on as the object."""

    def closing(request):
        answer(request)
        request.close_connection = True

    with answering(closing) as (url, _):
        with pytest.raises((ConnectionLostError, IntegrityError)) as caught:
            read_all(url, byte_range)
        with pytest.raises((ConnectionLostError, IntegrityError)):
            [*native.read(store_at(url), "key", byte_range, where=WHERE)]

    assert caught.value.retry is Retry.LATER


def test_a_server_that_ignores_ranges_is_told_apart():
    """200 for a range: the engine refuses, and says so in a class of its own, so that the other route is taken."""
    with (
        answering(fixed(200, b"hello", STATE)) as (url, _),
        pytest.raises(native.EngineRefusedError) as caught,
    ):
        read_all(url, ByteRange(1, 3))

    assert caught.value.reason == "range"


def test_no_progress_is_a_stall_and_slowness_is_not():
    """Silence beyond the timeout raises; a trickle that takes longer than it in total does not."""
    hold = threading.Event()

    def silent(request):
        fixed(200, b"he", {**STATE, "Content-Length": "5"})(request)
        hold.wait(10)
        request.close_connection = True

    def trickle(request):
        request.send_response(200)
        for name, value in {**STATE, "Content-Length": "5"}.items():
            request.send_header(name, value)
        request.end_headers()
        for _ in range(5):
            request.wfile.write(b"x")
            request.wfile.flush()
            hold.wait(0.15)

    with answering(trickle) as (url, _):
        assert read_all(url, no_progress_timeout_s=0.5) == b"xxxxx"
    with answering(silent) as (url, _):
        try:
            with pytest.raises(StalledError):
                read_all(url, no_progress_timeout_s=0.3)
        finally:
            hold.set()


@pytest.mark.parametrize(
    ("url", "retry", "words"),
    [
        ("http://127.0.0.1:1", Retry.LATER, "Connection refused"),
        ("http://no-such-host.invalid", Retry.LATER, "cannot connect"),
    ],
)
def test_no_connection(url, retry, words):
    """Refused and unknown hosts say which, in one line."""
    with pytest.raises(ConnectionLostError, match=words) as caught:
        read_all(url)

    assert retry is caught.value.retry
    assert "\n" not in str(caught.value)


def test_tls_that_is_none_refuses_for_good():
    """TLS errors are not tried again."""
    with (
        answering(fixed(200, b"hello", STATE)) as (url, _),
        pytest.raises(ConnectionLostError, match="TLS") as caught,
    ):
        read_all(url.replace("http:", "https:"))

    assert caught.value.retry is Retry.NEVER


def test_a_reader_is_read_once():
    """The second reading is an error, not an empty object."""
    with answering(fixed(200, b"hello", STATE)) as (url, _):
        reader = native.read(store_at(url), "key", None, where=WHERE)
        reader.read_all()
        with pytest.raises(Exception, match="read once"):
            reader.read_all()
