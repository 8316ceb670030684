"""Compressed bytes and plain ones, chunk by chunk, in both directions.

gzip goes through ISA-L where the level allows (on a CSV 20 times less CPU than zlib's level 6 for 12 % more bytes; half of it to
unpack), zstd and lz4 through pyarrow, which brings them; bz2 and xz are Python's own; snappy's framing is an extra. Members and
frames written one after the other are read as one. An end in the middle is an error, never a short object. Nothing limits
what a small object may unpack to: it is never held whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crossdock.errors import ConfigError, IntegrityError, MissingExtraError, Retry
from crossdock.formats.outgoing import Collector
from crossdock.model import MIB
from crossdock.ports import Chunk

__all__ = ["compress", "decompress"]

_STEP_BYTES = MIB
"""What one step hands over at most, however much a chunk unpacks to."""

_LEVELS = {"gzip": range(10), "bz2": range(1, 10), "xz": range(10)}
_GZIP_LEVEL = 1


def decompress(chunks: Iterable[Chunk], compression: str) -> Iterator[bytes]:
    """Unpack; memory: a chunk and at most 1 MiB of what comes out of it.

    Raises:
        IntegrityError: The bytes are damaged, or end early.
        MissingExtraError: snappy needs a package that is not installed.
    """
    if compression == "snappy":
        yield from _unsnappy(chunks)
    elif compression in ("zstd", "lz4"):
        yield from _by_arrow(_some(chunks, compression), compression)
    else:
        yield from _by_object(_some(chunks, compression), compression)


def _some(chunks: Iterable[Chunk], compression: str) -> Iterator[Chunk]:
    """Nothing at all is cut short: even of no bytes each of these makes some, unlike snappy's framing."""
    begun = False
    for chunk in chunks:
        begun = begun or len(chunk) > 0
        yield chunk
    if not begun:
        raise _damaged(compression, "it is empty")


def compress(chunks: Iterable[Chunk], compression: str, level: int | None = None) -> Iterator[bytes]:
    """Pack; memory: a chunk and what it becomes."""
    check_level(compression, level)
    if compression in ("zstd", "lz4"):
        return _arrow_packed(chunks, compression)
    if compression == "snappy":
        return _snappy_packed(chunks)
    return _packed(chunks, _packer(compression, level))


def check_level(compression: str, level: int | None) -> None:
    """Refuse a level that a compression does not have.

    Raises:
        ConfigError: It has no levels, or not this one.
    """
    levels = _LEVELS.get(compression, range(0))
    if level is not None and level not in levels:
        known = f"levels {levels[0]} to {levels[-1]}" if levels else "no levels"
        raise ConfigError(f"{compression} has {known}, not {level}", operation="compress")


def _gunzip() -> Any:
    from isal import igzip_lib

    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _bunzip() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _unxz() -> Any:
    import lzma

    return lzma.LZMADecompressor()


# All three speak the words of Python's own BZ2Decompressor: decompress(data, limit), needs_input, eof, unused_data.
_UNPACKERS: dict[str, Callable[[], Any]] = {"gzip": _gunzip, "bz2": _bunzip, "xz": _unxz}


def _by_object(chunks: Iterable[Chunk], compression: str) -> Iterator[bytes]:
    make = _UNPACKERS[compression]
    unpacker: Any = None
    begun = False
    for chunk in chunks:
        data = bytes(chunk)
        while data or (unpacker is not None and not unpacker.needs_input):
            if unpacker is None:
                data = (
                    data.lstrip(b"\0") if begun else data
                )  # padding behind a member, as tape tools leave it
                if not data:
                    break
                unpacker, begun = make(), True
            out = _step(unpacker, data, compression)
            if out:
                yield out
            data = b""
            if unpacker.eof:
                data, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise _damaged(compression, "it ends early")


def _step(unpacker: Any, data: bytes, compression: str) -> bytes:
    try:
        out: bytes = unpacker.decompress(data, _STEP_BYTES)
    except Exception as error:  # four libraries, each with an error of its own, and nothing else runs here
        raise _damaged(compression, str(error)) from error
    return out


def _damaged(compression: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"the {compression} data is damaged: {why}",
        operation="decompress",
        retry=Retry.NEVER,
        hint="read the object's source again, or say which compression it has",
    )


class _Reading:
    """Chunks as a file for pyarrow."""

    closed = False

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            while not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                self._rest = memoryview(chunk).cast("B")
        except BaseException as error:
            self.failure = error
            raise
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        pass


def _by_arrow(chunks: Iterable[Chunk], compression: str) -> Iterator[bytes]:
    import pyarrow as pa

    source: Any = _Reading(chunks)
    codec: Any = compression
    stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), codec)
    while True:
        try:
            out = stream.read(_STEP_BYTES)
        except (OSError, pa.ArrowException, IntegrityError) as error:
            if source.failure is not None:
                raise
            raise _damaged(compression, str(error)) from error
        if not out:
            return
        yield out


_PIECE = 65_536  # snappy packs 21 to 1 at most
_SNAPPY_HEAD = b"\xff\x06\x00\x00sNaPpY"


def _snappy() -> Any:
    try:
        import cramjam
    except ImportError as error:
        raise MissingExtraError(
            "snappy's framing needs the package cramjam",
            operation="decompress",
            hint='install it: pip install "crossdock[snappy]"',
        ) from error
    return cramjam.snappy


def _unsnappy(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Whole frames of at most 64 KiB each; a frame's head tells its length."""
    snappy = _snappy()
    held = b""
    pieces = (data[at : at + _PIECE] for data in map(bytes, chunks) for at in range(0, len(data), _PIECE))
    for piece in pieces:
        held += piece
        end = 0
        while end + 4 <= len(held):
            following = end + 4 + int.from_bytes(held[end + 1 : end + 4], "little")
            if following > len(held):
                break
            end = following
        if end:
            try:
                yield bytes(snappy.decompress(_SNAPPY_HEAD + held[:end]))
            except cramjam_error() as error:
                raise _damaged("snappy", str(error)) from error
            held = held[end:]
    if held:
        raise _damaged("snappy", "it ends early")


def cramjam_error() -> type[Exception]:
    """What cramjam raises."""
    import cramjam

    error: type[Exception] = cramjam.DecompressionError
    return error


def _packer(compression: str, level: int | None) -> Any:
    if compression == "gzip":
        level = _GZIP_LEVEL if level is None else level
        if level <= 3:
            from isal import isal_zlib

            return isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31)
        return zlib.compressobj(level, zlib.DEFLATED, 31)
    if compression == "bz2":
        import bz2

        return bz2.BZ2Compressor(level or 9)
    import lzma

    return lzma.LZMACompressor(preset=level)


def _packed(chunks: Iterable[Chunk], packer: Any) -> Iterator[bytes]:
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _arrow_packed(chunks: Iterable[Chunk], compression: str) -> Iterator[bytes]:
    import pyarrow as pa

    out: Any = Collector()
    codec: Any = compression
    try:
        stream = pa.CompressedOutputStream(pa.PythonFile(out, mode="w"), codec)
        for chunk in chunks:
            stream.write(chunk)
            yield out.take()
        stream.close()
        yield out.take()
    finally:
        out.abandon()


def _snappy_packed(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    packer = _snappy().Compressor()
    for chunk in chunks:
        packer.compress(bytes(chunk))
        yield bytes(packer.flush())
    yield bytes(packer.finish())
