"""A lake into a warehouse, and back: Parquet objects into a table of a database, and the table to Parquet again.

Shows a dataset as a source, a table as a sink that takes all rows or none, an upsert that changes nothing when it is run again, and a
query as a source. The database is told by its URL: SQLite, PostgreSQL, DuckDB.
"""

from __future__ import annotations

import crossdock as xd


def lake_to_warehouse(
    lake: str,
    export: str,
    database: str = "sqlite://warehouse.db",
    password: str = "",
    table: str = "orders",
    key: str = "id",
    query: str = "SELECT * FROM orders ORDER BY id",
) -> dict[str, int | None]:
    """Upsert the rows of a lake into a table, then write what a query gives back to the lake.

    Args:
        lake: Prefix of the Parquet objects.
        export: Prefix for what the query gives, as Parquet by day.
        database: Its URL, such as postgresql://etl@db.example/shop; a file in this directory unless given.
        password: Where its password is kept, such as env:PGPASSWORD; never the password.
        table: The table; it is made if it is not there.
        key: The column that tells rows apart.
        query: What is written back; it has a column day. In order: the same rows again then change nothing.
    """
    options = {"password": password} if password else {}

    with xd.one_task("lake_to_warehouse") as load:
        rows = xd.dataset(lake)
        xd.sink(database, **options)(rows(), table=table, mode="upsert", key=key)
    loaded = load()

    # SQLite keeps dates as text: said here, the lake has the same types whatever the database.
    with xd.one_task("warehouse_to_lake", stitch_function=xd.cast({"day": "date32"})) as unload:
        answer = xd.source(database, **options)
        xd.dataset_sink(export, partition_by="day")(answer(query=query), batch_id=table)
    unloaded = unload()

    return {"rows": loaded.rows, "changed": loaded.rows_changed, "exported": unloaded.rows}
