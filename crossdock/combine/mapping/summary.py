"""How a map went, in a few lines for a person. Pure: outcomes in, text out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from crossdock.model import Outcome, State
from crossdock.notifications.record import causes_of
from crossdock.options import format_size

__all__ = ["headline", "summary_text"]

_SLOWEST = 3


def headline(name: str, outcomes: Sequence[Outcome], duration_s: float) -> str:
    """One line: how many items, how long, how they ended, the causes."""
    text = f"{name}: {len(outcomes):,} items in {duration_s:.2f} s"
    counts = Counter(outcome.state for outcome in outcomes)
    if counts:
        text += f": {', '.join(f'{count:,} {state.value}' for state, count in counts.most_common())}"
    causes = causes_of(_failed(outcomes))
    if causes:
        text += f" ({', '.join(f'{cause.count:,} x {cause.reason}' for cause in causes)})"
    return text


def summary_text(name: str, outcomes: Sequence[Outcome], duration_s: float) -> str:
    """Some lines: the headline, what moved and how fast, attempts, durations and the slowest, causes with a sample."""
    lines = [headline(name, outcomes, duration_s)]
    moved = _moved(outcomes, duration_s)
    if moved:
        lines.append(f"  moved: {moved}")
    ran = [outcome for outcome in outcomes if outcome.attempts > 0]
    if ran:
        lines.append(f"  attempts: {_attempts(ran)}")
        lines.append(f"  durations: {_durations(ran)}")
    for cause in causes_of(_failed(outcomes)):
        hint = f"; {cause.hint}" if cause.hint and cause.hint not in cause.sample else ""
        lines.append(f"  {cause.count:,} x {cause.reason}, such as: {cause.sample}{hint}")
    return "\n".join(lines)


def _failed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.state is State.FAILED]


def _moved(outcomes: Sequence[Outcome], duration_s: float) -> str:
    size = sum(outcome.bytes for outcome in outcomes)
    objects = sum(outcome.objects for outcome in outcomes)
    rows = sum(outcome.rows for outcome in outcomes)
    parts = []
    if size:
        rate = f", {format_size(size / duration_s)}/s" if duration_s else ""
        parts.append(f"{format_size(size)}{rate}")
    if objects:
        parts.append(f"{objects:,} objects")
    if rows:
        parts.append(f"{rows:,} rows")
    return ", ".join(parts)


def _attempts(ran: Sequence[Outcome]) -> str:
    total = sum(outcome.attempts for outcome in ran)
    again = sum(outcome.attempts > 1 for outcome in ran)
    return f"{total:,}" + (f", {again:,} items needed more than one" if again else "")


def _durations(ran: Sequence[Outcome]) -> str:
    median = statistics.median(outcome.duration_s for outcome in ran)
    slowest = sorted(ran, key=lambda outcome: outcome.duration_s, reverse=True)[:_SLOWEST]
    shown = ", ".join(
        f"{outcome.duration_s:.3g} s for number {outcome.index}{_inputs(outcome)}" for outcome in slowest
    )
    return f"median {median:.3g} s, longest {shown}"


def _inputs(outcome: Outcome) -> str:
    given = ", ".join(f"{name}={value}" for name, value in outcome.inputs.items())
    return f" ({given})" if given else ""
