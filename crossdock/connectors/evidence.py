"""What a copy proves: the level it reached, in a number and in words; what must be reached; and reading back for more.

Levels are CONTRACT section 2. Pure but for ``read_back``. What the source published was compared before (``published``);
here it meets what the destination checked or publishes.
"""

from __future__ import annotations

from crossdock.connectors.digests import Hasher
from crossdock.connectors.published import Published
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import IntegrityError, StrictError, UnprovenError
from crossdock.model import Digests, ObjectInfo, Verification, Version
from crossdock.ports import Capabilities, ObjectStore

__all__ = ["demand", "demand_strict", "expect", "foresee", "judge", "read_back", "weaknesses"]

_BY_COST = ("crc32c", "crc64nvme", "md5", "sha256")
_NO_CONDITIONS = "the destination has no conditional writes"
_NO_PIN = "the source cannot be pinned to a version"
_NO_CHECK = "the destination checks no digest"


def judge(
    known: Published, result: ObjectInfo, computed: Digests, size: int, sink: Capabilities
) -> tuple[Verification, str]:
    """The level reached, and why in words.

    Raises:
        IntegrityError: The destination publishes other digests, or another size, than what was sent.
    """
    if result.size is not None and result.size != size:
        raise IntegrityError(
            f"the destination holds {result.size} of {size} bytes", operation="commit", key=result.key
        )
    expected = computed or known.source.digests  # a copy inside the service computes nothing
    conflict = result.digests.conflict(expected)
    if conflict is not None:
        raise IntegrityError(
            f"the destination publishes another {conflict} than what was sent",
            operation="commit",
            key=result.key,
        )
    arrived = result.digests.common(expected) or tuple(sorted(_checked(sink) & computed.as_dict().keys()))
    if arrived and known.proof:
        return Verification.V2, f"source {known.proof}, destination {arrived[0]}"
    if arrived:
        return Verification.V1, f"destination {arrived[0]}; {known.gap}"
    return Verification.V0, "length; the destination publishes no digest"


def _checked(sink: Capabilities) -> frozenset[str]:
    return sink.put_checks | sink.complete_checks


def foresee(
    known: Published, computed: Digests, store: ObjectStore, options: TransferOptions, *, place: str
) -> None:
    """Refuse to commit what cannot reach the required level: called when all bytes have passed and nothing is visible.

    Raises:
        UnprovenError: It cannot; nothing was written.
    """
    if options.wanted is Verification.V3:
        return  # reading both ends again reaches everything, or fails
    sink = store.capabilities
    level, words = Verification.V0, _NO_CHECK
    if (_checked(sink) | sink.publishes) & computed.as_dict().keys():
        level, words = (Verification.V2, "") if known.proof else (Verification.V1, known.gap)
    if level < options.required:
        raise _unproven(level, words, options, place, "nothing was written")


def expect(known: Published, options: TransferOptions, *, place: str) -> None:
    """Refuse to read what cannot be proven: called before the bytes, where all is known that will be.

    Raises:
        UnprovenError: The source publishes nothing to compare with, and that is required; nothing was written.
    """
    if options.wanted is Verification.V3 or known.has_digest or known.parts:
        return
    if options.required > Verification.V1:
        raise _unproven(Verification.V1, known.gap, options, place, "nothing was written")


def demand(level: Verification, words: str, options: TransferOptions, *, place: str) -> None:
    """Refuse to count as copied what was committed and reached less than required; ``foresee`` leaves few of these.

    Raises:
        UnprovenError: It did; the object is at the destination.
    """
    if level < options.required:
        raise _unproven(level, words, options, place, "the object was written, but does not count")


def _unproven(
    level: Verification, words: str, options: TransferOptions, place: str, state: str
) -> UnprovenError:
    hint = "--verify v3 reads both ends again" if options.required is Verification.V2 else ""
    return UnprovenError(
        f"{level.name} is all that can be proven, {options.required.name} is required: {words}; {state}",
        operation="verify",
        where=place,
        hint=hint,
    )


def weaknesses(source: Capabilities | None, version: Version | None, sink: Capabilities) -> tuple[str, ...]:
    """In words, where the promise takes a weaker form between these ends; pure.

    Args:
        source: Of the store the object comes from; ``None`` for a stream from nowhere, which needs no pin.
        version: Of the object; ``None`` before any is known.
        sink: Of the destination.
    """
    found = []
    if not (sink.create_if_absent and sink.replace_if_match):
        found.append(_NO_CONDITIONS)
    if source is not None and (
        not source.pinned_reads or (version is not None and (not version or version.is_weak))
    ):
        found.append(_NO_PIN)
    if not _checked(sink) | sink.publishes:
        found.append(_NO_CHECK)
    return tuple(found)


def demand_strict(found: tuple[str, ...], options: TransferOptions, *, place: str) -> None:
    """Refuse a weaker form, if ``strict`` was asked for.

    Raises:
        StrictError: There is one.
    """
    if options.strict and found:
        raise StrictError(
            "; ".join(found),
            operation="verify",
            where=place,
            hint="without strict it is copied all the same, and the receipt says so",
        )


def read_back(
    known: Published,
    words: str,
    *,
    source: ObjectStore | None,
    sink: ObjectStore,
    written: ObjectInfo,
    computed: Digests,
) -> tuple[Verification, str]:
    """Read the destination again, and the source too if it published nothing that was compared: then both ends agree.

    Requests: one whole read of the destination, and one of the source at most. A stream from nowhere cannot be read
    again: what is proven of it is what was sent.

    Raises:
        IntegrityError: One of them does not hold the bytes that were sent.
        PreconditionError: One of them was replaced meanwhile.
    """
    expected = computed or known.source.digests
    name = next((each for each in _BY_COST if each in expected.as_dict()), _BY_COST[0])
    again = f"destination read back: {name}"
    if source is not None and (not known.proof or name not in expected.as_dict()):
        read = _digest_again(source, known.source.key, known.source.version, known.source.size, name)
        if name in expected.as_dict():
            _demand_equal(read, expected, source, known.source.key, "source")
        expected = read
        again = f"source and destination read again: {name}"
    held = _digest_again(sink, written.key, written.version, written.size, name)
    _demand_equal(held, expected, sink, written.key, "destination")
    return Verification.V3, f"{again}; {words}"


def _digest_again(store: ObjectStore, key: str, version: Version, size: int | None, name: str) -> Digests:
    hasher = Hasher([name])
    reader = store.read(key, version=version)
    try:
        for chunk in reader:
            hasher.update(chunk)
    finally:
        reader.close()
    if size is not None and hasher.size != size:
        raise IntegrityError(
            f"{hasher.size} of {size} bytes were read again", operation="verify", where=store.url, key=key
        )
    return hasher.digests()


def _demand_equal(read: Digests, expected: Digests, store: ObjectStore, key: str, end: str) -> None:
    if not read.common(expected) or read.conflict(expected) is not None:
        raise IntegrityError(
            f"the {end}, read again, does not hold the bytes that were sent",
            operation="verify",
            where=store.url,
            key=key,
        )
