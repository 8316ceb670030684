"""``DaskRunner``: workers elsewhere. Items travel in shards, outcomes come back as data, payload does neither.

Dask is imported when the first run starts, and the cluster starts then too: after the function was pickled, so that
worker processes inherit the secrets it refers to. Dask itself retries nothing but tasks of workers that died.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from crossdock.combine.runners.telling import level_of
from crossdock.errors import ConfigError

if TYPE_CHECKING:
    from crossdock.combine.runners.cluster import Connection
    from crossdock.combine.runners.feed import Feed

__all__ = ["DaskRunner"]

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 16  # per worker process: items mostly wait for a network
_SHARDS_PER_SLOT = 4  # one runs, the others are queued so that no worker waits for the driver


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
        preflight: Before work starts, ask each worker whether it has our software, can load the task, and reaches the
            task's sources and sinks with its credentials: a request or two per worker and place.
        worker_log_level: Log records of crossdock's loggers from this level on, made on workers while items run, are
            carried here and logged here; ``None`` carries none.
        startup_timeout_s: How long to wait for the first worker.
        no_workers_timeout_s: How long to go on waiting when none is left.
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
        preflight: bool = True,
        worker_log_level: int | str | None = "WARNING",
        startup_timeout_s: float = 120.0,
        no_workers_timeout_s: float = 120.0,
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
        self._preflight = preflight
        self._log_level = level_of(worker_log_level)
        self._no_workers_timeout_s = no_workers_timeout_s
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._runs: dict[Feed[Any], int] = {}  # a run: the thread that iterates it
        self._connection: Connection | None = None

    # -- the port ------------------------------------------------------------------------------------------------

    def run(
        self, function: Callable[[T], R], items: Iterable[T], *, name: str = "task"
    ) -> Generator[tuple[int, R | BaseException], None, None]:
        """Apply ``function`` to each item on some worker; yield ``(index, result or error)`` as shards end.

        Items are taken as shards are made, at most the window ahead. An item or a result that cannot be pickled is an
        error for its item. A worker that dies takes nothing along: what it had runs again; a shard
        that loses worker after worker is halved until the item that kills them stands alone and becomes a
        ``ConnectionLostError``. Events and log records of workers are told here, by the thread that iterates. Closing
        the generator, or Ctrl-C in it, begins no further item and waits for those that run.

        Raises:
            ConfigError: The function cannot be pickled, or a worker runs other software.
            ConnectionLostError: The cluster cannot be reached, is gone, or has no worker left.
            CrossdockError: A worker lacks a package, credentials, or its connection to a store.
        """
        from crossdock.combine.runners.daskpool import DaskPool
        from crossdock.combine.runners.feed import Feed
        from crossdock.combine.runners.onworker import free_slot
        from crossdock.combine.runners.preflight import made_with, pickled_with_checks
        from crossdock.combine.runners.sharding import Recipe, ShardSizer, origin, software
        from crossdock.combine.runners.shardloop import ShardLoop, refused_ahead
        from crossdock.combine.runners.wire import cannot_travel

        feed = Feed(items)
        feed.look(1)
        if feed.is_empty:
            return
        # Before a cluster starts: its processes inherit the secrets in function and items.
        try:
            function_bytes, places = pickled_with_checks(function)
        except Exception as error:
            raise cannot_travel(name, error) from error
        yield from refused_ahead(feed, self._shard_size or self._threads)
        if feed.is_empty:
            return
        with self._running(feed):
            connection = self._connect()
            check = made_with(name, places) if self._preflight else None
            if check is not None:
                connection.preflight(check, function_bytes)
            free_slot()
            slots, threads = self._room(connection)
            recipe = Recipe(
                function=function_bytes,
                name=name,
                run_id=uuid.uuid4().hex,
                threads=threads,
                software=software(),
                origin=origin(),
                log_level=self._log_level,
                check=check,
            )
            size = self._shard_size or getattr(function, "shard_size", None)
            loop = ShardLoop(
                DaskPool(connection, recipe),
                feed,
                sizer=ShardSizer(size, threads=threads, slots=slots, total=feed.total),
                shards_per_slot=_SHARDS_PER_SLOT,
                window=self._window,
                no_workers_timeout_s=self._no_workers_timeout_s,
            )
            yield from loop.outcomes()

    def _room(self, connection: Connection) -> tuple[int, int]:
        """How many shards run at once at present, and how many items each of them may run at once."""
        counts = list(connection.client.nthreads().values()) or [1]
        # Worker processes with several Dask threads run several shards at once; together they use ``threads``.
        return sum(counts), max(1, self._threads // max(counts))

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

    def __exit__(self, *error: object) -> None:
        if isinstance(
            error[1], KeyboardInterrupt
        ):  # wherever it struck: not only where somebody waits for a map
            with self._idle:
                runs = list(self._runs)
            for run in runs:
                run.call_off()
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a DaskRunner cannot be pickled; build one inside the task: it finds the worker's cluster"
        )

    @contextmanager
    def _running(self, run: Feed[Any]) -> Iterator[None]:
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
                self._connection.say_where()
            return self._connection
