"""``convert``: other formats, small objects put together, evidence instead of work, one bad object alone, nothing half done."""

from __future__ import annotations

import gzip
import json
import signal
import threading

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from flow_kit import Troubled, bucket, contents, filled, generations, quietly

import crossdock as xd
from crossdock.errors import ConfigError, ConnectionLostError, DeniedError, UnsafeError
from crossdock.events import Progress
from crossdock.flows.ledger.failures import BAD_ROWS
from crossdock.flows.runs.directory import open_run
from crossdock.flows.runs.files import RunFiles


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def many(count, *, prefix="day", rows=2):
    """Objects of a few rows, each row with an id of its own."""
    return {
        f"{prefix}/{number:04d}.jsonl": lines(
            *({"id": number * rows + row, "name": f"n{number}"} for row in range(rows))
        )
        for number in range(count)
    }


def there():
    return f"memory://{bucket()}"


def run_dir():
    return f"memory://{bucket()}/run/"


def tables(url, suffix=".parquet"):
    """Every output as a table, by key."""
    return {
        key: xd.decode()(xd.source(url + "/")(key)).read_all()
        for key in contents(url)
        if key.endswith(suffix)
    }


def ids(url):
    return sorted(each for table in tables(url).values() for each in table["id"].to_pylist())


def converted(source, sink, **given):
    return xd.convert(f"{source}/", f"{sink}/", **{"run_dir": run_dir(), **given})


ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", None, 'c,"d'], "x": [0.5, None, 2.5]})


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl", "arrow", "orc", "csv.gz"])
@pytest.mark.parametrize("from_", ["parquet", "csv", "jsonl", "arrow", "orc"])
def test_rows_are_the_same_in_every_format(from_, to):
    source, sink = there(), there()
    xd.sink(f"{source}/")(xd.encode(from_)(ROWS), key=f"a/b.{from_}")

    report = converted(source, sink, to=to)

    assert (report.state, report.made.rows, report.made.outputs) == ("complete", 3, 1)
    (key,) = contents(sink)
    assert f"a/b.{to}" == key
    assert ROWS.to_pylist() == xd.decode()(xd.source(f"{sink}/")(key)).read_all().to_pylist()


def test_names_lose_their_old_endings():
    source = filled({"a/b.csv.gz": gzip.compress(b"n\n1\n"), "plain": b"n\n1\n", "c.d.csv": b"n\n1\n"})
    sink = there()

    converted(source, sink, from_format="csv")

    assert {"a/b.parquet", "plain.parquet", "c.d.parquet"} == set(contents(sink))


def test_two_objects_that_come_out_under_one_key_are_refused_and_the_others_go_on():
    source = filled({"a.csv": b"n\n1\n", "a.jsonl": b'{"n": 2}\n', "b.csv": b"n\n3\n"})
    sink = there()

    report = converted(source, sink)

    assert (report.counts.copied, report.counts.failed, report.exit_code) == (1, 2, 5)
    assert [group.reason for group in report.failures] == ["collision"]
    assert {"b.parquet"} == set(contents(sink))


def test_where_nothing_can_be_done_every_object_is_refused_with_its_reason():
    source, sink = filled({"a.csv": b"n\n1\n", "a.tsv": b"n\n2\n"}), there()

    report = converted(source, sink)

    assert (report.counts.failed, report.counts.pending, report.exit_code) == (2, 0, 5)
    assert contents(sink) == {}


def test_one_object_takes_the_key_that_was_given_or_a_new_ending_below_a_prefix():
    source, sink = filled({"a/b.csv": b"n\n1\n"}), there()

    xd.convert(f"{source}/a/b.csv", f"{sink}/x/y", run_dir=run_dir())
    xd.convert(f"{source}/a/b.csv", f"{sink}/x/", run_dir=run_dir())

    assert {"x/y", "x/b.parquet"} == set(contents(sink))


def test_small_objects_are_put_together_below_their_own_prefixes():
    """Every row once; each output near the target; none of two prefixes."""
    source = filled(many(120, prefix="a") | many(120, prefix="b/c") | {"big.jsonl": lines({"id": 7}) * 500})
    sink = there()

    report = converted(source, sink, target_size=2_000)

    assert (report.counts.copied, report.made.rows) == (241, 980)
    outputs = tables(sink)
    assert sorted([*range(240), *range(240), *[7] * 500]) == ids(sink)
    prefixes = [key.rpartition("/")[0] for key in outputs]
    assert {"a", "b/c", ""} == set(prefixes)
    assert 2 <= prefixes.count("a") <= 8
    assert prefixes.count("") == 1


