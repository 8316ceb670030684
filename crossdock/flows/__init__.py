"""Flows: list, plan, manifest, shards mapped over a runner, ledger, report. DESIGN section 6 in code.

Importing this room costs almost nothing: pyarrow and the connectors are imported when a flow is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.flows.checking import CheckReport, check
    from crossdock.flows.cleaning import cleanup
    from crossdock.flows.conversion import convert
    from crossdock.flows.copying import copy
    from crossdock.flows.counting import Usage, usage
    from crossdock.flows.deleting.agreed import SyncPlan
    from crossdock.flows.deleting.doomed import Removed
    from crossdock.flows.deleting.removing import RemovalReport
    from crossdock.flows.erasing import Erasure, remove
    from crossdock.flows.exporting import export
    from crossdock.flows.ingesting import ingest
    from crossdock.flows.ledger.compacting import Compaction, compact
    from crossdock.flows.ledger.leftovers import CleanupReport, Fate, Leftover
    from crossdock.flows.ledger.summing import FailureGroup
    from crossdock.flows.migration import migrate, plan
    from crossdock.flows.planning.comparing import Checked, How, Sign
    from crossdock.flows.preview import Plan
    from crossdock.flows.questions.filters import compile_filters
    from crossdock.flows.reading_out import ReadOut, parse_range
    from crossdock.flows.relocating import MoveReport, move
    from crossdock.flows.reporting.exporting import Export, export_run, exported, file_sink, format_of
    from crossdock.flows.reporting.overview import RunOverview, overview
    from crossdock.flows.reporting.report import Report, TableCounts, build_report
    from crossdock.flows.resuming import resume
    from crossdock.flows.retrying import retry
    from crossdock.flows.run_removal import RunRemoval, remove_run
    from crossdock.flows.runs.directory import RunDirectory, default_runs_url, list_runs, open_run
    from crossdock.flows.syncing import SyncReport, sync

_HOMES = {
    "check": "checking",
    "CheckReport": "checking",
    "Checked": "planning.comparing",
    "How": "planning.comparing",
    "Sign": "planning.comparing",
    "move": "relocating",
    "MoveReport": "relocating",
    "RemovalReport": "deleting.removing",
    "Removed": "deleting.doomed",
    "sync": "syncing",
    "SyncPlan": "deleting.agreed",
    "SyncReport": "syncing",
    "cleanup": "cleaning",
    "CleanupReport": "ledger.leftovers",
    "Fate": "ledger.leftovers",
    "Leftover": "ledger.leftovers",
    "copy": "copying",
    "migrate": "migration",
    "plan": "preview",
    "resume": "resuming",
    "Plan": "preview",
    "Report": "reporting.report",
    "TableCounts": "reporting.report",
    "convert": "conversion",
    "ingest": "ingesting",
    "export": "exporting",
    "FailureGroup": "ledger.summing",
    "retry": "retrying",
    "Erasure": "erasing",
    "remove": "erasing",
    "Export": "reporting.exporting",
    "export_run": "reporting.exporting",
    "exported": "reporting.exporting",
    "file_sink": "reporting.exporting",
    "format_of": "reporting.exporting",
    "RunOverview": "reporting.overview",
    "overview": "reporting.overview",
    "ReadOut": "reading_out",
    "parse_range": "reading_out",
    "RunRemoval": "run_removal",
    "remove_run": "run_removal",
    "Usage": "counting",
    "usage": "counting",
    "compact": "ledger.compacting",
    "Compaction": "ledger.compacting",
    "build_report": "reporting.report",
    "RunDirectory": "runs.directory",
    "default_runs_url": "runs.directory",
    "list_runs": "runs.directory",
    "open_run": "runs.directory",
    "compile_filters": "questions.filters",
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
    "TableCounts",
    "Usage",
    "build_report",
    "check",
    "cleanup",
    "compact",
    "compile_filters",
    "convert",
    "copy",
    "default_runs_url",
    "export",
    "export_run",
    "exported",
    "file_sink",
    "format_of",
    "ingest",
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
