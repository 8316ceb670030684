"""Reaching a Dask cluster: which one, starting it, checking its workers, leaving it without noise.

Imported when a ``DaskRunner`` starts, never before: it imports Dask.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dask as _dask
import distributed as _distributed

from crossdock.combine.runners.dask_noise import be_quiet, quiet
from crossdock.combine.runners.preflight import Check, asked_here, on_worker, versions
from crossdock.combine.runners.sharding import software
from crossdock.errors import ConfigError, ConnectionLostError, CrossdockError
from crossdock.events import Note, emit

__all__ = ["ClusterRecipe", "Connection"]


_logger = logging.getLogger("crossdock.dask")

_PREFLIGHT_S = 60.0  # a worker that takes longer is asked again with its first shard

dask: Any = _dask  # Dask's calls are untyped
distributed: Any = _distributed


_left_open: set[str | None] = set()  # scratch of local clusters that nobody closed yet


@atexit.register  # after distributed's own hooks, so before them: they close what is left, and its parts complain
def _leave() -> None:
    """Clusters that nobody closed end with the process: without a word, and without their directories."""
    be_quiet()
    distributed.deploy.spec.close_clusters()
    for scratch in _left_open:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


_announced: set[str] = set()  # clusters, by their scheduler's name for itself


@dataclass(slots=True)
class Connection:
    """A client, and what of it is ours to close."""

    client: Any
    cluster: Any = None
    owns_client: bool = True
    owns_cluster: bool = False
    scratch: str | None = None  # the local cluster's directory, which Dask itself leaves behind
    announces: bool = True
    said_versions: bool = False

    def say_where(self) -> None:
        """Tell, once per cluster, where a browser sees it."""
        about = self.client.scheduler_info()
        if not self.announces or "dashboard" not in about["services"] or about["id"] in _announced:
            return
        _announced.add(about["id"])
        text = f"The Dask dashboard of this run is at {self.client.dashboard_link}"
        _logger.info("%s", text)
        emit(Note(text=text))

    def preflight(self, check: Check, function: bytes) -> None:
        """Ask every worker there is whether it can work for a task; a request or two each. Later workers are asked with their first shard.

        Raises:
            ConfigError: One runs other software, or cannot load the task.
            MissingExtraError: One lacks a package.
            CrossdockError: What a source or sink found out there: no credentials, no such bucket, no connection.
            ConnectionLostError: The scheduler is gone.
        """
        answers = self.ask_all(asked_here, check, function, timeout_s=_PREFLIGHT_S)
        refusing: dict[str, CrossdockError] = {}
        for worker, answer in answers.items():
            if isinstance(answer, ImportError | AttributeError):  # it does not even know what it was asked
                refusing[worker] = ConfigError(
                    f"it cannot import crossdock {software()[0]}: {type(answer).__name__}: {answer}",
                    operation="preflight",
                    hint=f"install crossdock {software()[0]} on the workers",
                )
            elif isinstance(answer, BaseException):
                continue  # it was lost while it was asked; whoever takes its place is asked with its first shard
            elif answer[0] is not None:
                refusing[worker] = answer[0]
        for worker, refusal in refusing.items():
            raise on_worker(worker, refusal, others=len(refusing) - 1)
        self._compare_versions(
            {worker: each[1] for worker, each in answers.items() if isinstance(each, tuple)}
        )

    def _compare_versions(self, theirs: Mapping[str, Mapping[str, str]]) -> None:
        """Other versions of what driver and workers speak with are worth a warning, once."""
        mine = versions()
        for worker, found in theirs.items():
            other = [
                f"{name} {found.get(name, 'missing')} (here {mine[name]})"
                for name in mine
                if found.get(name) != mine[name]
            ]
            if other and not self.said_versions:
                self.said_versions = True
                text = (
                    f"worker {worker} runs {', '.join(other)}; errors that nobody understands may come of it"
                )
                _logger.warning("%s", text)
                emit(Note(text=text))

    def ask_all(self, function: Callable[..., Any], *args: Any, timeout_s: float) -> dict[str, Any]:
        """What each worker answers, or its error. Nothing at all if one of them keeps everybody waiting.

        Raises:
            ConnectionLostError: The scheduler is gone.
        """

        async def ask() -> Any:
            return await self.client.run(function, *args, on_error="return")

        try:
            return self.client.sync(ask, callback_timeout=timeout_s)  # type: ignore[no-any-return]
        except TimeoutError:
            _logger.warning("not all Dask workers answered within %.0f s; going on without", timeout_s)
            return {}
        except OSError as error:  # CommClosedError is one
            raise ConnectionLostError(
                f"the Dask scheduler does not answer: {error}", operation="run"
            ) from error

    def mend(self) -> None:
        """Start the workers again that a cluster of ours gave up.

        Dask's local clusters drop a worker for good that is away 15 s after it was lost, and be it because it was lost again.
        """
        if self.owns_cluster and isinstance(self.cluster, distributed.SpecCluster):
            wanted = len(self.cluster.worker_spec)
            if len(self.cluster.workers) < wanted:
                self.cluster.scale(wanted)

    def close(self, *, keep_cluster: bool = False) -> None:
        """Close what is ours, quietly."""
        with quiet():
            if self.owns_client:
                self.client.close()
            if self.owns_cluster and not keep_cluster:
                self.cluster.close()
                if self.scratch is not None:
                    shutil.rmtree(self.scratch, ignore_errors=True)
                _left_open.discard(self.scratch)


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
        """Connect, starting a cluster if none is named, and wait for a worker. Nothing is left after a failure.

        Raises:
            ConfigError: The cluster class or its arguments are wrong.
            ConnectionLostError: No scheduler answers, or no worker comes.
        """
        connection = self._of_this_worker() or self._connect()
        try:
            self._wait_for_a_worker(connection.client)
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
        return Connection(distributed.get_client(), owns_client=False, announces=False)

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
        _left_open.add(scratch)
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
        if kind is distributed.LocalCluster and getattr(
            multiprocessing.current_process(), "_inheriting", False
        ):
            # A script without `if __name__ == "__main__":` runs again in each worker process it starts. This is one; the
            # process that started it says what is wrong.
            os._exit(1)
        if kind is distributed.LocalCluster:
            kwargs = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", **kwargs}
            kwargs.setdefault(
                "n_workers", self.adapt_kwargs.get("minimum", 0) if self.adapt_kwargs else os.cpu_count() or 1
            )
            kwargs.setdefault("preload", ["crossdock.combine.runners.worker_signals"])
            if "local_directory" not in kwargs:
                kwargs["local_directory"] = scratch = tempfile.mkdtemp(prefix="crossdock-dask-")
        try:
            # What a scheduler in this process takes from the configuration only: the directory of its own, and to tell of each
            # worker that died at once, instead of running what it had three times more; we know better what to do then.
            settings: dict[str, Any] = {"distributed.scheduler.allowed-failures": 0}
            if scratch is not None:
                settings["temporary-directory"] = scratch
            with dask.config.set(settings):
                return kind(**kwargs), scratch
        except Exception as error:  # whatever somebody's cluster class raises
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            # Workers take what LocalCluster does not know, so a wrong argument comes back as their failure to start.
            if "Nanny failed to start worker process" in str(error.__cause__ or error):
                raise ConfigError(
                    "a worker process ended before it could begin",
                    operation="start cluster",
                    hint="a script that starts processes needs `if __name__ == '__main__':` around what it does",
                ) from error
            wrong_argument = isinstance(error, TypeError) or isinstance(error.__cause__, TypeError)
            raise (ConfigError if wrong_argument else ConnectionLostError)(
                f"{getattr(kind, '__name__', kind)} cannot be started with {sorted(kwargs)}: "
                f"{error.__cause__ or error}",
                operation="start cluster",
                hint="look at cluster_class and cluster_kwargs",
            ) from error

    def _wait_for_a_worker(self, client: Any) -> None:
        if client.nthreads():
            return
        # A cluster that scales by itself has no worker until there is something to do.
        something = client.submit(os.getpid, key=f"crossdock-wake-{uuid.uuid4().hex}", pure=False)
        try:
            client.wait_for_workers(1, timeout=self.startup_timeout_s)
        except TimeoutError as error:
            raise ConnectionLostError(
                f"no worker came within {self.startup_timeout_s:.0f} s",
                operation="start",
                where=str(client.scheduler.address),
                hint="look at the cluster's own logs, or give a longer startup_timeout_s",
            ) from error
        finally:
            something.release()


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
