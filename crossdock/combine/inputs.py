"""Arguments as short texts for errors and outcomes: enough to find the item, never payload, never a secret."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import PurePath
from typing import Any

from crossdock.model import ObjectInfo
from crossdock.options import Secret

__all__ = ["describe", "inputs_text", "names_credential"]

_MAX_CHARS = 120
_SECRET_NAME = re.compile(
    r"secret|passw|token|credential|api_?key|access_?key|account_?key|private_?key|authorization",
    re.IGNORECASE,
)
_CREDENTIAL_NAME = re.compile(
    r"(^|_)(secrets?|passw(or)?ds?|passphrase|pwd|credentials?|authorization|(api|access|account|private|secret)_?keys?"
    r"|(access|api|auth|bearer|id|oauth|refresh|sas|security|session)_?token)$|^token$",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY_SECRET = re.compile(
    r"((?:^|[?&;\s])[^=&;\s]*(?:sig|secret|token|passw|credential|key)[^=&;\s]*=)[^&;\s]+", re.IGNORECASE
)
_PLAIN = (bool, int, float, complex, type(None), PurePath, date, datetime, timedelta, enum.Enum, Secret)


def inputs_text(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Each argument by name as a short text; a name that sounds secret shows nothing."""
    return {
        name: "***" if _SECRET_NAME.search(name) and value is not None else describe(value)
        for name, value in inputs.items()
    }


def describe(value: Any) -> str:
    """One value as a short text: scalars as they are, everything else by its type and size."""
    if isinstance(value, str):
        text = repr(_QUERY_SECRET.sub(r"\1***", _USER_INFO.sub("***@", value[: 4 * _MAX_CHARS])))
        return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 4]}...'"
    if isinstance(value, _PLAIN):
        return repr(value)[:_MAX_CHARS]
    if isinstance(value, ObjectInfo):
        return describe(value.key)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"<{type(value).__name__} {'x'.join(map(str, shape))}>"
    if isinstance(value, list | tuple | set | frozenset | dict):
        return f"<{type(value).__name__} of {len(value)}>"
    return f"<{type(value).__name__}>"


def names_credential(name: str) -> bool:
    """Whether an argument of this name is a credential beyond doubt, and so no part of what is asked for.

    Narrower than what is hidden in texts: hiding a ``page_token`` or ``max_tokens`` costs nothing, but two pages are two
    results.
    """
    return _CREDENTIAL_NAME.search(name) is not None
