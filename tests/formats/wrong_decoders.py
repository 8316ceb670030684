"""Decoders with one fault each, and CSVs; see ``wrong_codecs``, whose encoders are theirs."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from wrong_codecs import FITS, TYPES, Wrong, columns_changed

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.codecs import CodecEnd

EARLY = "test_bytes_that_end_early_are_no_table"


def reading(**changes):
    """A decoder whose options are changed, whatever was asked for."""
    return staticmethod(lambda *given, **options: xd.decode(*given, **{**options, **changes}))


def rows_read(change):
    """A decoder that changes what it read."""
    return staticmethod(lambda *given, **options: lambda data: change(xd.decode(*given, **options)(data)))


class TestReadsByPlace(Wrong):
    caught_by = ("test_columns_are_found_by_name_not_by_place",)

    @staticmethod
    def read(format_, *, schema=None, **options):
        def step(data):
            table = xd.decode(format_)(data).read_all()
            if schema is None or len(schema) != table.num_columns or options:
                return xd.decode(format_, schema=schema, **options)(data)
            return Batches.of(table.rename_columns(schema.names))

        return step


class TestReadsAllColumns(Wrong):
    caught_by = (
        "test_only_columns_that_are_asked_for_in_that_order",
        "test_a_column_that_is_not_there_is_refused",
    )
    read = reading(columns=None)


class TestMakesUpColumns(Wrong):
    caught_by = ("test_a_column_that_is_missing_is_null_if_that_is_allowed",)

    @staticmethod
    def read(format_, *, evolve="missing", **options):
        return xd.decode(format_, evolve=evolve, **options)


class TestDropsColumns(Wrong):
    caught_by = ("test_a_column_too_many_is_dropped_or_added_if_that_is_allowed",)

    @staticmethod
    def read(format_, *, evolve="drop", **options):
        return xd.decode(format_, evolve=evolve, **options)


class TestSkipsRowsUnasked(Wrong):
    caught_by = (FITS,)

    @staticmethod
    def read(format_, *, on_bad_row="skip", **options):
        return xd.decode(format_, on_bad_row=on_bad_row, **options)


class TestRoundsWhatDoesNotFit(Wrong):
    caught_by = (
        FITS,
        "test_rows_that_do_not_fit_are_skipped_and_told",
        "test_rows_that_do_not_fit_go_to_a_function",
        "test_rows_that_do_not_fit_go_to_a_sink",
    )

    @staticmethod
    def read(format_, *, schema=None, **options):
        step = xd.decode(format_, **{name: each for name, each in options.items() if name != "on_bad_row"})
        return lambda data: (
            Batches.of(step(data).read_all().cast(schema, safe=False)) if schema else step(data)
        )


class TestSkipsWithoutAWord(Wrong):
    caught_by = ("test_rows_that_do_not_fit_are_skipped_and_told",)

    @staticmethod
    def read(format_, *, on_bad_row="fail", schema=None, **options):
        if on_bad_row != "skip":
            return xd.decode(format_, on_bad_row=on_bad_row, schema=schema, **options)

        def step(data):
            table = xd.decode(format_)(data).read_all()
            rows = [row for row in table.to_pylist() if row["value"] is None or row["value"].is_integer()]
            return Batches.of(pa.Table.from_pylist(rows).cast(schema))

        return step


class TestForgetsWhereBadRowsGo(Wrong):
    caught_by = ("test_rows_that_do_not_fit_go_to_a_sink", "test_rows_that_do_not_fit_go_to_a_function")

    @staticmethod
    def read(format_, *, on_bad_row="fail", **options):
        return xd.decode(format_, on_bad_row="skip" if callable(on_bad_row) else on_bad_row, **options)


class TestTakesHalfForTheWhole(Wrong):
    """Rows that could be read of a damaged object are the object."""

    caught_by = (EARLY, "test_other_bytes_are_no_table")

    @staticmethod
    def read(format_, **options):
        def step(data):
            try:
                return Batches.of(xd.decode(format_, **options)(data).read_all())
            except xd.IntegrityError:
                return Batches(pa.schema([("n", pa.int64())]), [])

        return step


def _by_others(data):
    return Batches.of(pq.read_table(pa.BufferReader(data if isinstance(data, bytes) else b"".join(data))))


class TestRaisesWhatOthersRaise(Wrong):
    caught_by = (EARLY, "test_other_bytes_are_no_table", "test_flipped_bits_end_in_our_errors")
    read = staticmethod(lambda *_, **__: _by_others)


class TestLeavesTheSourceOpen(Wrong):
    caught_by = ("test_bytes_come_in_pieces_of_any_size", "test_a_source_of_bytes_that_dies")
    read = staticmethod(
        lambda *given, **options: (
            lambda data: xd.decode(*given, **options)(data if isinstance(data, bytes) else iter(data))
        )
    )


class TestHandsOverOneBatch(Wrong):
    caught_by = ("test_rows_come_while_bytes_still_come",)
    read = rows_read(lambda batches: Batches.of(batches.read_all().combine_chunks().to_batches()))


def _sorted(batches):
    kinds = [each.type for each in batches.schema]
    if any(pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) for kind in kinds):
        return batches
    table = batches.read_all()
    return Batches.of(table.sort_by([(table.column_names[-1], "ascending")]))


class TestSortsRows(Wrong):
    caught_by = ("test_tables_of_every_shape_come_back",)
    read = rows_read(_sorted)


# -- a CSV


class WrongCsv(Wrong):
    told: ClassVar = {
        "becomes": {},
        "small": {},
        "other_reader": None,
        "typed": False,
        "tells_its_end": False,
        "refuses": frozenset(
            {"list", "list of text", "list of lists", "struct", "map", "bytes", "bytes of one length"}
        ),
    }

    @pytest.fixture
    def codec(self):
        known = {**self.told, "compressions": ("gzip",)}
        return CodecEnd(format="csv", encode=self.write, decode=self.read, **known)


class TestRefusesLate(WrongCsv):
    """After the first batch was pulled, and lost."""

    caught_by = (TYPES,)

    @staticmethod
    def write(format_, **options):
        def step(value):
            batches = Batches.of(value)
            held = [next(batches, None)]
            rest = (each for part in (held, batches) for each in part if each is not None)
            return xd.encode(format_, **options)(Batches(batches.schema, rest, close=batches.close))

        return step


class TestMakesTextOfWhatItCannotCarry(WrongCsv):
    """Bytes and lists as Python writes them: nobody refuses, nobody reads them again."""

    caught_by = (TYPES,)
    write = staticmethod(
        columns_changed(
            lambda kind: pa.types.is_nested(kind) or pa.types.is_binary(kind),
            lambda column: pa.chunked_array(
                [pa.array([None if each is None else str(each) for each in column.to_pylist()], pa.string())]
            ),
        )
    )


class TestPassesOverEmptyLines(WrongCsv):
    caught_by = ("test_one_column_of_nulls_has_its_rows",)
    read = staticmethod(
        lambda *given, **options: (
            lambda data: xd.decode(*given, **options)(
                b"\n".join(
                    line
                    for line in b"".join([data] if isinstance(data, bytes) else data).split(b"\n")
                    if line
                )
            )
        )
    )


class TestGuessesTypes(WrongCsv):
    """Whatever it is asked for, a text that looks like a number is one."""

    caught_by = (TYPES,)

    @staticmethod
    def read(format_, **options):
        return xd.decode(format_, **{name: each for name, each in options.items() if name != "schema"})
