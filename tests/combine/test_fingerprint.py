"""The canonical digest: equal values equal in every process and under every Python, different values different."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import enum
import functools
import math
import operator
import pathlib
import shutil
import subprocess
import sys
import threading
import types
import uuid
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

import crossdock as xd
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.combine.inputs import names_credential
from crossdock.model import Digests, Receipt, Version

ROOT = pathlib.Path(__file__).parents[2]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclass(frozen=True)
class Point:
    x: Any
    y: Any = 0


@dataclass
class Other:
    x: Any
    y: Any = 0


@attrs.define
class Attrs:
    x: int


class Pair(NamedTuple):
    left: Any
    right: Any


class Text(str):
    __slots__ = ()


def module_level(x):
    return x


# -- stable --------------------------------------------------------------------------------------------------------

# Evaluated here and in other interpreters; a change of any digest loses everybody's cache.
GOLDEN = {
    "None": "e14c53c3",
    "True": "1b83e2e3",
    "1": "585108cf",
    "-(2**70)": "0e3fc7cd",
    "1.0": "36f70b13",
    "float('nan')": "fb428c84",
    "1j": "2ab75a01",
    "'Grüße 🚚'": "bdab2374",
    "b'\\0\\xff'": "f637c9dc",
    "Decimal('1.50')": "970ae7ee",
    "Fraction(1, 3)": "278ee0fe",
    "uuid.UUID(int=7)": "ad167c56",
    "dt.datetime(2024, 2, 29, 12, 0, 0, 5)": "3a7eef20",
    "dt.datetime(2024, 2, 29, tzinfo=dt.timezone(dt.timedelta(hours=2)))": "a2f044be",
    "dt.date(2024, 2, 29)": "c6fc6b7f",
    "dt.time(1, 2, 3)": "fbcd9e6a",
    "dt.timedelta(days=-1, microseconds=3)": "f5bd133c",
    "pathlib.PurePosixPath('a/b')": "a22cf90c",
    "(1, [2, {'b': 3, 'a': {4, 'x'}}])": "f038792d",
    "frozenset('abcdefgh')": "cb066f42",
    "range(0, 9, 2)": "bf4dc389",
    "Version(etag='e', generation='7')": "8d280199",
    "Digests(md5=b'x')": "07a911e2",
    "operator.itemgetter('a')": "fa6d9bdf",
    "functools.partial(math.pow, 2)": "386b7bf8",
    "dt.timedelta": "e938d9fb",
}
PRELUDE = """
import datetime as dt, functools, math, operator, pathlib, uuid
from decimal import Decimal
from fractions import Fraction
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.model import Digests, Version
"""


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_digests_do_not_change(text):
    assert GOLDEN[text] == fingerprint(eval(text))[:8]  # noqa: S307 - our own table


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (np.arange(6, dtype="<i4").reshape(2, 3), "8f30f411"),
        (np.float32(1.5), "32769cc7"),
        (pa.table({"a": [1, None], "s": ["x", None], "f": [1.5, math.nan]}), "42224f9e"),
        (pa.schema([("a", pa.int8())]), "245d4cc7"),
        (pd.DataFrame({"a": [1, 2], "f": [1.5, math.nan]}, index=["x", "y"]), "a154868f"),
        (pl.DataFrame({"a": [1, None], "s": ["x", None]}), "59c640f9"),
        (Colour.RED, "2748c9ac"),
        (Point(1, (2,)), "9ed30b7e"),
        (module_level, "d0039bea"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_golden_digests_of_data_do_not_change(value, digest):
    assert digest == fingerprint(value)[:8]


def others():
    """Every other interpreter of this machine that crossdock runs on, and this one with two hash seeds."""
    found = [pytest.param(sys.executable, seed, id=f"seed-{seed}") for seed in ("0", "12345")]
    for minor in (11, 12, 13):
        skip = pytest.mark.may_skip("that interpreter is not everywhere")
        found.append(pytest.param(f"python3.{minor}", "7", id=f"3.{minor}", marks=skip))
    return found


@pytest.mark.parametrize(("interpreter", "seed"), others())
def test_other_interpreters_and_hash_seeds_give_the_same_digests(interpreter, seed):
    """The room needs the standard library only, so any interpreter can compute them."""
    path = shutil.which(interpreter)
    if (
        path is None
        or subprocess.run([path, "-c", ""], capture_output=True, check=False, timeout=60).returncode
    ):
        pytest.skip(f"no {interpreter} here")
    lines = "\n".join(f"print(fingerprint({text})[:8])" for text in GOLDEN)
    done = subprocess.run(
        [path, "-c", PRELUDE + lines],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert list(GOLDEN.values()) == done.stdout.split()


# -- equal and different -----------------------------------------------------------------------------------------

SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan, math.inf]),
    st.sampled_from(["", "1", "a", "ab", "b"]),
    st.sampled_from([b"", b"1", b"a"]),
    st.sampled_from([Decimal(1), Decimal("1.0"), Fraction(1), 1j, uuid.UUID(int=1)]),
    st.sampled_from([dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),  # noqa: DTZ001
    st.sampled_from([pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), Colour.RED, Level.LOW]),
)


def containers(inner):
    hashable = SMALL.filter(lambda value: value == value)  # noqa: PLR0124 - NaN in a set is its own chapter
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Other, inner, inner),
        st.builds(Pair, inner, inner),
    )


VALUES = st.recursive(SMALL, containers, max_leaves=8)


def shape(value):
    """An independent form of a value: equal for what is to have one digest, and only for that."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else value.hex()
    if isinstance(value, dict):
        return kind, frozenset((shape(key), shape(each)) for key, each in value.items())
    if isinstance(value, set):
        return kind, frozenset(map(shape, value))
    if isinstance(value, list | tuple):
        return kind, tuple(map(shape, value))
    if isinstance(value, Point | Other):
        return kind, shape(value.x), shape(value.y)
    return kind, repr(value)


