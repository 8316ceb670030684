"""What all tests share: in CI a skipped test is a failed test, because a suite that did not run proves nothing.

``--no-skips``, or ``CI=true`` in the environment, turns skips of tests and of whole modules into failures. A test that
may really be missing its other half somewhere says so with ``@pytest.mark.may_skip("why")``. Skips that the shipped
conformance suites raise stay skips: there a store says by its capabilities what it cannot do, and that it then refuses is
tested too.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Generator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from crossdock.testing import conformance

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own


def pytest_addoption(parser: pytest.Parser) -> None:
    conformance.pytest_addoption(parser)
    parser.addoption(
        "--no-skips",
        action="store_true",
        default=os.environ.get("CI", "").lower() in ("1", "true", "yes"),
        help="a skipped test fails, unless it is marked may_skip (default where CI=true)",
    )


def pytest_configure(config: pytest.Config) -> None:
    conformance.pytest_configure(config)
    # A shell that runs us in the background has SIGINT ignored, which processes inherit: Ctrl-C could not be tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "may_skip(reason): a skip is acceptable even in CI, and why")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("may_skip") is None:
        _fail_if_skipped(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report, collector.config)
    return report


def _fail_if_skipped(report: Any, config: pytest.Config) -> None:
    """Expected failures are reported as skips too; those stay what they are."""
    if not config.getoption("--no-skips") or not report.skipped or hasattr(report, "wasxfail"):
        return
    place, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, report.longrepr)
    if Path(str(resources.files("crossdock.testing"))) in Path(place).parents:
        return
    report.outcome = "failed"
    report.longrepr = f"skipped where skipping is a failure (--no-skips): {reason}"


@pytest.fixture(scope="session", autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Runs of tests are not the user's: none is left in the state directory of whoever runs the suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _memory_given_back() -> Generator[None]:
    """glibc keeps what thousands of servers' threads have freed; a suite of twelve thousand tests would take 10 GB."""
    yield
    if _trim is not None:
        _trim(0)
