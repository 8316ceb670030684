"""The report: every object's end as a table or a page, numbers that add up, damage that is loud."""

from __future__ import annotations

import re
from functools import partial
from html.parser import HTMLParser

import pytest
from flow_kit import HOSTILE, Troubled, bucket, contents, filled, generations, quietly

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, DeniedError, LedgerError, StorageError
from crossdock.flows import build_report, open_run
from crossdock.flows.ledger import ends, segments
from crossdock.flows.ledger.writing import FLUSH_INTERVAL_S
from crossdock.flows.runs import manifest, preparing
from crossdock.flows.runs.directory import run_files

MARKUP = "<script>alert('x')</script>\"&"


def refusing(*keys):
    def refuse(verb, key):
        if verb == "put" and key in keys:
            raise DeniedError(f"no {MARKUP}\nsecond line")

    return refuse


@pytest.fixture
def mixed():
    """A run with a copy, a skip, a failure whose key and message are markup; its report and its directory."""
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("same", b"s")
    store.before = refusing(MARKUP)
    source = filled({"copied": b"12", "same": b"s", MARKUP: b"1"})
    report = xd.migrate(source, store.sink(), run_dir=place)
    assert (report.counts.copied, report.counts.skipped, report.counts.failed) == (1, 1, 1)
    return report, place, store


def test_every_objects_end_is_a_row(mixed):
    report, _, _ = mixed
    rows = {row["key"]: row for row in report.to_arrow().to_pylist()}

    states = {key: row["state"] for key, row in rows.items()}
    assert states == {"copied": "copied", "same": "skipped", MARKUP: "failed"}
    copied, failed = rows["copied"], rows[MARKUP]
    assert (copied["destination"], copied["size"], copied["level"]) == ("copied", 2, "V2")
    assert re.fullmatch("[0-9a-f]{8}", copied["crc32c"])
    assert (failed["reason"], failed["attempts"], failed["retryable"]) == ("denied", 1, True)
    assert copied["reason"] is None
    assert failed["level"] is None
    assert rows["same"]["evidence"]
    assert sorted(report.to_pandas()["state"]) == ["copied", "failed", "skipped"]
    assert report.to_arrow().schema == ends.SCHEMA
    assert report.to_arrow() == report.batches().read_all()


def test_hostile_keys_and_many_parts_come_in_order(monkeypatch):
    """Rows of several parts of the manifest, each beside the records of its own shards."""
    monkeypatch.setattr(preparing, "write_manifest", partial(manifest.write_manifest, part_rows=7))
    objects = dict.fromkeys(HOSTILE, b"x")
    report = xd.migrate(filled(objects), f"memory://{bucket()}/", run_dir=f"memory://{bucket()}/")
    table = report.to_arrow()

    assert report.directory.summary.parts == 3
    assert sorted(objects, key=str.encode) == table["key"].to_pylist()
    assert {"copied"} == {*table["state"].to_pylist()}
    assert table["size"].to_pylist() == [1] * len(objects)
    assert table["key"].to_pylist() == table["destination"].to_pylist()
    assert list(range(len(objects))) == table["row"].to_pylist()


def test_what_has_no_record_is_pending_and_refused_ones_are_failed(tmp_path):
    """A local destination cannot hold these keys: found by the plan, and no worker saw them."""
    place = f"memory://{bucket()}/"
    report = xd.migrate(filled({"a": b"1", "b/../c": b"2"}), str(tmp_path / "to"), run_dir=place)
    files = run_files(place)
    for name in list(files.names("ledger/")):
        files.delete(name)
    rows = build_report(open_run(place)).to_arrow().to_pylist()

    assert report.counts.failed == 1
    told = [(row["key"], row["state"], row["reason"]) for row in rows]
    assert told == [("a", "pending", None), ("b/../c", "failed", "refused")]
    assert rows[1]["message"]
    assert rows[1]["error"] == "UnsupportedError"


def test_a_table_too_large_for_memory_is_refused_before_anything_is_read(mixed):
    report, _, _ = mixed
    with pytest.raises(ConfigError, match=r"3 objects, and 2 are held .*runs export"):
        report.to_arrow(max_rows=2)
    assert len(report.to_pandas(max_rows=3)) == 3


def test_a_plan_has_no_ends(mixed):
    planned = xd.migrate(filled({"a": b""}), f"memory://{bucket()}/", dry_run=True)

    with pytest.raises(ConfigError, match="a plan has no record"):
        planned.to_arrow()


def test_failed_objects_say_why(mixed):
    report, _, _ = mixed
    (record,) = report.failed

    assert (record.key, record.reason, record.attempts) == (MARKUP, "denied", 1)
    assert record.error.startswith("DeniedError: no ")
    assert "\n" not in record.error


def test_shares_of_levels_add_up(mixed):
    report, _, _ = mixed

    assert report.level_shares == {"V2": 1.0}
    assert report.to_dict()["level_shares"] == {"V2": 1.0}


