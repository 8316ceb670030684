"""Negative controls: a codec with a fault fails in the checks that are for it, and what is right passes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from test_suite_catches import run_in_here

HERE = Path(__file__).parent


FILES = ("wrong_codecs.py", "wrong_decoders.py")


def suites():
    """The classes of the two files, found as pytest finds them, by file and name."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        for file in FILES:
            spec = importlib.util.spec_from_file_location(f"{file[:-3]}_by_name", HERE / file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found |= {(file, name): suite for name, suite in vars(module).items() if name.startswith("Test")}
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Each wrong codec through the checks that should catch it, the right one through all of them."""
    found = suites()
    checks = sorted({check for suite in found.values() for check in suite.caught_by})
    chosen = [
        f"{HERE / file}::{name}::{check}"
        for (file, name), suite in found.items()
        for check in suite.caught_by or checks
    ]
    return run_in_here(chosen, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("suite", suites().values(), ids=lambda suite: suite.__name__)
def test_a_wrong_codec_is_caught(run, suite):
    """Each named check fails for the codec that is wrong in just that; the right one fails in none."""
    name = suite.__name__

    assert {*suite.caught_by} == {*run.failed.get(name, {})}
    assert sum(len(cases) for cases in run.ran[name].values()) >= (len(suite.caught_by) or 60)


def test_there_is_a_fault_for_most_checks():
    """A check that no fault fails may check nothing."""
    found = suites()
    checks = {name for name in dir(found["wrong_codecs.py", "TestRight"]) if name.startswith("test_")}
    caught = {check for suite in found.values() for check in suite.caught_by}

    assert checks - caught == {
        "test_a_column_without_any_value",
        "test_every_compression_comes_back",
        "test_moments_that_no_calendar_has_are_kept_or_refused",
        "test_what_somebody_else_wrote_is_read",
    }
