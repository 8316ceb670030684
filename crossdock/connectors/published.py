"""What a source publishes of an object: learned before its bytes pass, compared with them before anything is committed.

Some digests cost a question. S3's reads and listings carry only the ETag, which may be the MD5, the MD5 of the MD5s of
the parts, or (encrypted with KMS or a customer's key) neither; a HEAD knows, and knows a CRC if the object has one; and the
sizes of the parts are asked for one by one. ``learn`` decides what is worth asking, ``compare`` what the answer proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossdock.connectors.digests import COMBINABLE, multipart_etag
from crossdock.errors import IntegrityError
from crossdock.model import Digests, ObjectInfo, Verification
from crossdock.ports import ObjectStore

__all__ = ["Published", "compare", "from_answer", "learn", "part_count"]

_OF_WHOLE = ("crc32c", "crc64nvme", "md5", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A source object with the digests it stands by, and what the bytes read have proven of them.

    Attributes:
        source: The object; its ``multipart_etag`` is worth comparing only with ``parts``.
        parts: The sizes of the parts it was uploaded in, if their MD5s are to be computed.
        proof: In words, the digest that the bytes read were equal to; empty if none was compared.
        gap: In words, why there is none.
        asked: Whether ``source.digests`` are what the store said when it was asked, not what an ETag looks like.
    """

    source: ObjectInfo
    parts: tuple[int, ...] = ()
    asked: bool = False
    proof: str = ""
    gap: str = "the source published no digest"

    @property
    def has_digest(self) -> bool:
        """Whether a digest of the whole object is known."""
        return any(name in self.source.digests.as_dict() for name in _OF_WHOLE)


def from_answer(answer: ObjectInfo, observed: ObjectInfo) -> Digests:
    """The digests to go by, of the answer to a read and of what was observed before, of one version.

    What is more than the form of an ETag comes first: an encrypted object's ETag looks like an MD5 and is none.
    """
    solid = _without_etag(answer).merged(_without_etag(observed))
    return solid or answer.digests or observed.digests


def part_count(digests: Digests) -> int:
    """Of how many parts a multipart ETag is; 0 without one."""
    _, _, count = (digests.multipart_etag or "").rpartition("-")
    return int(count) if count.isdigit() else 0


def learn(
    source: ObjectInfo,
    store: ObjectStore | None,
    *,
    wanted: Verification | None,
    in_parts: bool,
    again: bool = False,
) -> Published:
    """Find out what the source publishes, as far as it is worth a request.

    Requests: by default none for an object that moves in one request, and at most two for one that moves in parts (its
    state, and the size of its first part), where they are few among many and may save the CPU of an MD5. If V2 or more is
    wanted, the same for every object, and one for each part if the parts are not equal. With V0 or V1 wanted none.

    Args:
        source: As a listing, ``stat`` or a read has shown it; its version pins the questions.
        store: Where it is; ``None`` for a stream from nowhere.
        wanted: The level to go for; ``None`` for the default.
        in_parts: Whether it will move in several requests.
        again: Whether the bytes were read before and did not agree: then the part sizes are asked for one by one,
            because equal parts may have been a wrong guess.
    """
    if store is None or (wanted is not None and wanted < Verification.V2):
        return Published(source=source, gap="what the source publishes was not asked for")
    asks = in_parts if wanted is None else True
    asked_for = False
    if asks and source.version and not COMBINABLE & source.digests.as_dict().keys():
        asked = store.stat(source.key, version=source.version)
        kept = _without_etag(source)
        source = replace(
            source,
            digests=asked.digests.merged(kept),
            metadata=asked.metadata if source.metadata is None else source.metadata,
        )
        asked_for = True
    known = Published(source=source, asked=asked_for)
    count = part_count(source.digests)
    if known.has_digest or not count or source.size is None:
        return known
    if count == 1:
        return replace(known, parts=(source.size,))
    sizes = _part_sizes(source, store, every=again, thorough=wanted is not None) if asks else None
    gap = (
        "the sizes of the source's parts are not known"
        if asks
        else "the sizes of its parts were not asked for"
    )
    return replace(known, parts=sizes or (), gap=gap)


def _without_etag(source: ObjectInfo) -> Digests:
    """The digests that are more than the form of an ETag."""
    digests = source.digests
    is_etag = digests.md5 is not None and digests.md5.hex() == source.version.etag
    if digests.multipart_etag is None and not is_etag:
        return digests
    return replace(digests, multipart_etag=None, md5=None if is_etag else digests.md5)


def _part_sizes(
    source: ObjectInfo, store: ObjectStore, *, every: bool, thorough: bool
) -> tuple[int, ...] | None:
    ask = getattr(store, "part_sizes", None)  # ports.PartSizes; a layer may pass it on by __getattr__
    if ask is None:
        return None
    sizes: tuple[int, ...] | None = ask(source, every=every)
    if sizes is None and thorough and not every:
        sizes = ask(source, every=True)
    return sizes


def compare(
    known: Published, computed: Digests, stretches: Sequence[Digests], store: ObjectStore | None
) -> Published:
    """Compare the bytes read with what the source published, before anything is committed.

    Asks once more where a digest taken from an ETag does not hold: it need not be an MD5.

    Args:
        known: What was learned.
        computed: Digests of the whole.
        stretches: Digests of each of ``known.parts``.
        store: Where the source is.

    Raises:
        IntegrityError: The bytes read are not the bytes the source published.
    """
    etag = multipart_etag([each.md5 for each in stretches]) if stretches else None
    mine = replace(computed, multipart_etag=etag)
    source = known.source
    conflict = source.digests.conflict(mine)
    if conflict in ("md5", "multipart_etag") and store is not None:
        asked = store.stat(source.key, version=source.version)
        if conflict not in asked.digests.as_dict():
            source = replace(source, digests=asked.digests)
            known = replace(known, source=source, parts=(), gap="the source's ETag is no digest")
            conflict = source.digests.conflict(mine)
    if conflict is not None:
        what = f"{conflict} of its {len(stretches)} parts" if conflict == "multipart_etag" else conflict
        raise IntegrityError(
            f"the bytes read have another {what} than the source published",
            operation="read",
            where=store.url if store is not None else "",
            key=source.key,
            hint="the object is damaged at the source or on the way; read it again or restore it",
        )
    common = source.digests.common(mine)
    if not common:
        return replace(known, source=source)
    return replace(known, source=source, proof=_words(common[0], len(stretches)))


def _words(name: str, count: int) -> str:
    return f"md5(md5s) of its {count} part{'s' * (count != 1)}" if name == "multipart_etag" else name
