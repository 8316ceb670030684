"""Plain values, containers and objects made of them in canonical form, and where everything else is written."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import math
import operator
import re
import struct
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath, PureWindowsPath
from typing import Any, Final

from crossdock.combine.caching.fingerprint.canonical import Canonical, class_name
from crossdock.model import Receipt
from crossdock.options import Secret
from crossdock.tasks import Task

__all__ = ["write"]

_FOREIGN = frozenset({"numpy", "pandas", "pyarrow", "polars"})
# What says which object was committed; how long it took, and after how many retries, does not.
_RECEIPT_FIELDS: Final = ("source", "destination", "key", "size", "version", "source_version", "digests")


def write(out: Canonical, value: Any) -> None:
    """Write any value.

    Raises:
        ConfigError: It has no canonical form.
    """
    known = _EXACT.get(type(value))
    if known is not None:
        known(out, value)
    else:
        _add_other(out, value)


def _double(number: float) -> bytes:
    return struct.pack(">d", math.nan if math.isnan(number) else number)


def _add_int(out: Canonical, value: int) -> None:
    out.record("int", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _add_memory(out: Canonical, value: memoryview) -> None:
    out.text("memoryview", f"{value.format} {value.shape}")
    if value.c_contiguous:
        out.record("bytes", value)
    else:
        out.record("bytes", value.tobytes())


def _add_datetime(out: Canonical, value: dt.datetime) -> None:
    """Wall clock and offset; the zone too, because days are added differently in it, but UTC is UTC."""
    offset = value.utcoffset()
    zone = getattr(value.tzinfo, "key", "") if offset is not None else ""
    wall = value.replace(tzinfo=None, fold=0).isoformat(timespec="microseconds")
    shift = "" if offset is None else str(offset // dt.timedelta(microseconds=1))
    out.text("datetime", f"{wall} {shift} {'' if zone in ('UTC', 'Etc/UTC') else zone}")


def _add_time(out: Canonical, value: dt.time) -> None:
    offset = value.utcoffset()
    shift = "" if offset is None else str(offset // dt.timedelta(microseconds=1))
    zone = "" if value.tzinfo is None else getattr(value.tzinfo, "key", "?")
    out.text(
        "time", f"{value.replace(tzinfo=None, fold=0).isoformat(timespec='microseconds')} {shift} {zone}"
    )


def _add_dict(out: Canonical, value: Mapping[Any, Any]) -> None:
    with out.once(value) as entered:
        if entered is not None:
            out.refuse(value, "contains itself")
        _add_items(out, value)


def _add_items(out: Canonical, value: Mapping[Any, Any]) -> None:
    def write(part: Canonical, key: Any, item: Any) -> None:
        with part.at(f"[{key!r}]" if isinstance(key, str | int) else "[...]"):
            part.add(key)
            part.add(item)

    out.unordered("dict", (functools.partial(write, key=key, item=item) for key, item in value.items()))


def _add_sequence(tag: str) -> Callable[[Canonical, Any], None]:
    def write(out: Canonical, value: Any) -> None:
        with out.once(value) as entered:
            if entered is not None:
                out.refuse(value, "contains itself")
            out.several(tag, value, len(value))

    return write


def _add_set(tag: str) -> Callable[[Canonical, Any], None]:
    def write(out: Canonical, value: Any) -> None:
        out.unordered(tag, (functools.partial(Canonical.add, value=each) for each in value))

    return write


def _add_namespace(out: Canonical, value: types.SimpleNamespace) -> None:
    with out.once(value) as entered:
        if entered is not None:
            out.refuse(value, "contains itself")
        out.named("namespace", vars(value).items())


def _add_receipt(out: Canonical, value: Receipt) -> None:
    out.named("receipt", ((name, getattr(value, name)) for name in _RECEIPT_FIELDS))


def _add_pattern(out: Canonical, value: re.Pattern[Any]) -> None:
    out.several("pattern", (value.pattern, value.flags), 2)


def _add_reduced(out: Canonical, value: Any) -> None:
    """``itemgetter`` and its like say what they are made of when they are pickled."""
    out.text("operator", type(value).__name__)
    out.several("made of", value.__reduce__()[1:], len(value.__reduce__()) - 1)


def _add_code(out: Canonical, value: Any) -> None:
    from crossdock.combine.caching.fingerprint.code import add_callable

    add_callable(out, value)


_EXACT: dict[type, Callable[[Canonical, Any], None]] = {
    type(None): lambda out, _: out.record("None"),
    type(...): lambda out, _: out.record("..."),
    bool: lambda out, value: out.record("bool", b"\1" if value else b"\0"),
    int: _add_int,
    float: lambda out, value: out.record("float", _double(value)),
    complex: lambda out, value: out.record("complex", _double(value.real) + _double(value.imag)),
    str: lambda out, value: out.text("str", value),
    bytes: lambda out, value: out.record("bytes", value),
    bytearray: lambda out, value: out.record("bytearray", value),
    memoryview: _add_memory,
    Decimal: lambda out, value: out.text("Decimal", str(value)),
    Fraction: lambda out, value: out.several("Fraction", (value.numerator, value.denominator), 2),
    uuid.UUID: lambda out, value: out.record("UUID", value.bytes),
    dt.datetime: _add_datetime,
    dt.date: lambda out, value: out.text("date", value.isoformat()),
    dt.time: _add_time,
    dt.timedelta: lambda out, value: out.text(
        "timedelta", f"{value.days} {value.seconds} {value.microseconds}"
    ),
    list: _add_sequence("list"),
    tuple: _add_sequence("tuple"),
    collections.deque: _add_sequence("deque"),
    dict: _add_dict,
    set: _add_set("set"),
    frozenset: _add_set("frozenset"),
    range: lambda out, value: out.several("range", (value.start, value.stop, value.step), 3),
    slice: lambda out, value: out.several("slice", (value.start, value.stop, value.step), 3),
    types.SimpleNamespace: _add_namespace,
    types.MappingProxyType: _add_dict,
    re.Pattern: _add_pattern,
    operator.itemgetter: _add_reduced,
    operator.attrgetter: _add_reduced,
    operator.methodcaller: _add_reduced,
    Secret: lambda out, _: out.record("secret"),  # never part of a key, not even as a digest
    Receipt: _add_receipt,
    types.FunctionType: _add_code,
    types.BuiltinFunctionType: _add_code,
    types.MethodType: _add_code,
    types.MethodDescriptorType: _add_code,
    types.WrapperDescriptorType: _add_code,
    types.MethodWrapperType: _add_code,
    types.ModuleType: lambda out, value: out.text("module", value.__name__),
    functools.partial: _add_code,
    type: _add_code,
}

_BUILTIN = (bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)


def _add_other(out: Canonical, value: Any) -> None:
    """Everything whose exact type is not in the table."""
    kind = type(value)
    own = getattr(kind, "__crossdock_fingerprint__", None)
    if own is not None and not isinstance(value, type):
        with out.once(value) as entered:
            out.text("own", class_name(kind) if entered is None else f"again {entered}")
            if entered is None:
                out.add(own(value))
    elif kind.__module__.partition(".")[0] in _FOREIGN:
        from crossdock.combine.caching.fingerprint.data import add_data

        add_data(out, value)
    elif isinstance(value, enum.Enum):
        out.text("enum", class_name(kind))
        out.add(value.value if isinstance(value, enum.Flag) else value.name)
    elif isinstance(value, PurePath):
        out.text("windows path" if isinstance(value, PureWindowsPath) else "path", str(value))
    elif isinstance(value, dt.tzinfo) and (isinstance(value, dt.timezone) or hasattr(value, "key")):
        out.text("zone", str(getattr(value, "key", value)))
    elif isinstance(value, type | Task) or hasattr(value, "__wrapped__"):
        _add_code(out, value)
    else:
        _add_object(out, value)


def _add_object(out: Canonical, value: Any) -> None:
    kind = type(value)
    with out.once(value) as entered:
        if entered is not None:
            out.refuse(value, "contains itself")
        if dataclasses.is_dataclass(kind):
            names = [each.name for each in dataclasses.fields(kind)]
        elif hasattr(kind, "__attrs_attrs__"):
            names = [each.name for each in kind.__attrs_attrs__]
        else:
            _add_subclass(out, value)
            return
        missing = [name for name in names if not hasattr(value, name)]
        if missing:
            out.refuse(value, f"has no value for its field {missing[0]!r}")
        out.text("object", class_name(kind))
        out.named("fields", ((name, getattr(value, name)) for name in names))


def _add_subclass(out: Canonical, value: Any) -> None:
    """A named tuple, or another class derived from a plain one: the class, what it holds, and its own attributes."""
    kind = type(value)
    base = next((each for each in (*_BUILTIN, *_DATES) if isinstance(value, each)), None)
    if base is None:
        why = "has no canonical form to hash"
        if isinstance(value, Iterator) or hasattr(value, "read") or hasattr(value, "__arrow_c_stream__"):
            why = "is a stream, which reading it for its hash would use up"
        out.refuse(value, why)
    out.text("derived", class_name(kind))
    if base is dict:
        if isinstance(value, collections.defaultdict):
            out.add(value.default_factory)
        _add_items(out, value)
    elif base is tuple or base is list:
        out.several(base.__name__, iter(value), len(value))
    elif base in (set, frozenset):
        _add_set(base.__name__)(out, value)
    else:
        _EXACT[base](out, value)
    out.named("attributes", getattr(value, "__dict__", {}).items())


_DATES = (dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, Fraction, uuid.UUID)
