"""Removing from a destination what its source does not have: found by a whole merge, limited, written down, done last.

What ``sync`` adds to ``migrate``. Nothing here is deleted but what one complete listing of both ends showed only at the
destination, in the version it showed, and after a last look at the source.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from crossdock.connectors.objects import ObjectSink
from crossdock.connectors.registry import split_transfer_options
from crossdock.errors import ConfigError, NotFoundError, UnsafeError
from crossdock.flows.deleting.agreed import Agreed, SyncPlan
from crossdock.flows.deleting.doomed import Doomed, Journal
from crossdock.flows.deleting.removing import removal_report
from crossdock.flows.deleting.safety import DeleteLimit, demand_apart
from crossdock.flows.planning.merging import Merge
from crossdock.flows.planning.question import Question
from crossdock.flows.questions.endpoints import Ends, kept_options, open_sink
from crossdock.flows.questions.means import Means
from crossdock.flows.reporting.report import Report, build_report
from crossdock.flows.runs.directory import RunDirectory, run_files
from crossdock.flows.runs.files import RunFiles
from crossdock.ports import ObjectStore

__all__ = ["Pruning", "SyncPlan", "spooled"]

_SHOWN = 10


@contextmanager
def spooled() -> Iterator[Journal]:
    """A list on this machine's disk: what is to be deleted may be more than fits in memory, and the run comes later."""
    with tempfile.TemporaryDirectory(prefix="crossdock-sync-") as place:
        yield Journal(run_files(f"file://{place}/"))


class Pruning:
    """What one sync deletes: found here, and then ``agreed`` carries it out."""

    def __init__(
        self,
        ends: Ends,
        question: Question,
        limit: DeleteLimit,
        *,
        delete_excluded: bool,
        backup_dir: str | None,
        sink_options: Mapping[str, Any],
        runs: RunFiles,
        means: Means,
    ) -> None:
        if ends.one is not None:
            raise ConfigError(
                "delete needs a prefix as source, and this is one object",
                operation="sync",
                where=f"{ends.source.store.url}/{ends.one.key}",
            )
        backup, backup_kept = None, {}
        if backup_dir is not None:
            backup = open_sink(backup_dir, sink_options)
            backup_kept = kept_options(backup_dir, split_transfer_options(sink_options)[1])
            if backup.prefix and not backup.prefix.endswith("/"):
                backup = ObjectSink(backup.store, f"{backup.prefix}/", transfer=backup.transfer)
            for name, end in (("source", ends.source), ("destination", ends.sink)):
                demand_apart(
                    (backup.store, backup.prefix),
                    (end.store, end.prefix),
                    operation="sync",
                    names=("backup directory", name),
                )
        demand_apart(
            (runs.store, runs.prefix),
            (ends.sink.store, ends.sink.prefix),
            operation="sync",
            names=("run directory", "destination"),
        )
        self._ends = ends
        self._question = question
        self._filters = question.filters()
        self._limit = limit
        self._delete_excluded = delete_excluded
        self._runs = runs
        self._observer = means.observer
        self.agreed = Agreed(
            source=ends.source,
            sink=ends.sink,
            delete_excluded=delete_excluded,
            filters=self._filters,
            backup=backup,
            backup_kept=backup_kept,
            limits=means.limits,
            observer=means.observer,
        ).slowed(means.bandwidth_bytes_per_s)

    def plan(self, spool: Journal) -> SyncPlan:
        """List both ends whole, and write down what is only at the destination.

        Raises:
            UnsafeError: The source is empty, or they are too many.
        """
        ends = self._ends
        merge = Merge(ends, self._filters, self._observer, filtered_sink=not self._delete_excluded)
        examples: list[str] = []
        both = new = 0

        def doomed() -> Iterator[Doomed]:
            nonlocal both, new
            number = 0
            for pair in merge:
                if pair.sink is None:
                    new += 1
                elif pair.source is not None:
                    both += 1
                else:
                    if len(examples) < _SHOWN:
                        examples.append(pair.sink.key)
                    yield Doomed(number=number, name=pair.name, info=pair.sink)
                    number += 1

        count = spool.plan(doomed())
        about = spool.about() or {}
        if count and not merge.source_objects:
            raise UnsafeError(
                f"the source has no object that the filters take, and all {count:,} of the destination would be deleted; "
                "nothing was done",
                operation="sync",
                where=ends.source.url,
                hint="is this the right source? to empty a destination, use crossdock rm",
            )
        self._limit.demand(count, merge.sink_objects, where=ends.sink.url)
        return SyncPlan(
            source=ends.source.url,
            sink=ends.sink.url,
            new=new,
            both=both,
            delete=count,
            delete_bytes=about.get("planned_bytes", 0),
            examples=tuple(examples),
        )

    def begun(self) -> Report | None:
        """The report of the run at this place, if its copies are complete and its deletions, of this question, are not."""
        directory = RunDirectory(self._runs)
        try:
            document = directory.read()
        except NotFoundError:
            return None
        journal = Journal(directory.files)
        about = journal.about()
        if document["state"] != "complete" or about is None or about.get("sync") != self._asked():
            return None
        return None if removal_report(journal).ok else build_report(directory)

    def keep(self, directory: RunDirectory, spool: Journal, plan: SyncPlan) -> dict[str, Any] | None:
        """Write what was planned into the run, before anything moves; what ``run.json`` says of it."""
        journal = Journal(directory.files)
        if not plan.delete:
            journal.forget()  # of an earlier attempt
            return None
        about = spool.about() or {}
        shown = {"new": plan.new, "both": plan.both, "examples": plan.examples}
        journal.plan(spool.doomed(about["parts"]), sync=self._asked(), shown=shown)
        return self.agreed.kept()

    def _asked(self) -> dict[str, Any]:
        """What the deletions were asked; equal for equal questions."""
        ends = self._ends
        return {
            "source": [_service(ends.source.store), ends.source.url],
            "sink": [_service(ends.sink.store), ends.sink.url],
            "delete_excluded": self._delete_excluded,
            **self._question.as_dict(),
        }


def _service(store: ObjectStore) -> str:
    """Its endpoint, without what may tell credentials apart."""
    return store.endpoint.partition("#")[0]