@settings(max_examples=300, deadline=None)
@given(VALUES, VALUES)
def test_digests_are_equal_exactly_if_the_values_are(one, other):
    assert (shape(one) == shape(other)) == (fingerprint(one) == fingerprint(other))


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_copy_has_the_same_digest(value):
    assert fingerprint(value) == fingerprint(copy.deepcopy(value))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=3), SMALL), max_size=6, unique_by=lambda pair: pair[0]), st.randoms()
)
def test_the_order_of_a_dict_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))

    assert fingerprint(dict(pairs)) == fingerprint(dict(shuffled))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_neighbours_never_run_into_each_other(one, other):
    assert (one == other) == (fingerprint(tuple(one)) == fingerprint(tuple(other)))


def distinct(*values):
    return len({fingerprint(each) for each in values}) == len(values)


def test_what_looks_alike_is_told_apart():
    assert distinct(
        1, 1.0, True, "1", b"1", bytearray(b"1"), Decimal(1), Fraction(1), np.int64(1), np.int32(1)
    )
    assert distinct(
        [1], (1,), {1}, frozenset({1}), {1: None}, collections.deque([1]), range(1, 2), Pair(1, 2)
    )
    assert distinct("a", Text("a"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"))
    assert distinct({}, collections.OrderedDict(), collections.defaultdict(list), collections.Counter())
    assert distinct(Point(1), Other(1), Attrs(1), Pair(1, 0), types.SimpleNamespace(x=1, y=0))
    assert distinct(Bits.A, Bits.B, Bits.A | Bits.B, Colour.RED, Level.LOW, 1)
    assert distinct(dt.time(1), dt.time(1, tzinfo=dt.UTC), dt.timedelta(hours=1), slice(1), None, ...)


def test_a_moment_is_told_by_wall_clock_offset_and_zone():
    berlin, utc = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
    late = dt.datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1)

    assert distinct(late, late.replace(fold=0), late.astimezone(dt.UTC), late.replace(tzinfo=None))
    assert fingerprint(late.astimezone(utc)) == fingerprint(late.astimezone(dt.UTC))


def test_not_a_number_is_one_value_whatever_its_bits():
    other = float(np.uint64(0xFFF8000000000001).view(np.float64))

    assert fingerprint(math.nan) == fingerprint(other)
    assert fingerprint(np.array([math.nan, 1])) == fingerprint(np.array([other, 1]))
    assert fingerprint(pa.array([math.nan])) == fingerprint(pa.array(np.array([other])))


def test_a_secret_is_no_part_of_a_digest():
    assert fingerprint({"a": xd.Secret("one")}) == fingerprint({"a": xd.Secret("two")})


def test_a_receipt_is_told_by_what_was_committed_not_by_how_long_it_took():
    receipt = Receipt(source="s", destination="d", key="k", size=1, version=Version(etag="e"))

    assert fingerprint(receipt) == fingerprint(replace(receipt, duration_s=9.0, retries=3))
    assert distinct(
        receipt, replace(receipt, version=Version(etag="f")), replace(receipt, digests=Digests(md5=b""))
    )


# -- arrays, tables, frames --------------------------------------------------------------------------------------

TABLE = pa.table(
    {
        "number": pa.array([1, None, 3], pa.int16()),
        "text": ["x", None, "zzz"],
        "view": pa.array(["x", None, "zzz"], pa.string_view()),
        "flag": [True, None, False],
        "real": [1.5, math.nan, None],
        "many": [[1], None, [2, 3]],
        "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        "struct": [{"a": 1, "b": "x"}, None, {"a": 2, "b": None}],
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "coded": pa.array(["u", "v", "u"]).dictionary_encode(),
        "money": pa.array([1, None, 2]).cast(pa.decimal128(22, 2)),
        "when": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None, None]),
        "nothing": pa.nulls(3),
    }
)


