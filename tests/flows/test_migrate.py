"""``xd.migrate`` over real stores: what is copied, what is not, what fails alone, what stops everything."""

from __future__ import annotations

import json

import pytest
from flow_kit import HOSTILE, Troubled, bucket, contents, filled, generations

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, ConnectionLostError, DeniedError, LedgerError, NotFoundError
from crossdock.events import BytesMoved, Listed, Progress
from crossdock.flows import list_runs, open_run
from crossdock.flows.ledger.writing import read_ledger
from crossdock.model import Counts


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


def moved(source, sink, **how):
    return xd.migrate(source, sink, run_dir=f"memory://{bucket()}/", **how)


def test_everything_arrives_a_second_run_copies_nothing_and_a_third_exactly_what_changed():
    objects = {f"in/{number:04d}": bytes([number % 251]) * 7 for number in range(200)}
    source, sink = filled(objects), f"memory://{bucket()}"

    first = moved(f"{source}/in", f"{sink}/out")

    assert numbers(first) == (200, 200, 0, 0, 0)
    assert {f"out/{key[3:]}": body for key, body in objects.items()} == contents(sink)
    assert (first.exit_code, first.state, first.levels) == (0, "complete", {"V2": 200})
    before = generations(sink)
    second = moved(f"{source}/in", f"{sink}/out")
    assert numbers(second) == (200, 0, 200, 0, 0)
    assert before == generations(sink)
    for number in (3, 77, 199):
        MemoryStore(source.removeprefix("memory://")).put(f"in/{number:04d}", b"changed")  # the same size
    third = moved(f"{source}/in/", f"{sink}/out/")
    assert numbers(third) == (200, 3, 197, 0, 0)


def test_local_to_local_three_times(tmp_path):
    """No digests in listings: size and time decide, and equal-sized changes are found by them."""
    source, sink = tmp_path / "from", tmp_path / "to" / "new"
    for number in range(20):
        path = source / f"d{number % 3}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)

    first = xd.migrate(str(source), f"{sink}/")
    second = xd.migrate(f"file://{source}/", f"file://{sink}/")
    for number in (4, 5, 6):
        (source / f"d{number % 3}" / f"{number}.bin").write_bytes(b"y" * number)
    third = xd.migrate(str(source), str(sink))

    assert numbers(first) == (20, 20, 0, 0, 0)
    assert numbers(second) == (20, 0, 20, 0, 0)
    assert numbers(third) == (20, 3, 17, 0, 0)
    assert (sink / "d1" / "4.bin").read_bytes() == b"yyyy"
    assert len(list(list_runs())) == 3


def test_hostile_keys_arrive_byte_for_byte():
    objects = {f"in/{key}": key.encode() for key in HOSTILE}
    source, sink = filled(objects | {"in-2/no": b"", "in": b""}), f"memory://{bucket()}"

    report = moved(f"{source}/in/", f"{sink}/out/")

    assert {f"out/{key}": key.encode() for key in HOSTILE} == contents(sink)
    assert (len(HOSTILE), len(HOSTILE)) == (report.counts.planned, report.counts.copied)


def test_a_key_the_destination_cannot_hold_is_counted_failed_and_stops_nobody(tmp_path):
    source = filled({"good": b"1", "bad//key": b"2", "also/": b""})

    report = xd.migrate(source, str(tmp_path / "to"))

    assert numbers(report) == (3, 1, 0, 2, 0)
    assert report.exit_code == 5
    assert [record.key for record in report.failed] == ["also/", "bad//key"]
    assert [(each.reason, each.count, each.retryable) for each in report.failures] == [("refused", 2, 0)]
    assert [tmp_path / "to" / "good"] == [path for path in (tmp_path / "to").rglob("*") if path.is_file()]


def test_one_poison_object_fails_alone():
    store, sink = Troubled(), f"memory://{bucket()}"
    for number in range(30):
        store.put(f"{number:02d}", b"x")

    def poison(verb, key):
        if verb == "read" and key == "07":
            raise RuntimeError("a library's own error")

    store.before = poison
    report = moved(store.source(), sink)

    assert numbers(report) == (30, 29, 0, 1, 0)
    assert (report.exit_code, report.state) == (5, "incomplete")
    (record,) = report.failed
    assert (record.key, record.failure.reason) == ("07", "unexpected")
    with pytest.raises(xd.TaskFailed, match="1 of 30 objects failed"):
        report.raise_for_failures()


