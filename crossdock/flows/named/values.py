"""From a text to a value of a parameter's type. Pure: every function is plain values in, plain values out.

A type that a text can stand for is one of ``int``, ``float``, ``bool``, ``str``, ``date``, ``datetime``, ``Path``, a ``Literal``, a
list, tuple or mapping of such (as JSON), ``Any``, and unions of them, ``None`` among them.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

__all__ = ["is_readable", "json_value", "read_value", "text_of", "type_text"]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_LISTS = (list, Sequence, Iterable)
_MAPPINGS = (dict, Mapping)


def _as_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return word in _TRUE


def _as_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date, such as 2026-11-21") from None


def _as_datetime(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time, such as 2026-11-21T10:00:00+00:00") from None


def _as_number(kind: type[int | float]) -> Callable[[str], Any]:
    def read(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            name = "whole number" if kind is int else "number"
            raise ValueError(f"{text!r} is no {name}") from None

    return read


_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _as_number(int),
    float: _as_number(float),
    bool: _as_bool,
    date: _as_date,
    datetime: _as_datetime,
    Path: Path,
    Any: str,
}
_JSON_KINDS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}


def is_readable(kind: Any) -> bool:
    """Whether a text can stand for a value of this type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return is_readable(inner[0])
    if _is_union(origin):
        return all(each is types.NoneType or is_readable(each) for each in inner)
    if origin is Literal or kind in _READERS or kind in (*_LISTS, *_MAPPINGS, tuple) or is_typeddict(kind):
        return True
    if origin in (*_LISTS, *_MAPPINGS, tuple):
        return all(each is Ellipsis or is_readable(each) for each in inner)
    return False


def type_text(kind: Any) -> str:
    """A type as a user reads it: ``list of date``, ``int or none``, ``a|b``."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_text(inner[0])
    if _is_union(origin):
        return " or ".join("none" if each is types.NoneType else type_text(each) for each in inner)
    if origin is Literal:
        return "|".join(map(str, inner))
    if kind is Any:
        return "any"
    if origin in (*_LISTS, tuple) or kind in (*_LISTS, tuple):
        of = [each for each in inner if each is not Ellipsis]
        return f"list of {type_text(of[0])}" if len(of) == 1 and of[0] is not Any else "list"
    if origin in _MAPPINGS or kind in _MAPPINGS or is_typeddict(kind):
        return "dict"
    return getattr(kind, "__name__", str(kind))


def read_value(text: str, kind: Any) -> Any:
    """The value that a text stands for; lists and dicts are JSON.

    Raises:
        ValueError: It stands for none; the text says what was expected.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return read_value(text, inner[0])
    if _is_union(origin):
        return _of_union(text, [each for each in inner if each is not types.NoneType], kind)
    if origin is Literal:
        return _of_choices(text, inner)
    if kind in _READERS:
        return _READERS[kind](text)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is a {type_text(kind)} as JSON, and this is none: {error}") from None
    return json_value(value, kind)


def text_of(value: Any) -> str:
    """The text that stands for a value, so that ``read_value`` gives it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str)
    return "" if value is None else str(value)


def json_value(value: Any, kind: Any) -> Any:
    """What came out of JSON as a value of a type: texts become dates where the type says so, all else has to be what it is.

    Raises:
        ValueError: It is something else; the text says where.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return json_value(value, inner[0])
    if kind is Any:
        return value
    if _is_union(origin):
        if value is None and types.NoneType in inner:
            return None
        return _first([partial(json_value, value, each) for each in inner], value, kind)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, inner))}")
        return value
    if origin in (*_LISTS, tuple) or kind in (*_LISTS, tuple):
        return _as_list(value, kind, inner, as_tuple=tuple in (origin, kind))
    if origin in _MAPPINGS or kind in _MAPPINGS or is_typeddict(kind):
        return _as_mapping(value, inner[1] if len(inner) == 2 else Any)
    if kind in _JSON_KINDS:
        if not isinstance(value, _JSON_KINDS[kind]) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{value!r} is no {type_text(kind)}")
        return kind(value)
    if kind in _READERS and isinstance(value, str):
        return _READERS[kind](value)
    raise ValueError(f"{value!r} is no {type_text(kind)}")


def _as_list(value: Any, kind: Any, inner: tuple[Any, ...], *, as_tuple: bool) -> Any:
    if isinstance(value, list):
        of = next((each for each in inner if each is not Ellipsis), Any)
        made = [_inside(each, of, f"item {number}") for number, each in enumerate(value)]
        return tuple(made) if as_tuple else made
    raise ValueError(f"it is a {type_text(kind)}, not {_told(value)}")


def _as_mapping(value: Any, kind: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: _inside(each, kind, repr(name)) for name, each in value.items()}
    raise ValueError(f"it is a dict, not {_told(value)}")


def _inside(value: Any, kind: Any, where: str) -> Any:
    try:
        return json_value(value, kind)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _of_union(text: str, kinds: list[Any], kind: Any) -> Any:
    if not text and len(kinds) < len(get_args(kind)):
        return None
    if str in kinds:  # it takes every text, so it is asked last
        kinds = [each for each in kinds if each is not str] + [str]
    return _first([partial(read_value, text, each) for each in kinds], text, kind)


def _first(ways: list[Callable[[], Any]], value: Any, kind: Any) -> Any:
    """The first way that leads somewhere; of one only, its own words."""
    problems = []
    for way in ways:
        try:
            return way()
        except ValueError as problem:
            problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    raise ValueError(f"{value!r} is no {type_text(kind)}")


def _of_choices(text: str, choices: tuple[Any, ...]) -> Any:
    for each in choices:
        if str(each) == text:
            return each
    raise ValueError(f"{text!r} is none of {', '.join(map(str, choices))}")


def _is_union(origin: Any) -> bool:
    return origin is Union or origin is types.UnionType


def _told(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a dict" if isinstance(value, dict) else repr(value)
