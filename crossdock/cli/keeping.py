"""``--keep``: the sandbox of a flow stays until Ctrl-C, and another terminal is told how to use it."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import click

__all__ = ["Kept"]


class Kept:
    """Remembers the environment as it was before the sandbox; what is different later is the sandbox's.

    Args:
        flow: The flow as it was named.
        required: Its parameters without a default.
    """

    def __init__(self, flow: str, required: list[str]) -> None:
        self._flow = flow
        self._required = required
        self._before = dict(os.environ)

    def wait(self, values: Mapping[str, Any]) -> None:
        """Say what to type elsewhere, and wait for Ctrl-C."""
        click.echo("\nThe sandbox stays until Ctrl-C. In another terminal:\n", err=True)
        for each in self._lines(values):
            click.echo(f"  {each}", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo(err=True)

    def _lines(self, values: Mapping[str, Any]) -> Iterator[str]:
        from crossdock.flows.named import text_of

        for name in sorted({*self._before, *os.environ}):
            value = os.environ.get(name)
            if value is None:
                yield f"unset {name}"
            elif value != self._before.get(name):
                yield f"export {name}={shlex.quote(value)}"
        words = [word for name in self._required for word in ("-p", f"{name}={text_of(values[name])}")]
        yield shlex.join(["crossdock", "run", self._flow, *words])