def test_nothing_changed_writes_nothing_and_says_why():
    source, sink = filled(many(50)), there()
    converted(source, sink, target_size="1KiB")
    before = generations(sink)

    report = converted(source, sink, target_size="1KiB")

    assert (report.counts.skipped, report.counts.copied, report.exit_code) == (50, 0, 0)
    assert before == generations(sink)
    evidence = report.to_arrow()["evidence"].to_pylist()
    assert all(text.startswith("the output was made of the same") for text in evidence)


def test_nothing_changed_writes_nothing_where_the_store_has_no_metadata(tmp_path):
    """A directory holds no user metadata: what an output was made of is kept beside it."""
    source, sink = filled(many(9)), tmp_path / "out"
    xd.convert(f"{source}/", str(sink), run_dir=run_dir(), target_size="1KiB")
    before = {path: path.stat().st_mtime_ns for path in sink.rglob("*.parquet")}

    report = xd.convert(f"{source}/", str(sink), run_dir=run_dir(), target_size="1KiB")

    assert report.counts.skipped == 9
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in sink.rglob("*.parquet")}
    assert report.metadata_lost_objects == 0


@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
def test_a_change_makes_only_the_outputs_concerned_again(change):
    source, sink = filled(many(200)), there()
    converted(source, sink, target_size="1KiB")
    before = generations(sink)
    expected = list(range(400))
    if change == "removed":
        xd.source(f"{source}/").store.delete("day/0100.jsonl")
        expected = [each for each in expected if each not in (200, 201)]
    else:
        key = "day/0100.jsonl" if change == "replaced" else "day/0100b.jsonl"
        xd.sink(f"{source}/")(lines({"id": 1_000, "name": "new"}), key=key)
        expected = [each for each in expected if change == "added" or each not in (200, 201)] + [1_000]

    report = converted(source, sink, target_size="1KiB")

    after = generations(sink)
    changed = {key for key in after if after[key] != before.get(key)}
    assert len(before) > 5
    assert 1 <= len(changed) <= 2
    assert report.counts.copied < 100
    left = list(report.finished["orphan_keys"])
    assert report.finished["orphans"] == len(left)
    live = [table for key, table in tables(sink).items() if key not in left]
    assert expected == sorted(each for table in live for each in table["id"].to_pylist())


def test_an_output_that_nothing_leads_to_any_more_is_reported_and_stays():
    source, sink = filled({"a.csv": b"n\n1\n", "b.csv": b"n\n2\n"}), there()
    converted(source, sink)
    xd.sink(f"{sink}/")(b"of somebody else", key="theirs.parquet")
    xd.source(f"{source}/").store.delete("a.csv")

    report = converted(source, sink)

    assert report.finished == {"orphans": 1, "orphan_keys": ["a.parquet"], "may_be_more": False}
    assert {"a.parquet", "b.parquet", "theirs.parquet"} == set(contents(sink))


def test_another_recipe_makes_all_again():
    source, sink = filled(many(6)), there()
    converted(source, sink)

    report = converted(source, sink, columns=["id"])

    assert report.counts.copied == 6
    assert [table.column_names for table in tables(sink).values()] == [["id"]] * 6


def test_a_foreign_object_in_the_way_is_replaced_or_stays_as_asked():
    source, sink = filled({"a.csv": b"n\n1\n"}), filled({"a.parquet": b"of somebody else"})

    kept = converted(source, sink, overwrite="never")
    body = contents(sink)["a.parquet"]
    replaced = converted(source, sink)

    assert (kept.counts.skipped, body) == (1, b"of somebody else")
    assert (replaced.counts.copied, replaced.made.rows) == (1, 1)
    assert tables(sink)["a.parquet"]["n"].to_pylist() == [1]


def test_every_object_is_in_the_record_with_its_rows_and_its_output():
    source, sink = filled(many(6) | {"day/0006.jsonl": lines({"id": 12}, {"id": 13}, {"id": 14})}), there()

    report = converted(source, sink, target_size="1MiB")

    (key,) = contents(sink)
    rows = report.to_arrow().to_pylist()
    assert [row["rows"] for row in rows] == [2] * 6 + [3]
    assert {row["destination"] for row in rows} == {key}
    assert [row["made_rows"] for row in rows] == [15] + [None] * 6
    assert rows[0]["made_bytes"] == len(contents(sink)[key]) == report.made.bytes
    assert "rows made" in report.to_html()


