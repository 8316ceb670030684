"""``remove``: delete one object, or what is below a prefix: listed first, shown, and then deleted in the version that was listed.

What is to be deleted is written to a temporary directory of this machine, so that what was shown is what is deleted, and
no more, however long somebody thinks about it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError
from crossdock.flows.below import objects_below
from crossdock.flows.deleting.doomed import Doomed, Journal
from crossdock.flows.deleting.removing import RemovalReport, removal_report, remove as remove_listed
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import open_source
from crossdock.flows.questions.filters import NO_FILTERS, Filters, compile_filters
from crossdock.flows.runs.directory import run_files
from crossdock.flows.runs.ownership import Owner
from crossdock.model import ObjectInfo

__all__ = ["Erasure", "remove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What a removal came to.

    Attributes:
        url: Where.
        deletions: The numbers; in a dry run, and where ``confirm`` said no, everything planned is pending.
        asked: False if ``confirm`` said no.
        dry_run: Whether nothing was to be deleted.
    """

    url: str
    deletions: RemovalReport
    asked: bool = True
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """What a command should end with: 0, 5 if something stays that was to go, 8 if it was declined."""
        if not self.asked:
            return 8
        return 0 if self.dry_run or self.deletions.ok else 5

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return {
            "url": self.url,
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
            **self.deletions.to_dict(),
        }


def remove(
    url: str,
    *,
    recursive: bool = False,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    dry_run: bool = False,
    confirm: Callable[[int, int], bool] | None = None,
    on_listed: Callable[[ObjectInfo], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Erasure:
    """Delete one object, or with ``recursive`` everything that a listing of the URL shows.

    An object that was replaced since it was listed stays, and is counted as changed; one that is gone already counts as
    deleted. Where the store cannot delete one version only, the object is looked at just before (``unconditional``). Versions that
    a bucket keeps are not touched. Killed in the middle, what was deleted is deleted; the same call again goes on.

    Memory: one part of the list (50,000 objects). Disk: some 100 bytes an object in a temporary directory, removed at the
    end. Requests: one LIST for 1,000 objects, one DELETE for each object, 64 at a time; for one object a HEAD and a DELETE.

    Args:
        url: The object, its key byte for byte, or a prefix, which ends at a slash.
        recursive: Whether a prefix is meant: the object of that very name too, if there is one.
        include: Globs over the key below the prefix; if given, only what matches one goes.
        exclude: Globs; what matches one stays, whatever ``include`` says.
        min_size: Only objects of this size or more; one whose size, or below time of change, is not known stays.
        max_size: Only objects of this size or less.
        min_age: Only objects last changed so long ago or longer, or not after this time.
        max_age: Only objects last changed so long ago or less, or not before this time.
        dry_run: Only list.
        confirm: Asked with the number of objects and of bytes before anything is deleted.
        on_listed: Called with each object that would go, in key order, while it is listed.
        options: Options of the store.

    Raises:
        ConfigError: The URL names a prefix and ``recursive`` was not given, or there are filters without it.
        NotFoundError: There is no such object, or nothing matches.
        UnsupportedError: The store can only be read.
        CrossdockError: The listing failed: then nothing is deleted.
        KeyboardInterrupt: Stopped by the user, after what was in flight.

    Example:
        >>> import crossdock as xd
        >>> sink = xd.sink("memory://erased/")
        >>> for key in ("a", "b/1", "b/2"):
        ...     _ = sink(b"1", key=key)
        >>> xd.remove("memory://erased/b/", recursive=True).deletions.deleted
        2
        >>> list(xd.source("memory://erased/").list())
        ['a']
    """
    source = open_source(url, options or {})
    filters = compile_filters(
        include, exclude, min_size=min_size, max_size=max_size, min_age=min_age, max_age=max_age
    )
    if not source.store.capabilities.writable:
        raise UnsupportedError("it can only be read", operation="delete", where=url)
    if not recursive and (filters != NO_FILTERS or not source.prefix or source.prefix.endswith("/")):
        raise ConfigError(
            "this is a prefix, of any number of objects",
            operation="delete",
            where=url,
            hint="say that you mean all of them: recursive=True, or -r",
        )
    source.store.check()
    with tempfile.TemporaryDirectory(prefix="crossdock-rm-") as place:
        files = run_files(f"file://{place}/")
        journal = Journal(files)
        listed = _listed(source, filters, on_listed) if recursive else _one(source, on_listed)
        if not journal.plan(listed):
            raise NotFoundError("nothing is there, or nothing matches", operation="delete", where=url)
        planned = removal_report(journal)
        if dry_run:
            return Erasure(url=url, deletions=planned, dry_run=True)
        if confirm is not None and not confirm(planned.planned, planned.planned_bytes):
            return Erasure(url=url, deletions=planned, asked=False)
        with Owner(files) as owner:
            return Erasure(url=url, deletions=remove_listed(source.store, journal, owner, _goes))


def _goes(_: Doomed) -> None:
    """Nothing but its version speaks for an object."""


def _one(source: ObjectSource, on_listed: Callable[[ObjectInfo], None] | None) -> Iterator[Doomed]:
    info = source.store.stat(source.prefix)
    if on_listed is not None:
        on_listed(info)
    yield Doomed(number=0, name=info.key, info=info)


def _listed(
    source: ObjectSource, filters: Filters, on_listed: Callable[[ObjectInfo], None] | None
) -> Iterator[Doomed]:
    base = source.prefix if not source.prefix or source.prefix.endswith("/") else f"{source.prefix}/"
    number = 0
    for info in objects_below(source):
        name = info.key[len(base) :] if info.key.startswith(base) else info.key.rpartition("/")[2]
        if filters.decide(name, info).taken:
            if on_listed is not None:
                on_listed(info)
            yield Doomed(number=number, name=name, info=info)
            number += 1
