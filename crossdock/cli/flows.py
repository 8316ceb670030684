"""``crossdock flows``: the templates, to look at and to begin with."""

from __future__ import annotations

import click

from crossdock.cli.columns import write_columns
from crossdock.cli.flags import json_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line

__all__ = ["flows"]


@click.group()
def flows() -> None:
    """Flows to begin with: list, read, and copy them into a project of your own.

    Each runs as it is, on servers of this machine and generated data: `crossdock run NAME`.
    """


@flows.command(
    name="ls", cls=GroupedCommand, epilog=examples("crossdock flows ls", "crossdock flows ls --json")
)
@json_flag("One JSON object a line.")
@verbosity_flags
def flows_ls(*, json: bool, quiet: bool) -> None:
    """List the templates. NEEDS are extras of crossdock, besides those of the places a flow is given."""
    from crossdock.flows.templates import TEMPLATES

    if json:
        for each in TEMPLATES:
            json_line({"name": each.name, "summary": each.summary, "needs": each.needs})
        return
    rows = [[each.name, ", ".join(each.needs) or "-", each.summary] for each in TEMPLATES]
    write_columns(["NAME", "NEEDS", "SUMMARY"], rows, with_head=not quiet)


@flows.command(
    name="show",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock flows show taxi_best_tips", "crossdock flows show etl --file sandbox.py | less"
    ),
)
@click.argument("name")
@click.option(
    "--file",
    cls=Flag,
    group="Output",
    type=click.Choice(["flow.py", "sandbox.py", "README.md"]),
    default="flow.py",
    show_default=True,
    help="Which of its files.",
)
@verbosity_flags
def flows_show(name: str, *, file: str, quiet: bool) -> None:
    """Print the code of the template NAME."""
    from crossdock.flows.templates import template

    for each in template(name).text(file).splitlines():
        line(each)
    del quiet  # nothing else is said; accepted everywhere, so that scripts need not know


@flows.command(
    name="init",
    cls=GroupedCommand,
    epilog=examples(
        "crossdock flows init etl nightly/",
        "crossdock run nightly/flow.py:etl --sandbox",
        "crossdock run nightly/flow.py:etl --params",
    ),
)
@click.argument("name")
@click.argument("directory")
@verbosity_flags
def flows_init(name: str, directory: str, *, quiet: bool) -> None:
    """Copy the template NAME into DIRECTORY: flow.py to edit, sandbox.py to try it on, README.md. Overwrites nothing."""
    from crossdock.flows.templates import init_template

    written = init_template(name, directory)
    for each in written:
        line(str(each))
    if not quiet:
        flow = next(each for each in written if each.name == "flow.py")
        click.echo(f"try it: crossdock run {flow}:{name} --sandbox", err=True)