# -- what is wrong with objects ------------------------------------------------------------------------------------


def test_one_bad_object_fails_alone_and_is_told():
    """The others become the output; the numbers add up; the text names object, row and column."""
    source = filled(many(20) | {"day/0007.jsonl": b'{"id": 1, "name": "x"}\n{"id": "one"}\n'})
    sink = there()

    report = converted(source, sink, target_size="1MiB")

    assert (report.counts.copied, report.counts.failed, report.made.rows) == (19, 1, 38)
    assert sorted(set(range(40)) - {14, 15}) == ids(sink)
    (failure,) = report.failures
    assert (failure.reason, failure.keys) == (BAD_ROWS, ("day/0007.jsonl",))
    assert "row 2, column 'id'" in failure.message


def test_a_bad_object_is_looked_at_again_by_the_next_run_and_only_its_output_made_anew():
    source, sink = filled(many(20) | {"day/0007.jsonl": b"garbage\n"}), there()
    converted(source, sink, target_size="1MiB")
    before = generations(sink)

    again = converted(source, sink, target_size="1MiB")
    xd.sink(f"{source}/")(lines({"id": 99, "name": "mended"}), key="day/0007.jsonl")
    mended = converted(source, sink, target_size="1MiB")

    assert (again.counts.skipped, again.counts.failed) == (19, 1)
    assert (mended.counts.copied, mended.exit_code) == (20, 0)
    assert before != generations(sink)
    assert 99 in ids(sink)


def test_bad_rows_are_skipped_or_kept_elsewhere():
    source = filled({"a.jsonl": b'{"n": 1}\nnonsense\n{"n": 2}\n'})
    sink, kept = there(), there()

    skipped = converted(source, sink, bad_rows="skip")
    letters = converted(source, there(), bad_rows=f"{kept}/")

    assert (skipped.made.rows, letters.made.rows) == (2, 2)
    (letter,) = contents(kept).values()
    assert json.loads(letter)["raw"] == "nonsense"


def test_options_of_the_destination_are_not_those_of_another_kind_of_store(tmp_path):
    source, kept = filled({"a.jsonl": b'{"n": 1}\nnonsense\n'}), there()

    report = xd.convert(
        f"{source}/",
        f"{tmp_path}/out/",
        bad_rows=f"{kept}/",
        sink_options={"missing_root_is_empty": True},
        run_dir=run_dir(),
    )

    assert (report.made.rows, len(contents(kept))) == (1, 1)


def test_columns_that_differ_are_united_and_what_lacks_is_null():
    source = filled(
        {
            "a.jsonl": lines({"id": 1, "x": 1}),
            "b.jsonl": lines({"id": 2, "x": 1.5, "later": "yes"}),
            "c.jsonl": lines({"id": 3, "x": None}),
        }
    )
    sink = there()

    converted(source, sink, target_size="1MiB")

    (table,) = tables(sink).values()
    assert {"id": pa.int64(), "x": pa.float64(), "later": pa.string()} == {
        field.name: field.type for field in table.schema
    }
    assert table.to_pylist() == [
        {"id": 1, "x": 1.0, "later": None},
        {"id": 2, "x": 1.5, "later": "yes"},
        {"id": 3, "x": None, "later": None},
    ]


def test_types_that_do_not_fit_together_are_loud_and_leave_no_run():
    source = filled({"a.csv": b"x\n1\n", "b.csv": b"x\none\n"})
    directory = run_dir()

    with pytest.raises(ConfigError, match=r"column 'x' is int64 in 'a.csv' and string in 'b.csv'"):
        converted(source, there(), run_dir=directory)

    assert contents(directory.removesuffix("/run/")) == {}
    assert converted(source, there(), types={"x": "string"}).made.rows == 2


def test_a_column_that_is_in_no_object_is_refused_at_once_and_leaves_no_run():
    source, sink, directory = filled({"a.csv": b"n\n1\n"}), there(), run_dir()

    with pytest.raises(ConfigError, match=r"there is no column 'm'; columns: n"):
        converted(source, sink, columns=["n", "m"], run_dir=directory)

    assert contents(directory.removesuffix("/run/")) == {} == contents(sink)


