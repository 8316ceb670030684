"""``crossdock head``, ``schema`` and ``sql``: what they show, how little they read, and what SQL cannot reach."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.cli.sql import tables_of
from crossdock.testing import EmbeddedS3

ORDERS = b'id,day,amount,who\n1,2024-05-01,1.50,Ann\n2,,,\n3,2024-05-02,7,"Bo\tb"\n'


def crossdock(*arguments):
    result = CliRunner().invoke(cli, [*arguments])
    return result.exit_code, result.stdout, result.stderr


def lines(text):
    return [json.loads(each) for each in text.splitlines()]


@pytest.fixture
def lake(tmp_path):
    """A CSV, a hive-partitioned directory of Parquet, a database; the directory's path."""
    sink = xd.sink(f"{tmp_path}/lake/")
    sink(ORDERS, key="orders.csv")
    for year in (2023, 2024):
        rows = {"n": [year, None], "s": ["x", "y"]}
        sink(xd.encode("parquet")(rows), key=f"trips/year={year}/part-0.parquet")
    people = {"id": [1, 3], "city": ["Rome", "Oslo"]}
    xd.sink(f"sqlite://{tmp_path}/lake/shop.db")(people, table="people", mode="replace")
    return tmp_path / "lake"


# -- head


def test_head_shows_rows_under_their_names(lake):
    code, out, err = crossdock("head", f"{lake}/orders.csv")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "id  day         amount  who",
        " 1  2024-05-01     1.5  Ann",
        " 2  null          null  null",
        " 3  2024-05-02       7  Bo\\tb",
    ]


def test_head_as_data(lake):
    as_json = crossdock("head", "-n", "1", "--format", "json", "--columns", "who,id", f"{lake}/orders.csv")
    as_csv = crossdock("head", "-n", "2", "--format", "csv", "--columns", "id,amount", f"{lake}/orders.csv")
    none = crossdock("head", "-n", "0", "--format", "csv", f"{lake}/orders.csv")

    assert as_json[:2] == (0, '{"who":"Ann","id":1}\n')
    assert as_csv[:2] == (0, '"id","amount"\n1,1.5\n2,\n')
    assert none[:2] == (0, '"id","day","amount","who"\n')


@pytest.mark.parametrize("slash", ["", "/"])
def test_head_of_a_dataset_has_the_columns_of_its_partitions(lake, slash):
    code, out, _ = crossdock("head", "-n", "3", "--format", "json", f"{lake}/trips{slash}")

    assert code == 0
    assert lines(out) == [
        {"n": 2023, "s": "x", "year": 2023},
        {"n": None, "s": "y", "year": 2023},
        {"n": 2024, "s": "x", "year": 2024},
    ]


def test_head_of_a_database(lake):
    url = f"sqlite://{lake}/shop.db"
    table = crossdock("head", "--format", "json", f"{url}#people")
    named = crossdock("head", "--format", "json", "--table", "people", "--columns", "city", url)
    query = crossdock("head", "--format", "json", "--query", "select max(id) as m from people", url)

    assert lines(table[1]) == [{"id": 1, "city": "Rome"}, {"id": 3, "city": "Oslo"}]
    assert lines(named[1]) == [{"city": "Rome"}, {"city": "Oslo"}]
    assert lines(query[1]) == [{"m": 3}]


@pytest.mark.parametrize("kind", ["tsv", "jsonl.gz", "arrow", "orc", "avro"])
def test_head_of_every_format_by_its_name_and_by_being_told(lake, kind):
    sink = xd.sink(f"{lake}/")
    for key in (f"x.{kind}", "nameless"):
        sink(xd.encode(kind)({"a": [1, 2], "b": ["x", None]}), key=key)
    by_name = crossdock("head", "--format", "json", f"{lake}/x.{kind}")
    told = crossdock("head", "--format", "json", "--from", kind, f"{lake}/nameless")

    assert lines(by_name[1]) == lines(told[1]) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def test_options_of_the_format_that_is_read(lake):
    xd.sink(f"{lake}/")(b"a;b\n1;2,5\n", key="x.csv")
    xd.sink(f"{lake}/")(b"a;b\n3;4,5\n", key="xs/y.csv")
    options = ("--read-option", "delimiter=;", "--read-option", "decimal_point=,")
    of_t = ("--read-option", "t.delimiter=;", "--read-option", "t.decimal_point=,")
    one = crossdock("head", "--format", "json", f"{lake}/x.csv", *options)
    many = crossdock("head", "--format", "json", "--from", "csv", f"{lake}/xs/", *options)
    asked = crossdock("sql", "select a + b as c from t", "--format", "json", f"t={lake}/x.csv", *of_t)
    wrong = crossdock("head", f"{lake}/x.csv", "--read-option", "delimeter=;")

    assert [lines(each[1]) for each in (one, many, asked)] == [
        [{"a": 1, "b": 2.5}],
        [{"a": 3, "b": 4.5}],
        [{"c": 3.5}],
    ]
    assert wrong[0] == 2
    assert "did you mean 'delimiter'" in wrong[2]


