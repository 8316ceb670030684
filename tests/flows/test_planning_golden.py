"""Golden plans: two listings and rules in, rows as text out. One for each rule of a plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.connectors.gcs.resources import refusal as gcs_refusal
from crossdock.errors import ConfigError
from crossdock.flows.planning.rows import Rules, plan_objects
from crossdock.flows.questions.filters import compile_filters
from crossdock.flows.questions.mapping import rename_of
from crossdock.flows.questions.missing import Missing
from crossdock.model import Digests, ObjectInfo, Version

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
MD5, OTHER = b"a" * 16, b"b" * 16


def info(key, size=3, *, days=0, storage_class=None, etag="e", **digests):
    """An object changed some days before or after noon."""
    return ObjectInfo(
        key=key,
        size=size,
        modified=NOON + timedelta(days=days),
        storage_class=storage_class,
        version=Version(etag=etag),
        digests=Digests(**digests),
    )


def plan(source, there=(), **rules):
    """The rows as text; the destination is asked for in growing order, or the plan is wrong."""
    held = {each.key: each for each in there}
    asked = []

    def find(key):
        asked.append(key)
        return held.get(key)

    rows = list(plan_objects([source], find, Rules(**rules)))
    assert asked == sorted(set(asked)), "asked for in growing order, each once"
    return [f"{row.source.key} -> {row.destination}: {row.action.value}, {row.reason}" for row in rows]


THERE = [
    info("digest", md5=MD5),
    info("equal", days=1),
    info("etag-like", md5=OTHER),
    info("older", days=-9),
    info("resized", size=9),
    info("unlike", days=1, crc32c=b"2222"),
]
HERE = [
    info("absent"),
    info("digest", md5=MD5),
    info("equal"),
    info("etag-like", md5=MD5, etag=MD5.hex()),
    info("older"),
    info("resized"),
    info("unlike", crc32c=b"1111"),
]

COMPARED = {
    "auto": """
        absent: copy, absent
        digest: skip, same md5
        equal: skip, same size, destination not older
        etag-like: compare, md5 differs, if the ETag is one
        older: copy, source newer
        resized: copy, size differs
        unlike: copy, crc32c differs
    """,
    "checksum": """
        absent: copy, absent
        digest: skip, same md5
        equal: compare, no digest in common
        etag-like: compare, md5 differs, if the ETag is one
        older: compare, no digest in common
        resized: copy, size differs
        unlike: copy, crc32c differs
    """,
    "size-mtime": """
        absent: copy, absent
        digest: skip, same size, destination not older
        equal: skip, same size, destination not older
        etag-like: skip, same size, destination not older
        older: copy, source newer
        resized: copy, size differs
        unlike: skip, same size, destination not older
    """,
    "size": """
        absent: copy, absent
        digest: skip, same size
        equal: skip, same size
        etag-like: skip, same size
        older: skip, same size
        resized: copy, size differs
        unlike: skip, same size
    """,
}


@pytest.mark.parametrize("mode", COMPARED)
def test_each_comparison_says_by_what_it_decided(mode):
    expected = [line.strip() for line in COMPARED[mode].strip().splitlines()]

    rows = plan(HERE, THERE, compare=mode)

    assert expected == [row.partition(" -> ")[2] for row in rows]


@pytest.mark.parametrize(("overwrite", "said"), [("always", "copy, overwrite"), ("never", "skip, exists")])
def test_overwrite_asks_nothing_but_whether_it_is_there(overwrite, said):
    rows = plan(HERE, THERE, overwrite=overwrite, compare="checksum")

    assert rows[0] == "absent -> absent: copy, absent"
    assert {said} == {row.partition(": ")[2] for row in rows[1:]}


def test_what_a_worker_compares_by_is_in_the_row():
    rows = plan_objects([HERE], {each.key: each for each in THERE}.get, Rules(compare="checksum"))

    assert {"checksum"} == {row.compare for row in rows}


def test_filters_by_size_and_age_take_rows_out():
    source = [info("a", 10), info("b", 99), info("c", 10, days=-30), info("d", None), info("e", 10)]
    filters = compile_filters((), ["e"], max_size="50", max_age="7d", now=NOON)

    assert plan(source, filters=filters) == ["a -> a: copy, absent"]


def test_a_given_name_that_is_not_there_is_refused_whatever_the_bounds_say():
    source = [Missing(key="gone", size=None), Missing(key="left-out", size=None), info("there", 10)]
    filters = compile_filters((), ["left*"], min_size=1)

    assert plan(source, filters=filters) == [
        "gone -> gone: refuse, the list names it, and the source has no object of this name",
        "there -> there: copy, absent",
    ]


def test_keys_go_below_the_destination_s_prefix():
    assert plan([info("in/a"), info("in/b/c")], source_prefix="in/", destination_prefix="out/") == [
        "in/a -> out/a: copy, absent",
        "in/b/c -> out/b/c: copy, absent",
    ]


def test_a_rename_changes_the_order_and_the_plan_follows_the_destination():
    rename = rename_of(r"s/^(\w)-(\w)$/\2-\1/")

    rows = plan(
        [info("in/a-z"), info("in/b-y"), info("in/c-x")],
        [info("out/y-b", days=1)],
        source_prefix="in/",
        destination_prefix="out/",
        rename=rename,
    )

    assert rows == [
        "in/c-x -> out/x-c: copy, absent",
        "in/b-y -> out/y-b: skip, same size, destination not older",
        "in/a-z -> out/z-a: copy, absent",
    ]


def test_keys_that_meet_are_all_refused_and_stop_nobody():
    """Three of a kind as well as two; also one that was called so from the beginning."""
    source = [info("1/a"), info("1/b"), info("2/a"), info("3/a"), info("b")]

    assert plan(source, rename=rename_of("s#^[0-9]/##")) == [
        "1/a -> a: refuse, another object gets this destination key, too: '2/a'",
        "2/a -> a: refuse, another object gets this destination key, too: '1/a'",
        "3/a -> a: refuse, another object gets this destination key, too: '2/a'",
        "1/b -> b: refuse, another object gets this destination key, too: 'b'",
        "b -> b: refuse, another object gets this destination key, too: '1/b'",
    ]


def test_a_rename_that_fails_for_one_key_fails_for_that_key_alone():
    def shortened(name):
        if name == "bad":
            raise KeyError(name)
        return name[1:]

    assert plan(
        [info("bad"), info("q"), info("xyz")], destination_prefix="p/", rename=rename_of(shortened)
    ) == [
        "bad -> : refuse, the rename fails for this key: KeyError: 'bad'",
        "q -> : refuse, the rename leaves nothing of this key",
        "xyz -> p/yz: copy, absent",
    ]


def test_the_prefix_s_own_marker_is_not_renamed():
    rows = plan([info("in/", 0), info("in/a")], source_prefix="in/", rename=rename_of("s/^/x/"))

    assert rows == ["in/ -> : skip, the empty marker of the source prefix itself", "in/a -> xa: copy, absent"]


def test_what_gcs_cannot_hold_is_refused_before_a_byte_moves():
    too_long, too_large = "k" * 1025, 6 * 1024**4

    rows = plan([info("a\nb"), info("fine"), info(too_long), info("large", too_large)], refusal=gcs_refusal)

    assert [row.partition(": ")[2].partition(",")[0] for row in rows] == [
        "refuse",
        "copy",
        "refuse",
        "refuse",
    ]


ARCHIVED = [
    info("aws-deep", storage_class="DEEP_ARCHIVE"),
    info("aws-glacier", storage_class="GLACIER"),
    info("aws-instant", storage_class="GLACIER_IR"),
    info("aws-same", storage_class="GLACIER", md5=MD5),
    info("azure", storage_class="Archive"),
    info("gcs", storage_class="ARCHIVE"),
]


def test_archived_objects_are_refused_unless_they_need_no_reading():
    rows = plan(ARCHIVED, [info("aws-same", md5=MD5)])

    assert rows == [
        "aws-deep -> aws-deep: refuse, the object is archived (DEEP_ARCHIVE) and cannot be read before it is restored",
        "aws-glacier -> aws-glacier: refuse, the object is archived (GLACIER) and cannot be read before it is restored",
        "aws-instant -> aws-instant: copy, absent",
        "aws-same -> aws-same: skip, same md5",
        "azure -> azure: refuse, the object is archived (Archive) and cannot be read before it is restored",
        "gcs -> gcs: copy, absent",
    ]


def test_archived_objects_are_tried_if_that_is_asked_for():
    assert {"copy, absent"} == {row.partition(": ")[2] for row in plan(ARCHIVED, try_archived=True)}


def test_a_rename_and_one_exact_key_do_not_go_together():
    with pytest.raises(ConfigError, match="one object"):
        Rules(exact="k", rename=rename_of("s/a/b/"))


@pytest.mark.parametrize("rules", [{"compare": "name"}, {"compare": ""}, {"overwrite": "maybe"}])
def test_words_that_are_not_in_the_tables_are_refused(rules):
    with pytest.raises(ConfigError, match=r"(compare|overwrite) is"):
        Rules(**rules)
