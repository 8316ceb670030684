"""The two ends of a run: from what a user wrote (URLs or tasks) to a source, a sink and the mapping between them.

Also what of them a run keeps, and how they are rebuilt from that. Secrets are not kept: they come again from options or
from each cloud's own chain.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.connectors.registry import key_last, open_store, split_transfer_options, split_url
from crossdock.errors import ConfigError, NotFoundError
from crossdock.events import Note, Observer
from crossdock.flows.questions.filters import WILDCARDS, split_wildcards
from crossdock.model import ObjectInfo
from crossdock.options import parse_options, public_options
from crossdock.ports import ObjectStore

if TYPE_CHECKING:
    from crossdock.flows.given import Names, ObjectTable

__all__ = [
    "Ends",
    "describe",
    "describe_sink",
    "kept_options",
    "listed_source",
    "open_ends",
    "open_sink",
    "open_source",
    "options_over",
    "rebuilt",
    "rebuilt_sink",
    "settled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Source and sink as tasks. ``one`` is set when the source is exactly one object, which goes to ``exact``.

    ``given`` is what is taken instead of the source's listing.

    ``source_kept`` and ``sink_kept`` are the options of their stores, without secrets: what a run keeps of them.
    """

    source: ObjectSource
    sink: ObjectSink
    include: tuple[str, ...] = ()
    one: ObjectInfo | None = None
    exact: str | None = None
    given: Names | ObjectTable | None = None
    source_kept: Mapping[str, Any] = field(default_factory=dict)
    sink_kept: Mapping[str, Any] = field(default_factory=dict)


def open_ends(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    verify: str | None = None,
    require: str | None = None,
    strict: bool | None = None,
) -> Ends:
    """Both ends, from URLs or tasks. Opens no connection.

    Args:
        source: URL or source task. With ``glob`` wildcards in the URL's key become a prefix and an include.
        sink: URL or sink task.
        source_options: Options for a source given as URL.
        sink_options: Options for a sink given as URL, also those of ``TransferOptions``.
        glob: Whether wildcards mean anything in the source's URL.
        verify: Level of verification; ``None`` leaves the sink's own.
        require: Level below which a copy is a failure; likewise.
        strict: Whether weaker forms of the promise are refused; likewise.

    Raises:
        ConfigError: A URL or an option is wrong, or options are given for a task that is open already.
    """
    _demand_ends(source, sink)
    include: tuple[str, ...] = ()
    if isinstance(source, str):
        source_kept = kept_options(source, source_options or {})
        source, include = listed_source(source, source_options or {}, glob=glob)
    elif source_options:
        raise ConfigError("source_options go with a URL; this source is a task already", operation="open")
    else:
        source_kept = _options_of(source.store)
    if isinstance(sink, str):
        sink_kept = kept_options(sink, split_transfer_options(sink_options or {})[1])
        sink = open_sink(sink, sink_options or {})
    elif sink_options:
        raise ConfigError("sink_options go with a URL; this sink is a task already", operation="open")
    else:
        sink_kept = _options_of(sink.store)
    sink = sink.verifying(verify, require=require, strict=strict)
    return Ends(source=source, sink=sink, include=include, source_kept=source_kept, sink_kept=sink_kept)


def _demand_ends(source: object, sink: object) -> None:
    for name, given, task in (("source", source, ObjectSource), ("sink", sink, ObjectSink)):
        if not isinstance(given, (str, task)):
            hint = (
                "write str(path)" if isinstance(given, os.PathLike) else f"xd.{name}(url) makes such a task"
            )
            raise ConfigError(
                f"{name} is a URL or a task of objects, not {type(given).__name__}",
                operation="open",
                hint=hint,
            )


def open_source(url: str, options: Mapping[str, Any]) -> ObjectSource:
    """A source by URL, its key or prefix as written."""
    store, prefix = open_store(url, options)
    return ObjectSource(store, prefix)


def open_sink(url: str, options: Mapping[str, Any]) -> ObjectSink:
    """A sink by URL, its key or prefix as written; a local directory may still be made."""
    transfer, rest = split_transfer_options(options)
    store, prefix = open_store(url, rest, to_write=True)
    return ObjectSink(store, prefix, transfer=transfer)


def listed_source(
    url: str, options: Mapping[str, Any], *, glob: bool
) -> tuple[ObjectSource, tuple[str, ...]]:
    """A source by URL, and the globs that its wildcards become: they match what is below the source's prefix."""
    url = key_last(url)
    scheme, sep, rest = url.partition("://")
    path = rest if sep else url
    local = split_url(url)[0].name == "local"
    if not glob or WILDCARDS.isdisjoint(path) or (local and os.path.lexists(path)):
        return open_source(url, options), ()
    literal = open_source(url, options)
    if not literal.store.capabilities.lists:  # a ? begins a query there
        return literal, ()
    bucket, slash, key = ("", "", path) if local else path.partition("/")
    if not WILDCARDS.isdisjoint(bucket):
        raise ConfigError("a bucket's name has no wildcards", operation="open", where=url)
    prefix, pattern = split_wildcards(key)
    head = f"{bucket}{slash}{prefix}" or "./"
    source = open_source(f"{scheme}{sep}{head}" if sep else head, options)
    return source, (pattern,) if pattern else ()


