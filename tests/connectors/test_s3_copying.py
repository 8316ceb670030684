"""Copies inside S3 that are too large for one request: part by part, pinned, and nothing is left of one that fails."""

from __future__ import annotations

import pytest

from crossdock.connectors.s3 import S3Options, S3Store, copying
from crossdock.errors import ConnectionLostError, PreconditionError
from crossdock.model import ABSENT, MIB, Condition, Metadata
from crossdock.options import Secret
from crossdock.testing import EmbeddedS3, Rule

DATA = bytes(range(256)) * 4096 * 11 + b"end"  # 11 MiB and a bit: three parts of at most 5 MiB
METADATA = Metadata(content_type="text/x", user={"who": "we"})


@pytest.fixture(scope="module")
def server():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture
def store(server, monkeypatch):
    """A service whose limit for one request is 6 MiB instead of 5 GiB."""
    monkeypatch.setattr(copying, "COPY_LIMIT", 6 * MIB)
    monkeypatch.setattr(copying, "_PART", 5 * MIB)
    server.faults.clear()
    server.faults.reset_counters()
    options = S3Options(endpoint_url=server.url, key=Secret("A"), secret=Secret("canary"), region="us-east-1")
    store = S3Store("bucket", options)
    for key in ("from", "to"):
        store.delete(key)
    return store


def test_part_by_part(server, store):
    info = store.put("from", DATA)
    server.faults.reset_counters()

    copied = store.copy(store.url, "from", "to", info=info, metadata=METADATA, condition=ABSENT)

    assert server.objects("bucket")["to"].data == DATA
    assert (copied.size, copied.metadata) == (len(DATA), METADATA)
    assert store.stat("to").metadata == METADATA
    assert server.faults.requests["part.put"] == 3
    assert {"object.insert", "object.get"}.isdisjoint(server.faults.requests)  # no byte came through here
    assert list(store.list_uploads("to")) == []
    with pytest.raises(PreconditionError):
        store.copy(store.url, "from", "to", info=info, condition=ABSENT)
    assert list(store.list_uploads("to")) == []
    store.copy(store.url, "from", "to", info=info, condition=Condition(version=copied.version))
    assert store.stat("to").metadata == Metadata()


def test_a_source_that_is_replaced_between_two_parts(server, store):
    """Each range is pinned to the version that was observed; nothing is left."""
    info = store.put("from", DATA)
    fired = []

    def replace_it():
        fired.append(True)
        store.put("from", DATA[::-1])

    server.faults.add(Rule(operation="part.put", skip=1, first=1, act=replace_it))

    with pytest.raises(PreconditionError):
        store.copy(store.url, "from", "to", info=info)

    assert fired == [True]
    assert "to" not in server.objects("bucket")
    assert list(store.list_uploads("to")) == []


@pytest.mark.parametrize(("operation", "left"), [("part.put", 0), ("upload.complete", 1)])
def test_a_part_that_fails_leaves_nothing(server, store, operation, left):
    """A completion may have succeeded all the same: what is left of it is for `crossdock cleanup`."""
    info = store.put("from", DATA)
    server.faults.add(Rule(operation=operation, status=500, name="broken"))

    with pytest.raises(ConnectionLostError):
        store.copy(store.url, "from", "to", info=info)

    assert server.faults.fired["broken"] >= 1
    assert "to" not in server.objects("bucket")
    found = list(store.list_uploads("to"))
    assert len(found) == left
    for upload in found:
        store.abort(upload)
