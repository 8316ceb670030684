"""Datasets are added all or nothing: failures, repetitions, rivals, and what is cleared up."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_kit import data_of, fresh, held, unsorted_rows

import crossdock as xd
from crossdock.batches import Batches
from crossdock.combine import CombinedTask
from crossdock.datasets import dataset, dataset_sink, writing
from crossdock.datasets.state import State, put_state
from crossdock.errors import (
    ConnectionLostError,
    NotFoundError,
    PreconditionError,
    Retry,
)


@pytest.fixture
def url():
    return fresh()


def test_a_source_that_dies_leaves_nothing_visible_and_nothing_behind(url):
    rows, closed = unsorted_rows(), []
    sink = dataset_sink(url, partition_by="place", target_size="1KiB", memory="256KiB")
    written = []

    def dying():
        for number, batch in enumerate(rows.to_batches(max_chunksize=1_000)):
            if number == 60:
                written.append(len(data_of(url)))
                raise ConnectionResetError("gone at 60 %")
            yield batch

    with pytest.raises(ConnectionResetError):
        sink(Batches(rows.schema, dying(), close=lambda: closed.append(True)), batch_id="one")

    assert written[0] > 50  # objects were there when it died
    assert closed == [True]
    assert held(url) == {}
    with pytest.raises(NotFoundError):
        dataset(url)()


def test_a_failed_attempt_leaves_the_batch_as_it_was(url):
    sink = dataset_sink(url, partition_by="p")
    old = pa.table({"a": [1, 2], "p": ["x", "y"]})
    sink(old, batch_id="one")
    before = {key: body for key, body in held(url).items() if key in data_of(url)}

    def dying():
        yield pa.record_batch({"a": [3], "p": ["x"]})
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        sink(Batches(old.schema, dying()), batch_id="one")

    assert before == {key: body for key, body in held(url).items() if key in data_of(url)}
    assert old == dataset(url)().read_all()


def test_the_same_batch_again_changes_nothing_and_another_under_its_name_replaces_it(url):
    rows = unsorted_rows().slice(0, 5_000)
    sink = dataset_sink(url, partition_by="place")
    sink(pa.table({"number": [-1], "place": [7], "text": ["other batch"]}), batch_id="other")
    first = sink(rows, batch_id="one")
    keys = data_of(url)
    again = sink(rows, batch_id="one")
    unread = dataset_sink(url, partition_by="place", on_done="skip")(
        Batches(rows.schema, iter([]), close=lambda: None), batch_id="one"
    )
    same = data_of(url)
    fewer = sink(rows.slice(0, 10), batch_id="one")

    assert (first.method, again.method, unread.method, fewer.method) == ("dataset", "skip", "skip", "dataset")
    assert keys == same
    assert (first.rows, again.rows, fewer.rows) == (5_000, 5_000, 10)
    assert dataset(url)().read_all().num_rows == 11
    assert len(data_of(url)) == fewer.objects + 1


def test_of_two_attempts_of_one_batch_the_later_one_counts(url):
    """The first finds at its commit that it was taken over; it deletes what is its own, and nothing else."""
    sink = dataset_sink(url)
    later = pa.table({"a": [1, 2]})

    def overtaken():
        yield pa.record_batch({"a": [9]})
        sink(later, batch_id="one")

    with pytest.raises(PreconditionError, match="batch_id of its own"):
        sink(Batches(later.schema, overtaken()), batch_id="one")

    assert later == dataset(url)().read_all()
    assert len(data_of(url)) == 1


def test_vacuum_deletes_what_no_batch_lists_and_only_what_is_named_as_ours(url):
    sink = dataset_sink(url, partition_by="p")
    rows = pa.table({"a": [1, 2], "p": ["x", "y"]})
    sink(rows, batch_id="good")
    source = xd.sink(url)
    source([b"x"], key="p=x/part-lost-0123456789abcdef-00000.parquet")  # its attempt failed, its deletion too
    source([b"y"], key="p=x/somebody-elses.parquet")
    half = _begun(sink, rows)
    store, prefix = sink.request.store, sink.request.prefix
    for name in ("part-lost-0123456789abcdef-00001.parquet", "others.parquet"):
        store.begin(f"{prefix}p=x/{name}", part_size_bytes=2**23)
    young = sink.vacuum()
    kept = data_of(url)
    old = sink.vacuum(older_than=timedelta(0))

    assert (young.objects, young.uploads, young.young) == (1, 1, 1)
    assert [each.key for each in store.list_uploads(prefix)] == [f"{prefix}p=x/others.parquet"]
    assert half in kept
    assert (old.objects, old.young) == (1, 0)
    assert {"p=x/somebody-elses.parquet"} < data_of(url)
    assert len(data_of(url)) == 3
    assert rows == dataset(url)().read_all()
    assert [key for key in held(url) if key.startswith("_crossdock/")] == ["_crossdock/good.json"]
    assert sink.vacuum(older_than=timedelta(0)).objects == 0


def test_a_commit_of_unknown_outcome_deletes_nothing(url, monkeypatch):
    """The list may be visible, so what it names has to stay; only with a batch_id may it be tried again."""
    calls, put = [], writing.put_state

    def lost(*arguments, **more):
        calls.append(1)
        made = put(*arguments, **more)
        if len(calls) % 2 == 0:  # it was stored, and nobody was told
            error = ConnectionLostError("no answer", operation="put")
            error.unknown_outcome = True
            raise error
        return made

    monkeypatch.setattr(writing, "put_state", lost)
    with pytest.raises(ConnectionLostError, match="batch_id") as unnamed:
        dataset_sink(url)([{"a": 1}])
    with pytest.raises(ConnectionLostError, match="safe to try again") as named:
        dataset_sink(url)([{"a": 2}], batch_id="two")
    monkeypatch.undo()
    again = dataset_sink(url)([{"a": 2}], batch_id="two")

    assert (unnamed.value.retry, named.value.retry) == (Retry.NEVER, Retry.LATER)
    assert again.method == "skip"
    assert sorted(dataset(url)().read_all()["a"].to_pylist()) == [1, 2]


def _begun(sink, rows):
    """The key of an object of an attempt that was killed: its state says that it is at work."""
    store, prefix = sink.request.store, sink.request.prefix
    put_state(store, prefix, State(batch="dead", attempt="fedcba9876543210"), before=None)
    key = "p=x/part-dead-fedcba9876543210-00000.parquet"
    out = pa.BufferOutputStream()
    pq.write_table(rows.select(["a"]), out)
    store.put(prefix + key, out.getvalue().to_pybytes())
    return key


def test_a_receipt_is_cached_and_asked_whether_it_still_holds(url, tmp_path):
    """A pair with a dataset runs once; when its batch was replaced, it runs again."""
    source = xd.frames(rows=[{"a": 1}])
    lake = dataset_sink(url)
    pair = CombinedTask(
        source.bind(xd.param("name")), lake.bind(batch_id="one"), cache=f"file://{tmp_path}/c/"
    )
    runner = xd.LocalRunner(threads=1)
    (first,), (second,) = (list(pair.map(name=["rows"], runner=runner)) for _ in range(2))
    lake([{"a": 2}], batch_id="one")
    (third,) = pair.map(name=["rows"], runner=runner)

    assert [first.state.value, second.state.value, third.state.value] == ["done", "cached", "done"]
    assert second.value.rows == 1
    assert dataset(url)().read_all()["a"].to_pylist() == [1]


def test_batches_of_a_map_do_not_wait_for_each_other(url):
    """Twenty inputs, four threads, one dataset; the map again adds nothing."""
    source = xd.frames({f"t{number}": [{"a": number, "p": number % 3}] * 10 for number in range(20)})
    lake = dataset_sink(url, partition_by="p")

    @xd.one_task(name="load")
    def load(name):
        return lake(source(name), batch_id=name)

    results = [load.map(name=source.list(), runner=xd.LocalRunner(threads=4)).wait() for _ in range(2)]
    receipts = [[outcome.value for outcome in result] for result in results]

    assert [{each.method for each in all_} for all_ in receipts] == [{"dataset"}, {"skip"}]
    assert sorted(dataset(url)().read_all()["a"].to_pylist()) == sorted([*range(20)] * 10)
    assert len(data_of(url)) == 20
