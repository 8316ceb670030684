"""What all stitch functions of this room are: frozen values that are called. Picklable, comparable, told by their fields."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

__all__ = ["Step", "count_rows"]


class Step:
    """A stitch function as data; derive a frozen dataclass from it and write ``__call__``.

    ``repr`` is how it was written: the public name, and what differs from the defaults.
    """

    __slots__ = ()

    _positional: tuple[str, ...] = ()

    def __repr__(self) -> str:
        said = []
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            default = each.default_factory() if each.default_factory is not MISSING else each.default
            if each.name in self._positional:
                said.append(_text(value))
            elif each.name == "given":
                said += [f"{name}={option!r}" for name, option in value]
            elif value is not default and value != default:
                said.append(f"{each.name}={_text(value)}")
        return f"{type(self).__name__.lower()}({', '.join(said)})"


def _text(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else repr(value)


def count_rows(rows: int) -> None:
    """Add rows to the metrics of the task that runs here, if one does."""
    import crossdock

    try:
        crossdock.current().count(rows=rows)
    except crossdock.CompositionError:
        return
