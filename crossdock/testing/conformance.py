"""What ran against what: a pytest plugin that counts each conformance suite's checks for each end, and the page made of it.

``pytest -p crossdock.testing.conformance`` prints a line for each suite and end when the run is over;
``--conformance-record FILE`` keeps the counts as JSON, and ``page`` makes a document of them. ``--conformance-only`` leaves
every other test out. A check that a store's capabilities exclude is counted as *n/a*, with the reason; that the store then
refuses is among the checks that passed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Conformance", "page", "pytest_addoption", "pytest_configure", "row_of"]

_HERE = "crossdock.testing."
_OUTCOMES = ("passed", "n/a", "failed")
_PLUGIN = "crossdock conformance"
_WORD = re.compile(r"[A-Z0-9]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")

Row = tuple[str, str]
"""A suite and what it ran against."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the plugin."""
    group = parser.getgroup("conformance")
    group.addoption("--conformance-only", action="store_true", help="run conformance suites and nothing else")
    group.addoption("--conformance-record", metavar="FILE", help="keep what ran against what as JSON")
    group.addoption(
        "--conformance-rows", action="store_true", help="print suites and ends that were collected"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Count, unless somebody does already."""
    if not config.pluginmanager.has_plugin(_PLUGIN):
        config.pluginmanager.register(Conformance(config), _PLUGIN)


def row_of(item: pytest.Item) -> Row | None:
    """The suite a test belongs to and the end it is run against; ``None`` for any other test.

    The end is the test class's name in words, without the kind of the suite: ``TestS3OnRcloneSink`` is ``S3 on rclone``. Of
    a pair it is both.
    """
    cls = getattr(item, "cls", None)
    kinds = [each.__name__ for each in getattr(cls, "__mro__", ()) if each.__module__.startswith(_HERE)]
    suite = next((name for name in kinds if name.endswith("Suite")), None)
    if cls is None or suite is None:
        return None
    pair = getattr(item, "callspec", None) and item.callspec.params.get("pair_names")  # type: ignore[attr-defined]
    if pair:
        return suite, f"{pair[0]} to {pair[1]}"
    name = cls.__name__.removeprefix("Test")
    for kind in ("Store", "Source", "Sink"):
        name = name.removesuffix(kind) or name
    words = [word if word.isupper() or not word.isalpha() else word.lower() for word in _WORD.findall(name)]
    return suite, " ".join(words)


def left_out_of(cls: type) -> list[str]:
    """Checks that a test class switched off (``test_x = None``), because the server it runs against gets them wrong."""
    names = {name for each in cls.__mro__ for name in vars(each) if name.startswith("test_")}
    return sorted(name for name in names if getattr(cls, name) is None)


class Conformance:
    """The plugin: counts, and tells at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.rows: dict[Row, dict[str, int]] = {}
        self.reasons: dict[Row, dict[str, int]] = {}
        self.left_out: dict[Row, list[str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what is no conformance suite, if that was asked for."""
        if config.getoption("--conformance-only"):
            config.hook.pytest_deselected(items=[item for item in items if row_of(item) is None])
            items[:] = [item for item in items if row_of(item) is not None]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Say what was collected, if that was asked for."""
        if self._config.getoption("--conformance-rows"):
            for suite, end in sorted({row for item in session.items if (row := row_of(item))}):
                print(f"conformance row: {suite}: {end}")  # noqa: T201 - what was asked for

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Count how a check ended: once, or where its fixtures failed or skipped."""
        report: pytest.TestReport = yield
        row = row_of(item)
        if row is not None and (call.when == "call" or (call.when == "setup" and not report.passed)):
            counts = self.rows.setdefault(row, dict.fromkeys(_OUTCOMES, 0))
            self.left_out[row] = left_out_of(item.cls)  # type: ignore[attr-defined]
            counts["n/a" if report.skipped else report.outcome] += 1
            if report.skipped and isinstance(report.longrepr, tuple):
                reason = str(report.longrepr[2]).removeprefix("Skipped: ")
                reasons = self.reasons.setdefault(row, {})
                reasons[reason] = reasons.get(reason, 0) + 1
        return report

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """A line for each suite and end; one for all pairs of a matrix."""
        if not self.rows:
            return
        terminalreporter.section("conformance")
        for suite, end, counts in _summed(self.rows):
            told = ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES if counts[name])
            terminalreporter.write_line(f"conformance: {suite} {end} {told}")

    def pytest_sessionfinish(self) -> None:
        """Keep the counts, if that was asked for."""
        path = self._config.getoption("--conformance-record")
        if path and self.rows:
            kept = [
                {
                    "suite": row[0],
                    "end": row[1],
                    **counts,
                    "reasons": self.reasons.get(row, {}),
                    "left_out": self.left_out[row],
                }
                for row, counts in sorted(self.rows.items())
            ]
            Path(path).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _summed(rows: dict[Row, dict[str, int]]) -> Iterable[tuple[str, str, dict[str, int]]]:
    pairs: dict[str, list[dict[str, int]]] = {}
    for (suite, end), counts in sorted(rows.items()):
        if " to " in end:
            pairs.setdefault(suite, []).append(counts)
        else:
            yield suite, end, counts
    for suite, all_counts in pairs.items():
        summed = {name: sum(counts[name] for counts in all_counts) for name in _OUTCOMES}
        yield suite, f"{len(all_counts)} pairs", summed


def page(recorded: list[dict[str, Any]], note: str) -> str:
    """The document of what was recorded.

    Args:
        recorded: What ``--conformance-record`` kept.
        note: The first line, which says where the page comes from.
    """
    lines = [note, "# Conformance", "", *_INTRODUCTION]
    for suite in sorted({row["suite"] for row in recorded}, key=_order):
        rows = [row for row in recorded if row["suite"] == suite]
        lines += ["", f"## {suite}", "", *_text_of(suite), ""]
        lines += _matrix(rows) if suite == "PairSuite" else _table(rows)
        lines += _reasons(rows)
    return "\n".join(lines) + "\n"


_INTRODUCTION = [
    "Which suite of `crossdock.testing` ran against what, on this repository's own tests, and how many checks passed. *n/a* is a",
    "check that the end's capabilities exclude, or that its test server gets wrong; the reasons stand below each table. Where a",
    "capability is missing, that it is refused is tested. [Test a connector](../how-to/test-a-connector.md) says how to run",
    "the same against one of your own.",
]
_TEXTS = {
    "StoreSuite": "The port `ObjectStore`, verb by verb, and a state machine against a dict. Layers are stores too.",
    "ReadOnlyStoreSuite": "The same for stores that are sources only.",
    "SourceSuite": "What `xd.source(url)` promises as a task.",
    "SinkSuite": "What `xd.sink(url)` promises as a task.",
    "TableSuite": "What a place for tables promises: types, nulls, all or nothing, the same again, sources that die.",
    "CodecSuite": "What a format promises: what was written is read again, or refused by name; damage is loud.",
    "PairSuite": "Every source (rows) into every sink (columns): checks passed.",
}


def _text_of(suite: str) -> list[str]:
    return [_TEXTS[suite]] if suite in _TEXTS else []


def _order(suite: str) -> int:
    return [*_TEXTS].index(suite) if suite in _TEXTS else len(_TEXTS)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "| end | passed | n/a |",
        "|---|---|---|",
        *(f"| {row['end']} | {row['passed']} | {row['n/a'] or ''} |" for row in rows),
    ]


def _matrix(rows: list[dict[str, Any]]) -> list[str]:
    counts = {tuple(row["end"].split(" to ")): row["passed"] for row in rows}
    sinks, sources = ([*dict.fromkeys(pair[side] for pair in counts)] for side in (1, 0))
    return [
        "| | " + " | ".join(sinks) + " |",
        "|---" * (len(sinks) + 1) + "|",
        *(
            f"| {source} | " + " | ".join(str(counts.get((source, s), "")) for s in sinks) + " |"
            for source in sources
        ),
    ]


def _reasons(rows: list[dict[str, Any]]) -> list[str]:
    whose: dict[str, list[str]] = {}
    for row in rows:
        for reason in row["reasons"]:
            whose.setdefault(reason, []).append(row["end"].rpartition(" to ")[2])
    listed = [f"- {reason}: {', '.join(dict.fromkeys(ends))}" for reason, ends in sorted(whose.items())]
    silent = [f"- {row['end']}: {_names(row['left_out'])}" for row in rows if row["left_out"]]
    return [
        *(("", "n/a:", "", *listed) if listed else ()),
        *(("", _LEFT_OUT, "", *silent) if silent else ()),
    ]


_LEFT_OUT = "Not run at all, because the server of the test gets it wrong (the test's file says why):"


def _names(checks: list[str]) -> str:
    return ", ".join(check.removeprefix("test_").replace("_", " ") for check in checks)
