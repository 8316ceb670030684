"""Labelled places where a test makes a process die: ``CROSSDOCK_CRASH_AT=before-commit`` or ``part-sent:3``.

For tests only. The process kills itself with SIGKILL when it passes the place for the n-th time (1 unless said otherwise), so that
nothing is cleaned up, as after a power cut. The variable is read once, when this module is imported; without it ``reached`` is an
empty function.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

__all__ = ["LABELS", "VARIABLE", "armed", "reached"]

VARIABLE = "CROSSDOCK_CRASH_AT"
LABELS = (
    "manifest-written",  # the plan is on disk, its shards are not
    "shards-written",  # and now they are; the run does not say so yet
    "intent-recorded",  # a shard said what it may begin, and began nothing
    "upload-begun",  # the store knows of an upload; nobody wrote down its id
    "upload-recorded",  # of an object that is cut over workers: id and parts are in the ledger
    "part-sent",  # the store acknowledged a part
    "part-recorded",  # of an object that is cut: so says the ledger
    "before-commit",  # every byte is there, nothing is visible
    "after-commit",  # visible, and nobody knows
    "before-record",  # the writer's caller knows
    "after-record",  # the ledger knows
    "report-written",  # all is done but for letting go of the run
)
"""In the order in which a run passes them."""


def _passed(label: str) -> None:
    """Nothing: the variable is not set."""


def armed(text: str) -> Callable[[str], None]:
    """What ``reached`` is for this value of the variable.

    Raises:
        ValueError: It names no crash point: a test that kills nothing would pass.
    """
    if not text:
        return _passed
    wanted, _, number = text.partition(":")
    if wanted not in LABELS or not (number or "1").isdecimal() or int(number or "1") < 1:
        raise ValueError(f"{VARIABLE} is LABEL or LABEL:N with one of {', '.join(LABELS)}, not {text!r}")
    left = int(number or "1")
    lock = threading.Lock()

    def crash(label: str) -> None:
        nonlocal left
        if label != wanted:
            return
        with lock:  # held for ever by the one who dies: nobody passes meanwhile
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash


reached = armed(os.environ.get(VARIABLE, ""))