def test_a_table_of_a_lake(lake):
    """By its own URL; a query reads only the files that can match, in one version of it."""
    url = f"delta+file://{lake}/delta"
    for year in (2023, 2024):
        xd.sink(url)({"year": [year, year], "n": [1, None]}, table="trips", mode="append")
    shown = crossdock("head", "--format", "json", "--columns", "n", f"{url}#trips")
    told = crossdock("schema", "--json", f"{url}#trips")
    asked = crossdock(
        "sql",
        "select count(*) as c from a join trips using (year) where a.n = 1",
        f"{url}#trips",
        f"a={url}#trips",
    )

    assert sorted(map(str, lines(shown[1]))) == ["{'n': 1}", "{'n': 1}", "{'n': None}", "{'n': None}"]
    assert lines(told[1])[-1]["told_by"] == "lake"
    assert asked[1].split() == ["c", "4"]


def test_a_row_that_is_wrong_is_met_only_where_it_stands(lake):
    xd.sink(f"{lake}/")(b"a\n" + b"1\n" * 200_000 + b"x\n", key="late.csv")
    first = crossdock("head", "-n", "2", "--format", "json", f"{lake}/late.csv")
    all_of_it = crossdock("head", "-n", "300000", "--format", "json", f"{lake}/late.csv")

    assert first[:2] == (0, '{"a":1}\n{"a":1}\n')
    assert all_of_it[0] == 5
    assert "row 200001, column 'a'" in all_of_it[2]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nope.csv"], 3, "no such object"),
        (["orders.csv", "--columns", "id,nope"], 2, "no column 'nope'"),
        (["orders.csv", "--table", "t"], 2, "these are objects"),
        (["orders.csv", "--from", "xml"], 2, "no format 'xml'"),
        (["orders.csv", "--from", "parquet"], 5, "not Parquet"),
        (["shop.db"], 2, "neither its name"),
    ],
)
@pytest.mark.parametrize("command", ["head", "schema"])
def test_mistakes_are_one_line(lake, command, words, code, said):
    if command == "schema" and "--columns" in words:
        words = ["nope.csv"]
        code, said = 3, "no such object"
    found = crossdock(command, f"{lake}/{words[0]}", *words[1:])

    assert found[0] == code, found
    assert said in found[2]
    assert len(found[2].splitlines()) == 1


def test_a_database_asks_for_a_table(lake):
    url = f"sqlite://{lake}/shop.db"
    none = crossdock("head", url)
    both = crossdock("head", f"{url}#people", "--query", "select 1")
    missing = crossdock("schema", f"{url}#nope")

    assert (none[0], both[0], missing[0]) == (2, 2, 3)
    assert "#table" in none[2]
    assert "one table or one query" in both[2]


# -- schema


def test_schema_of_parquet_says_rows_and_nulls(lake):
    code, out, err = crossdock("schema", f"{lake}/trips/year=2024/part-0.parquet")

    assert code == 0
    assert out.splitlines() == ["column  type    nulls", "n       int64   1", "s       string  0"]
    assert err == "2 columns, 2 rows; told by its footer\n"


def test_schema_as_data(lake):
    code, out, _ = crossdock("schema", "--json", f"{lake}/trips")
    told = lines(out)

    assert code == 0
    assert [(each["name"], each["column_type"], each["partition"]) for each in told[:-1]] == [
        ("n", "int64", False),
        ("s", "string", False),
        ("year", "int64", True),
    ]
    assert told[-1]["type"] == "summary"
    assert told[-1]["told_by"] == "fragments"


