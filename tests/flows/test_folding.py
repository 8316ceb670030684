"""Destinations that do not tell all keys apart: what would meet there is found by the plan and refused, all of it, by name."""

from __future__ import annotations

import os
import struct
import unicodedata
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from flow_kit import Troubled, bucket, contents, filled
from hypothesis import given, settings, strategies as st

import crossdock as xd
from crossdock.connectors.fsspec_bridge import dialects
from crossdock.connectors.local import LocalStore
from crossdock.connectors.local_folding import finds_other_case, folds_of
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.apart import fold, told_apart
from crossdock.flows.questions.missing import NO_SUCH_OBJECT, Missing
from crossdock.model import ObjectInfo
from crossdock.ports import CASE, NORMALIZATION

CAFE, CAFE_APART = "caf\u00e9", "cafe\u0301"


class Folding(Troubled):
    """A bucket that finds a key under every case and every way to write its accents, as a directory of macOS."""

    folds = frozenset({CASE, NORMALIZATION})

    @property
    def capabilities(self):
        return replace(super().capabilities, folds=self.folds)

    def _there(self, key):
        held = {fold(info.key, self.folds): info.key for page in super().list() for info in page}
        return held.get(fold(key, self.folds), key)

    def stat(self, key, **how):
        return super().stat(self._there(key), **how)

    def read(self, key, *args, **how):
        return super().read(self._there(key), *args, **how)

    def put(self, key, *args, **how):
        return super().put(self._there(key), *args, **how)


def reasons(report):
    return {record.key: record.failure for record in report.failed}


def test_all_that_would_meet_are_refused_and_named_and_the_rest_arrives():
    pair = {"Case": b"1", "case": b"2", "CASE": b"3", "d/x": b"4", "D/x": b"5", CAFE: b"6", CAFE_APART: b"7"}
    source, sink = filled(pair | {"other": b"8", "d/y": b"9"}), Folding()

    report = xd.migrate(source, sink.sink(), run_dir=f"memory://{bucket()}/")

    assert contents(sink.url) == {"other": b"8", "d/y": b"9"}
    assert set(reasons(report)) == set(pair)
    assert {failure.reason for failure in reasons(report).values()} == {"collision"}
    assert "too (keys that differ only by case are one there): 'CASE'" in reasons(report)["Case"].message
    assert "only by how accents are written are one there" in reasons(report)[CAFE].message
    counts = report.counts
    assert (counts.planned, counts.copied, counts.failed, report.exit_code) == (9, 2, 7, 5)


def test_a_destination_that_tells_them_apart_gets_both():
    source, sink = filled({"Case": b"1", "case": b"2"}), Troubled()

    assert xd.migrate(source, sink.sink(), run_dir=f"memory://{bucket()}/").ok
    assert contents(sink.url) == {"Case": b"1", "case": b"2"}


def test_a_destination_that_folds_case_alone_tells_accents_apart():
    class ByCase(Folding):
        folds = frozenset({CASE})

    source, sink = filled({CAFE: b"1", CAFE_APART: b"2", "A": b"3", "a": b"4"}), ByCase()

    report = xd.migrate(source, sink.sink(), run_dir=f"memory://{bucket()}/")

    assert contents(sink.url) == {CAFE: b"1", CAFE_APART: b"2"}
    assert set(reasons(report)) == {"A", "a"}


def test_what_a_rename_makes_meet_only_there_is_refused_too():
    source, sink = filled({"x1": b"1", "X2": b"2", "y1": b"3"}), Folding()

    report = xd.migrate(source, sink.sink(), rename="s/[12]$//", run_dir=f"memory://{bucket()}/")

    assert contents(sink.url) == {"y": b"3"}
    assert set(reasons(report)) == {"x1", "X2"}


def test_a_name_that_is_not_there_meets_nothing():
    source, sink = filled({"case": b"1"}), Folding()

    report = xd.migrate(source, sink.sink(), names=["case", "Case"], run_dir=f"memory://{bucket()}/")

    assert contents(sink.url) == {"case": b"1"}
    assert {key: failure.reason for key, failure in reasons(report).items()} == {"Case": "missing"}


def test_a_move_keeps_the_sources_of_what_would_meet_and_a_sync_deletes_nothing():
    pair, sink = {"Case": b"1", "case": b"2"}, Folding()
    source = filled(pair | {"other": b"3"})
    sink.put("old", b"4")

    synced = xd.sync(source, sink.sink(), delete=True, run_dir=f"memory://{bucket()}/")
    moved = xd.move(source, sink.sink(), run_dir=f"memory://{bucket()}/")

    assert synced.deletes.not_begun == "2 copies failed, 0 are pending"
    assert contents(sink.url) == {"old": b"4", "other": b"3"}
    assert (moved.deletes.deleted, contents(source)) == (1, pair)


def test_what_the_destination_has_under_another_case_is_not_overwritten():
    source, sink = filled({"case": b"new"}), Folding()
    sink.put("Case", b"old")

    report = xd.migrate(source, sink.sink(), run_dir=f"memory://{bucket()}/")

    assert contents(sink.url) == {"Case": b"old"}
    assert {failure.reason for failure in reasons(report).values()} == {"destination changed"}


KEYS = st.text(alphabet="aAbB/\u00e9e\u0301\u00df", min_size=1, max_size=4)


