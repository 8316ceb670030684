"""A name that was given and cannot be taken: it passes through the plan and becomes a failure of its own."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.model import ObjectInfo

__all__ = ["NO_SUCH_OBJECT", "REPLACED", "Missing"]

NO_SUCH_OBJECT = "the list names it, and the source has no object of this name"
REPLACED = "the object was replaced since the list was made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(ObjectInfo):
    """No object, and why not. Its size is ``None``."""

    why: str = NO_SUCH_OBJECT
