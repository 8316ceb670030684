"""A sink writes the bytes it is given: all sizes, all forms, all shapes of chunks; bounded, and visible at the end only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from crossdock.connectors.objects import ObjectSink
from crossdock.errors import ConfigError, UnsupportedError
from crossdock.events import BytesMoved, BytesRead, Event, listening
from crossdock.testing.ends import End
from crossdock.testing.hostile import HOSTILE_KEYS
from crossdock.testing.suite.base import content
from crossdock.testing.suite.end_base import PREFIX, chunks_of
from crossdock.testing.suite.sink_base import FORMS, NAME, SinkBase, in_form
from crossdock.testing.suite.writing import SIZES, size_of
from crossdock.testing.watcher import threads_left

__all__ = ["SinkContentChecks"]


class SinkContentChecks(SinkBase):
    """What is sent is what is there, and nothing else is."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("label", SIZES)
    def test_bytes_arrive(self, end: End, sink: Any, label: str, form: str) -> None:
        """Any size in any form: exactly these bytes under exactly this key, and a receipt that says so."""
        data = content(size_of(label, self.part_size(end)))
        receipt = sink(in_form(form, data), key=NAME)

        self.assert_as_before(end, NAME, data)
        assert len(data) == receipt.size

    @pytest.mark.parametrize("form", ["bytes", "generator", "stored"])
    def test_a_shorter_object_replaces_a_longer_one(self, end: End, sink: Any, form: str) -> None:
        """Nothing of the longer object before it is left."""
        sink(content(2 * self.part_size(end) + 7, seed=1), key=NAME)
        sink(in_form(form, b"short"), key=NAME)

        self.assert_as_before(end, NAME, b"short")

    @pytest.mark.parametrize("shape", ["single bytes", "one huge", "empty ones between", "views", "reused"])
    def test_chunks_of_any_shape(self, end: End, sink: Any, shape: str) -> None:
        """Tiny, huge, empty and mutable chunks; a buffer that its producer fills again after it was taken."""
        data = content(2 * self.part_size(end) + 7)
        if shape == "single bytes":
            data = data[:3_000]
        sink(_shaped(shape, data), key=NAME)

        self.assert_as_before(end, NAME, data)

    def test_nothing_is_visible_before_the_end(self, end: End, sink: Any) -> None:
        """While bytes are still to come the key holds what it held, by the back door; also once parts were sent."""
        size = 3 * self.part_size(end) + 1
        old, new = b"the old object", content(size)
        end.put(PREFIX + NAME, old)
        seen = []

        def watched() -> Iterator[bytes]:
            for chunk in chunks_of(new, max(size // 10, 1)):
                yield chunk
                seen.append(end.held(PREFIX + NAME))

        sink(watched(), key=NAME)

        assert len(seen) >= 10
        assert [body for body in seen[:-1] if body != old] == []
        self.assert_as_before(end, NAME, new)

    def test_objects_beside_it_stay(self, end: End, sink: Any) -> None:
        """Names that begin alike, above and below the key, are not touched."""
        others = [f"{NAME}.2", "folder/object", "folder-2/object.bin", "object.bin"]
        for key in others:
            end.put(PREFIX + key, key.encode())
        end.put("beside", b"beside the prefix")
        sink(content(2 * self.part_size(end)), key=NAME)

        assert sorted([*(PREFIX + key for key in (*others, NAME)), "beside"]) == end.names()
        assert {key: key.encode() for key in others} == {key: end.held(PREFIX + key) for key in others}
        assert end.held("beside") == b"beside the prefix"

    def test_memory_is_bounded(self, end: End, sink: Any) -> None:
        """What was taken from the source and not yet acknowledged stays below ``max_in_flight_bytes`` and two parts."""
        part_size = self.part_size(end)
        bound = 2 * part_size
        narrow = self.with_budget(sink, bound)
        flight = _InFlight()

        def counted() -> Iterator[bytes]:
            for number in range(8):
                for chunk in chunks_of(content(part_size, seed=number), max(part_size // 4, 1)):
                    flight.add(len(chunk))
                    yield chunk

        with listening(flight):
            narrow(counted(), key=NAME)

        assert flight.moved == 8 * part_size
        assert flight.most <= bound + 2 * part_size
        self.assert_as_before(end, NAME, b"".join(content(part_size, seed=number) for number in range(8)))

    def with_budget(self, sink: Any, max_in_flight_bytes: int) -> Any:
        """The same sink with another bound on bytes in flight."""
        transfer = replace(sink.transfer, max_in_flight_bytes=max_in_flight_bytes)
        return ObjectSink(sink.store, sink.prefix, transfer=transfer)

    def test_hostile_keys_together(self, end: End, sink: Any) -> None:
        """Each arrives exactly, or is refused before a byte is taken from the source and stops no other."""
        usable = end.usable(HOSTILE_KEYS, PREFIX)
        for key in usable:
            sink(key.encode(), key=key)
        for key in HOSTILE_KEYS:
            if key in end.left_out_keys or end.refusal(PREFIX + key) is None:
                continue
            chunks = iter([b"never read"])
            with pytest.raises(UnsupportedError):
                sink(chunks, key=key)
            assert [*chunks] == [b"never read"]

        assert sorted(PREFIX + key for key in usable) == end.names()
        assert {key: key.encode() for key in usable} == {key: end.held(PREFIX + key) for key in usable}

    def test_eight_threads_share_a_sink(self, end: End, sink: Any) -> None:
        """Eight threads write objects of their own, small and in parts, each exactly."""
        size = self.part_size(end)
        bodies = {
            f"thread-{number}": content((size + 1 if number % 4 == 0 else 1_000) + number, seed=number)
            for number in range(16)
        }
        with ThreadPoolExecutor(8) as pool:
            receipts = [*pool.map(lambda key: sink(chunks_of(bodies[key]), key=key), bodies)]

        assert [len(body) for body in bodies.values()] == [receipt.size for receipt in receipts]
        assert bodies == {key: end.held(PREFIX + key) for key in bodies}
        assert sorted(PREFIX + key for key in bodies) == end.names()
        assert threads_left() == []

    @pytest.mark.parametrize(
        "given", ["text", 5, {"a": b"b"}, [b"good", "text"]], ids=["text", "number", "dict", "chunk of text"]
    )
    def test_what_is_not_bytes_is_refused(self, end: End, sink: Any, given: Any) -> None:
        """``ConfigError``, and nothing is there."""
        with pytest.raises(ConfigError):
            sink(given, key=NAME)
        self.assert_as_before(end, NAME, None)


class _InFlight:
    """Hears what was acknowledged, is told what was taken, and keeps the largest difference."""

    def __init__(self) -> None:
        self.taken = self.moved = self.most = 0

    def add(self, size: int) -> None:
        self.taken += size
        self.most = max(self.most, self.taken - self.moved)

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, BytesMoved):
            self.moved += event.bytes
        else:
            assert not isinstance(event, BytesRead) or event.bytes > 0


def _shaped(shape: str, data: bytes) -> Iterator[Any]:
    if shape == "single bytes":
        yield from (data[n : n + 1] for n in range(len(data)))
    elif shape == "one huge":
        yield data
    elif shape == "empty ones between":
        for chunk in chunks_of(data):
            yield b""
            yield chunk
            yield bytearray()
    elif shape == "views":
        for chunk in chunks_of(data, 9_999):
            yield memoryview(bytearray(chunk))
    else:
        buffer = bytearray(7_777)
        for chunk in chunks_of(data, len(buffer)):
            buffer[: len(chunk)] = chunk
            yield memoryview(buffer)[: len(chunk)]
