"""Which connector opens which URL: one row each, imported when first used.

Connectors of other packages register under the entry point group ``crossdock.connectors``: the name is the scheme, the
object a ``Connector``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from crossdock.connectors.layers import layered
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConfigError, MissingExtraError
from crossdock.options import parse_options
from crossdock.ports import ObjectStore

__all__ = ["CONNECTORS", "Connector", "connector_for", "open_store", "split_transfer_options", "split_url"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One system: where its code is and how its URLs read.

    ``store`` is called as ``store(bucket, options)`` and returns an ``ObjectStore``; ``options`` is its option class.
    """

    name: str
    schemes: tuple[str, ...]
    module: str
    store: str
    options: str
    extra: str | None = None
    summary: str = ""

    def load(self) -> tuple[Any, type[Any]]:
        """The store class and the option class.

        Raises:
            MissingExtraError: A package the connector needs is not installed.
        """
        try:
            module = importlib.import_module(self.module)
        except ImportError as error:
            if error.name is None or error.name.split(".")[0] == "crossdock":
                raise  # ours: a bug, not a package to install
            extra = f"crossdock[{self.extra}]" if self.extra else "crossdock"
            raise MissingExtraError(
                f"the {self.name} connector needs {error.name}",
                operation="open",
                hint=f"install it: pip install '{extra}'",
            ) from error
        return getattr(module, self.store), getattr(module, self.options)


CONNECTORS = (
    Connector(
        name="s3",
        schemes=("s3", "s3a"),
        module="crossdock.connectors.s3",
        store="S3Store",
        options="S3Options",
        summary="Amazon S3 and compatible servers",
    ),
    Connector(
        name="gcs",
        schemes=("gs", "gcs"),
        module="crossdock.connectors.gcs",
        store="GCSStore",
        options="GCSOptions",
        summary="Google Cloud Storage",
    ),
    Connector(
        name="local",
        schemes=("file", "local"),
        module="crossdock.connectors.local",
        store="LocalStore",
        options="LocalOptions",
        summary="A directory of this machine",
    ),
    Connector(
        name="memory",
        schemes=("memory",),
        module="crossdock.connectors.memory",
        store="MemoryStore",
        options="MemoryOptions",
        summary="A dict of this process, for tests",
    ),
)


@cache
def _by_scheme() -> dict[str, Connector]:
    rows = {scheme: row for row in CONNECTORS for scheme in row.schemes}
    for entry in metadata.entry_points(group="crossdock.connectors"):
        if entry.name not in rows:  # ours cannot be replaced from outside
            rows[entry.name] = entry.load()
    return rows


def connector_for(scheme: str) -> Connector:
    """The row of a scheme.

    Raises:
        ConfigError: Nobody opens such URLs; the nearest scheme is named.
    """
    rows = _by_scheme()
    if scheme not in rows:
        near = difflib.get_close_matches(scheme, rows, n=1)
        hint = f"did you mean {near[0]}://?" if near else f"known schemes: {', '.join(sorted(rows))}"
        raise ConfigError(f"no connector opens {scheme}:// URLs", operation="open", hint=hint)
    return rows[scheme]


def split_url(url: str) -> tuple[Connector, str, str]:
    """Connector, bucket (or directory) and key of a URL. Keys are literal: nothing is percent-decoded.

    Raises:
        ConfigError: The URL has no bucket, or an unknown scheme.
    """
    scheme, sep, rest = url.partition("://")
    if not sep:
        scheme, rest = "file", url
    row = connector_for(scheme.lower())
    if row.name == "local":
        directory, key = _split_path(rest)
        return row, directory, key
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise ConfigError(
            "the URL names no bucket", operation="open", where=url, hint=f"write {scheme}://bucket/prefix/"
        )
    return row, bucket, key


def _split_path(path: str) -> tuple[str, str]:
    """Root directory and key of a path: an existing directory is a root; else the last segment is a key in its parent."""
    if not path:
        raise ConfigError("the URL names no directory", operation="open", hint="write file:///absolute/path/")
    full = Path(path).expanduser()
    if path.endswith("/") or full.is_dir():
        return str(full.absolute()), ""
    return str(full.absolute().parent), full.name


def open_store(url: str, options: Mapping[str, Any]) -> tuple[ObjectStore, str]:
    """The store behind a URL, with its layers, and the key or prefix the URL names. Opens no connection.

    Raises:
        ConfigError: The URL or an option is wrong.
        MissingExtraError: The connector's package is not installed.
    """
    row, bucket, key = split_url(url)
    store_class, options_class = row.load()
    return layered(store_class(bucket, parse_options(options_class, options, where=url))), key


def split_transfer_options(options: Mapping[str, Any]) -> tuple[TransferOptions, dict[str, Any]]:
    """Take the options of ``TransferOptions`` out of a sink's options; the rest is the connector's."""
    names = {
        name
        for field in dataclasses.fields(TransferOptions)
        for name in (field.name, *field.metadata["aliases"])
    }
    mine = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    transfer = parse_options(TransferOptions, mine)
    if transfer.verify.lower() not in ("auto", "v0", "v1", "v2", "v3"):
        raise ConfigError(f"verify is auto, v0, v1, v2 or v3, not {transfer.verify!r}", operation="open")
    return transfer, rest
