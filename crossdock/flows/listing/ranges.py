"""Which range of keys is listed next, and where one is cut in two: the state of a listing by ranges, without threads.

The ranges lie in key order and cover everything that is left, so nothing is missed and nothing comes twice, wherever
they are cut. They are cut near the front, some 24 pages apart: pages are handed out in key order, so what lies further
ahead than the window would only wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from crossdock.flows.listing.guessing import Scale
from crossdock.flows.listing.order import out_of_order
from crossdock.model import ObjectInfo

__all__ = ["SHAPE", "Range", "Ranges", "Shape"]

Pages = Iterator[Sequence[ObjectInfo]]

_NEAR = 2  # ranges behind the first for which room is kept
_TRAIL = 4  # pages whose keys tell how fast a range advances
_SAMPLE = 16  # keys of a page that the alphabet is learned from


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How far ahead and how many at a time.

    Memory: at most ``window`` + ``listers`` pages, some 0.55 MB each. Requests beyond those of one listing from
    front to end: at most ``spare`` and one for every ``stretch`` pages.

    Args:
        first: Pages taken one by one, when asked for, before anything is done ahead.
        listers: Requests at a time.
        stretch: Pages a range should have.
        window: Pages held that nobody took yet; while few were taken, at most four times as many as those.
        spare: Ranges that may be cut off before the number of pages allows it.
    """

    first: int = 4
    listers: int = 6
    stretch: int = 24
    window: int = 168
    spare: int = 8


SHAPE = Shape()


@dataclass(slots=True)
class Range:
    """What lies after ``at``, up to and with ``end`` (everything if ``None``), and the pages of it that are ready."""

    pages: Pages
    end: str | None = None
    at: str | None = None
    trail: deque[str] = field(default_factory=lambda: deque(maxlen=_TRAIL))
    ready: deque[Sequence[ObjectInfo]] = field(default_factory=deque)
    busy: bool = False
    done: bool = False
    considered: int = 0  # 1: found too short to cut, 2: and to halve; nothing was learned since


class Ranges:
    """The ranges of one listing. Not thread-safe: whoever uses it holds a lock."""

    def __init__(
        self,
        first: Pages,
        begin: Callable[[str], Pages],
        prefix: str,
        shape: Shape,
        *,
        can_cut: bool,
        where: str = "",
    ) -> None:
        self._begin = begin
        self._shape = shape
        self._where = where
        self._can_cut = can_cut
        self._ranges: deque[Range] = deque([Range(first)])
        self._scale = Scale(prefix)
        self._cuts = 0
        self._fetched = 0
        self._taken = 0
        self._held = 0

    @property
    def held(self) -> int:
        """Pages that are here and not taken."""
        return self._held

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to fetch."""
        return all(each.done for each in self._ranges)

    def take(self) -> Sequence[ObjectInfo] | None:
        """The next page in key order, if it is here."""
        while self._ranges:
            head = self._ranges[0]
            if head.ready:
                self._held -= 1
                self._taken += 1
                return head.ready.popleft()
            if not head.done:
                return None
            self._ranges.popleft()
        return None

    @property
    def exhausted(self) -> bool:
        """Whether every page was taken."""
        return not self._ranges

    def reaches(self, key: str) -> bool:
        """Whether the pages that are here, from the front on without a gap, go up to ``key``."""
        for each in self._ranges:
            if each.ready and each.ready[-1][-1].key >= key:
                return True
            if not each.done:
                return False
        return False

    def choose(self) -> Range | None:
        """The foremost range that may be listed on now, marked busy; perhaps one just cut off. ``None``: wait."""
        chosen = self._idle()
        if chosen is None and self._can_cut and self._cut():
            chosen = self._idle()
        if chosen is not None:
            chosen.busy = True
        return chosen

    def put(self, chosen: Range, page: Sequence[ObjectInfo] | None) -> None:
        """What the listing of a range gave: its next page, cut at the range's end, or ``None`` at the end of all.

        Raises:
            StorageError: The page does not come after what the range had: repeated, or not begun where it was asked to.
        """
        chosen.busy = False
        if page is None:
            chosen.done = True
            return
        self._fetched += 1
        if not page:
            return
        if chosen.at is not None and page[0].key <= chosen.at:
            raise out_of_order(page[0].key, chosen.at, self._where)
        sample = page[:: max(1, len(page) // _SAMPLE)]
        self._scale.learn(info.key for info in (*sample, page[-1]))
        if not chosen.trail:
            chosen.trail.append(page[0].key)
        chosen.trail.append(page[-1].key)
        chosen.at = page[-1].key
        chosen.considered = 0
        if chosen.end is not None and page[-1].key >= chosen.end:
            chosen.done = True
            page = [info for info in page if info.key <= chosen.end]
        if page:
            chosen.ready.append(page)
            self._held += 1

    @property
    def _room(self) -> int:
        """Pages that may still be fetched ahead."""
        busy = sum(each.busy for each in self._ranges)
        return self._window - self._held - busy

    @property
    def _window(self) -> int:
        return min(self._shape.window, 4 * self._taken)

    @property
    def _kept_free(self) -> int:
        return min(_NEAR * self._shape.stretch, self._window // 3) if self._can_cut else 0

    def _idle(self) -> Range | None:
        """The foremost range that may be fetched from.

        Only the first three may fill the window: where the front turns out longer than was guessed, there has to be
        room to cut it and list the pieces together.
        """
        room = self._room
        for place, each in enumerate(self._ranges):
            if each.done or each.busy:
                continue
            if (place == 0 and not each.ready) or room > (0 if place <= _NEAR else self._kept_free):
                return each
        return None

    def _cut(self) -> bool:
        """Cut the foremost range that is longer than it should be, else one that can be halved, if it may cost a request."""
        allowed = self._shape.spare + self._fetched // self._shape.stretch
        if self._cuts >= allowed or self._room < self._shape.stretch // 2:
            return False
        for halving in (False, True):
            for place, each in enumerate(self._ranges):
                if place >= _NEAR and self._room <= self._kept_free:
                    break
                if each.done or each.considered > halving or len(each.trail) < 2:
                    continue
                each.considered = 1 + halving
                where = self._place_in(each, halving=halving)
                if where is not None:
                    self._cuts += 1
                    behind = Range(self._begin(where), end=each.end, at=where)
                    each.end = where
                    self._ranges.insert(place + 1, behind)
                    return True
        return False

    def _place_in(self, each: Range, *, halving: bool) -> str | None:
        first, last = each.trail[0], each.trail[-1]
        pages = len(each.trail) - 1
        times = self._shape.stretch / pages
        if each.end is not None:
            left = self._scale.times(first, last, each.end)
            shortest = self._shape.stretch / 3 if halving else 1.5 * self._shape.stretch
            if left is None or left * pages < shortest:
                return None  # about as long as it should be
            times = min(times, left / 2)
        elif halving:
            return None
        guess = self._scale.ahead(first, last, times)
        return guess if guess is not None and (each.end is None or guess < each.end) else None
