"""Globs, bounds of size and age, their combination; and the rules that rename."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta

import pytest

from crossdock.errors import ConfigError
from crossdock.flows.questions.filters import compile_filters, split_wildcards
from crossdock.flows.questions.mapping import rename_of
from crossdock.model import ObjectInfo

MATCHES = [
    ("*.csv", "a.csv", True),
    ("*.csv", "2024/a.csv", False),
    ("**/*.csv", "a.csv", True),
    ("**/*.csv", "2024/01/a.csv", True),
    ("**.csv", "2024/a.csv", True),
    ("2024/*", "2024/a", True),
    ("2024/*", "2024/a/b", False),
    ("2024/**", "2024/a/b", True),
    ("2024/", "2024/a/b", True),
    ("2024/", "2024-2/a", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ab", False),
    ("?", "x", True),
    ("?", "/", False),
    ("?", "\n", True),
    ("[abc]", "b", True),
    ("[!abc]", "b", False),
    ("[!abc]", "/", False),
    ("[a-c]x", "bx", True),
    ("[]]", "]", True),
    ("[[]", "[", True),
    ("[^a]", "a", False),
    ("[a^]", "^", True),
    ("{a,b}.csv", "b.csv", True),
    ("{a,b}.csv", "c.csv", False),
    ("{a,b{1,2}}", "b2", True),
    ("{*.csv,x/**}", "x/y/z", True),
    (r"\*", "*", True),
    (r"\*", "a", False),
    ("a.c", "abc", False),
    ("a+b", "a+b", True),
    ("a,b}", "a,b}", True),
    ("*", "", True),
    ("caf\u00e9", "cafe\u0301", False),
]


@pytest.mark.parametrize(("glob", "name", "expected"), MATCHES)
def test_a_glob_matches_the_whole_name_and_stars_stay_in_their_segment(glob, name, expected):
    assert expected == compile_filters([glob]).decide(name).taken
    assert expected != compile_filters([], [glob]).decide(name).taken


def test_exclude_wins_and_order_means_nothing():
    include, exclude = ["a/**", "b/**"], ["**/*.tmp", "b/x"]
    expected = {"a/1": True, "a/1.tmp": False, "b/x": False, "b/y": True, "c/1": False}

    for some in itertools.permutations(include):
        for others in itertools.permutations(exclude):
            filters = compile_filters(some, others)
            assert expected == {name: filters.decide(name).taken for name in expected}


def test_the_rule_that_decided_is_named():
    filters = compile_filters(["a*"], ["*z"])

    assert filters.decide("az").rule == "exclude *z"
    assert filters.decide("ab").rule == "include a*"
    assert filters.decide("b").rule == "no include matches"
    assert compile_filters([], ["*z"]).decide("b").rule == "no exclude matches"


@pytest.mark.parametrize("glob", ["[abc", "{a,b", "", "[z-a]"])
def test_a_glob_that_cannot_be_read_is_refused(glob):
    with pytest.raises(ConfigError):
        compile_filters([glob])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("2024/*.csv", ("2024/", "*.csv")),
        ("*.csv", ("", "*.csv")),
        ("a/b{1,2}/c", ("a/", "b{1,2}/c")),
        ("a/b", ("a/b", None)),
        ("", ("", None)),
    ],
)
def test_wildcards_in_a_url_become_a_prefix_and_a_pattern(path, expected):
    assert expected == split_wildcards(path)


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def sized(size, days=0):
    modified = None if days is None else NOW - timedelta(days=days)
    return ObjectInfo(key="k", size=size, modified=modified)


@pytest.mark.parametrize(
    ("bounds", "info", "expected"),
    [
        ({"min_size": 10}, sized(10), True),
        ({"min_size": 10}, sized(9), False),
        ({"max_size": 10}, sized(10), True),
        ({"max_size": 10}, sized(11), False),
        ({"min_size": "1K"}, sized(1024), True),
        ({"min_size": "1K"}, sized(1023), False),
        ({"max_size": "1KB"}, sized(1000), True),
        ({"max_size": "1KB"}, sized(1001), False),
        ({"max_size": "1.5MiB"}, sized(1_572_864), True),
        ({"min_size": "0", "max_size": "0"}, sized(0), True),
        ({"min_size": "1"}, sized(None), False),
        ({"max_size": "1"}, sized(None), False),
        ({"min_age": "7d"}, sized(1, days=7), True),
        ({"min_age": "7d"}, sized(1, days=6.9), False),
        ({"max_age": "7d"}, sized(1, days=7), True),
        ({"max_age": "12h"}, sized(1, days=0.6), False),
        ({"max_age": "30m"}, sized(1, days=0.01), True),
        ({"max_age": "1w"}, sized(1, days=None), False),
        ({"min_age": timedelta(hours=36)}, sized(1, days=1.5), True),
        ({"min_age": "2026-11-19"}, sized(1, days=1.5), True),
        ({"min_age": "2026-11-19"}, sized(1, days=1.4), False),
        ({"max_age": "2026-11-19T12:00:00Z"}, sized(1, days=1), True),
        ({"max_age": "2026-11-19T12:00:00+02:00"}, sized(1, days=1), True),
        ({"max_age": "2026-11-19T12:00:00-02:00"}, sized(1, days=1), False),
        ({"max_age": datetime(2026, 11, 19, 13)}, sized(1, days=1), False),  # noqa: DTZ001 - without a zone: UTC
        ({"min_size": 1, "max_size": 9, "min_age": "1d", "max_age": "9d"}, sized(5, days=5), True),
        ({"min_size": 1, "max_size": 9, "min_age": "1d", "max_age": "9d"}, sized(5, days=10), False),
    ],
)
def test_bounds_of_size_and_age_take_their_limits_in(bounds, info, expected):
    assert expected == compile_filters(**bounds, now=NOW).decide("k", info).taken


def test_an_exclude_wins_over_every_bound_and_a_bound_over_every_include():
    filters = compile_filters(["*.csv"], ["tmp*"], max_size=10, now=NOW)

    assert filters.decide("tmp.csv", sized(5)).rule == "exclude tmp*"
    assert filters.decide("a.csv", sized(11)).rule == "max size 10: it has 11 B"
    assert filters.decide("a.csv", sized(5)).rule == "include *.csv"
    assert filters.decide("a.txt", sized(5)).rule == "no include matches"
    assert compile_filters(max_size=10).decide("k", sized(5)).rule == "within the bounds of size and age"
    assert compile_filters(min_age="1d", now=NOW).decide("k", sized(5)).rule == (
        "min age 1d: changed 2026-11-20T12:00:00Z"
    )
    assert compile_filters(min_age="1d").decide("k", sized(5, days=None)).rule == (
        "min age 1d: when it changed is not known"
    )


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"min_size": "much"}, "min size: 'much' is not a size"),
        ({"max_size": -1}, "max size: -1 is negative"),
        ({"min_age": "7"}, "min age: '7' is not a length of time"),
        ({"max_age": "2026-13-01"}, "max age: "),
        ({"max_age": "soon"}, "max age: 'soon' is not a length of time"),
        ({"min_size": "2K", "max_size": "1K"}, "max size 1K and min size 2K leave nothing between them"),
        ({"min_age": "7d", "max_age": "1d"}, "leave nothing between them"),
    ],
)
def test_bounds_that_cannot_be_read_or_kept_are_refused(bounds, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        compile_filters(**bounds)


RENAMES = [
    (r"s/^(\d{4})-(\d{2})/\1\/\2/", "2024-01-a", "2024/01-a"),
    ("s#a#b#", "aa", "ba"),
    ("s#a#b#g", "aa", "bb"),
    ("s/A/x/i", "aa", "xa"),
    ("s/A/x/gi", "aa", "xx"),
    (r"s%(?P<head>[^/]+)$%\g<head>.bak%", "a/b", "a/b.bak"),
    (r"s,x\,y,z,", "x,y", "z"),
    ([r"s/^raw-//", "s/$/.gz/", str.upper], "raw-a", "A.GZ"),
]


@pytest.mark.parametrize(("rule", "name", "expected"), RENAMES)
def test_a_rename_reads_as_sed_does(rule, name, expected):
    assert rename_of(rule).apply(name) == (expected, "")


@pytest.mark.parametrize(
    "rule", ["", "x", "s", "s/a/b", "y/a/b/", "s//b/", r"s/a/\1/", "s/(/b/", "s/a/b/q", "s/a/b/c/", "sxaxbx"]
)
def test_a_rename_that_cannot_be_read_is_refused_before_any_key(rule):
    with pytest.raises(ConfigError, match="rename"):
        rename_of(rule)


def test_renames_are_known_again_by_what_they_do():
    """So that a run is gone on with by the same question, and not by another."""

    def cut(by):
        return lambda name: name[by:]

    assert rename_of(cut(1)).texts == rename_of(cut(1)).texts
    assert rename_of(cut(1)).texts != rename_of(cut(2)).texts
    assert rename_of("s/a/b/").texts == ("s/a/b/",)
    assert rename_of(()) is rename_of(None) is None
    assert rename_of(lambda _: 7).apply("k") == ("", "the rename gave int, and a key is text")
    assert rename_of(lambda _: "\udcff").apply("k") == (
        "",
        "the rename gave text that is not UTF-8, and so no key",
    )
