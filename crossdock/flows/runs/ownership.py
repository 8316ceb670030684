"""One driver a run: a lease in the run directory that a second driver finds and respects.

The lease is a file put on the condition that none is there, renewed by heartbeats on the condition that it is still
ours. A dead process of this machine, or a heartbeat that stopped, is taken over. Where the store has no conditional
writes the lease is a note and no lock.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from crossdock.errors import CrossdockError, LedgerError, NotFoundError, PreconditionError
from crossdock.flows.runs.files import RunFiles
from crossdock.model import ABSENT, Condition, Version

__all__ = ["HEARTBEAT_S", "STALE_S", "Owner", "current_owner", "demand_unowned", "last_heartbeat"]

NAME = "driver.json"
HEARTBEAT_S = 10.0
STALE_S = 60.0


class Owner:
    """Ownership of one run for the length of a ``with`` block; thread-safe.

    Attributes:
        session: Names this ownership; what workers of an earlier one are told does not concern those of this one.

    Raises:
        LedgerError: Another driver owns the run.
    """

    def __init__(self, files: RunFiles, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.session = secrets.token_hex(6)
        self._files = files
        self._heartbeat_s = heartbeat_s
        self._version = Version()
        self._ended = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._beat, name="crossdock-driver-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._version = self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._lost is not None:
            return
        try:
            self._files.delete(NAME, self._version)
        except CrossdockError as failure:
            if error is None:
                raise self._files.failed(failure, "release run", NAME) from failure
            error.add_note(f"the run stays marked as driven for a minute: {failure}")

    def demand(self) -> None:
        """Check that the run is still ours.

        Raises:
            LedgerError: Somebody took it over, because this process stood still or could not reach the directory.
        """
        if self._lost is not None:
            raise LedgerError(
                f"this driver no longer owns the run: {self._lost}",
                operation="drive run",
                where=self._files.url,
            )

    def _acquire(self) -> Version:
        for _ in range(3):  # somebody may release or take over between our look and our claim
            try:
                return self._claim(ABSENT)
            except PreconditionError:
                pass
            try:
                held, version = self._files.get_json(NAME)
            except NotFoundError:
                continue
            if not _is_gone(held):
                raise _refused(self._files, held)
            try:
                return self._claim(Condition(version=version))
            except PreconditionError:
                continue
        raise LedgerError("other drivers are at it", operation="own run", where=self._files.url)

    def _claim(self, condition: Condition) -> Version:
        lease = {
            "session": self.session,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "heartbeat": time.time(),
            "stale_after_s": STALE_S,
        }
        return self._files.put_json(NAME, lease, condition=condition)

    def _beat(self) -> None:
        silent_since = time.monotonic()
        while not self._ended.wait(self._heartbeat_s):
            try:
                self._version = self._claim(Condition(version=self._version))
                silent_since = time.monotonic()
            except PreconditionError as error:
                self._lost = str(error)
                return
            except CrossdockError as error:
                # Others wait for STALE_S before they take over; until then it is still ours.
                if time.monotonic() - silent_since > STALE_S:
                    self._lost = str(error)
                    return


def current_owner(files: RunFiles) -> dict[str, Any] | None:
    """Who drives the run now, as its lease says; ``None`` if nobody does."""
    try:
        held, _ = files.get_json(NAME)
    except NotFoundError:
        return None
    return None if _is_gone(held) else held


def demand_unowned(files: RunFiles) -> None:
    """Look, and take nothing: what ``Owner`` would refuse is refused. One request.

    Raises:
        LedgerError: Another driver owns the run.
    """
    held = current_owner(files)
    if held is not None:
        raise _refused(files, held)


def last_heartbeat(files: RunFiles) -> float | None:
    """When a driver was last heard of that did not release the run, in seconds since the epoch. One request."""
    try:
        held, _ = files.get_json(NAME)
    except NotFoundError:
        return None
    return float(held.get("heartbeat", 0.0))


def _is_gone(held: dict[str, Any]) -> bool:
    if held.get("host") == socket.gethostname() and not _is_alive(int(held.get("pid", 0))):
        return True
    return time.time() - float(held.get("heartbeat", 0.0)) > STALE_S


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it lives, under another user
    return True


def _refused(files: RunFiles, held: dict[str, Any]) -> LedgerError:
    age_s = max(0.0, time.time() - float(held.get("heartbeat", 0.0)))
    return LedgerError(
        f"another driver owns this run: process {held.get('pid')} on {held.get('host')}, "
        f"last heard of {age_s:.0f} s ago",
        operation="own run",
        where=files.url,
        hint=f"wait for it, or stop it; a driver that is silent for {STALE_S:.0f} s is taken over",
    )
