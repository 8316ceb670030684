"""Pickling a decorated function: by name where it can be imported, by its parts where it cannot.

A decorator puts a task where its function was, so the function can no longer be found under its own name: pickling
the task by name is smaller, and lets the worker use its own import, as it would for a plain function.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

__all__ = ["importable_name", "imported"]


def importable_name(task: Any, function: Any) -> tuple[str, str] | None:
    """Module and qualified name under which ``task`` itself is found by an import, or ``None``."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not qualname or module == "__main__" or module not in sys.modules:
        return None
    return (module, qualname) if _walk(sys.modules[module], qualname) is task else None


def imported(module: str, qualname: str) -> Any:
    """The object of that name; the other end of ``importable_name``."""
    return _walk(importlib.import_module(module), qualname)


def _walk(module: Any, qualname: str) -> Any:
    return functools.reduce(lambda found, name: getattr(found, name, None), qualname.split("."), module)
