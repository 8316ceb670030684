"""What the one row of metrics says of work that ends in a table rather than in one object."""

from __future__ import annotations

import crossdock as xd
from crossdock.batches import Batches
from crossdock.datasets import dataset_sink


@xd.task
def rows(count: int):
    return Batches.of([{"day": number % 3, "id": number} for number in range(count)])


def outcome_of(sink, **arguments):
    heard = []
    pair = xd.CombinedTask(rows.bind(xd.param("count")), sink.bind(**arguments)).with_options(
        on_completion=heard.append
    )
    pair(count=10)
    return heard[0]


def test_a_table_counts_rows_and_no_object(tmp_path):
    outcome = outcome_of(xd.sink(f"sqlite://{tmp_path}/a.db"), table="t")

    assert (outcome.rows, outcome.objects) == (10, 0)


def test_a_dataset_counts_the_objects_it_was_written_as():
    outcome = outcome_of(dataset_sink("memory://outcomes-lake/", partition_by=["day"]), batch_id="one")

    assert (outcome.rows, outcome.objects) == (10, 3)


def test_an_object_is_one():
    pair = xd.CombinedTask(
        rows.bind(xd.param("count")),
        xd.sink("memory://outcomes-one/").bind(key="a.csv"),
        stitch_function=xd.encode("csv"),
    )
    heard = []
    pair.with_options(on_completion=heard.append)(count=10)

    assert (heard[0].rows, heard[0].objects) == (10, 1)