def test_where_every_object_is_denied_it_says_so_and_nothing_of_formats():
    store = Troubled()
    for key in ("a.csv", "b.csv"):
        store.put(key, b"n\n1\n")

    def denied(verb, key):
        if verb == "read":
            raise DeniedError("permission denied", operation="read", key=key, hint="check owner and mode")

    store.before = denied
    with pytest.raises(DeniedError) as raised:
        xd.convert(store.source(), f"{there()}/", run_dir=run_dir())

    assert str(raised.value).endswith(
        "a.csv: permission denied; so it is with all 2 sampled objects; check owner and mode"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"types": {"m": "int64"}}, "there is no column 'm'; columns: n"),
        ({"from_format": "parquet"}, "; say the format, or the columns by a schema"),
    ],
)
def test_where_no_object_can_be_decoded_one_hint_is_given(given, told):
    with pytest.raises(ConfigError) as raised:
        converted(filled({"a.csv": b"n\n1\n"}), there(), **given)

    assert str(raised.value).endswith(told)


def test_a_column_nobody_asked_for_fails_the_object_or_is_dropped():
    source, schema = filled({"a.csv": b"n\n1\n", "b.csv": b"n,more\n2,3\n"}), {"n": "int64"}

    strict = converted(source, there(), schema=schema)
    dropped = converted(source, there(), schema=schema, evolve="drop")

    assert (strict.counts.copied, strict.counts.failed) == (1, 1)
    assert "more" in strict.failures[0].message
    assert (dropped.counts.copied, dropped.made.rows) == (2, 2)


def test_steps_stand_between_reading_and_writing():
    source, sink = filled(many(10)), there()

    report = converted(
        source,
        sink,
        target_size="1MiB",
        steps=[xd.filter(pc.field("id") >= 10), xd.rename({"id": "number"}), xd.select("number")],
    )

    (table,) = tables(sink).values()
    assert (report.made.rows_read, report.made.rows) == (20, 10)
    assert list(range(10, 20)) == table["number"].to_pylist()


# -- trouble -------------------------------------------------------------------------------------------------------


def test_a_source_that_dies_in_the_middle_leaves_no_output_and_a_resume_makes_it():
    """The connection is lost while one large object is read: nothing of its output is seen, the other outputs are whole."""
    store, sink, fired = Troubled(), there(), []
    for key, body in (many(4, prefix="a") | many(2, prefix="b")).items():
        store.put(key, body)
    store.put("b/9.jsonl", lines({"id": 77, "name": "x" * 200}) * 20_000)

    def trouble(verb, key):
        if verb == "read" and key == "b/9.jsonl":
            fired.append(key)
            raise ConnectionLostError("gone", operation="read", key=key)

    given = {"target_size": "8MiB", "run_dir": run_dir(), "schema": {"id": "int64", "name": "string"}}
    store.before = trouble
    report = xd.convert(store.source(), f"{sink}/", **given)
    seen = contents(sink)
    store.before = quietly
    again = xd.convert(store.source(), f"{sink}/", **given)

    assert fired
    assert (report.counts.copied, report.counts.failed) == (4, 3)
    assert [group.reason for group in report.failures] == ["connection"]
    assert {"a"} == {key.rpartition("/")[0] for key in seen}
    assert (again.counts.copied, again.counts.failed, again.exit_code) == (7, 0, 0)
    assert again.made.rows == 8 + 4 + 20_000


def test_what_was_written_and_not_recorded_is_recognised_and_not_written_again():
    """As after a crash between commit and record: the ledger is gone, the outputs are there."""
    source, sink, directory = filled(many(40)), there(), run_dir()
    first = converted(source, sink, target_size="1KiB", run_dir=directory)
    before = generations(sink)
    files = open_run(directory).files
    for name in list(files.names("ledger/")):
        _forget_outcomes(files, name)

    again = xd.resume(directory)

    assert before == generations(sink)
    assert (again.counts.copied, again.methods, again.exit_code) == (40, {"found": 40}, 0)
    assert (first.made.rows, first.made.outputs) == (again.made.rows, again.made.outputs)


def _forget_outcomes(files: RunFiles, name: str) -> None:
    """Leave of a segment what was written before anything was done."""
    from crossdock.flows.ledger.records import SCHEMA, to_columns
    from crossdock.flows.ledger.writing import read_segment
    from crossdock.flows.runs.columns import to_parquet

    notes = [record for record in read_segment(files, name) if record.is_note]
    files.put(name, to_parquet([to_columns(each) for each in notes], SCHEMA, group_rows=1_000))


