"""What an output says of where it came from: which versions of which objects, by which recipe. So it is recognised later.

Beside the bytes, in user metadata, where the store has that; where it has not (a directory, SFTP), in a small object of its own
below ``_crossdock/convert/``, which counts only for exactly the version it was written for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.small_objects import Place
from crossdock.errors import NotFoundError, UnsupportedError
from crossdock.flows.planning.rows import Row
from crossdock.model import NO_METADATA, Metadata, ObjectInfo, Version
from crossdock.ports import ObjectStore

__all__ = ["Mark", "inputs_digest", "keep_mark", "mark_of", "marked"]

FIELD = "crossdock"
NOTES = "_crossdock/convert/"
_FORMAT = "1"
_NOTE_BYTES = 65_536
_LEFT_OUT_MOST = 100
"""Numbers that fit into the user metadata of every store (2 KiB on S3) beside what others keep there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an output was made of.

    Attributes:
        inputs: ``inputs_digest`` of the objects whose rows are in it.
        run_id: The run that wrote it.
        left_out: Places, from 0, of objects among those of its unit whose rows are not in it, because they could not be read.
    """

    inputs: str
    run_id: str
    left_out: tuple[int, ...] = ()

    def text(self) -> str:
        """As it is kept; short, ASCII."""
        left = ",".join(map(str, self.left_out)) or "-"
        return f"{_FORMAT} {self.inputs} {self.run_id} {left}"

    @staticmethod
    def parsed(text: str | None) -> Mark | None:
        """The other way round; ``None`` for what is no mark of this format."""
        words = (text or "").split(" ")
        if len(words) != len((_FORMAT, "inputs", "run", "left")) or words[0] != _FORMAT:
            return None
        left = () if words[3] == "-" else tuple(words[3].split(","))
        if not all(each.isdecimal() for each in left):
            return None
        return Mark(inputs=words[1], run_id=words[2], left_out=tuple(map(int, left)))

    def is_same_attempt(self, other: Mark) -> bool:
        """Whether both are of one run, and of the same objects by the same recipe."""
        return self.run_id == other.run_id and self.inputs == other.inputs

    @property
    def fits(self) -> bool:
        """Whether it is short enough to be kept."""
        return len(self.left_out) <= _LEFT_OUT_MOST


def inputs_digest(rows: Iterable[Row], recipe: str) -> str:
    """Equal for the same versions of the same objects, in the same order, by the same recipe. Pure."""
    made = hashlib.sha256(recipe.encode())
    for row in rows:
        info = row.source
        version = info.version
        # A version that is weak, or none, goes with the time of change; a strong one is enough, and a copy may change times.
        weak = version.is_weak or not version
        modified = info.modified.isoformat() if weak and info.modified is not None else None
        known: list[Any] = [row.name, info.size, version.etag, version.generation, modified]
        made.update(json.dumps(known, ensure_ascii=True).encode() + b"\n")
    return made.hexdigest()[:32]


def marked(metadata: Metadata | None, mark: Mark, store: ObjectStore) -> Metadata:
    """The output's metadata, as far as the store has such fields: what it cannot hold is no loss, for no source had it."""
    can = store.capabilities.metadata_fields
    given = metadata or NO_METADATA
    kept = {name: getattr(given, name) for name in Metadata.FIELDS if name in can}
    return Metadata(**kept, user={FIELD: mark.text()} if "user" in can else {})


def mark_of(store: ObjectStore, prefix: str, there: ObjectInfo) -> Mark | None:
    """What an object that is there says of itself; one request where the store has no user metadata, else none."""
    if "user" in store.capabilities.metadata_fields:
        return Mark.parsed((there.metadata or NO_METADATA).user.get(FIELD))
    try:
        name = there.key[len(prefix) :]
        data = Place(store, prefix).get(_note(name), limit_bytes=_NOTE_BYTES)
        kept = json.loads(data)
        same = Version(**kept["version"]) == there.version and kept["size"] == there.size
        return Mark.parsed(kept["mark"]) if same and kept["name"] == name else None
    except (NotFoundError, UnsupportedError, ValueError, KeyError, TypeError):
        return None  # nothing that can be believed: the output is made again


def keep_mark(store: ObjectStore, prefix: str, written: ObjectInfo, mark: Mark) -> None:
    """Write the mark where the store has no user metadata; nothing where it has."""
    if "user" in store.capabilities.metadata_fields:
        return
    name = written.key[
        len(prefix) :
    ]  # a place below the destination may be opened with another root the next time
    kept = {
        "name": name,
        "size": written.size,
        "version": {"etag": written.version.etag, "generation": written.version.generation},
        "mark": mark.text(),
    }
    Place(store, prefix).put(_note(name), json.dumps(kept).encode())


def _note(name: str) -> str:
    return f"{NOTES}{hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}.json"
