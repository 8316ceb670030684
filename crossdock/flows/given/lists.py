"""A list of objects given by URL instead of a listing: an S3 inventory, a table of one's own, an earlier run.

Its keys are full keys; those that are not below the source's prefix are left out. Nothing of the source is listed: sizes,
versions and digests are the list's, and versions pin the reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.registry import open_store
from crossdock.errors import ConfigError
from crossdock.flows.given.asking import asked
from crossdock.flows.given.tables import fetched, format_of, objects_in
from crossdock.flows.listing.spilling import Candidate, by_destination
from crossdock.flows.runs.directory import RunDirectory, is_run_id, open_run
from crossdock.flows.runs.files import RunFiles
from crossdock.model import ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["ObjectTable", "open_table"]

_INVENTORY = "manifest.json"
_INVENTORY_BYTES = 64 * 1024 * 1024


class ObjectTable:
    """What ``open_table`` found: the objects of a list, from wherever it is.

    Args:
        url: Where it is.
        digest: What a run keeps of its content.
        rows: Gives its objects, in any order.
        store: The root URL of the store it is of, if it says.
    """

    def __init__(
        self, url: str, digest: str, rows: Callable[[], Iterator[ObjectInfo]], store: str | None = None
    ) -> None:
        self.url = url
        self.store = store
        self._digest = digest
        self._rows = rows

    def asked(self) -> dict[str, Any]:
        """What a run keeps of it; equal for the same list."""
        return {"manifest": self.url, "version": self._digest}

    def pages(self, source: ObjectSource) -> Iterator[Sequence[ObjectInfo]]:
        """Its objects below the source's prefix, in key order; those without a size are asked for, 64 at a time.

        Memory: 50,000 objects; beyond that they are sorted through files of the temporary directory. Requests: those
        that read the list, and one for each object without a size.

        Raises:
            ConfigError: The list is of another store, is damaged, or names an object twice in different versions.
        """
        if self.store is not None and self.store != source.store.url:
            raise ConfigError(
                f"the list is of {self.store}, and the source is {source.store.url}",
                operation="read list",
                where=self.url,
            )
        return asked(source.store, self._once(source.prefix))

    def _once(self, prefix: str) -> Iterator[ObjectInfo]:
        below = (info for info in self._rows() if info.key.startswith(prefix))
        ordered = by_destination(Candidate(info, "", info.key) for info in below)
        for key, several in groupby(ordered, key=lambda each: each.destination):
            first, *others = (each.info for each in several)
            if any(other != first for other in others):
                raise ConfigError(
                    "the list names this object more than once, in different versions",
                    operation="read list",
                    where=self.url,
                    key=key,
                    hint="leave only current versions in it",
                )
            yield first


def open_table(url: str, options: Mapping[str, Any] | None = None) -> ObjectTable:
    """A list by the URL of its file or directory, or ``run:ID``. At most four requests.

    A file is told by its end: ``.csv``, ``.csv.gz`` (with a header), ``.parquet``, ``.orc``, or ``manifest.json`` of an S3
    inventory. A directory is that of a run, or of an inventory.

    Raises:
        ConfigError: It is none of these.
        NotFoundError: There is no such file, directory or run.
    """
    if url.startswith("run:"):
        return _of_run(open_run(url.removeprefix("run:"), options))
    store, key = open_store(url, options or {})
    kind = format_of(key)
    if kind is not None:
        return _of_file(store, key, kind)
    if key.rpartition("/")[2] == _INVENTORY:
        return _of_inventory(store, key)
    place = RunFiles(store, f"{key.rstrip('/')}/" if key.strip("/") else key)
    directory = RunDirectory(place)
    if directory.exists():
        return _of_run(open_run(url if not is_run_id(url) else f"./{url}", options))
    if place.exists(_INVENTORY):
        return _of_inventory(store, place.prefix + _INVENTORY)
    raise ConfigError(
        "this is no list of objects",
        operation="read list",
        where=url,
        hint="give a .csv, .parquet or .orc file, an inventory's manifest.json, a run's directory, or run:ID",
    )


def _of_file(store: ObjectStore, key: str, kind: str) -> ObjectTable:
    info = store.stat(key)
    url = f"{store.url}/{key}"

    def rows() -> Iterator[ObjectInfo]:
        with fetched(store, key) as file:
            yield from objects_in(file, kind, where=url)

    return ObjectTable(url, info.version.etag or info.version.generation or f"{info.size} bytes", rows)


def _of_run(directory: RunDirectory) -> ObjectTable:
    document = directory.read()
    manifest = directory.manifest
    return ObjectTable(
        directory.url,
        document["run_id"],
        lambda: (row.source for row in manifest.all_rows()),
        document["asked"]["source"]["store"],
    )


def _of_inventory(store: ObjectStore, key: str) -> ObjectTable:
    """As S3 writes it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html."""
    url = f"{store.url}/{key}"
    with fetched(store, key) as file:
        text = file.read(_INVENTORY_BYTES + 1)
    try:
        document = json.loads(text)
        kind = {"csv": "csv", "parquet": "parquet", "orc": "orc"}[document["fileFormat"].lower()]
        files = [(each["key"], each.get("MD5checksum")) for each in document["files"]]
        bucket = document["sourceBucket"]
        columns = [name.strip() for name in document["fileSchema"].split(",")] if kind == "csv" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"this is no manifest of an S3 inventory: {error!r}", operation="read list", where=url
        ) from error

    def rows() -> Iterator[ObjectInfo]:
        for data, md5 in files:
            place = _data_key(store, key, data, document.get("destinationBucket", ""))
            with fetched(store, place, md5=md5) as file:
                where = f"{store.url}/{place}"
                yield from objects_in(file, kind, where=where, columns=columns, encoded=kind == "csv")

    return ObjectTable(url, hashlib.sha256(text).hexdigest(), rows, f"s3://{bucket}")


def _data_key(store: ObjectStore, manifest_key: str, data: str, bucket: str) -> str:
    """Where a data file is: as the manifest says in its own bucket, and beside it where the inventory was copied."""
    if store.url == f"s3://{bucket.rpartition(':')[2]}":
        return data
    dated = manifest_key.rpartition("/")[0]
    above = dated.rpartition("/")[0]
    return "/".join(part for part in (above, "data", data.rpartition("/")[2]) if part)
