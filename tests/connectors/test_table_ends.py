"""Tables that are no database keep the specification of tables too: frames in memory, datasets below a prefix."""

from __future__ import annotations

import urllib.parse

import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.tables import TableEnd, TableSuite


class Shelf:
    """Frames by name, in this process: what ``xd.frames`` reads and ``xd.collect`` makes."""

    def __init__(self, form):
        self.form = form
        self.frames = {}


class FromShelf:
    def __init__(self, shelf):
        self.shelf = shelf

    def __call__(self, table):
        return xd.frames(self.shelf.frames)(table)


class ToShelf:
    """All of it or nothing: the frame is put there when it is whole."""

    def __init__(self, shelf):
        self.shelf = shelf

    def __call__(self, rows, *, table, mode):
        assert mode == "replace"
        batches = Batches.of(rows)
        self.shelf.frames[table] = xd.collect(self.shelf.form)(batches)
        return xd.Receipt(
            source="",
            destination=table,
            key=table,
            size=batches.bytes,
            version=None,
            verification=xd.Verification.V0,
            evidence="",
            method="frame",
            rows=batches.rows,
        )


def frames_end(form, **known):
    shelf = Shelf(form)
    return TableEnd(source=FromShelf(shelf), sink=ToShelf(shelf), modes=frozenset(), **known)


class TestArrowFrames(TableSuite):
    @pytest.fixture
    def end(self):
        return frames_end("arrow")


class TestPolarsFrames(TableSuite):
    @pytest.fixture
    def end(self):
        return frames_end(
            "polars",
            refuses=frozenset({"decimal of 60 digits"}),
            loses=frozenset({"date in milliseconds", "uuid"}),
        )


class TestPandasFrames(TableSuite):
    @pytest.fixture
    def end(self):
        return frames_end("pandas", loses=frozenset({"nan", "list", "map"}))


class Lake:
    """Datasets by name below one prefix."""

    def __init__(self, root, format_="parquet"):
        self.root, self.format = root, format_

    def url(self, table):
        return f"{self.root}/{urllib.parse.quote(table, safe='')}/"


class FromLake(Lake):
    def __call__(self, table):
        return xd.dataset(self.url(table))()


class ToLake(Lake):
    """One batch a table, which another under its name replaces; or one batch more."""

    def __call__(self, rows, *, table, mode):
        sink = xd.dataset_sink(self.url(table), format=self.format)
        return sink(rows, batch_id="all" if mode == "replace" else None)


class TestDataset(TableSuite):
    @pytest.fixture
    def end(self, tmp_path):
        return TableEnd(
            source=FromLake(tmp_path), sink=ToLake(tmp_path), modes=frozenset({"append"}), merges=True
        )
