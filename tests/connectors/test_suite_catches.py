"""Negative controls: what is wrong makes the suites fail where it should, and what is right passes.

``wrong_stores`` are stores with one fault each, ``plain_copies`` are sinks and pairs that write as fsspec's manual shows. Both
are run by a pytest in this process, once.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from crossdock.testing import hostile

HERE = Path(__file__).parent


DICT = "test_a_store_is_a_dict"

# The stores whose one fault a sequence of calls against a dict finds too; the others need what is not drawn: thousands of
# keys, threads, digests, hostile keys and metadata.
CAUGHT_BY_A_DICT = {
    *("DropsLastByte", "ReadsShort", "IgnoresPins", "IgnoresIfMatch", "IgnoresConditions", "ChecksThenActs"),
    *("PrefixIsADirectory", "StartsAt", "CollapsesSlashes", "DecodesKeys", "IgnoresCase", "ForgetsMetadata"),
    *("MakesUpAContentType", "ChecksTooLate", "VisibleTooEarly", "NeverAborts", "HidesUploads"),
    *(
        "CopiesWhateverIsThere",
        "CopiesMetadataToo",
        "DeletesStrictly",
        "DeletesByPrefix",
        "DeletesAnyVersion",
    ),
    *("RangesAreForgiving", "MissingIsEmpty"),
}

# What plain copying with fsspec gets right, and where it loses data: the truncated object is published, and replaces a good one.
RIGHT = ("test_bytes_arrive", "test_chunks_of_any_shape", "test_objects_beside_it_stay")
LOSES = (
    "test_a_source_that_dies",
    "test_a_source_that_is_interrupted",
    "test_a_stored_object_that_dies",
    "test_a_stored_object_that_ends_early",
    "test_a_flipped_bit",
    "test_a_declared_length_is_kept",
    "test_a_declared_digest_is_kept",
    "test_a_footer_after_the_end_is_not_taken",
)
SHOWS_HALVES = "test_nothing_is_visible_before_the_end"
PLAIN = {
    "TestOnDisk": (RIGHT, (*LOSES, SHOWS_HALVES)),
    "TestInMemory": (RIGHT, (*LOSES, SHOWS_HALVES)),
    # An upload in parts is not seen before its end; but its end comes whatever happened. Fewer checks: parts are large here.
    "TestOnS3": (("test_chunks_of_any_shape", SHOWS_HALVES), LOSES[:2]),
    "TestPairs": (
        (),
        (
            "test_a_source_that_dies_changes_nothing",
            "test_an_object_that_is_gone",
            "test_nothing_half_is_ever_seen",
        ),
    ),
}


class Recorder:
    """A pytest plugin that keeps which cases of which check of which class failed, and which ran."""

    def __init__(self):
        self.failed, self.ran = {}, {}

    def pytest_runtest_logreport(self, report):
        _, suite, test = report.nodeid.split("::", 2)
        check, _, case = test.partition("[")
        if report.when == "call":
            self.ran.setdefault(suite, {}).setdefault(check, set()).add(case)
        if report.failed:
            self.failed.setdefault(suite, {}).setdefault(check, set()).add(case)


def run_in_here(tests, folder):
    """Run tests by name in this process, apart from the run around it."""
    recorder, config = Recorder(), folder / "pytest.ini"
    config.write_text("[pytest]\n")
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", str(config), f"--rootdir={HERE}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        ended = pytest.main([*options, *tests], plugins=[recorder])

    assert ended == pytest.ExitCode.TESTS_FAILED
    return recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Each wrong store through the checks that should catch it, the exact one through all."""
    return run_in_here(chosen(), tmp_path_factory.mktemp("wrong"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Plain copies through the checks of what they get right and of where they lose data."""
    file = HERE / "plain_copies.py"
    tests = [
        f"{file}::{name}::{check}" for name, checks in PLAIN.items() for part in checks for check in part
    ]
    return run_in_here(tests, tmp_path_factory.mktemp("plain"))


def suites():
    """The classes of ``wrong_stores``, found as pytest finds them."""
    spec = importlib.util.spec_from_file_location("wrong_stores_by_name", HERE / "wrong_stores.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: suite for name, suite in vars(module).items() if name.startswith("Test")}


def chosen():
    """The checks to run, as pytest names them."""
    file = HERE / "wrong_stores.py"
    for name, suite in suites().items():
        if not suite.caught_by:
            yield f"{file}::{name}"
        else:
            yield f"{file}::{name}::{DICT}"
        yield from (f"{file}::{name}::{test}" for test in suite.caught_by)


@pytest.mark.parametrize(("name", "suite"), suites().items(), ids=suites())
def test_a_wrong_store_is_caught(run, name, suite):
    """Each named check fails for the store that is wrong in just that; the faithful wrapper fails in none."""
    failed = {*run.failed.get(name, {})} - {DICT}
    ran = sum(len(cases) for cases in run.ran[name].values())

    assert {*suite.caught_by} == failed
    assert ran >= (len(suite.caught_by) or 180)


def test_a_dict_finds_what_single_checks_find(run):
    """The state machine catches every fault that a few calls on a few keys can show, and nothing that is right."""
    caught = {name.removeprefix("Test") for name, checks in run.failed.items() if DICT in checks}

    assert all(DICT in checks for checks in run.ran.values())
    assert caught == CAUGHT_BY_A_DICT


@pytest.mark.parametrize(("name", "expected"), PLAIN.items(), ids=PLAIN)
def test_plain_copying_is_caught_where_it_loses_data(plain, name, expected):
    """Every case of these checks fails, at every byte a source dies at, and no case of what it gets right."""
    right, loses = expected

    assert {*right, *loses} == {*plain.ran[name]}
    assert {check: plain.ran[name][check] for check in loses} == plain.failed[name]


def test_hostile_keys_are_many_and_different():
    """At least thirty, with every kind CONTRACT section 3 names; every one is text that UTF-8 can write."""
    keys = hostile.HOSTILE_KEYS

    assert len({key.encode() for key in keys}) == len(keys) >= 30
    assert {"a//b", "/a", "a/", "a/./b", "a/../b", "a%2Fb", "a+b", "a#b?c", "x", "x/y"} <= {*keys}
    assert sum(len(key.encode()) == 1_024 for key in keys) >= 3
    assert len({key.casefold() for key in keys}) < len(keys)
