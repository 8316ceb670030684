"""``ReadOut``: an object's bytes exactly, in one version, compared with what its store published."""

from __future__ import annotations

import pytest
from flow_kit import Troubled, bucket, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, IntegrityError, NotFoundError, PreconditionError, RangeError
from crossdock.flows.reading_out import ReadOut, parse_range
from crossdock.testing import EmbeddedGCS, EmbeddedS3

BODY = bytes(range(256)) * 40


def read(url, **arguments):
    return b"".join(bytes(chunk) for chunk in ReadOut(url, **arguments))


@pytest.mark.parametrize("body", [b"", b"1", BODY])
def test_all_bytes_and_what_proved_them(body):
    out = ReadOut(f"{filled({'k': body})}/k")

    assert body == b"".join(bytes(chunk) for chunk in out)
    assert out.proof


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-1", BODY[:1]),
        ("10-20", BODY[10:20]),
        ("10000-", BODY[10000:]),
        ("-5", BODY[-5:]),
        ("-99999", BODY),
        ("0-99999", BODY),
    ],
)
def test_ranges_are_half_open(text, expected):
    start, stop = parse_range(text)

    assert expected == read(f"{filled({'k': BODY})}/k", start=start, stop=stop)


@pytest.mark.parametrize(
    "text", ["", "-", "5", "5-5", "6-5", "a-b", "-0", "1-2-3", "\N{ARABIC-INDIC DIGIT ONE}-"]
)
def test_what_is_no_range(text):
    with pytest.raises(ConfigError, match="is not a range"):
        parse_range(text)


def test_a_range_behind_the_end():
    for url in (f"{filled({'k': b'12'})}/k", f"{filled({'k': b''})}/k"):
        with pytest.raises(RangeError):
            read(url, start=2)
    with pytest.raises(ConfigError):
        ReadOut(url, start=3, stop=2)


def test_wrong_bytes_are_an_error_at_the_end(monkeypatch):
    """Bit rot between the store and us: the digest was published of other bytes."""
    url = filled({"k": BODY})
    original = MemoryStore.read

    class Flipped:
        def __init__(self, reader):
            self.info, self._reader = reader.info, reader

        def __iter__(self):
            for chunk in self._reader:
                yield bytes([chunk[0] ^ 1]) + bytes(chunk[1:])

        def close(self):
            self._reader.close()

    monkeypatch.setattr(
        MemoryStore, "read", lambda self, *args, **kwargs: Flipped(original(self, *args, **kwargs))
    )
    with pytest.raises(IntegrityError, match="than the source published"):
        read(f"{url}/k")


def test_an_object_replaced_before_its_bytes_came_is_an_error():
    store = Troubled()
    store.put("k", b"old")
    out = ReadOut(f"{store.url}/k")
    out._store = store
    store.before = lambda verb, _: MemoryStore(store.bucket).put("k", b"new") if verb == "read" else None

    with pytest.raises(PreconditionError):
        list(out)
    assert store.count("read") == 1


def test_no_such_object():
    with pytest.raises(NotFoundError):
        read(f"memory://{bucket()}/k")
    with pytest.raises(ConfigError, match="names no object"):
        ReadOut(f"memory://{bucket()}/")


@pytest.mark.parametrize("kind", ["s3", "s3 in parts", "gs"])
def test_servers_digests(kind, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    body = b"x" * (11 * 2**20 if "parts" in kind else 1000)
    with EmbeddedS3(buckets=("shelf",)) as s3, EmbeddedGCS(buckets=("shelf",)) as gcs:
        url, options = (
            ("gs://shelf/k", {"endpoint_url": gcs.url})
            if kind == "gs"
            else ("s3://shelf/k", {"endpoint_url": s3.url, "region": "us-east-1"})
        )
        xd.sink(url.removesuffix("k"), **options, part_size_bytes=5 * 2**20)(body, key="k")
        out = ReadOut(url, options=options)

        assert body == b"".join(bytes(chunk) for chunk in out)
        assert out.proof
        assert body[3:900] == read(url, options=options, start=3, stop=900)
