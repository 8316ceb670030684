"""A plan to look at: what a run would do with each object, without a run."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator

from crossdock.events import Observer
from crossdock.flows.endpoints import Ends
from crossdock.flows.manifest import Manifest
from crossdock.flows.planning import Row
from crossdock.flows.preparing import Question, write_plan
from crossdock.flows.report import Report
from crossdock.flows.run_directory import run_files
from crossdock.model import Counts

__all__ = ["Plan"]


class Plan:
    """What a run would do; iterating it gives its rows, in key order, as often as wanted. Nothing was moved.

    The rows are kept in a temporary directory of this machine, removed when the plan is dropped or closed.

    Attributes:
        summary: The numbers: planned, copy, compare, skip, refuse, bytes.
        excluded: How many listed objects the filters left out.
        source: The source's URL.
        sink: The destination's URL.
    """

    def __init__(self, ends: Ends, question: Question, observer: Observer) -> None:
        self.source = ends.source.url if ends.one is None else f"{ends.source.store.url}/{ends.one.key}"
        self.sink = ends.sink.url if ends.exact is None else f"{ends.sink.store.url}/{ends.exact}"
        place = tempfile.mkdtemp(prefix="crossdock-plan-")
        self._remove = weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        files = run_files(f"file://{place}/")
        self.summary, self.excluded = write_plan(files, ends, question, observer)
        self._manifest = Manifest(files=files, run_id=place, parts=self.summary.parts)

    def __iter__(self) -> Iterator[Row]:
        return self._manifest.all_rows()

    def __len__(self) -> int:
        return self.summary.planned

    def close(self) -> None:
        """Remove the temporary directory. Twice is fine."""
        self._remove()

    def report(self) -> Report:
        """The plan as a report: what would be copied is pending."""
        summary = self.summary
        return Report(
            run_id="",
            run_dir="",
            state="planned",
            source=self.source,
            sink=self.sink,
            counts=Counts(
                planned=summary.planned,
                skipped=summary.skip,
                failed=summary.refuse,
                planned_bytes=summary.copy_bytes,
            ),
            excluded=self.excluded,
        )
