"""What people read: a title and a few lines from the record of an end. Pure.

Keys and messages come from outside: here they are plain text of one line each, and each service escapes them its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from crossdock.model import Outcome
from crossdock.notifications.record import FailureCause, RunEnded, error_text
from crossdock.options import format_size

__all__ = ["Message", "message_of", "slack_body"]

_STATUS: Final = {
    "done": "done",
    "failed": "failed",
    "interrupted": "was interrupted",
    "refused": "could not begin",
}
# Slack refuses a section above 3,000 characters; escaping may make five out of one.
# https://docs.slack.dev/reference/block-kit/blocks/section-block
_SLACK_SECTION = 2_900


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Title, facts by name, causes of failure, and the command to type next; one line each."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    causes: tuple[FailureCause, ...] = ()
    next_command: str = ""

    def text(self) -> str:
        """All but the title as plain lines."""
        lines = [f"{name}: {value}" for name, value in self.facts]
        for cause in self.causes:
            lines.append(f"{cause.count:,} x {cause.reason}: {cause.sample}")
            lines += [f"  what to do: {cause.hint}"] * bool(cause.hint)
        lines += [f"next: {self.next_command}"] * bool(self.next_command)
        return "\n".join(lines)


def message_of(ended: RunEnded | Outcome) -> Message:
    """The message about a run's end, or about an item's."""
    if isinstance(ended, RunEnded):
        return Message(
            title=f"crossdock {_line(ended.name)} {_STATUS[ended.status]}",
            facts=tuple(_run_facts(ended)),
            causes=tuple(
                FailureCause(
                    reason=_line(cause.reason),
                    count=cause.count,
                    sample=_line(cause.sample),
                    hint=_line(cause.hint),
                )
                for cause in ended.failures
            ),
            next_command=_line(ended.next_command),
        )
    state = ended.state.value.replace("_", " ")
    return Message(title=f"crossdock {_line(ended.task)} {state}", facts=tuple(_item_facts(ended)))


def _run_facts(ended: RunEnded) -> Iterator[tuple[str, str]]:
    if ended.error:
        yield "error", _line(ended.error)
    for name, place in (("from", ended.source), ("to", ended.sink)):
        if place:
            yield name, _line(place)
    if ended.counts:
        yield (
            "counts",
            ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ended.counts.items()),
        )
    yield "moved", f"{_amount(ended)} in {_duration(ended.duration_s)}"
    if ended.run_id:
        yield "run", ended.run_id
    if ended.run_dir:
        yield "record", _line(ended.run_dir)


def _item_facts(ended: Outcome) -> Iterator[tuple[str, str]]:
    if ended.error is not None:
        yield "error", _line(error_text(ended.error))
    if ended.inputs:
        yield "inputs", _line(", ".join(f"{name}={value}" for name, value in ended.inputs.items()))
    yield "moved", f"{_amount(ended)} in {_duration(ended.duration_s)}"
    if ended.run_id:
        yield "item", f"{ended.index} of map {ended.run_id}"


def _amount(ended: RunEnded | Outcome) -> str:
    parts = [format_size(ended.bytes)]
    parts += [f"{ended.objects:,} objects"] * bool(ended.objects)
    parts += [f"{ended.rows:,} rows"] * bool(ended.rows)
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _line(text: str) -> str:
    """One line without characters that do not print."""
    return "".join(char if char.isprintable() else " " for char in text)


def slack_body(message: Message) -> dict[str, Any]:
    """The body of a Slack incoming webhook: blocks, and the text that a notification on a phone shows.

    Whatever comes from outside is escaped and stands in code spans, so that a key called ``<!channel>`` calls nobody.
    https://docs.slack.dev/messaging/formatting-message-text
    """
    lines = [f"*{_escaped(message.title)}*"]
    lines += [f"{name}: {_code(value)}" for name, value in message.facts]
    blocks = [_section("\n".join(lines))]
    for cause in message.causes:
        text = f"*{cause.count:,} x {_escaped(cause.reason)}*\n{_code(cause.sample)}"
        blocks.append(_section(f"{text}\n{_escaped(cause.hint)}" if cause.hint else text))
    if message.next_command:
        blocks.append(_section(f"next: {_code(message.next_command)}"))
    return {"text": _escaped(message.title), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SLACK_SECTION]}}


def _code(text: str) -> str:
    """A code span; a backtick in it would end it."""
    return f"`{_escaped(text.replace('`', chr(0x2B9)))}`" if text.strip() else ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
