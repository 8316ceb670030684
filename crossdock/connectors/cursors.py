"""Where an incremental read stands: one small object at any URL, changed by compare-and-set only.

A run reads the cursor, reads what is newer, and saves the greatest value it saw once what it read is safe. The save
demands that the object is in the state that was read, so of two runs that race one wins and the other is told.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from crossdock.connectors.commits import commit
from crossdock.connectors.digests import choose_digests, digest_of
from crossdock.connectors.small_objects import Place, open_place
from crossdock.errors import (
    ConfigError,
    NotFoundError,
    PreconditionError,
    RowError,
    StorageError,
    UnsupportedError,
)
from crossdock.model import ABSENT, NO_DIGESTS, NO_VERSION, Condition, Version
from crossdock.options import sealed

__all__ = ["Cursor", "Position"]

_FORMAT = 1
_LIMIT_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    place: Place
    name: str

    @property
    def shown(self) -> dict[str, Any]:
        return {"where": self.place.store.url, "key": self.place.prefix + self.name}


@dataclass(frozen=True, slots=True)
class Cursor:
    """An incremental read's place: which field of the records, which parameter of the API, and where it is kept.

    Building one opens nothing. The URL names one object, in a store that can compare and set (not every one can). Values
    are texts, numbers, or dates as text; dates of one API are compared as dates, so that offsets do not matter.

    Records whose value equals the kept one may be read again, as most APIs take the parameter as "from": write them by key.

    Args:
        url: The object.
        field: The record's field, or a path to it such as ``meta.updated_at``.
        param: The API's query parameter that takes the value.
        initial: What the first run passes; without it the first run reads everything.
        options: Of the store.
    """

    url: str
    field: str
    param: str = "since"
    initial: Any = None
    options: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.url or self.url.endswith("/"):
            raise ConfigError(
                "a cursor's URL names one object, not a prefix", operation="open", where=self.url
            )
        if self.initial is not None:
            comparable(self.initial)
        if self.options is not None:
            object.__setattr__(self, "options", sealed(dict(self.options)))

    def open(self) -> Position:
        """Read where the last run stood; one request.

        Raises:
            UnsupportedError: The store cannot compare and set.
            StorageError: It fails, or holds something else under this name.
        """
        where = self._where()
        try:
            reader = where.place.store.read(where.place.prefix + where.name)
        except NotFoundError:
            where.place.check()
            return Position(cursor=self, value=self.initial, version=NO_VERSION)
        try:
            size = reader.info.size
            data = bytes(reader.read_all()) if size is not None and size <= _LIMIT_BYTES else b""
            version = reader.info.version
        finally:
            reader.close()
        try:
            entry = _parsed(data)
            value = entry["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                "what is there is no cursor that can be read",
                operation="read the cursor",
                hint="choose another URL; or delete the object to begin anew",
                **where.shown,
            ) from error
        if entry.get("field") != self.field:
            raise StorageError(
                f"the cursor there is of the field {entry.get('field')!r}, not {self.field!r}",
                operation="read the cursor",
                hint="give every field a URL of its own",
                **where.shown,
            )
        return Position(cursor=self, value=value, version=version)

    def advance(self, place: Mapping[str, Any]) -> None:
        """Move to where an earlier read stood at its end, in this process or another (``Position.place``). Twice is fine.

        Raises:
            PreconditionError: Another run moved it since; its value stays.
        """
        found = Version(etag=place["etag"], generation=place["generation"])
        now = self.open()
        if now.value is not None and comparable(now.value) == comparable(place["value"]):
            return
        self._save(place["value"], found)

    def reset(self) -> None:
        """Forget where the last run stood. One request."""
        where = self._where()
        where.place.store.delete(where.place.prefix + where.name)

    def _where(self) -> _Where:
        parent, slash, name = self.url.rpartition("/")
        place = open_place(f"{parent}{slash}" if slash else "./", self.options or {})
        can = place.store.capabilities
        if not (can.create_if_absent and can.replace_if_match):
            raise UnsupportedError(
                "this store cannot compare and set, so two runs could undo each other's progress",
                operation="open the cursor",
                where=self.url,
                hint="keep the cursor in S3, GCS, Azure or a local directory",
            )
        return _Where(place=place, name=name)

    def _save(self, value: Any, found: Version) -> Version:
        where = self._where()
        entry = {
            "crossdock_cursor": _FORMAT,
            "field": self.field,
            "value": value,
            "saved": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        data = json.dumps(entry).encode()
        store, key = where.place.store, where.place.prefix + where.name
        digests = digest_of(
            data, choose_digests(NO_DIGESTS, store.capabilities.put_checks, store.capabilities.publishes)
        )
        condition = Condition(version=found) if found else ABSENT
        put = partial(store.put, key, data, digests=digests, condition=condition)
        try:
            return commit(put, store=store, key=key, size=len(data), digests=digests).version
        except PreconditionError as error:
            raise PreconditionError(
                "another run moved the cursor since this one read it, so this one's progress is not saved",
                operation="save the cursor",
                hint="what both read was written twice, and nothing is lost: write rows by key, or run one at a time",
                **where.shown,
            ) from error


class Position:
    """Where one read stands: what was kept when it began, and the greatest value seen since. For one thread.

    Attributes:
        value: What the cursor held, or ``initial``; the parameter of the read.
        greatest: The greatest of it and of what was seen.
    """

    def __init__(self, *, cursor: Cursor, value: Any, version: Version) -> None:
        self.cursor = cursor
        self.value = self.greatest = value
        self._version = version
        self._moved = False

    def see(self, value: Any) -> None:
        """Take note of a record's value.

        Raises:
            RowError: It cannot be compared with those before it.
        """
        try:
            if self.greatest is not None and comparable(value) <= comparable(self.greatest):
                return
            comparable(value)
        except (TypeError, ConfigError) as error:
            raise RowError(
                f"the value {value!r} of {self.cursor.field!r} cannot be compared with {self.greatest!r}",
                operation="read",
                hint="a cursor's field has values of one kind: numbers, or dates, or texts that sort as they should",
            ) from error
        self.greatest, self._moved = value, True

    def place(self) -> dict[str, Any] | None:
        """Where the read stands, as plain values for ``Cursor.advance``; ``None`` if it stands where it began."""
        if not self._moved:
            return None
        version = self._version
        return {"value": self.greatest, "etag": version.etag, "generation": version.generation}

    def save(self) -> None:
        """Keep the greatest value, if there is a new one; one request. Twice is fine.

        Raises:
            PreconditionError: Another run saved since this one read; its value stays.
        """
        if self._moved:
            self._version = self.cursor._save(self.greatest, self._version)  # noqa: SLF001 - its other half
            self._moved = False


def _parsed(data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(data)
    if entry["crossdock_cursor"] != _FORMAT:
        raise ValueError("another format")
    comparable(entry["value"])
    return entry


def comparable(value: Any) -> Any:
    """A value as it is compared: numbers as numbers, also those in texts; dates as dates; other texts as they are.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:  # noqa: PLR0124 - NaN
        return Decimal(str(value))
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{value!r} is no value of a cursor: a text or a number is", operation="read")
    if value.isascii() and value.isdecimal():
        return Decimal(value)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value
