"""``crossdock run``: a flow with its parameters as texts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import click

from crossdock.cli.columns import write_columns
from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.keeping import Kept
from crossdock.cli.notifying import Whom, notify_flags
from crossdock.cli.output import json_line, line
from crossdock.cli.progress import duration
from crossdock.cli.results import exit_code_of, lines_of, plain

__all__ = ["run"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock run taxi_best_tips",
        "crossdock run taxi_best_tips --params",
        "crossdock run migrate_bucket -p source=s3://landing/ -p destination=gs://archive/",
        "crossdock run nightly/flow.py:etl -p sources=@s3://config/sources.json -p lake=gs://lake/",
        "crossdock run company.flows:daily -p day=2026-11-21 --notify slack=env:SLACK_WEBHOOK",
    ),
)
@click.argument("flow")
@options_flag(
    "-p",
    "--param",
    group="Flow",
    help="A parameter; lists and dicts are JSON. @URL or @FILE reads the value from there, @@ begins a value with @.",
)
@click.option(
    "--params",
    "listed",
    cls=Flag,
    group="Flow",
    is_flag=True,
    help="List the parameters with types and defaults, and run nothing.",
)
@click.option(
    "--sandbox",
    "in_sandbox",
    cls=Flag,
    group="Flow",
    is_flag=True,
    help="Run on servers of this machine that the flow's sandbox.py starts and fills; all of it is gone at the end.",
)
@click.option(
    "--keep",
    cls=Flag,
    group="Flow",
    is_flag=True,
    help="Leave the sandbox as it is at the end, until Ctrl-C, and say how another terminal uses it.",
)
@notify_flags
@json_flag("One JSON object: the flow, how long it took, what it returned. With --params one a line.")
@verbosity_flags
@click.pass_context
def run(
    ctx: click.Context,
    flow: str,
    *,
    param: dict[str, str],
    listed: bool,
    in_sandbox: bool,
    keep: bool,
    whom: Whom,
    json: bool,
    quiet: bool,
) -> None:
    """Run a flow: a Python function, with its parameters from the command line.

    FLOW is module:function, path/file.py:function, or the name of a template (see crossdock flows ls), which runs in its sandbox
    if it is given no places of its own. What the function returns is printed; exit code 5 says that some items failed.
    """
    from crossdock.combine import NeverRunWarning
    from crossdock.flows.named import call_flow, find_flow

    # A module holds several tasks, of which one is run: that the others are not is no mistake.
    warnings.filterwarnings("ignore", category=NeverRunWarning)
    found = find_flow(flow)
    if listed:
        _list(found, json=json, quiet=quiet)
        return
    began = time.monotonic()
    kept = Kept(flow, [each.name for each in found.parameters if each.is_required])

    def show(value: Any) -> None:
        took = time.monotonic() - began
        if json:
            json_line({"flow": flow, "duration_s": round(took, 3), "result": plain(value)})
            return
        for each in lines_of(value):
            line(each)
        if not quiet:
            click.echo(f"{flow} took {duration(took)}", err=True)

    def stay(value: Any, values: Mapping[str, Any]) -> None:
        show(value)
        kept.wait(values)

    value = call_flow(
        found,
        param,
        in_sandbox=in_sandbox or keep,
        notify=whom.notifiers(),
        told=lambda text: None if quiet else click.echo(text, err=True),
        before_closing=stay if keep else None,
    )
    if not keep:
        show(value)
    ctx.exit(exit_code_of(value))


def _list(flow: Any, *, json: bool, quiet: bool) -> None:
    if json:
        for each in flow.parameters:
            row = {"name": each.name, "type": each.type, "required": each.is_required, "help": each.help}
            json_line(row if each.is_required else {**row, "default": plain(each.default)})
        return
    rows = [[each.name, each.type, _default(each), each.help] for each in flow.parameters]
    write_columns(["PARAMETER", "TYPE", "DEFAULT", "HELP"], rows, with_head=not quiet)


def _default(parameter: Any) -> str:
    from crossdock.flows.named import text_of

    if parameter.is_required:
        return "required"
    return "none" if parameter.default is None else text_of(parameter.default) or '""'
