"""Runs of these tests live in a directory of their own, and backoff is real but short."""

from __future__ import annotations

import pytest

from crossdock.connectors import layers


@pytest.fixture(autouse=True)
def _state_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 0.0)