def test_a_run_that_a_limit_stopped_is_resumed_and_loses_nothing():
    source, sink, directory = filled(many(64)), there(), run_dir()

    stopped = converted(
        source,
        sink,
        target_size="1KiB",
        run_dir=directory,
        max_bytes=1,
        runner=xd.LocalRunner(threads=1, window=1),
    )
    resumed = xd.resume(directory)

    assert (stopped.state, stopped.exit_code) == ("limited", 7)
    assert stopped.counts.pending > 0
    assert (resumed.counts.copied, resumed.exit_code) == (64, 0)
    assert list(range(128)) == ids(sink)


def test_ctrl_c_keeps_what_was_done_and_a_resume_does_the_rest():
    source, sink, directory, pressed = filled(many(150)), there(), run_dir(), []

    def observe(event):
        if isinstance(event, Progress) and event.counts.copied and not pressed:
            pressed.append(event)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    runner = xd.LocalRunner(threads=1, window=1)
    with pytest.raises(KeyboardInterrupt):
        converted(source, sink, target_size="256", run_dir=directory, runner=runner, observer=observe)
    stopped = open_run(directory).read()["state"]
    resumed = xd.resume(directory)

    assert pressed
    assert stopped == "interrupted"
    assert (resumed.counts.copied, resumed.exit_code) == (150, 0)
    assert ids(sink) == list(range(300))


def test_a_run_with_functions_is_gone_on_with_by_the_same_call_alone():
    source, sink, directory = filled(many(64)), there(), run_dir()

    def go(**limits):
        return converted(
            source,
            sink,
            target_size="1KiB",
            run_dir=directory,
            steps=xd.filter(pc.field("id") < 100),
            runner=xd.LocalRunner(threads=1, window=1),
            **limits,
        )

    go(max_bytes=1)
    with pytest.raises(ConfigError, match=r"same xd.convert\(...\) call again, with the same run_dir"):
        xd.resume(directory)

    assert go().exit_code == 0
    assert list(range(100)) == ids(sink)


def test_a_retry_puts_the_mended_object_into_its_output_with_the_others():
    """The output is made again with all of its rows, once; rows at the destination are counted once."""
    store, sink, directory = Troubled(), there(), run_dir()
    for key, body in many(12).items():
        store.put(key, body)
    xd.sink(f"{store.url}/")  # the same bucket by URL, for the retry
    store.before = _denying("day/0003.jsonl")
    first = xd.convert(store.source(), f"{sink}/", target_size="1MiB", run_dir=directory)
    seen = ids(sink)

    again = xd.retry(directory)

    assert (first.counts.copied, first.counts.failed) == (11, 1)
    assert [group.reason for group in first.failures] == ["denied"]
    assert sorted(set(range(24)) - {6, 7}) == seen
    assert (again.counts.copied, again.counts.failed, again.retried) == (12, 0, 1)
    assert list(range(24)) == ids(sink)
    assert (again.made.rows, again.made.outputs) == (24, 1)


def _denying(denied):
    def before(verb, key):
        if verb == "read" and key == denied:
            raise xd.DeniedError("not yours", operation="read", key=key)

    return before


def test_a_second_attempt_at_the_same_moment_finds_what_the_first_wrote():
    """As a worker that was taken for dead: its commit is refused, and what is there is what it was about to write."""
    source, store, raced = filled(many(5)), Troubled(), []

    def race(verb, key):
        if verb == "put" and not raced:
            raced.append(key)
            xd.convert(f"{source}/", store.sink(), target_size="1MiB", run_dir=run_dir())

    store.before = race
    report = xd.convert(f"{source}/", store.sink(), target_size="1MiB", run_dir=run_dir())

    assert raced
    assert (report.counts.copied, report.methods, report.exit_code) == (5, {"found": 5}, 0)
    assert report.made.rows == 10
    assert ids(store.url) == list(range(10))


def test_another_writer_in_between_is_not_overwritten():
    source, store, raced = filled(many(5)), Troubled(), []

    def race(verb, key):
        if verb == "put" and not raced:
            raced.append(key)
            store.put(key, b"of somebody else")

    store.before = race
    report = xd.convert(f"{source}/", store.sink(), target_size="1MiB", run_dir=run_dir())

    assert raced
    assert [group.reason for group in report.failures] == ["destination changed"]
    assert set(contents(store.url).values()) == {b"of somebody else"}


