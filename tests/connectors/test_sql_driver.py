"""``driver=``: another build of the ADBC driver in the place of the package's."""

from __future__ import annotations

from pathlib import Path

import adbc_driver_postgresql
import pyarrow as pa
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.errors import CrossdockError


def test_the_library_that_is_named_is_used(postgres, tmp_path):  # noqa: F811
    """A copy of the installed one, in a directory of its own: loaded by path, it reads and writes as ever."""
    url, copy = postgres.fresh(), tmp_path / "another.so"
    copy.write_bytes(Path(adbc_driver_postgresql._driver_path()).read_bytes())
    options = {**postgres.options, "driver": str(copy)}
    table = pa.table({"n": [1, None], "s": ["a", "b"]})

    assert xd.sink(url, **options)(table, "t", mode="replace").rows == 2
    assert xd.source(url, **options)("t").read_all() == table
    assert f"{copy}\n" in Path("/proc/self/maps").read_text()


def test_one_that_is_not_there_is_named(postgres):  # noqa: F811
    source = xd.source(postgres.url(), driver="/nowhere/libdriver.so", **postgres.options)
    with pytest.raises(CrossdockError, match=r"/nowhere/libdriver\.so") as failure:
        source("t")

    assert postgres.password not in str(failure.value)
