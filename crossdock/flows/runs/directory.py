"""A run as a directory at any URL: what was asked, the manifest, the shards, the ledger, the report.

By default under the user's state directory. Everything in it is written whole and, but for ``run.json``, once; so a run
survives the death of anything that works on it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.connectors.registry import open_store, split_url
from crossdock.errors import CrossdockError, LedgerError, NotFoundError, PreconditionError
from crossdock.flows.runs.columns import to_parquet
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import Manifest, ManifestSummary
from crossdock.flows.runs.shards import Shard
from crossdock.model import ABSENT

__all__ = [
    "FORMAT",
    "RunDirectory",
    "default_runs_url",
    "demand_whole",
    "is_run_id",
    "list_runs",
    "new_run_id",
    "open_run",
    "run_files",
]

_logger = logging.getLogger("crossdock.runs")

FORMAT = 1
RUN, REPORT, REPORT_PAGE, SHARDS = "run.json", "report.json", "report.html", "manifest/shards.parquet"
REMOVING = "removing"  # the state of a run whose removal began: nothing else can be done with it
_SHARD_SCHEMA = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in Shard._fields])


def new_run_id() -> str:
    """An id that sorts by time, such as ``20261120T214500-ab12cd``."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def default_runs_url() -> str:
    """Where runs live unless told otherwise: below the user's state directory."""
    import platformdirs

    return f"file://{Path(platformdirs.user_state_dir('crossdock')).absolute()}/runs"


def run_files(url: str, options: Mapping[str, Any] | None = None) -> RunFiles:
    """The files below a URL, which counts as a prefix; opens no connection.

    Raises:
        ConfigError: The URL or an option is wrong.
    """
    row, _, _ = split_url(url)
    given = dict(options or {})
    if row.name == "local":
        given.setdefault("missing_root_is_empty", True)
    store, prefix = open_store(url if url.endswith("/") else f"{url}/", given)
    if prefix and not prefix.endswith("/"):  # a connector that reads `x/` as the key `x`
        prefix += "/"
    return RunFiles(store, prefix)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's directory. Picklable, thread-safe; every method reads or writes through the store, none caches."""

    files: RunFiles

    @property
    def url(self) -> str:
        """Where it is."""
        return self.files.url

    def create(self, run_id: str, asked: Mapping[str, Any]) -> None:
        """Write ``run.json`` where none is.

        Raises:
            LedgerError: The directory holds a run already.
        """
        now = datetime.now(UTC).isoformat()
        document = {
            "format": FORMAT,
            "run_id": run_id,
            "state": "listing",
            "created": now,
            "updated": now,
            "versions": _versions(),
            "asked": dict(asked),
        }
        try:
            self.files.put_json(RUN, document, condition=ABSENT)
        except PreconditionError as error:
            raise LedgerError(
                "the directory holds another run",
                operation="create run",
                where=self.url,
                hint="give another run directory, or resume the run that is there",
            ) from error

    def read(self) -> dict[str, Any]:
        """The document ``run.json``.

        Raises:
            NotFoundError: There is no run here.
            LedgerError: It is damaged, or of a later format.
        """
        try:
            document, _ = self.files.get_json(RUN)
        except NotFoundError as error:
            raise NotFoundError("there is no run here", operation="open run", where=self.url) from error
        if document.get("format") != FORMAT:
            raise LedgerError(
                f"the run has format {document.get('format')}, and this version reads {FORMAT}",
                operation="open run",
                where=self.url,
                hint="use the version of crossdock that wrote it",
            )
        return document

    def update(self, **fields: Any) -> None:
        """Change fields of ``run.json``; only the run's owner does."""
        document = self.read()
        document.update(fields, updated=datetime.now(UTC).isoformat())
        self.files.put_json(RUN, document)

    def exists(self) -> bool:
        """Whether a run is here. One request."""
        return self.files.exists(RUN)

    @property
    def manifest(self) -> Manifest:
        """The manifest that was written.

        Raises:
            LedgerError: None was: the run ended while it was listing.
        """
        document = self.read()
        return Manifest(files=self.files, run_id=document["run_id"], parts=self._plan(document).parts)

    @property
    def summary(self) -> ManifestSummary:
        """The manifest in numbers."""
        return self._plan(self.read())

    def _plan(self, document: Mapping[str, Any]) -> ManifestSummary:
        demand_whole(document, self.url)
        if "plan" not in document:
            raise LedgerError(
                "the run ended before its plan was complete, and nothing was moved",
                operation="open run",
                where=self.url,
                hint="start it anew",
            )
        return ManifestSummary(**document["plan"])

    def write_shards(self, shards: Iterator[Shard]) -> int:
        """Write how the manifest is cut, and say into how many shards. Memory: all shards, some 100 bytes each."""
        rows = [shard._asdict() for shard in shards]
        self.files.put(SHARDS, to_parquet(rows, _SHARD_SCHEMA, group_rows=100_000))
        return len(rows)

    def shards(self) -> Iterator[Shard]:
        """The shards, in order.

        Raises:
            LedgerError: They cannot be read.
        """
        try:
            data, _ = self.files.get(SHARDS)
            file = pq.ParquetFile(pa.BufferReader(data))
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    yield Shard(**row)
        except CrossdockError as error:
            raise self.files.failed(error, "read shards", SHARDS) from error
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise LedgerError(
                f"the list of shards is damaged: {error}", operation="read shards", where=self.url, key=SHARDS
            ) from error

    def ask_to_stop(self, session: str) -> None:
        """Tell the workers of one session to begin nothing more; they look every few seconds."""
        self.files.put(_stop_name(session), _STOP_ALL)

    def ask_to_hand_over(self, session: str, shards: Collection[int]) -> None:
        """Tell the workers of one session to leave these shards where they are, and no others."""
        if shards:
            self.files.put(_stop_name(session), " ".join(map(str, sorted(shards))).encode())
        else:
            self.forget_stop(session)

    def is_asked_to_stop(self, session: str, shard: int) -> bool:
        """Whether one of the two asks this of who works on the shard. One request, and another if there is a sign."""
        name = _stop_name(session)
        if not self.files.exists(name):
            return False
        sign, _ = self.files.get(name)
        return sign == _STOP_ALL or str(shard).encode() in sign.split()

    def forget_stop(self, session: str) -> None:
        """Remove the sign."""
        self.files.delete(_stop_name(session))