@pytest.mark.parametrize("name", TABLE.column_names)
def test_arrow_is_told_by_content_not_by_chunks_offsets_or_what_lies_under_nulls(name):
    table = TABLE.select([name])
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    twice = pa.concat_tables([table, table]).combine_chunks()

    assert (
        fingerprint(table)
        == fingerprint(cut)
        == fingerprint(twice.slice(3))
        == fingerprint(twice.slice(0, 3))
    )
    assert distinct(table, table.slice(1), twice, table.rename_columns(["other"]), table.to_batches()[0])


def test_what_lies_under_a_null_does_not_matter():
    mask = pa.array([True, False]).buffers()[1]
    under = [pa.array([1, value], pa.int64()).buffers()[1] for value in (7, 8)]
    one, other = (pa.Array.from_buffers(pa.int64(), 2, [mask, data]) for data in under)

    assert one.to_pylist() == other.to_pylist() == [1, None]
    assert fingerprint(one) == fingerprint(other)


def test_each_cell_name_type_and_metadata_of_a_table_matters():
    base = pa.table({"a": [1, 2], "b": ["x", "y"]})

    assert distinct(
        base,
        pa.table({"a": [1, 3], "b": ["x", "y"]}),
        pa.table({"a": [1, None], "b": ["x", "y"]}),
        pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", "y"]}),
        pa.table({"b": ["x", "y"], "a": [1, 2]}),
        base.replace_schema_metadata({"k": "v"}),
        base.schema,
        base.schema.field("a"),
        base.column("a"),
    )
    assert fingerprint(base) == fingerprint(base.replace_schema_metadata({"pandas": "{}"}))


def test_strings_of_a_table_do_not_run_into_each_other():
    assert distinct(pa.array(["ab", "c"]), pa.array(["a", "bc"]), pa.array(["", "abc"]), pa.array(["abc"]))


def test_numpy_is_told_by_content_not_by_layout():
    array = np.arange(24, dtype=np.int32).reshape(4, 6)

    assert (
        fingerprint(array) == fingerprint(np.asfortranarray(array)) == fingerprint(np.tile(array, 2)[:, :6])
    )
    assert distinct(
        array, array.T, array.reshape(6, 4), array.astype(np.int64), array.astype(">i4"), array.tolist()
    )
    assert distinct(np.array(["a"]), np.array(["a"], object), np.array([b"a"]), np.zeros(0), np.zeros((0, 2)))
    assert fingerprint(np.longdouble("0.1")) == fingerprint(np.longdouble("0.1"))


def test_a_large_array_is_hashed_in_pieces_that_do_not_show():
    wide = np.arange(3 * 700_000, dtype=np.int64).reshape(3, 700_000)  # rows above one piece

    assert fingerprint(wide) == fingerprint(np.asfortranarray(wide))
    changed = wide.copy()
    changed[2, -1] += 1
    assert fingerprint(wide) != fingerprint(changed)


