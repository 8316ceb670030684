"""Whether two objects hold the same bytes, by the cheapest evidence that decides, and which evidence that was.

In this order: sizes; digests of the listings; digests both ends tell when asked; the sizes of the parts, where all they
publish is S3's ``md5(md5s)-N``; the bytes, where an end is on this machine's own disk or ``download`` asks for it. What
is left is equal in size and no more is known.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from crossdock.connectors.digests import Hasher, multipart_etag
from crossdock.connectors.published import part_count
from crossdock.errors import CrossdockError, NotFoundError, PreconditionError
from crossdock.flows.planning.merging import Pair
from crossdock.flows.planning.rows import same_bytes
from crossdock.model import ObjectInfo
from crossdock.ports import Chunk, ObjectStore

__all__ = ["Checked", "Comparison", "How", "Sign", "first_difference", "from_listings"]

_HASHABLE = ("crc32c", "crc64nvme", "md5", "sha256")  # cheapest first
_OWN_DISK = ("file://", "memory://")  # reading there costs no request and no traffic


class Sign(enum.Enum):
    """How one name stands at the two ends; rclone's signs."""

    SAME = "="
    MISSING_ON_DST = "+"
    MISSING_ON_SRC = "-"
    DIFFERS = "*"
    ERROR = "!"


class How(enum.Enum):
    """What decided that two objects are the same or not."""

    DIGEST = "digest"
    MULTIPART_ETAG = "multipart etag"
    BYTES = "bytes"
    SIZE = "size"
    NONE = ""  # nothing was compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One name, compared. ``reason`` says in words what was found; ``size`` is of the source where it is there."""

    name: str
    sign: Sign
    how: How = How.NONE
    reason: str = ""
    size: int | None = None


def from_listings(pair: Pair) -> Checked | None:
    """What two listings decide by themselves; ``None`` if more must be asked. Pure."""
    here, there = pair.source, pair.sink
    if there is None:
        return _of(pair, Sign.MISSING_ON_DST, How.NONE, "missing at the destination")
    if here is None:
        return _of(pair, Sign.MISSING_ON_SRC, How.NONE, "missing at the source")
    if here.size is not None and there.size is not None and here.size != there.size:
        return _of(pair, Sign.DIFFERS, How.SIZE, _sizes(here, there))
    verdict, name = same_bytes(here.digests, there.digests)
    # A listing's MD5 may be an ETag that only looks like one: it proves equal bytes, and is asked about else.
    if verdict is None or (verdict is False and name == "md5"):
        return None
    return _by_digest(pair, name, same=verdict)


class Comparison:
    """Compares pairs that listings could not decide. Thread-safe; opens nothing by itself.

    Memory: two chunks a pair where bytes are read. Requests: a ``stat`` of each end, pinned to what was listed; then, only
    where those do not decide, as the module says.

    Args:
        source: Where the first of each pair is.
        sink: Where the second is.
        download: Read both ends and compare every byte, also where digests are equal.
        require_digest: Count a pair of which only the size is known as an error.
    """

    def __init__(
        self, source: ObjectStore, sink: ObjectStore, *, download: bool = False, require_digest: bool = False
    ) -> None:
        self._source = source
        self._sink = sink
        self._download = download
        self._require_digest = require_digest
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Read nothing more: pairs that are being read end within a chunk, as errors. Called from any thread."""
        self._stopped.set()

    def judge(self, pair: Pair) -> Checked:
        """Bring one pair to its verdict. Raises nothing: an error is a verdict of its own."""
        try:
            return self._judged(pair)
        except NotFoundError as error:
            return _of(pair, Sign.ERROR, How.NONE, f"deleted since it was listed: {error}")
        except PreconditionError as error:
            return _of(pair, Sign.ERROR, How.NONE, f"replaced since it was listed: {error}")
        except CrossdockError as error:
            return _of(pair, Sign.ERROR, How.NONE, str(error))

    def _judged(self, pair: Pair) -> Checked:
        known = from_listings(pair)
        if known is not None and (known.sign is not Sign.SAME or not self._download):
            return known
        here = _End(self._source, _there(pair.source), self._stopped)
        there = _End(self._sink, _there(pair.sink), self._stopped)
        if self._download:
            return _by_bytes(pair, here, there)
        here, there = here.asked(), there.asked()
        if here.info.size is not None and there.info.size is not None and here.info.size != there.info.size:
            return _of(pair, Sign.DIFFERS, How.SIZE, _sizes(here.info, there.info))
        verdict, name = same_bytes(here.info.digests, there.info.digests)
        if verdict is not None:
            return _by_digest(pair, name, same=verdict)
        if (found := _by_part_sizes(pair, here, there)) is not None:
            return found
        if (found := _by_reading(pair, here, there)) is not None:
            return found
        return self._by_size(pair, here.info, there.info)

    def _by_size(self, pair: Pair, here: ObjectInfo, there: ObjectInfo) -> Checked:
        if here.size is None or there.size is None:
            return _of(pair, Sign.ERROR, How.NONE, "an end tells neither a size nor a digest: use download")
        if self._require_digest:
            reason = "equal in size, and the ends share no digest: use download, or do not require one"
            return _of(pair, Sign.ERROR, How.SIZE, reason)
        return _of(pair, Sign.SAME, How.SIZE, "equal in size; the ends share no digest")


class _End(NamedTuple):
    store: ObjectStore
    info: ObjectInfo
    stopped: threading.Event

    @property
    def is_own_disk(self) -> bool:
        return self.store.url.startswith(_OWN_DISK)

    def asked(self) -> _End:
        """The same object, as the store tells it when asked: an MD5 is one then."""
        return self._replace(info=self.store.stat(self.info.key, version=self.info.version))

    def parts(self, *, every: bool) -> tuple[int, ...] | None:
        """The sizes of its parts, if it is known to have any and the store tells them."""
        count = part_count(self.info.digests)
        ask = getattr(
            self.store, "part_sizes", None
        )  # ports.PartSizes; a layer may pass it on by __getattr__
        if not count or ask is None:
            return None
        sizes: tuple[int, ...] | None = ask(self.info, every=every)
        return sizes

    def chunks(self) -> Generator[Chunk]:
        reader = self.store.read(self.info.key, version=self.info.version)
        try:
            for chunk in reader:
                if self.stopped.is_set():
                    raise CrossdockError("the check was stopped", operation="read", where=self.store.url)
                yield chunk
        finally:
            reader.close()


def _there(info: ObjectInfo | None) -> ObjectInfo:
    if info is None:  # pragma: no cover - from_listings() decides those
        raise NotFoundError("half a pair cannot be compared", operation="check")
    return info


def _by_part_sizes(pair: Pair, here: _End, there: _End) -> Checked | None:
    """Unequal ``md5(md5s)-N`` of equal parts prove unequal bytes; of unequal parts they prove nothing."""
    if not here.info.digests.multipart_etag or not there.info.digests.multipart_etag:
        return None
    for every in (False, True):  # the cheap answer may be a wrong guess: nothing is called different by it
        mine, theirs = here.parts(every=every), there.parts(every=every)
        if mine is None or mine != theirs:
            return None
    return _of(
        pair, Sign.DIFFERS, How.MULTIPART_ETAG, f"the md5(md5s) of {len(mine or ())} equal parts differ"
    )


def _by_reading(pair: Pair, here: _End, there: _End) -> Checked | None:
    """Read an end that is on this machine's disk, and compare with what the other publishes."""
    if here.is_own_disk and there.is_own_disk:
        return _by_bytes(pair, here, there)
    if not here.is_own_disk and not there.is_own_disk:
        return None
    near, far = (here, there) if here.is_own_disk else (there, here)
    published = far.info.digests.as_dict()
    name = next((each for each in _HASHABLE if each in published), None)
    if name is not None:
        hasher = Hasher([name])
        for chunk in near.chunks():
            hasher.update(chunk)
        return _by_digest(pair, name, same=same_bytes(hasher.digests(), far.info.digests)[0] is True)
    for every in (False, True):
        sizes = far.parts(every=every)
        if sizes is None:
            continue
        computed = _etag_of(near.chunks(), sizes)
        if computed == far.info.digests.multipart_etag:
            return _by_digest(pair, "multipart_etag", same=True)
        if every:
            return _by_digest(pair, "multipart_etag", same=False)
    return None


