"""crossdock: move data between clouds and formats. Two streaming tasks become one; payload never leaves the worker.

The public names, grouped. Importing the package loads none of them: each is imported when it is first used, so that
``import crossdock`` costs almost nothing and a missing extra hurts only who needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.batches import Batches as Batches
    from crossdock.combine import (
        Cache as Cache,
        CombinedTask as CombinedTask,
        DaskRunner as DaskRunner,
        LocalRunner as LocalRunner,
        MapResult as MapResult,
        TaskContext as TaskContext,
        TaskOptions as TaskOptions,
        combine as combine,
        current as current,
        flatten as flatten,
        into as into,
        one_task as one_task,
        param as param,
        product as product,
        task as task,
        unmapped as unmapped,
    )
    from crossdock.connectors import (
        AzureSink as AzureSink,
        AzureSource as AzureSource,
        GCSSink as GCSSink,
        GCSSource as GCSSource,
        HTTPSource as HTTPSource,
        LocalSink as LocalSink,
        LocalSource as LocalSource,
        MemorySink as MemorySink,
        MemorySource as MemorySource,
        S3Sink as S3Sink,
        S3Source as S3Source,
        SFTPSink as SFTPSink,
        SFTPSource as SFTPSource,
        collect as collect,
        frames as frames,
        sink as sink,
        source as source,
    )
    from crossdock.connectors.cursors import Cursor as Cursor
    from crossdock.connectors.rest import (
        Basic as Basic,
        Bearer as Bearer,
        ByCursor as ByCursor,
        ByLink as ByLink,
        ByOffset as ByOffset,
        ByPage as ByPage,
        ByURL as ByURL,
        ClientCredentials as ClientCredentials,
        HeaderKey as HeaderKey,
        QueryKey as QueryKey,
        RESTSource as RESTSource,
        rest as rest,
    )
    from crossdock.datasets import (
        dataset as dataset,
        dataset_sink as dataset_sink,
        date as date,
        day as day,
        hour as hour,
        month as month,
        year as year,
    )
    from crossdock.flows import (
        CheckReport as CheckReport,
        CleanupReport as CleanupReport,
        Erasure as Erasure,
        MoveReport as MoveReport,
        Report as Report,
        SyncReport as SyncReport,
        Usage as Usage,
        check as check,
        cleanup as cleanup,
        convert as convert,
        copy as copy,
        export as export,
        ingest as ingest,
        migrate as migrate,
        move as move,
        plan as plan,
        remove as remove,
        resume as resume,
        retry as retry,
        sync as sync,
        usage as usage,
    )
    from crossdock.flows.looking import head as head, query as query, schema as schema
    from crossdock.formats import (
        BadRow as BadRow,
        cast as cast,
        chain as chain,
        compress as compress,
        decode as decode,
        decompress as decompress,
        encode as encode,
        filter as filter,  # noqa: A004 - read as xd.filter
        limit as limit,
        rename as rename,
        sample as sample,
        select as select,
        transform as transform,
    )
    from crossdock.model import (
        ByteRange as ByteRange,
        Digests as Digests,
        Metadata as Metadata,
        ObjectInfo as ObjectInfo,
        Outcome as Outcome,
        Receipt as Receipt,
        Verification as Verification,
    )
    from crossdock.notifications import (
        RunEnded as RunEnded,
        apprise as apprise,
        slack as slack,
        webhook as webhook,
    )
    from crossdock.options import Secret as Secret
    from crossdock.tasks import Task as Task

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
    "TaskOptions": "crossdock.combine",
    "Cache": "crossdock.combine",
    # mapping and runners
    "unmapped": "crossdock.combine",
    "flatten": "crossdock.combine",
    "product": "crossdock.combine",
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
    "AzureSource": "crossdock.connectors",
    "AzureSink": "crossdock.connectors",
    "LocalSource": "crossdock.connectors",
    "LocalSink": "crossdock.connectors",
    "MemorySource": "crossdock.connectors",
    "MemorySink": "crossdock.connectors",
    "HTTPSource": "crossdock.connectors",
    "SFTPSource": "crossdock.connectors",
    "SFTPSink": "crossdock.connectors",
    "frames": "crossdock.connectors",
    "collect": "crossdock.connectors",
    # datasets
    **dict.fromkeys(
        ("dataset", "dataset_sink", "year", "month", "day", "hour", "date"), "crossdock.datasets"
    ),
    # APIs
    **dict.fromkeys(("rest", "RESTSource"), "crossdock.connectors.rest"),
    **dict.fromkeys(("ByPage", "ByOffset", "ByCursor", "ByLink", "ByURL"), "crossdock.connectors.rest"),
    **dict.fromkeys(
        ("Bearer", "Basic", "HeaderKey", "QueryKey", "ClientCredentials"), "crossdock.connectors.rest"
    ),
    "Cursor": "crossdock.connectors.cursors",
    # flows
    "copy": "crossdock.flows",
    "migrate": "crossdock.flows",
    "move": "crossdock.flows",
    "sync": "crossdock.flows",
    "convert": "crossdock.flows",
    "ingest": "crossdock.flows",
    "export": "crossdock.flows",
    "resume": "crossdock.flows",
    "retry": "crossdock.flows",
    "remove": "crossdock.flows",
    "usage": "crossdock.flows",
    "head": "crossdock.flows.looking",
    "schema": "crossdock.flows.looking",
    "query": "crossdock.flows.looking",
    "Erasure": "crossdock.flows",
    "Usage": "crossdock.flows",
    "plan": "crossdock.flows",
    "check": "crossdock.flows",
    "cleanup": "crossdock.flows",
    "Report": "crossdock.flows",
    "SyncReport": "crossdock.flows",
    "MoveReport": "crossdock.flows",
    "CheckReport": "crossdock.flows",
    "CleanupReport": "crossdock.flows",
    # rows and formats
    "Batches": "crossdock.batches",
    "decode": "crossdock.formats",
    "encode": "crossdock.formats",
    "compress": "crossdock.formats",
    "decompress": "crossdock.formats",
    "transform": "crossdock.formats",
    "chain": "crossdock.formats",
    "select": "crossdock.formats",
    "cast": "crossdock.formats",
    "rename": "crossdock.formats",
    "filter": "crossdock.formats",
    "limit": "crossdock.formats",
    "sample": "crossdock.formats",
    "BadRow": "crossdock.formats",
    # notifications
    "slack": "crossdock.notifications",
    "webhook": "crossdock.notifications",
    "apprise": "crossdock.notifications",
    "RunEnded": "crossdock.notifications",
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
        "RowError",
        "StalledError",
        "StorageError",
        "StrictError",
        "TaskFailed",
        "ThrottledError",
        "UnexpectedError",
        "UnprovenError",
        "UnsafeError",
        "UnsupportedError",
    }
)

__all__ = [*_HOMES, *sorted(_ERRORS), "__version__"]  # noqa: PLE0604 - the tables above are the list


def __getattr__(name: str) -> Any:
    home = "crossdock.errors" if name in _ERRORS else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crossdock' has no attribute {name!r}")
    if home in (
        "crossdock.connectors",
        "crossdock.connectors.rest",
        "crossdock.datasets",
        "crossdock.tasks",
    ):
        importlib.import_module(
            "crossdock.combine"
        )  # so that a source's .combine() works (tasks.set_combiner)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
