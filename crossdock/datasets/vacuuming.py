"""What killed processes left below a dataset's prefix, deleted: only what is named as ours and listed by no batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from crossdock.datasets.state import State, batch_key, batch_of, found_state, owner_of, put_state
from crossdock.errors import PreconditionError
from crossdock.ports import ObjectStore

__all__ = ["Vacuumed", "vacuum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """What was deleted, and what of its kind was left because it may be somebody's work."""

    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    young: int = 0


def vacuum(store: ObjectStore, prefix: str, *, older_than: timedelta) -> Vacuumed:
    """See ``DatasetSink.vacuum``.

    Objects are listed before any state is read: an attempt writes its state before its first object, so every object that was
    listed has a state that knows its attempt, now or in the past.
    """
    sizes: dict[str, int] = {}
    batches = []
    for page in store.list(prefix):
        for info in page:
            key = info.key[len(prefix) :]
            if (batch := batch_of(key)) is not None:
                batches.append(batch)
            if owner_of(key) is not None:
                sizes[key] = info.size or 0
    uploads = []
    if store.capabilities.multipart or store.capabilities.staged_puts:
        uploads = [each for each in store.list_uploads(prefix) if owner_of(each.key[len(prefix) :])]
    known = _Known(store, prefix, datetime.now(UTC) - older_than)
    for batch in batches:
        known.ask(batch)
    doomed = [key for key in sorted(sizes) if known.is_left_over(key)]
    ended = [each for each in uploads if known.is_left_over(each.key[len(prefix) :])]
    for key in doomed:
        store.delete(prefix + key)
    for upload in ended:
        store.abort(upload)
    known.forget()
    return Vacuumed(
        objects=len(doomed),
        bytes=sum(sizes[key] for key in doomed),
        uploads=len(ended),
        young=known.young,
    )


class _Known:
    """The batches that left-over objects may belong to, each asked for once; old attempts are taken over."""

    def __init__(self, store: ObjectStore, prefix: str, before: datetime) -> None:
        self._store = store
        self._prefix = prefix
        self._before = before
        self._states: dict[str, State | None] = {}
        self._keys: dict[str, frozenset[str]] = {}
        self.young = 0

    def is_left_over(self, key: str) -> bool:
        """Whether no batch lists it, and nobody is at work on it."""
        batch, attempt = owner_of(key) or ("", "")
        state = self.ask(batch)
        if state is not None and state.attempt == attempt:
            self.young += 1
            return False
        return key not in self._keys[batch]

    def ask(self, batch: str) -> State | None:
        """A batch as it stands, without an old attempt."""
        if batch not in self._states:
            found = self._taken_over(found_state(self._store, self._prefix, batch))
            self._states[batch] = found
            self._keys[batch] = found.keys if found else frozenset()
        return self._states[batch]

    def _taken_over(self, state: State | None) -> State | None:
        """The batch without an attempt that died; as it is while the attempt may live."""
        if state is None or state.attempt is None or state.modified is None or state.modified > self._before:
            return state
        try:
            return put_state(self._store, self._prefix, replace(state, attempt=None), before=state)
        except PreconditionError:  # it lives after all, or somebody else began
            return found_state(self._store, self._prefix, state.batch)

    def forget(self) -> None:
        """Delete the states of batches that never were committed and are nobody's work any more."""
        for state in self._states.values():
            if state is not None and state.attempt is None and state.committed is None:
                try:
                    self._store.delete(self._prefix + batch_key(state.batch), version=state.version)
                except PreconditionError:
                    continue  # somebody began it anew
