"""``retry``: failures of a run tried again, all or those that match, also those that a resume leaves alone.

It appends to the ledger that these rows are pending once more, and then drives them as a resume would: the manifest is
what it was, reads stay pinned to what was listed, and the destination is looked at before anything is sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from crossdock.combine.hooks import RunHook, run_hooks_of
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, CrossdockError
from crossdock.events import Note, Observer, ignore
from crossdock.flows.ledger.failures import REASONS
from crossdock.flows.ledger.records import SCHEMA, Record, RecordState, to_columns
from crossdock.flows.ledger.segments import read_tables, segment_name
from crossdock.flows.ledger.standing import in_state, winners
from crossdock.flows.ledger.writing import records_of
from crossdock.flows.moving.driving import Drive
from crossdock.flows.questions.bounds import Size
from crossdock.flows.questions.endpoints import rebuilt
from crossdock.flows.questions.filters import Filters, compile_filters
from crossdock.flows.questions.limits import Deadline
from crossdock.flows.questions.means import means_of
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.reporting.telling import Telling
from crossdock.flows.runs.columns import to_parquet
from crossdock.flows.runs.directory import RunDirectory, open_run
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.ownership import Owner
from crossdock.flows.runs.preparing import demand_strength
from crossdock.notifications.notifier import Notifier
from crossdock.ports import Runner

__all__ = ["Condition", "parse_where", "retry"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)  # what a record's time can tell
_WRITES_AT_A_TIME = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which failures are meant: any of the reasons, any of the globs over the source's whole key. Empty means all."""

    reasons: frozenset[str] = frozenset()
    keys: Filters | None = None

    def takes(self, record: Record) -> bool:
        """Whether a failed row is meant."""
        failure = record.failure
        if self.reasons and (failure is None or failure.reason not in self.reasons):
            return False
        return self.keys is None or self.keys.decide(record.key).taken


def parse_where(where: str | Sequence[str]) -> Condition:
    """``reason=CLASS`` and ``key=GLOB`` as a condition; of the same name any, of both names both have to hold.

    Raises:
        ConfigError: It is neither, or there is no such class of failures.
    """
    reasons: set[str] = set()
    globs: list[str] = []
    for text in (where,) if isinstance(where, str) else where:
        name, _, value = text.partition("=")
        if name == "reason" and value in REASONS:
            reasons.add(value)
        elif name == "key" and value:
            globs.append(value)
        elif name == "reason":
            near = get_close_matches(value, REASONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(REASONS)}"
            raise ConfigError(f"there is no class of failures {value!r}", operation="retry", hint=hint)
        else:
            raise ConfigError(f"{text!r} is neither reason=CLASS nor key=GLOB", operation="retry")
    return Condition(reasons=frozenset(reasons), keys=compile_filters(globs) if globs else None)


