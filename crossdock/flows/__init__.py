"""Flows: list, plan, manifest, shards mapped over a runner, ledger, report. DESIGN section 6 in code.

Importing this room costs almost nothing: pyarrow and the connectors are imported when a flow is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.flows.checking import CheckReport, check
    from crossdock.flows.cleaning import cleanup
    from crossdock.flows.compacting import Compaction, compact
    from crossdock.flows.comparing import Checked, How, Sign
    from crossdock.flows.copying import copy
    from crossdock.flows.counting import Usage, usage
    from crossdock.flows.doomed import Removed
    from crossdock.flows.erasing import Erasure, remove
    from crossdock.flows.exporting import Export, export_run, exported, file_sink, format_of
    from crossdock.flows.filters import compile_filters
    from crossdock.flows.leftovers import CleanupReport, Fate, Leftover
    from crossdock.flows.migration import migrate, plan, resume
    from crossdock.flows.preview import Plan
    from crossdock.flows.pruning import SyncPlan
    from crossdock.flows.reading_out import ReadOut, parse_range
    from crossdock.flows.relocating import MoveReport, move
    from crossdock.flows.removing import RemovalReport
    from crossdock.flows.report import Report, build_report
    from crossdock.flows.retrying import retry
    from crossdock.flows.run_directory import RunDirectory, default_runs_url, list_runs, open_run
    from crossdock.flows.run_removal import RunRemoval, remove_run
    from crossdock.flows.runs_below import RunOverview, overview
    from crossdock.flows.summing import FailureGroup
    from crossdock.flows.syncing import SyncReport, sync

_HOMES = {
    "check": "checking",
    "CheckReport": "checking",
    "Checked": "comparing",
    "How": "comparing",
    "Sign": "comparing",
    "move": "relocating",
    "MoveReport": "relocating",
    "RemovalReport": "removing",
    "Removed": "doomed",
    "sync": "syncing",
    "SyncPlan": "pruning",
    "SyncReport": "syncing",
    "cleanup": "cleaning",
    "CleanupReport": "leftovers",
    "Fate": "leftovers",
    "Leftover": "leftovers",
    "copy": "copying",
    "migrate": "migration",
    "plan": "preview",
    "resume": "migration",
    "Plan": "preview",
    "Report": "report",
    "FailureGroup": "summing",
    "retry": "retrying",
    "Erasure": "erasing",
    "remove": "erasing",
    "Export": "exporting",
    "export_run": "exporting",
    "exported": "exporting",
    "file_sink": "exporting",
    "format_of": "exporting",
    "RunOverview": "runs_below",
    "overview": "runs_below",
    "ReadOut": "reading_out",
    "parse_range": "reading_out",
    "RunRemoval": "run_removal",
    "remove_run": "run_removal",
    "Usage": "counting",
    "usage": "counting",
    "compact": "compacting",
    "Compaction": "compacting",
    "build_report": "report",
    "RunDirectory": "run_directory",
    "default_runs_url": "run_directory",
    "list_runs": "run_directory",
    "open_run": "run_directory",
    "compile_filters": "filters",
}

__all__ = [
    "CheckReport",
    "Checked",
    "CleanupReport",
    "Compaction",
    "Erasure",
    "Export",
    "FailureGroup",
    "Fate",
    "How",
    "Leftover",
    "MoveReport",
    "Plan",
    "ReadOut",
    "RemovalReport",
    "Removed",
    "Report",
    "RunDirectory",
    "RunOverview",
    "RunRemoval",
    "Sign",
    "SyncPlan",
    "SyncReport",
    "Usage",
    "build_report",
    "check",
    "cleanup",
    "compact",
    "compile_filters",
    "copy",
    "default_runs_url",
    "export_run",
    "exported",
    "file_sink",
    "format_of",
    "list_runs",
    "migrate",
    "move",
    "open_run",
    "overview",
    "parse_range",
    "plan",
    "remove",
    "remove_run",
    "resume",
    "retry",
    "sync",
    "usage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crossdock.flows' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"crossdock.flows.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