def test_schema_of_text_is_inferred_and_of_a_database_asked_for(lake):
    text = crossdock("schema", f"{lake}/orders.csv")
    database = crossdock("schema", "--query", "select id, city as c from people", f"sqlite://{lake}/shop.db")

    assert [line.split() for line in text[1].splitlines()[1:]] == [
        ["id", "int64", "possible"],
        ["day", "date32[day]", "possible"],
        ["amount", "double", "possible"],
        ["who", "string", "possible"],
    ]
    assert text[2].endswith("inferred from its beginning\n")
    assert [line.split()[:2] for line in database[1].splitlines()[1:]] == [["id", "int64"], ["c", "string"]]


def test_the_rows_of_a_written_dataset_are_counted_without_reading_them(lake):
    rows = pa.table({"year": [1, 1, 2], "n": [1, None, 3]})
    xd.dataset_sink(f"{lake}/made/", partition_by=["year"])(rows)
    found = lines(crossdock("schema", "--json", f"{lake}/made/")[1])

    assert found[-1]["rows"] == 3
    assert [each["name"] for each in found if each.get("partition")] == ["year"]


def test_python_has_the_same(lake):
    found = xd.head(f"{lake}/trips/", 3, columns=["n"])
    columns = xd.schema(f"{lake}/orders.csv")

    assert found["n"].to_pylist() == [2023, None, 2024]
    assert columns == pa.schema(
        [("id", pa.int64()), ("day", pa.date32()), ("amount", pa.float64()), ("who", pa.string())]
    )
    with pytest.raises(xd.ConfigError, match="from 0"):
        xd.head(f"{lake}/orders.csv", -1)


# -- how little is read


class Meter:
    """A relay before a server that counts the bytes it passes on to the client."""

    def __init__(self, upstream):
        self._place = (urlsplit(upstream).hostname, urlsplit(upstream).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = 0
        self._open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._place)
            self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source, sink, counts):
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
                if counts:
                    self.passed += len(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for each in (source, sink):
                each.close()


@pytest.fixture
def metered(monkeypatch):
    """An S3 server behind a meter, and the options that reach each of them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("lake",)) as server, Meter(server.url) as meter:
        sink = xd.sink("s3://lake/", endpoint_url=server.url)
        yield sink, meter, ("--option", f"endpoint_url={meter.url}")


def wide_parquet(rows, columns, groups=2):
    """Values that do not compress, about ``rows * columns * 8`` bytes."""
    table = pa.table(
        {
            f"c{number}": pa.array([hash((number, row)) for row in range(rows)], pa.int64())
            for number in range(columns)
        }
    )
    out = pa.BufferOutputStream()
    pq.write_table(table, out, row_group_size=rows // groups, use_dictionary=False, compression="none")
    return out.getvalue().to_pybytes(), table


def test_of_parquet_only_footer_and_columns_are_fetched(metered):
    """Bytes counted at the server: the footer for a schema, one column's beginning for a row, one column for a sum."""
    sink, meter, options = metered
    data, table = wide_parquet(100_000, 6)
    sink(data, key="wide.parquet")
    figures = {}
    for name, words in {
        "schema": ("schema", "s3://lake/wide.parquet"),
        "head": ("head", "-n", "5", "--columns", "c3", "--format", "json", "s3://lake/wide.parquet"),
        "sql": ("sql", "select sum(c3) as s from t", "s3://lake/wide.parquet", "--format", "json"),
    }.items():
        before = meter.passed
        found = crossdock(*words, *options)
        assert found[0] == 0, found
        figures[name] = meter.passed - before
        if name == "head":
            assert [each["c3"] for each in lines(found[1])] == table["c3"].slice(0, 5).to_pylist()
        if name == "sql":
            assert int(lines(found[1])[0]["s"]) == sum(table["c3"].to_pylist())

    assert len(data) > 4_800_000
    assert figures["schema"] < 200_000
    assert figures["head"] < 600_000  # of 400,000 bytes of that column in the first row group
    assert 800_000 < figures["sql"] < 1_300_000  # 800,000 bytes are the column


def test_of_text_only_the_beginning_is_fetched(metered):
    """What the client closes early is not sent on: at most what fits into the sockets between."""
    sink, meter, options = metered
    row = b"7," + b"x" * 1_000 + b"\n"
    sink(b"a,b\n" + row * 60_000, key="long.csv")
    for words in (("head", "-n", "1"), ("schema",)):
        before = meter.passed
        assert crossdock(*words, "s3://lake/long.csv", *options)[0] == 0
        assert meter.passed - before < 30_000_000  # of 60 MB


def test_partitions_that_cannot_match_are_not_opened(metered):
    sink, meter, options = metered
    data, _ = wide_parquet(50_000, 4)
    for year in range(2000, 2010):
        sink(data, key=f"trips/year={year}/part.parquet")
    before = meter.passed
    found = crossdock(
        "sql", "select count(c0) as n from trips where year = 2005", "s3://lake/trips/", *options
    )

    assert found[1].split() == ["n", "50000"]
    assert meter.passed - before < 1_000_000  # one column of one object has 400,000 bytes; all have 16 MB


# -- sql


def test_a_query_over_an_object_a_dataset_and_a_database(lake):
    statement = """
        select people.city, o.amount, (select count(*) from trips where year = 2024) as trips
        from orders o join people using (id) order by id
    """
    words = [f"{lake}/orders.csv", f"{lake}/trips/", f"people=sqlite://{lake}/shop.db#people"]
    code, out, err = crossdock("sql", statement, *words)

    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["city", "amount", "trips"],
        ["Rome", "1.5", "2"],
        ["Oslo", "7", "2"],
    ]