def retry(
    run: str,
    *,
    where: str | Sequence[str] = (),
    source: ObjectSource | None = None,
    sink: ObjectSink | None = None,
    concurrency: int | None = None,
    max_errors: int | None = None,
    max_bytes: Size = None,
    deadline: Deadline = None,
    bandwidth: Size = None,
    runner: Runner | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
    notify: Notifier | Sequence[Notifier] = (),
    on_success: RunHook | Sequence[RunHook] = (),
    on_failure: RunHook | Sequence[RunHook] = (),
    on_completion: RunHook | Sequence[RunHook] = (),
    observer: Observer = ignore,
) -> Report:
    """Try failures of a run again: all, or the matching ones, also those that ``resume`` would leave alone.

    What is pending stays pending. As safe as a resume: an object replaced at the source since it was listed, or a
    destination that somebody else wrote, fails again and for the same reason; a new run is for those. Objects that the
    plan refused are not tried. Killed at any instant, what was not tried yet is pending, and ``resume`` does it.

    Memory: one shard of the ledger. Requests beside the objects' own: those that read the ledger, and one for each shard
    with a failure to try again.

    Args:
        run: The run's id, or the URL of its directory.
        where: ``reason=CLASS`` or ``key=GLOB`` (over the source's whole key), one or several; those of the same name are
            alternatives, and both names have to hold.
        source: As ``resume``.
        sink: As ``resume``.
        concurrency: As ``resume``.
        max_errors: As ``resume``.
        max_bytes: As ``resume``.
        deadline: As ``resume``.
        bandwidth: As ``resume``.
        runner: As ``resume``.
        source_options: As ``resume``.
        sink_options: As ``resume``.
        run_options: As ``resume``.
        notify: As ``resume``; nobody is told if there was nothing to try.
        on_success: As ``resume``.
        on_failure: As ``resume``.
        on_completion: As ``resume``.
        observer: As ``resume``.

    Returns:
        How the whole run stands now; ``report.retried`` says how many objects were tried again, perhaps none.

    Raises:
        ConfigError: A condition is not one.
        NotFoundError: There is no such run, or a bucket is gone.
        LedgerError: Another driver owns it, its directory is damaged, or its plan was never finished.
        KeyboardInterrupt: Stopped by the user; the state is saved.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://again-from/")(b"1", key="a")
        >>> _ = xd.migrate("memory://again-from/", "memory://again-to/", run_dir="memory://again-runs/1/")
        >>> xd.retry("memory://again-runs/1/", where="reason=denied").retried
        0
    """
    condition = parse_where(where)
    means = means_of(
        concurrency,
        runner,
        observer,
        max_errors=max_errors,
        max_bytes=max_bytes,
        deadline=deadline,
        bandwidth=bandwidth,
    )
    hooks = run_hooks_of(
        on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
    )
    with Telling(hooks, "retry", observer) as telling:
        directory = open_run(run, run_options)
        document = directory.read()
        telling.about(run_id=document["run_id"])
        kept = rebuilt(document["asked"], source_options, sink_options)
        from_, to = source or kept[0], sink or kept[1]
        telling.about(source=from_.url, sink=to.url)
        with Owner(directory.files) as owner:
            if next(_matching(directory, condition), None) is None:
                return replace(build_report(directory), retried=0)
            from_.store.check()  # before anything is written down: a failure says more than "pending"
            to.store.check()
            demand_strength(from_, to)
            marked = _set_aside(directory, condition)
            observer(Note(text=f"{marked:,} failed objects are tried again"))
            drive = Drive(
                directory=directory,
                source=from_,
                sink=to.verifying(bandwidth_bytes_per_s=means.bandwidth_bytes_per_s),
                owner=owner,
                runner=means.runner,
                observer=observer,
                concurrency=means.concurrency,
                limits=means.limits,
                again_only=True,
            )
            return replace(telling.driven(directory, drive.run), retried=marked)


def _matching(directory: RunDirectory, condition: Condition) -> Iterator[tuple[int, list[Record]]]:
    """For each shard with failures that are meant: those; also what an earlier retry set aside and did not reach."""
    for shard, table in read_tables(directory.files):
        failed = in_state(winners(table), RecordState.FAILED, RecordState.AGAIN)
        meant = (
            [record for record in records_of(failed) if condition.takes(record)] if failed.num_rows else []
        )
        if meant:
            yield shard, meant


def _set_aside(directory: RunDirectory, condition: Condition) -> int:
    """Append to the ledger that these rows are pending again; how many they are."""
    attempt, marked = secrets.token_hex(4), 0
    with ThreadPoolExecutor(_WRITES_AT_A_TIME, "crossdock-retry") as pool:
        writes = []
        for shard, records in _matching(directory, condition):
            writes.append(
                pool.submit(
                    _append, directory.files, segment_name(shard, attempt, 0), list(map(_again, records))
                )
            )
            marked += len(records)
        for write in writes:
            write.result()
    return marked


def _again(record: Record) -> Record:
    """The next thing that happened to this row after it failed, whatever this machine's clock says."""
    failed = record.time or _EPOCH
    return replace(record, state=RecordState.AGAIN, time=failed + _TICK)


def _append(files: RunFiles, name: str, records: Sequence[Record]) -> None:
    data = to_parquet([to_columns(record) for record in records], SCHEMA, group_rows=len(records))
    try:
        files.put(name, data)
    except CrossdockError as error:
        raise files.failed(error, "write ledger", name) from error