def test_an_output_is_not_made_again_without_what_was_in_it():
    """An object whose rows are in the output went away since: the mended one fails rather than the output losing rows."""
    store, sink, directory = Troubled(), there(), run_dir()
    for key, body in many(6).items():
        store.put(key, body)
    store.before = _denying("day/0003.jsonl")
    xd.convert(store.source(), f"{sink}/", target_size="1MiB", run_dir=directory)
    before = generations(sink)
    xd.source(f"{store.url}/").store.delete("day/0001.jsonl")

    again = xd.retry(directory)

    assert (again.counts.copied, again.counts.failed) == (5, 1)
    assert [group.reason for group in again.failures] == ["source changed"]
    assert generations(sink) == before


def test_too_many_bad_objects_leave_no_output():
    bad = {f"bad/{number:04d}.jsonl": b"garbage" for number in range(5, 125)}
    source, sink = filled(many(5, prefix="bad") | bad | many(3, prefix="good")), there()

    report = converted(source, sink, target_size="1MiB", schema={"id": "int64", "name": "string"})

    assert (report.counts.copied, report.counts.failed) == (3, 125)
    assert {key.rpartition("/")[0] for key in contents(sink)} == {"good"}
    assert "too many to be left out" in report.failures[0].message


def test_only_bad_objects_leave_no_output():
    source, sink = filled({"a.jsonl": b"garbage", "b.jsonl": b"garbage"}), there()

    report = converted(source, sink, target_size="1MiB", schema={"id": "int64"})

    assert (report.counts.failed, report.failures[0].reason, contents(sink)) == (2, BAD_ROWS, {})


def test_a_step_that_fails_fails_the_output_and_leaves_nothing():
    def refuse(batch):
        raise ValueError("not these")

    source, sink = filled(many(3)), there()

    report = converted(source, sink, steps=xd.transform(refuse, schema={"id": "int64"}))

    assert (report.counts.failed, contents(sink)) == (3, {})
    assert "not these" in report.failures[0].message


def test_what_a_killed_run_left_open_is_cleaned_up_by_its_ledger():
    """Each output announces its upload; ``cleanup`` finds it by the run."""
    source, sink, directory = filled(many(3)), there(), run_dir()
    converted(source, sink, run_dir=directory)
    store = xd.sink(f"{sink}/").store
    store.begin("day/0001.parquet", part_size_bytes=5 << 20)

    report = xd.cleanup(directory)

    assert [each.key for each in report.removed] == ["day/0001.parquet"]


# -- what is asked -------------------------------------------------------------------------------------------------


def test_neither_end_is_within_the_other():
    source = filled(many(2))

    with pytest.raises(UnsafeError, match="destination is within the source"):
        xd.convert(f"{source}/", f"{source}/out/", run_dir=run_dir())


def test_a_dry_run_counts_and_writes_nothing():
    source, sink, directory = filled(many(5)), there(), run_dir()

    report = converted(source, sink, run_dir=directory, dry_run=True, exclude=["**/0001*"])

    assert (report.state, report.counts.planned, report.excluded) == ("planned", 4, 1)
    assert {} == contents(sink) == contents(directory.removesuffix("/run/"))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"to": "xlsx"}, "no format"),
        ({"evolve": "add"}, "evolve"),
        ({"target_size": 0}, "target size"),
        ({"bad_rows": "ignore"}, "bad_rows"),
        ({"schema": {"a": "int64"}, "types": {"a": "int64"}}, "schema"),
        ({"steps": ["select"]}, "a step is a function"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(given, text):
    with pytest.raises(ConfigError, match=text):
        xd.convert("memory://no-such-place/", "memory://nor-this/", **given)


def test_a_directory_of_another_question_is_refused_and_the_same_question_is_done():
    source, sink, directory = filled(many(3)), there(), run_dir()
    converted(source, sink, run_dir=directory)

    with pytest.raises(xd.LedgerError, match="complete"):
        converted(source, sink, run_dir=directory)


def test_markers_and_notes_hold_no_rows():
    source = filled({"a/": b"", "a/_crossdock/x.json": b"{}", "a/1.csv": b"n\n1\n"})

    report = converted(source, there())

    assert (report.counts.copied, report.counts.skipped) == (1, 2)