def test_an_object_that_vanished_or_was_replaced_since_the_listing_is_a_class_of_its_own():
    store, sink = Troubled(), f"memory://{bucket()}"
    for key in ("gone", "replaced", "stays"):
        store.put(key, key.encode())

    def change(verb, key):
        if verb == "read" and key == "gone":
            MemoryStore(store.bucket).delete(key)
        if verb == "read" and key == "replaced":
            MemoryStore(store.bucket).put(key, b"another")

    store.before = change
    report = moved(store.source(), sink)

    assert {record.key: record.failure.reason for record in report.failed} == {
        "gone": "vanished",
        "replaced": "source changed",
    }
    assert contents(sink) == {"stays": b"stays"}


def test_a_destination_that_changed_since_the_plan_is_left_alone_unless_it_is_equal():
    source = filled({"equal": b"same", "other": b"mine"})
    store = Troubled()

    def meddle(verb, key):
        if verb == "put" and key in ("equal", "other"):
            bare = MemoryStore(store.bucket)
            if not [info for page in bare.list(key) for info in page]:
                bare.put(key, b"same" if key == "equal" else b"theirs")

    store.before = meddle
    report = moved(source, store.sink())

    assert contents(store.url) == {"equal": b"same", "other": b"theirs"}
    assert [(each.key, each.failure.reason) for each in report.failed] == [("other", "destination changed")]
    assert report.methods == {"found": 1}


@pytest.mark.parametrize("side", ["source", "sink"])
def test_a_listing_that_fails_is_fatal_and_nothing_is_moved(side):
    stores = {"source": Troubled(), "sink": Troubled()}
    for number in range(1_500):
        stores["source"].put(f"{number:05d}", b"")
        stores["sink"].put(f"{number:05d}", b"before")
    pages = []

    def second_page(verb, key):
        if verb == "list":
            pages.append(key)
            if len(pages) > 1:
                raise DeniedError("no more pages")

    stores[side].before = second_page
    before = generations(stores["sink"].url)

    with pytest.raises(DeniedError):
        moved(stores["source"].source(), stores["sink"].sink())

    assert len(pages) > 1
    assert before == generations(stores["sink"].url)


def test_nothing_there_and_nothing_matching_are_not_found():
    source, sink = filled({"a/b": b""}), f"memory://{bucket()}"

    with pytest.raises(NotFoundError, match="no prefix of this name"):
        moved(f"{source}/x", sink)
    with pytest.raises(NotFoundError, match="none of 1 objects"):
        moved(source, sink, include="*.csv")


def test_a_prefix_never_takes_its_longer_sibling_and_one_object_is_one_object():
    source = filled({"logs/a": b"1", "logs-2/b": b"2", "logs.txt": b"3"})
    one, two, three = (f"memory://{bucket()}" for _ in range(3))

    moved(f"{source}/logs", one)
    moved(f"{source}/logs.txt", f"{two}/d/")
    moved(f"{source}/logs.txt", f"{three}/d")

    assert {"a"} == set(contents(one))
    assert {"d/logs.txt"} == set(contents(two))
    assert {"d"} == set(contents(three))


def test_wildcards_in_the_source_url():
    source = filled({"2024/a.csv": b"", "2024/x/b.csv": b"", "2024/c.txt": b"", "2024/*": b""})
    some, literal = f"memory://{bucket()}", f"memory://{bucket()}"

    report = moved(f"{source}/2024/*.csv", some)
    moved(f"{source}/2024/*", literal, glob=False)

    assert ({"a.csv"}, 3) == (set(contents(some)), report.excluded)
    assert {"*"} == set(contents(literal))


def test_a_dry_run_and_a_plan_write_nothing_and_agree():
    source, sink = filled({"a": b"1", "b": b"22"}), filled({"b": b"22"})
    before = generations(sink)

    report = xd.migrate(source, sink, dry_run=True)
    plan = xd.plan(source, sink)

    assert (report.state, report.exit_code, numbers(report)) == ("planned", 0, (2, 0, 1, 0, 1))
    assert [(row.name, row.action.value) for row in plan] == [("a", "copy"), ("b", "skip")]
    assert (plan.summary.planned, plan.summary.copy, plan.summary.copy_bytes) == (2, 1, 1)
    assert before == generations(sink)
    assert list(list_runs()) == []
    plan.close()


