"""What a copy proves: digests computed while bytes passed, against what source and destination publish.

Levels are CONTRACT section 2. Pure but for two calls: asking the source again when a digest of a listing does not hold
(an ETag of 32 hex digits need not be an MD5: SSE-KMS, SSE-C), and reading the destination back when V3 is asked for.
"""

from __future__ import annotations

from dataclasses import replace

from crossdock.connectors.digests import Hasher
from crossdock.errors import IntegrityError
from crossdock.model import NO_VERSION, Digests, ObjectInfo, Verification
from crossdock.ports import Capabilities, ObjectStore

__all__ = ["check_source", "judge", "raise_to"]


def check_source(source: ObjectInfo, computed: Digests, store: ObjectStore | None) -> ObjectInfo:
    """Compare the bytes read with what the source published, before anything is committed.

    Returns the source with only those digests that it stands by.

    Raises:
        IntegrityError: The bytes read are not the bytes the source published.
    """
    conflict = source.digests.conflict(computed)
    if conflict is None:
        return source
    if store is not None and conflict == "md5":
        asked = store.stat(source.key, version=source.version)
        if asked.digests.md5 is None:
            return replace(source, digests=asked.digests)
    raise IntegrityError(
        f"the bytes read have another {conflict} than the source published",
        operation="read",
        where=store.url if store is not None else "",
        key=source.key,
        hint="the object is damaged at the source or on the way; read it again or restore it",
    )


def judge(
    source: ObjectInfo, result: ObjectInfo, computed: Digests, size: int, sink: Capabilities
) -> tuple[Verification, str]:
    """The level reached, and why in words.

    Raises:
        IntegrityError: The destination publishes other digests, or another size, than what was sent.
    """
    if result.size is not None and result.size != size:
        raise IntegrityError(
            f"the destination holds {result.size} of {size} bytes", operation="commit", key=result.key
        )
    known = computed.merged(source.digests)
    conflict = result.digests.conflict(known)
    if conflict is not None:
        raise IntegrityError(
            f"the destination publishes another {conflict} than what was sent",
            operation="commit",
            key=result.key,
        )
    checks = sink.put_checks | sink.complete_checks
    arrived = result.digests.common(known) or tuple(sorted(checks & computed.as_dict().keys()))
    left = source.digests.common(computed) or source.digests.common(result.digests)
    if arrived and left:
        return Verification.V2, f"source {left[0]}, destination {arrived[0]}"
    if arrived:
        return Verification.V1, f"destination {arrived[0]}; the source published no digest"
    return Verification.V0, "length; the destination publishes no digest"


def raise_to(
    wanted: Verification | None,
    level: Verification,
    words: str,
    *,
    store: ObjectStore,
    written: ObjectInfo,
    computed: Digests,
) -> tuple[Verification, str]:
    """Read the destination back if more was asked for than was reached for free.

    Only a read-back can add to what the commit proved; where the source publishes no digest, V2 stays out of reach and
    the level of the receipt says so.

    Raises:
        IntegrityError: The destination's bytes are not what was sent.
    """
    if wanted is None or level >= wanted:
        return level, words
    expected = computed.merged(written.digests)
    names = [name for name in ("crc32c", "crc64nvme", "md5", "sha256") if name in expected.as_dict()][:1]
    hasher = Hasher(names)
    reader = store.read(written.key, version=written.version or NO_VERSION)
    try:
        for chunk in reader:
            hasher.update(chunk)
    finally:
        reader.close()
    if not names or hasher.digests().conflict(expected) or hasher.size != written.size:
        raise IntegrityError(
            "the bytes read back are not the bytes that were sent",
            operation="verify",
            where=store.url,
            key=written.key,
        )
    return Verification.V3, f"read back: {names[0]}; {words}"
