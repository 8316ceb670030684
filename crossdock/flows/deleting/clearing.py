"""Clearing a source of what is provably elsewhere: what ``move`` adds to ``migrate``.

What the run's ledger proves of an object is compared with the destination once more, just before the source goes; what was
there already is compared by digests, or read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, NotFoundError
from crossdock.events import Observer
from crossdock.flows.deleting.agreed import directory_of, not_begun
from crossdock.flows.deleting.doomed import Doomed, Journal
from crossdock.flows.deleting.outcome import MOVE
from crossdock.flows.deleting.removing import Look, RemovalReport, removal_report, remove
from crossdock.flows.moving.stopping import stoppable
from crossdock.flows.planning.recognise import found_complete
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.questions.endpoints import Ends
from crossdock.flows.questions.limits import Limits
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.runs.columns import DIGEST_FIELDS, version_from
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.preparing import Keep
from crossdock.model import Digests, Verification

__all__ = ["begun", "clear", "demand_deletable", "level_kept"]


def demand_deletable(source: ObjectSource) -> None:
    """Refuse to move from where nothing can be deleted; no request.

    Raises:
        ConfigError: It can only be read.
    """
    if not source.store.capabilities.writable:
        raise ConfigError(
            "nothing can be deleted there, so nothing can be moved from there",
            operation="move",
            where=source.url,
            hint="copy it: crossdock cp",
        )


def level_kept(level: Verification) -> Keep:
    """What a run keeps of a move: that its source goes, and how much is to be proven first."""

    def keep(_: RunDirectory) -> dict[str, Any]:
        return {"flow": MOVE, "require": level.name}

    return keep


def begun(ends: Ends, runs: RunFiles) -> Report | None:
    """The report of the run at this place, if its copies are complete, between these ends, and its deletions are not."""
    directory = RunDirectory(runs)
    try:
        document = directory.read()
    except NotFoundError:
        return None
    asked = document["asked"]
    between = [(asked[end]["store"], asked[end]["prefix"]) for end in ("source", "sink")]
    ours = [(end.store.url, end.prefix) for end in (ends.source, ends.sink)]
    if document["state"] != "complete" or between != ours or asked["exact"] != ends.exact:
        return None
    journal = Journal(directory.files)
    is_over = journal.about() is not None and removal_report(journal).ok
    return None if is_over else build_report(directory)


def clear(
    copies: Report, ends: Ends, level: Verification, observer: Observer, *, limits: Limits
) -> RemovalReport:
    """Write down what of the source may go, and delete it; nothing, after copies that a limit stopped.

    Raises:
        LedgerError: The run's directory cannot be used, or another driver has it.
    """
    if copies.state == "limited":
        arrived = copies.counts.copied + copies.counts.skipped
        return RemovalReport(planned=arrived, not_begun=not_begun(copies))
    directory = directory_of(copies)
    with Owner(directory.files) as owner:
        journal = Journal(directory.files)
        journal.plan(_arrived(copies, directory, level))
        stop = threading.Event()
        look = _look(stoppable(ends.source, stop), _stoppable_sink(ends.sink, stop), level)
        deletes = remove(
            ends.source.store, journal, owner, look, observer=observer, stop=stop.set, limits=limits
        )
        directory.update(deletes=deletes.to_dict())
    return deletes


def _arrived(copies: Report, directory: RunDirectory, level: Verification) -> Iterator[Doomed]:
    """Every object that was copied or skipped, in the manifest's order, with what its receipt proves."""
    ends = (row for batch in copies.batches() for row in batch.to_pylist())
    for row, end in zip(directory.manifest.all_rows(), ends, strict=True):
        if end["state"] not in ("copied", "skipped") or not row.destination:
            continue  # a prefix's own empty marker has no destination
        doomed = Doomed(number=row.number, name=row.name, info=row.source, destination=row.destination)
        if end["state"] == "copied" and Verification[end["level"]] >= level:
            read = version_from(end["source_etag"], end["source_generation"])
            doomed = replace(
                doomed,
                info=replace(row.source, version=row.source.version or read),
                version=version_from(end["etag"], end["generation"]),
                digests=_digests(end),
            )
        yield doomed


def _digests(end: Mapping[str, Any]) -> Digests:
    """Of the columns of a report, where bytes are hexadecimal."""
    known: dict[str, Any] = {}
    for name in (field.name for field in DIGEST_FIELDS):
        if end[name] is not None:
            known[name] = end[name] if name == "multipart_etag" else bytes.fromhex(end[name])
    return Digests(**known)


def _stoppable_sink(sink: ObjectSink, stop: threading.Event) -> ObjectSink:
    """The same sink, whose reads raise once ``stop`` is set."""
    store = stoppable(ObjectSource(sink.store, sink.prefix), stop).store
    return ObjectSink(store, sink.prefix, transfer=sink.transfer)


def _look(source: ObjectSource, sink: ObjectSink, level: Verification) -> Look:
    """Just before a deletion: does the destination hold it, as far as is required?"""

    def look(doomed: Doomed) -> str | None:
        if not doomed.has_receipt:
            return _of_skipped(doomed)
        try:
            there = sink.store.stat(doomed.destination)
        except NotFoundError:
            return "the copy is not at the destination any more"
        same_version = bool(doomed.version) and there.version == doomed.version
        same_bytes = bool(there.digests.common(doomed.digests)) and not there.digests.conflict(doomed.digests)
        if (doomed.info.size is not None and there.size != doomed.info.size) or not (
            same_version or same_bytes
        ):
            return "the copy was replaced at the destination"
        return None

    def _of_skipped(doomed: Doomed) -> str | None:
        row = Row(
            source=doomed.info,
            name=doomed.name,
            destination=doomed.destination,
            action=Action.SKIP,
            reason="there already",
        )
        try:
            found = found_complete(source, sink, row)
        except NotFoundError:
            try:
                source.store.stat(doomed.info.key)
            except NotFoundError:
                return None  # the source is gone already: an earlier attempt of ours, or somebody else
            return "the copy is not at the destination any more"
        if found is None:
            return "the destination does not provably hold the same bytes"
        if found.verification < level:
            return f"{found.verification.name} is all that can be proven, {level.name} is required: {found.evidence}"
        return None

    return look
