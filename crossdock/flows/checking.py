"""``check``: whether a destination holds what a source holds, object by object, without moving or changing anything."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, IntegrityError, NotFoundError, Retry
from crossdock.events import Observer, ignore
from crossdock.flows.planning.comparing import Checked, Comparison, How, Sign, from_listings
from crossdock.flows.planning.merging import Merge, Pair
from crossdock.flows.planning.question import question_of
from crossdock.flows.questions.bounds import Age, Size
from crossdock.flows.questions.endpoints import open_ends
from crossdock.flows.runs.preparing import checked

__all__ = ["CheckReport", "check"]

DEFAULT_CONCURRENCY = 64
DOWNLOAD_CONCURRENCY = 8  # two streams each
_WINDOW = 1_000  # verdicts waiting for an earlier one
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """A comparison in numbers: ``checked = matched + differing + missing_on_dst + missing_on_src + errors``.

    ``matched = by_digest + by_multipart_etag + by_bytes + by_size``: of those ``by_size`` nothing but the size is known
    to be equal. ``examples`` are the first names that are not equal, in order.
    """

    source: str
    sink: str
    matched: int = 0
    differing: int = 0
    missing_on_dst: int = 0
    missing_on_src: int = 0
    errors: int = 0
    by_digest: int = 0
    by_multipart_etag: int = 0
    by_bytes: int = 0
    by_size: int = 0
    excluded: int = 0
    one_way: bool = False
    duration_s: float = 0.0
    examples: tuple[Checked, ...] = ()

    @property
    def checked(self) -> int:
        """How many names were compared."""
        return self.matched + self.differences + self.errors

    @property
    def differences(self) -> int:
        """How many names are not the same at both ends."""
        return self.differing + self.missing_on_dst + self.missing_on_src

    @property
    def ok(self) -> bool:
        """Whether everything is the same, and nothing could not be compared."""
        return not self.differences and not self.errors

    @property
    def exit_code(self) -> int:
        """What a command should end with (CONTRACT section 4): 0, 5 (something could not be compared) or 6."""
        return 6 if self.differences else 5 if self.errors else 0

    def raise_for_differences(self) -> None:
        """Raise unless everything is the same.

        Raises:
            IntegrityError: With the numbers, and the first name.
        """
        if self.ok:
            return
        first = self.examples[0]
        raise IntegrityError(
            f"{self.differing} of {self.checked} objects differ, {self.missing_on_dst} are missing at the destination, "
            f"{self.missing_on_src} at the source, {self.errors} could not be compared; "
            f"first {first.name!r}: {first.reason}",
            operation="check",
            where=self.sink,
            retry=Retry.NEVER,
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain values, ready for JSON."""
        return {
            "source": self.source,
            "sink": self.sink,
            "exit_code": self.exit_code,
            "checked": self.checked,
            "matched": self.matched,
            "differing": self.differing,
            "missing_on_dst": self.missing_on_dst,
            "missing_on_src": self.missing_on_src,
            "errors": self.errors,
            "by_digest": self.by_digest,
            "by_multipart_etag": self.by_multipart_etag,
            "by_bytes": self.by_bytes,
            "by_size": self.by_size,
            "excluded": self.excluded,
            "one_way": self.one_way,
            "duration_s": round(self.duration_s, 3),
        }


