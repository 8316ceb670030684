"""M + N: every source into every sink, through one combined task, by construction and without a module per pair."""

from __future__ import annotations

import base64
import hashlib

import pytest

import crossdock as xd
from crossdock.model import MIB, Metadata, Verification

STORES = ("s3", "gcs", "local", "memory", "sftp")
METADATA = Metadata(
    content_type="text/x-test",
    cache_control="max-age=60",
    content_disposition='attachment; filename="a b.txt"',
    content_language="de",
    user={"one": "1", "two": "zwei"},
)


@pytest.mark.parametrize("end", STORES, indirect=True)
@pytest.mark.parametrize("other_end", STORES, indirect=True)
def test_any_pair_is_exact(end, other_end, request, open_source, open_sink):
    """Zero bytes, small, and in parts: bytes equal, metadata kept or named as lost, at least V1."""
    small, large = b"some bytes", bytes(range(256)) * (12 * MIB // 256) + b"tail"
    bodies = {"dir/zero": b"", "dir/small ü": small, "large": large}
    fill, source = open_sink(end), open_source(end)
    for key, body in bodies.items():
        fill.store.put(
            key, body, metadata=METADATA if "user" in fill.store.capabilities.metadata_fields else Metadata()
        )
    same = end[0] == other_end[0]
    sink = xd.sink(other_end[0] + ("copy/" if same else ""), **other_end[1], part_size="5MiB")

    with xd.one_task("pair") as pair:
        sink(source(xd.param("key")))

    for key, body in bodies.items():
        receipt = pair(key=key)

        stored = sink.store.read(sink.prefix + key)
        assert body == bytes(stored.read_all())
        found = sink.store.stat(sink.prefix + key)
        assert receipt.size == found.size == len(body)
        assert receipt.verification >= Verification.V1 or receipt.method == "copy"
        before = source.store.stat(key).metadata
        for name in before.present():
            field, _, user = name.partition(".")
            kept = getattr(found.metadata, field)
            expected = getattr(before, field)
            if user:
                kept, expected = kept.get(user), expected[user]
            assert kept == expected or name in receipt.metadata_lost
    assert list(sink.store.list_uploads()) == []


@pytest.mark.parametrize("other_end", STORES, indirect=True)
def test_a_web_server_into_any_store(web, other_end):
    """A source that cannot be written: the same, with a digest it publishes proven from end to end."""
    bodies = {
        "dir/zero": b"",
        "dir/small%20x": b"some bytes",
        "large": bytes(range(256)) * (12 * MIB // 256) + b"tail",
    }
    for key, body in bodies.items():
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        web.keep(key, body, metadata=METADATA, headers=[("Repr-Digest", f"sha-256=:{digest}:")])
    sink = xd.sink(other_end[0], **other_end[1], part_size="5MiB")

    with xd.one_task("pair") as pair:
        sink(xd.source(f"{web.url}/")(xd.param("key")))

    for key, body in bodies.items():
        receipt = pair(key=key)

        assert body == bytes(sink.store.read(sink.prefix + key).read_all())
        assert receipt.verification >= Verification.V2
        kept = sink.store.stat(sink.prefix + key).metadata
        assert kept == METADATA or {"content_type", "user.one"} <= {*receipt.metadata_lost}
    assert list(sink.store.list_uploads()) == []


@pytest.mark.parametrize("end", ["s3", "gcs", "local", "sftp"], indirect=True)
@pytest.mark.parametrize("size", [1000, 14 * MIB])
@pytest.mark.parametrize("old", [None, b"the old object"])
def test_a_source_that_dies_leaves_the_destination_as_it_was(end, size, old, open_sink):
    """Absent stays absent, old stays old, and no upload is left, for small and large objects."""
    sink = open_sink(end, part_size="5MiB")
    if old is not None:
        sink.store.put("k", old)

    def dying():
        for _ in range(0, size, 1000):
            yield b"x" * 1000
        raise OSError("the source died")

    with pytest.raises(OSError, match="the source died"):
        sink(dying(), key="k")

    if old is None:
        with pytest.raises(xd.NotFoundError):
            sink.store.stat("k")
    else:
        assert old == bytes(sink.store.read("k").read_all())
    assert list(sink.store.list_uploads()) == []
    assert ([] if old is None else ["k"]) == [info.key for page in sink.store.list() for info in page]