class Page(HTMLParser):
    """Tags, attributes and text as a browser would see them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_nothing_and_runs_nothing(mixed):
    """Keys and messages of a run are anybody's text: on the page they are text."""
    report, place, _ = mixed
    written = contents(place.rstrip("/"))["report.html"].decode()
    page = Page(written)

    assert written == report.to_html()
    assert "script" not in page.tags
    assert not {"src", "href", "onclick", "onerror", "action"} & page.attributes.keys()
    assert not {"img", "link", "iframe", "object", "form"} & set(page.tags)
    assert "default-src 'none'" in written
    assert any(MARKUP in text for text in page.text)
    assert "url(" not in written
    assert "@import" not in written


def test_the_page_is_rebuilt_at_any_time_and_says_what_the_json_says(mixed):
    report, place, _ = mixed
    again = build_report(open_run(place))

    assert report.to_html() == again.to_html()
    assert report.to_dict() == again.to_dict()
    text = " ".join(Page(again.to_html()).text)
    for word in ("not done", "V2", "100.0%", "denied", "grant the permission", report.run_id):
        assert word in text


def test_characters_that_turn_text_around_are_shown_as_escapes():
    store = Troubled()
    store.put("zzz", b"")
    store.before = refusing("evil\N{RIGHT-TO-LEFT OVERRIDE}gpj")
    source = filled({"evil\N{RIGHT-TO-LEFT OVERRIDE}gpj": b""})
    page = xd.migrate(source, store.sink(), run_dir=f"memory://{bucket()}/").to_html()

    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page
    assert r"evil\u202egpj" in page


def test_deleted_segments_are_loud_and_a_resume_finds_out_what_they_said(mixed):
    """A complete run whose ledger lost records is not complete: exit code 5, and the resume heals it without a write."""
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")
    assert xd.migrate(filled({"a": b"1", "b": b"2"}), store.sink(), run_dir=place).state == "complete"
    files, before = run_files(place), generations(store.url)
    for name in list(files.names("ledger/")):
        files.delete(name)
    report = build_report(open_run(place))

    assert (report.state, report.exit_code, report.records_gone) == ("incomplete", 5, 2)
    assert "Records of 2 objects are gone" in report.to_html()
    healed = xd.resume(place, sink=store.sink())
    assert (healed.state, healed.exit_code, healed.records_gone) == ("complete", 0, 0)
    assert healed.counts.copied == 2
    assert before == generations(store.url)


def test_a_truncated_segment_is_loud_and_deleting_it_is_safe():
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")
    xd.migrate(filled({"a": b"1"}), store.sink(), run_dir=place)
    files = run_files(place)
    name = list(files.names("ledger/"))[-1]
    data, _ = files.get(name)
    files.put(name, data[:-9])

    with pytest.raises(LedgerError, match="delete it and resume"):
        xd.resume(place, sink=store.sink())
    files.delete(name)
    puts = store.count("put")
    assert xd.resume(place, sink=store.sink()).state == "complete"
    assert puts == store.count("put")


def test_a_file_that_is_no_ledger_is_loud():
    place = f"memory://{bucket()}/"
    xd.migrate(filled({"a": b"1"}), f"memory://{bucket()}/", run_dir=place)
    files = run_files(place)
    files.put("ledger/merged-notes.txt", b"mine")

    with pytest.raises(LedgerError, match="not a ledger segment"):
        build_report(open_run(place))


def test_a_full_disk_stops_the_run_loudly_and_a_resume_goes_on(monkeypatch):
    """Nothing may move that cannot be recorded; what moved is recognised."""
    put, full = MemoryStore.put, [True]
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")
    fired = []

    def refuse(self, key, *args, **kwargs):
        if full[0] and "ledger/" in key and not key.endswith("-00000.parquet"):
            fired.append(key)
            raise StorageError("no space left on the device", operation="put", where=self.url)
        return put(self, key, *args, **kwargs)

    monkeypatch.setattr(MemoryStore, "put", refuse)
    with pytest.raises(LedgerError, match="no space left") as caught:
        xd.migrate(filled({f"{n:03d}": b"x" for n in range(100)}), store.sink(), run_dir=place)
    full[0] = False
    store.before = quietly
    puts = store.count("put")
    report = xd.resume(place, sink=store.sink())

    assert fired
    assert "make room" in str(caught.value)
    assert "resume" in str(caught.value)
    assert (report.state, report.counts.copied) == ("complete", 100)
    assert store.count("put") - puts == 100 - report.methods.get("found", 0)


def test_records_wait_two_seconds_at_most():
    """What a killed worker may lose at most is what the contract says."""
    assert FLUSH_INTERVAL_S <= 2.0


def test_a_ledger_with_a_shard_that_is_none_is_loud():
    place = f"memory://{bucket()}/"
    report = xd.migrate(filled({"a": b"1"}), f"memory://{bucket()}/", run_dir=place)
    files = run_files(place)
    name = next(iter(files.names("ledger/")))
    files.put(segments.segment_name(77, "aa", 0), files.get(name)[0])

    with pytest.raises(LedgerError):
        report.to_arrow()
