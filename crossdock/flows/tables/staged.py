"""What loads left staged beside tables: a run's own, or whoever's in a database, and its removal. For ``cleanup``.

Staged rows are visible to nobody. A run whose rows were removed cannot be gone on with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.sql.database import Database
from crossdock.connectors.sql.left import LoadLeft, discard_left, loads_left
from crossdock.errors import CrossdockError, NotFoundError
from crossdock.flows.ledger.leftovers import Fate, Leftover
from crossdock.flows.tables.databases import DatabaseEnd

__all__ = ["staged_by_run", "staged_in"]

_RUN_ID = re.compile(r"(\d{8}T\d{6})-[0-9a-f]+")


def staged_by_run(
    document: Mapping[str, Any], sink_options: Mapping[str, Any] | None, *, dry_run: bool
) -> list[Leftover]:
    """What a run of ``ingest`` staged and did not publish; its owner calls.

    Args:
        document: ``run.json``.
        sink_options: On top of the options that the run kept: secrets are not kept.
        dry_run: Only say what would be removed.
    """
    load_id = document.get("learned", {}).get("load")
    if load_id is None or document["state"] == "complete":
        return []  # its publication removed what was staged; nobody has to be asked for a password
    end = DatabaseEnd.again(document["asked"]["sink"], sink_options, what="sink")
    try:
        found = [each for each in loads_left(end.database) if each.load_id == load_id]
    except NotFoundError:  # the database is gone, and with it what was staged there
        return []
    return [_ended(end.database, each, None, dry_run=dry_run) for each in found]


def staged_in(
    url: str, options: Mapping[str, Any], before: datetime | None, *, dry_run: bool
) -> list[Leftover]:
    """What is staged in a database, whoever's it is: also of loads that somebody works on at this moment.

    Args:
        url: Of the database.
        options: Of the database.
        before: Loads that were begun before this are removed; without it all are listed and kept.
        dry_run: Only say what would be removed.
    """
    end = DatabaseEnd.of(url, options, what="sink")
    return [
        _ended(end.database, each, _reason(each, before), dry_run=dry_run)
        for each in loads_left(end.database)
    ]


def _reason(left: LoadLeft, before: datetime | None) -> str | None:
    """Why a load is kept, if it is."""
    begun = _begun(left)
    if before is None:
        return "only listed: say older_than to remove what others left"
    if begun is None:
        return "its name does not tell when it was begun"
    return None if begun <= before else "it was begun later than that"


def _begun(left: LoadLeft) -> datetime | None:
    """When, if the load has the name of its run."""
    found = _RUN_ID.fullmatch(left.load_id)
    return None if found is None else datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _ended(database: Database, left: LoadLeft, reason: str | None, *, dry_run: bool) -> Leftover:
    fate = Fate.KEPT if reason is not None else Fate.REMOVABLE if dry_run else Fate.REMOVED
    if fate is Fate.REMOVED:
        try:
            discard_left(database, left)
        except CrossdockError as error:
            fate, reason = Fate.FAILED, str(error)
    return Leftover(
        store=database.url,
        key=str(left.staging),
        id=left.load_id,
        begun=_begun(left),
        fate=fate,
        reason=reason or "",
    )
