"""``remove_run``: a run's directory deleted, its own objects and nothing else, in an order that never leaves what looks whole.

First ``run.json`` says that the run is being removed, then everything else goes, and ``run.json`` last: killed at any
instant there is a whole run, one that says what it is and can be removed again, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdock.connectors.registry import split_url
from crossdock.errors import CrossdockError, UnsafeError
from crossdock.flows.cleaning import cleanup
from crossdock.flows.runs.directory import REMOVING, REPORT, REPORT_PAGE, RUN, RunDirectory, open_run
from crossdock.flows.runs.ownership import NAME as LEASE, Owner

__all__ = ["RunRemoval", "remove_run"]

_FOLDERS = ("manifest/", "ledger/", "deletes/", "stop/")
_AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRemoval:
    """What was removed: objects of the run; ``foreign`` names in its directory are not a run's and stay, the first of them."""

    url: str
    objects: int
    foreign: tuple[str, ...] = ()


def remove_run(
    run: str,
    *,
    force: bool = False,
    sink_options: Mapping[str, Any] | None = None,
    run_options: Mapping[str, Any] | None = None,
) -> RunRemoval:
    """Delete a run's record: manifest, ledger, reports. What it moved is not touched.

    Killed in the middle it is a run that says so; the same call again goes on. Requests: one LIST for 1,000 of its objects
    and one DELETE each; without ``force`` those of a ``cleanup`` that only looks.

    Args:
        run: The run's id, or the URL of its directory.
        force: Also if uploads of it are open at the destination, or nobody can say: what they are is forgotten with it.
        sink_options: Options of the destination that the run did not keep, to look for open uploads.
        run_options: Options for the store of the run's directory.

    Raises:
        NotFoundError: There is no such run.
        UnsafeError: It has open uploads, or it cannot be found out.
        LedgerError: A driver is at work on it, whatever ``force`` says.
    """
    directory = open_run(run, run_options, also_removed=True)
    document = directory.read()
    if not force and document["state"] != REMOVING:
        _demand_nothing_open(directory, sink_options, run_options)
    files = directory.files
    with Owner(files):
        if document["state"] != REMOVING:
            directory.update(state=REMOVING)
        removed = _remove_all(directory)
    version = files.get_json(RUN)[1]
    files.delete(RUN, version)
    _remove_folders(directory)
    return RunRemoval(url=directory.url, objects=removed + 1, foreign=tuple(_some_left(directory)))


def _demand_nothing_open(
    directory: RunDirectory,
    sink_options: Mapping[str, Any] | None,
    run_options: Mapping[str, Any] | None,
) -> None:
    if "plan" not in directory.read():
        return
    hint = "remove them first: crossdock cleanup; or remove the run all the same: --force"
    try:
        found = cleanup(directory.url, dry_run=True, sink_options=sink_options, run_options=run_options)
    except CrossdockError as error:
        if error.operation == "own run":
            raise
        raise UnsafeError(
            f"whether uploads of it are open cannot be found out: {error}",
            operation="remove run",
            where=directory.url,
            hint=hint,
        ) from error
    if found.removed:
        raise UnsafeError(
            f"{len(found.removed):,} uploads of it are open, and only its ledger says that they are its own",
            operation="remove run",
            where=directory.url,
            hint=hint,
        )


def _remove_all(directory: RunDirectory) -> int:
    """Everything but what says that this is a run, and whose; how many objects."""
    files = directory.files
    names = [REPORT, REPORT_PAGE]
    removed = 0
    with ThreadPoolExecutor(_AT_A_TIME, "crossdock-remove-run") as pool:
        for folder in _FOLDERS:
            for _ in pool.map(files.delete, files.names(folder)):
                removed += 1
        for name in names:
            removed += files.exists(name)
            files.delete(name)
    return removed


def _some_left(directory: RunDirectory) -> Iterator[str]:
    for index, name in enumerate(directory.files.names()):
        if index == 5:
            return
        if name != LEASE:
            yield name


def _remove_folders(directory: RunDirectory) -> None:
    """On a disk an empty directory would stay; one that is not empty, or not ours to remove, does."""
    if split_url(directory.url)[0].name != "local":
        return
    root = Path(directory.url.removeprefix("file://"))
    for folder in (*_FOLDERS, ""):
        with suppress(OSError):
            (root / folder).rmdir()
