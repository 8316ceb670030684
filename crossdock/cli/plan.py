"""``crossdock plan``: what a copy would do, in numbers and money, without doing it; written down for ``cp --plan``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from crossdock.cli.commands import carry_out_command, redacted
from crossdock.cli.flags import json_flag, options_flag, typed, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.lists import list_flags
from crossdock.cli.output import json_line, line
from crossdock.cli.plan_screen import plan_screen, row_line
from crossdock.cli.progress import progress
from crossdock.cli.selecting import selection_flags
from crossdock.options import parse_size

__all__ = ["plan"]

_OWN = ("--rate", "--prices")  # flags with a value that `cp` does not know


def _rate(ctx: click.Context, param: click.Parameter, given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return parse_size(given.removesuffix("/s"))
    except ValueError as error:
        raise click.BadParameter(f"{error}; a rate is so much a second", ctx, param) from None


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock plan s3://landing/2024/ gs://archive/2024/ --rate 200MiB",
        "crossdock plan s3://landing/ gs://archive/ --out s3://runs/move-1 && crossdock cp --plan s3://runs/move-1",
        "crossdock plan s3://landing/ s3://archive/ --compare checksum --min-age 1d --json > rows.jsonl",
        r"crossdock plan s3://raw/ s3://lake/ --rename 's/^(\d{4})-(\d{2})-/\1\/\2\//'",
    ),
)
@click.argument("src")
@click.argument("dst")
@options_flag("--source-option", help="An option of the source, such as endpoint_url, key, profile.")
@options_flag(
    "--sink-option", help="An option of the destination, or of the transfer, such as part_size_bytes."
)
@selection_flags
@list_flags
@click.option(
    "--strict",
    cls=Flag,
    group="What is copied",
    is_flag=True,
    default=None,
    help="Refuse ends that would give a weaker form of the promise.",
)
@click.option(
    "--out",
    cls=Flag,
    group="Where it is kept",
    metavar="URL",
    help="Write the plan there, to be carried out by `crossdock cp --plan URL`.",
)
@options_flag(
    "--out-option", group="Where it is kept", help="An option of the store of --out, if that is a bucket."
)
@click.option(
    "--prices",
    cls=Flag,
    group="Estimate",
    metavar="FILE",
    help="A table of list prices (TOML) instead of the dated one that comes with crossdock.",
)
@click.option(
    "--rate",
    cls=Flag,
    group="Estimate",
    metavar="SIZE",
    callback=_rate,
    help="How much moves in a second, such as 200MiB: says how long the bytes take.",
)
@json_flag("One JSON object for each object of the plan, at last the summary with the estimate.")
@verbosity_flags
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    src: str,
    dst: str,
    *,
    source_option: dict[str, str],
    sink_option: dict[str, str],
    out: str | None,
    out_option: dict[str, str],
    prices: str | None,
    rate: int | None,
    json: bool,
    quiet: bool,
    **what: Any,
) -> None:
    """Say what `crossdock cp SRC DST` would do with each object, and what that asks for, costs and takes.

    Lists both ends and writes nothing at either. Costs are estimates from a dated table of list prices. Refused objects (keys or
    sizes the destination cannot hold, two keys that meet, archived ones) are found here, before a byte moves; then the exit code is 5.
    """
    import crossdock as xd

    if prices is not None:
        from crossdock.flows.planning.estimating import read_prices

        read_prices(prices)  # what is wrong with it is wrong before anything is listed
    with progress(quiet=quiet, json=json) as observer:
        made = xd.plan(
            src,
            dst,
            source_options=source_option,
            sink_options=sink_option,
            out=out,
            out_options=out_option,
            observer=observer,
            **what,
        )
    try:
        estimate = made.estimate(prices=prices, rate_bytes_per_s=rate)
        report = made.report()
        if json:
            for row in made:
                json_line(row_line(row))
            summary = {"actions": _actions(made.summary), "estimate": estimate.to_dict()}
            json_line({"type": "summary", **report.to_dict(), **summary})
        if out is not None:
            following = carry_out_command(
                out, source_options=source_option, sink_options=sink_option, run_options=out_option
            )
        else:
            following = redacted(["cp", *_without_own(typed(ctx)[1:])])
        if not (quiet and not report.exit_code):
            _print(plan_screen(made, estimate, next_command=following), to_stderr=json or quiet)
    finally:
        made.close()
    ctx.exit(report.exit_code)


def _actions(summary: Any) -> dict[str, int]:
    return {name: getattr(summary, name) for name in ("copy", "compare", "skip", "refuse")}


def _without_own(words: list[str]) -> list[str]:
    """The words of the command line, without the flags that only this command has."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _OWN:
            skip = True
        elif not word.startswith(tuple(f"{flag}=" for flag in _OWN)):
            kept.append(word)
    return kept


def _print(text: str, *, to_stderr: bool) -> None:
    if to_stderr:
        sys.stderr.write(f"{text}\n")
        return
    head, _, rest = text.partition("\n")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        head = click.style(head, bold=True)
    line(f"{head}\n{rest}")