def frame():
    return pd.DataFrame(
        {
            "a": [1, 2],
            "s": ["x", None],
            "o": [{"k": 1}, [1]],
            "c": pd.Categorical(["u", "v"]),
            "t": pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("Europe/Berlin"),
            "i": pd.array([1, None], dtype="Int64"),
            "p": pd.period_range("2024-01", periods=2, freq="M"),
            "w": pd.array([1, 2], dtype="int64[pyarrow]"),
        }
    )


def test_each_cell_label_and_type_of_a_pandas_frame_matters():
    base = frame()
    changed = [base.assign(**{name: base[name].iloc[::-1].array}) for name in base.columns]

    assert fingerprint(base) == fingerprint(frame()) == fingerprint(base.copy())
    assert distinct(
        base,
        *changed,
        base.iloc[::-1],
        base.set_index("a"),
        base.set_index(["a", "s"]),
        base.rename(columns={"a": "b"}),
        base.astype({"a": "float64"}),
        base["a"],
        base["a"].rename("b"),
        base["a"].index,
        base.iloc[:0],
    )


def test_each_cell_name_and_type_of_a_polars_frame_matters():
    base = pl.DataFrame({"a": [1, 2], "s": ["x", None], "c": pl.Series(["u", "v"], dtype=pl.Categorical)})

    assert fingerprint(base) == fingerprint(base.clone()) == fingerprint(pl.concat([base[:1], base[1:]]))
    assert distinct(
        base, base[::-1], base.rename({"a": "b"}), base.cast({"a": pl.Int8}), base["a"], base.to_arrow()
    )


def test_pandas_scalars():
    assert distinct(
        pd.Timestamp(0), pd.Timestamp(0, tz="UTC"), pd.Timedelta(0), pd.NaT, pd.NA, pd.Period("2024"), None
    )


# -- functions ---------------------------------------------------------------------------------------------------


def script(source, **variables):
    """A function as a script defines it: no import finds it."""
    namespace = {"__name__": "__main__", **variables}
    exec(source, namespace)  # noqa: S102 - our own text
    return namespace["f"]


def adder(amount):
    return lambda x: x + amount


def test_a_function_of_a_module_is_told_by_its_name():
    changed = types.FunctionType((lambda x: x * 2).__code__, {}, "module_level")

    assert fingerprint(module_level) == fingerprint(xd.task(module_level).function)
    assert distinct(
        module_level, test_pandas_scalars, changed, len, str.upper, "abc".upper, math.pow, Point, dt.date
    )


def test_a_lambda_or_a_scripts_function_is_told_by_what_it_does():
    one, moved = script("def f(x):\n    return x + 1"), script("\n\n# moved\ndef f(x):\n    return x + 1")

    assert fingerprint(one) == fingerprint(moved)
    assert distinct(one, script("def f(x):\n    return x + 2"), script("def f(x):\n    return x - 1"))
    assert distinct(
        one, script("def f(x, y=1):\n    return x + 1"), script("def f(x, y=2):\n    return x + 1")
    )
    assert distinct(lambda x: [y for y in x if y], lambda x: [y for y in x if not y])


def test_what_a_function_closed_over_counts():
    assert fingerprint(adder(1)) == fingerprint(adder(1))
    assert distinct(adder(1), adder(2), adder("1"))


def test_plain_globals_of_a_script_count_and_what_it_writes_does_not():
    source = "def f(x):\n    global n\n    n = n + 1\n    return x * FACTOR"

    assert fingerprint(script(source, FACTOR=2, n=0)) == fingerprint(script(source, FACTOR=2, n=5))
    assert distinct(script(source, FACTOR=2, n=0), script(source, FACTOR=3, n=0))


def test_a_client_among_the_globals_of_a_script_counts_by_its_class():
    source = "def f(x):\n    return CLIENT.get(x)"

    assert fingerprint(script(source, CLIENT=object())) == fingerprint(script(source, CLIENT=object()))
    assert distinct(script(source, CLIENT=object()), script(source, CLIENT=iter(())))


def test_what_a_function_writes_to_its_closure_is_no_input():
    def counting():
        calls = 0

        def count(x):
            nonlocal calls
            calls += 1
            return x

        return count

    count = counting()
    before = fingerprint(count)
    count(1)

    assert before == fingerprint(count)


def test_functions_that_know_each_other_end():
    source = "def f(x):\n    return g(x)\ndef g(x):\n    return f(x) + 1"

    assert fingerprint(script(source)) == fingerprint(script(source))
    assert fingerprint(script(source)) != fingerprint(script(source.replace("+ 1", "+ 2")))


