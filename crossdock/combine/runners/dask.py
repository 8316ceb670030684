"""``DaskRunner``: workers elsewhere. Items travel in shards, outcomes come back as data, payload does neither.

Dask is imported when the first run starts, and the cluster starts then too: after the function was pickled, so that
worker processes inherit the secrets it refers to. Dask itself retries nothing but tasks of workers that died.
"""

from __future__ import annotations

import logging
import operator
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from crossdock.errors import ConfigError

if TYPE_CHECKING:
    from crossdock.combine.runners.cluster import Connection

__all__ = ["DaskRunner"]

T = TypeVar("T")
R = TypeVar("R")

_logger = logging.getLogger("crossdock.dask")
_THREADS = 16  # per worker process: items mostly wait for a network


class DaskRunner:
    """Runs items on the workers of a Dask cluster; implements ``crossdock.ports.Runner``. Thread-safe.

    Give one of ``address``, ``client``, ``cluster`` or ``cluster_class``, or none for a local cluster of processes.
    Nothing starts before the first run. Inside a task that runs on a Dask worker, a runner without arguments uses
    that worker's own cluster. Building a runner imports no Dask.

    Args:
        address: A scheduler, such as ``tcp://10.0.0.1:8786``.
        cluster: A cluster object that exists; never closed here.
        cluster_class: A class or its dotted name, such as ``dask_kubernetes.operator.KubeCluster``; called with
            ``cluster_kwargs`` when needed.
        cluster_kwargs: Its arguments. A ``LocalCluster`` gets one thread per worker and an unused dashboard port
            unless they say otherwise.
        adapt_kwargs: Arguments of the cluster's ``adapt``: it then scales by itself.
        client: A client that exists; never closed here.
        client_kwargs: Arguments of ``distributed.Client``.
        keep_cluster: Leave the cluster this runner started running; ``runner.cluster`` is it.
        n_workers: Short for the entry of ``cluster_kwargs``.
        threads: How many items each worker process runs at once.
        shard_size: Items per Dask task; ``"auto"`` aims at half a second each.
        window: How many shards may be under way; 4 per thread of the cluster by default.
        startup_timeout_s: How long to wait for the first worker.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cluster: Any = None,
        cluster_class: Any = None,
        cluster_kwargs: Mapping[str, Any] | None = None,
        adapt_kwargs: Mapping[str, Any] | None = None,
        client: Any = None,
        client_kwargs: Mapping[str, Any] | None = None,
        keep_cluster: bool = False,
        n_workers: int | None = None,
        threads: int = _THREADS,
        shard_size: int | str = "auto",
        window: int | None = None,
        startup_timeout_s: float = 120.0,
    ) -> None:
        places = {"address": address, "cluster": cluster, "cluster_class": cluster_class, "client": client}
        given = [name for name, value in places.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"DaskRunner takes one of {', '.join(places)}, not {' and '.join(given)}")
        if given and given != ["cluster_class"] and (cluster_kwargs or adapt_kwargs or n_workers):
            raise ConfigError(
                f"cluster_kwargs, adapt_kwargs and n_workers start a cluster; {given[0]} names one"
            )
        if threads < 1 or (window is not None and window < 1):
            raise ConfigError(f"threads and window are 1 or more, not {threads} and {window}")
        if shard_size != "auto" and (not isinstance(shard_size, int) or shard_size < 1):
            raise ConfigError(f"shard_size is 'auto' or 1 or more, not {shard_size!r}")
        if n_workers is not None and "n_workers" in (cluster_kwargs or {}):
            raise ConfigError("n_workers is given twice, by itself and in cluster_kwargs")
        self._recipe_fields = {
            **places,
            "cluster_kwargs": {**(cluster_kwargs or {}), **({"n_workers": n_workers} if n_workers else {})},
            "adapt_kwargs": dict(adapt_kwargs or {}),
            "client_kwargs": dict(client_kwargs or {}),
            "startup_timeout_s": startup_timeout_s,
        }
        self._keep_cluster = keep_cluster
        self._threads = threads
        self._shard_size = None if shard_size == "auto" else int(shard_size)
        self._window = window
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._runs: dict[object, int] = {}  # a run: the thread that iterates it
        self._connection: Connection | None = None

    # -- the port ------------------------------------------------------------------------------------------------

    def run(
        self, function: Callable[[T], R], items: Iterable[T], *, name: str = "task"
    ) -> Generator[tuple[int, R | BaseException], None, None]:
        """Apply ``function`` to each item on some worker; yield ``(index, result or error)`` as shards end.

        Items are taken as shards are made, at most the window ahead. Results of items are pickled by the worker;
        what cannot be is an error for its item. A worker that dies takes nothing along: Dask runs its shards again;
        a shard that loses worker after worker is halved until the item that kills them stands alone and becomes a
        ``ConnectionLostError``. Closing the generator, or Ctrl-C in it, begins no further item and waits for those
        that run.

        Raises:
            ConfigError: The function or the first items cannot be pickled, or a worker runs other software.
            ConnectionLostError: The cluster cannot be reached, or is gone.
        """
        from crossdock.combine.runners.shardloop import ShardLoop
        from crossdock.combine.sharding import free_slot

        total = operator.length_hint(items, -1)
        numbered = enumerate(items)
        head = list(islice(numbered, self._shard_size or self._threads))
        if not head:
            return
        recipe = _pickled(function, name)
        _pickled(
            head, name
        )  # the first items too: worker processes started below inherit the secrets in them
        client = self._connect().client
        free_slot()
        loop = ShardLoop(
            client,
            recipe,
            _chain(head, numbered),
            total=total if total >= 0 else None,
            name=name,
            threads=self._threads,
            shard_size=self._shard_size or getattr(function, "shard_size", None),
            window=self._window,
        )
        with self._running():
            yield from loop.outcomes()

    def workers(self) -> dict[str, int]:
        """Address and process id of each worker; starts the cluster if it is not."""
        client = self._connect().client
        return {str(address): int(pid) for address, pid in client.run(os.getpid).items()}

    @property
    def cluster(self) -> Any:
        """The cluster that was given or started; ``None`` before the first run and for an address or client."""
        return self._connection.cluster if self._connection else self._recipe_fields["cluster"]

    @property
    def dashboard_link(self) -> str:
        """Where a browser sees the cluster; starts it if it is not."""
        return str(self._connect().client.dashboard_link)

    def close(self) -> None:
        """Wait for runs that other threads iterate, then close what this runner started. Twice is fine."""
        me = threading.get_ident()
        with self._idle:
            self._idle.wait_for(lambda: all(thread == me for thread in self._runs.values()))
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(keep_cluster=self._keep_cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a DaskRunner cannot be pickled; build one inside the task: it finds the worker's cluster"
        )

    @contextmanager
    def _running(self) -> Iterator[None]:
        run = object()
        with self._idle:
            self._runs[run] = threading.get_ident()
        try:
            yield
        finally:
            with self._idle:
                del self._runs[run]
                self._idle.notify_all()

    def _connect(self) -> Connection:
        from crossdock.combine.runners.cluster import ClusterRecipe

        with self._lock:
            if self._connection is None:
                self._connection = ClusterRecipe(**self._recipe_fields).open()
                _logger.info("dask dashboard: %s", self._connection.client.dashboard_link)
            return self._connection


def _chain(head: list[tuple[int, T]], rest: Iterator[tuple[int, T]]) -> Iterator[tuple[int, T]]:
    # The head is consumed, not kept: an item leaves memory when its shard ended.
    while head:
        yield head.pop(0)
    yield from rest


def _pickled(value: Any, name: str) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps(value, protocol=5)  # type: ignore[no-any-return]
    except Exception as error:
        raise ConfigError(
            f"{name!r} or its arguments cannot be pickled for a worker: {type(error).__name__}: {error}",
            operation="map",
            hint="build clients and open files inside the task; give it recipes such as S3Source(...)",
        ) from error
