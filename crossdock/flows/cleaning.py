"""``cleanup``: end the uploads that crashes left open, a run's own by its ledger, others' only by age and on request.

Only what ``list_uploads`` names is ever ended, through ``abort``: objects are not looked at. In a database it is the rows that loads
staged and did not publish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.registry import is_table, open_store
from crossdock.errors import ConfigError, CrossdockError, LedgerError, NotFoundError, UnsupportedError
from crossdock.flows.ledger.leftovers import (
    CleanupReport,
    Fate,
    Leftover,
    Untouched,
    common_prefix,
    intents_of,
    not_old,
    not_ours,
)
from crossdock.flows.ledger.writing import read_records
from crossdock.flows.questions.endpoints import rebuilt_sink
from crossdock.flows.runs.directory import (
    RunDirectory,
    default_runs_url,
    is_run_id,
    list_runs,
    open_run,
    run_files,
)
from crossdock.flows.runs.ownership import Owner, current_owner, demand_unowned, last_heartbeat
from crossdock.model import Upload
from crossdock.options import parse_age
from crossdock.ports import ObjectStore

__all__ = ["cleanup"]

_AT_A_TIME = 16  # aborts; each is a small request
_LISTED = "only listed: say older_than to remove what others left"


def cleanup(
    place: str | None = None,
    *,
    all_runs: bool = False,
    older_than: timedelta | str | None = None,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
    sink: ObjectSink | None = None,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
) -> CleanupReport:
    """Remove what crashes left open: uploads in parts, temporary files and objects, staged rows. Never a visible object or row.

    Of a run, its own: uploads to destination keys that its ledger announced, begun while it was at work, and temporary
    files of its own directory. Below a destination, whoever left them, only if older than ``older_than``; without it they are
    listed and kept. A process killed meanwhile leaves the rest as it was; the same call again goes on.

    Memory: one record for each open upload, one shard of the ledger. Requests: one for each 1,000 open uploads and one for
    each that is ended; for a run those that read its ledger.

    Args:
        place: A run's id, the URL of its directory, or the URL of a destination: also that of a database.
        all_runs: Every run in the user's state directory instead. Runs that a driver works on are left alone and named.
        older_than: Age from which uploads below the destination ``place`` are removed, such as ``"7d"`` or a ``timedelta``,
            counted from their beginning: an upload that still goes on is ended too.
        dry_run: Only say what would be removed.
        options: Options of the store behind a destination; with them ``place`` is never taken for a run's directory.
        sink: The run's sink task, if it cannot be opened from what the run kept.
        sink_options: On top of the options that the run kept of its destination: secrets are not kept.
        run_options: Options for the store of the run's directory.

    Raises:
        ConfigError: The arguments do not go together, or an option is wrong.
        NotFoundError: There is no such run, and no such destination either.
        LedgerError: A driver is at work on the run, or its directory is damaged.
        UnsupportedError: The destination can only be read.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://half/").store.begin("a", part_size_bytes=1_000)
        >>> [left.key for left in xd.cleanup("memory://half/").kept]
        ['a']
        >>> xd.cleanup("memory://half/", older_than="0s").to_dict()["removed"]
        1
    """
    if (place is None) != all_runs:
        raise ConfigError("name a run or a destination, or ask for all runs", operation="cleanup")
    age = _age(older_than)
    if place is None:
        if age is not None or options or sink is not None or sink_options or run_options:
            raise ConfigError(
                "all runs are cleaned up with what each kept: no further options", operation="cleanup"
            )
        return _every_run(dry_run=dry_run)
    is_destination = age is not None or bool(options) or is_table(place)
    directory = None if is_destination else _run_at(place, run_options)
    if directory is None:
        if sink is not None or sink_options:
            raise ConfigError(
                "sink options go with a run; a destination has options", operation="cleanup", where=place
            )
        return _below(place, options or {}, age, dry_run=dry_run)
    found = _of_run(directory, sink, sink_options, dry_run=dry_run)
    return CleanupReport(place=directory.url, dry_run=dry_run, leftovers=tuple(found))


def _age(given: timedelta | str | None) -> timedelta | None:
    try:
        age = parse_age(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ConfigError(f"older_than: {error}", operation="cleanup") from None
    if age is not None and age < timedelta(0):
        raise ConfigError("older_than is a length of time, 0 or more", operation="cleanup")
    return age


def _run_at(place: str, run_options: Mapping[str, Any] | None) -> RunDirectory | None:
    """The run of this name or in this directory; ``None`` for the URL of anything else."""
    try:
        return open_run(place, run_options)
    except NotFoundError:
        if is_run_id(place) or run_options:
            raise
        return None


def _every_run(*, dry_run: bool) -> CleanupReport:
    leftovers: list[Leftover] = []
    untouched: list[Untouched] = []
    for document in list_runs():
        directory = RunDirectory(run_files(document["url"]))
        try:
            leftovers += _of_run(directory, None, None, dry_run=dry_run)
        except CrossdockError as error:  # named, and counted in the exit code; the other runs are cleaned up
            live = isinstance(error, LedgerError) and current_owner(directory.files) is not None
            untouched.append(Untouched(run=directory.url, reason=str(error), live=live))
    return CleanupReport(
        place=default_runs_url(), dry_run=dry_run, leftovers=tuple(leftovers), untouched=tuple(untouched)
    )


def _below(url: str, options: Mapping[str, Any], age: timedelta | None, *, dry_run: bool) -> CleanupReport:
    """What is open below a destination, whoever left it."""
    before = None if age is None else datetime.now(UTC) - age
    if is_table(url):
        from crossdock.flows.tables.staged import staged_in  # pyarrow

        rows = staged_in(url, options, before, dry_run=dry_run)
        return CleanupReport(place=url, dry_run=dry_run, leftovers=tuple(rows))
    store, prefix = open_store(url, options)
    if not store.capabilities.writable:
        raise UnsupportedError(
            "it can only be read, so nothing of ours is left there", operation="cleanup", where=url
        )
    store.check()
    judged = []
    for upload in store.list_uploads(prefix):
        if (
            prefix
            and not prefix.endswith("/")
            and upload.key != prefix
            and not upload.key.startswith(f"{prefix}/")
        ):
            continue  # logs never takes logs-2/
        judged.append((upload, _LISTED if before is None else not_old(upload, before)))
    found = _ended(store, judged, dry_run=dry_run)
    return CleanupReport(place=url, dry_run=dry_run, leftovers=tuple(found))


def _of_run(
    directory: RunDirectory,
    sink: ObjectSink | None,
    sink_options: Mapping[str, Any] | None,
    *,
    dry_run: bool,
) -> list[Leftover]:
    """A run's own, in its directory and at its destination.

    Raises:
        LedgerError: A driver is at work on it.
    """
    files = directory.files
    heartbeat = last_heartbeat(files)
    # Listed before the run is ours, so that our own writes to the directory are not among them.
    in_directory = [(upload, None) for upload in files.store.list_uploads(files.prefix)]
    if dry_run:
        demand_unowned(files)
        return [
            *_ended(files.store, in_directory, dry_run=True),
            *_at_destination(directory, heartbeat, sink, sink_options, dry_run=True),
        ]
    with Owner(files):
        return [
            *_ended(files.store, in_directory, dry_run=False),
            *_at_destination(directory, heartbeat, sink, sink_options, dry_run=False),
        ]


def _at_destination(
    directory: RunDirectory,
    heartbeat: float | None,
    sink: ObjectSink | None,
    sink_options: Mapping[str, Any] | None,
    *,
    dry_run: bool,
) -> list[Leftover]:
    document = directory.read()
    if "plan" not in document:
        return []  # it ended while it was listing: nothing was begun
    if document["asked"].get("kind") == "ingest":
        from crossdock.flows.tables.staged import staged_by_run

        return staged_by_run(document, sink_options, dry_run=dry_run)
    common: str | None = None
    until = datetime.fromisoformat(document["updated"])
    if heartbeat is not None:
        until = max(until, datetime.fromtimestamp(heartbeat, UTC))
    for shard in _announced(directory):
        until = max(until, shard.until or until)
        for key in shard.intents:
            common = key if common is None else common_prefix(common, key)
    if common is None:
        return []
    store = (sink or rebuilt_sink(document["asked"], sink_options)).store
    store.check()
    open_now: dict[str, list[Upload]] = {}
    for upload in store.list_uploads(common):
        open_now.setdefault(upload.key, []).append(upload)
    if not open_now:
        return []
    judged = [
        (upload, not_ours(upload, announced, until))
        for shard in _announced(directory)
        for key, announced in shard.intents.items()
        for upload in open_now.get(key, ())
    ]
    return _ended(store, judged, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Announced:
    """What one shard's records say: by destination key when an upload was announced, and the last record's time."""

    intents: Mapping[str, datetime]
    until: datetime | None


def _announced(directory: RunDirectory) -> Iterator[_Announced]:
    """Shard by shard; the ledger and, where there are intents, the manifest are read. Memory: one shard."""
    manifest, shards = directory.manifest, directory.shards()
    for number, each in read_records(directory.files):
        records = list(each)
        shard = next((shard for shard in shards if shard.number == number), None)  # both are in order
        if shard is None:
            raise LedgerError(f"there is no shard {number}", operation="read ledger", where=directory.url)
        times = intents_of(records)
        until = max((record.time for record in records if record.time is not None), default=None)
        rows = manifest.rows(shard.part, shard.start, shard.stop) if times else ()
        intents = {row.destination: times[row.number] for row in rows if row.number in times}
        yield _Announced(intents, until)


def _ended(
    store: ObjectStore, judged: Iterable[tuple[Upload, str | None]], *, dry_run: bool
) -> list[Leftover]:
    """Abort each upload that nothing speaks for; several at a time, told in the order given."""

    def end(one: tuple[Upload, str | None]) -> Leftover:
        upload, reason = one
        fate = Fate.KEPT if reason is not None else Fate.REMOVABLE if dry_run else Fate.REMOVED
        if fate is Fate.REMOVED:
            try:
                store.abort(upload)
            except CrossdockError as error:
                fate, reason = Fate.FAILED, str(error)
        return Leftover(
            store=store.url, key=upload.key, id=upload.id, begun=upload.begun, fate=fate, reason=reason or ""
        )

    with ThreadPoolExecutor(_AT_A_TIME, "crossdock-cleanup") as pool:
        return list(pool.map(end, judged))