def test_a_table_may_stand_twice_in_a_query(lake):
    """A stream that could be read once only would join with nothing."""
    statement = "select count(*) as n from t a join t b on a.id = b.id where b.id > 1"
    assert crossdock("sql", statement, f"{lake}/orders.csv", "--format", "csv")[1] == '"n"\n2\n'


def test_out_writes_a_format_told_by_its_name(lake):
    for name in ("out.parquet", "out.jsonl.gz", "out.orc"):
        code, out, err = crossdock("sql", "from t order by id", f"{lake}/orders.csv", "-o", f"{lake}/{name}")

        assert (code, out) == (0, "")
        assert "3 rows" in err
        assert xd.head(f"{lake}/{name}")["who"].to_pylist() == ["Ann", None, "Bo\tb"]
    assert crossdock("-h")[0] == 0
    assert crossdock("sql", "from t", f"{lake}/orders.csv", "-o", f"{lake}/x", "--out-format", "tsv")[0] == 0
    assert (lake / "x").read_bytes().splitlines()[0] == b'"id"\t"day"\t"amount"\t"who"'


def test_out_into_a_table(lake):
    place = f"sqlite://{lake}/shop.db#sums"
    for mode, rows in (("replace", 3), ("append", 6), ("replace", 3)):
        words = ("sql", "select id from t", f"{lake}/orders.csv", "-o", place, "--out-mode", mode)
        assert crossdock(*words)[0] == 0
        assert xd.head(place).num_rows == rows


def test_a_query_that_fails_leaves_nothing(lake):
    """The source's own error, with its row; no object, no temporary file beside it, and no table."""
    xd.sink(f"{lake}/")(b"a\n" + b"1234567890123456\n" * 400_000 + b"x\n", key="bad.csv")
    for place in (f"{lake}/out/a.parquet", f"sqlite://{lake}/shop.db#never"):
        code, _, err = crossdock("sql", "from bad", f"{lake}/bad.csv", "-o", place)

        assert code == 5
        assert "row 400001, column 'a'" in err
        assert len(err.splitlines()) == 1
    assert not [*lake.glob("out/*")]
    assert [*xd.source(f"sqlite://{lake}/shop.db").list()] == ["people"]


def test_a_screen_shows_a_hundred_rows_and_says_so(lake):
    rows = crossdock("sql", "select * from range(150)")
    as_data = crossdock("sql", "select * from range(150)", "--format", "csv")
    few = crossdock("sql", "select * from range(150)", "-n", "2", "--format", "json")

    assert len(rows[1].splitlines()) == 101
    assert "first 100 rows" in rows[2]
    assert len(as_data[1].splitlines()) == 151
    assert few[1:] == ('{"range":0}\n{"range":1}\n', "")


