"""What is told when a run ended: one frozen record, and the JSON it becomes. Knows nothing of who is told.

The JSON is a contract: fields are added, none is renamed or removed while ``version`` stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from crossdock.errors import CrossdockError
from crossdock.model import Outcome, State

__all__ = [
    "CAUSES_TOLD",
    "SCHEMA_VERSION",
    "FailureCause",
    "RunEnded",
    "RunStatus",
    "causes_of",
    "document_of",
    "ended_map",
    "error_text",
]

SCHEMA_VERSION: Final = 1
CAUSES_TOLD: Final = 5
_SAMPLE_LENGTH = 500

RunStatus = Literal["done", "failed", "interrupted", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Failures of one cause: how many there were, one of them, and what to do."""

    reason: str
    count: int
    sample: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """How a run ended: what hooks and notifications of a run are given, once. Small, picklable, without payload.

    Attributes:
        name: The flow (``migrate``, ``resume``) or the mapped task.
        run_id: The run's id; empty if it ended before it had one.
        status: ``done``: all of it. ``failed``: some of it failed or is left, or the run broke off. ``interrupted``:
            by Ctrl-C or SIGTERM, a map also by ``cancel()``. ``refused``: it could not begin, and moved nothing.
        counts: How many objects or items ended in which way.
        bytes: Bytes that arrived.
        objects: Objects that arrived.
        rows: Rows that arrived, where rows were counted.
        started: When it began, in UTC.
        duration_s: How long it took.
        failures: The commonest causes, at most five, each with one sample.
        source: Where from, as a URL without secrets; empty for a map.
        sink: Where to, likewise.
        run_dir: The URL of the run's directory, which holds its report; empty for a map.
        next_command: What to type next; empty if there is nothing to do.
        error: What ended the run before its time, in one line.
    """

    name: str
    status: RunStatus
    run_id: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    objects: int = 0
    rows: int = 0
    started: datetime | None = None
    duration_s: float = 0.0
    failures: tuple[FailureCause, ...] = ()
    source: str = ""
    sink: str = ""
    run_dir: str = ""
    next_command: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for is done."""
        return self.status == "done"


def ended_map(
    outcomes: Iterable[Outcome],
    *,
    name: str,
    run_id: str,
    started: datetime | None,
    duration_s: float,
    error: BaseException | None = None,
    interrupted: bool = False,
) -> RunEnded:
    """The record of a map, from the outcomes of its items.

    Args:
        outcomes: Of every item.
        name: The mapped task's.
        run_id: The map's.
        started: When it began.
        duration_s: How long it took.
        error: What ended the map as a whole: its inputs or its runner raised.
        interrupted: Whether a person stopped it.
    """
    seen = tuple(outcomes)
    counts = Counter(outcome.state.value for outcome in seen)
    failed = [outcome for outcome in seen if outcome.state is State.FAILED]
    status: RunStatus = "done"
    if interrupted or isinstance(error, KeyboardInterrupt):
        status = "interrupted"
    elif failed or error is not None:
        status = "failed"
    elif any(
        not outcome.ok for outcome in seen
    ):  # nothing failed here: cancelled by a program, or without its input
        status = "interrupted" if State.CANCELLED.value in counts else "failed"
    return RunEnded(
        name=name,
        run_id=run_id,
        status=status,
        counts=dict(counts),
        bytes=sum(outcome.bytes for outcome in seen),
        objects=sum(outcome.objects for outcome in seen),
        rows=sum(outcome.rows for outcome in seen),
        started=started,
        duration_s=duration_s,
        failures=causes_of(failed),
        error="" if error is None else error_text(error),
    )


def causes_of(failed: Iterable[Outcome]) -> tuple[FailureCause, ...]:
    """Failures grouped by the class of error behind them, the commonest first, at most five."""
    counts: Counter[str] = Counter()
    samples: dict[str, BaseException] = {}
    for outcome in failed:
        if outcome.error is not None:
            reason = type(outcome.error.__cause__ or outcome.error).__name__
            counts[reason] += 1
            samples.setdefault(reason, outcome.error)
    return tuple(
        FailureCause(
            reason=reason,
            count=count,
            sample=error_text(samples[reason]),
            hint=getattr(samples[reason].__cause__, "hint", ""),
        )
        for reason, count in counts.most_common(CAUSES_TOLD)
    )


def error_text(error: BaseException) -> str:
    """An error in one line of bounded length."""
    text = str(error) if isinstance(error, CrossdockError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split()).rstrip(": ")
    return line if len(line) <= _SAMPLE_LENGTH else f"{line[: _SAMPLE_LENGTH - 3]}..."


def document_of(ended: RunEnded | Outcome, delivery: str) -> dict[str, Any]:
    """The record as plain values, ready for JSON: the body of a webhook, as the documents describe it.

    An outcome's value is left out: it may be anything, and only receipts leave a worker.

    Args:
        ended: A run's end, or an item's.
        delivery: This message's own id, equal in every attempt to deliver it.
    """
    head: dict[str, Any] = {"version": SCHEMA_VERSION, "delivery": delivery}
    if isinstance(ended, RunEnded):
        fields = asdict(ended) | {
            "counts": dict(ended.counts),
            "failures": [asdict(cause) for cause in ended.failures],
        }
        body = {"type": "run_ended", "ok": ended.ok, **fields}
    else:
        body = {
            "type": "item_ended",
            "ok": ended.ok,
            "name": ended.task,
            "run_id": ended.run_id,
            "index": ended.index,
            "state": ended.state.value,
            "inputs": dict(ended.inputs),
            "error": "" if ended.error is None else error_text(ended.error),
            "attempts": ended.attempts,
            "duration_s": ended.duration_s,
            "worker": ended.worker,
            "bytes": ended.bytes,
            "objects": ended.objects,
            "rows": ended.rows,
            "tags": list(ended.tags),
        }
    body["started"] = None if ended.started is None else ended.started.isoformat()
    body["duration_s"] = round(ended.duration_s, 3)
    return head | body
