"""How ``--help`` reads: options in named groups, how to set them by the environment, examples at the end as they are typed."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Flag", "GroupedCommand", "env_name", "examples"]


class Flag(click.Option):
    """An option that belongs to a group of the help text."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists its options group by group, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):  # the usage line has those
                group = parameter.group if isinstance(parameter, Flag) else "Help"
                sections.setdefault(group, []).append(record)
        for name, rows in sections.items():
            with formatter.section(name):
                formatter.write_dl(rows)
        if ctx.auto_envvar_prefix and any(isinstance(parameter, Flag) for parameter in self.params):
            example = next(p for p in self.params if isinstance(p, Flag))
            formatter.write_paragraph()
            formatter.write_text(
                f"Each option can be set by the environment too: {example.opts[-1]} is {env_name(ctx, example)}."
            )


def env_name(ctx: click.Context, option: click.Option) -> str:
    """The environment variable that sets an option of this command."""
    return f"{ctx.auto_envvar_prefix}_{(option.name or '').upper()}"


def examples(*lines: str) -> str:
    """An epilog of command lines that click leaves as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
