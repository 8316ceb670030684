"""Iceberg keeps the specification of tables, in a directory and on S3, with a catalogue in a SQLite file."""

from __future__ import annotations

import pytest

import crossdock as xd
from crossdock.testing.tables import TableEnd, TableSuite

REFUSED = frozenset({"decimal of 60 digits"})


class TestIcebergTableInADirectory(TableSuite):
    @pytest.fixture
    def end(self, tmp_path):
        url, warehouse = f"iceberg+sqlite://{tmp_path}/catalog.db", f"file://{tmp_path}/lake"
        return TableEnd(
            source=xd.source(url, warehouse=warehouse),
            sink=xd.sink(url, warehouse=warehouse),
            refuses=REFUSED,
            modes=frozenset({"append"}),
        )


class TestIcebergTableOnS3(TableSuite):
    examples = 2

    @pytest.fixture
    def end(self, tmp_path, s3):
        place = s3()
        url = f"iceberg+sqlite://{tmp_path}/catalog.db"
        options = {"warehouse": f"{place.url}lake", **place.options}
        return TableEnd(
            source=xd.source(url, **options),
            sink=xd.sink(url, **options),
            refuses=REFUSED,
            modes=frozenset({"append"}),
            secrets=place.secrets,
        )
