"""Negative controls: each wrong store of ``wrong_stores`` makes the suite fail where it should; the exact one passes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from crossdock.testing import hostile

HERE = Path(__file__).parent


class Recorder:
    """A pytest plugin that keeps which tests of which class failed and how many ran."""

    def __init__(self):
        self.failed, self.ran = {}, {}

    def pytest_runtest_logreport(self, report):
        _, suite, test = report.nodeid.split("::", 2)
        if report.when == "call":
            self.ran[suite] = self.ran.get(suite, 0) + 1
        if report.failed:
            self.failed.setdefault(suite, set()).add(test.partition("[")[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Each wrong store through the checks that should catch it, the exact one through all, in this process, once."""
    recorder, config = Recorder(), tmp_path_factory.mktemp("wrong") / "pytest.ini"
    config.write_text("[pytest]\n")
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", str(config), f"--rootdir={HERE}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        ended = pytest.main([*options, *chosen()], plugins=[recorder])

    assert ended == pytest.ExitCode.TESTS_FAILED
    return recorder


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
        yield from (f"{file}::{name}::{test}" for test in suite.caught_by)


@pytest.mark.parametrize(("name", "suite"), suites().items(), ids=suites())
def test_a_wrong_store_is_caught(run, name, suite):
    """Each named check fails for the store that is wrong in just that; the faithful wrapper fails in none."""
    failed = run.failed.get(name, set())

    assert {*suite.caught_by} == failed
    assert run.ran[name] >= (len(suite.caught_by) or 180)


def test_hostile_keys_are_many_and_different():
    """At least thirty, with every kind CONTRACT section 3 names; every one is text that UTF-8 can write."""
    keys = hostile.HOSTILE_KEYS

    assert len({key.encode() for key in keys}) == len(keys) >= 30
    assert {"a//b", "/a", "a/", "a/./b", "a/../b", "a%2Fb", "a+b", "a#b?c", "x", "x/y"} <= {*keys}
    assert sum(len(key.encode()) == 1_024 for key in keys) >= 3
    assert len({key.casefold() for key in keys}) < len(keys)
