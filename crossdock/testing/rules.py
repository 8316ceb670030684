"""Faults on purpose: what a server shall do wrong, when, and how often it did.

A `Rule` says which requests it means, when it applies to them and what then goes wrong; a `Faults` registry
holds the rules of one server or proxy, decides for each request and counts. The decisions are applied at the level
of the connection (`crossdock.testing.server`), so the same rule means the same on S3, on GCS and in a proxy.

A fault that had no effect (a cut beyond the end of a short body) is not counted as fired: the rule "each test
proves its fault fired" is only worth something if the counters are honest.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from crossdock.testing.rule import Rule

__all__ = ["Fault", "Faults", "Rule"]

_NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True)
class _Entry:
    """A rule at work: compiled patterns and how many requests it has seen."""

    rule: Rule
    path: re.Pattern[str]
    key: re.Pattern[str]
    header: re.Pattern[str]
    seen: int = 0
    under_way: int = 0
    most: int = 0

    def matches(
        self, operation: str, method: str, target: str, bucket: str, key: str, headers: Mapping[str, str]
    ) -> bool:
        rule = self.rule
        return (
            fnmatchcase(operation, rule.operation)
            and rule.method in {"", method}
            and rule.bucket in {"", bucket}
            and (not rule.key or self.key.search(key) is not None)
            and (not rule.path or self.path.search(target) is not None)
            and (not rule.header or any(self.header.search(f"{n}: {v}") for n, v in headers.items()))
        )

    def is_due(self, rng: random.Random) -> bool:
        """Count one match and say whether the rule applies to it."""
        index = self.seen - self.rule.skip
        self.seen += 1
        if self.rule.above is not None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            if self.under_way <= self.rule.above:
                return False
        if index < 0 or index % self.rule.every or (self.rule.first is not None and index >= self.rule.first):
            return False
        return self.rule.probability >= 1 or rng.random() < self.rule.probability


class Fault:
    """What shall go wrong with one request: the actions of all rules that are due, merged.

    A server asks with `get`, and with `take` when it has applied the action, which counts its rule as fired.
    If several rules name the same action, the one added first wins; delays add up.
    """

    __slots__ = ("_by_action", "_ended", "_fired", "_registry")

    def __init__(
        self, rules: Iterable[Rule], registry: Faults, ended: Callable[[], None] = lambda: None
    ) -> None:
        self._registry = registry
        self._ended = ended
        self._fired: set[int] = set()
        self._by_action: dict[str, list[Rule]] = {}
        for rule in rules:
            for action in rule.actions():
                self._by_action.setdefault(action, []).append(rule)

    def ended(self) -> None:
        """The request was answered, or its connection closed: it is under way no longer. A server calls it once."""
        self._ended()

    def rule(self, action: str) -> Rule | None:
        """Return the rule behind an action, or None; counts nothing."""
        rules = self._by_action.get(action)
        return rules[0] if rules else None

    def get(self, action: str) -> Any:
        """Return an action's value, or None; counts nothing."""
        rules = self._by_action.get(action)
        if not rules:
            return None
        return sum(r.delay_s or 0 for r in rules) if action == "delay_s" else getattr(rules[0], action)

    def take(self, action: str) -> Any:
        """Return an action's value, or None, and count its rule as fired (once for each request)."""
        rules = self._by_action.get(action)
        if not rules:
            return None
        for rule in rules if action == "delay_s" else rules[:1]:
            if id(rule) not in self._fired:
                self._fired.add(id(rule))
                self._registry.count_fired(rule.name)
        return self.get(action)


@dataclass
class Faults:
    """The rules of one server and its counters; safe to use from any thread while the server runs.

    Args:
        rules: Rules to begin with.
        seed: Of the random generator behind ``probability``. With one client thread a run repeats exactly; with
            several, the share does.

    Example:
        >>> faults = Faults(seed=7)
        >>> faults.add(Rule(operation="object.insert", status=503, first=2, name="busy"))
        'busy'
        >>> faults.fired
        {'busy': 0}
    """

    rules: tuple[Rule, ...] = ()
    seed: int = 0
    _entries: list[_Entry] = field(default_factory=list, init=False, repr=False)
    _fired: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _requests: Counter[str] = field(default_factory=Counter, init=False, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._rng = random.Random(self.seed)  # noqa: S311 - reproducible faults, not cryptography
        for rule in self.rules:
            self.add(rule)

    def add(self, rule: Rule) -> str:
        """Put a rule at work and return the name under which it is counted."""
        entry = _Entry(rule, re.compile(rule.path), re.compile(rule.key, re.DOTALL), re.compile(rule.header))
        with self._lock:
            self._entries.append(entry)
            self._fired[rule.name] += 0
        return rule.name

    def clear(self) -> None:
        """Forget all rules. The counters stay, so that a test can heal the server first and look afterwards."""
        with self._lock:
            self._entries.clear()

    def reset_counters(self) -> None:
        """Set all counters to zero; the rules stay."""
        with self._lock:
            self._requests.clear()
            self._fired = Counter({e.rule.name: 0 for e in self._entries})
            for entry in self._entries:
                entry.most = entry.under_way

    @property
    def fired(self) -> dict[str, int]:
        """How often each rule, by name, really had an effect; rules that never had one are there with 0."""
        with self._lock:
            return dict(self._fired)

    @property
    def requests(self) -> dict[str, int]:
        """How many requests arrived, by operation, those that a fault answered included."""
        with self._lock:
            return dict(self._requests)

    def replays(self, operation: str) -> bool:
        """Whether a rule may want the last answer to this operation again, so that it must be kept."""
        with self._lock:
            return any(e.rule.replay and fnmatchcase(operation, e.rule.operation) for e in self._entries)

    def decide(
        self,
        *,
        operation: str,
        method: str,
        target: str,
        bucket: str,
        key: str,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Fault | None:
        """Count a request and say what shall go wrong with it; None for nothing. ``Fault.ended`` is to be called after it."""
        with self._lock:
            self._requests[operation] += 1
            if not self._entries:
                return None
            matching = [
                e for e in self._entries if e.matches(operation, method, target, bucket, key, headers)
            ]
            due = [e.rule for e in matching if e.is_due(self._rng)]
            counted = [e for e in matching if e.rule.above is not None]
        return Fault(due, self, lambda: self._leave(counted)) if due or counted else None

    def _leave(self, entries: Iterable[_Entry]) -> None:
        with self._lock:
            for entry in entries:
                entry.under_way -= 1

    @property
    def most_at_once(self) -> dict[str, int]:
        """How many requests that a rule with ``above`` means were under way at once at most, by the rule's name."""
        with self._lock:
            return {e.rule.name: e.most for e in self._entries if e.rule.above is not None}

    def count_fired(self, name: str) -> None:
        """Count one effect of the rule of this name."""
        with self._lock:
            self._fired[name] += 1

    def to_json(self) -> dict[str, Any]:
        """Return counters and the rules at work, as the admin route shows them."""
        with self._lock:
            return {
                "fired": dict(self._fired),
                "requests": dict(self._requests),
                "rules": [e.rule.name for e in self._entries],
            }
