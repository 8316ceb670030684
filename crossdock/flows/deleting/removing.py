"""Deleting many objects, each only in the version that was observed, and accounting for every one.

Shared by what deletes: ``sync`` at the destination, ``move`` at the source. A look just before each deletion is the
caller's: it says why an object has to stay after all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossdock.errors import CrossdockError, LedgerError, NotFoundError, PreconditionError, UnsupportedError
from crossdock.events import Note, Observer, ignore
from crossdock.flows.deleting.doomed import Doomed, Fate, Journal, Removed
from crossdock.flows.questions.limits import NO_LIMITS, Limits
from crossdock.flows.runs.ownership import Owner
from crossdock.model import ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["RemovalReport", "delete_observed", "removal_report", "remove"]

CONCURRENCY = 64
_SHOWN = 20

Look = Callable[[Doomed], str | None]
"""Why an object has to stay, or ``None``; may raise, which counts as a failure. Called from several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalReport:
    """Deletions in numbers: ``planned = deleted + changed + kept + failed + pending``.

    ``changed`` were replaced since they were observed and stay; ``kept`` stay because of what was seen just before.
    ``unconditional`` of the deleted were looked at just before, because the store cannot delete one version only.
    ``not_begun`` says why nothing was deleted at all, ``limited`` which limit stopped it midway. ``examples`` are the first that stay, with the reason.
    """

    planned: int = 0
    planned_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    changed: int = 0
    kept: int = 0
    failed: int = 0
    unconditional: int = 0
    not_begun: str = ""
    limited: str = ""
    examples: tuple[Removed, ...] = ()

    @property
    def pending(self) -> int:
        """What has no result yet."""
        return self.planned - self.deleted - self.changed - self.kept - self.failed

    @property
    def ok(self) -> bool:
        """Whether everything that was to be deleted is."""
        return self.deleted == self.planned and not self.not_begun

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return {
            "planned": self.planned,
            "planned_bytes": self.planned_bytes,
            "deleted": self.deleted,
            "deleted_bytes": self.deleted_bytes,
            "changed": self.changed,
            "kept": self.kept,
            "failed": self.failed,
            "pending": self.pending,
            "unconditional": self.unconditional,
            "not_begun": self.not_begun,
            "limited": self.limited,
            "examples": [
                {"key": each.key, "fate": each.fate.value, "reason": each.reason, "hint": each.hint}
                for each in self.examples
            ],
        }


def remove(
    store: ObjectStore,
    journal: Journal,
    owner: Owner,
    look: Look,
    *,
    concurrency: int = CONCURRENCY,
    observer: Observer = ignore,
    stop: Callable[[], None] = lambda: None,
    limits: Limits = NO_LIMITS,
) -> RemovalReport:
    """Delete what the journal lists and has no final result for; failures of an earlier attempt are tried again.

    Several at a time, in no order; one that fails, fails alone. Requests: those of ``look``, one DELETE, and a ``stat``
    where the store or the server cannot delete one version only. Interrupted, it calls ``stop``, so that looks which take long end,
    waits for what is in flight and records it. Of ``limits`` the deadline and the failures count, those of the deletions
    alone; what one of them stops is pending.

    Raises:
        LedgerError: The journal cannot be read or written, or another driver took the run over.
        KeyboardInterrupt: What was deleted is recorded.
    """
    about = journal.about()
    if about is None:
        raise LedgerError("there is no list of what is to be deleted", operation="delete", where=store.url)
    ended = _ended(journal, about)
    left = about["planned"] - sum(ended)
    if left > 0:
        observer(Note(text=f"deleting {left:,} objects of {store.url}"))
    flying: set[Future[Removed]] = set()
    failed, reached = 0, None
    with ThreadPoolExecutor(concurrency, "crossdock-delete") as pool:
        try:
            for doomed in journal.doomed(about["parts"]):
                if ended[doomed.number]:
                    continue
                reached = limits.reached(failed=failed, copied_bytes=0, now=datetime.now(UTC))
                if reached is not None:
                    break
                flying.add(pool.submit(_removed, store, doomed, look))
                if len(flying) >= 2 * concurrency:
                    failed += _collect(flying, journal, owner)
            while flying:
                _collect(flying, journal, owner)
        except BaseException:
            stop()
            raise
        finally:
            _record_rest(flying, journal)
    if reached is not None:
        observer(Note(text=f"stopped deleting: {reached}"))
    return replace(removal_report(journal), limited=reached or "")


def _ended(journal: Journal, about: Mapping[str, Any]) -> bytearray:
    """By number, 1 for what has a final result. Memory: a byte for each on the list."""
    ended = bytearray(about["numbers"])
    for removed in journal.results():
        ended[removed.number] |= removed.is_final
    return ended