def test_overwrite_always_and_never():
    source, sink = filled({"a": b"1", "b": b"2"}), filled({"a": b"other"})

    never = moved(source, sink, overwrite="never")
    assert (numbers(never), contents(sink)) == ((2, 1, 1, 0, 0), {"a": b"other", "b": b"2"})
    always = moved(source, sink, overwrite="always")
    assert (numbers(always), contents(sink)) == ((2, 2, 0, 0, 0), {"a": b"1", "b": b"2"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"overwrite": "perhaps"},
        {"verify": "v9"},
        {"concurrency": 0},
        {"include": "[a"},
        {"source_options": {"no_such_option": 1}},
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_request(wrong):
    with pytest.raises(ConfigError):
        moved("memory://nowhere/", "memory://elsewhere/", **wrong)


def test_source_and_destination_may_not_be_one_place():
    source = filled({"a/b": b""})

    with pytest.raises(ConfigError, match="same place"):
        moved(f"{source}/a", f"{source}/a/")
    with pytest.raises(ConfigError, match="same object"):
        moved(f"{source}/a/b", f"{source}/a/b")


def test_events_add_up_and_end_with_the_final_counts():
    source, sink = filled({f"{number}": b"12345" for number in range(150)}), Troubled().sink()
    events = []

    moved(source, sink, observer=events.append)

    progress = [event.counts for event in events if isinstance(event, Progress)]
    assert sum(event.bytes for event in events if isinstance(event, BytesMoved)) == 150 * 5
    assert [Listed(objects=150, bytes=750)] == [event for event in events if isinstance(event, Listed)]
    assert Counts(planned=150, copied=150, planned_bytes=750, copied_bytes=750) == progress[-1]
    assert all(counts.pending >= 0 for counts in progress)


def test_the_run_directory_holds_what_design_says_and_no_secret():
    source, sink, place = filled({"a": b"1"}), f"memory://{bucket()}", f"memory://{bucket()}/runs/7"

    report = xd.migrate(source, sink, run_dir=place, sink_options={"min_part_size": 5, "part_size": "1MiB"})

    files = contents(place.removesuffix("/runs/7"))
    names = {name.removeprefix("runs/7/").partition("-")[0] for name in files}
    assert {
        "run.json",
        "report.json",
        "report.html",
        "manifest/part",
        "manifest/shards.parquet",
        "ledger/00000000",
    } == names
    assert report.to_dict() == json.loads(files["runs/7/report.json"])
    asked = json.loads(files["runs/7/run.json"])["asked"]
    assert (
        asked["sink"]["options"],
        asked["sink"]["transfer"],
    ) == ({"min_part_size_bytes": 5}, {"part_size_bytes": 1024**2})
    assert (report.run_dir, report.run_id) == (open_run(place).url, open_run(place).read()["run_id"])


def test_a_directory_that_holds_a_complete_run_is_not_used_again():
    source, sink, place = filled({"a": b"1"}), f"memory://{bucket()}", f"memory://{bucket()}/"
    xd.migrate(source, sink, run_dir=place)

    with pytest.raises(LedgerError, match="complete"):
        xd.migrate(source, sink, run_dir=place)
    with pytest.raises(LedgerError, match="complete"):
        xd.migrate(source, f"memory://{bucket()}", run_dir=place)


def test_a_ledger_that_cannot_be_written_stops_the_run_loudly():
    source, sink, runs = filled({"a": b"1"}), f"memory://{bucket()}", Troubled()

    class Full(MemoryStore):
        def put(self, key, *args, **kwargs):
            if "ledger/" in key:
                raise ConnectionLostError("no space left")
            return super().put(key, *args, **kwargs)

    from crossdock.flows import migration
    from crossdock.flows.runs.files import RunFiles

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migration, "run_files", lambda *_: RunFiles(Full(runs.bucket), ""))
        with pytest.raises(LedgerError, match="no space left"):
            xd.migrate(source, sink, run_dir=runs.url)

    assert json.loads(contents(runs.url)["run.json"])["state"] == "failed"


def test_thousands_of_objects_are_few_items_for_the_runner():
    source, sink = filled({f"{number:05d}": b"" for number in range(3_000)}), f"memory://{bucket()}"
    items = []

    class Counting(xd.LocalRunner):
        def run(self, function, given, *, name="task"):
            def counted():
                for item in given:
                    items.append(item)
                    yield item

            return super().run(function, counted(), name=name)

    report = moved(source, sink, runner=Counting(threads=2))

    assert report.counts.copied == 3_000
    assert len(items) == 47
    assert sum(item.rows for item in items) == 3_000
    assert sum(len(records) for _, records in read_ledger(open_run(report.run_dir).files)) == 3_000
