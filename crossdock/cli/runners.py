"""Where the work runs: ``--workers``, ``--dask`` and ``--cluster-class`` turned into a runner."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import click

from crossdock.cli.help import Flag

if TYPE_CHECKING:
    from crossdock.ports import Runner

__all__ = ["Where", "runner_flags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the flags said; opens nothing by itself."""

    workers: int | None = None
    dask: str | None = None
    cluster_class: str | None = None
    cluster_kwargs: dict[str, Any] | None = None

    def open(self) -> AbstractContextManager[Runner | None]:
        """The runner, closed at the end of the block; ``None`` for threads of this process."""
        import crossdock as xd

        if self.dask is not None:
            return xd.DaskRunner(self.dask)
        if self.cluster_class is not None:
            return xd.DaskRunner(cluster_class=self.cluster_class, cluster_kwargs=self.cluster_kwargs or {})
        if self.workers is not None:
            # Python's tracker of resources, if the first worker process had to start it, would undo what keeps Ctrl-C from them.
            resource_tracker.ensure_running()
            return xd.DaskRunner(n_workers=self.workers)
        return nullcontext(None)

    def as_flags(self) -> str:
        """The same flags as text, for the command that continues a run."""
        if self.dask is not None:
            return f" --dask {self.dask}"
        if self.workers is not None:
            return f" --workers {self.workers}"
        return ""


def runner_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command is given one ``where`` instead of each."""

    @functools.wraps(function)
    def command(
        *args: Any,
        workers: int | None,
        dask: str | None,
        cluster_class: str | None,
        cluster_kwargs: str | None,
        **others: Any,
    ) -> Any:
        where = _where(workers=workers, dask=dask, cluster_class=cluster_class, cluster_kwargs=cluster_kwargs)
        return function(*args, where=where, **others)

    decorated: Callable[..., Any] = command
    for names, options in reversed(_FLAGS):
        decorated = click.option(*names, cls=Flag, group="Where it runs", **options)(decorated)
    return decorated


def _where(
    *, workers: int | None, dask: str | None, cluster_class: str | None, cluster_kwargs: str | None
) -> Where:
    """Read the flags.

    Raises:
        click.UsageError: Two places at once, or arguments without a cluster class.
    """
    given = [
        name
        for name, value in (("--workers", workers), ("--dask", dask), ("--cluster-class", cluster_class))
        if value
    ]
    if len(given) > 1:
        raise click.UsageError(
            f"{' and '.join(given)} exclude each other: give the one place where the work shall run"
        )
    if cluster_kwargs is None:
        return Where(workers=workers, dask=dask, cluster_class=cluster_class)
    if cluster_class is None:
        raise click.UsageError("--cluster-kwargs needs --cluster-class")
    try:
        kwargs = json.loads(cluster_kwargs)
    except ValueError as error:
        raise click.UsageError(f"--cluster-kwargs is not JSON: {error}") from None
    if not isinstance(kwargs, dict):
        raise click.UsageError('--cluster-kwargs is a JSON object, such as {"n_workers": 4}')
    return Where(cluster_class=cluster_class, cluster_kwargs=kwargs)


_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--workers",),
        {
            "type": click.IntRange(1),
            "metavar": "N",
            "help": "A Dask cluster of N processes on this machine. Without it: threads here.",
        },
    ),
    (("--dask",), {"metavar": "ADDRESS", "help": "A Dask scheduler that runs, such as tcp://10.0.0.1:8786."}),
    (
        ("--cluster-class",),
        {
            "metavar": "NAME",
            "help": "A Dask cluster class to start, as a dotted name, such as dask_kubernetes.operator.KubeCluster.",
        },
    ),
    (("--cluster-kwargs",), {"metavar": "JSON", "help": "Arguments of the cluster class, as a JSON object."}),
)
