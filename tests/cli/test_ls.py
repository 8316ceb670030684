"""``crossdock ls`` shows exactly what is below a URL."""

import json

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS
from crossdock.testing.demo.plain import PlainGCS

KEYS = ("a b", "logs", "logs-2/c", "logs/a", "logs/nested/b", "tab\there")


def ls(*arguments):
    result = CliRunner().invoke(cli, ["ls", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def bucket():
    with EmbeddedGCS(buckets=("b",)) as gcs:
        with PlainGCS(gcs.url) as plain:
            for key in KEYS:
                target = f"/upload/storage/v1/b/b/o?uploadType=media&name={key.replace(' ', '%20').replace(chr(9), '%09')}"
                plain.ask("POST", target, key.encode(), {"Content-Type": "text/plain"})
        yield f"endpoint_url={gcs.url}"


def test_one_key_a_line_in_key_order_and_unprintable_ones_escaped(bucket):
    shown = "a b\nlogs\nlogs-2/c\nlogs/a\nlogs/nested/b\ntab\\there\n"

    assert (0, shown, "") == ls("gs://b/", "--option", bucket)


def test_a_prefix_ends_at_a_slash(bucket):
    assert ls("gs://b/logs", "--option", bucket) == (0, "logs\nlogs/a\nlogs/nested/b\n", "")
    assert ls("gs://b/logs/", "--option", bucket) == (0, "logs/a\nlogs/nested/b\n", "")


def test_json_has_every_key_exactly(bucket):
    code, out, _ = ls("gs://b/", "--json", "--option", bucket)
    rows = [json.loads(line) for line in out.splitlines()]

    assert code == 0
    assert list(KEYS) == [row["key"] for row in rows]
    assert [len(key) for key in KEYS] == [row["size"] for row in rows]
    assert all(row["generation"] and row["digests"]["crc32c"] and row["modified"] for row in rows)


def test_long_has_size_and_time(bucket):
    _, out, _ = ls("-l", "gs://b/logs/", "--option", bucket)
    size, time, key = out.splitlines()[0].split()

    assert (size, key) == ("6", "logs/a")
    assert time.endswith("Z")


def test_options_come_from_the_environment_too(bucket):
    result = CliRunner().invoke(cli, ["ls", "gs://b/logs/"], env={"CROSSDOCK_LS_OPTION": bucket})

    assert result.stdout == "logs/a\nlogs/nested/b\n"


def test_wildcards_belong_to_include(bucket):
    code, _, told = ls("gs://b/logs/*.csv", "--option", bucket)

    assert code == 3
    assert "they go to --include" in told


def test_nothing_below_is_exit_code_3(bucket):
    code, out, told = ls("gs://b/none/", "--option", bucket)

    assert (code, out) == (3, "")
    assert "gs://b/none/: nothing is there" in told


def test_a_missing_bucket_is_exit_code_3_and_named(bucket):
    code, _, told = ls("gs://missing-bucket/x", "--option", bucket)

    assert code == 3
    assert "missing-bucket" in told


def test_a_database_has_no_objects(tmp_path):
    code, out, told = ls(f"sqlite:///{tmp_path}/none.db")

    assert (code, out) == (2, "")
    assert "it holds tables, not objects; crossdock schema URL" in told
    assert len(told.splitlines()) == 1
