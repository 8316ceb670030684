"""Calling a flow with texts: ``@URL`` values are fetched, what is missing comes from the sandbox or is an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set as AbstractSet
from typing import Any

from crossdock.errors import ConfigError, CrossdockError, Retry, TaskFailed
from crossdock.flows.named.finding import NamedFlow
from crossdock.flows.named.parameters import demand_known, values_of
from crossdock.notifications.notifier import Notifier

__all__ = ["LARGEST_VALUE_BYTES", "call_flow"]

LARGEST_VALUE_BYTES = 16 * 2**20
"""Of a value that is read from a URL: parameters are small, payload is what a flow reads itself."""

_SHOWN = 60  # characters of a value on the line about a sandbox


def call_flow(
    flow: NamedFlow,
    texts: Mapping[str, str],
    *,
    in_sandbox: bool = False,
    notify: Sequence[Notifier] = (),
    told: Callable[[str], object] = lambda _: None,
    before_closing: Callable[[Any, Mapping[str, Any]], object] | None = None,
) -> Any:
    """Call a flow; what it returns comes back, a map's result when all its items ended. A sandbox is closed by then, and gone with all that was written into it.

    ``@URL`` or ``@file`` in place of a value is read through crossdock, whole (at most 16 MiB), without its final newline; ``@@`` is a
    value that begins with ``@``. All values are read and checked before the flow begins; what is read from a URL may be in the sandbox.

    Args:
        flow: What to call.
        texts: Values by parameter.
        in_sandbox: Run on servers of this machine, which the flow's ``sandbox.py`` starts and fills. A template that is
            given no place of its own runs there anyway.
        notify: Who is told of the end, whatever it is; their references are followed before anything else.
        told: Given a line about the sandbox, for a person.
        before_closing: Given what the flow returned and its parameters, while the sandbox is still there.

    Raises:
        ConfigError: A parameter is unknown or missing, or a value is wrong.
        StorageError: A value cannot be read.
        TaskFailed: The flow raised something that is not ours, or some items of its maps failed.
    """
    from crossdock.combine import MapResult
    from crossdock.combine.hooks import run_hooks_of
    from crossdock.flows.named.telling import FlowTelling

    with FlowTelling(run_hooks_of(notify=notify), flow.name) as telling, contextlib.ExitStack() as stack:
        demand_known(flow.name, flow.parameters, texts)
        values = values_of(flow.parameters, {name: each for name, each in texts.items() if each[:1] != "@"})
        required = {each.name for each in flow.parameters if each.is_required}
        offered: Mapping[str, Any] = {}
        if in_sandbox or (flow.is_template and not required & texts.keys()):
            offered = stack.enter_context(flow.sandbox()())
        _demand_all(flow, {*offered, *texts})
        fetched = {name: _fetched(text) for name, text in texts.items() if name not in values}
        names = {each.name for each in flow.parameters}
        values |= values_of(flow.parameters, fetched)
        values = {**{name: each for name, each in offered.items() if name in names}, **values}
        if offered:
            told(_about(flow, values))
        telling.begun()
        with _ours(flow.name):
            value = flow.function(**values)
            if isinstance(value, MapResult):
                value.wait()  # here, where a sandbox is still there
        telling.returned(value)
        if offered and before_closing is not None:
            before_closing(value, values)
        return value


def _demand_all(flow: NamedFlow, given: AbstractSet[str]) -> None:
    missing = [each.name for each in flow.parameters if each.is_required and each.name not in given]
    if missing:
        several = len(missing) > 1
        raise ConfigError(
            f"parameter{'s' * several} {', '.join(missing)} {'are' if several else 'is'} missing",
            operation="run",
            where=flow.name,
            hint=f"its parameters: {', '.join(_form(each.name, each.is_required) for each in flow.parameters)}",
        )


def _about(flow: NamedFlow, values: Mapping[str, Any]) -> str:
    given = [each.name for each in flow.parameters if each.is_required and each.name in values]
    places = " ".join(f"{name}={_short(str(values[name]))}" for name in given)
    return f"sandbox of {flow.name}, gone when it ends: {places}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _form(name: str, is_required: bool) -> str:
    return name if is_required else f"[{name}]"


def _fetched(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    from crossdock.flows import ReadOut

    url, data = text[1:], bytearray()
    for chunk in ReadOut(url):
        data += chunk
        if len(data) > LARGEST_VALUE_BYTES:
            raise ConfigError(
                "this is more than 16 MiB, too much for a parameter",
                operation="read",
                where=url,
                hint="give the flow the URL and let it read",
            )
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"this is no text: {error}", operation="read", where=url) from error


@contextlib.contextmanager
def _ours(name: str) -> Iterator[None]:
    """What a flow raises as an error that prints as one line: the flow is the user's, so it is not a bug of ours."""
    try:
        yield
    except CrossdockError:
        raise
    except ExceptionGroup as group:
        first = _leaf(group)
        raise TaskFailed(
            f"{group.message}; the first: {first}",
            task=name,
            phase="flow",
            retry=Retry.LATER if getattr(first, "transient", False) else Retry.NEVER,
        ) from (first if isinstance(first, CrossdockError) else group)
    except Exception as error:
        raise TaskFailed(
            f"{type(error).__name__}: {error}", task=name, phase="flow", hint="run with -v for the traceback"
        ) from error


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
