"""Lists of objects as files: CSV, Parquet or ORC, read row by row through a temporary file of this machine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from crossdock.errors import ConfigError, IntegrityError
from crossdock.flows.runs.arrays import values_of
from crossdock.model import Digests, ObjectInfo, Version
from crossdock.ports import ObjectStore

__all__ = ["fetched", "format_of", "objects_in"]

_ROWS = 10_000  # of a batch in memory
_NAMES = {
    "lastmodified": "modified",
    "lastmodifieddate": "modified",
    "versionid": "generation",
}  # an inventory's names, and ours; without ``_``, in small letters
_KNOWN = frozenset(
    ("key", "size", "etag", "generation", "modified", "storageclass", "md5", "crc32c", "crc64nvme", "sha256")
) | {"islatest", "isdeletemarker", "encryptionstatus"}
_LENGTHS = {"md5": 16, "crc32c": 4, "crc64nvme": 8, "sha256": 32}
_FORMATS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".orc": "orc"}


def format_of(key: str) -> str | None:
    """What a file is by the end of its name: ``csv``, ``parquet``, ``orc``; ``None`` for anything else."""
    return next((kind for end, kind in _FORMATS.items() if key.lower().endswith(end)), None)


def fetched(store: ObjectStore, key: str, *, md5: str | None = None) -> IO[bytes]:
    """One object as a temporary file of this machine, gone when it is closed. Memory: a chunk.

    Raises:
        IntegrityError: It is not what ``md5`` (hexadecimal) says.
    """
    digest = hashlib.md5(usedforsecurity=False)
    reader = store.read(key)
    file = tempfile.TemporaryFile(prefix="crossdock-list-")  # noqa: SIM115 - the caller closes it
    try:
        for chunk in reader:
            file.write(chunk)
            digest.update(chunk)
    except BaseException:
        file.close()
        raise
    finally:
        reader.close()
    if md5 is not None and digest.hexdigest() != md5.lower():
        file.close()
        raise IntegrityError(
            "the list is not what its MD5 says", operation="read list", where=store.url, key=key
        )
    file.seek(0)
    return file


def objects_in(
    file: IO[bytes], kind: str, *, where: str, columns: Sequence[str] | None = None, encoded: bool = False
) -> Iterator[ObjectInfo]:
    """The objects a file lists, as they come.

    Rows that are no current version (delete markers, noncurrent versions) are left out. Memory: a batch of 10,000 rows
    (of ORC a stripe).

    Args:
        file: From its beginning.
        kind: ``csv``, ``parquet`` or ``orc``.
        where: Its URL, for errors.
        columns: Of a CSV without a header: its columns.
        encoded: Keys are URL-encoded, as in the CSV of an S3 inventory.

    Raises:
        ConfigError: The file is damaged, has no column ``key``, or a value is not what its column says.
    """
    try:
        for batch in _batches(file, kind, columns):
            names = [_name(name) for name in batch.schema.names]
            _demand_key(names)
            wanted = [place for place, name in enumerate(names) if name in _KNOWN]
            values = [values_of(pa.chunked_array([batch.column(place)])) for place in wanted]
            for row in zip(*values, strict=True):
                info = _object(
                    dict(zip((names[place] for place in wanted), row, strict=True)), encoded=encoded
                )
                if info is not None:
                    yield info
    except ConfigError as error:
        error.operation, error.where = error.operation or "read list", error.where or where
        raise
    except (pa.ArrowException, ValueError, OSError, EOFError) as error:
        raise ConfigError(f"the list cannot be read: {error}", operation="read list", where=where) from error


def _demand_key(names: Sequence[str]) -> None:
    if "key" not in names:
        raise ConfigError(f"the list has no column key; it has {', '.join(names)}")


def _batches(file: IO[bytes], kind: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    if kind == "parquet":
        yield from pq.ParquetFile(file).iter_batches(batch_size=_ROWS, use_threads=False)
    elif kind == "orc":
        from pyarrow import orc

        stripes = orc.ORCFile(file)
        for number in range(stripes.nstripes):
            yield stripes.read_stripe(number)
    else:
        plain: Any = gzip.GzipFile(fileobj=file) if file.read(2) == b"\x1f\x8b" else file
        file.seek(0)
        names = list(columns) if columns is not None else _header(plain)
        if not plain.peek(1):
            return
        yield from pc.open_csv(
            plain,
            read_options=pc.ReadOptions(
                use_threads=False, column_names=names, skip_rows=0, block_size=1 << 20
            ),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )


def _header(file: Any) -> list[str]:
    line: bytes = file.readline()
    rest = pc.read_csv(io.BytesIO(line)).column_names if line else []
    return list(rest)


def _name(column: str) -> str:
    plain = column.strip().lower().replace("_", "").replace(" ", "")
    return _NAMES.get(plain, plain)


def _object(row: Mapping[str, Any], *, encoded: bool) -> ObjectInfo | None:
    if _is(row.get("isdeletemarker")) or (row.get("islatest") not in (None, "") and not _is(row["islatest"])):
        return None
    key = row["key"]
    if not isinstance(key, str) or not key:
        raise ConfigError(f"a row of the list has the key {key!r}")
    size, etag = row.get("size"), str(row.get("etag") or "").strip('"') or None
    digests = Digests(**{name: _digest(name, row[name]) for name in _LENGTHS if row.get(name)})  # type: ignore[arg-type]
    if etag is not None and not str(row.get("encryptionstatus") or "").upper().startswith(
        ("SSE-KMS", "SSE-C", "DSSE")
    ):
        digests = digests.merged(_digests_of(etag))
    return ObjectInfo(
        key=unquote_plus(key) if encoded else key,
        size=None if size in (None, "") else _size(size),
        version=Version(etag=etag),
        digests=digests,
        modified=_time(row.get("modified")),
        storage_class=row.get("storageclass") or None,
    )


def _digests_of(etag: str) -> Digests:
    """What an ETag says by its form, as in a listing: an MD5, or the MD5 of the parts' MD5s."""
    if re.fullmatch("[0-9a-fA-F]{32}-[0-9]+", etag):
        return Digests(multipart_etag=etag)
    return Digests(md5=bytes.fromhex(etag)) if re.fullmatch("[0-9a-fA-F]{32}", etag) else Digests()


def _is(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _size(value: Any) -> int:
    size = int(value)
    if size < 0:
        raise ConfigError(f"a row of the list has the size {value!r}")
    return size


def _digest(name: str, value: Any) -> bytes:
    """Raw bytes, hexadecimal or base64."""
    length = _LENGTHS[name]
    if isinstance(value, bytes):
        raw = value
    elif len(value) == 2 * length:
        raw = bytes.fromhex(value)
    else:
        raw = base64.b64decode(value, validate=True)
    if len(raw) != length:
        raise ConfigError(f"{value!r} is no {name}")
    return raw


def _time(value: Any) -> datetime | None:
    if value in (None, ""):
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
