"""A plan as text: what would happen to how many objects and why, what it asks for, costs and takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crossdock.cli.output import visible
from crossdock.cli.progress import duration
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows.planning.estimating import Cost, Estimate
    from crossdock.flows.planning.rows import Row
    from crossdock.flows.preview import Plan

__all__ = ["plan_screen", "row_line"]

_REASONS_SHOWN = 6
_ACTIONS = (("copy", "copy"), ("compare", "compare"), ("skip", "skip"), ("refuse", "refuse"))


def row_line(row: Row) -> dict[str, Any]:
    """What ``--json`` says of one object."""
    return {
        "type": "plan",
        "key": row.source.key,
        "destination": row.destination,
        "action": row.action.value,
        "reason": row.reason,
        "size": row.source.size,
    }


def plan_screen(plan: Plan, estimate: Estimate, *, next_command: str) -> str:
    """Several lines, without colour.

    Args:
        plan: What would be done.
        estimate: What that asks for.
        next_command: What to type next.
    """
    lines = ["plan: nothing was moved", *_rows(plan, estimate), ""]
    if plan.url:
        lines.append(_row("record", plan.url))
    return "\n".join([*lines, _row("next", next_command)])


def _rows(plan: Plan, estimate: Estimate) -> Iterator[str]:
    summary, load = plan.summary, estimate.load
    yield f"  {visible(plan.source)} -> {visible(plan.sink)}"
    yield ""
    yield _row(
        "planned",
        f"{summary.planned:,} objects = {summary.copy:,} to copy + {summary.compare:,} to compare + "
        f"{summary.skip:,} to skip + {summary.refuse:,} refused",
    )
    if plan.excluded:
        yield _row("left out", f"{plan.excluded:,} by the filters")
    for action, name in _ACTIONS:
        if action in load.evidence:
            yield _row(name, _reasons(load.evidence[action]))
    inside = f", {format_size(load.copied_bytes)} inside the service" if load.copied_bytes else ""
    unknown = f", and {summary.unknown_sizes:,} objects of unknown size" if summary.unknown_sizes else ""
    yield _row("to move", f"{format_size(load.moved_bytes)}{inside}{unknown}")
    if load.metadata_lost_objects:
        fields = ", ".join(f"{name} ({count:,})" for name, count in load.metadata_lost.items())
        yield _row("lost", f"metadata of {load.metadata_lost_objects:,} objects: {fields}")
    yield _row("requests", f"source: {_counts(load.source_requests)}")
    yield _row("", f"destination: {_counts(load.sink_requests)}")
    yield _row("cost", _cost(estimate.cost))
    if estimate.duration_s is not None and estimate.rate_bytes_per_s:
        rate = format_size(estimate.rate_bytes_per_s)
        yield _row("time", f"about {duration(estimate.duration_s)} at {rate}/s, for the bytes alone")


def _reasons(reasons: Mapping[str, int]) -> str:
    shown = [f"{count:,} {visible(reason)}" for reason, count in list(reasons.items())[:_REASONS_SHOWN]]
    left = sum(list(reasons.values())[_REASONS_SHOWN:])
    return "; ".join([*shown, f"{left:,} for other reasons"] if left else shown)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind.upper()}" for kind, count in counts.items())


def _cost(cost: Cost) -> str:
    parts = (
        ("requests", cost.source_requests + cost.sink_requests),
        ("egress", cost.egress),
        ("retrieval", cost.retrieval),
    )
    named = " + ".join(f"{name} {_money(value)}" for name, value in parts if value)
    unpriced = f"; no prices for {', '.join(cost.unpriced)}" if cost.unpriced else ""
    about = f"about {_money(cost.total)} {cost.currency}" + (f": {named}" if named else "")
    return f"{about} (an estimate, list prices of {cost.as_of}{unpriced})"


def _money(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.4f}"


def _row(name: str, text: str) -> str:
    return f"  {name:<9} {text}"