def _record_rest(flying: set[Future[Removed]], journal: Journal) -> None:
    """Begin nothing more, wait for what is in flight, and write down how it ended."""
    for each in flying:
        each.cancel()
    for each in wait(flying).done:
        if not each.cancelled():
            journal.record(each.result())
    journal.flush()


def _collect(flying: set[Future[Removed]], journal: Journal, owner: Owner) -> int:
    """Wait for the next results, record them and take them out; how many of them failed."""
    done, _ = wait(flying, return_when=FIRST_COMPLETED)
    failed = 0
    for each in done:
        flying.discard(each)
        removed = each.result()
        failed += removed.fate is Fate.FAILED
        journal.record(removed)
    owner.demand()
    return failed


def removal_report(journal: Journal, *, not_begun: str = "") -> RemovalReport:
    """What a journal says, whoever wrote it; an empty report if there is no list.

    Of several results of one object the one that is final counts, else the last.
    """
    about = journal.about()
    if about is None:
        return RemovalReport(not_begun=not_begun)
    sums = _Sums(about["numbers"])
    for removed in journal.results():
        sums.add(removed)
    return sums.report(planned=about["planned"], planned_bytes=about["planned_bytes"], not_begun=not_begun)


class _Sums:
    """Adds up results; memory is a reference an object, and the examples."""

    def __init__(self, numbers: int) -> None:
        self._fates: list[Fate | None] = [None] * numbers
        self._examples: dict[int, Removed] = {}
        self._unconditional = self._deleted_bytes = 0

    def add(self, removed: Removed) -> None:
        if self._fates[removed.number] in (Fate.DELETED, Fate.CHANGED):
            return  # a crash lost this result, and a later attempt found the same
        self._fates[removed.number] = removed.fate
        self._examples.pop(removed.number, None)
        if removed.fate is Fate.DELETED:
            self._deleted_bytes += removed.size
            self._unconditional += removed.unconditional
        elif len(self._examples) < _SHOWN:
            self._examples[removed.number] = removed

    def report(self, **fields: Any) -> RemovalReport:
        counts = Counter(self._fates)
        return RemovalReport(
            deleted=counts[Fate.DELETED],
            deleted_bytes=self._deleted_bytes,
            changed=counts[Fate.CHANGED],
            kept=counts[Fate.KEPT],
            failed=counts[Fate.FAILED],
            unconditional=self._unconditional,
            examples=tuple(self._examples[number] for number in sorted(self._examples)),
            **fields,
        )


def _removed(store: ObjectStore, doomed: Doomed, look: Look) -> Removed:
    """Bring one object to its end. Raises nothing: a failure is a result."""

    def ended(fate: Fate, reason: str = "", hint: str = "", *, unconditional: bool = False) -> Removed:
        return Removed(
            number=doomed.number,
            key=doomed.info.key,
            size=doomed.info.size or 0,
            fate=fate,
            reason=reason,
            hint=hint,
            unconditional=unconditional,
        )

    try:
        reason = look(doomed)
        if reason is not None:
            return ended(Fate.KEPT, reason)
        return ended(Fate.DELETED, unconditional=delete_observed(store, doomed.info))
    except PreconditionError as error:
        return ended(Fate.CHANGED, f"replaced since it was observed: {error.cause or error}")
    except CrossdockError as error:
        return ended(Fate.FAILED, str(error), error.hint)
    except Exception as error:  # one poison object fails alone, whatever it makes a library raise
        return ended(Fate.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}")


def delete_observed(store: ObjectStore, observed: ObjectInfo) -> bool:
    """Delete an object, if it still is what was observed; one that is gone already is fine.

    Returns:
        Whether that was without a condition: the store cannot demand a version, so the object was compared just before, and one
        written between the two would be lost.

    Raises:
        PreconditionError: It is another version.
    """
    if observed.version:
        try:
            store.delete(observed.key, version=observed.version)
        except UnsupportedError:
            pass  # it cannot demand this; whether it can delete at all is seen below
        else:
            return False
    try:
        there = store.stat(observed.key)
    except NotFoundError:
        return False
    if not _same_state(there, observed):
        raise PreconditionError(
            "the object is not what was observed", operation="delete", where=store.url, key=observed.key
        )
    store.delete(observed.key)
    return True


def _same_state(there: ObjectInfo, observed: ObjectInfo) -> bool:
    if there.size != observed.size or there.digests.conflict(observed.digests) is not None:
        return False
    if observed.modified is not None and there.modified is not None and there.modified != observed.modified:
        return False
    return not observed.version or not there.version or there.version == observed.version
