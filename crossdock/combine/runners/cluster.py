"""Reaching a Dask cluster: which one, starting it, checking its workers, leaving it without noise.

Imported when a ``DaskRunner`` starts, never before: it imports Dask.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dask as _dask
import distributed as _distributed

from crossdock.combine.sharding import mismatch_text, software
from crossdock.errors import ConfigError, ConnectionLostError

__all__ = ["ClusterRecipe", "Connection", "quiet"]


dask: Any = _dask  # Dask's calls are untyped
distributed: Any = _distributed


@dataclass(slots=True)
class Connection:
    """A client, and what of it is ours to close."""

    client: Any
    cluster: Any = None
    owns_client: bool = True
    owns_cluster: bool = False
    scratch: str | None = None  # the local cluster's directory, which Dask itself leaves behind

    def close(self, *, keep_cluster: bool = False) -> None:
        """Close what is ours, quietly."""
        with quiet():
            if self.owns_client:
                self.client.close()
            if self.owns_cluster and not keep_cluster:
                self.cluster.close()
                if self.scratch is not None:
                    shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecipe:
    """Where the workers are or how to get them; the arguments of ``DaskRunner`` of the same names."""

    address: str | None = None
    cluster: Any = None
    cluster_class: Any = None
    cluster_kwargs: Mapping[str, Any] = field(default_factory=dict)
    adapt_kwargs: Mapping[str, Any] = field(default_factory=dict)
    client: Any = None
    client_kwargs: Mapping[str, Any] = field(default_factory=dict)
    startup_timeout_s: float = 120.0

    def open(self) -> Connection:
        """Connect, starting a cluster if none is named, and check its workers. Nothing is left after a failure.

        Raises:
            ConfigError: The cluster class or its arguments are wrong, or a worker runs other software.
            ConnectionLostError: No scheduler answers, or no worker comes.
        """
        connection = self._of_this_worker() or self._connect()
        try:
            self._wait_for_a_worker(connection.client)
            _preflight(connection.client)
        except BaseException:
            connection.close()
            raise
        return connection

    def _of_this_worker(self) -> Connection | None:
        """Inside a Dask worker and told nothing else: the cluster we are part of."""
        told = (self.address, self.cluster, self.cluster_class, self.client)
        if any(each is not None for each in told) or self.cluster_kwargs or self.adapt_kwargs:
            return None
        try:
            distributed.get_worker()
        except ValueError:
            return None
        return Connection(distributed.get_client(), owns_client=False)

    def _connect(self) -> Connection:
        if self.client is not None:
            return Connection(self.client, owns_client=False)
        options: dict[str, Any] = {"set_as_default": False, **self.client_kwargs}
        if self.address is not None:
            return Connection(self._client_at(self.address, options))
        if self.cluster is not None:
            return Connection(_client_of(self.cluster, options), cluster=self.cluster)
        cluster, scratch = self._start_cluster()
        connection = Connection(None, cluster=cluster, owns_client=False, owns_cluster=True, scratch=scratch)
        try:
            if self.adapt_kwargs:
                cluster.adapt(**self.adapt_kwargs)
            connection.client = _client_of(cluster, options)
        except BaseException:
            connection.close()
            raise
        connection.owns_client = True
        return connection

    def _client_at(self, address: str, options: dict[str, Any]) -> Any:
        try:
            return distributed.Client(address, **options)
        except (OSError, TimeoutError) as error:
            raise ConnectionLostError(
                f"no Dask scheduler answers: {error}",
                operation="connect",
                where=address,
                hint="check the address, or leave it out to start a local cluster",
            ) from error
        except ValueError as error:
            raise ConfigError(f"{address!r} is no scheduler address: {error}", operation="connect") from error

    def _start_cluster(self) -> tuple[Any, str | None]:
        """A cluster of ours, and the directory that was made for it."""
        scratch: str | None = None
        kind = _resolve(self.cluster_class or distributed.LocalCluster)
        kwargs = dict(self.cluster_kwargs)
        if kind is distributed.LocalCluster:
            kwargs = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", **kwargs}
            kwargs.setdefault("n_workers", os.cpu_count() or 1)
            kwargs.setdefault("preload", ["crossdock.combine.runners.worker_signals"])
            if "local_directory" not in kwargs:
                kwargs["local_directory"] = scratch = tempfile.mkdtemp(prefix="crossdock-dask-")
        try:
            # The scheduler of a LocalCluster has a directory of its own and takes it from the configuration only.
            with dask.config.set({"temporary-directory": scratch} if scratch is not None else {}):
                return kind(**kwargs), scratch
        except Exception as error:  # whatever somebody's cluster class raises
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            # Workers take what LocalCluster does not know, so a wrong argument comes back as their failure to start.
            wrong_argument = isinstance(error, TypeError) or isinstance(error.__cause__, TypeError)
            raise (ConfigError if wrong_argument else ConnectionLostError)(
                f"{getattr(kind, '__name__', kind)} cannot be started with {sorted(kwargs)}: "
                f"{error.__cause__ or error}",
                operation="start cluster",
                hint="look at cluster_class and cluster_kwargs",
            ) from error

    def _wait_for_a_worker(self, client: Any) -> None:
        try:
            client.wait_for_workers(1, timeout=self.startup_timeout_s)
        except TimeoutError as error:
            raise ConnectionLostError(
                f"no worker came within {self.startup_timeout_s:.0f} s",
                operation="start",
                where=str(client.scheduler.address),
                hint="look at the cluster's own logs, or give a longer startup_timeout_s",
            ) from error


def _client_of(cluster: Any, options: dict[str, Any]) -> Any:
    """A client of a cluster object; of one that is none of Dask's kind, by its address."""
    known = isinstance(cluster, distributed.deploy.Cluster)
    return distributed.Client(cluster if known else cluster.scheduler_address, **options)


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
    """Every worker runs our software, before any work is sent; later workers are checked with each shard.

    Raises:
        ConfigError: One does not; the text names it and both versions.
    """
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
                mismatch_text(mine, tuple(theirs)),
                operation="preflight",
                where=str(worker),
                hint="install the same versions on both sides",
            )


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
    "tornado",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Closing a cluster makes its parts report each other's absence; that is no news."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
