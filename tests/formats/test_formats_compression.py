"""Compression round anything: exact both ways, members in a row, damage and early ends loud."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import zlib

import pyarrow as pa
import pytest

import crossdock as xd

KINDS = ["gzip", "zstd", "bz2", "xz", "lz4", "snappy"]
CHANCE = random.Random(5)
DATA = b"".join(CHANCE.choice([b"some text ", CHANCE.randbytes(9), b"\n"]) for _ in range(100_000))


def pieces(data, size=70_001):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_is_unpacked(kind):
    packed = b"".join(xd.compress(kind)(pieces(DATA)))

    assert len(packed) < len(DATA)
    assert b"".join(xd.decompress(kind)(pieces(packed, 999))) == DATA
    assert b"".join(xd.decompress()(packed)) == DATA
    assert b"".join(xd.decompress(kind)(b"".join(xd.compress(kind)(b"")))) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_members_in_a_row_are_one(kind):
    packed = b"".join(xd.compress(kind)(DATA[:100_000])) + b"".join(xd.compress(kind)(DATA[100_000:300_000]))

    assert b"".join(xd.decompress(kind)(pieces(packed, 1000))) == DATA[:300_000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 100])
def test_an_early_end_is_loud(kind, cut):
    packed = b"".join(xd.compress(kind)(DATA[:300_000]))
    with pytest.raises(xd.IntegrityError, match=f"{kind} data is damaged"):
        b"".join(xd.decompress(kind)(pieces(packed[:-cut])))


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz", "snappy"])
def test_a_flipped_bit_is_loud(kind):
    packed = bytearray(b"".join(xd.compress(kind)(DATA[:300_000])))
    packed[len(packed) // 2] ^= 4
    with pytest.raises(xd.IntegrityError, match="damaged"):
        b"".join(xd.decompress(kind)(bytes(packed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_unpacked_in_steps(kind):
    """32 MiB of zeros: never more than a few MiB of them at once."""
    packed = b"".join(xd.compress(kind)(bytes(1 << 20) for _ in range(32)))
    largest = total = 0
    for chunk in xd.decompress(kind)(packed):
        largest, total = max(largest, len(chunk)), total + len(chunk)

    assert total == 32 << 20
    assert largest <= 2 << 20


@pytest.mark.parametrize(
    ("kind", "unpack"), [("gzip", gzip.decompress), ("bz2", bz2.decompress), ("xz", lzma.decompress)]
)
@pytest.mark.parametrize("level", [1, 6])
def test_others_can_read_it(kind, unpack, level):
    assert unpack(b"".join(xd.compress(kind, level=level)(DATA[:50_000]))) == DATA[:50_000]


def test_padding_behind_gzip_members_is_no_damage():
    assert b"".join(xd.decompress("gzip")(gzip.compress(b"a") + bytes(512) + gzip.compress(b"b"))) == b"ab"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_source_stays_its_own(kind):
    packed = b"".join(xd.compress(kind)(DATA))

    def breaking():
        yield packed[: len(packed) // 2]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        b"".join(xd.decompress(kind)(breaking()))


def test_names_and_types_follow():
    source, sink = xd.MemorySource("formats-names"), xd.MemorySink("formats-names")
    sink(b"a,b\n1,2\n", key="x/a.csv")
    packed = xd.compress("gzip")(source("x/a.csv"))
    assert (packed.name, packed.info.metadata.content_type) == ("x/a.csv.gz", "application/gzip")
    sink(packed)
    assert xd.decompress()(source("x/a.csv.gz")).name == "x/a.csv"
    assert xd.decode()(source("x/a.csv.gz")).read_all().to_pylist() == [{"a": 1, "b": 2}]


def test_a_name_may_lie_about_compression():
    """What a server unpacked on its way is called .gz and is not; and the other way round."""
    source, sink = xd.MemorySource("formats-lies"), xd.MemorySink("formats-lies")
    sink(b"a,b\n1,2\n", key="a.csv.gz")
    sink(gzip.compress(b"a,b\n1,2\n"), key="b.csv")
    for key in ("a.csv.gz", "b.csv"):
        assert xd.decode()(source(key)).read_all().to_pylist() == [{"a": 1, "b": 2}]


def test_wrong_words_are_told():
    for make in (
        lambda: xd.compress("rar"),
        lambda: xd.decompress("rar"),
        lambda: xd.compress("zstd", level=3),
    ):
        with pytest.raises(xd.ConfigError):
            make()
    with pytest.raises(xd.ConfigError, match="no compression"):
        xd.decompress()(b"plain text, it seems")


def test_level_of_text_is_that_of_its_compression():
    table = pa.table({"a": ["some text"] * 5000})
    small, large = (len(b"".join(xd.encode("csv.gz", level=level)(table))) for level in (9, 0))

    assert small < large
    assert zlib.decompress(b"".join(xd.encode("csv.gz", level=9)(table)), 31).startswith(b'"a"')
