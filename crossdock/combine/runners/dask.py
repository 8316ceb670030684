"""``DaskRunner``: workers elsewhere. Items travel in shards, outcomes come back as data, payload does neither.

Dask is imported when the first run starts, and the cluster starts then too: after the function was pickled, so that
worker processes inherit the secrets it refers to. Dask itself retries nothing but tasks of workers that died.
"""

from __future__ import annotations

import importlib
import logging
import operator
import os
import re
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self, TypeVar

from crossdock.errors import ConfigError, ConnectionLostError, Retry, UnexpectedError

__all__ = ["DaskRunner"]

T = TypeVar("T")
R = TypeVar("R")

_logger = logging.getLogger("crossdock.dask")
_THREADS = 16  # per worker process: items mostly wait for a network
_SHARDS_PER_SLOT = 4  # one running, the others queued so that no worker waits for the driver


@dataclass(slots=True, eq=False)
class _Shard:
    """Items under way: their positions, themselves (to send again), and how often their worker was lost."""

    numbers: list[int]
    items: list[Any]
    losses: int = 0


@dataclass(slots=True)
class _Connection:
    """A client, and what of it is ours to close."""

    client: Any
    cluster: Any = None
    owns_client: bool = True
    owns_cluster: bool = False
    runs: dict[int, int] = field(default_factory=dict)


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
            raise ConfigError(f"cluster_kwargs, adapt_kwargs and n_workers start a cluster; {given[0]} names one")
        if threads < 1 or (window is not None and window < 1):
            raise ConfigError(f"threads and window are 1 or more, not {threads} and {window}")
        if shard_size != "auto" and (not isinstance(shard_size, int) or shard_size < 1):
            raise ConfigError(f"shard_size is 'auto' or 1 or more, not {shard_size!r}")
        if n_workers is not None and "n_workers" in (cluster_kwargs or {}):
            raise ConfigError("n_workers is given twice, by itself and in cluster_kwargs")
        self._address = address
        self._given_cluster = cluster
        self._cluster_class = cluster_class
        self._cluster_kwargs = {**(cluster_kwargs or {}), **({"n_workers": n_workers} if n_workers else {})}
        self._adapt_kwargs = dict(adapt_kwargs or {})
        self._given_client = client
        self._client_kwargs = dict(client_kwargs or {})
        self._keep_cluster = keep_cluster
        self._threads = threads
        self._shard_size = None if shard_size == "auto" else int(shard_size)
        self._window = window
        self._startup_timeout_s = startup_timeout_s
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._runs: dict[str, int] = {}  # run: the thread that iterates it
        self._connection: _Connection | None = None
        self._closing = False

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
        from crossdock.combine.sharding import encode_items

        total = operator.length_hint(items, -1)
        numbered = enumerate(items)
        head = list(islice(numbered, self._shard_size or self._threads))
        try:
            recipe_bytes = _pickled(function, name)
            _pickled([item for _, item in head], name)
        finally:
            del encode_items
        if not head:
            return
        connection = self._connect()
        loop = _RunLoop(
            self,
            connection,
            recipe_bytes,
            _chain(head, numbered),
            total=total if total >= 0 else None,
            name=name,
            shard_size=self._shard_size or getattr(function, "shard_size", None),
        )
        with self._running(loop.run_id):
            yield from loop.outcomes()

    def workers(self) -> dict[str, int]:
        """Address and process id of each worker; starts the cluster if it is not."""
        client = self._connect().client
        return {str(address): int(pid) for address, pid in client.run(os.getpid).items()}

    @property
    def cluster(self) -> Any:
        """The cluster that was given or started; ``None`` before the first run and for an address or client."""
        return self._connection.cluster if self._connection else self._given_cluster

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
        if connection is None:
            return
        with _quiet():
            if connection.owns_client:
                connection.client.close()
            if connection.owns_cluster and not self._keep_cluster:
                connection.cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a DaskRunner cannot be pickled; build one inside the task: it finds the worker's cluster")

    @contextmanager
    def _running(self, run_id: str) -> Iterator[None]:
        with self._idle:
            self._runs[run_id] = threading.get_ident()
        try:
            yield
        finally:
            with self._idle:
                del self._runs[run_id]
                self._idle.notify_all()

    # -- starting ------------------------------------------------------------------------------------------------

    def _connect(self) -> _Connection:
        with self._lock:
            if self._connection is None:
                self._connection = self._start()
            return self._connection

    def _start(self) -> _Connection:
        connection = self._worker_client() or self._open()
        try:
            self._wait_for_workers(connection.client)
            _preflight(connection.client)
        except BaseException:
            with _quiet():
                if connection.owns_client:
                    connection.client.close()
                if connection.owns_cluster:
                    connection.cluster.close()
            raise
        _logger.info("dask dashboard: %s", connection.client.dashboard_link)
        return connection

    def _worker_client(self) -> _Connection | None:
        """Inside a Dask worker and told nothing else: the cluster we are part of."""
        if self._address or self._given_client or self._given_cluster or self._cluster_class:
            return None
        import distributed

        try:
            distributed.get_worker()
        except ValueError:
            return None
        if self._cluster_kwargs or self._adapt_kwargs:
            return None
        return _Connection(distributed.get_client(), owns_client=False)

    def _open(self) -> _Connection:
        import distributed

        if self._given_client is not None:
            return _Connection(self._given_client, owns_client=False)
        options = {"set_as_default": False, **self._client_kwargs}
        if self._address is not None:
            try:
                return _Connection(distributed.Client(self._address, **options))
            except (OSError, TimeoutError) as error:
                raise ConnectionLostError(
                    f"no Dask scheduler answers: {error}",
                    operation="connect",
                    where=self._address,
                    hint="check the address, or leave it out to start a local cluster",
                ) from error
        if self._given_cluster is not None:
            return _Connection(distributed.Client(self._given_cluster, **options), cluster=self._given_cluster)
        cluster = self._start_cluster()
        try:
            client = distributed.Client(cluster, **options)
        except BaseException:
            with _quiet():
                cluster.close()
            raise
        return _Connection(client, cluster=cluster, owns_cluster=True)

    def _start_cluster(self) -> Any:
        import distributed

        kind = _resolve(self._cluster_class or distributed.LocalCluster)
        kwargs = dict(self._cluster_kwargs)
        if kind is distributed.LocalCluster:
            kwargs = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", **kwargs}
            if "n_workers" not in kwargs:
                kwargs["n_workers"] = os.cpu_count() or 1
        try:
            cluster = kind(**kwargs)
        except TypeError as error:
            raise ConfigError(
                f"{kind.__name__} cannot be started with {sorted(kwargs)}: {error}", operation="start cluster"
            ) from error
        if self._adapt_kwargs:
            cluster.adapt(**self._adapt_kwargs)
        return cluster

    def _wait_for_workers(self, client: Any) -> None:
        try:
            client.wait_for_workers(1, timeout=self._startup_timeout_s)
        except TimeoutError as error:
            raise ConnectionLostError(
                f"no worker came within {self._startup_timeout_s:.0f} s",
                operation="start",
                where=str(client.scheduler.address),
                hint="look at the cluster's own logs, or give a longer startup_timeout_s",
            ) from error

    def window_for(self, slots: int) -> int:
        """How many shards may be under way on ``slots`` worker threads."""
        return self._window or _SHARDS_PER_SLOT * max(1, slots)

    @property
    def threads(self) -> int:
        """How many items each worker process runs at once."""
        return self._threads


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


