"""The services: Slack and webhooks by urllib3, all others by apprise. Each is a recipe made by one function."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import uuid
import warnings
from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError, MissingExtraError
from crossdock.model import Outcome
from crossdock.notifications.message import message_of, slack_body
from crossdock.notifications.notifier import Notifier, On, on_of
from crossdock.notifications.post import Delivery, post, silent, usable
from crossdock.notifications.record import RunEnded, document_of
from crossdock.notifications.reference import Reference, reference_of
from crossdock.options import Secret

__all__ = ["apprise", "notifier_of", "slack", "webhook"]


def slack(webhook: str | Secret, *, on: On = "completion", timeout: float = 10.0) -> Notifier:
    """Tell a Slack channel, by an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

    Args:
        webhook: A reference to its URL: ``env:NAME``, ``file:PATH`` or ``cmd:COMMAND``. The URL itself is refused.
        on: ``completion`` (every end), ``failure`` or ``success``.
        timeout: Give up an attempt that makes no progress for so long, in seconds.

    Raises:
        ConfigError: The URL itself was given, or a value makes no sense.

    Example:
        >>> import crossdock as xd
        >>> xd.slack("env:SLACK_WEBHOOK", on="failure")
        <notifier slack env:SLACK_WEBHOOK on failure>
    """
    return _Slack(target=reference_of(webhook, "slack"), on=on_of(on, timeout), timeout_s=timeout)


def webhook(
    url: str | Secret,
    *,
    on: On = "completion",
    signature: str | Secret | None = None,
    timeout: float = 10.0,
) -> Notifier:
    """Tell a program: the record is posted as JSON.

    Args:
        url: A reference to the URL.
        on: ``completion`` (every end), ``failure`` or ``success``.
        signature: A reference to a key; the header ``X-Crossdock-Signature`` is then ``sha256=`` and the hexadecimal
            HMAC-SHA256 of the body.
        timeout: Give up an attempt that makes no progress for so long, in seconds.

    Raises:
        ConfigError: The URL or the key itself was given, or a value makes no sense.

    Example:
        >>> import crossdock as xd
        >>> xd.webhook("file:/run/secrets/hook", signature="env:HOOK_KEY")
        <notifier webhook file:/run/secrets/hook on completion>
    """
    return _Webhook(
        target=reference_of(url, "webhook"),
        on=on_of(on, timeout),
        timeout_s=timeout,
        signature=None if signature is None else reference_of(signature, "signature"),
    )


def apprise(url: str | Secret, *, on: On = "completion") -> Notifier:
    """Tell anybody else (Teams, e-mail, PagerDuty, ...), by the library apprise: ``pip install 'crossdock[notify]'``.

    Args:
        url: A reference to an apprise URL (https://appriseit.com/services/); it names the service, and its timeouts.
        on: ``completion`` (every end), ``failure`` or ``success``.

    Raises:
        ConfigError: The URL itself was given, or a value makes no sense.
    """
    return _Apprise(target=reference_of(url, "apprise"), on=on_of(on, 1.0))


def notifier_of(text: str, *, on: On = "completion", signature: str | None = None) -> Notifier:
    """A notifier from ``SERVICE=REFERENCE``, as the command line has it.

    Args:
        text: Such as ``slack=env:SLACK_WEBHOOK``.
        on: Of which ends.
        signature: A reference to the key of a webhook's signature; other services have none.

    Raises:
        ConfigError: It is not of this form. The error does not repeat what may be a secret.
    """
    service, _, reference = text.partition("=")
    if service == "webhook":
        return webhook(reference, on=on, signature=signature)
    if service in ("slack", "apprise"):
        return (slack if service == "slack" else apprise)(reference, on=on)
    raise ConfigError(
        "a notifier is slack=REFERENCE, webhook=REFERENCE or apprise=REFERENCE",
        operation="notify",
        hint="such as slack=env:SLACK_WEBHOOK",
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Slack(Notifier):
    @property
    def service(self) -> str:
        return "slack"

    def wrong(self, address: str) -> str:
        return usable(address)

    def send(self, ended: RunEnded | Outcome, budget_s: float) -> Delivery:
        body = _json(slack_body(message_of(ended)))
        return post(self.target.reveal(), body, {}, timeout_s=self.timeout_s, budget_s=budget_s)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Webhook(Notifier):
    signature: Reference | None = None

    @property
    def service(self) -> str:
        return "webhook"

    @property
    def references(self) -> tuple[Reference, ...]:
        return (self.target,) if self.signature is None else (self.target, self.signature)

    def wrong(self, address: str) -> str:
        return usable(address)

    def send(self, ended: RunEnded | Outcome, budget_s: float) -> Delivery:
        body = _json(document_of(ended, uuid.uuid4().hex))
        headers = {}
        if self.signature is not None:
            key = self.signature.reveal().encode()
            headers["X-Crossdock-Signature"] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
        return post(self.target.reveal(), body, headers, timeout_s=self.timeout_s, budget_s=budget_s)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Apprise(Notifier):
    @property
    def service(self) -> str:
        return "apprise"

    def wrong(self, address: str) -> str:
        return "" if _service(address) is not None else "is no apprise URL"

    def check(self) -> None:
        if importlib.util.find_spec("apprise") is None:
            raise MissingExtraError(
                "apprise is not installed",
                operation="notify",
                where=self.place,
                hint="pip install 'crossdock[notify]'",
            )
        Notifier.check(self)

    def send(self, ended: RunEnded | Outcome, budget_s: float) -> Delivery:
        del (
            budget_s
        )  # each service of apprise has its own timeouts; whoever calls waits so long and no longer
        service = _service(self.target.reveal())
        if service is None:
            return Delivery(ok=False, cause="it holds no apprise URL any more")
        message = message_of(ended)
        with silent():
            sent = service.notify(
                title=message.title,
                body=message.text(),
                notify_type="success" if ended.ok else "failure",
                body_format="text",
            )
        return Delivery(ok=bool(sent), cause="" if sent else "apprise could not deliver it")


def _service(address: str) -> Any:
    """The service an apprise URL means; ``None`` if it means none. One URL is one service: no lists of them."""
    with silent(), warnings.catch_warnings():
        # Its plugins are loaded by the first URL, and some use what Python has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise import Apprise

        return Apprise.instantiate(address)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()
