"""From what was asked to a plan written down: both ends checked, listed once, merged, cut into shards.

Everything that can be wrong with a question is found before the first request, everything that can be wrong with an end
before the first page, and half a plan is no plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.evidence import demand_strict, weaknesses
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, LedgerError, NotFoundError
from crossdock.events import Listed, Observer
from crossdock.flows.endpoints import Ends, describe, settled
from crossdock.flows.filters import compile_filters
from crossdock.flows.listing import Ahead, in_order
from crossdock.flows.manifest import Manifest, ManifestSummary, write_manifest
from crossdock.flows.ownership import Owner
from crossdock.flows.planning import OVERWRITES, Rules, plan_objects
from crossdock.flows.run_directory import RunDirectory
from crossdock.flows.run_files import RunFiles
from crossdock.flows.shards import choose_shard_size, cut_shards
from crossdock.model import ObjectInfo

__all__ = [
    "Question",
    "asked_of",
    "checked",
    "create",
    "demand_strength",
    "is_there",
    "question_of",
    "write_plan",
]

_ASSUMED_WORKERS = 16  # a cluster's size is not known before it starts, and may change


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan is asked, besides the two ends."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    overwrite: str


def question_of(ends: Ends, include: Iterable[str], exclude: Iterable[str], overwrite: str) -> Question:
    """Everything that can be wrong with what was asked is wrong before a request is made."""
    if overwrite not in OVERWRITES:
        raise ConfigError(f"overwrite is one of {', '.join(OVERWRITES)}, not {overwrite!r}", operation="plan")
    globs = _texts(include)
    if ends.include and globs:
        raise ConfigError(
            "wildcards in the source's URL and include say the same thing",
            operation="plan",
            where=ends.source.url,
            hint="write the prefix as source, and the pattern as include",
        )
    question = Question(include=ends.include + globs, exclude=_texts(exclude), overwrite=overwrite)
    compile_filters(question.include, question.exclude)
    return question


def _texts(globs: Iterable[str]) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)


def checked(ends: Ends, observer: Observer) -> Ends:
    """Both ends answer, and which kind of source it is. A wrong URL or missing credentials show here, in seconds.

    Raises:
        StrictError: An end is weaker than the promise, and that was to be refused.
    """
    ends.source.store.check()
    ends.sink.store.check()
    found = settled(ends, observer)
    demand_strength(found.source, found.sink)
    return found


def demand_strength(source: ObjectSource, sink: ObjectSink) -> None:
    """With ``strict``, refuse ends of which every object would get a weaker form of the promise; no request.

    Raises:
        StrictError: They are weaker.
    """
    weaker = weaknesses(source.store.capabilities, None, sink.store.capabilities)
    demand_strict(weaker, sink.transfer, place=sink.url)


def asked_of(ends: Ends, question: Question) -> dict[str, Any]:
    """What a run keeps of its question; equal for equal questions."""
    return {
        **describe(ends),
        "one": ends.one.key if ends.one is not None else None,
        "exact": ends.exact,
        "include": list(question.include),
        "exclude": list(question.exclude),
        "overwrite": question.overwrite,
    }


def is_there(directory: RunDirectory, asked: Mapping[str, Any]) -> bool:
    """Whether the directory holds this very run, unfinished.

    Raises:
        LedgerError: It holds another one, or one that is complete.
    """
    try:
        document = directory.read()
    except NotFoundError:
        return False
    hint = "give another run directory; what is at the destination already is not sent again"
    if document["state"] == "complete":
        raise LedgerError(
            "the directory holds a run that is complete",
            operation="create run",
            where=directory.url,
            hint=hint,
        )
    if document["asked"] != asked:
        raise LedgerError(
            "the directory holds a run of another question",
            operation="create run",
            where=directory.url,
            hint=hint,
        )
    return "plan" in document or _forget(directory)


def _forget(directory: RunDirectory) -> bool:
    """Remove a run that ended before it had a plan: nothing was moved, and nothing refers to it."""
    with Owner(directory.files):
        for name in list(directory.files.names("manifest/")):
            directory.files.delete(name)
        directory.files.delete("run.json")
    return False


def create(
    directory: RunDirectory,
    run_id: str,
    asked: Mapping[str, Any],
    ends: Ends,
    question: Question,
    observer: Observer,
) -> None:
    """Plan, and write down everything the run will need, in an order that makes half a plan no plan."""
    directory.create(run_id, asked)
    summary, excluded = write_plan(directory.files, ends, question, observer)
    manifest = Manifest(files=directory.files, run_id=run_id, parts=summary.parts)
    size = choose_shard_size(summary.to_do, summary.copy_bytes, _ASSUMED_WORKERS)
    directory.write_shards(cut_shards((manifest.work(part) for part in range(summary.parts)), size))
    directory.update(state="planned", plan=summary.as_dict(), excluded=excluded)


def write_plan(
    files: RunFiles, ends: Ends, question: Question, observer: Observer
) -> tuple[ManifestSummary, int]:
    """List, plan, write the manifest; returns its numbers and how many objects the filters left out.

    Raises:
        NotFoundError: Nothing is there, or nothing matches.
    """
    listed = _Listing(ends, observer)
    rules = Rules(
        source_prefix=ends.source.prefix,
        destination_prefix=ends.sink.prefix,
        filters=compile_filters(question.include, question.exclude),
        overwrite=question.overwrite,
        refusal=ends.sink.store.refusal,
        exact=ends.exact,
    )
    ahead = Ahead(ends.sink.store, ends.sink.prefix if ends.exact is None else ends.exact)
    summary = write_manifest(files, plan_objects(listed.pages(), ahead.find, rules))
    if not summary.planned:
        raise _nothing(ends, listed.objects)
    return summary, listed.objects - summary.planned


def _nothing(ends: Ends, listed: int) -> NotFoundError:
    if listed:
        cause = f"none of {listed} objects matches the filters"
        hint = "* stays within a segment: write **/*.csv for any depth"
    else:
        cause, hint = (
            "there is no object and no prefix of this name, or nothing below it",
            "list it: crossdock ls URL",
        )
    return NotFoundError(cause, operation="list", where=ends.source.url, hint=hint)


class _Listing:
    """The source's pages, counted as they pass."""

    def __init__(self, ends: Ends, observer: Observer) -> None:
        self._ends = ends
        self._observer = observer
        self.objects = 0
        self._bytes = 0

    def pages(self) -> Iterator[Sequence[ObjectInfo]]:
        one = self._ends.one
        pages: Iterable[Sequence[ObjectInfo]] = self._ends.source.pages() if one is None else [[one]]
        for page in in_order(pages, where=self._ends.source.url):
            self.objects += len(page)
            self._bytes += sum(info.size or 0 for info in page)
            self._observer(Listed(objects=self.objects, bytes=self._bytes))
            yield page
