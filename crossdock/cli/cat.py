"""``crossdock cat``: the bytes of objects on stdout, exactly, and compared with what their store published."""

from __future__ import annotations

import sys

import click

from crossdock.cli.exit_codes import ExitCode
from crossdock.cli.flags import options_flag, verbosity_flags
from crossdock.cli.help import Flag, GroupedCommand, examples

__all__ = ["cat"]


@click.command(
    cls=GroupedCommand,
    epilog=examples(
        "crossdock cat s3://landing/2024/a.csv | head",
        "crossdock cat gs://archive/part-0 gs://archive/part-1 > whole",
        "crossdock cat --range 0-512 s3://landing/2024/a.parquet | xxd",
    ),
)
@click.argument("url", nargs=-1, required=True)
@click.option(
    "--range",
    "byte_range",
    cls=Flag,
    group="Output",
    metavar="START-END",
    help="Only bytes from START up to, not including, END; START- to the end, -COUNT the last so many. Not compared: "
    "digests are of whole objects.",
)
@options_flag("--option", help="An option of the store, such as endpoint_url, key, profile, project.")
@verbosity_flags
@click.pass_context
def cat(
    ctx: click.Context, url: tuple[str, ...], *, byte_range: str | None, option: dict[str, str], quiet: bool
) -> None:
    """Write the bytes of each object to stdout, as they are stored, one after another.

    Each is read in one version. Bytes that are not what the store published end it with one line on stderr and exit code 1; they
    are on stdout by then, so a pipe has to look at the exit code (bash: set -o pipefail).
    """
    from crossdock.errors import IntegrityError
    from crossdock.flows import ReadOut, parse_range

    start, stop = parse_range(byte_range) if byte_range is not None else (0, None)
    out = sys.stdout.buffer
    for each in url:
        try:
            for chunk in ReadOut(each, start=start, stop=stop, options=option):
                out.write(chunk)
        except IntegrityError as error:
            out.flush()
            sys.stderr.write(f"crossdock: {error}\n")
            ctx.exit(ExitCode.UNEXPECTED)
        out.flush()
    del quiet  # nothing is said; accepted everywhere, so that scripts need not know
