"""``crossdock du``: how many objects and bytes are below a URL, in all and for each prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import Usage

__all__ = ["du"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock du s3://landing/",
        "crossdock du --depth 1 gs://archive/2024/",
        "crossdock du --json s3://landing/ --depth 2 --option endpoint_url=http://127.0.0.1:9000",
    ),
)
@click.argument("url")
@click.option(
    "--depth",
    cls=Flag,
    group="Output",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="A line for each prefix down to so many levels below URL, before the whole.",
)
@click.option(
    "--bytes",
    "exact",
    cls=Flag,
    group="Output",
    is_flag=True,
    help="Sizes in bytes, not in KiB, MiB and so on.",
)
@options_flag("--option", help="An option of the store, such as endpoint_url, key, profile, project.")
@json_flag("One JSON object a line: each prefix, at last the whole.")
@verbosity_flags
def du(url: str, *, depth: int, exact: bool, option: dict[str, str], json: bool, quiet: bool) -> None:
    """Count the objects and bytes below URL: what `crossdock ls URL` lists.

    Lines come while the listing goes on. One request for each 1,000 objects; memory is one page.
    """
    import crossdock as xd

    for each in xd.usage(url, depth=depth, options=option):
        if json:
            json_line(
                {
                    "type": "prefix" if each.depth else "summary",
                    "prefix": each.prefix,
                    "depth": each.depth,
                    "objects": each.objects,
                    "bytes": each.bytes,
                    "unknown_sizes": each.unknown_sizes,
                }
            )
        else:
            line(_line(each, url, exact=exact))
    del quiet  # it is only for progress and verdicts; accepted everywhere, so that scripts need not know


def _line(each: Usage, url: str, *, exact: bool) -> str:
    size = f"{each.bytes:,}" if exact else format_size(each.bytes)
    name = visible(each.prefix) if each.depth else visible(url)
    unknown = f"  ({each.unknown_sizes:,} of unknown size)" if each.unknown_sizes else ""
    return f"{size:>15}  {each.objects:>13,}  {name}{unknown}"
