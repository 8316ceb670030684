"""A notifier: who is told, of which ends, and what happens when that fails (a line in the log, and nothing else)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, get_args

from crossdock.errors import ConfigError, CredentialsError
from crossdock.model import Outcome, State
from crossdock.notifications.post import Delivery, bounded
from crossdock.notifications.record import RunEnded
from crossdock.notifications.reference import Reference

__all__ = ["Delivery", "Notifier", "On", "on_of"]

On = Literal["completion", "failure", "success"]

BUDGET_S = 30.0
# After Ctrl-C a person waits for the prompt.
_INTERRUPTED_BUDGET_S = 5.0
# What a person still reads; a map of 10,000 failures shall not send 10,000 messages, one after the other.
ITEM_MESSAGES = 10
_RUNS_REMEMBERED = 1_000

_logger = logging.getLogger("crossdock.notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """One place that is told. A recipe: picklable, holds references only, opens nothing until a message is sent.

    It is a hook of a task too, and of a run: called with an ``Outcome`` or a ``RunEnded`` it sends a message if ``on``
    says so. For one map at most ten messages about items are sent; ``notify=`` sends one about the whole.

    Attributes:
        target: Where the address is kept.
        on: Of which ends: ``completion`` is every end.
        timeout_s: Give up an attempt that makes no progress for so long.
    """

    target: Reference
    on: On = "completion"
    timeout_s: float = 10.0

    @property
    def service(self) -> str:
        """What it is called: in logs, and on the command line."""
        raise NotImplementedError

    def send(self, ended: RunEnded | Outcome, budget_s: float) -> Delivery:
        """Send one message; called on a thread of its own.

        Raises:
            CredentialsError: The reference leads nowhere any more.
        """
        raise NotImplementedError

    def wrong(self, address: str) -> str:
        """What is wrong with an address, without repeating it; empty if nothing is."""
        raise NotImplementedError

    @property
    def references(self) -> tuple[Reference, ...]:
        """All secrets it needs."""
        return (self.target,)

    def check(self) -> None:
        """Resolve every reference, and look at the address; send nothing.

        Raises:
            ConfigError: A reference gives nothing, or no usable address.
            MissingExtraError: The package that sends is not installed.
        """
        hint = "correct it, or notify somebody else: a run that nobody hears of is not begun"
        for reference in self.references:
            cause = ""
            try:
                address = reference.reveal()
            except CredentialsError as error:
                cause = error.cause
            if cause:
                raise ConfigError(cause, operation="notify", where=self.place, hint=hint)
            if reference is self.target:
                cause = self.wrong(address)
            if cause:
                raise ConfigError(
                    f"what {reference} holds {cause}", operation="notify", where=self.place, hint=hint
                )

    def wants(self, ended: RunEnded | Outcome) -> bool:
        """Whether this end is one to tell."""
        if self.on == "completion":
            return True
        if self.on == "success":
            return ended.ok
        return not ended.ok and not (isinstance(ended, Outcome) and ended.state is State.CANCELLED)

    def __call__(self, ended: RunEnded | Outcome) -> Delivery | None:
        """Tell of an end, if it is one to tell; never raises for a delivery. Returns ``None`` if nothing was to send.

        Takes at most half a minute, five seconds after an interruption.
        """
        if not self.wants(ended):
            return None
        if isinstance(ended, Outcome) and ended.run_id and not _limit.admits(self, ended.run_id):
            return None
        interrupted = isinstance(ended, RunEnded) and ended.status == "interrupted"
        budget_s = _INTERRUPTED_BUDGET_S if interrupted else BUDGET_S
        delivery = bounded(lambda: self._sent(ended, budget_s), budget_s)
        if not delivery.ok:
            tried = f" (after {delivery.attempts} attempts)" if delivery.attempts > 1 else ""
            _logger.warning("a notification by %s failed: %s%s", self.place, delivery.cause, tried)
        return delivery

    def _sent(self, ended: RunEnded | Outcome, budget_s: float) -> Delivery:
        try:
            return self.send(ended, budget_s)
        except CredentialsError as error:
            return Delivery(ok=False, cause=error.cause)

    @property
    def place(self) -> str:
        """Service and reference, for people."""
        return f"{self.service} {self.target}"

    def __repr__(self) -> str:
        return f"<notifier {self.place} on {self.on}>"


def on_of(on: str, timeout_s: object) -> On:
    """Check what every notifier takes.

    Raises:
        ConfigError: One is none of the values.
    """
    if on not in get_args(On):
        raise ConfigError(f"on is one of {', '.join(get_args(On))}, not {on!r}", operation="notify")
    if not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise ConfigError(f"timeout is seconds above 0, not {timeout_s!r}", operation="notify")
    return on  # type: ignore[return-value]  # one of the literals, as was just seen


class _Limit:
    """Counts messages about items by map; thread-safe; remembers the latest 1,000."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: OrderedDict[tuple[str, str], int] = OrderedDict()

    def admits(self, notifier: Notifier, run_id: str) -> bool:
        key = (repr(notifier), run_id)
        with self._lock:
            sent = self._sent[key] = self._sent.get(key, 0) + 1
            while len(self._sent) > _RUNS_REMEMBERED:
                self._sent.popitem(last=False)
        if sent == ITEM_MESSAGES + 1:
            _logger.warning(
                "%s was told of %d items of map %s and is told of no more; notify= sends one message for the whole",
                notifier.place,
                ITEM_MESSAGES,
                run_id,
            )
        return sent <= ITEM_MESSAGES


_limit = _Limit()