def test_partials_methods_and_operators():
    assert distinct(
        functools.partial(adder, 1), functools.partial(adder, amount=1), functools.partial(adder, 2)
    )
    assert distinct(Point(1).__eq__, Point(2).__eq__, Point.__eq__)
    assert distinct(operator.itemgetter(1), operator.itemgetter(2), operator.attrgetter("a"))
    assert fingerprint(functools.lru_cache(module_level)) == fingerprint(functools.lru_cache(module_level))


class Load(xd.Task):
    def __init__(self, place, password="x"):  # noqa: S107 - no real one
        self.name = "load"
        self.place = place
        self.password = password

    def run(self, key):
        return key


def test_a_task_of_ones_own_is_told_by_class_and_attributes_but_for_credentials():
    assert fingerprint(Load("a")) == fingerprint(Load("a", password="y"))
    assert distinct(Load("a"), Load("b"), xd.task(module_level), xd.task(module_level, name="other"))


def test_sources_and_sinks_are_told_by_place_and_public_options():
    def source(bucket="b", **options):
        return xd.S3Source(bucket, "p/", endpoint_url="http://127.0.0.1:1", **options)

    assert fingerprint(source(secret="one", key="k")) == fingerprint(source(secret="two", key="l"))
    assert distinct(
        source(),
        source("c"),
        xd.S3Source("b", "p/"),
        xd.S3Sink("b", "p/"),
        xd.GCSSource("b", "p/"),
        xd.S3Source("b"),
    )
    assert distinct(
        xd.MemorySink("b"), xd.MemorySink("b", overwrite="never"), xd.MemorySink("b", verify="V3")
    )


# -- refused -----------------------------------------------------------------------------------------------------


class Own:
    def __init__(self, place, client):
        self.place, self.client = place, client

    def __crossdock_fingerprint__(self):
        return self.place


def test_a_class_can_say_what_it_is():
    assert fingerprint(Own("a", object())) == fingerprint(Own("a", object()))
    assert distinct(Own("a", 1), Own("b", 1), "a")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "argument 'x', a builtins.object"),
        ({"a": [1, object()]}, "argument 'x'['a'][1], a builtins.object"),
        (Point(1, object()), "argument 'x'.y, a builtins.object"),
        (Own(object(), 1), "argument 'x', a builtins.object"),
        (adder(object()), "argument 'x', which closes over 'amount', a builtins.object"),
        (pd.DataFrame({"c": [object()]}), "argument 'x'['c'][0], a builtins.object"),
        (iter([1]), "is a stream"),
        ((each for each in ()), "is a stream"),
        (pa.RecordBatchReader.from_batches(pa.schema([]), []), "pyarrow.lib.RecordBatchReader"),
        (pl.DataFrame({"a": [1]}).lazy(), "collect() it first"),
        (threading.Lock(), "_thread.lock"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_has_no_canonical_form_is_refused_by_place_with_what_to_do(value, where):
    with pytest.raises(xd.ConfigError) as caught:
        fingerprint(value, name="argument 'x'")

    assert where in str(caught.value)
    assert "__crossdock_fingerprint__" in str(caught.value) or "collect" in str(caught.value)


def test_a_value_that_contains_itself_is_refused():
    endless: list[Any] = []
    endless.append([endless])
    with pytest.raises(xd.ConfigError, match="contains itself"):
        fingerprint(endless)

    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(xd.ConfigError, match="nested too deeply"):
        fingerprint(deep)


def test_the_same_object_twice_is_no_cycle():
    shared = [1]

    assert fingerprint([shared, shared]) == fingerprint([[1], [1]])


def test_names_of_credentials_and_names_that_only_sound_like_one():
    secret = [
        "password",
        "db_password",
        "token",
        "access_token",
        "api_key",
        "apikey",
        "secret",
        "client_secret",
    ]
    secret += ["aws_secret_access_key", "private_key", "credentials", "account_key", "authorization"]
    plain = [
        "page_token",
        "next_page_token",
        "tokens",
        "max_tokens",
        "tokenizer",
        "key",
        "secretary",
        "secret_name",
    ]

    assert [name for name in secret if not names_credential(name)] == []
    assert [name for name in plain if names_credential(name)] == []