def test_names_of_tables():
    words = ("s3://b/2024/orders.csv.gz", "c=postgresql://h/shop#public.customers", "gs://lake/trips/")

    assert tables_of(words) == {
        "orders": "s3://b/2024/orders.csv.gz",
        "c": "postgresql://h/shop#public.customers",
        "trips": "gs://lake/trips/",
        "t": "s3://b/2024/orders.csv.gz",
    }
    assert tables_of(("s3://b/2024-05.csv",)) == {"t": "s3://b/2024-05.csv"}
    assert tables_of(("sqlite:///x.db#main.a",)) == dict.fromkeys(("a", "t"), "sqlite:///x.db#main.a")
    assert tables_of(("t=a.csv", "b/x.csv")) == {"t": "a.csv", "x": "b/x.csv"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["from t", "a/2024-05.csv", "b/x.csv"], 2, "write NAME="),
        (["from t", "a/x.csv", "b/x.csv"], 2, "two tables are called 'x'"),
        (["from t", "x=LAKE/orders.csv", "--option", "y.key=1"], 2, "no table 'y'"),
        (["from t", "x=LAKE/orders.csv", "--from", "y=csv"], 2, "no table 'y'"),
        (["from t", "LAKE/orders.csv", "--out-mode", "append"], 2, "go with --out"),
        (["from t", "LAKE/orders.csv", "-o", "LAKE/out"], 2, "does not tell the format"),
        (["from t", "LAKE/orders.csv", "-o", "LAKE/"], 2, "no object"),
        (["from t", "LAKE/orders.csv", "-o", "LAKE/a.csv", "--out-mode", "append"], 2, "no mode"),
        (["from t", "LAKE/orders.csv", "-o", "sqlite:///x.db"], 2, "no table"),
        (["from t", "LAKE/nope.csv"], 3, "no such object"),
        (["from t", "LAKE/orders.csv", "--memory", "lots"], 2, "lots"),
        (["from nope", "LAKE/orders.csv"], 2, "SHOW TABLES"),
        (["selec 1"], 2, "syntax error"),
        (["select nope from t", "LAKE/orders.csv"], 2, "nope"),
        (["select 1; select 2"], 2, "one statement, not 2"),
        (["   "], 2, "one statement, not 0"),
        (["select cast('x' as int)"], 5, "try_cast"),
        (["select cast(who as int) from t", "LAKE/orders.csv"], 5, "try_cast"),
    ],
)
def test_mistakes_in_queries_are_one_line(lake, words, code, said):
    found = crossdock("sql", *(word.replace("LAKE", str(lake)) for word in words))

    assert (found[0], found[1]) == (code, "")
    assert said in found[2]
    assert "Traceback" not in found[2]
    if "Usage:" not in found[2]:
        assert len(found[2].splitlines()) == 1


OUTSIDE = (
    "select * from read_text('SECRET')",
    "select * from read_blob('SECRET')",
    "select * from read_csv('SECRET')",
    "select * from read_csv_auto('SECRET', all_varchar=true)",
    "select * from read_json('SECRET')",
    "select * from read_parquet('SECRET')",
    "select * from sniff_csv('SECRET')",
    "select * from 'SECRET'",
    "from 'SECRET'",
    "select (select content from read_text('SECRET')) from t",
    "with x as (from read_text('SECRET')) select * from x",
    "select * from query('from read_text(''SECRET'')')",
    "select * from glob('FOLDER/*')",
    "select * from read_csv('http://127.0.0.1:9/x.csv')",
    "select * from read_text('s3://bucket/x')",
    "attach 'SECRET' as s",
    "copy t to 'FOLDER/out.csv'",
    "copy (from t) to 'FOLDER/out.parquet' (format parquet)",
    "export database 'FOLDER/all'",
    "import database 'FOLDER'",
    "install httpfs",
    "load httpfs",
    "load 'FOLDER/x.so'",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset lock_configuration",
    "pragma enable_external_access = true",
    "create table x as from t",
    "create secret (type s3)",
    "call enable_logging()",
    "set temp_directory = 'FOLDER'",
    "select getenv('CANARY')",
    "from canary",
    "from SECRET_ROWS",
)

SECRET_ROWS = pa.table({"s": ["top-secret"]})


