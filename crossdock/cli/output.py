"""stdout: data, one line at a time, whatever bytes a key is made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["json_line", "line", "visible"]


def line(text: str) -> None:
    """Write one line. Names that are not UTF-8 on a local disk leave as the bytes they are."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.buffer.flush()


def json_line(row: Mapping[str, Any]) -> None:
    """Write one JSON object, in ASCII, so that no reader has to guess an encoding; absent values are left out."""
    line(json.dumps({name: value for name, value in row.items() if value is not None}, default=str))


def visible(text: str) -> str:
    """Text on one line: characters that do not print are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
