"""Which connector opens which URL: one row each, imported when first used.

Connectors of other packages register under the entry point group ``crossdock.connectors``: the name is the scheme, the
object a ``Connector``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from crossdock.connectors.chains import demand_no_password, is_chain, place_of
from crossdock.connectors.layers import layered
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConfigError, MissingExtraError
from crossdock.options import parse_options
from crossdock.ports import ObjectStore

__all__ = [
    "CONNECTORS",
    "Connector",
    "connector_for",
    "connectors",
    "is_table",
    "key_last",
    "open_store",
    "open_table",
    "split_transfer_options",
    "split_url",
]

_BRIDGE = "crossdock.connectors.fsspec_bridge."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One system: where its code is and how its URLs read.

    ``store`` is called as ``store(bucket, options)`` and returns an ``ObjectStore``; ``options`` is its option class.
    Where ``kind`` is ``table`` it is called with the whole URL and returns what makes tasks over rows: it has ``source()``,
    ``sink()`` and ``capabilities``. Its sources give record batches. ``splits`` says what of a URL is the bucket: its first segment (``bucket``), scheme and host (``origin``), or all
    but the last segment (``directory``). ``sink_defaults`` are options that a sink has unless told otherwise. ``upon`` is
    an example of what stands behind ``NAME+`` in the URLs of a table format that keeps its tables in a store of another
    connector: options are its own and that connector's, and its class takes them apart (``opened``).
    """

    name: str
    schemes: tuple[str, ...]
    module: str
    store: str
    options: str
    extra: str | None = None
    summary: str = ""
    splits: Literal["bucket", "origin", "directory"] = "bucket"
    is_sink: bool = True
    kind: Literal["objects", "table"] = "objects"
    sink_defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    upon: str | None = None

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

    def demand_sink(self) -> None:
        """Refuse to be a sink, where more can be said about it than that the store is a source only."""

    @property
    def need(self) -> str:
        """The command that installs what is needed besides crossdock itself; empty for nothing."""
        return f"pip install 'crossdock[{self.extra}]'" if self.extra else ""

    @property
    def is_installed(self) -> bool:
        """Whether everything of the extra is there, told by the installed packages' names: nothing is imported."""
        if self.extra is None:
            return True
        wanted = [
            found[1]
            for text in metadata.requires("crossdock") or []
            if (found := re.fullmatch(rf"([\w.-]+).*extra == ['\"]{re.escape(self.extra)}['\"].*", text))
        ]
        return all(any(metadata.distributions(name=name)) for name in wanted)

    @property
    def example(self) -> str:
        """A root that the store takes, of a place that need not exist: building a store opens nothing."""
        if self.name == "local":
            return "/"
        if self.upon is not None:
            return f"{self.schemes[0]}+{self.upon}/prefix"
        if self.kind == "table":
            return f"{self.schemes[0]}{'+driver' if self.name == 'adbc' else ''}://host/database"
        return {"bucket": "bucket", "origin": f"{self.schemes[0]}://host", "directory": "host/directory"}[
            self.splits
        ]


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
        name="azure",
        schemes=("az", "azure", "abfs", "abfss"),
        module="crossdock.connectors.azure",
        store="AzureStore",
        options="AzureOptions",
        summary="Azure Blob Storage and ADLS Gen2",
    ),
    Connector(
        name="local",
        schemes=("file", "local"),
        module="crossdock.connectors.local",
        store="LocalStore",
        options="LocalOptions",
        summary="A directory of this machine",
        sink_defaults={"missing_root_is_empty": True},  # it may still be made
    ),
    Connector(
        name="memory",
        schemes=("memory",),
        module="crossdock.connectors.memory",
        store="MemoryStore",
        options="MemoryOptions",
        summary="A dict of this process, for tests",
    ),
    Connector(
        name="http",
        schemes=("https", "http"),
        module="crossdock.connectors.http",
        store="HTTPStore",
        options="HTTPOptions",
        summary="Any web server, to read from",
        splits="origin",
        is_sink=False,
    ),
    Connector(
        name="sftp",
        schemes=("sftp", "ssh"),
        module="crossdock.connectors.sftp",
        store="SFTPStore",
        options="SFTPOptions",
        extra="sftp",
        summary="A directory of an SSH server",
        splits="directory",
        sink_defaults={"missing_root_is_empty": True},  # it may still be made
    ),
    Connector(
        name="postgresql",
        schemes=("postgresql", "postgres"),
        module="crossdock.connectors.sql",
        store="PostgreSQLDatabase",
        options="PostgreSQLOptions",
        extra="postgresql",
        summary="Tables and queries of a PostgreSQL",
        kind="table",
    ),
    Connector(
        name="sqlite",
        schemes=("sqlite",),
        module="crossdock.connectors.sql",
        store="SQLiteDatabase",
        options="SQLiteOptions",
        extra="sqlite",
        summary="Tables and queries of a SQLite file",
        kind="table",
    ),
    Connector(
        name="duckdb",
        schemes=("duckdb",),
        module="crossdock.connectors.sql",
        store="DuckDBDatabase",
        options="DuckDBOptions",
        extra="duckdb",
        summary="Tables and queries of a DuckDB file",
        kind="table",
    ),
    Connector(
        name="adbc",
        schemes=("adbc",),
        module="crossdock.connectors.sql",
        store="ADBCDatabase",
        options="ADBCOptions",
        extra="adbc",
        summary="Any database with an ADBC driver, adbc+NAME://, to read from",
        kind="table",
        is_sink=False,
    ),
    Connector(
        name="delta",
        schemes=("delta",),
        module="crossdock.lakes.delta",
        store="DeltaLake",
        options="DeltaOptions",
        extra="delta",
        summary="Delta Lake tables in a store: delta+s3://, delta+file://, ...",
        kind="table",
        upon="s3://bucket",
    ),
    Connector(
        name="iceberg",
        schemes=("iceberg",),
        module="crossdock.lakes.iceberg",
        store="IcebergLake",
        options="IcebergOptions",
        extra="iceberg",
        summary="Apache Iceberg tables of a SQLite catalogue, iceberg+sqlite://, or by a metadata file",
        kind="table",
        upon="sqlite:///catalog.db",
    ),
)