def _resolve(kind: Any) -> Any:
    """A cluster class from a class or its dotted name."""
    if not isinstance(kind, str):
        return kind
    module, _, attribute = kind.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cluster class {kind!r} cannot be imported: {error}",
            operation="start cluster",
            hint="give its full dotted name, and install its package here",
        ) from error


def _preflight(client: Any) -> None:
    """Every worker runs our software, before any work is sent.

    Raises:
        ConfigError: One does not; the text names it and both versions.
    """
    from crossdock.combine.sharding import software

    mine = software()
    for worker, theirs in client.run(software, on_error="return").items():
        if isinstance(theirs, BaseException):
            raise ConfigError(
                f"worker {worker} cannot import crossdock: {type(theirs).__name__}: {theirs}",
                operation="preflight",
                hint=f"install crossdock {mine[0]} on the workers",
            )
        if tuple(theirs) != mine:
            raise ConfigError(
                f"worker {worker} runs crossdock {theirs[0]} on Python {theirs[1]}, the driver crossdock {mine[0]} "
                f"on Python {mine[1]}",
                operation="preflight",
                hint="install the same versions on both sides",
            )


_NOISY = ("distributed", "distributed.client", "distributed.scheduler", "distributed.core", "distributed.comm")
_NOISY += ("distributed.batched", "distributed.worker", "distributed.nanny", "distributed.deploy.adaptive", "tornado")


@contextmanager
def _quiet() -> Iterator[None]:
    """Closing a cluster makes its parts report each other's absence; that is no news."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
