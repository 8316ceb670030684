"""Who is told when a run ended: ``--notify``, ``--notify-on`` and ``--notify-signature`` turned into notifiers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.help import Flag

if TYPE_CHECKING:
    from crossdock.notifications import On
    from crossdock.notifications.notifier import Notifier

__all__ = ["Whom", "notify_flags"]

_GROUP = "Who is told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """What the flags said; all references, never an address."""

    notify: tuple[str, ...] = ()
    on: On = "completion"
    signature: str | None = None

    def notifiers(self) -> list[Notifier]:
        """The notifiers, each of which leads somewhere.

        Raises:
            ConfigError: One is not ``SERVICE=REFERENCE``, or its reference gives nothing that can be used.
        """
        from crossdock.notifications import notifier_of

        notifiers = [notifier_of(each, on=self.on, signature=self.signature) for each in self.notify]
        for notifier in notifiers:
            notifier.check()
        return notifiers

    def as_words(self) -> list[str]:
        """The same flags again, for the command that continues a run: a run keeps nobody to tell."""
        words = [word for each in self.notify for word in ("--notify", each)]
        if self.notify and self.on != "completion":
            words += ["--notify-on", self.on]
        if self.notify and self.signature is not None:
            words += ["--notify-signature", self.signature]
        return words


def notify_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command is given one ``whom`` instead of each."""

    @functools.wraps(function)
    def command(
        *args: Any, notify: tuple[str, ...], notify_on: On, notify_signature: str | None, **others: Any
    ) -> Any:
        whom = Whom(notify=notify, on=notify_on, signature=notify_signature)
        return function(*args, whom=whom, **others)

    decorated: Callable[..., Any] = command
    for names, options in reversed(_FLAGS):
        decorated = click.option(*names, cls=Flag, group=_GROUP, **options)(decorated)
    return decorated


_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--notify",),
        {
            "multiple": True,
            "metavar": "SERVICE=REF",
            "help": "Tell of the end: slack=, webhook= or apprise= and where the URL is kept (env:NAME, file:PATH, "
            "cmd:COMMAND); may be repeated.",
        },
    ),
    (
        ("--notify-on",),
        {
            "type": click.Choice(["completion", "failure", "success"]),
            "default": "completion",
            "show_default": True,
            "help": "Of which ends; completion is every end.",
        },
    ),
    (
        ("--notify-signature",),
        {"metavar": "REF", "help": "Where the key is kept that signs the body of a webhook (HMAC-SHA256)."},
    ),
)
