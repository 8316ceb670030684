"""A store against a dict: hypothesis draws sequences of calls, and after each one the store must hold what the dict holds.

Sequences find what single checks do not: a condition against a version of two writes ago, an upload completed over a
deleted key, a copy of a copy. The same sequences are drawn every time (no database, no clock), so a failure repeats; hypothesis
prints the sequence that failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crossdock.errors import NotFoundError, PreconditionError, RangeError, UnsupportedError
from crossdock.model import (
    ABSENT,
    ANY,
    NO_METADATA,
    ByteRange,
    Condition,
    Metadata,
    ObjectInfo,
    Upload,
    Version,
)
from crossdock.ports import ObjectStore
from crossdock.testing.hostile import FULL_METADATA
from crossdock.testing.suite.base import SuiteBase, content, keys_in
from crossdock.testing.suite.writing import kept_by

__all__ = ["MachineChecks"]

KEYS = ("a", "b/c", "b/\u00e9 ?#%2F", "a//b", "b-c")  # few, so that calls meet what others left
SIZES = (0, 1, 500, 5_000)
MANY = (
    64 * 1024
)  # parts up to this size are sent in twos and threes; larger ones alone, as the last may be short

keys = st.integers(0, len(KEYS) - 1)
bodies = st.builds(content, st.sampled_from(SIZES), st.integers(0, 3))
metadatas = st.sampled_from((NO_METADATA, FULL_METADATA))
demands = st.sampled_from(("any", "absent", "current", "stale"))


@dataclass
class _Held:
    """What the dict says is under a key."""

    data: bytes
    metadata: Metadata
    version: Version


@dataclass
class _Open:
    """An upload under way: what its parts hold so far, and whether its key was written since it began."""

    upload: Upload
    metadata: Metadata
    parts: list[Any] = field(default_factory=list)
    data: bytes = b""
    overtaken: bool = False


class StoreMachine(RuleBasedStateMachine):
    """Rules are the verbs of ``ports.ObjectStore``; ``suite`` tells what this store cannot do."""

    store: ClassVar[ObjectStore]
    suite: ClassVar[SuiteBase]
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, _Held] = {}
        self.versions: dict[str, list[Version]] = {}
        self.uploads: list[_Open] = []
        self.staged: set[str] = set()  # keys with parts that were sent since the key was last written
        self.keys = self.suite.usable_keys([key for key in KEYS if self.store.refusal(key) is None])
        for key in keys_in(self.store):
            self.store.delete(key)
        for upload in [*self.store.list_uploads()] if self.store.capabilities.multipart else []:
            self.store.abort(upload)

    @initialize(metadata=metadatas)
    def fill(self, metadata: Metadata) -> None:
        """Begin with objects that have a past."""
        for number, key in enumerate(self.keys[:3]):
            for seed in range(2):
                data = content(500, seed=10 * number + seed)
                self.wrote(key, data, metadata, self.store.put(key, data, metadata=metadata))

    def key(self, number: int) -> str:
        """One of the keys this store can hold."""
        return self.keys[number % len(self.keys)]

    def demand(self, key: str, kind: str) -> tuple[Condition, type[Exception] | None]:
        """A condition, and what must come of it."""
        held, can = self.model.get(key), self.store.capabilities
        if kind == "absent":
            wrong = None if held is None else PreconditionError
            return ABSENT, wrong if can.create_if_absent else UnsupportedError
        known = [version for version in self.versions.get(key, []) if version]
        current = held.version if held is not None else None
        if kind == "current":
            known = [version for version in known if version == current]
        elif kind == "stale":
            known = [version for version in known if version != current]
        if kind == "any" or not known:
            return ANY, None
        wrong = None if known[-1] == current else PreconditionError
        return Condition(version=known[-1]), wrong if can.replace_if_match else UnsupportedError

    def wrote(self, key: str, data: bytes, metadata: Metadata, info: ObjectInfo) -> None:
        """A commit succeeded: the dict holds it too."""
        assert (key, len(data)) == (info.key, info.size)
        self.model[key] = _Held(data, metadata, info.version)
        self.versions.setdefault(key, []).append(info.version)
        self.same(self.model[key], self.store.stat(key))
        self.staged.discard(key)
        for each in self.uploads:
            each.overtaken = each.overtaken or each.upload.key == key

    def outcome(self, wrong: type[Exception] | None, call: Callable[[], ObjectInfo]) -> ObjectInfo | None:
        """The call's answer, or ``None`` if it failed as it must."""
        if wrong is None:
            return call()
        try:
            call()
        except wrong:
            return None
        raise AssertionError(f"{wrong.__name__} was due")

    @rule(number=keys, data=bodies, metadata=metadatas)
    def put_anyhow(self, number: int, data: bytes, metadata: Metadata) -> None:
        """Write whole, whatever is there."""
        self.put(number, data, metadata, "any")

    @rule(number=keys, data=bodies, metadata=metadatas, kind=demands)
    def put(self, number: int, data: bytes, metadata: Metadata, kind: str) -> None:
        """Write whole, on any condition."""
        key = self.key(number)
        condition, wrong = self.demand(key, kind)
        try:
            info = self.outcome(
                wrong, lambda: self.store.put(key, data, metadata=metadata, condition=condition)
            )
        except PreconditionError:
            assert condition.absent
            assert key in self.staged
            assert self.suite.parts_belong_to_keys
            return
        if info is not None:
            self.wrote(key, data, metadata, info)

    @rule(number=keys, pinned=demands)
    def delete(self, number: int, pinned: str) -> None:
        """Remove, perhaps only in one version; what is not there is fine."""
        key = self.key(number)
        condition, _ = self.demand(key, "any" if pinned == "absent" else pinned)
        held = self.model.get(key)
        fits = condition.is_any or held is None or held.version == condition.version
        try:
            self.store.delete(key, version=condition.version)
        except PreconditionError:
            assert not fits or held is None
        except UnsupportedError:
            assert not condition.is_any
        else:
            assert fits
            self.model.pop(key, None)

    @rule(number=keys, kind=demands)
    def read(self, number: int, kind: str) -> None:
        """Read whole and ask, perhaps pinned to a version."""
        key = self.key(number)
        held, known = self.model.get(key), [v for v in self.versions.get(key, []) if v]
        if held is None:
            for use in (self.store.stat, self.store.read):
                _must_raise(NotFoundError, lambda use=use: use(key))  # type: ignore[misc]
            return
        if kind == "stale" and self.store.capabilities.pinned_reads:
            older = [version for version in known if version != held.version]
            if older:
                _must_raise(PreconditionError, lambda: self.store.read(key, version=older[-1]).read_all())
                _must_raise(PreconditionError, lambda: self.store.stat(key, version=older[-1]))
        pin = held.version if kind == "current" and self.store.capabilities.pinned_reads else Version()
        assert held.data == bytes(self.store.read(key, version=pin).read_all())
        self.same(held, self.store.stat(key, version=pin))

    def same(self, held: _Held, info: ObjectInfo) -> None:
        """What ``stat`` says is what the dict holds."""
        assert len(held.data) == info.size
        assert held.version == info.version
        if self.suite.machine_metadata:
            assert kept_by(self.store, held.metadata) == info.metadata

    @precondition(lambda self: self.store.capabilities.ranged_reads)
    @rule(number=keys, start=st.sampled_from((0, 1, 499, 500, 4_999)), size=st.sampled_from((1, 400, 9_999)))
    def read_range(self, number: int, start: int, size: int) -> None:
        """Read a range, which may be cut at the end or lie behind it."""
        key = self.key(number)
        held, wanted = self.model.get(key), ByteRange(start, start + size)
        if held is None:
            _must_raise(NotFoundError, lambda: self.store.read(key, wanted).read_all())
        elif start >= len(held.data):
            _must_raise(RangeError, lambda: self.store.read(key, wanted).read_all())
        else:
            assert held.data[start : start + size] == bytes(self.store.read(key, wanted).read_all())

    @rule(
        prefix=st.sampled_from(("", "b", "b/", "b/c", "nothing")),
        after=st.sampled_from((None, "a", "b/c", "b/c!")),
    )
    def list(self, prefix: str, after: str | None) -> None:
        """List below any text, from any key on."""
        expected = [
            key
            for key in sorted(self.model, key=str.encode)
            if key.startswith(prefix) and (after is None or key.encode() > after.encode())
        ]
        assert expected == keys_in(self.store, prefix, start_after=after)

    @rule(kind=demands)
    def read_all(self, kind: str) -> None:
        """Read every key."""
        for number in range(len(self.keys)):
            self.read(number, kind)

    @precondition(lambda self: self.store.capabilities.server_side_copy)
    @rule(number=keys, to=keys, metadata=metadatas, kind=demands)
    def copy(self, number: int, to: int, metadata: Metadata, kind: str) -> None:
        """Copy inside, on any condition."""
        source, key = self.key(number), self.key(to)
        held = self.model.get(source)
        if held is None or source == key:
            return
        condition, wrong = self.demand(key, kind)
        info = self.store.stat(source)
        older = [version for version in self.versions[source] if version and version != held.version]
        if older:
            gone = replace(info, version=older[-1])
            _must_raise(PreconditionError, lambda: self.store.copy(self.store.url, source, key, info=gone))
        copied = self.outcome(
            wrong,
            lambda: self.store.copy(
                self.store.url, source, key, info=info, metadata=metadata, condition=condition
            ),
        )
        if copied is not None:
            self.wrote(key, held.data, metadata, copied)

    @precondition(lambda self: self.store.capabilities.multipart and len(self.uploads) < 3)
    @rule(target=opened, number=keys, data=bodies, count=st.integers(1, 3), metadata=metadatas)
    def begin(self, number: int, data: bytes, count: int, metadata: Metadata) -> _Open:
        """Begin an upload and send its parts; nothing becomes visible."""
        key, size = self.key(number), self.suite.part_size(self.store)
        whole = data or b"."
        if size <= MANY:
            whole = content(size, seed=7) * (count - 1) + whole[:size]
        upload = self.store.begin(key, part_size_bytes=size, metadata=metadata, size=len(whole))
        opened = _Open(upload, metadata, self.suite.put_parts(self.store, upload, whole), whole)
        self.uploads.append(opened)
        self.staged.add(key)
        return opened

    @rule(opened=consumes(opened), kind=demands)
    def complete(self, opened: _Open, kind: str) -> None:
        """Make an upload visible, on any condition; it is gone if it succeeds, and aborted if not."""
        key = opened.upload.key
        condition, wrong = self.demand(key, kind)
        self.uploads.remove(opened)
        try:
            info = self.outcome(
                wrong,
                lambda: self.store.complete(
                    opened.upload, opened.parts, size=len(opened.data), condition=condition
                ),
            )
        except NotFoundError:
            assert opened.overtaken
            assert self.suite.parts_belong_to_keys
            info = None
        if info is None:
            self.store.abort(opened.upload)
        else:
            self.wrote(key, opened.data, opened.metadata, info)

    @rule(opened=consumes(opened))
    def abort(self, opened: _Open) -> None:
        """Forget an upload, twice."""
        self.uploads.remove(opened)
        self.store.abort(opened.upload)
        self.store.abort(opened.upload)

    @invariant()
    def nothing_else_is_there(self) -> None:
        """Exactly the dict's keys are listed, each with its size and version."""
        listed = {info.key: info for page in self.store.list() for info in page}
        assert sorted(self.model) == sorted(listed)
        for key, held in self.model.items():
            assert len(held.data) == listed[key].size
            assert held.version == listed[key].version or not self.store.capabilities.pinned_reads

    def teardown(self) -> None:
        """By the back door: every key holds what the dict holds; open uploads are exactly ours."""
        for key in self.keys:
            held = self.model.get(key)
            assert (None if held is None else held.data) == self.suite.back_door(self.store, key)
        if self.store.capabilities.multipart and not self.suite.parts_belong_to_keys:
            ours = sorted((opened.upload.key, opened.upload.id) for opened in self.uploads)
            assert ours == sorted((upload.key, upload.id) for upload in self.store.list_uploads())


def _must_raise(kind: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was due")


class MachineChecks(SuiteBase):
    """The machine as one check of a store."""

    def test_a_store_is_a_dict(self, store: ObjectStore) -> None:
        """Any sequence of calls leaves the store and a dict the same; each call answers as the dict would."""
        machine = type("Machine", (StoreMachine,), {"store": store, "suite": self})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=self.machine_examples,
                stateful_step_count=self.machine_steps,
                deadline=None,
                database=None,
                derandomize=True,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink) if self.machine_shrinks else (Phase.generate,),
                suppress_health_check=[*HealthCheck],
            ),
        )
