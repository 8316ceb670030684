"""Worker processes on this machine as a pool, for ``LocalRunner(processes=...)``: one process a slot, each with a pipe of its own.

Not ``ProcessPoolExecutor``: when one of its processes dies all are given up, and it does not say what the dead one was doing. A
pipe of its own tells both: its end is the death of exactly one process, which had exactly one shard.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any

from crossdock.combine.runners.pool import Answered, Gone, Lost, News, Told, Unbegun, Woken
from crossdock.combine.runners.process_main import name_of, serve
from crossdock.combine.runners.sharding import Recipe
from crossdock.errors import ConfigError, CrossdockError, UnexpectedError

__all__ = ["ProcessPool"]

_END_S = 5.0  # for a process that has nothing more to do to end by itself
_MAX_BAD_STARTS = 3

_context = multiprocessing.get_context("spawn")  # fork copies locks that threads of this process hold

Job = tuple[int, bytes]


class _Slot:
    """One process at a time and the thread that speaks with it; a process that dies is followed by another."""

    def __init__(self, pool: ProcessPool, number: int) -> None:
        self._pool = pool
        self._name = f"crossdock-{pool.recipe.name}-{number}"
        self._process: Any = None
        self._pipe: Connection | None = None
        self._bad_starts = 0
        self.was_ready = False
        self._lock = threading.Lock()  # two threads send: this slot's own, and the one that stops the run
        # A daemon: a run nobody ended must not keep the interpreter from ending.
        self.thread = threading.Thread(target=self._work, name=self._name, daemon=True)

    def _work(self) -> None:
        try:
            while (job := self._pool.jobs.get()) is not None:
                if not self._do(*job):
                    return
        except BaseException as error:
            self._pool.inbox.put(error)
        finally:
            self._end()

    def _do(self, ticket: int, items: bytes) -> bool:
        """Run one shard; ``False`` if there is no use in going on."""
        while self._process is None:
            if self._pool.stopped.is_set():
                self._pool.inbox.put(Unbegun(ticket))
                return True
            error = self._start()
            if error is not None:
                self._pool.without(self, error, (ticket, items))
                return False
        pid = self._process.pid
        self._tell("run", items)
        while True:
            try:
                kind, what = self._pipe.recv()  # type: ignore[union-attr]  # there is one beside a process
            except (EOFError, OSError):
                ended = self._bury()
                text = f"worker process {pid} {ended}"
                self._pool.inbox.put(Gone(f"{text}; what it had will run again"))
                self._pool.inbox.put(Lost(ticket, 1, text))
                return True
            if kind == "told":
                self._pool.inbox.put(Told(what))
            else:
                self._pool.inbox.put(Answered(ticket, what))
                return True

    def _start(self) -> CrossdockError | None:
        """Start a process and wait until it is ready; an error if that cannot be, nothing if it may be tried again."""
        ours, theirs = _context.Pipe()
        # Inherited: a terminal's Ctrl-C must not meet a process that does not ignore it yet. The tracker's start unblocks it.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = _context.Process(target=serve, args=(theirs, self._pool.recipe), name=self._name)
            process.start()
        except Exception as error:
            trouble = UnexpectedError(
                f"no worker process can be started: {type(error).__name__}: {error}", operation="start"
            )
            trouble.__cause__ = error
            return trouble
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        with self._lock:
            self._process, self._pipe = process, ours
        try:
            ours.recv()
        except (EOFError, OSError):
            ended = self._bury()
            self._bad_starts += 1
            if self._bad_starts < _MAX_BAD_STARTS and not ended.startswith("ended"):
                return None
            return ConfigError(
                f"a worker process {ended} before it could begin",
                operation="start",
                hint="a script that starts processes needs `if __name__ == '__main__':` around what it does",
            )
        self._bad_starts, self.was_ready = 0, True
        if self._pool.stopped.is_set():
            self._tell("stop", None)
        return None

    def _bury(self) -> str:
        """Wait for a process whose pipe ended; in words, how it ended."""
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        pipe.close()  # type: ignore[union-attr]
        process.join(_END_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        code = process.exitcode
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def _tell(self, kind: str, what: Any) -> None:
        with self._lock:
            if self._pipe is not None:
                try:
                    self._pipe.send((kind, what))
                except OSError:
                    return  # it died; its thread is about to find out, which reads the same pipe

    def stop(self) -> None:
        self._tell("stop", None)

    def share(self, workers: Sequence[str], words: Sequence[tuple[Any, ...]]) -> None:
        """If this slot's process is among them and nobody else is speaking with it: who is stopped reads nothing."""
        if self._lock.acquire(blocking=False):
            try:
                if self._pipe is not None and name_of(self._process.pid) in workers:
                    self._pipe.send(("share", words))
            except OSError:
                return  # as in _tell
            finally:
                self._lock.release()

    def kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _end(self) -> None:
        self._tell("end", None)
        if self._process is not None:
            self._bury()


