"""What Dask logs that is no news: the noise of an orderly end, and losses that we run again ourselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["be_quiet", "begin_run", "end_run", "quiet", "telling_workers"]

_live_runs: set[str] = set()  # how the keys of their shards begin
_being_told: list[str] = []  # workers that are sent something that may be lost


class _KnownLosses(logging.Filter):
    """A scheduler in this process calls a shard of a lost worker an error of the task. It is run again, and that is said."""

    def filter(self, record: logging.LogRecord) -> bool:
        is_loss = str(record.msg).startswith("Task %s marked as failed because") and isinstance(
            record.args, tuple
        )
        if is_loss and str(record.args[0]).startswith(tuple(_live_runs)):  # type: ignore[index]
            return False
        return not str(record.msg).startswith(
            tuple(f"broadcast to {worker} failed" for worker in _being_told)
        )


_known_losses = _KnownLosses()  # the same filter is added once, however often


def begin_run(prefix: str) -> None:
    """Shards whose keys begin so are ours: their losses are no errors."""
    _live_runs.add(prefix)
    logging.getLogger("distributed.scheduler").addFilter(_known_losses)


def end_run(prefix: str) -> None:
    """The other end of ``begin_run``."""
    _live_runs.discard(prefix)


@contextmanager
def telling_workers(workers: Sequence[str]) -> Iterator[None]:
    """Within it, a scheduler in this process does not complain of these if they are gone: that is noticed and said elsewhere."""
    _being_told.extend(workers)
    try:
        yield
    finally:
        for worker in workers:
            _being_told.remove(worker)


_NOISY = (
    "distributed",
    "distributed.batched",
    "distributed.client",
    "distributed.comm",
    "distributed.core",
    "distributed.deploy.adaptive",
    "distributed.nanny",
    "distributed.scheduler",
    "distributed.worker",
    "distributed.worker.state_machine",
    "tornado",
)


def be_quiet() -> None:
    """From now on."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Closing a cluster makes its parts report each other's absence; that is no news."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    be_quiet()
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
