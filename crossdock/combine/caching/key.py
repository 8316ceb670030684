"""The key of a piece of work: what is done, with which inputs, to which version of the source.

Two pieces of work with one key have one result. So everything that can change the result is in the key, and what must not
be anywhere (a credential) is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.combine.described import name_of, signature
from crossdock.combine.inputs import names_credential
from crossdock.errors import StorageError
from crossdock.model import Receipt, Version
from crossdock.tasks import Task, Versioned

__all__ = ["UNKNOWN", "Step", "Work", "key_of", "source_version", "still_reads"]

UNKNOWN: Final = object()
"""The source could not be asked which version it would read."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One function of the work and its real arguments; in a pair the second's open place is ``OPEN``."""

    task: Task
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What is done with which inputs: one step, or two and what stitches them.

    Attributes:
        name: What the whole is called.
        steps: Its functions with their arguments.
        stitch_function: What stands between two steps.
        values: Gives the arguments of the whole by name, for a ``key`` function.
        run_id: The run it belongs to, for warnings.
        allow_large: Whether a result of any size may be kept.
    """

    name: str
    steps: tuple[Step, ...]
    stitch_function: Callable[[Any], Any] | None = None
    values: Callable[[], Mapping[str, Any]]
    run_id: str = ""
    allow_large: bool = False


def source_version(work: Work) -> Any:
    """What the first half says of the version it would read (``version_of``); ``None`` if it does not say such things.

    ``UNKNOWN`` if asking failed: the work itself will meet the same failure, with its own retries and in its own phase.

    Raises:
        UnsupportedError: The source cannot tell versions apart.
    """
    first = work.steps[0]
    if not isinstance(first.task, Versioned):
        return None
    try:
        return first.task.version_of(*first.args, **first.kwargs)
    except StorageError:
        return UNKNOWN


def still_reads(work: Work, version: Any, result: Any) -> bool:
    """Whether the result is of that version: what a receipt says, or else the source once more."""
    if version is None:
        return True
    if isinstance(result, Receipt) and isinstance(version, Mapping):
        observed = version.get("version")
        if isinstance(observed, Version) and observed and observed == result.source_version:
            return True
    return bool(source_version(work) == version)


def key_of(work: Work, *, version: str, key: Callable[[Mapping[str, Any]], Any] | None, source: Any) -> str:
    """The key, 64 hexadecimal digits. Costs a pass over the arguments.

    Args:
        work: What is done with which inputs.
        version: What the user says of the code's version.
        key: A function of the arguments whose result takes their place, and that of what functions close over.
        source: The source's version.

    Raises:
        ConfigError: An argument has no canonical form; the text names it.
    """
    parts: list[Any] = ["crossdock work 1", work.name, version]
    if key is None:
        parts += [(_done(step), _inputs(step)) for step in work.steps]
        if work.stitch_function is not None:
            parts.append(
                fingerprint(work.stitch_function, name=f"the stitch_function of {name_in_error(work)}")
            )
    else:
        parts += [name_of(step.task) for step in work.steps]
        parts.append(
            fingerprint(key(work.values()), name=f"what the key function of {name_in_error(work)} returns")
        )
    parts.append(fingerprint(source, name=f"what version_of of {name_in_error(work)} returns"))
    return fingerprint(parts)


def name_in_error(work: Work) -> str:
    """What errors call the whole."""
    return f"task {work.name!r}"


def _done(step: Step) -> str:
    return fingerprint(step.task, name=f"task {name_of(step.task)!r}")


def _inputs(step: Step) -> dict[str, str]:
    """Each argument's digest by its name, defaults among them; credentials are left out."""
    return {
        name: fingerprint(value, name=f"argument {name!r} of task {name_of(step.task)!r}")
        for name, value in _arguments(step).items()
        if not names_credential(name)
    }


def _arguments(step: Step) -> dict[str, Any]:
    """Arguments by name, however they were given."""
    known = signature(step.task)
    if known is None:
        return {**{f"argument {number}": each for number, each in enumerate(step.args)}, **step.kwargs}
    bound = known.bind_partial(*step.args, **step.kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if known.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named
