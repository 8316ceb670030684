"""What has to hold before anything is deleted. Pure, but for where a link on this machine's disk leads."""

from __future__ import annotations

import os
from dataclasses import dataclass

from crossdock.errors import ConfigError, UnsafeError
from crossdock.ports import ObjectStore

__all__ = ["DEFAULT_LIMIT", "DeleteLimit", "demand_apart", "limit_of"]

_PER_CENT = 100
_ALWAYS_ALLOWED = 10  # a handful is not a catastrophe, however small the destination


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLimit:
    """How many objects may be deleted at most: so many, or such a share of the destination, whichever is less."""

    count: int | None = None
    percent: float | None = None
    at_least: int = 0  # allowed whatever the share says

    def allowed(self, there: int) -> int:
        """The number for a destination of ``there`` objects."""
        bounds = [there]
        if self.count is not None:
            bounds.append(self.count)
        if self.percent is not None:
            bounds.append(max(self.at_least, int(there * self.percent / 100)))
        return min(bounds)

    def __str__(self) -> str:
        texts = [] if self.count is None else [f"{self.count:,} objects"]
        if self.percent is not None:
            texts.append(f"{self.percent:g} %")
        return " and ".join(texts)

    def demand(self, doomed: int, there: int, *, where: str) -> None:
        """Refuse to delete more than allowed.

        Args:
            doomed: How many are to be deleted.
            there: How many the destination holds.
            where: The destination, for the error.

        Raises:
            UnsafeError: They are more.
        """
        if doomed > self.allowed(there):
            raise UnsafeError(
                f"{doomed:,} of {there:,} objects would be deleted, more than the limit of {self}; nothing was done",
                operation="delete",
                where=where,
                hint=f"look at them with a dry run; if they shall go, allow it: --max-delete {doomed}",
            )


DEFAULT_LIMIT = DeleteLimit(count=1_000, percent=25, at_least=_ALWAYS_ALLOWED)


def limit_of(given: int | str | None) -> DeleteLimit:
    """A limit as users write it: a number, ``"25%"``, or ``None`` for the default of 1,000 objects and 25 %, but 10 always.

    Raises:
        ConfigError: It is neither.
    """
    if given is None:
        return DEFAULT_LIMIT
    text = str(given).strip()
    share = text.endswith("%")
    try:
        value = float(text[:-1]) if share else int(text)
    except ValueError:
        value = -1
    if value < 0 or (share and value > _PER_CENT) or isinstance(given, bool):
        raise ConfigError(
            f"max_delete is a number of objects, or a share such as 25%, not {given!r}", operation="delete"
        )
    return DeleteLimit(percent=float(value)) if share else DeleteLimit(count=int(value))


def demand_apart(
    one: tuple[ObjectStore, str], other: tuple[ObjectStore, str], *, operation: str, names: tuple[str, str]
) -> None:
    """Refuse two places of which one is within the other: what goes to one would be read from, or deleted in, the other.

    Args:
        one: Store and prefix.
        other: Likewise.
        operation: For the error.
        names: What the two are, for the error.

    Raises:
        UnsafeError: They overlap.
    """
    here, there = _place(*one), _place(*other)
    if here[0] == there[0] and (here[1].startswith(there[1]) or there[1].startswith(here[1])):
        inner, outer = names if here[1].startswith(there[1]) else (names[1], names[0])
        raise UnsafeError(
            f"the {inner} is within the {outer}; nothing was done",
            operation=operation,
            where=f"{one[0].url}/{one[1]}",
            hint="choose places that do not contain each other",
        )


def _place(store: ObjectStore, prefix: str) -> tuple[str, str]:
    """The service, and the place in it as a text of which every inner place's text is a longer one."""
    url = store.url.rstrip("/")
    endpoint = store.endpoint.partition("#")[0]  # behind # an endpoint may tell credentials apart
    if url.startswith("file://"):
        path = os.path.realpath(f"{url.removeprefix('file://')}/{prefix}")
        return "file", f"{path.rstrip('/')}/"
    if endpoint.rstrip("/") == url:  # its own root is its only name, and may be within another's
        endpoint = url.partition("://")[0]
    return endpoint, f"{url}/{prefix}" if not prefix or prefix.endswith("/") else f"{url}/{prefix}/"
