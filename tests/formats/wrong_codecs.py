"""Codecs with one fault each, as somebody might write them. Not collected by itself: ``test_codec_suite_catches`` runs it.

Each is Parquet (or a CSV) as it is shipped, with something before or after it that is wrong, and names the checks that catch it.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.codecs import CodecEnd, CodecSuite

TYPES = "test_a_type_comes_back"
FITS = "test_a_value_that_does_not_fit_is_told_by_row_and_column"


def encode(format_, **options):
    return xd.encode(format_, **options)


def decode(format_, **options):
    return xd.decode(format_, **options)


def rows_changed(change, *, schema=None):
    """An encoder that changes every batch before it writes it."""

    def changed(format_, **options):
        step = xd.encode(format_, **options)

        def write(value):
            batches = Batches.of(value)
            kind = change(pa.Table.from_batches([], batches.schema)).schema if schema is None else schema
            made = Batches(
                kind, (each for batch in batches for each in _batches(change, batch)), close=batches.close
            )
            return step(made)

        return write

    return changed


def _batches(change, batch):
    return change(pa.Table.from_batches([batch])).to_batches()


def columns_changed(test, change):
    """The columns of some types changed."""

    def changed(table):
        for number, field in enumerate(table.schema):
            if test(field.type):
                made = change(table.column(number))
                table = table.set_column(number, field.with_type(made.type), made)
        return table

    return rows_changed(changed)


class Wrong(CodecSuite):
    """Parquet, right but for what a subclass puts in its place."""

    caught_by = ()
    examples = 10
    write = staticmethod(encode)
    read = staticmethod(decode)
    told: ClassVar = {}

    @pytest.fixture
    def codec(self):
        known = {
            "becomes": {
                "date in milliseconds": pa.date32(),
                "time in seconds": pa.time32("ms"),
                "timestamp in seconds": pa.timestamp("ms"),
            },
            "compressions": ("zstd", "gzip"),
            "small": {"row_group_rows": 1_000},
            "other_reader": lambda data: pq.read_table(pa.BufferReader(data)).to_pylist(),
        }
        return CodecEnd(format="parquet", encode=self.write, decode=self.read, **{**known, **self.told})


class TestRight(Wrong):
    """What is right passes."""


def _all_but_last(value, step):
    table = Batches.of(value).read_all()
    return step(table.slice(0, max(table.num_rows - 1, 0)))


class TestDropsTheLastRow(Wrong):
    caught_by = (
        TYPES,
        "test_rows_keep_their_order_over_many_batches",
        "test_tables_of_every_shape_come_back",
    )
    write = staticmethod(
        lambda *given, **options: lambda value: _all_but_last(value, xd.encode(*given, **options))
    )


class TestEmptyTextIsNull(Wrong):
    caught_by = (TYPES, "test_huge_and_many_strings")
    write = staticmethod(
        columns_changed(
            pa.types.is_string,
            lambda column: pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column),
        )
    )


class TestNullIsZero(Wrong):
    caught_by = (TYPES, "test_columns_may_be_null_for_long", "test_one_column_of_nulls_has_its_rows")
    write = staticmethod(columns_changed(pa.types.is_int64, lambda column: pc.fill_null(column, 0)))


class TestRoundsDecimals(Wrong):
    caught_by = (TYPES,)  # what hypothesis draws has few digits
    write = staticmethod(
        columns_changed(
            pa.types.is_decimal128, lambda column: column.cast(pa.float64()).cast(column.type, safe=False)
        )
    )


class TestCutsNanoseconds(Wrong):
    caught_by = ("test_parts_of_a_microsecond_are_not_cut_off",)
    write = staticmethod(
        columns_changed(
            lambda kind: pa.types.is_timestamp(kind) and kind.unit == "ns",
            lambda column: column.cast(pa.timestamp("us"), safe=False),
        )
    )


class TestForgetsZones(Wrong):
    caught_by = (TYPES, "test_a_zone_moves_no_moment")
    write = staticmethod(
        columns_changed(
            lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
            lambda column: column.cast(pa.timestamp(column.type.unit)),
        )
    )


class TestMovesMoments(Wrong):
    """A wall clock's time is taken for that of the zone."""

    caught_by = ("test_a_zone_moves_no_moment",)
    write = staticmethod(
        columns_changed(
            lambda kind: pa.types.is_timestamp(kind) and kind.tz == "America/St_Johns",
            lambda column: pc.local_timestamp(column).cast(column.type),
        )
    )


