"""``crossdock demo``: the main job on this machine, without accounts; the story itself is in ``crossdock.testing.demo``."""

from __future__ import annotations

import importlib.util

import click

from crossdock.cli.help import Flag, GroupedCommand, examples

__all__ = ["demo"]

_NEEDS = ("moto", "bokeh_sampledata", "tzdata")


@click.command(cls=GroupedCommand, epilog=examples("crossdock demo", "crossdock demo --size 32 --keep"))
@click.option(
    "--size",
    cls=Flag,
    group="Demo",
    type=click.IntRange(16),
    default=256,
    show_default=True,
    metavar="MIB",
    help="Size of the one large object, in MiB.",
)
@click.option(
    "--keep",
    cls=Flag,
    group="Demo",
    is_flag=True,
    help="Leave both servers running at the end, until Ctrl-C.",
)
@click.pass_context
def demo(ctx: click.Context, size: int, keep: bool) -> None:
    """Move a bucket from S3 to GCS while things break, and prove that nothing was lost.

    Starts both services on 127.0.0.1, fills the source with real and awkward objects, migrates with two workers while requests
    fail and a worker is killed, and verifies the destination by plain HTTP. Takes about a minute.
    """
    from crossdock.errors import MissingExtraError

    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the demo needs {', '.join(missing)}",
            operation="demo",
            hint="install it: pip install 'crossdock[demo]'",
        )
    from crossdock.testing.demo import run_demo

    ctx.exit(run_demo(size_mib=size, keep=keep))
