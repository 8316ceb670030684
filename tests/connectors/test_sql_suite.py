"""Every database keeps the specification of tables; each is also read by a back door that is not ours."""

from __future__ import annotations

import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.testing.table_cases import NESTED
from crossdock.testing.tables import TableEnd, TableSuite


class TestPostgresqlTable(TableSuite):
    @pytest.fixture
    def end(self, postgres):  # noqa: F811
        options = {**postgres.options, "schema": postgres.fresh_schema()}
        return TableEnd(
            source=xd.source(postgres.url(), **options, batch_size_bytes="256KiB"),
            sink=xd.sink(postgres.url(), **options),
            refuses=NESTED - {"list", "list of text"},
            bends=frozenset({"text with NUL"}),
            secrets=(postgres.password,),
        )


class TestSqliteTable(TableSuite):
    examples = 25

    @pytest.fixture
    def end(self, tmp_path):
        url = f"sqlite://{tmp_path}/t.db"
        return TableEnd(
            source=xd.source(url),
            sink=xd.sink(url),
            refuses=NESTED,
            bends=frozenset({"nan"}),
            loses=frozenset({"negative zero"}),
            folds_case=True,
        )


class TestDuckdbTable(TableSuite):
    @pytest.fixture
    def end(self, tmp_path):
        url = f"duckdb://{tmp_path}/t.duckdb"
        return TableEnd(
            source=xd.source(url),
            sink=xd.sink(url),
            refuses=frozenset({"decimal of 60 digits"}),
            folds_case=True,
        )