@cache
def _by_scheme() -> dict[str, Connector]:
    rows = {scheme: row for row in CONNECTORS for scheme in row.schemes}
    for entry in metadata.entry_points(group="crossdock.connectors"):
        if entry.name not in rows:  # ours cannot be replaced from outside
            rows[entry.name] = entry.load()
    return rows


def _fsspec() -> Any:
    """What makes rows of fsspec's protocols, imported when a scheme is nobody else's: like every connector, by name."""
    return importlib.import_module(f"{_BRIDGE}connector")


def connectors() -> list[Connector]:
    """Every row of ours and of other packages' entry points, and one for each further protocol of fsspec.

    Imports fsspec's registry and the modules that entry points name, and no SDK of ours or of fsspec's filesystems.
    """
    rows = _by_scheme()
    ours = {row.name: row for row in rows.values()}
    return [*ours.values(), *_fsspec().every_connector(frozenset(rows))]


def connector_for(scheme: str) -> Connector:
    """The row of a scheme: ours, another package's, or fsspec's.

    Raises:
        ConfigError: Nobody opens such URLs; the nearest scheme is named.
    """
    rows = _by_scheme()
    base, plus, _ = scheme.partition("+")
    if plus and base in rows and rows[base].kind == "table":  # adbc+NAME
        return rows[base]
    if scheme not in rows:
        found: Connector | None = _fsspec().connector_of(scheme)
        if found is not None:
            return found
        near = difflib.get_close_matches(scheme, {*rows, *_fsspec().every_protocol()}, n=1)
        hint = f"did you mean {near[0]}://?" if near else f"known schemes: {', '.join(sorted(rows))}"
        raise ConfigError(f"no connector opens {scheme}:// URLs", operation="open", hint=hint)
    return rows[scheme]


