"""A source called with a key gives a stream: exact bytes, of one version, as chunks or as a file, closed when done."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import crossdock as xd
from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import CrossdockError, NotFoundError, PreconditionError, TaskFailed
from crossdock.model import MIB, NO_METADATA, Verification
from crossdock.testing.ends import End
from crossdock.testing.hostile import FULL_METADATA
from crossdock.testing.suite.base import content, digests_of
from crossdock.testing.suite.end_base import PREFIX, EndSuite, kept_metadata, memory_end

__all__ = ["NAME", "SourceBase", "SourceStreamChecks"]

NAME = "folder/object.bin"
SIZES = (0, 1, 1_000, 2 * MIB + 7)


class SourceBase(EndSuite):
    """The source under test is the end below ``PREFIX``; objects are put behind its back if the end says how."""

    @pytest.fixture
    def source(self, end: End) -> Any:
        """The source: a task, called as ``source(key)``."""
        return end.source(PREFIX)


class SourceStreamChecks(SourceBase):
    """What comes out of a stream is the object."""

    @pytest.mark.parametrize("size", SIZES)
    def test_chunks_are_the_object(self, end: End, source: ObjectSource, size: int) -> None:
        """Non-empty chunks, in order; together they are the object."""
        data = content(size)
        end.put(PREFIX + NAME, data)
        chunks = [bytes(chunk) for chunk in source(NAME)]

        assert all(chunks)
        assert data == b"".join(chunks)

    @pytest.mark.parametrize("size", SIZES)
    def test_it_reads_as_a_file(self, end: End, source: ObjectSource, size: int) -> None:
        """``read(n)`` gives exactly ``n`` until the end, then nothing; ``read()`` gives the rest; ``tell`` counts."""
        data = content(size)
        end.put(PREFIX + NAME, data)
        with source(NAME) as stream:
            head = stream.read(7)
            nothing = stream.read(0)
            middle = stream.read(100_000)
            told = stream.tell()
            rest, after = stream.read(), stream.read(10)

        assert (data[:7], b"", data[7:100_007]) == (head, nothing, middle)
        assert min(size, 100_007) == told
        assert (data[100_007:], b"") == (rest, after)

    def test_other_peoples_readers_take_it(self, end: End, source: ObjectSource) -> None:
        """``shutil`` copies it, ``io`` wraps its lines."""
        data = b"one line\n" * 50_000
        end.put(PREFIX + NAME, data)
        copied = io.BytesIO()
        with source(NAME) as stream:
            shutil.copyfileobj(stream, copied)

        assert data == copied.getvalue()
        assert source(NAME).readable()

    def test_it_says_what_it_is(self, end: End, source: ObjectSource) -> None:
        """Name below the prefix, whole key, size, a version to pin it by, right digests, the store behind it."""
        data = content(1_000)
        end.put(PREFIX + NAME, data)
        stream = source(NAME)
        info = stream.info
        stream.close()

        assert (NAME, source.prefix + NAME, 1_000) == (stream.name, info.key, info.size)
        assert stream.store is source.store
        assert bool(info.version) or not source.store.capabilities.pinned_reads
        assert info.digests.conflict(digests_of(data)) is None
        assert info.metadata in (None, kept_metadata(source.store, NO_METADATA)) or (
            info.metadata is not None and not info.metadata.user
        )

    def test_metadata_travels(self, end: End, source: ObjectSource) -> None:
        """What the source says it keeps arrives with the object at a sink that keeps everything."""
        end.put(PREFIX + NAME, b"data", FULL_METADATA)
        there = memory_end()
        receipt = there.sink()(source(NAME))

        assert kept_metadata(source.store, FULL_METADATA) == there.root.store.stat(NAME).metadata
        assert receipt.metadata_lost == ()

    @pytest.mark.parametrize("size", SIZES)
    def test_it_is_the_first_half_of_a_task(self, end: End, source: ObjectSource, size: int) -> None:
        """One combined task moves it, exactly, at least V1; the receipt names the source and its version."""
        data = content(size)
        end.put(PREFIX + NAME, data)
        there = memory_end()
        sink = there.sink(part_size_bytes=MIB)
        with xd.one_task("pair") as pair:
            sink(source(xd.param("key")))
        receipt = pair(key=NAME)

        assert data == there.held(NAME)
        assert f"{source.store.url}/{source.prefix}{NAME}" == receipt.source
        assert receipt.source_version == source(NAME).info.version
        assert receipt.verification >= Verification.V1 or receipt.method == "copy"

    def test_a_call_opens_nothing(self, source: ObjectSource) -> None:
        """A stream over an object that is not there is fine until it is asked for something."""
        with source("absent") as stream:
            assert stream.name == "absent"

    @pytest.mark.parametrize("use", ["info", "iterate", "read"])
    def test_what_is_not_there_is_not_found(self, end: End, source: ObjectSource, use: str) -> None:
        """``NotFoundError``, never an empty object; names that begin alike are no substitute."""
        for key in (f"{NAME}.longer", f"{NAME[:-1]}"):
            end.put(PREFIX + key, b"data")
        uses: dict[str, Callable[[ObjectStream], object]] = {
            "info": lambda stream: stream.info,
            "iterate": lambda stream: [*stream],
            "read": lambda stream: stream.read(1),
        }

        with source(NAME) as stream, pytest.raises(NotFoundError):
            uses[use](stream)

    def test_its_failures_are_the_sources(self, end: End, source: ObjectSource) -> None:
        """In a combined task: phase ``source``, the right cause, the place in the text, nothing at the sink."""
        end.put(PREFIX + "other", b"data")
        there = memory_end()
        sink = there.sink()
        with xd.one_task("pair") as pair:
            sink(source(xd.param("key")))

        with pytest.raises(TaskFailed) as failed:
            pair(key="absent")
        assert failed.value.phase == "source"
        assert isinstance(failed.value.__cause__, NotFoundError)
        assert "absent" in str(failed.value.__cause__)
        assert there.names() == []

    def test_closing(self, end: End, source: ObjectSource) -> None:
        """Before, in the middle of and after reading, twice; another stream over the same object is not concerned."""
        data = content(3 * MIB)
        end.put(PREFIX + NAME, data)
        unread, begun, iterated, done = (source(NAME) for _ in range(4))
        begun.read(10)
        next(iter(iterated))
        done.read()
        for stream in (unread, begun, iterated, done):
            assert not stream.closed
            stream.close()
            stream.close()
            assert stream.closed

        assert data == source(NAME).read()

    @pytest.mark.parametrize("read", [0, 10, -1])
    def test_a_closed_stream_is_not_a_short_one(self, end: End, source: ObjectSource, read: int) -> None:
        """What reads on after ``close`` is told so; it never gets an end that is none."""
        end.put(PREFIX + NAME, content(100_000))
        stream = source(NAME)
        stream.read(read)
        stream.close()

        with pytest.raises(ValueError, match="closed"):
            stream.read()
        with pytest.raises(ValueError, match="closed"):
            next(iter(stream))

    def test_replaced_since_it_was_listed(self, end: End, source: ObjectSource) -> None:
        """With what was observed, a read gives that version or raises; never another one's bytes of the same size."""
        end.put(PREFIX + NAME, content(1_000, seed=1))
        observed = source(NAME).info
        end.put(PREFIX + NAME, content(1_000, seed=2))

        if observed.version:
            with pytest.raises(PreconditionError):
                source(NAME, info=observed).read()
        assert content(1_000, seed=2) == source(NAME).read()

    def test_gone_since_it_was_listed(self, end: End, source: ObjectSource) -> None:
        """An object that vanished is not found; it is no empty object."""
        end.put(PREFIX + "other", b"data")
        end.put(PREFIX + NAME, b"data")
        observed = source(NAME).info
        end.remove(PREFIX + NAME)

        with pytest.raises((NotFoundError, PreconditionError)):
            source(NAME, info=observed).read()

    def test_replaced_while_it_is_read(self, end: End, source: ObjectSource) -> None:
        """A stream under way ends with all the old bytes, or raises; never a mix, never short."""
        old = content(6 * MIB, seed=1)
        end.put(PREFIX + NAME, old)
        with source(NAME) as stream:
            seen = [stream.read(10)]
            end.put(PREFIX + NAME, content(6 * MIB, seed=2))
            try:
                seen.append(stream.read())
            except CrossdockError:
                return  # loud is as good as whole

        assert old == b"".join(seen)