def settled(ends: Ends, observer: Observer) -> Ends:
    """Find out whether the source is one object or a prefix, and complete both prefixes. At most two requests.

    A source that does not end in ``/`` is one object if there is one of that name, else the prefix with ``/`` added: so
    ``logs`` never takes ``logs-2/``. A destination opened by URL is a prefix, with ``/`` added, except for one object.

    Raises:
        ConfigError: Source and destination are the same place.
        NotFoundError: The bucket is missing.
    """
    source, sink = ends.source, ends.sink
    key = source.prefix
    if key and not key.endswith("/") and not ends.include:
        found = _object(source.store, key)
        if found is not None:
            return _one(ends, found, observer)
        if not source.store.capabilities.lists:
            raise NotFoundError("there is no such object", operation="stat", where=source.store.url, key=key)
        source = ObjectSource(source.store, f"{key}/")
    if sink.prefix and not sink.prefix.endswith("/"):
        sink = _moved(sink, f"{sink.prefix}/")
    if _place(source.store) == _place(sink.store) and source.prefix == sink.prefix:
        raise ConfigError("source and destination are the same place", operation="plan", where=source.url)
    return dataclasses.replace(ends, source=source, sink=sink)


def _place(store: ObjectStore) -> tuple[str, str]:
    """Bucket and service, whoever asks: behind ``#`` an endpoint may tell credentials apart."""
    return store.url, store.endpoint.partition("#")[0]


def _one(ends: Ends, found: ObjectInfo, observer: Observer) -> Ends:
    store, key = ends.source.store, found.key
    if store.capabilities.lists and any(page for page in store.list(f"{key}/")):
        observer(
            Note(
                text=f"{store.url}/{key} is an object and a prefix: the object is taken; write {key}/ for the other"
            )
        )
    head, _, last = key.rpartition("/")
    sink = ends.sink
    directory = sink.prefix if not sink.prefix or sink.prefix.endswith("/") else None
    exact = sink.prefix if directory is None else directory + last
    if _place(store) == _place(sink.store) and key == exact:
        raise ConfigError("source and destination are the same object", operation="plan", where=sink.url)
    return dataclasses.replace(
        ends,
        source=ObjectSource(store, f"{head}/" if head or key.startswith("/") else ""),
        sink=_moved(sink, ""),
        one=found,
        exact=exact,
    )


def _object(store: ObjectStore, key: str) -> ObjectInfo | None:
    if store.refusal(key) is not None:
        return None  # a key this store cannot hold is no object of it; as a prefix it may still say what is wrong
    try:
        return store.stat(key)
    except NotFoundError:
        return None


def _moved(sink: ObjectSink, prefix: str) -> ObjectSink:
    return ObjectSink(sink.store, prefix, overwrite=sink.overwrite, transfer=sink.transfer)


def describe(ends: Ends) -> dict[str, Any]:
    """What a run keeps of its ends: for each the store's URL, the prefix, and the options without secrets."""
    source = ends.source
    return {
        "source": {"store": source.store.url, "prefix": source.prefix, "options": dict(ends.source_kept)},
        "sink": describe_sink(ends.sink, ends.sink_kept),
        **({} if ends.given is None else {"given": ends.given.asked()}),
    }


def describe_sink(sink: ObjectSink, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The same of one sink; ``kept`` are the options of its store, without secrets."""
    return {
        "store": sink.store.url,
        "prefix": sink.prefix,
        "options": dict(kept),
        "transfer": public_options(sink.transfer),
    }


def kept_options(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options given for a URL, by their connector's own names, without secrets or what the environment added."""
    kind = split_url(url)[0].load()[1]
    names = _names(kind)
    given = {names.get(name, name) for name in options}
    known = public_options(parse_options(kind, options, where=url))
    return {name: value for name, value in known.items() if name in given}


def _options_of(store: Any) -> dict[str, Any]:
    """The same of a store that is open already, if it says; what it does not say is to be given again to resume."""
    while hasattr(store, "inner"):  # layers
        store = store.inner
    options = getattr(store, "options", None)
    return public_options(options) if dataclasses.is_dataclass(options) else {}


def rebuilt(
    asked: Mapping[str, Any], source_options: Mapping[str, Any] | None, sink_options: Mapping[str, Any] | None
) -> tuple[ObjectSource, ObjectSink]:
    """Both ends as ``describe`` kept them, with options given again on top (secrets, another endpoint)."""
    from_ = asked["source"]
    source_url = f"{from_['store']}/"
    store, _ = open_store(source_url, options_over(source_url, from_["options"], source_options or {}))
    return ObjectSource(store, from_["prefix"]), rebuilt_sink(asked, sink_options)


def rebuilt_sink(asked: Mapping[str, Any], sink_options: Mapping[str, Any] | None) -> ObjectSink:
    """The destination alone."""
    to = asked["sink"]
    sink_url = f"{to['store']}/"
    again, rest = split_transfer_options(sink_options or {})
    kept, _ = split_transfer_options(to["transfer"])
    transfer = dataclasses.replace(kept, **public_options(again))
    sink_store, _ = open_store(sink_url, options_over(sink_url, to["options"], rest), to_write=True)
    return ObjectSink(sink_store, to["prefix"], transfer=transfer)


def options_over(url: str, kept: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options given again replace those kept, also where they are written by another of their names."""
    names = _names(split_url(url)[0].load()[1])
    replaced = {names.get(name, name) for name in given}
    return {name: value for name, value in kept.items() if name not in replaced} | dict(given)


def _names(kind: type[Any]) -> dict[str, str]:
    """Every name an option may be written by, and its own."""
    fields = dataclasses.fields(kind)
    return {alias: each.name for each in fields for alias in (each.name, *each.metadata["aliases"])}
