"""In a worker: what it makes of each endpoint is told to the driver while shards of a run are on, twice a second at most.

One thread a run and process, which ends by itself when nothing is left to tell; a throttling service is told of sooner, but with a
fifth of a second between two messages. A message is some hundred bytes an endpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crossdock.combine.runners.sharding import origin
from crossdock.combine.runners.telling import Send
from crossdock.sharing import begin, forget, interval_s, peers, ringing, uses

__all__ = ["telling_use"]

_LEAST_S = 0.2


class _Teller:
    """The thread of one run."""

    def __init__(self, run_id: str, worker: str, send: Send) -> None:
        self._run_id = run_id
        self._worker = worker
        self._send = send
        self.shards = 0  # under way here; guarded by the room's lock
        self._bell = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crossdock-use", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        pace = threading.Event()  # never set: a wait that nothing cuts short
        longest_s = 0.0  # the first message goes soon: until then nobody knows of this process
        with ringing(self._bell):
            while True:
                self._bell.wait(longest_s)
                pace.wait(_LEAST_S)
                self._bell.clear()
                longest_s = interval_s(peers()) - _LEAST_S
                found = uses(self._run_id)
                if found:
                    try:
                        self._send({"worker": self._worker, "origin": origin(), "uses": found})
                    except (
                        OSError
                    ):  # the driver or the scheduler is gone: whoever waits for it finds out by itself
                        found = []
                if not found and _forget(self._run_id):
                    return


_tellers: dict[str, _Teller] = {}
_lock = threading.Lock()


def _forget(run_id: str) -> bool:
    """Whether no shard of the run is on; then its words count no longer, and the next one begins anew."""
    with _lock:
        if _tellers[run_id].shards:
            return False
        del _tellers[run_id]
    forget(run_id)
    return True


@contextmanager
def telling_use(run_id: str, worker: str, send: Send | None) -> Iterator[None]:
    """Tell what this process makes of its endpoints for the length of the block, and a moment longer.

    Shards are often shorter than the time between two messages, so the thread outlives them by as long as there is something to tell.
    """
    if send is None:
        yield
        return
    with _lock:
        teller = _tellers.get(run_id)
        is_new = teller is None
        if teller is None:
            teller = _tellers[run_id] = _Teller(run_id, worker, send)
        teller.shards += 1
        if is_new:
            begin(run_id)
            teller.start()
    try:
        yield
    finally:
        with _lock:
            teller.shards -= 1
