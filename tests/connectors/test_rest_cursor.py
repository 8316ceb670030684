"""Incremental reads: the place is kept by compare-and-set, moved only when what was read is safe."""

from __future__ import annotations

import json
import pickle
import threading
import uuid

import pytest
from rest_server import API, answering

import crossdock as xd
from crossdock.connectors.cursors import Cursor
from crossdock.connectors.rest import ByOffset, rest
from crossdock.errors import (
    ConfigError,
    PreconditionError,
    RowError,
    StorageError,
    TaskFailed,
    UnsupportedError,
)
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule


@pytest.fixture
def server():
    with API() as running:
        running.cap = 2
        running.lists["/users"] = [{"id": each, "updated_at": f"2024-01-0{each}"} for each in (3, 1, 5, 2)]
        yield running


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return (
        f"{tmp_path}/state/users" if request.param == "file" else f"memory://{uuid.uuid4().hex}/state/users"
    )


def api(server):
    return rest(server.url, records="items", paging=ByOffset())


def test_a_second_run_reads_what_is_newer(server, url):
    since = Cursor(url, field="updated_at", initial="2024-01-02")
    records = api(server)("users", since=since)

    assert [each["id"] for each in records] == [3, 5, 2]

    records.commit()
    records.commit()

    assert since.open().value == "2024-01-05"

    server.lists["/users"].append({"id": 7, "updated_at": "2024-01-07"})
    newer = api(server)("users", since=since)

    assert [each["id"] for each in newer] == [5, 7]  # the last again: the API takes it as "from"
    assert "since=2024-01-05" in server.targets()[-1]


def test_nothing_moves_before_it_is_said(server, url):
    since = Cursor(url, field="updated_at")

    list(api(server)("users", since=since))

    assert since.open().value is None


def test_records_that_were_not_read_are_not_passed_over(server, url):
    since = Cursor(url, field="updated_at")
    records = api(server)("users", since=since)
    next(records)

    with pytest.raises(ConfigError, match="were not read to their end"):
        records.commit()
    assert since.open().value is None


def test_of_two_runs_that_race_one_wins_and_the_other_is_told(server, url):
    since = Cursor(url, field="updated_at")
    for _ in range(2):  # the first race creates the cursor, the second replaces it
        runs = [api(server)("users", since=since) for _ in range(8)]
        for each in runs:
            list(each)
        told, start = [], threading.Barrier(8)

        def commit(run, told=told, start=start):
            start.wait(10)
            try:
                run.commit()
            except PreconditionError as error:
                told.append(str(error))

        threads = [threading.Thread(target=commit, args=(each,)) for each in runs]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)

        assert len(told) == 7
        assert all("another run moved the cursor" in text for text in told)
        assert (
            since.open().value == server.lists["/users"][-1]["updated_at"]
            or since.open().value == "2024-01-05"
        )
        server.lists["/users"].append({"id": 9, "updated_at": "2024-01-09"})
    assert since.open().value == "2024-01-09"


@pytest.mark.parametrize("form", ["records", "batches"])
def test_a_pair_moves_it_when_its_second_half_succeeded_and_not_else(server, url, form):
    """A sink that fails after it read everything leaves the cursor; the same call again reads the same."""
    since = Cursor(url, field="updated_at")
    source = api(server) if form == "records" else api(server).batches
    got, fail = [], [True]

    @xd.task
    def sink(rows):
        got.append(len(list(rows)))
        if fail[0]:
            raise ValueError("the sink broke")

    with xd.one_task("incremental") as task:
        sink(source("users", since=since))
    with pytest.raises(TaskFailed, match="the sink broke"):
        task()
    assert since.open().value is None

    fail[0] = False
    task()

    assert since.open().value == "2024-01-05"
    assert got == ([4, 4] if form == "records" else [1, 1])


def test_a_pair_that_lost_the_race_fails_in_its_commit(server, url):
    since = Cursor(url, field="updated_at")

    @xd.task
    def sink(rows):
        list(rows)
        other = since.open()
        other.see("2024-02-01")
        other.save()

    with xd.one_task("racing") as task:
        sink(api(server)("users", since=since))
    with pytest.raises(TaskFailed, match="another run moved the cursor") as caught:
        task()
    assert caught.value.phase == "commit"
    assert since.open().value == "2024-02-01"


def test_a_pair_that_stops_early_leaves_it(server, url, caplog):
    since = Cursor(url, field="updated_at")

    @xd.task
    def first_of(rows):
        with rows:
            return next(rows)["id"]

    with xd.one_task("early") as task:
        first_of(api(server)("users", since=since))

    assert task() == 3
    assert since.open().value is None
    assert "was not read to its end" in caplog.text