def _etag_of(chunks: Iterable[Chunk], sizes: Sequence[int]) -> str | None:
    """``md5(md5s)-N`` of bytes cut into parts of these sizes; ``None`` if there are more or fewer bytes."""
    md5s: list[bytes | None] = []
    hasher, left = Hasher(["md5"]), iter(sizes)
    wanted = next(left, 0)
    for chunk in chunks:
        view = memoryview(chunk)
        while view.nbytes:
            if not wanted:
                return None
            piece = view[: wanted - hasher.size]
            hasher.update(piece)
            view = view[piece.nbytes :]
            if hasher.size == wanted:
                md5s.append(hasher.digests().md5)
                hasher, wanted = Hasher(["md5"]), next(left, 0)
    return multipart_etag(md5s) if len(md5s) == len(sizes) else None


def _by_bytes(pair: Pair, here: _End, there: _End) -> Checked:
    with closing(here.chunks()) as mine, closing(there.chunks()) as theirs:
        at = first_difference(mine, theirs)
    if at is None:
        return _of(pair, Sign.SAME, How.BYTES, "every byte is the same")
    return _of(pair, Sign.DIFFERS, How.BYTES, f"the bytes differ, first at {at:,}")


def first_difference(one: Iterable[Chunk], other: Iterable[Chunk]) -> int | None:
    """Where two streams first differ, counted from 0; ``None`` if they are the same to the end. A chunk of each in memory."""
    left, right = iter(one), iter(other)
    mine, theirs = memoryview(b""), memoryview(b"")
    at = 0
    while True:
        if not mine.nbytes:
            mine = memoryview(next(left, b"")).cast("B")
        if not theirs.nbytes:
            theirs = memoryview(next(right, b"")).cast("B")
        length = min(mine.nbytes, theirs.nbytes)
        if not length:
            return None if mine.nbytes == theirs.nbytes else at
        if bytes(mine[:length]) != bytes(
            theirs[:length]
        ):  # copied, because memcmp is so much faster than views
            return at + next(i for i in range(length) if mine[i] != theirs[i])
        mine, theirs, at = mine[length:], theirs[length:], at + length


def _by_digest(pair: Pair, name: str, *, same: bool) -> Checked:
    how = How.MULTIPART_ETAG if name == "multipart_etag" else How.DIGEST
    words = "md5(md5s) of the parts" if name == "multipart_etag" else name
    return _of(
        pair, Sign.SAME if same else Sign.DIFFERS, how, f"same {words}" if same else f"{words} differs"
    )


def _of(pair: Pair, sign: Sign, how: How, reason: str) -> Checked:
    info = pair.source or pair.sink
    return Checked(
        name=pair.name, sign=sign, how=how, reason=reason, size=info.size if info is not None else None
    )


def _sizes(here: ObjectInfo, there: ObjectInfo) -> str:
    return f"{here.size:,} bytes at the source, {there.size:,} at the destination"
