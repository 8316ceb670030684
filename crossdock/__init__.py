"""crossdock: move data between clouds and formats. Two streaming tasks become one; payload never leaves the worker.

The public names, grouped. Importing the package loads none of them: each is imported when it is first used, so that
``import crossdock`` costs almost nothing and a missing extra hurts only who needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.combine import (
        CombinedTask,
        DaskRunner,
        LocalRunner,
        MapResult,
        TaskContext,
        combine,
        current,
        flatten,
        into,
        one_task,
        param,
        task,
        unmapped,
    )
    from crossdock.connectors import (
        GCSSink,
        GCSSource,
        LocalSink,
        LocalSource,
        MemorySink,
        MemorySource,
        S3Sink,
        S3Source,
        sink,
        source,
    )
    from crossdock.flows import Report, copy, migrate, plan, resume
    from crossdock.model import ByteRange, Digests, Metadata, ObjectInfo, Outcome, Receipt, Verification
    from crossdock.options import Secret
    from crossdock.tasks import Task

__version__ = "0.1.0"

_HOMES = {
    # tasks and combining
    "Task": "crossdock.tasks",
    "task": "crossdock.combine",
    "CombinedTask": "crossdock.combine",
    "one_task": "crossdock.combine",
    "param": "crossdock.combine",
    "into": "crossdock.combine",
    "combine": "crossdock.combine",
    "current": "crossdock.combine",
    "TaskContext": "crossdock.combine",
    # mapping and runners
    "unmapped": "crossdock.combine",
    "flatten": "crossdock.combine",
    "MapResult": "crossdock.combine",
    "LocalRunner": "crossdock.combine",
    "DaskRunner": "crossdock.combine",
    # sources and sinks
    "source": "crossdock.connectors",
    "sink": "crossdock.connectors",
    "S3Source": "crossdock.connectors",
    "S3Sink": "crossdock.connectors",
    "GCSSource": "crossdock.connectors",
    "GCSSink": "crossdock.connectors",
    "LocalSource": "crossdock.connectors",
    "LocalSink": "crossdock.connectors",
    "MemorySource": "crossdock.connectors",
    "MemorySink": "crossdock.connectors",
    # flows
    "copy": "crossdock.flows",
    "migrate": "crossdock.flows",
    "resume": "crossdock.flows",
    "plan": "crossdock.flows",
    "Report": "crossdock.flows",
    # values
    "ByteRange": "crossdock.model",
    "Digests": "crossdock.model",
    "Metadata": "crossdock.model",
    "ObjectInfo": "crossdock.model",
    "Outcome": "crossdock.model",
    "Receipt": "crossdock.model",
    "Verification": "crossdock.model",
    "Secret": "crossdock.options",
}

_ERRORS = frozenset(
    {
        "CompositionError",
        "ConfigError",
        "ConnectionLostError",
        "CredentialsError",
        "CrossdockError",
        "DeniedError",
        "ExistsError",
        "IntegrityError",
        "LedgerError",
        "MapLengthMismatch",
        "MissingExtraError",
        "NotFoundError",
        "PreconditionError",
        "RangeError",
        "StalledError",
        "StorageError",
        "TaskFailed",
        "ThrottledError",
        "UnexpectedError",
        "UnsupportedError",
    }
)

__all__ = [*_HOMES, *sorted(_ERRORS), "__version__"]  # noqa: PLE0604 - the tables above are the list


def __getattr__(name: str) -> Any:
    home = "crossdock.errors" if name in _ERRORS else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crossdock' has no attribute {name!r}")
    if home in ("crossdock.connectors", "crossdock.tasks"):
        importlib.import_module(
            "crossdock.combine"
        )  # so that a source's .combine() works (tasks.set_combiner)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