@pytest.mark.parametrize("statement", OUTSIDE)
def test_sql_reads_its_tables_and_nothing_else(lake, tmp_path, monkeypatch, statement):
    """No file, no network, no extension, no variable of Python, no environment, no other configuration."""
    canary = pa.table({"s": ["top-secret"]})
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "secret.csv").write_text("s\ntop-secret\n")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("CANARY", "top-secret")
    text = statement.replace("SECRET_ROWS", "secret_rows").replace("SECRET", f"{folder}/secret.csv")
    code, out, err = crossdock("sql", text.replace("FOLDER", str(folder)), f"{lake}/orders.csv")

    assert canary.num_rows == SECRET_ROWS.num_rows == 1
    assert code in (2, 8), (code, out)
    assert "top-secret" not in out + err
    assert sorted(tmp_path.rglob("*")) == before


def test_what_sql_sees_of_this_machine_is_a_temporary_directory_of_its_own(lake):
    """The settings that say what it may touch, asked for by itself."""
    statement = """
        select name, value from duckdb_settings() where name in (
            'enable_external_access', 'lock_configuration', 'autoload_known_extensions',
            'autoinstall_known_extensions', 'allow_persistent_secrets', 'python_enable_replacements'
        )
    """
    found = {
        each["name"]: each["value"] for each in lines(crossdock("sql", statement, "--format", "json")[1])
    }
    spill = "select value from duckdb_settings() where name = 'temp_directory'"
    (place,) = lines(crossdock("sql", spill, "--format", "json")[1])

    assert found == {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
    }
    assert "crossdock-query-" in place["value"]
    assert not lake.joinpath(place["value"]).exists()


def test_python_queries_frames_and_closes_what_it_opened():
    closed = []

    class Table:
        def __arrow_c_stream__(self, requested=None):
            rows = xd.Batches(
                pa.schema([("a", pa.int64())]),
                (pa.record_batch({"a": [number] * 1_000}) for number in range(1_000)),
                close=lambda: closed.append(True),
            )
            return rows.__arrow_c_stream__(requested)

    with xd.query("select a + 1 as b from x", {"x": pa.table({"a": range(500_000)})}) as rows:
        first = next(rows)

    assert first.schema.names == ["b"]
    assert xd.query("select sum(a) as s from x", {"x": Table()}).read_all()["s"].to_pylist() == [499_500_000]
    assert closed
    with pytest.raises(xd.ConfigError, match="no table 'y'"):
        xd.query("from x", {"x": [{"a": 1}]}, options={"y": {}})
    with pytest.raises(xd.ConfigError, match="no URL"):
        xd.query("from x", {"x": [{"a": 1}]}, formats={"x": "csv"})
    with pytest.raises(xd.ConfigError, match="positive"):
        xd.query("select 1", {}, memory_limit=0)


def test_rows_come_while_the_table_is_read():
    """The result is not held: the first rows are there long before the last were pulled."""
    pulled = []

    class Table:
        def __arrow_c_stream__(self, requested=None):
            def batches():
                for number in range(2_000):
                    pulled.append(number)
                    yield pa.record_batch({"a": [number] * 2_000})

            return xd.Batches(pa.schema([("a", pa.int64())]), batches()).__arrow_c_stream__(requested)

    with xd.query("select a from x where a >= 0", {"x": Table()}) as rows:
        next(rows)

    assert 0 < len(pulled) < 1_900


def test_without_duckdb_it_says_what_to_install(lake):
    """In a process that cannot import it."""
    script = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from crossdock.cli.main import main\n"
        f"sys.argv = ['crossdock', 'sql', 'from t', {str(lake / 'orders.csv')!r}]\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install 'crossdock[duckdb]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_installed_command_says_nothing_but_its_own(lake):
    """A library that complains when the process ends would be on a user's screen."""
    for statement, code in (("select count(*) as n from t", 0), ("from read_text('x')", 8)):
        words = [sys.executable, "-m", "crossdock", "sql", statement, f"{lake}/orders.csv"]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)

        assert done.returncode == code
        assert len(done.stderr.splitlines()) == (1 if code else 0), done.stderr


@pytest.mark.parametrize("command", ["head", "schema"])
def test_a_damaged_object_is_named(tmp_path, command):
    path = tmp_path / "d.csv.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(50))

    ended = CliRunner().invoke(cli, [command, str(path)])

    assert ended.exit_code == 5
    assert "d.csv.gz" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
