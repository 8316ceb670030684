"""Any sequence of changes at the source, each followed by a run: what is there is what is readable, and nothing is done for nothing."""

from __future__ import annotations

import json
from itertools import chain

import pytest
from flow_kit import bucket, contents, filled, generations
from hypothesis import HealthCheck, given, settings, strategies as st

import crossdock as xd

SCHEMA = {"id": "int64"}

keys = st.tuples(st.sampled_from(["", "a/", "b/"]), st.integers(0, 12)).map(
    lambda each: f"{each[0]}{each[1]:02d}.jsonl"
)
changes = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "spoil", "remove"]), keys, st.integers(1, 3)),
    min_size=1,
    max_size=8,
)


def convert(source, sink, target, partition_by):
    return xd.convert(
        f"{source}/",
        f"{sink}/",
        target_size=target,
        schema={**SCHEMA, "kind": "string"},
        partition_by=partition_by,
        run_dir=f"memory://{bucket()}/run/",
    )


def ids_at(sink, stale, partition_by):
    """Every id at the destination, but for outputs that the last run did not stand up for."""
    if partition_by:
        rows = xd.dataset(f"{sink}/")().read_all() if contents(sink) else None
        return [] if rows is None else sorted(rows["id"].to_pylist())
    found = []
    for key in contents(sink).keys() - stale:
        found += xd.decode()(xd.source(f"{sink}/")(key)).read_all()["id"].to_pylist()
    return sorted(found)


@pytest.mark.parametrize(("target", "partition_by"), [(None, None), (150, None), (150, "kind")])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes, min_size=1, max_size=3))
def test_after_every_run_the_destination_holds_what_can_be_read(target, partition_by, rounds):
    source, sink = filled({"a/x.jsonl": b'{"id": -1, "kind": "k0"}\n'}), f"memory://{bucket()}"
    store, expected, next_id = xd.source(f"{source}/").store, {"a/x.jsonl": [-1]}, 0
    bad = set()
    for steps in rounds:
        for what, key, rows in steps:
            if what == "remove":
                store.delete(key)
                expected.pop(key, None)
                bad.discard(key)
                continue
            ids = list(range(next_id, next_id + rows))
            next_id += rows
            body = b"".join(json.dumps({"id": each, "kind": f"k{each % 2}"}).encode() + b"\n" for each in ids)
            store.put(key, body if what == "put" else b"garbage\n")
            expected.pop(key, None)
            bad.discard(key)
            if what == "put":
                expected[key] = ids
            else:
                bad.add(key)

        report = convert(source, sink, target, partition_by)
        before = generations(sink)
        again = convert(source, sink, target, partition_by)

        counts = report.counts
        # Told to be left over, or of objects none of which can be read any more: what was there stays.
        rows = report.to_arrow().select(["destination", "state"]).to_pylist()
        made = {row["destination"] for row in rows if row["state"] != "failed"}
        stale = {row["destination"] for row in rows} - made | set(report.finished["orphan_keys"])
        assert (counts.planned, counts.failed) == (len(expected) + len(bad), len(bad))
        assert counts.pending == 0
        if not (partition_by and stale):
            assert ids_at(sink, stale, partition_by) == sorted(chain.from_iterable(expected.values()))
        assert (again.counts.copied, again.counts.failed) == (0, len(bad))
        assert generations(sink) == before
