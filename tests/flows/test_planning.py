"""The plan: a sorted merge against a dict oracle, and the comparison table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flow_kit import bucket
from hypothesis import given, settings, strategies as st

from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.errors import ConfigError, StorageError
from crossdock.flows.listing import Ahead, in_order
from crossdock.flows.planning.rows import Action, Rules, compare, plan_objects
from crossdock.flows.questions.filters import compile_filters
from crossdock.model import Digests, ObjectInfo, Version

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
KEYS = st.text(alphabet="a/b\u00e9\U0001f4a9z", min_size=1, max_size=6)
BODIES = st.sampled_from([b"", b"1", b"2", b"22"])


def info(key="k", size=3, modified=NOON, etag="e", **digests):
    return ObjectInfo(
        key=key, size=size, modified=modified, digests=Digests(**digests), version=Version(etag=etag)
    )


def paged(infos, size):
    return [infos[at : at + size] for at in range(0, len(infos), size)]


@settings(deadline=None)
@given(
    source=st.dictionaries(KEYS, BODIES),
    there=st.dictionaries(KEYS, BODIES),
    prefix=st.sampled_from(["", "p/"]),
    page=st.integers(1, 4),
)
def test_the_merge_decides_as_a_dictionary_of_everything_would(source, there, prefix, page):
    """The oracle holds all of the destination in a dict; the merge holds one page."""
    left, right = (
        MemoryStore(bucket(), MemoryOptions(page_size=page)),
        MemoryStore(bucket(), MemoryOptions(page_size=page)),
    )
    for key, body in source.items():
        left.put(key, body)
    for key, body in there.items():
        right.put(prefix + key, body)
        right.put(f"zz-elsewhere/{key}", body)
    rules = Rules(destination_prefix=prefix)

    rows = list(plan_objects(left.list(), Ahead(right, prefix).find, rules))

    expected = {
        prefix + key: ("skip" if there.get(key) == body else "copy", key in there)
        for key, body in source.items()
    }
    assert expected == {row.destination: (row.action.value, row.observed is not None) for row in rows}
    assert sorted(source) == [row.source.key for row in rows]
    versions = {row.destination: row.observed for row in rows if row.observed is not None}
    assert versions == {key: right.stat(key).version for key in versions}


def test_few_objects_into_a_very_large_destination_cost_few_pages():
    """Pages between two wanted keys are jumped over, and nothing is missed."""
    store = MemoryStore(bucket(), MemoryOptions(page_size=2))
    for number in range(200):
        store.put(f"{number // 10:02d}/{number:05d}", b"")
    pages = []

    class Counting(MemoryStore):
        def list(self, prefix="", *, start_after=None):
            for page in super().list(prefix, start_after=start_after):
                pages.append(page)
                yield page

    ahead = Ahead(Counting(store.bucket, store.options), "")

    assert [ahead.find(key) is not None for key in ("00/00000", "10/0", "19/00199")] == [True, False, True]
    assert len(pages) < 20


def test_keys_that_do_not_grow_are_refused():
    ahead = Ahead(MemoryStore(bucket()), "")
    ahead.find("b")

    with pytest.raises(StorageError, match="one destination"):
        ahead.find("b")


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"], ["a", "b", "a"]])
@pytest.mark.parametrize("page", [1, 3])
def test_a_listing_out_of_order_is_loud(keys, page):
    """Repeated, looping or unordered pages must not make a plan."""
    with pytest.raises(StorageError, match="out of order"):
        list(in_order(paged([info(key) for key in keys], page), where="s3://b"))


MD5, OTHER = b"a" * 16, b"b" * 16
SECOND = NOON.replace(microsecond=0)


@pytest.mark.parametrize(
    ("source", "there", "overwrite", "expected"),
    [
        (info(), None, "never", (Action.COPY, "absent")),
        (info(), info(), "never", (Action.SKIP, "exists")),
        (info(md5=MD5), info(md5=MD5), "always", (Action.COPY, "overwrite")),
        (info(md5=MD5), info(md5=MD5), "if-different", (Action.SKIP, "same md5")),
        (info(md5=MD5), info(md5=OTHER), "if-different", (Action.COPY, "md5 differs")),
        (
            info(md5=MD5, etag=MD5.hex()),
            info(md5=OTHER),
            "if-different",
            (Action.COMPARE, "md5 differs, if the ETag is one"),
        ),
        (
            info(md5=MD5, etag=MD5.hex(), crc32c=b"1"),
            info(md5=OTHER, crc32c=b"2"),
            "if-different",
            (Action.COPY, "md5 differs"),
        ),
        (info(size=1), info(size=2), "if-different", (Action.COPY, "size differs")),
        (
            info(md5=MD5, crc32c=b"1"),
            info(md5=MD5, crc32c=b"2"),
            "if-different",
            (Action.COPY, "crc32c differs"),
        ),
        (
            info(multipart_etag="x-2"),
            info(multipart_etag="x-2"),
            "if-different",
            (Action.SKIP, "same multipart_etag"),
        ),
        (
            info(multipart_etag="x-2"),
            info(multipart_etag="y-3"),
            "if-different",
            (Action.SKIP, "same size, destination not older"),
        ),
        (info(), info(), "if-different", (Action.SKIP, "same size, destination not older")),
        (info(), info(modified=NOON - timedelta(seconds=9)), "if-different", (Action.COPY, "source newer")),
        (
            info(modified=SECOND),
            info(modified=SECOND),
            "if-different",
            (Action.COMPARE, "same size, times too close to tell"),
        ),
        (
            info(),
            info(modified=SECOND),
            "if-different",
            (Action.COMPARE, "same size, times too close to tell"),
        ),
        (
            info(modified=SECOND),
            info(modified=SECOND + timedelta(seconds=1)),
            "if-different",
            (Action.SKIP, "same size, destination not older"),
        ),
        (info(modified=None), info(), "if-different", (Action.COMPARE, "same size, no times to compare")),
        (info(size=None), info(), "if-different", (Action.COPY, "size unknown")),
        (info(size=None, md5=MD5), info(md5=MD5), "if-different", (Action.SKIP, "same md5")),
    ],
)
def test_comparison(source, there, overwrite, expected):
    assert expected == compare(source, there, overwrite)


def plan_of(infos, **rules):
    return list(plan_objects([infos], lambda _: None, Rules(**rules)))


def test_filters_see_the_key_below_the_prefix():
    rows = plan_of(
        [info("p/a.csv"), info("p/b.tmp"), info("p/d/c.csv")],
        source_prefix="p/",
        filters=compile_filters(["**/*.csv"], ["d/**"]),
    )

    assert [row.name for row in rows] == ["a.csv"]


def test_what_the_destination_cannot_hold_is_refused_and_stops_nobody():
    rows = plan_of(
        [info("bad"), info("good")],
        destination_prefix="q/",
        refusal=lambda key, size: f"{size} bytes" if key == "q/bad" else None,
    )

    assert [(row.destination, row.action, row.reason) for row in rows] == [
        ("q/bad", Action.REFUSE, "3 bytes"),
        ("q/good", Action.COPY, "absent"),
    ]


def test_the_prefix_s_own_empty_marker_has_no_name_at_a_bucket_s_root():
    rows = plan_of([info("p/", size=0), info("p/a")], source_prefix="p/")

    assert [row.action for row in rows] == [Action.SKIP, Action.COPY]


def test_an_unknown_overwrite_is_refused():
    with pytest.raises(ConfigError):
        Rules(overwrite="maybe")