@settings(deadline=None)
@given(
    keys=st.sets(KEYS),
    gone=st.sets(KEYS),
    folds=st.sampled_from([{CASE}, {NORMALIZATION}, {CASE, NORMALIZATION}]),
)
def test_the_marks_are_those_of_a_dictionary_of_everything(keys, gone, folds):
    folds = frozenset(folds)
    infos = [ObjectInfo(key=key, size=1) for key in sorted(keys)]
    infos += [Missing(key=key, size=None, why=NO_SUCH_OBJECT) for key in sorted(gone - keys)]
    groups = defaultdict(set)
    for key in keys:
        groups[fold(key, folds)].add(key)

    marked = list(told_apart((Candidate(info, info.key, info.key) for info in infos), folds))

    assert [each.destination for each in marked] == sorted(keys | gone)
    assert {each.name for each in marked if each.refusal} == {
        key for group in groups.values() if len(group) > 1 for key in group
    }


def test_a_mark_survives_the_sorting_on_disk():
    candidates = [Candidate(ObjectInfo(key=key, size=1), key, key, f"why {key}") for key in "dacb"]

    assert [each.refusal for each in by_destination(candidates, run_rows=2)] == [
        f"why {key}" for key in "abcd"
    ]


def folded_lookup(path):
    """``os.lstat`` of a system that folds case: any spelling of the last name is found."""
    path = Path(path)
    for name in os.listdir(path.parent):  # noqa: PTH208 - names alone
        if name.casefold() == path.name.casefold():
            return os.lstat(path.parent / name)
    return os.lstat(path)


@pytest.mark.parametrize("names", [[], ["1"], ["a"], ["B", "c"]])
def test_a_directory_is_asked_and_nothing_is_left_in_it(tmp_path, names):
    place = tmp_path / "123"
    place.mkdir()
    for name in names:
        (place / name).write_bytes(b"")

    assert finds_other_case(place, folded_lookup) is True
    assert finds_other_case(place) is False
    assert sorted(path.name for path in place.iterdir()) == sorted(names)


def test_two_names_of_one_file_are_no_sign(tmp_path):
    """Hard links: both spellings are there, and are one file, where case counts."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "A").hardlink_to(tmp_path / "a")

    assert finds_other_case(tmp_path) is False


def test_where_no_name_tells_a_file_of_our_own_does_and_is_removed(tmp_path):
    """Nothing above can be looked at: as for a mount."""
    place, looked = tmp_path / "1", []
    place.mkdir()

    def lookup(path):
        looked.append(Path(path))
        found = folded_lookup(path)
        if Path(path) in (place, *place.parents) and Path(path) != place:
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]))
        return found

    assert finds_other_case(place, lookup) is True
    assert any(path.name.startswith(".crossdock-") for path in looked)
    assert list(place.iterdir()) == []


def test_a_local_directory_says_what_it_folds(tmp_path, monkeypatch):
    """Whatever this machine's disk does, the store says so; and a plan to a disk that folds refuses."""
    (tmp_path / "probe").write_bytes(b"")
    store = LocalStore(str(tmp_path / "to"))

    assert (CASE in store.capabilities.folds) == (tmp_path / "PROBE").exists()
    monkeypatch.setattr("crossdock.connectors.local.folds_of", lambda _: frozenset({CASE}))
    report = xd.migrate(
        filled({"Case": b"1", "case": b"2", "b": b"3"}), f"{tmp_path}/to/", run_dir=f"{tmp_path}/run/"
    )
    assert set(reasons(report)) == {"Case", "case"}
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(1, {NORMALIZATION}), (0, {CASE, NORMALIZATION}), (OSError, {CASE, NORMALIZATION})],
)
def test_macos_is_asked_for_case_and_never_tells_accents_apart(tmp_path, monkeypatch, answer, expected):
    """As its manual says: this cannot run there, so what the system would answer is put in its mouth."""

    def pathconf(path, name):
        assert (path, name) == (tmp_path, 11)
        if answer is OSError:
            raise OSError("not supported")
        return answer

    monkeypatch.setattr("crossdock.connectors.local_folding.sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(os, "pathconf", pathconf)

    assert folds_of.__wrapped__(str(tmp_path / "not" / "there")) == expected


@pytest.mark.parametrize(("flags", "expected"), [(0x40000000, {CASE, NORMALIZATION}), (0x80000, set())])
def test_a_directory_of_linux_with_the_flag_folds_both(tmp_path, monkeypatch, flags, expected):
    """The kernel's answer for ``chattr +F``; this machine's disk may not have the feature."""
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.setattr("crossdock.connectors.local_folding.sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr("crossdock.connectors.local_folding.fcntl.ioctl", lambda *_: struct.pack("@l", flags))

    assert folds_of.__wrapped__(str(tmp_path)) == expected


def test_a_share_folds_case_also_below_one_of_its_directories():
    assert dialects._BY_CLASS["fsspec.implementations.smb.SMBFileSystem"]().folds == {CASE}
    assert dialects.Directory(dialects.Share()).folds == {CASE}
    assert xd.sink("memory://any/").store.capabilities.folds == frozenset()


def test_a_directory_that_may_not_be_asked_counts_as_exact():
    assert folds_of("/proc/self/task") == frozenset()


def test_a_form_is_its_own_form():
    for key in ("Stra\u00dfe", CAFE, CAFE_APART, "\u0130", "\ufb01"):
        once = fold(key, frozenset({CASE, NORMALIZATION}))
        assert fold(once, frozenset({CASE, NORMALIZATION})) == once
        assert once == fold(unicodedata.normalize("NFC", key), frozenset({CASE, NORMALIZATION}))