_STOP_ALL = b"stop\n"


def _stop_name(session: str) -> str:
    return f"stop/{session}"


def is_run_id(text: str) -> bool:
    """Whether this names a run of the user's own, rather than a URL or a path."""
    return "/" not in text and not text.startswith(".")


def open_run(
    run: str, options: Mapping[str, Any] | None = None, *, also_removed: bool = False
) -> RunDirectory:
    """A run that exists, by its id (in the user's state directory) or by URL.

    Args:
        run: The id or the URL.
        options: Options for the store of the run's directory.
        also_removed: Whether one will do whose removal began and did not end.

    Raises:
        NotFoundError: There is no such run.
        LedgerError: Its removal began.
    """
    url = f"{default_runs_url()}/{run}" if is_run_id(run) else run
    directory = RunDirectory(run_files(url, options))
    if not also_removed:
        demand_whole(directory.read(), directory.url)
    return directory


def demand_whole(document: Mapping[str, Any], where: str) -> None:
    """Refuse a run of which a part may be gone.

    Raises:
        LedgerError: Its removal began.
    """
    if document["state"] == REMOVING:
        raise LedgerError(
            "this run is being removed, and what is left of it is not whole",
            operation="open run",
            where=where,
            hint="end it: crossdock runs rm",
        )


def list_runs(
    url: str | None = None, options: Mapping[str, Any] | None = None, *, strict: bool = True
) -> Iterator[dict[str, Any]]:
    """The ``run.json`` documents of all runs below a URL, oldest first, each with its own ``url``.

    A listing and a read a run, however long their ledgers are. A directory without a ``run.json`` is no run.

    Args:
        url: Where run directories are; by default the user's own.
        options: Options of the store.
        strict: Whether one that cannot be read is an error; else it is left out, and logged.

    Raises:
        NotFoundError: There is no such bucket.
        LedgerError: A run cannot be read: the first such, once all others were given.
    """
    unread: LedgerError | None = None
    files = run_files(url or default_runs_url(), options)
    if url is not None:
        files.store.check()
    after: str | None = None
    while True:
        name = next(files.names(start_after=after), None)
        if name is None:
            break
        run_id, slash, _ = name.partition("/")
        after = f"{run_id}/\U0010ffff" if slash else name
        if not slash:
            continue
        directory = RunDirectory(RunFiles(files.store, f"{files.prefix}{run_id}/"))
        try:
            yield directory.read() | {"url": directory.url}
        except NotFoundError:
            continue
        except LedgerError as error:
            if not strict:
                _logger.warning("%s", error)
            unread = unread or error
    if strict and unread is not None:
        raise unread


def _versions() -> dict[str, str]:
    import platform

    from crossdock import __version__

    return {"crossdock": __version__, "python": platform.python_version(), "pyarrow": pa.__version__}
