"""Globs and their combination."""

from __future__ import annotations

import itertools

import pytest

from crossdock.errors import ConfigError
from crossdock.flows.filters import compile_filters, split_wildcards

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
