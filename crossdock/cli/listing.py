"""``crossdock ls``: the objects below a URL, in key order, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.flags import json_flag, options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.selecting import bound_flags, glob_flags

if TYPE_CHECKING:
    from crossdock.connectors.objects import ObjectSource
    from crossdock.flows.questions.filters import Decision, Filters
    from crossdock.model import ObjectInfo

__all__ = ["as_row", "ls"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock ls s3://landing/2024/",
        "crossdock ls -l gs://archive/",
        "crossdock ls s3://landing/ --include '**.csv' --min-size 1MiB --explain 2024/a.csv",
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
@glob_flags("What is listed")
@bound_flags("What is listed")
@click.option(
    "--explain",
    cls=Flag,
    group="What is listed",
    metavar="KEY",
    help="List nothing: say whether this key, as ls shows it, would be taken with these filters, and which rule decides.",
)
@json_flag("One JSON object a line: exact keys, sizes, versions and digests.")
@verbosity_flags
def ls(
    url: str,
    option: dict[str, str],
    long: bool,
    explain: str | None,
    json: bool,
    quiet: bool,
    **filters: Any,
) -> None:
    """List the objects below URL, one line each, in key order.

    A prefix ends at a slash: logs lists logs/ and the object logs, never logs-2/. Keys are shown whole. Characters that do not print are
    escaped; --json has every key exactly. One request for each 1,000 objects; memory is one page.
    """
    import crossdock as xd
    from crossdock.errors import NotFoundError
    from crossdock.flows import compile_filters

    source = _objects(xd.source(url, **option), url)
    kept = compile_filters(**filters)
    if explain is not None:
        _explain(source, explain, kept, json=json)
        return
    lines = listed = 0
    for info in _below(source):
        listed += 1
        if not kept.decide(_name(source, info.key) or "", info).taken:
            continue
        lines += 1
        if json:
            json_line(as_row(info))
        elif long:
            changed = f"{info.modified:%Y-%m-%dT%H:%M:%SZ}" if info.modified else "-"
            line(f"{'-' if info.size is None else info.size:>15} {changed:>20} {visible(info.key)}")
        else:
            line(visible(info.key))
    if listed and not lines:
        raise NotFoundError(
            f"none of {listed} objects matches the filters",
            operation="list",
            where=url,
            hint="--explain KEY says which rule leaves a key out",
        )
    if not lines:
        raise NotFoundError(
            "nothing is there",
            operation="list",
            where=url,
            hint=_hint(url, quiet=quiet),
        )


def _objects(source: Any, url: str) -> ObjectSource:
    from crossdock.connectors.registry import is_table
    from crossdock.errors import ConfigError

    if is_table(url):
        raise ConfigError(
            "it holds tables, not objects",
            operation="list",
            where=url,
            hint="crossdock schema URL and crossdock head URL look at a table",
        )
    opened: ObjectSource = source
    return opened


def _hint(url: str, *, quiet: bool) -> str:
    if "*" in url:
        return "the URL of ls is a prefix, without wildcards; they go to --include"
    return "" if quiet else "look at the bucket's keys with `crossdock ls`, without the prefix"


def _name(source: ObjectSource, key: str) -> str | None:
    """What filters judge, as in a copy: the key below the prefix, an object's own name; ``None`` for a key elsewhere."""
    prefix = source.prefix
    if not prefix or prefix.endswith("/"):
        return key[len(prefix) :] if key.startswith(prefix) else None
    if key == prefix:
        return key.rpartition("/")[2]
    return key[len(prefix) + 1 :] if key.startswith(f"{prefix}/") else None


def _below(source: ObjectSource) -> Iterator[ObjectInfo]:
    from crossdock.errors import NotFoundError

    source.store.check()  # a wrong endpoint or missing credentials show in seconds: a check is not retried for long
    if not source.prefix or source.prefix.endswith("/"):
        pages = source.pages()
    else:
        pages = source.pages("/")
        with suppress(NotFoundError):  # a bucket that is missing says so again, in the listing
            yield source.store.stat(source.prefix)
    for page in pages:
        yield from page


def _explain(source: ObjectSource, key: str, filters: Filters, *, json: bool) -> None:
    """Say what the filters make of one key. One request if they judge by size or age, else none."""
    decision = _decision(source, key, filters)
    if json:
        json_line({"key": key, "taken": decision.taken, "rule": decision.rule})
    else:
        line(f"{'taken' if decision.taken else 'left out'}: {visible(decision.rule)}")


def _decision(source: ObjectSource, key: str, filters: Filters) -> Decision:
    from crossdock.flows.questions.filters import Decision

    name = _name(source, key)
    if name is None:
        return Decision(
            taken=False, rule=f"the key is not below {source.url}; write it whole, as ls shows it"
        )
    info = source.store.stat(key) if filters.bounds else None
    return filters.decide(name, info)


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
