"""``crossdock rm``: delete one object, or what is below a prefix, after showing how much that is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.selecting import bound_flags, glob_flags
from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows import Erasure
    from crossdock.model import ObjectInfo

__all__ = ["rm"]

_WHAT = "What is deleted"


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock rm s3://landing/2024/a.bin",
        "crossdock rm -r s3://landing/2024/ --dry-run",
        "crossdock rm -r gs://archive/tmp/ --exclude '**.keep' --min-age 30d --yes",
    ),
)
@click.argument("url")
@click.option(
    "-r",
    "--recursive",
    cls=Flag,
    group=_WHAT,
    is_flag=True,
    help="URL is a prefix: everything that `crossdock ls URL` lists.",
)
@glob_flags(_WHAT)
@bound_flags(_WHAT)
@click.option(
    "-n",
    "--dry-run",
    cls=Flag,
    group="How",
    is_flag=True,
    help="List what would be deleted, and delete nothing.",
)
@click.option(
    "-y",
    "--yes",
    cls=Flag,
    group="How",
    is_flag=True,
    help="Do not ask. Without it, and without a terminal to ask on, a prefix is refused.",
)
@options_flag("--option", help="An option of the store, such as endpoint_url, key, profile, project.")
@json_flag("One JSON object a line: with --dry-run each object, at last the summary.")
@verbosity_flags
@click.pass_context
def rm(
    ctx: click.Context,
    url: str,
    *,
    recursive: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    min_size: str | None,
    max_size: str | None,
    min_age: str | None,
    max_age: str | None,
    dry_run: bool,
    yes: bool,
    option: dict[str, str],
    json: bool,
    quiet: bool,
) -> None:
    """Delete one object, or with -r everything below a prefix.

    A prefix is listed first; the number of objects is shown, and you are asked. An object is deleted only in the version that was
    listed: one that was replaced meanwhile stays, and the exit code is 5. Versions that a bucket keeps are not touched.
    """
    import crossdock as xd

    def ask(objects: int, size: int) -> bool:
        what = f"{objects:,} objects, {format_size(size)}, below {visible(url)}"
        if not sys.stdin.isatty():
            raise xd.UnsafeError(
                f"{what}, would be deleted, and there is no terminal to ask on",
                operation="delete",
                where=url,
                hint="look at them with --dry-run; to delete them say --yes",
            )
        return click.confirm(f"delete {what}?", default=False, err=True)

    def show(info: ObjectInfo) -> None:
        if json:
            json_line({"type": "object", "key": info.key, "size": info.size})
        else:
            line(f"would be deleted  {visible(info.key)}")

    erased = xd.remove(
        url,
        recursive=recursive,
        include=include,
        exclude=exclude,
        min_size=min_size,
        max_size=max_size,
        min_age=min_age,
        max_age=max_age,
        dry_run=dry_run,
        confirm=ask if recursive and not yes else None,
        on_listed=show if dry_run else None,
        options=option,
    )
    if json:
        json_line({"type": "summary", **erased.to_dict()})
    for removed in erased.deletions.examples:
        sys.stderr.write(f"{removed.fate.value}  {visible(removed.key)}: {visible(removed.reason)}\n")
    if not quiet or erased.exit_code:
        sys.stderr.write(f"{_verdict(erased)}\n")
    ctx.exit(erased.exit_code)


def _verdict(erased: Erasure) -> str:
    """One line, whose numbers add up."""
    done = erased.deletions
    if not erased.asked:
        return f"nothing was deleted: {done.planned:,} objects stay"
    if erased.dry_run:
        return f"{done.planned:,} objects, {format_size(done.planned_bytes)}, would be deleted"
    text = f"{done.planned:,} objects = {done.deleted:,} deleted + {done.changed:,} changed + {done.failed:,} failed"
    if done.unconditional:
        text += f"; the store cannot demand a version: {done.unconditional:,} were compared just before"
    return text
