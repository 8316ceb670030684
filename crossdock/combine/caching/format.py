"""Values as typed JSON, and back: what a cache may keep in a bucket that others write to.

Reading runs no code: nothing is unpickled, nothing imported, no constructor called. Plain JSON stands for itself, everything
else is an object with ``$``, its type. A dataclass, named tuple, attrs class or enum is kept by its name and its fields, and
restored only if that class is loaded already. What this cannot hold is refused when it is written. The choice is
docs/decisions/0009.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
import enum
import functools
import math
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal, DecimalException
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from crossdock.errors import ConfigError

__all__ = ["UnreadableError", "decode", "encode"]

_FOREIGN = frozenset({"numpy", "pandas", "pyarrow", "polars"})
_BIG_INT = 1 << 2_000  # larger ones are written in hexadecimal: Python limits the digits of decimal text


class UnreadableError(Exception):
    """Text that is not what ``encode`` writes, or names a class that is not (any more) what it was."""


def encode(value: Any, *, place: str = "the result") -> Any:
    """The value as something ``json.dumps`` takes.

    Raises:
        ConfigError: It, or a part of it, cannot be kept; the text says which.
    """
    kind = type(value)
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    if kind is list:
        return [encode(each, place=f"{place}[{number}]") for number, each in enumerate(value)]
    if kind is dict:
        return _encode_dict(value, place)
    if kind in _SEQUENCES:
        return {"$": kind.__name__, "v": [encode(each, place=f"{place}[...]") for each in value]}
    if kind.__module__.partition(".")[0] in _FOREIGN:
        from crossdock.combine.caching.frames import encode_data

        return encode_data(value, place)
    if isinstance(value, PurePath):
        return {"$": _path_kind(value), "v": str(value)}
    if isinstance(value, enum.Enum):
        content = {"name": value.name, "value": value.value if isinstance(value, enum.Flag) else None}
        return {"$": "enum", "class": _class_name(kind, place), **content}
    fields = _fields(kind)
    if fields is None:
        raise _refused(
            value,
            place,
            "return plain values, receipts, dataclasses, tables or frames, or a URL to what was made",
        )
    return _encode_fields(value, kind, fields, place)


def _refused(value: Any, place: str, hint: str) -> ConfigError:
    kind = type(value)
    return ConfigError(
        f"{place}, a {kind.__module__}.{kind.__qualname__}, cannot be kept in a cache",
        operation="cache",
        hint=hint,
    )


def _encode_dict(value: dict[Any, Any], place: str) -> Any:
    if all(type(name) is str for name in value) and "$" not in value:
        return {name: encode(each, place=f"{place}[{name!r}]") for name, each in value.items()}
    pairs = [
        [encode(name, place=f"a key of {place}"), encode(each, place=f"{place}[{name!r}]")]
        for name, each in value.items()
    ]
    return {"$": "dict", "v": pairs}


def _encode_fields(value: Any, kind: type, fields: tuple[str, ...], place: str) -> Any:
    beside = set(getattr(value, "__dict__", ())) - set(fields)
    missing = [name for name in fields if not hasattr(value, name)]
    if beside or missing:
        odd = min(beside) if beside else missing[0]
        raise _refused(
            value,
            place,
            f"{odd!r} is {'an attribute beside its fields' if beside else 'a field without a value'}",
        )
    content = {name: encode(getattr(value, name), place=f"{place}.{name}") for name in fields}
    return {"$": "object", "class": _class_name(kind, place), "fields": content}


def _fields(kind: type) -> tuple[str, ...] | None:
    """Field names of a dataclass, attrs class or named tuple."""
    if dataclasses.is_dataclass(kind):
        return tuple(each.name for each in dataclasses.fields(kind))
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(each.name for each in kind.__attrs_attrs__)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    return None


def _class_name(kind: type, place: str) -> str:
    """A class by its name, which must lead back to it."""
    if _found(kind.__module__, kind.__qualname__) is not kind:
        raise ConfigError(
            f"{place} is a {kind.__qualname__}, a class that no import finds as {kind.__module__}.{kind.__qualname__}",
            operation="cache",
            hint="define it at the top of a module",
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def _found(module: str, qualname: str) -> Any:
    """What a loaded module has under a name; nothing is imported."""
    return functools.reduce(
        lambda holder, name: getattr(holder, name, None), qualname.split("."), sys.modules.get(module)
    )


def decode(text: Any) -> Any:
    """The value back.

    Raises:
        UnreadableError: It is not what ``encode`` writes, or a class is not what it was.
    """
    if isinstance(text, list):
        return [decode(each) for each in text]
    if not isinstance(text, dict):
        return text
    if "$" not in text:
        return {name: decode(each) for name, each in text.items()}
    try:
        return _decode_typed(text["$"], text)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        binascii.Error,
        DecimalException,
    ) as error:
        raise UnreadableError(f"not a kept {text['$']!r}: {type(error).__name__}: {error}") from error


def _decode_typed(kind: Any, text: dict[str, Any]) -> Any:
    if kind in _TYPED:
        return _TYPED[kind](text["v"])
    if kind in _SEQUENCE_NAMES:
        return _SEQUENCE_NAMES[kind](decode(each) for each in text["v"])
    if kind == "dict":
        return {decode(name): decode(each) for name, each in text["v"]}
    if kind == "enum":
        found = _loaded(text["class"], enum.Enum)
        return found(text["value"]) if issubclass(found, enum.Flag) else found.__members__[text["name"]]
    if kind == "object":
        return _decode_object(text)
    if kind in ("arrow", "schema", "array", "pandas", "polars"):
        from crossdock.combine.caching.frames import decode_data

        return decode_data(text)
    raise UnreadableError(f"{kind!r} is no kind of value")


def _loaded(name: str, base: type = object) -> Any:
    module, _, qualname = name.partition(":")
    found = _found(module, qualname)
    if not isinstance(found, type) or not issubclass(found, base):
        raise UnreadableError(f"the class {name} is not loaded here")
    return found


def _decode_object(text: dict[str, Any]) -> Any:
    """An object from its fields, past its constructor."""
    kind = _loaded(text["class"])
    fields = _fields(kind)
    if fields is None or set(fields) != set(text["fields"]):
        raise UnreadableError(f"the class {text['class']} has other fields than when this was kept")
    values = {name: decode(each) for name, each in text["fields"].items()}
    if issubclass(kind, tuple):
        return tuple.__new__(kind, (values[name] for name in fields))
    made = object.__new__(kind)
    for name in fields:
        object.__setattr__(made, name, values[name])
    return made


def _encode_float(value: float) -> Any:
    return value if math.isfinite(value) else {"$": "float", "v": repr(value)}


def _encode_int(value: int) -> Any:
    return value if -_BIG_INT < value < _BIG_INT else {"$": "int", "v": hex(value)}


def _path_kind(value: PurePath) -> str:
    if isinstance(value, Path):
        return "path"
    return "windows path" if isinstance(value, PureWindowsPath) else "pure path"


def _encode_time(value: dt.time) -> Any:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise ConfigError(
            f"a time of day in {value.tzinfo}, which has no offset of its own, cannot be kept in a cache",
            operation="cache",
        )
    return {"$": "time", "v": value.isoformat()}


def _encode_zoned(value: dt.datetime) -> Any:
    """Wall clock and, for a zone with a name, that name; its offset otherwise."""
    zone = getattr(value.tzinfo, "key", None)
    if zone is None:
        return {"$": "datetime", "v": value.isoformat()}
    return {"$": "zoned", "v": [value.replace(tzinfo=None).isoformat(), zone, value.fold]}


def _decode_zoned(text: list[Any]) -> dt.datetime:
    import zoneinfo

    wall, zone, fold = text
    return dt.datetime.fromisoformat(wall).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)


def _decode_span(text: list[int]) -> dt.timedelta:
    days, seconds, microseconds = text
    return dt.timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _typed(name: str, written: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {"$": name, "v": written(value)}


_PLAIN: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: lambda value: value,
    int: _encode_int,
    float: _encode_float,
    complex: _typed("complex", lambda value: [value.real.hex(), value.imag.hex()]),
    bytes: _typed("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: _typed("bytearray", lambda value: base64.b64encode(value).decode()),
    Decimal: _typed("Decimal", str),
    Fraction: _typed("Fraction", str),
    uuid.UUID: _typed("UUID", str),
    dt.datetime: _encode_zoned,
    dt.date: _typed("date", lambda value: value.isoformat()),
    dt.time: _encode_time,
    dt.timedelta: _typed("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
}
_TYPED: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "complex": lambda text: complex(float.fromhex(text[0]), float.fromhex(text[1])),
    "bytes": _bytes_of,
    "bytearray": lambda text: bytearray(_bytes_of(text)),
    "Decimal": Decimal,
    "Fraction": Fraction,
    "UUID": uuid.UUID,
    "datetime": dt.datetime.fromisoformat,
    "zoned": _decode_zoned,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": _decode_span,
    "path": Path,
    "pure path": PurePosixPath,
    "windows path": PureWindowsPath,
}
_SEQUENCES = (tuple, set, frozenset)
_SEQUENCE_NAMES: dict[str, Callable[[Any], Any]] = {each.__name__: each for each in _SEQUENCES}
