"""Delta Lake keeps the specification of tables, in a directory and on S3, and is read by a back door that is not ours."""

from __future__ import annotations

import pytest

import crossdock as xd
from crossdock.testing.tables import TableEnd, TableSuite

REFUSED = frozenset({"time", "time in seconds", "decimal of 60 digits"})


class TestDeltaTableInADirectory(TableSuite):
    @pytest.fixture
    def end(self, tmp_path):
        url = f"delta+file://{tmp_path}/lake"
        return TableEnd(source=xd.source(url), sink=xd.sink(url), refuses=REFUSED, folds_case=True)


class TestDeltaTableOnS3(TableSuite):
    examples = 2

    @pytest.fixture
    def end(self, s3):
        place = s3()
        url = f"delta+{place.url}lake"
        return TableEnd(
            source=xd.source(url, **place.options),
            sink=xd.sink(url, **place.options),
            refuses=REFUSED,
            folds_case=True,
            secrets=place.secrets,
        )
