"""Bytes and rows on their way: in order, as they come, closed in any case; and bytes that are not what they should be."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from crossdock.batches import Batches
from crossdock.errors import ConfigError, CrossdockError, IntegrityError, RowError
from crossdock.testing.codecs.end import CodecEnd, simple_table
from crossdock.testing.table_rows import Pulled, SourceDied, assert_same

__all__ = ["StreamChecks"]


class Chunks:
    """Bytes in pieces, which may die, and know whether they were closed."""

    def __init__(self, data: bytes, size: int, *, dies_after: int | None = None) -> None:
        self._data = data
        self._size = size
        self._dies_after = dies_after
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for number, start in enumerate(range(0, len(self._data), self._size)):
            if number == self._dies_after:
                raise SourceDied
            yield self._data[start : start + self._size]

    def close(self) -> None:
        self.closed += 1


class StreamChecks:
    """Streams, whatever is in them."""

    def test_rows_keep_their_order_over_many_batches(self, codec: CodecEnd) -> None:
        """Of every size, the empty one too."""
        table = simple_table(20_000)
        pieces, start = [], 0
        for size in (1, 0, 7, 4_000, 3, 9_000, 0, 6_989):
            pieces += table.slice(start, size).combine_chunks().to_batches() or [
                pa.RecordBatch.from_pylist([], table.schema)
            ]
            start += size
        pieces += table.slice(start).to_batches()
        found = codec.read(codec.write(Batches(table.schema, pieces), **codec.small), table.schema)

        assert found.column("n").to_pylist() == [*range(20_000)]
        assert_same(table, found)

    def test_bytes_leave_while_rows_still_come(self, codec: CodecEnd) -> None:
        """Nothing waits for the last row, so that memory does not grow with their number."""
        rows = Pulled(simple_table(200_000).to_batches(max_chunksize=1_000))
        written = pulled_half = 0
        for chunk in codec.encode(codec.format, **codec.small)(rows.stream()):
            written += len(chunk)
            if rows.pulled <= 150:
                pulled_half = written

        assert pulled_half > written / 4
        assert (rows.pulled, rows.closed) == (200, 1)

    def test_rows_come_while_bytes_still_come(self, codec: CodecEnd) -> None:
        """In batches; a reader that stops closes the source."""
        data = codec.write(simple_table(200_000), **codec.small)
        chunks = Chunks(data, 65_536)
        with codec.decode(codec.format)(chunks) as batches:
            first = next(batches)

        assert 0 < first.num_rows < 200_000
        assert chunks.closed >= 1

    @pytest.mark.parametrize("size", [1, 7, 4_096, 10_000_000])
    def test_bytes_come_in_pieces_of_any_size(self, codec: CodecEnd, size: int) -> None:
        """Where they are cut means nothing."""
        table = simple_table(300)
        chunks = Chunks(codec.write(table), size)

        assert_same(table, codec.read(chunks, table.schema))
        assert chunks.closed >= 1

    def test_a_source_of_rows_that_dies(self, codec: CodecEnd) -> None:
        """Its own error comes through and it is closed; what was written is no whole object where the format can tell."""
        rows = Pulled(simple_table(10_000).to_batches(max_chunksize=1_000), dies_after=6)
        stream = codec.encode(codec.format, **codec.small)(rows.stream())
        written: list[bytes] = []
        with pytest.raises(SourceDied):
            written.extend(map(bytes, stream))
        stream.close()

        assert (rows.pulled, rows.closed) == (6, 1)
        if codec.tells_its_end:
            with pytest.raises(CrossdockError):
                codec.read(b"".join(written))

    def test_a_stream_that_is_abandoned_does_not_end(self, codec: CodecEnd) -> None:
        """It closes its source, and is no short object to whoever goes on reading it."""
        rows = Pulled(simple_table(10_000).to_batches(max_chunksize=1_000))
        stream = codec.encode(codec.format, **codec.small)(rows.stream())
        next(iter(stream))
        stream.close()
        stream.close()

        assert rows.closed == 1
        with pytest.raises(CrossdockError):
            b"".join(stream)

    def test_a_source_of_bytes_that_dies(self, codec: CodecEnd) -> None:
        """Its own error comes through, and it is closed."""
        data = codec.write(simple_table(3_000))
        for after in (0, 1, 3):
            chunks = Chunks(data, len(data) // 4, dies_after=after)
            with pytest.raises(SourceDied):
                codec.read(chunks, simple_table().schema)

            assert chunks.closed >= 1

    def test_every_compression_comes_back(self, codec: CodecEnd) -> None:
        """Also none."""
        table = simple_table(5_000)
        for compression in (*codec.compressions, None):
            data = codec.write(table, compression=compression)

            assert_same(table, codec.read(data, table.schema))

    def test_compressions_make_other_bytes(self, codec: CodecEnd) -> None:
        """One that is asked for is used."""
        chance = random.Random(5)  # noqa: S311 - the same every time
        table = pa.table(
            {"s": [f"{chance.randrange(1 << 40)} and the same text again and again" for _ in range(5_000)]}
        )
        sizes = {each: len(codec.write(table, compression=each)) for each in (*codec.compressions, None)}

        assert [each for each in codec.compressions if sizes[each] >= sizes[None]] == []

    def test_wrong_options_are_found_at_once(self, codec: CodecEnd) -> None:
        """Before there is any row."""
        for options in ({"compression": "rar"}, {"no_such_option": 1}):
            with pytest.raises(ConfigError):
                codec.encode(codec.format, **options)
            with pytest.raises(ConfigError):
                codec.decode(codec.format, **options)

    def test_bytes_that_end_early_are_no_table(self, codec: CodecEnd) -> None:
        """Wherever they end. A format that cannot tell gives rows it has, or an error; never others."""
        table = simple_table(2_000)
        data = codec.write(table, **codec.small)
        chance = random.Random(7)  # noqa: S311 - the same every time
        expected = table.to_pylist()
        for cut in sorted(
            {0, 1, 2, len(data) // 2, len(data) - 1, *(chance.randrange(1, len(data)) for _ in range(12))}
        ):
            try:
                found = codec.read(data[:cut], table.schema)
            except (IntegrityError, RowError, ConfigError):
                continue
            assert not codec.tells_its_end, f"{cut} of {len(data)} bytes were taken for the whole"
            rows = found.to_pylist()
            assert rows[:-1] == expected[: max(len(rows) - 1, 0)]  # the last may be half of one

    def test_other_bytes_are_no_table(self, codec: CodecEnd) -> None:
        """Nothing at all, and something else altogether."""
        for data in (bytes(range(256)) * 20, b"\0" * 5_000):
            with pytest.raises((IntegrityError, RowError, ConfigError)):
                codec.read(data, simple_table().schema)
        with pytest.raises((IntegrityError, RowError, ConfigError)):
            codec.read(b"")  # with a schema, an empty text is a table of no rows

    def test_flipped_bits_end_in_our_errors(self, codec: CodecEnd) -> None:
        """Or in rows, where nothing guards them; never in somebody else's error."""
        table = simple_table(500)
        data = codec.write(table)
        chance = random.Random(11)  # noqa: S311 - the same every time
        for _ in range(60):
            damaged = bytearray(data)
            at = chance.randrange(len(data))
            damaged[at] ^= 1 << chance.randrange(8)
            try:
                codec.read(bytes(damaged), table.schema)
            except CrossdockError:
                continue

    def test_steps_are_recipes(self, codec: CodecEnd) -> None:
        """They can be pickled, are equal if they say the same, and work where they arrive."""
        steps: tuple[Any, Any] = (codec.encode(codec.format, **codec.small), codec.decode(codec.format))
        encode, decode = pickle.loads(pickle.dumps(steps))  # noqa: S301 - our own bytes
        data = b"".join(map(bytes, encode(pa.table({"n": [1, 2]}))))

        assert (encode, decode) == steps
        assert decode(data).read_all().to_pydict() == {"n": [1, 2]}
