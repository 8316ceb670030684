"""Faults on purpose: what an embedded server shall do wrong, when, and how often it did.

A `Rule` says which requests it means, when it applies to them and what then goes wrong; a `Faults` registry
holds the rules of one server, decides for each request and counts. The servers apply the decisions at the level
of the connection (`crossdock.testing.server`), so the same rule means the same on S3 and on GCS.

A fault that had no effect (a cut beyond the end of a short body) is not counted as fired: the rule "each test
proves its fault fired" is only worth something if the counters are honest.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

_ACTIONS = (
    "delay_s",
    "status",
    "reset",
    "lose_ack",
    "twice",
    "cut_at",
    "flip_bit",
    "flip_upload_bit",
    "truncate_upload_at",
    "rate_bytes_per_s",
    "ignore_range",
    "no_length",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault: whom it hits, when, and what goes wrong.

    All given matches must hold. Of the requests that match, the first ``skip`` are spared; of the rest the rule
    looks at the ``first`` ones only (all, when None), takes each ``every``-th of these, starting with the first, and then
    throws dice with ``probability``.

    Operations have the same names on both servers: ``bucket.list``, ``bucket.get``, ``bucket.insert``,
    ``bucket.delete``; ``object.list``, ``object.stat``, ``object.get``, ``object.insert``, ``object.patch``,
    ``object.copy``, ``object.compose``, ``object.delete``, ``objects.delete``; ``upload.begin``, ``part.put``,
    ``upload.complete``, ``upload.abort``, ``upload.list``, ``upload.parts`` for multipart uploads; and for GCS's
    resumable uploads ``upload.begin``, ``chunk.put``, ``chunk.final`` (the request that carries the last byte),
    ``upload.status``, ``upload.abort``.

    Attributes:
        operation: Shell pattern on the operation's name, such as ``object.*``.
        method: HTTP method; empty for any.
        path: Regular expression searched in the raw request target, query included.
        bucket: The bucket's exact name; empty for any.
        key: Regular expression searched in the decoded object key.
        skip: Matches to spare first.
        first: How many matches after ``skip`` to look at; None for all.
        every: Of those, take one of so many.
        probability: Of those, take this share, by the registry's seeded generator.
        delay_s: Wait before anything else is done.
        status: Answer this instead of doing the work (with ``lose_ack``: after doing it).
        body: Body of that answer; None for a proper error document of the service.
        headers: Further headers of that answer.
        retry_after_s: Adds ``Retry-After`` to that answer.
        reset: Close the connection with RST before the body is read; nothing was done.
        lose_ack: Do the work, then close with RST (or answer ``status``): a lost acknowledgement.
        twice: Do the work twice and answer what the second time said: a delivery repeated by the network.
        cut_at: Send only so many bytes of the response's body, under the full Content-Length, then close.
        cut_with: Close with a FIN or with an RST.
        flip_bit: Invert this bit of the response's body (modulo its length).
        flip_upload_bit: Invert this bit of the request's body before the service sees it.
        truncate_upload_at: The service sees only so many bytes of the request's body, and believes them complete.
            A resumable upload persists the multiples of 256 KiB among them, and says so.
        rate_bytes_per_s: Send the response's body no faster than this, per connection.
        ignore_range: The service does not see the ``Range`` header.
        no_length: Send the body without Content-Length and close the connection at its end.
        name: Under which the rule is counted; by default made of operation and action.
    """

    operation: str = "*"
    method: str = ""
    path: str = ""
    bucket: str = ""
    key: str = ""
    skip: int = 0
    first: int | None = None
    every: int = 1
    probability: float = 1.0
    delay_s: float | None = None
    status: int | None = None
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None
    reset: bool = False
    lose_ack: bool = False
    twice: bool = False
    cut_at: int | None = None
    cut_with: Literal["fin", "rst"] = "fin"
    flip_bit: int | None = None
    flip_upload_bit: int | None = None
    truncate_upload_at: int | None = None
    rate_bytes_per_s: float | None = None
    ignore_range: bool = False
    no_length: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not self.actions():
            raise ValueError(f"a rule needs an action: one of {', '.join(_ACTIONS)}")
        if self.every < 1 or self.skip < 0 or not 0 <= self.probability <= 1:
            raise ValueError("every is at least 1, skip at least 0 and probability between 0 and 1")
        if self.rate_bytes_per_s is not None and self.rate_bytes_per_s <= 0:
            raise ValueError("rate_bytes_per_s is above 0")
        # JSON knows lists only.
        object.__setattr__(self, "headers", tuple((str(k), str(v)) for k, v in self.headers))
        if not self.name:
            object.__setattr__(self, "name", f"{self.operation} {'+'.join(self.actions())}")

    def actions(self) -> tuple[str, ...]:
        """Name what this rule does, in the order in which a server applies it."""
        return tuple(a for a in _ACTIONS if getattr(self, a) is not None and getattr(self, a) is not False)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Rule:
        """Make a rule of a JSON object with this class's field names.

        Raises:
            ValueError: A name is unknown, or the values make no rule.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"a rule has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return cls(**values)


@dataclass(slots=True)
class _Entry:
    """A rule at work: compiled patterns and how many requests it has seen."""

    rule: Rule
    path: re.Pattern[str]
    key: re.Pattern[str]
    seen: int = 0

    def matches(self, operation: str, method: str, target: str, bucket: str, key: str) -> bool:
        rule = self.rule
        return (
            fnmatchcase(operation, rule.operation)
            and rule.method in {"", method}
            and rule.bucket in {"", bucket}
            and (not rule.key or self.key.search(key) is not None)
            and (not rule.path or self.path.search(target) is not None)
        )

    def is_due(self, rng: random.Random) -> bool:
        """Count one match and say whether the rule applies to it."""
        index = self.seen - self.rule.skip
        self.seen += 1
        if index < 0 or index % self.rule.every or (self.rule.first is not None and index >= self.rule.first):
            return False
        return self.rule.probability >= 1 or rng.random() < self.rule.probability


class Fault:
    """What shall go wrong with one request: the actions of all rules that are due, merged.

    A server asks with `get`, and with `take` when it has applied the action, which counts its rule as fired.
    If several rules name the same action, the one added first wins; delays add up.
    """

    __slots__ = ("_by_action", "_fired", "_registry")

    def __init__(self, rules: Iterable[Rule], registry: Faults) -> None:
        self._registry = registry
        self._fired: set[int] = set()
        self._by_action: dict[str, list[Rule]] = {}
        for rule in rules:
            for action in rule.actions():
                self._by_action.setdefault(action, []).append(rule)

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
        entry = _Entry(rule, re.compile(rule.path), re.compile(rule.key, re.DOTALL))
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

    def decide(self, *, operation: str, method: str, target: str, bucket: str, key: str) -> Fault | None:
        """Count a request and say what shall go wrong with it; None for nothing."""
        with self._lock:
            self._requests[operation] += 1
            if not self._entries:
                return None
            due = [
                e.rule
                for e in self._entries
                if e.matches(operation, method, target, bucket, key) and e.is_due(self._rng)
            ]
        return Fault(due, self) if due else None

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