class ProcessPool:
    """``processes`` processes, each started when there is a shard for it; implements ``pool.Pool``.

    They are started after the function was pickled, so they inherit the secrets it refers to. All of them end with the run.
    """

    def __init__(self, recipe: Recipe, processes: int) -> None:
        self.recipe = recipe
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.inbox: queue.SimpleQueue[News | BaseException] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self._limit = processes
        self._broken: BaseException | None = None
        self._slots: list[_Slot] = []
        self._out = 0
        # At the interpreter's end multiprocessing waits for its processes; those of a run that nobody ended would never end.
        self._at_exit = Finalize(self, _kill_all, args=(self._slots,), exitpriority=100)

    def slots(self) -> int:
        """As many as were asked for, or as can be started; none once the pool is broken."""
        return 0 if self._broken is not None else self._limit

    def processes(self) -> int:
        """See the port."""
        return self._limit

    def without(self, slot: _Slot, error: CrossdockError, job: Job) -> None:
        """A slot cannot start a process: the others do its work, unless there are none that could."""
        self._limit = max(self._limit - 1, 1)
        if any(each.was_ready for each in self._slots if each is not slot):
            self.jobs.put(job)
            self.inbox.put(Gone(f"one worker process less: {error}"))
        else:
            self.inbox.put(error)

    def send(self, ticket: int, items: bytes) -> None:
        """See the port."""
        self._out += 1
        self.jobs.put((ticket, items))
        if len(self._slots) < min(self._limit, self._out) and not self.stopped.is_set():
            slot = _Slot(self, len(self._slots))
            self._slots.append(slot)
            slot.thread.start()

    def share(self, workers: Sequence[str], words: Sequence[tuple[Any, ...]]) -> None:
        """See the port; through each process's pipe, which takes more than a process that says nothing is ever sent."""
        for slot in self._slots:
            slot.share(workers, words)

    def has_news(self) -> bool:
        """See the port."""
        return not self.inbox.empty()

    def receive(self, timeout_s: float) -> News | None:
        """See the port."""
        news: News | BaseException | None
        try:
            news = self.inbox.get(timeout=timeout_s)
        except queue.Empty:
            news = self._broken
        if isinstance(news, BaseException):
            self._broken = news
            raise news
        if isinstance(news, Answered | Lost | Unbegun):
            self._out -= 1
        return news

    def wake(self) -> None:
        """See the port."""
        self.inbox.put(Woken())

    def stop(self) -> None:
        """See the port."""
        self.stopped.set()
        for slot in self._slots:
            slot.stop()

    def abandon(self) -> None:
        """Kill them."""
        while not self.jobs.empty():
            self.jobs.get()
        for slot in self._slots:
            slot.kill()

    def close(self) -> None:
        """Let the processes end, and wait for them: some milliseconds, five seconds at most."""
        for _ in self._slots:
            self.jobs.put(None)
        for slot in self._slots:
            slot.thread.join()
        self._slots.clear()
        self._at_exit.cancel()


def _kill_all(slots: list[_Slot]) -> None:
    for slot in slots:
        slot.kill()
