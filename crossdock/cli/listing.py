"""``crossdock ls``: the objects below a URL, in key order, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible

if TYPE_CHECKING:
    from crossdock.model import ObjectInfo

__all__ = ["as_row", "ls"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock ls s3://landing/2024/",
        "crossdock ls -l gs://archive/",
        "crossdock ls --json s3://landing/ --option endpoint_url=http://127.0.0.1:9000 | jq .size",
    ),
)
@click.argument("url")
@options_flag("--option", help="An option of the store, such as endpoint_url, key, profile, project.")
@click.option(
    "-l",
    "--long",
    cls=Flag,
    group="Output",
    is_flag=True,
    help="Size in bytes, time of last change (UTC) and key.",
)
@json_flag("One JSON object a line: exact keys, sizes, versions and digests.")
@verbosity_flags
def ls(url: str, option: dict[str, str], long: bool, json: bool, quiet: bool) -> None:
    """List the objects below URL, one line each, in key order.

    A prefix ends at a slash: logs lists logs/ and the object logs, never logs-2/. Keys are shown whole. Characters that do not print are
    escaped; --json has every key exactly. One request for each 1,000 objects; memory is one page.
    """
    from crossdock.errors import NotFoundError

    lines = 0
    for info in _below(url, option):
        lines += 1
        if json:
            json_line(as_row(info))
        elif long:
            changed = f"{info.modified:%Y-%m-%dT%H:%M:%SZ}" if info.modified else "-"
            line(f"{'-' if info.size is None else info.size:>15} {changed:>20} {visible(info.key)}")
        else:
            line(visible(info.key))
    if not lines:
        raise NotFoundError(
            "nothing is there",
            operation="list",
            where=url,
            hint="" if quiet else "look at the bucket's keys with `crossdock ls`, without the prefix",
        )


def _below(url: str, options: dict[str, str]) -> Iterator[ObjectInfo]:
    import crossdock as xd

    source = xd.source(url, **options)
    source.store.check()  # a wrong endpoint or missing credentials show in seconds: a check is not retried for long
    if not source.prefix or source.prefix.endswith("/"):
        pages = source.pages()
    else:
        pages = source.pages("/")
        with suppress(xd.NotFoundError):  # a bucket that is missing says so again, in the listing
            yield source.store.stat(source.prefix)
    for page in pages:
        yield from page


def as_row(info: ObjectInfo) -> dict[str, Any]:
    """What ``--json`` says of one object; digests are hexadecimal."""
    digests = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in info.digests.as_dict().items()
    }
    return {
        "key": info.key,
        "size": info.size,
        "modified": info.modified.isoformat() if info.modified else None,
        "etag": info.version.etag,
        "generation": info.version.generation,
        "storage_class": info.storage_class,
        "digests": digests or None,
    }
