"""``crossdock connectors``: what can be opened, with which options, and what it can do."""

from __future__ import annotations

from typing import Any

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import GroupedCommand, examples
from crossdock.cli.output import json_line, line

__all__ = ["connectors"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock connectors",
        "crossdock connectors ftp",
        "crossdock connectors s3 --option conditional_writes=false",
        "crossdock connectors --json | jq 'select(.sink).name'",
    ),
)
@click.argument("name", required=False)
@options_flag("--option", help="An option of the connector NAME, where its capabilities depend on it.")
@json_flag("One JSON object a line; with NAME one object with its options and capabilities.")
@verbosity_flags
def connectors(name: str | None, option: dict[str, str], json: bool, quiet: bool) -> None:
    """List the connectors, or show the options and capabilities of the one called NAME.

    NAME may be a scheme. Besides our own, whatever fsspec knows is a source, and a sink where it can give a finished file its
    name in one step. Chains such as zip://key::s3://bucket/archive.zip take the options of each link by its name. No
    connection is opened; without NAME nothing is loaded, and the column NEEDS says what is to be installed.
    """
    from crossdock.connectors.catalogue import details, overview

    if name is None:
        if option:
            raise click.UsageError("--option goes with the NAME of a connector")
        rows = overview()
        if json:
            for row in rows:
                json_line(row)
        else:
            _table(
                ["NAME", "SCHEMES", "USE", "NEEDS", "SUMMARY"],
                [
                    [row["name"], " ".join(row["schemes"]), _use(row), _needs(row), row["summary"]]
                    for row in rows
                ],
                head=not quiet,
            )
        return
    found = details(name, option)
    if json:
        json_line(found)
        return
    line(f"{found['name']}: {found['summary']}")
    line(
        f"URLs: {' '.join(f'{scheme}://' for scheme in found['schemes'])}  {_use(found)}  needs: {_needs(found)}"
    )
    line("")
    _table(
        ["OPTION", "TYPE", "DEFAULT", "HELP"], [_option(each) for each in found["options"]], head=not quiet
    )
    line("")
    _table(
        ["CAPABILITY", "VALUE"],
        [[key, _words(value)] for key, value in found["capabilities"].items()],
        head=not quiet,
    )


def _use(row: dict[str, Any]) -> str:
    return "source, sink" if row["sink"] else "source"


def _needs(row: dict[str, Any]) -> str:
    if row["installed"]:
        return f"{row['extra']} (installed)" if row["extra"] else "-"
    return str(row["install"] or "not installed")


def _option(about: dict[str, Any]) -> list[str]:
    unit = f" {about['unit']}" if about["unit"] else ""
    notes = [about["help"]]
    if about["env"]:
        notes.append(f"Environment: {', '.join(about['env'])}.")
    if about["aliases"]:
        notes.append(f"Also: {', '.join(about['aliases'])}.")
    default = "-" if about["default"] is None else f"{_words(about['default'])}{unit}"
    return [about["name"], about["type"], default, " ".join(notes)]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return str(value)


def _table(head_row: list[str], rows: list[list[str]], *, head: bool) -> None:
    """Columns as wide as what is in them; the last is not padded."""
    shown = [head_row, *rows] if head else rows
    widths = [max(len(row[column]) for row in shown) for column in range(len(head_row))] if shown else []
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        line("  ".join([*cells, row[-1]]).rstrip())
