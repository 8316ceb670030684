"""The values everything speaks in: ranges, digests, metadata, conditions, counts."""

from __future__ import annotations

import dataclasses
import itertools
import pickle

import pytest

from crossdock import model
from crossdock.model import (
    ABSENT,
    ANY,
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Condition,
    Counts,
    Digests,
    Metadata,
    ObjectInfo,
    Outcome,
    Part,
    Receipt,
    State,
    Upload,
    Verification,
    Version,
)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (5, 4), (-1, 3), (-2, -1)])
def test_a_range_is_never_empty_or_negative(start, end):
    with pytest.raises(ValueError, match="0 <= start < end"):
        ByteRange(start, end)


@pytest.mark.parametrize(
    ("size", "part", "expected"),
    [
        (1, 1, [1]),
        (10, 10, [10]),
        (10, 11, [10]),
        (11, 10, [10, 1]),
        (30, 10, [10, 10, 10]),
        (29, 10, [10, 10, 9]),
    ],
)
def test_splitting_a_range_covers_it_exactly(size, part, expected):
    """Parts join without gap or overlap; all but the last are of the part size."""
    whole = ByteRange(7, 7 + size)
    parts = [*whole.split(part)]

    assert expected == [len(each) for each in parts]
    assert whole.start == parts[0].start
    assert whole.end == parts[-1].end
    assert all(left.end == right.start for left, right in itertools.pairwise(parts))


def test_ranges_sort_by_start():
    assert sorted([ByteRange(5, 6), ByteRange(0, 9)]) == [ByteRange(0, 9), ByteRange(5, 6)]


@pytest.mark.parametrize(
    ("version", "known"),
    [
        (NO_VERSION, False),
        (Version(etag="a"), True),
        (Version(generation="1"), True),
        (Version(etag=""), True),
    ],
)
def test_a_version_is_true_if_anything_is_known(version, known):
    assert bool(version) is known


def test_digests_compare_what_both_sides_know():
    """Nothing in common proves nothing and contradicts nothing; one that differs is named."""
    mine = Digests(md5=b"m" * 16, crc32c=b"1234")

    assert mine.common(Digests(crc32c=b"1234", sha256=b"s" * 32)) == ("crc32c",)
    assert mine.conflict(Digests(crc32c=b"1234", sha256=b"s" * 32)) is None
    assert mine.conflict(Digests(sha256=b"s" * 32)) is None
    assert mine.conflict(Digests(md5=b"m" * 16, crc32c=b"4321")) == "crc32c"


def test_merged_digests_keep_ours_and_add_theirs():
    merged = Digests(md5=b"mine").merged(Digests(md5=b"theirs", crc32c=b"1234"))

    assert merged == Digests(md5=b"mine", crc32c=b"1234")
    assert Digests().merged(NO_DIGESTS) == NO_DIGESTS


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Digests)])
def test_each_digest_alone_is_known(field):
    """``as_dict``, ``bool`` and ``conflict`` see every field the class has."""
    one = Digests(**{field: b"1"})

    assert one
    assert one.as_dict() == {field: b"1"}
    assert one.conflict(Digests(**{field: b"2"})) == field
    assert not NO_DIGESTS


def test_metadata_names_what_is_set():
    metadata = Metadata(content_type="text/plain", content_language="de", user={"owner": "x", "run": "7"})

    assert metadata.present() == ("content_type", "content_language", "user.owner", "user.run")
    assert NO_METADATA.present() == ()


def test_metadata_fields_are_all_fields_but_the_users():
    assert {*Metadata.FIELDS, "user"} == {field.name for field in dataclasses.fields(Metadata)}


def test_an_empty_value_is_present():
    """Absent and empty are different: ``""`` was set by somebody."""
    assert Metadata(cache_control="").present() == ("cache_control",)


def test_unknown_metadata_is_not_no_metadata():
    info = ObjectInfo(key="k", size=1)

    assert info.metadata is None
    assert info.with_metadata(NO_METADATA).metadata == NO_METADATA
    assert info.metadata is None


@pytest.mark.parametrize(
    ("condition", "is_any"),
    [
        (ANY, True),
        (Condition(version=NO_VERSION), True),
        (ABSENT, False),
        (Condition(version=Version(etag="a")), False),
    ],
)
def test_a_condition_without_demand_is_any(condition, is_any):
    assert condition.is_any is is_any


def test_levels_of_verification_are_ordered():
    assert [*Verification] == sorted(Verification)
    assert Verification.V3 > Verification.V2 > Verification.V1 > Verification.V0


@pytest.mark.parametrize(
    ("state", "ok"), [(State.DONE, True), (State.CACHED, True), (State.SKIPPED, True), (State.FAILED, False)]
)
def test_an_outcome_is_ok_if_its_value_can_be_used(state, ok):
    assert Outcome(index=0, state=state).ok is ok


def test_every_state_that_is_not_a_success_is_not_ok():
    ok = {state for state in State if Outcome(index=0, state=state).ok}

    assert ok == {State.DONE, State.CACHED, State.SKIPPED}


def test_counts_add_up():
    counts = Counts(planned=10, copied=4, skipped=3, failed=1)

    assert counts.pending == 2
    assert counts.planned == counts.copied + counts.skipped + counts.failed + counts.pending


VALUES = [
    ByteRange(0, 1),
    Version(etag="a", generation="1"),
    Digests(md5=b"m"),
    Metadata(content_type="a/b", user={"a": "1"}),
    ObjectInfo(key="k", size=None),
    Condition(absent=True),
    Upload(key="k", id="1", part_size_bytes=5, state={"a": "b"}),
    Part(number=1, size=2),
    Receipt(source="s", destination="d", key="k", size=1, version=NO_VERSION),
    Outcome(index=0, state=State.DONE),
    Counts(planned=1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_slotted_and_travel(value):
    """No value can be changed or given a new field; each survives pickling."""
    first = dataclasses.fields(value)[0].name

    assert not hasattr(value, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, first, None)
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own bytes


def test_every_public_value_is_covered_above():
    classes = {
        name
        for name in model.__all__
        if dataclasses.is_dataclass(getattr(model, name)) and name[1:2].islower()
    }

    assert classes == {type(value).__name__ for value in VALUES}
