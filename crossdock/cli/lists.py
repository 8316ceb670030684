"""The flags that say what is copied instead of a listing: names in a file, or a list of objects."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import IO, Any

import click

from crossdock.cli.flags import options_flag
from crossdock.cli.help import Flag

__all__ = ["list_flags"]


def list_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--files-from``, ``--files-from0``, ``--manifest``: the command is given ``names``, ``manifest``, ``manifest_options``."""

    @functools.wraps(command)
    def function(
        *args: Any,
        files_from: IO[bytes] | None,
        files_from0: IO[bytes] | None,
        manifest: str | None,
        manifest_option: dict[str, str],
        **others: Any,
    ) -> Any:
        flags = (("--files-from", files_from), ("--files-from0", files_from0), ("--manifest", manifest))
        given = [name for name, value in flags if value is not None]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(given)} exclude each other: each says what is copied")
        if manifest_option and manifest is None:
            raise click.UsageError("--manifest-option needs --manifest")
        names = _names(files_from, nul=False) or _names(files_from0, nul=True)
        return command(
            *args, names=names, manifest=manifest, manifest_options=manifest_option or None, **others
        )

    decorated: Callable[..., Any] = options_flag(
        "--manifest-option", group="What is copied", help="An option of the store of --manifest."
    )(function)
    for names, options in reversed(_FLAGS):
        decorated = click.option(*names, cls=Flag, group="What is copied", **options)(decorated)
    return decorated


def _names(file: IO[bytes] | None, *, nul: bool) -> Iterator[str] | None:
    if file is None:
        return None
    from crossdock.flows.given import names_in  # late: it costs pyarrow

    return names_in(file, where=str(getattr(file, "name", "")), nul=nul)


_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--files-from",),
        {
            "type": click.File("rb"),
            "metavar": "FILE",
            "help": "Only the keys in FILE (- for stdin), one a line, as they stand below SRC; lines that begin with # or ; "
            "are comments.",
        },
    ),
    (
        ("--files-from0",),
        {
            "type": click.File("rb"),
            "metavar": "FILE",
            "help": "The same with a zero byte after each key and no comments: for any key.",
        },
    ),
    (
        ("--manifest",),
        {
            "metavar": "URL",
            "help": "Only the objects of a list, and SRC is not listed: an S3 inventory's manifest.json, a .csv, .parquet or "
            ".orc file, an earlier run's directory, or run:ID.",
        },
    ),
)
