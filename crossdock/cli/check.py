"""``crossdock check``: whether a destination holds what a source holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import click

from crossdock.cli.flags import json_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples
from crossdock.cli.output import json_line, line, visible
from crossdock.cli.progress import duration, progress
from crossdock.cli.run_flags import SELECTION, no_glob_flag, store_flags
from crossdock.cli.selecting import bound_flags, glob_flags
from crossdock.errors import ConfigError

if TYPE_CHECKING:
    from crossdock.flows import Checked, CheckReport

__all__ = ["check"]

_LISTS = {
    "combined": (
        "=+-*!",
        "Every key behind its sign: = same, + missing at DST, - missing at SRC, * differs, ! error.",
    ),
    "missing_on_dst": ("+", "Keys that are only at SRC."),
    "missing_on_src": ("-", "Keys that are only at DST."),
    "differ": ("*", "Keys that are at both and differ."),
    "match": ("=", "Keys that are the same."),
    "error": ("!", "Keys that could not be compared."),
}
_SHOWN = 10


def _list_flags(function: click.decorators.FC) -> click.decorators.FC:
    """``--combined FILE`` and its like."""
    for name, (_, text) in reversed(_LISTS.items()):
        function = click.option(
            f"--{name.replace('_', '-')}", cls=Flag, group="Lists", metavar="FILE|-", help=text
        )(function)
    return function


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock check s3://landing/ gs://archive/",
        "crossdock check ./exports/ s3://landing/ --one-way --combined -",
        "crossdock check s3://landing/ gs://archive/ --missing-on-dst lost.txt --differ wrong.txt",
        "crossdock check s3://landing/ gs://archive/ --download --json",
    ),
)
@click.argument("src")
@click.argument("dst")
@store_flags
@glob_flags("What is compared")
@bound_flags("What is compared")
@no_glob_flag("What is compared")
@click.option(
    "--one-way",
    cls=Flag,
    group="What is compared",
    is_flag=True,
    help="Do not look for what is only at DST.",
)
@click.option(
    "--download",
    cls=Flag,
    group="How",
    is_flag=True,
    help="Read both ends and compare every byte, also where digests are equal.",
)
@click.option(
    "--require-digest",
    cls=Flag,
    group="How",
    is_flag=True,
    help="Where only sizes can be compared, count an error.",
)
@click.option(
    "--concurrency", cls=Flag, group="How", type=click.IntRange(1), metavar="N", help="Objects at a time."
)
@_list_flags
@json_flag("One JSON object a line: each key that is not the same at both ends, at last the summary.")
@verbosity_flags
@click.pass_context
def check(
    ctx: click.Context,
    /,
    src: str,
    dst: str,
    *,
    source_option: dict[str, str],
    sink_option: dict[str, str],
    no_glob: bool,
    one_way: bool,
    download: bool,
    require_digest: bool,
    concurrency: int | None,
    quiet: bool,
    json: bool,
    **others: Any,
) -> None:
    """Compare the objects below SRC with those below DST, and change nothing.

    By digest where both ends publish one; where S3 knows only the MD5s of parts, through these; files of this machine are read. The verdict says how
    many were compared by size only. Exit code 6: differences were found; 5: something could not be compared.
    """
    import crossdock as xd

    with ExitStack() as opened, progress(quiet=quiet, json=False) as observer:
        out = _Lists(opened, {name: others[name] for name in _LISTS}, json=json)
        report = xd.check(
            src,
            dst,
            **{name: others[name] for name in SELECTION},
            glob=not no_glob,
            one_way=one_way,
            download=download,
            require_digest=require_digest,
            concurrency=concurrency,
            each=out.take,
            source_options=source_option,
            sink_options=sink_option,
            observer=observer,
        )
    if json:
        json_line({"type": "summary", **report.to_dict()})
    if not quiet or report.exit_code:
        text = "\n".join(_verdict(report))
        if json or quiet or out.on_stdout:
            sys.stderr.write(f"{text}\n")
        else:
            line(text)
    ctx.exit(report.exit_code)


class _Lists:
    """Where verdicts go, one by one, as they come."""

    def __init__(self, opened: ExitStack, lists: dict[str, str | None], *, json: bool) -> None:
        self._json = json
        self._outs: list[tuple[str, bool, IO[str] | None]] = []
        for name, place in lists.items():
            if place is None:
                continue
            signs, flag = _LISTS[name][0], name.replace("_", "-")
            file = None if place == "-" else opened.enter_context(_opened(place, flag))
            if file is None and (json or self.on_stdout):
                raise ConfigError(
                    f"--{flag} - and another list, or --json, would mix on stdout",
                    operation="check",
                    hint="write one of them to a file",
                )
            self._outs.append((signs, name == "combined", file))

    @property
    def on_stdout(self) -> bool:
        """Whether a list goes to stdout."""
        return any(file is None for _, _, file in self._outs)

    def take(self, verdict: Checked) -> None:
        sign = verdict.sign.value
        for signs, signed, file in self._outs:
            if sign not in signs:
                continue
            text = f"{sign} {visible(verdict.name)}" if signed else visible(verdict.name)
            if file is None:
                line(text)
            else:
                file.write(f"{text}\n")
        if self._json and sign != "=":
            json_line(
                {
                    "type": "object",
                    "sign": sign,
                    "key": verdict.name,
                    "size": verdict.size,
                    "how": verdict.how.value or None,
                    "reason": verdict.reason,
                }
            )


def _opened(place: str, flag: str) -> IO[str]:
    try:
        return open(place, "w", encoding="utf-8", errors="surrogateescape")  # noqa: PTH123 - closed by the stack
    except OSError as error:
        raise ConfigError(
            f"it cannot be written: {os.strerror(error.errno or 0)}", operation=f"--{flag}", where=place
        ) from error


def _verdict(report: CheckReport) -> Iterator[str]:
    """The last screen, line by line. Pure."""
    if report.ok:
        yield f"the same: {report.checked:,} objects"
    elif report.differences:
        yield f"different: {report.differences:,} of {report.checked:,} objects"
    else:
        yield f"not compared: {report.errors:,} of {report.checked:,} objects"
    yield f"  {visible(report.source)} -> {visible(report.sink)}"
    yield ""
    numbers = f"{report.checked:,} objects = {report.matched:,} same + {report.differing:,} different"
    numbers += f" + {report.missing_on_dst:,} missing at the destination + {report.missing_on_src:,} missing at the source"
    yield f"  checked   {numbers} + {report.errors:,} errors"
    ways = {
        "digest": report.by_digest,
        "multipart ETag": report.by_multipart_etag,
        "bytes": report.by_bytes,
        "size only": report.by_size,
    }
    told = ", ".join(f"{count:,} by {name}" for name, count in ways.items() if count)
    if told:
        yield f"  same      {told}"
    if report.excluded:
        yield f"  left out  {report.excluded:,} by the filters"
    yield f"  took      {duration(report.duration_s)}"
    for each in report.examples[:_SHOWN]:
        yield f"  {each.sign.value} {visible(each.name)}: {visible(each.reason)}"
    left = report.differences + report.errors - min(len(report.examples), _SHOWN)
    if left > 0:
        yield f"  and {left:,} more: --combined FILE lists them all"
    if report.by_size:
        yield ""
        yield f"  {report.by_size:,} are equal in size and no more is known: --download compares their bytes"
