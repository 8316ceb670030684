"""Formats: bytes to rows and back, and what may happen to rows between, all as stitch functions.

``decode`` and ``encode`` turn one kind of stream into the other; ``compress`` and ``decompress`` change bytes; the others change
rows. They stream: memory is a block of text or a row group, whatever the object's size. Importing this loads no pyarrow.
"""

from crossdock.formats.bad_rows import BadRow
from crossdock.formats.decoding import decode
from crossdock.formats.encoding import encode
from crossdock.formats.options import (
    AvroWrite,
    BinaryRead,
    CsvRead,
    CsvWrite,
    IpcWrite,
    JsonRead,
    JsonWrite,
    OrcWrite,
    ParquetWrite,
)
from crossdock.formats.packing import compress, decompress
from crossdock.formats.steps import cast, chain, filter, limit, rename, sample, select, transform  # noqa: A004 - xd.filter

__all__ = [
    "AvroWrite",
    "BadRow",
    "BinaryRead",
    "CsvRead",
    "CsvWrite",
    "IpcWrite",
    "JsonRead",
    "JsonWrite",
    "OrcWrite",
    "ParquetWrite",
    "cast",
    "chain",
    "compress",
    "decode",
    "decompress",
    "encode",
    "filter",
    "limit",
    "rename",
    "sample",
    "select",
    "transform",
]