def split_url(url: str) -> tuple[Connector, str, str]:
    """Connector, bucket (or directory) and key of a URL. Keys are literal: nothing is percent-decoded.

    Raises:
        ConfigError: The URL has no bucket, an unknown scheme, or a password.
    """
    demand_no_password(url)
    scheme, sep, rest = url.partition("://")
    if not sep:
        _demand_path(url)
        scheme, rest = "file", url
    row = _chained(url) or connector_for(scheme.lower())
    if row.kind == "table":
        raise ConfigError(
            f"{row.name} holds tables, not objects",
            operation="open",
            where=url.partition("?")[0],
            hint="xd.source(url) and xd.sink(url) read and write its rows",
        )
    if row.module.startswith(_BRIDGE):
        place = place_of(url)
        return row, place.root, place.key
    if row.name == "local":
        directory, key = _split_path(rest)
        return row, directory, key
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise ConfigError(
            "the URL names no bucket", operation="open", where=url, hint=f"write {scheme}://bucket/prefix/"
        )
    if row.splits == "origin":
        return row, f"{scheme.lower()}://{bucket}", key
    if row.splits == "directory":
        directory, _, last = key.rpartition("/")
        return row, f"{bucket}/{directory}", last
    return row, bucket, key


def _demand_path(text: str) -> None:
    """Refuse ``s3:/bucket/x`` and rclone's ``s3:bucket/x``: read as paths they would fill a directory named ``s3:``."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in _by_scheme():
        raise ConfigError(
            f"a URL has two slashes behind {scheme}:",
            operation="open",
            where=text,
            hint=f"write {scheme}://{rest.lstrip('/')}; a path of that name is ./{text}",
        )


def _chained(url: str) -> Connector | None:
    """The row of a chain such as ``zip://inner::s3://bucket/a.zip``; ``None`` for any other URL."""
    if not is_chain(url):
        return None
    root = place_of(url).root
    row: Connector | None = _fsspec().connector_of(root)
    if row is None:
        raise ConfigError(
            "fsspec does not know every link of this chain",
            operation="open",
            where=root,
            hint="see `crossdock connectors`",
        )
    return row


def key_last(url: str) -> str:
    """The same URL with its key at the end, where a chain has it at the beginning."""
    if not is_chain(url):
        return url
    place = place_of(url)
    return f"{place.root}/{place.key}"


def _split_path(path: str) -> tuple[str, str]:
    """Root directory and key of a path: an existing directory is a root; else the last segment is a key in its parent."""
    if not path:
        raise ConfigError("the URL names no directory", operation="open", hint="write file:///absolute/path/")
    full = Path(path).expanduser()
    if path.endswith("/") or full.is_dir():
        return str(full.absolute()), ""
    return str(full.absolute().parent), full.name


def open_store(url: str, options: Mapping[str, Any], *, to_write: bool = False) -> tuple[ObjectStore, str]:
    """The store behind a URL, with its layers, and the key or prefix the URL names. Opens no connection.

    Args:
        url: The URL.
        options: The connector's.
        to_write: It is a sink: the row's ``sink_defaults`` count where nothing else is said.

    Raises:
        ConfigError: The URL or an option is wrong.
        MissingExtraError: The connector's package is not installed.
    """
    row, bucket, key = split_url(url)
    store_class, options_class = row.load()
    given = {**row.sink_defaults, **options} if to_write else options
    if to_write:
        row.demand_sink()
    return layered(store_class(bucket, parse_options(options_class, given, where=url))), key


def is_table(url: str) -> bool:
    """Whether a URL's connector holds tables."""
    scheme, sep, _ = url.partition("://")
    return bool(sep) and not is_chain(url) and connector_for(scheme.lower()).kind == "table"


def open_table(url: str, options: Mapping[str, Any]) -> Any:
    """What stands behind the URL of a table connector; ``None`` for a URL of objects. Opens no connection.

    Raises:
        ConfigError: The URL or an option is wrong, or the URL has a password.
        MissingExtraError: The connector's package is not installed.
    """
    scheme, sep, _ = url.partition("://")
    if not sep or is_chain(url):
        return None
    row = connector_for(scheme.lower())
    if row.kind != "table":
        return None
    demand_no_password(url)
    made, options_class = row.load()
    if row.upon is not None:
        return made.opened(url, options)
    return made(url, parse_options(options_class, options, where=url.partition("?")[0]))


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
    return transfer, rest