def test_mapped_accounts_keep_their_own(server, tmp_path):
    for account in range(12):
        server.lists[f"/accounts/{account}"] = [{"id": 1, "updated_at": account}]

    @xd.task
    def count(rows):
        return len(list(rows))

    @xd.one_task(name="accounts")
    def read(account):
        since = Cursor(f"{tmp_path}/{account}", field="updated_at")
        return count(api(server)(f"accounts/{account}", since=since))

    result = read.map(account=range(12), runner=xd.LocalRunner(threads=6))

    assert [*result.results()] == [1] * 12
    assert [Cursor(f"{tmp_path}/{n}", field="updated_at").open().value for n in range(12)] == [*range(12)]


@pytest.mark.parametrize(
    ("values", "greatest"),
    [
        ([9, 10, 2], 10),
        (["9", "10"], "10"),
        ([1.5, 2], 2),
        (["2024-01-01T00:30:00+01:00", "2024-01-01T00:00:00Z"], "2024-01-01T00:00:00Z"),
        (["b", "a"], "b"),
    ],
)
def test_values_are_compared_as_what_they_are(url, values, greatest):
    position = Cursor(url, field="x").open()
    for each in values:
        position.see(each)

    assert position.greatest == greatest


@pytest.mark.parametrize(
    "values", [[1, "a"], ["2024-01-01", "2024-01-01T00:00:00Z"], [True], [float("nan")], [[1]]]
)
def test_values_that_have_no_order_are_loud(url, values):
    position = Cursor(url, field="x").open()

    for each in values[:-1]:
        position.see(each)
    with pytest.raises(RowError, match="cannot be compared"):
        position.see(values[-1])


def test_a_record_without_the_field_is_loud(server, url):
    server.handlers["/odd"] = answering([{"id": 1}])

    with pytest.raises(
        RowError, match="no 'updated_at', by which the read is incremental; the keys found are id"
    ):
        list(rest(server.url)("odd", since=Cursor(url, field="updated_at")))


def test_it_never_goes_back(server, url):
    since = Cursor(url, field="updated_at")
    position = since.open()
    position.see("2024-06-01")
    position.save()
    server.handlers["/old"] = answering([{"updated_at": "2023-01-01"}])

    records = rest(server.url)("old", since=since)
    list(records)
    records.commit()

    assert since.open().value == "2024-06-01"
    since.reset()
    assert since.open().value is None


def test_what_is_no_cursor_is_refused(tmp_path):
    place = tmp_path / "users"
    place.write_text("{}")
    with pytest.raises(StorageError, match="no cursor that can be read"):
        Cursor(str(place), field="x").open()

    place.write_text(json.dumps({"crossdock_cursor": 1, "field": "y", "value": 1}))
    with pytest.raises(StorageError, match="of the field 'y', not 'x'"):
        Cursor(str(place), field="x").open()
    with pytest.raises(ConfigError, match="one object"):
        Cursor(f"{tmp_path}/", field="x")
    with pytest.raises(ConfigError, match="no value of a cursor"):
        Cursor(str(place), field="x", initial=[1])


def test_a_store_that_cannot_compare_and_set_is_refused(tmp_path):
    with pytest.raises((UnsupportedError, ConfigError)):
        Cursor("https://state.example/users", field="x").open()


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_in_a_bucket_a_lost_acknowledgement_is_no_lost_race(kind):
    """The save was done and its answer lost: it is recognised as our own, and a true rival still is told."""
    server = EmbeddedS3(buckets=("state",)) if kind == "s3" else EmbeddedGCS(buckets=("state",))
    with server:
        options = {"endpoint_url": server.url}
        options |= {"key": "k", "secret": "s", "region": "us-east-1"} if kind == "s3" else {"token": "anon"}
        since = Cursor(f"{kind}://state/users", field="x", options=options)
        for value in (1, 2):  # creates, replaces
            mine, rival = since.open(), since.open()
            server.faults.clear()
            server.faults.add(Rule(operation="object.insert", lose_ack=True, first=1, name="lost"))
            mine.see(value)
            mine.save()
            assert server.faults.fired["lost"] == value
            rival.see(10)
            with pytest.raises(PreconditionError, match="another run moved the cursor"):
                rival.save()
            assert since.open().value == value


def test_it_is_a_value(url):
    since = Cursor(url, field="x", options={"secret_key": "canary-77"})

    assert pickle.loads(pickle.dumps(since)) == since  # noqa: S301
    assert "canary-77" not in repr(since)
    assert b"canary-77" not in pickle.dumps(since)
