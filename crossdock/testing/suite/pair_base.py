"""What a matrix of pairs is told by its test, how it is spread over pytest, and the two ends every check works on."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crossdock.connectors.objects import ObjectSource
from crossdock.model import KIB, NO_METADATA, Metadata
from crossdock.ports import ObjectStore
from crossdock.testing.ends import End
from crossdock.testing.suite.base import content
from crossdock.testing.suite.end_base import described
from crossdock.testing.watcher import threads_left

__all__ = ["PairBase", "PairEnds", "body"]

body = functools.lru_cache(maxsize=64)(content)
"""Reproducible bytes, made once for all pairs."""


class PairEnds:
    """The two ends of one pair, fresh and empty, and how the suite opens them."""

    def __init__(self, source: End, sink: End, open_sink: Callable[..., Any]) -> None:
        self.source_end, self.sink_end = source, sink
        self._open_sink = open_sink
        self.part_size = max(sink.capabilities.min_part_size, 16 * KIB)
        self.source = source.source()
        self.sink = open_sink(sink, part_size=self.part_size, part_concurrency=3)

    def through(self, store: ObjectStore) -> ObjectSource:
        """The source with another store before its own."""
        return ObjectSource(store, self.source.prefix)

    def fits(self, key: str) -> bool:
        """Whether both can hold a key."""
        return self.source_end.refusal(key) is None and self.sink_end.refusal(key) is None

    def seed(self, key: str, data: bytes, metadata: Metadata = NO_METADATA) -> None:
        """An object at the source."""
        self.source_end.put(key, data, metadata)

    def assert_sink_holds(self, expected: dict[str, bytes]) -> None:
        """By the back door: exactly these objects, nothing left over, no thread of ours alive."""
        assert sorted(expected) == self.sink_end.names()
        assert {key: described(body) for key, body in expected.items()} == {
            key: described(self.sink_end.held(key)) for key in expected
        }
        assert threads_left() == []


class PairBase:
    """A subclass names its ends: each is a fixture that returns a function which makes a fresh ``End``.

    Attributes:
        ends: Names of the fixtures; each is both source and sink.
        sources_only: Names of the fixtures of ends that are sources only.
        focus: Only pairs with this end, if given: for a connector of your own against those that are here.
    """

    ends: ClassVar[Sequence[str]] = ("memory", "local")
    sources_only: ClassVar[Sequence[str]] = ()
    focus: ClassVar[str] = ""

    @classmethod
    def pairs(cls) -> list[tuple[str, str]]:
        """Every pair of the matrix: source, sink."""
        matrix = [(source, sink) for source in (*cls.ends, *cls.sources_only) for sink in cls.ends]
        return [pair for pair in matrix if not cls.focus or cls.focus in pair]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each check for each pair."""
        if "pair_names" in metafunc.fixturenames:
            pairs = self.pairs()
            metafunc.parametrize("pair_names", pairs, ids=[f"{source}-to-{sink}" for source, sink in pairs])

    def open_sink(self, end: End, **transfer: Any) -> Any:
        """The sink under test; a negative control opens another kind."""
        return end.sink(**transfer)

    @pytest.fixture
    def pair(self, request: pytest.FixtureRequest, pair_names: tuple[str, str]) -> PairEnds:
        """The two ends of this pair."""
        source, sink = (request.getfixturevalue(name)() for name in pair_names)
        check = getattr(request.node, "originalname", "")
        if check in sink.left_out_checks:
            pytest.skip(sink.left_out_checks[check])
        return PairEnds(source, sink, self.open_sink)

    @pytest.fixture
    def memory(self) -> Callable[[], End]:
        """Ends in this process's memory."""
        return lambda: End(url=f"memory://{uuid.uuid4().hex}/")

    @pytest.fixture
    def local(self, tmp_path: Path) -> Callable[[], End]:
        """Ends that are directories of this machine."""

        def make() -> End:
            root = tmp_path / uuid.uuid4().hex
            root.mkdir()

            def held(key: str) -> bytes | None:
                path = root / key
                return path.read_bytes() if path.is_file() else None

            def names() -> list[str]:
                return [str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()]

            return End(url=f"file://{root}/", back_door=held, everything=names, nested_keys=False)

        return make
