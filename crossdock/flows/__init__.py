"""Flows: list, plan, manifest, shards mapped over a runner, ledger, report. DESIGN section 6 in code.

Importing this room costs almost nothing: pyarrow and the connectors are imported when a flow is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.flows.cleaning import cleanup
    from crossdock.flows.copying import copy
    from crossdock.flows.filters import compile_filters
    from crossdock.flows.leftovers import CleanupReport, Fate, Leftover
    from crossdock.flows.migration import migrate, plan, resume
    from crossdock.flows.preview import Plan
    from crossdock.flows.report import FailureGroup, Report, build_report
    from crossdock.flows.run_directory import RunDirectory, default_runs_url, list_runs, open_run

_HOMES = {
    "cleanup": "cleaning",
    "CleanupReport": "leftovers",
    "Fate": "leftovers",
    "Leftover": "leftovers",
    "copy": "copying",
    "migrate": "migration",
    "plan": "migration",
    "resume": "migration",
    "Plan": "preview",
    "Report": "report",
    "FailureGroup": "report",
    "build_report": "report",
    "RunDirectory": "run_directory",
    "default_runs_url": "run_directory",
    "list_runs": "run_directory",
    "open_run": "run_directory",
    "compile_filters": "filters",
}

__all__ = [
    "CleanupReport",
    "FailureGroup",
    "Fate",
    "Leftover",
    "Plan",
    "Report",
    "RunDirectory",
    "build_report",
    "cleanup",
    "compile_filters",
    "copy",
    "default_runs_url",
    "list_runs",
    "migrate",
    "open_run",
    "plan",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crossdock.flows' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"crossdock.flows.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