def check(
    source: str | ObjectSource,
    sink: str | ObjectSink,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    one_way: bool = False,
    download: bool = False,
    require_digest: bool = False,
    concurrency: int | None = None,
    each: Callable[[Checked], object] | None = None,
    source_options: Mapping[str, Any] | None = None,
    sink_options: Mapping[str, Any] | None = None,
    glob: bool = True,
    observer: Observer = ignore,
) -> CheckReport:
    """Compare everything below one place with another, and change nothing.

    A sorted merge of two listings. Equal or unequal is decided by the cheapest evidence there is: sizes and digests of the
    listings; what both ends say when asked; the sizes of parts where an end knows only S3's ``md5(md5s)-N``; the bytes of
    an end on this machine's disk. Where all that is equal is the size, the report counts it as such.

    Memory: a page of each listing, some 1,000 verdicts, two chunks for each pair that is read. Requests: one LIST for 1,000
    objects of each end; two ``stat`` for a pair that listings do not decide, and a few more for parts.

    Args:
        source: URL or source task; as ``migrate``.
        sink: URL or sink task. It is only read.
        include: Globs, for both ends; as ``migrate``.
        exclude: Globs, for both ends; they win.
        min_size: Not smaller than this; sizes and ages are those of the source's object where there is one.
        max_size: Not larger than this.
        min_age: Changed so long ago or longer; as ``migrate``.
        max_age: Changed so long ago at most; as ``migrate``.
        one_way: Do not count what is only at the destination.
        download: Read both ends of every pair that does not differ yet, and compare all bytes, also where digests are equal.
        require_digest: Count a pair of which only the size can be compared as an error.
        concurrency: Pairs at a time; by default 64, and 8 that are read.
        each: Called with every verdict, in the order of names, from the calling thread; what it raises ends the check.
        source_options: Options for a source given as URL.
        sink_options: Options for a sink given as URL.
        glob: Whether wildcards mean anything in the source's URL.
        observer: Hears how much is listed.

    Raises:
        ConfigError: An argument is wrong, or both ends are the same place.
        NotFoundError: A bucket is missing, or there is nothing at either end.
        CrossdockError: A listing failed: half a comparison is none.

    Example:
        >>> import crossdock as xd
        >>> _ = xd.sink("memory://check-from/")(b"1", key="a")
        >>> _ = xd.sink("memory://check-to/")(b"2", key="a")
        >>> report = xd.check("memory://check-from/", "memory://check-to/")
        >>> report.exit_code, report.examples[0].reason
        (6, 'md5 differs')
    """
    began = time.monotonic()
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency is 1 or more, not {concurrency}", operation="check")
    ends = open_ends(source, sink, source_options=source_options, sink_options=sink_options, glob=glob)
    question = question_of(
        ends, include, exclude, min_size=min_size, max_size=max_size, min_age=min_age, max_age=max_age
    )
    ends = checked(ends, observer)
    merge = Merge(ends, question.filters(), observer)
    comparison = Comparison(
        ends.source.store, ends.sink.store, download=download, require_digest=require_digest
    )
    threads = concurrency or (DOWNLOAD_CONCURRENCY if download else DEFAULT_CONCURRENCY)
    sums = _Sums()
    pairs = (pair for pair in merge if not (one_way and pair.source is None))
    for verdict in _judged(pairs, comparison, threads, read_all=download):
        sums.add(verdict)
        if each is not None:
            each(verdict)
    report = sums.report(
        source=ends.source.url if ends.one is None else f"{ends.source.store.url}/{ends.one.key}",
        sink=ends.sink.url if ends.exact is None else f"{ends.sink.store.url}/{ends.exact}",
        excluded=merge.excluded,
        one_way=one_way,
        duration_s=time.monotonic() - began,
    )
    if not report.checked:
        raise NotFoundError(
            "there is nothing to compare" + (": the filters leave nothing" if merge.excluded else ""),
            operation="check",
            where=report.source,
            hint="list both: crossdock ls URL",
        )
    return report


def _judged(
    pairs: Iterable[Pair], comparison: Comparison, threads: int, *, read_all: bool
) -> Iterator[Checked]:
    """Every pair's verdict, in order; what listings decide waits for what is asked before it, at most ``_WINDOW`` of them."""
    waiting: deque[Checked | Future[Checked]] = deque()
    asked = 0
    pool = ThreadPoolExecutor(threads, "crossdock-check")
    try:
        for pair in pairs:
            known = from_listings(pair)
            if known is None or (read_all and known.sign is Sign.SAME):
                waiting.append(pool.submit(comparison.judge, pair))
                asked += 1
            else:
                waiting.append(known)
            while waiting and (not asked or len(waiting) > _WINDOW):
                verdict = waiting.popleft()
                asked -= isinstance(verdict, Future)
                yield verdict.result() if isinstance(verdict, Future) else verdict
        while waiting:
            verdict = waiting.popleft()
            yield verdict.result() if isinstance(verdict, Future) else verdict
    finally:
        comparison.stop()
        pool.shutdown(wait=True, cancel_futures=True)


class _Sums:
    """Adds up verdicts, one at a time."""

    def __init__(self) -> None:
        self._signs = dict.fromkeys(Sign, 0)
        self._matched_by = dict.fromkeys(How, 0)
        self._examples: list[Checked] = []

    def add(self, verdict: Checked) -> None:
        self._signs[verdict.sign] += 1
        if verdict.sign is Sign.SAME:
            self._matched_by[verdict.how] += 1
        elif len(self._examples) < _SHOWN:
            self._examples.append(verdict)

    def report(self, **fields: Any) -> CheckReport:
        return CheckReport(
            matched=self._signs[Sign.SAME],
            differing=self._signs[Sign.DIFFERS],
            missing_on_dst=self._signs[Sign.MISSING_ON_DST],
            missing_on_src=self._signs[Sign.MISSING_ON_SRC],
            errors=self._signs[Sign.ERROR],
            by_digest=self._matched_by[How.DIGEST],
            by_multipart_etag=self._matched_by[How.MULTIPART_ETAG],
            by_bytes=self._matched_by[How.BYTES],
            by_size=self._matched_by[How.SIZE],
            examples=tuple(self._examples),
            **fields,
        )
