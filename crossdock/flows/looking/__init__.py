"""Looking at tables where they are: their first rows, their columns, and a query over several; nothing is written.

``places`` says what a URL means as a table, ``heading`` reads a little of it, ``querying`` gives DuckDB the tables to pull,
``scanning`` is how it does. Importing this loads no pyarrow; each function does when it is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdock.flows.looking.heading import ColumnInfo, TableInfo, describe, head, schema
    from crossdock.flows.looking.places import Rows, table_at
    from crossdock.flows.looking.querying import query

_HOMES = {
    **dict.fromkeys(("ColumnInfo", "TableInfo", "describe", "head", "schema"), "heading"),
    **dict.fromkeys(("Rows", "table_at"), "places"),
    "query": "querying",
}

__all__ = ["ColumnInfo", "Rows", "TableInfo", "describe", "head", "query", "schema", "table_at"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crossdock.flows.looking' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"crossdock.flows.looking.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
