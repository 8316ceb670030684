"""Any listings, any rules: the plan is what a dictionary of everything would say, in bounded memory."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from flow_kit import bucket
from hypothesis import given, settings, strategies as st

from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.flows.listing import Ahead, spilling
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.planning.rows import Rules, compare, plan_objects
from crossdock.flows.questions.filters import compile_filters
from crossdock.flows.questions.mapping import rename_of
from crossdock.flows.questions.missing import Missing
from crossdock.model import Digests, Metadata, ObjectInfo, Version

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEYS = st.text(alphabet="a/b\u00e9\U0001f4a9z", min_size=1, max_size=5)
BODIES = st.sampled_from([b"", b"1", b"2", b"22", b"333"])


@settings(deadline=None, max_examples=150)
@given(
    source=st.dictionaries(KEYS, BODIES),
    there=st.dictionaries(KEYS, BODIES),
    prefix=st.sampled_from(["", "p/"]),
    page=st.integers(1, 4),
    mode=st.sampled_from(["auto", "checksum", "size"]),
    overwrite=st.sampled_from(["if-different", "always", "never"]),
    rule=st.sampled_from([None, "s/a//g", "s#^(.)(.*)$#\\2\\1#", "s/./x/", "s/^/z/"]),
    excluded=st.sampled_from([(), ("a*",), ("**/b",)]),
    max_size=st.sampled_from([None, 1, 2]),
)
def test_a_plan_is_what_a_dictionary_of_everything_would_say(
    source, there, prefix, page, mode, overwrite, rule, excluded, max_size
):
    """Random listings of both ends through real stores and the real merge, against the naive oracle below."""
    left = MemoryStore(bucket(), MemoryOptions(page_size=page))
    right = MemoryStore(bucket(), MemoryOptions(page_size=page))
    for key, body in source.items():
        left.put(key, body)
    for key, body in there.items():
        right.put(prefix + key, body)
        right.put(f"zz-elsewhere/{key}", body)
    filters = compile_filters((), excluded, max_size=max_size)
    rules = Rules(
        destination_prefix=prefix, filters=filters, compare=mode, overwrite=overwrite, rename=rename_of(rule)
    )

    rows = list(plan_objects(left.list(), Ahead(right, prefix).find, rules))

    expected = oracle(everything(left), everything(right), rules, excluded, max_size)
    assert expected == {row.source.key: (row.destination, row.action.value, row.observed) for row in rows}
    assert len(rows) == len(expected)


def everything(store):
    return {info.key: info for page in store.list() for info in page}


def oracle(source, there, rules, excluded, max_size):
    """Holds all of both ends, asks for no order, and knows nothing of the merge."""
    wanted = {}
    for key, info in source.items():
        by_name = any(compile_filters([glob]).decide(key).taken for glob in excluded)
        if by_name or (max_size is not None and info.size > max_size):
            continue
        new = key if rules.rename is None else rules.rename.apply(key)[0]
        wanted[key] = rules.destination_prefix + new if new else ""
    plan = {}
    for key, destination in wanted.items():
        if not destination or sum(other == destination for other in wanted.values()) > 1:
            plan[key] = (destination, "refuse", None)
            continue
        existing = there.get(destination)
        action, _ = compare(source[key], existing, rules.overwrite, mode=rules.compare)
        plan[key] = (destination, action.value, None if existing is None else existing.version)
    return plan


def test_the_plan_holds_a_page_and_no_more():
    """Rows come out while the listing still has pages to give: none is asked for before the one before is used up."""
    taken = []

    def pages():
        for number in range(50):
            taken.append(number)
            yield [ObjectInfo(key=f"{number:02d}/{at}", size=1) for at in range(3)]

    rows = plan_objects(pages(), lambda _: None, Rules())

    for number, _ in enumerate(rows):
        assert len(taken) == number // 3 + 1


SOME = ObjectInfo(
    key="z",
    size=7,
    version=Version(etag="e", generation="9"),
    digests=Digests(md5=b"m" * 16, crc32c=b"1234", multipart_etag="x-2"),
    metadata=Metadata(content_type="text/plain", user={"a": "\u00e9"}),
    modified=NOON + timedelta(microseconds=5),
    storage_class="STANDARD_IA",
)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.tuples(KEYS, KEYS), unique_by=lambda pair: pair[1], max_size=40),
    run_rows=st.integers(1, 5),
    fan_in=st.integers(2, 4),
)
def test_sorting_through_files_is_sorting(names, run_rows, fan_in):
    """However many runs, and merged in however many passes: the same candidates, in order, unchanged."""
    candidates = [
        Candidate(
            Missing(key=key, size=None, why="w")
            if number % 3 == 2
            else ObjectInfo(
                key=key,
                size=SOME.size,
                version=SOME.version,
                digests=SOME.digests,
                metadata=SOME.metadata,
                modified=SOME.modified,
                storage_class=SOME.storage_class,
            ),
            key,
            destination,
        )
        for number, (destination, key) in enumerate(names)
    ]

    found = list(by_destination(candidates, run_rows=run_rows, fan_in=fan_in))

    assert sorted(candidates, key=lambda each: (each.destination, each.info.key)) == found


def test_sorting_holds_a_run_and_no_more_and_leaves_nothing(tmp_path, monkeypatch):
    """Never more than one run and the groups being merged are alive, however many candidates come."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(spilling, "_GROUP_ROWS", 2)
    alive = most = 0

    class Counted(ObjectInfo):
        def __new__(cls, *_args, **_kwargs):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls)

        def __del__(self):
            nonlocal alive
            alive -= 1

    def candidates():
        for number in range(240):
            yield Candidate(Counted(key=f"{number:04d}", size=1), "n", f"{number * 7919 % 240:04d}")

    found = by_destination(candidates(), run_rows=20, fan_in=3)
    first = list(itertools.islice(found, 5))
    spilled = list(tmp_path.rglob("*.parquet"))
    rest = sum(1 for _ in found)

    assert [each.destination for each in first] == [f"{number:04d}" for number in range(5)]
    assert rest == 235
    assert 20 <= most <= 2 * 20 + 2, "a sorted run, and the one that is being written"
    assert 0 < len(spilled) <= 3
    assert list(tmp_path.iterdir()) == []
