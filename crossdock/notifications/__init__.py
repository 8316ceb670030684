"""Notifications: telling people and programs how a run or an item ended. Slack, webhooks, and what apprise reaches.

A notifier is a recipe of secret references, picklable and printable; the address is resolved when a message is sent,
and is in no log, repr, error or traceback. A delivery that fails is logged and counted; it never fails what it tells of.
Importing this room costs the standard library only.
"""

from __future__ import annotations

from crossdock.notifications.notifier import On
from crossdock.notifications.record import FailureCause, RunEnded
from crossdock.notifications.services import apprise, notifier_of, slack, webhook

__all__ = ["FailureCause", "On", "RunEnded", "apprise", "notifier_of", "slack", "webhook"]
