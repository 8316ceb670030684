"""Write ``docs/reference/`` from the code: commands, options, errors, the Python names.

The pages are committed, so that they can be read where they are and reviewed when they change; a test and ``make docs``
compare them with what this module would write. ``python docs/generate.py`` writes, ``--check`` compares.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

import crossdock
from crossdock import errors
from crossdock.cli.exit_codes import ExitCode, exit_code_of_error
from crossdock.cli.main import cli
from crossdock.connectors.registry import CONNECTORS
from crossdock.connectors.strategy import TransferOptions
from crossdock.options import describe_options, format_size

REFERENCE = Path(__file__).with_name("reference")
NOTE = "<!-- Written by docs/generate.py from the code (make reference). Do not edit. -->\n"

# What a group of public names is called, by the module they come from; a new home must be named here.
GROUPS = {
    "crossdock.combine": "Tasks, combining, mapping, runners",
    "crossdock.tasks": "The task itself",
    "crossdock.connectors": "Sources and sinks",
    "crossdock.connectors.rest": "APIs",
    "crossdock.connectors.cursors": "Where an incremental read stands",
    "crossdock.formats": "Formats: codecs and steps as stitch functions",
    "crossdock.datasets": "Datasets",
    "crossdock.batches": "Rows as a stream",
    "crossdock.flows": "Flows",
    "crossdock.flows.looking": "Looking at tables",
    "crossdock.notifications": "Notifications",
    "crossdock.model": "Values",
    "crossdock.options": "Secrets",
}


def api_page() -> str:
    """Every public name, for mkdocstrings to fill."""
    homes = crossdock._HOMES  # noqa: SLF001 - the package's own table is the list of public names
    lines = [
        NOTE,
        "# Python",
        "",
        (
            "Everything below is reached as `xd.NAME` after `import crossdock as xd`; nothing else is public, except "
            "`crossdock.testing` (for connector tests of your own). Errors have [a page of their own](errors.md)."
        ),
    ]
    for home, title in GROUPS.items():
        lines += ["", f"## {title}"]
        for name in (name for name, place in homes.items() if place == home):
            lines += ["", f"### `xd.{name}`", "", f"::: {home}.{name}"]
    unnamed = set(homes.values()) - set(GROUPS)
    if unnamed:
        raise SystemExit(f"docs/generate.py: no title for public names of {', '.join(sorted(unnamed))}")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command with its help, as ``--help`` prints it on a wide terminal."""
    lines = [
        NOTE,
        "# Command line",
        "",
        "stdout carries data, stderr progress and logs. Every option can be set by the environment too.",
        "",
        "| exit code | name |",
        "|---|---|",
        *(f"| {code.value} | {_words(code.name)} |" for code in ExitCode),
    ]
    for path, command, context in _commands(cli, None, "crossdock"):
        lines += ["", f"## {path}", "", "```text", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _commands(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    wide = {"terminal_width": 100, "max_content_width": 100, "color": False}
    context = click.Context(command, info_name=name, parent=parent, **{**command.context_settings, **wide})
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None and not found.hidden:
                yield from _commands(found, context, inner)


def options_page() -> str:
    """Every option of every connector and of the transfer, from the one option record."""
    lines = [
        NOTE,
        "# Options",
        "",
        (
            "The same names everywhere: keyword arguments in Python, `--source-option` and `--sink-option` on the command line. "
            "Environment variables are read when the option is not given. A secret is best given by reference: `env:NAME`, "
            "`file:PATH` or `cmd:COMMAND` ([why](../decisions/0006-secrets-are-references.md)). `crossdock connectors NAME` shows "
            "the same, and the options of [whatever else fsspec opens](../how-to/other-systems.md)."
        ),
    ]
    for row in CONNECTORS:
        urls = ", ".join(f"`{scheme}://`" for scheme in row.schemes)
        lines += ["", f"## {row.name}: {row.summary}", "", f"URLs: {urls}.", *_option_table(row.load()[1])]
    lines += ["", "## Transfer: how every sink moves bytes", *_option_table(TransferOptions)]
    return "\n".join(lines) + "\n"


def _option_table(cls: type[Any]) -> list[str]:
    rows = ["", "| option | what it does | default | environment | also known as |", "|---|---|---|---|---|"]
    for about in describe_options(cls):
        default, help_text = about["default"], about["help"]
        if about["unit"] == "bytes" and isinstance(default, int):
            default = format_size(default)
        elif default is not None and about["unit"]:
            default = f"{default} {about['unit']}"
        cells = (
            f"`{about['name']}`",
            f"{help_text} (secret)" if about["secret"] else help_text,
            "" if default is None else f"`{default}`",
            _listed(about["env"]),
            _listed(about["aliases"]),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def errors_page() -> str:
    """The error tree: meaning, parents, whether it is worth trying again, the exit code it ends a command with."""
    lines = [
        NOTE,
        "# Errors",
        "",
        (
            "What happened is the class; whether the same call may succeed later is `error.retry`. Every error carries "
            "`operation`, `where`, `key`, `attempts` and a `hint`, prints as one line, survives pickling, and has the vendor's own "
            "error as its `__cause__`."
        ),
        "",
        "| error | is a | means | by default | exit code |",
        "|---|---|---|---|---|",
    ]
    for name in errors.__all__:
        cls = getattr(errors, name)
        if not issubclass(cls, errors.CrossdockError):
            continue
        bases = ", ".join(f"`{base.__name__}`" for base in cls.__bases__)
        meaning = (cls.__doc__ or "").strip().splitlines()[0]
        again = "may succeed later" if cls.default_retry is errors.Retry.LATER else "will not succeed later"
        lines.append(f"| `{name}` | {bases} | {meaning} | {again} | {exit_code_of_error(cls('')).value} |")
    return "\n".join(lines) + "\n"


def faults_page() -> str:
    """What was made to go wrong and what came of it: from the registry of faults and the recorded outcomes."""
    path = Path(__file__).parents[1] / "tests" / "faults" / "fault_matrix.py"
    spec = importlib.util.spec_from_file_location("fault_matrix", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"docs/generate.py: {path} is missing")
    matrix = importlib.util.module_from_spec(spec)
    sys.modules["fault_matrix"] = matrix  # dataclasses look their module up
    spec.loader.exec_module(matrix)
    return str(matrix.page(NOTE))


def conformance_page() -> str:
    """Which conformance suite ran against what: from what ``make conformance`` recorded."""
    from crossdock.testing.conformance import page

    recorded = Path(__file__).parents[1] / "tests" / "conformance.json"
    return page(json.loads(recorded.read_text(encoding="utf-8")), NOTE)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "cli.md": cli_page,
    "conformance.md": conformance_page,
    "errors.md": errors_page,
    "faults.md": faults_page,
    "options.md": options_page,
}


def stale() -> list[str]:
    """Names of committed pages that differ from what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    if arguments == ["--check"]:
        old = stale()
        if old:
            sys.stderr.write(f"docs/reference: {', '.join(old)} differ from the code; run `make reference`\n")
        return 1 if old else 0
    if arguments:
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
