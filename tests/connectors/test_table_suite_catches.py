"""Negative controls: a place for tables with a fault fails in the checks that are for it, and what is right passes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from test_suite_catches import run_in_here

FILE = Path(__file__).with_name("wrong_tables.py")


def suites():
    """The classes of ``wrong_tables``, found as pytest finds them."""
    spec = importlib.util.spec_from_file_location("wrong_tables_by_name", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: suite for name, suite in vars(module).items() if name.startswith("Test")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Each wrong place through the checks that should catch it, the right one through all of them."""
    chosen = [
        f"{FILE}::{name}::{check}" if check else f"{FILE}::{name}"
        for name, suite in suites().items()
        for check in suite.caught_by or [""]
    ]
    return run_in_here(chosen, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("suite", suites().values(), ids=lambda suite: suite.__name__)
def test_a_wrong_place_for_tables_is_caught(run, suite):
    """Each named check fails for the place that is wrong in just that; the right one fails in none."""
    name = suite.__name__

    assert {*suite.caught_by} == {*run.failed.get(name, {})}
    assert sum(len(cases) for cases in run.ran[name].values()) >= (len(suite.caught_by) or 60)


def test_there_is_a_fault_for_most_checks():
    """A check that no fault fails may check nothing."""
    found = suites()
    checks = {name for name in dir(found["TestRight"]) if name.startswith("test_")}
    caught = {check for suite in found.values() for check in suite.caught_by}

    assert checks - caught == {"test_a_column_without_any_value", "test_tables_of_every_shape_come_back"}
