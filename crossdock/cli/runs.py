"""``crossdock runs``: what was run before, and going on with it."""

from __future__ import annotations

import click

__all__ = ["runs"]


@click.group()
def runs() -> None:
    """Look at runs, and resume what did not end."""
