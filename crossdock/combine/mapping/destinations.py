"""Who writes where: the second item of one destination is found before it starts.

Where the halves of a pair say before they run where an item would go, the driver asks, and remembers a digest of the
answer: some 120 bytes an item (a 16-byte digest and an index in a dict), however long the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from crossdock.errors import ConfigError

__all__ = ["Ask", "Destinations"]

Ask = Callable[[Mapping[str, Any]], str | None]


class Destinations:
    """The destinations of one map and of what is mapped again of it.

    Args:
        ask: Gives an item's destination as a URL, or ``None``. One that cannot say for the first item it is asked of
            is not asked again: its task's halves do not know.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask: Ask | None = ask
        self._owners: dict[bytes, int] = {}

    def asking(self, ask: Ask | None) -> Destinations | None:
        """The same destinations, asked for by another task."""
        if ask is None:
            return None
        other = Destinations(ask)
        other._owners = self._owners
        return other

    def refusal(self, index: int, values: Mapping[str, Any]) -> ConfigError | None:
        """Why an item must not start: another one writes to its destination. ``None`` if it may.

        A task that fails while it is asked fails again when it runs, with its inputs and its phase: not here.
        """
        if self._ask is None:
            return None
        try:
            place = self._ask(values)
        except Exception:
            return None
        if place is None:
            if not self._owners:
                self._ask = None
            return None
        digest = blake2b(place.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        owner = self._owners.setdefault(digest, index)
        if owner == index:
            return None
        return ConfigError(
            f"items {owner} and {index} both go there; {owner} was first, {index} was not started",
            operation="map",
            key=place,
            hint="give each item a key of its own",
        )
