"""Servers that several files of this room share: one process of each a session."""

from __future__ import annotations

from ends import *  # noqa: F403 - fixtures
