"""Columns of the run's files, against pyarrow's own way of making them; and that pandas is not what they cost."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from crossdock.flows.runs.arrays import array_of, values_of
from crossdock.flows.runs.columns import TIME

_TEXTS = ["", "a", "日本\n", "🦜", "x" * 300]
_VALUES = {
    pa.int8(): [-128, 0, 127],
    pa.int32(): [-(2**31), 0, 2**31 - 1],
    pa.int64(): [-(2**63), 0, 2**63 - 1],
    pa.float64(): [0.0, -1.5, 1e300],
    pa.bool_(): [True, False],
    pa.string(): _TEXTS,
    pa.binary(): [text.encode() for text in _TEXTS] + [b"\xff\x00"],
    pa.list_(pa.string()): [[], ["a"], _TEXTS],
    TIME: [
        datetime(2026, 11, 21, 1, 2, 3, 456789, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 1, UTC),
        datetime(2026, 1, 1, tzinfo=UTC).astimezone() + timedelta(microseconds=7),
    ],
}


@pytest.mark.parametrize("kind", _VALUES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
def test_the_same_array_as_pyarrow_makes(kind, count, nulls):
    dice = random.Random(f"{kind} {count}")
    values = [None if dice.random() < nulls else dice.choice(_VALUES[kind]) for _ in range(count)]

    made = array_of(values, kind)

    made.validate(full=True)
    assert pa.array(values, kind).equals(made)
    assert values == values_of(pa.chunked_array([made]))


def test_a_type_that_is_not_theirs_is_refused():
    with pytest.raises(TypeError, match="decimal"):
        array_of([1], pa.decimal128(3))


@pytest.mark.parametrize("value", [128, -129])
def test_a_number_that_does_not_fit_is_refused(value):
    with pytest.raises(OverflowError):
        array_of([value], pa.int8())


def test_a_whole_migration_does_without_pandas():
    """Also where it is installed: a second of CPU and 50 MiB."""
    script = (
        "import sys, crossdock as xd; xd.sink('memory://a/')(b'1', key='k'); "
        "report = xd.migrate('memory://a/', 'memory://b/', run_dir='memory://c/'); "
        "assert report.counts.copied == 1; assert 'pandas' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
