"""How ``--help`` reads: options in named groups, each with its environment name, examples at the end as they are typed."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Flag", "GroupedCommand", "examples"]


class Flag(click.Option):
    """An option that belongs to a group of the help text and shows the environment name it can be set by."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        kwargs.setdefault("show_envvar", True)
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists its options group by group, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = parameter.group if isinstance(parameter, Flag) else "Other"
                sections.setdefault(group, []).append(record)
        for name, rows in sections.items():
            with formatter.section(name):
                formatter.write_dl(rows)


def examples(*lines: str) -> str:
    """An epilog of command lines that click leaves as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
