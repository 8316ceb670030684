"""Places for tables with one fault each. Not collected by itself: ``test_table_suite_catches`` runs it.

Each is ``RightTables``, which keeps the specification in a dict, with one thing done wrong, and names the checks that catch it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.tables import TableEnd, TableSuite

TYPES = "test_a_type_comes_back"
DIES = ("test_a_source_that_dies_leaves_nothing", "test_a_source_that_dies_changes_nothing")
DRIFT = "test_rows_are_appended_by_name"


class RightTables:
    """Tables by name in this process, all of a write or nothing."""

    def __init__(self):
        self.tables = {}

    # -- what subclasses get wrong

    def keep(self, table):
        return table

    def hand_over(self, table):
        return table

    def demand(self, schema, there):
        """Refuse what does not fit, before a row is pulled."""
        for name in schema.names:
            if schema.names.count(name) > 1:
                raise xd.ConfigError(f"two columns {name!r}")
            if there is not None and name not in there.column_names:
                raise xd.ConfigError(f"there is no column {name!r}")
            if there is not None and there.schema.field(name).type != schema.field(name).type:
                raise xd.ConfigError(f"column {name!r} has another type")

    def pull(self, batches, _name):
        return batches.read_all()

    def joined(self, there, table):
        columns = [
            table.column(field.name) if field.name in table.column_names else pa.nulls(len(table), field.type)
            for field in there.schema
        ]
        return pa.concat_tables([there, pa.table(columns, schema=there.schema)])

    # -- a sink and a source

    def write(self, rows, *, table, mode):
        with Batches.of(rows) as batches:
            there = self.tables.get(table) if mode == "append" else None
            self.demand(batches.schema, there)
            found = self.keep(self.pull(batches, table))
            self.tables[table] = found if there is None else self.joined(there, found)
            return xd.Receipt(
                source="",
                destination=table,
                key=table,
                size=batches.bytes,
                version=None,
                verification=xd.Verification.V0,
                evidence="",
                method=mode,
                rows=batches.rows,
            )

    def read(self, table):
        if table not in self.tables:
            raise xd.NotFoundError(f"there is no table {table!r}")
        return Batches.of(self.hand_over(self.tables[table]))


class Wrong(TableSuite):
    """Right, but for what a subclass puts in its place."""

    caught_by = ()
    tables = RightTables

    @pytest.fixture
    def end(self):
        tables = self.tables()
        return TableEnd(source=tables.read, sink=tables.write, modes=frozenset({"append"}))


class TestRight(Wrong):
    """What is right passes."""


def column_wise(test, change):
    """A table with the columns of some types changed."""

    def changed(self, table):
        for number, field in enumerate(table.schema):
            if test(field.type):
                made = change(table.column(number))
                table = table.set_column(number, field.with_type(made.type), made)
        return table

    return changed


class TestDropsTheLastRow(Wrong):
    caught_by = (TYPES, "test_rows_come_in_batches_and_may_be_left", "test_a_replacement_replaces")

    class tables(RightTables):  # noqa: N801 - an attribute of the suite
        def keep(self, table):
            return table.slice(0, max(len(table) - 1, 0))


class TestNullIsZero(Wrong):
    caught_by = (TYPES, "test_columns_may_be_null_for_long", "test_a_wide_table")

    class tables(RightTables):  # noqa: N801
        keep = column_wise(pa.types.is_int64, lambda column: pc.fill_null(column, 0))


class TestEmptyTextIsNull(Wrong):
    caught_by = (TYPES, "test_huge_and_many_strings")

    class tables(RightTables):  # noqa: N801
        keep = column_wise(
            pa.types.is_string,
            lambda column: pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column),
        )


class TestKeepsDecimalsAsFractions(Wrong):
    caught_by = (TYPES,)

    class tables(RightTables):  # noqa: N801
        keep = column_wise(pa.types.is_decimal128, lambda column: column.cast(pa.float64()))


class TestCutsNanoseconds(Wrong):
    caught_by = ("test_parts_of_a_microsecond_are_not_cut_off",)

    class tables(RightTables):  # noqa: N801
        keep = column_wise(
            lambda kind: pa.types.is_timestamp(kind) and kind.unit == "ns",
            lambda column: column.cast(pa.timestamp("us"), safe=False),
        )


class TestForgetsZones(Wrong):
    caught_by = (TYPES,)

    class tables(RightTables):  # noqa: N801
        hand_over = column_wise(
            lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
            lambda column: column.cast(pa.timestamp(column.type.unit)),
        )


class TestCutsLongTexts(Wrong):
    caught_by = ("test_huge_and_many_strings",)

    class tables(RightTables):  # noqa: N801
        keep = column_wise(pa.types.is_string, lambda column: pc.utf8_slice_codeunits(column, 0, 65_535))


class TestHasRoomFor256Columns(Wrong):
    caught_by = ("test_a_wide_table",)

    class tables(RightTables):  # noqa: N801
        def keep(self, table):
            return table.select(table.column_names[:256])


class TestForgetsTheColumnsOfNoRows(Wrong):
    caught_by = ("test_an_empty_table_has_its_columns",)

    class tables(RightTables):  # noqa: N801
        def keep(self, table):
            return table if len(table) else table.select(table.column_names[:1])


class TestPutsNamesIntoStatements(Wrong):
    """A name with a quote in it means something else."""

    caught_by = ("test_a_name_is_a_name",)

    class tables(RightTables):  # noqa: N801
        def write(self, rows, *, table, mode):
            return super().write(rows, table=table.partition(";")[0].replace('"', "").lower(), mode=mode)

        def read(self, table):
            return super().read(table.partition('"')[0])


class TestTakesTwoColumnsForOne(Wrong):
    caught_by = ("test_two_columns_of_one_name_are_refused",)

    class tables(RightTables):  # noqa: N801
        def demand(self, schema, there):
            if len({*schema.names}) == len(schema.names):
                super().demand(schema, there)


class TestFoldsCase(Wrong):
    caught_by = ("test_names_that_differ_in_case_are_two_or_refused",)

    class tables(RightTables):  # noqa: N801
        def keep(self, table):
            names = {name.lower(): name for name in table.column_names}
            return table.select([*names.values()])


class TestShowsHalfOfAWrite(Wrong):
    """What came before the source died is there."""

    caught_by = DIES

    class tables(RightTables):  # noqa: N801
        def pull(self, batches, name):
            held = []
            for batch in batches:
                held.append(batch)
                self.tables[name] = pa.Table.from_batches(held, batches.schema)
            return pa.Table.from_batches(held, batches.schema)


class TestEmptiesTheTableFirst(Wrong):
    caught_by = ("test_a_source_that_dies_changes_nothing",)

    class tables(RightTables):  # noqa: N801
        def pull(self, batches, name):
            self.tables.pop(name, None)
            return super().pull(batches, name)


class TestEndsWhenTheSourceDies(Wrong):
    caught_by = DIES

    class tables(RightTables):  # noqa: N801
        def pull(self, batches, _name):
            held = []
            try:
                held.extend(batches)
            except Exception:  # the fault
                return pa.Table.from_batches(held, batches.schema)
            return pa.Table.from_batches(held, batches.schema)


class TestAppendsInsteadOfReplacing(Wrong):
    caught_by = ("test_a_replacement_replaces",)

    class tables(RightTables):  # noqa: N801
        def keep(self, table):
            for known in self.tables.values():
                if known.schema == table.schema and table.column_names == ["n", "value"] and len(table) == 1:
                    return pa.concat_tables([known, table])
            return table


class TestAppendsByPlace(Wrong):
    caught_by = (DRIFT,)

    class tables(RightTables):  # noqa: N801
        def joined(self, there, table):
            columns = [
                each.cast(field.type) for each, field in zip(table.columns, there.schema, strict=False)
            ]
            columns += [pa.nulls(len(table), field.type) for field in [*there.schema][len(columns) :]]
            return pa.concat_tables([there, pa.table(columns, schema=there.schema)])


class TestDropsColumns(Wrong):
    caught_by = ("test_a_column_too_many_is_refused_by_name",)

    class tables(RightTables):  # noqa: N801
        def demand(self, schema, there):
            if there is None:
                super().demand(schema, there)

        def joined(self, there, table):
            for field in there.schema:
                if field.name in table.column_names and table.schema.field(field.name).type != field.type:
                    raise xd.ConfigError(f"column {field.name!r} has another type")
            return super().joined(there, table)


class TestRefusesLate(Wrong):
    """After the rows were pulled."""

    caught_by = ("test_a_column_too_many_is_refused_by_name", "test_another_type_is_refused_by_name")

    class tables(RightTables):  # noqa: N801
        def demand(self, schema, there):
            if there is None:
                super().demand(schema, there)

        def joined(self, there, table):
            super().demand(table.schema, there)
            return super().joined(there, table)


class TestCastsWhatIsAppended(Wrong):
    caught_by = ("test_another_type_is_refused_by_name",)

    class tables(RightTables):  # noqa: N801
        def demand(self, schema, there):
            if there is not None and {*schema.names} <= {*there.column_names}:
                return
            super().demand(schema, there)

        def joined(self, there, table):
            schema = pa.schema([there.schema.field(name) for name in table.column_names])
            return super().joined(there, table.cast(schema, safe=False))


class TestHandsOverOneBatch(Wrong):
    caught_by = ("test_rows_come_in_batches_and_may_be_left",)

    class tables(RightTables):  # noqa: N801
        def read(self, table):
            found = super().read(table).read_all().combine_chunks()
            return Batches(found.schema, found.to_batches())


class TestIsNoRecipe(Wrong):
    caught_by = ("test_source_and_sink_are_recipes",)

    class tables(RightTables):  # noqa: N801
        def __reduce__(self):
            raise TypeError("a connection cannot be pickled")
