"""What a flow returned, as lines for a person, as plain values for JSON, and as an exit code. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.cli.exit_codes import ExitCode
from crossdock.cli.output import visible

__all__ = ["exit_code_of", "lines_of", "plain"]


def exit_code_of(value: Any) -> int:
    """5 if it is a map's result and some items failed, what a report says of itself, else 0."""
    if _is_map_result(value):
        return ExitCode.FAILED if value.failed() else ExitCode.DONE
    code = getattr(value, "exit_code", 0)
    return code if isinstance(code, int) else ExitCode.DONE


def lines_of(value: Any) -> Iterator[str]:
    """Text as it is, summaries of maps and runs, anything else as JSON; of a list each item."""
    if value is None:
        return
    if isinstance(value, str):
        yield value
    elif _is_map_result(value):
        yield from map(visible, value.summary().splitlines())
    elif _is_run_report(value):
        from crossdock.cli.verdict import verdict

        yield from verdict(value, next_command="").splitlines()
    elif isinstance(value, list | tuple):
        for each in value:
            yield from lines_of(each)
    else:
        yield json.dumps(plain(value), default=str)


def plain(value: Any) -> Any:
    """The same as JSON knows it; a map's result and a report as their numbers."""
    if _is_map_result(value):
        states = {state.value: count for state, count in value.counts.items()}
        return {"task": value.name, "run_id": value.run_id, "items": len(value), **states}
    if callable(getattr(value, "to_dict", None)):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _is_map_result(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("summary", "failed", "counts", "run_id", "in_order"))


def _is_run_report(value: Any) -> bool:
    return type(value).__name__ == "Report" and hasattr(value, "run_dir")