class TestCutsLongTexts(Wrong):
    caught_by = ("test_huge_and_many_strings",)
    write = staticmethod(
        columns_changed(pa.types.is_string, lambda column: pc.utf8_slice_codeunits(column, 0, 65_535))
    )


class TestHasRoomFor256Columns(Wrong):
    caught_by = ("test_a_wide_table",)
    write = staticmethod(rows_changed(lambda table: table.select(table.column_names[:256])))


class TestLowersNames(Wrong):
    caught_by = ("test_names_that_differ_in_case_are_two", "test_a_name_is_a_name")
    write = staticmethod(
        rows_changed(lambda table: table.rename_columns([each.lower() for each in table.column_names]))
    )


class TestTakesTwoColumnsForOne(Wrong):
    caught_by = ("test_two_columns_of_one_name_are_refused",)
    write = staticmethod(rows_changed(lambda table: table.select([*range(len({*table.column_names}))])))


def _swapped(value, step):
    batches = Batches.of(value)
    held = [*batches]
    return step(Batches(batches.schema, held[1:] + held[:1]))


class TestSwapsBatches(Wrong):
    caught_by = ("test_rows_keep_their_order_over_many_batches",)
    write = staticmethod(
        lambda *given, **options: lambda value: _swapped(value, xd.encode(*given, **options))
    )


class TestWaitsForAll(Wrong):
    caught_by = ("test_bytes_leave_while_rows_still_come",)
    write = staticmethod(
        lambda *given, **options: lambda value: xd.encode(*given, **options)(Batches.of(value).read_all())
    )


class TestForgetsTheColumnsOfNoRows(Wrong):
    caught_by = ("test_an_empty_table_has_its_columns",)

    @staticmethod
    def write(format_, **options):
        def step(value):
            table = Batches.of(value).read_all()
            return xd.encode(format_, **options)(table if table.num_rows else table.select(["a"]))

        return step


class Ended:
    """Bytes that end as if nothing had happened, whatever happened."""

    def __init__(self, stream):
        self._stream = stream

    def __iter__(self):
        try:
            yield from self._stream
        except Exception:  # the fault
            return

    def close(self):
        self._stream.close()


class TestEndsWhenTheSourceDies(Wrong):
    caught_by = ("test_a_source_of_rows_that_dies", "test_a_stream_that_is_abandoned_does_not_end")
    write = staticmethod(lambda *given, **options: lambda value: Ended(xd.encode(*given, **options)(value)))


def _alive(value):
    """The rows that came before the source died."""
    batches = Batches.of(value)

    def rows():
        try:
            yield from batches
        except Exception:  # the fault
            return

    return Batches(batches.schema, rows(), close=batches.close)


class TestWritesAFooterWhenTheSourceDies(Wrong):
    caught_by = ("test_a_source_of_rows_that_dies",)
    write = staticmethod(lambda *given, **options: lambda value: xd.encode(*given, **options)(_alive(value)))


class TestIgnoresCompressions(Wrong):
    caught_by = ("test_compressions_make_other_bytes",)
    write = staticmethod(
        lambda *given, **options: xd.encode(
            *given, **{**options, "compression": None if options.get("compression") != "rar" else "rar"}
        )
    )


class TestTakesAnyOption(Wrong):
    caught_by = ("test_wrong_options_are_found_at_once",)

    @staticmethod
    def write(format_, **options):
        wrong = ("no_such_option", "rar")
        return xd.encode(
            format_, **{name: each for name, each in options.items() if not {name, each} & {*wrong}}
        )


class TestIsNoRecipe(Wrong):
    caught_by = ("test_steps_are_recipes",)

    @staticmethod
    def write(format_, **options):
        step = xd.encode(format_, **options)

        def inner(value):
            return step(value)

        return inner


class TestHasASignOfItsOwn(Wrong):
    """What only it can read."""

    caught_by = ("test_somebody_else_reads_it",)
    write = staticmethod(
        lambda *given, **options: lambda value: [b"mine", *xd.encode(*given, **options)(value)]
    )
    read = staticmethod(
        lambda *given, **options: (
            lambda data: xd.decode(*given, **options)(
                (data if isinstance(data, bytes) else b"".join(data)).removeprefix(b"mine")
            )
        )
    )
