"""``--verify``, ``--require`` and ``--strict``: exit codes and what is left at the destination."""

import json

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.testing import EmbeddedS3


def crossdock(*arguments, **environment):
    result = CliRunner().invoke(cli, arguments, env=environment)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")


@pytest.fixture
def source(tmp_path):
    place = tmp_path / "source"
    place.mkdir()
    for name in ("a", "b"):
        (place / name).write_bytes(name.encode())
    return f"{place}/"


@pytest.fixture
def s3():
    with EmbeddedS3(buckets=("landing",)) as server:
        yield server


def to(s3, *more):
    return ("s3://landing/", "--sink-option", f"endpoint_url={s3.url}", *more)


def levels(s3, run_dir):
    """The level of each receipt of a run."""
    from crossdock.flows import open_run
    from crossdock.flows.ledger.writing import read_ledger

    ledger = dict(read_ledger(open_run(str(run_dir), {}).files))
    return {record.receipt.verification.name for rows in ledger.values() for record in rows.values()}


def test_less_than_required_is_5_with_the_reason_and_what_to_do(source, s3):
    """Files publish no digest: nothing is written, the verdict groups the failures and names the way out."""
    code, told, _ = crossdock("cp", source, *to(s3, "--require", "v2"))

    assert code == 5
    assert "2 objects = 0 copied + 0 skipped + 2 failed + 0 pending" in told
    assert "unproven" in told
    assert "--verify v3" in told
    assert s3.objects("landing") == {}


@pytest.mark.parametrize(
    ("flags", "level"), [((), "V1"), (("--verify", "v3"), "V3"), (("--require", "V3"), "V3")]
)
def test_the_level_of_each_receipt(source, s3, tmp_path, flags, level):
    code, _, _ = crossdock("cp", source, *to(s3, *flags, "--run-dir", f"{tmp_path}/run"))

    assert code == 0
    assert {level} == levels(s3, tmp_path / "run")


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_strict_on_a_weak_end_is_8_and_nothing_moves(source, s3, flags):
    weak = ("--sink-option", "conditional_writes=false")
    code, _, said = crossdock("cp", source, *to(s3, *weak, "--strict", *flags))

    assert code == 8
    assert "no conditional writes" in said
    assert "Traceback" not in said
    assert s3.objects("landing") == {}
    assert crossdock("cp", source, *to(s3, *weak))[0] == 0


def test_strict_on_strong_ends_is_0(source, s3):
    assert crossdock("cp", source, *to(s3, "--strict"))[0] == 0
    assert len(s3.objects("landing")) == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"CROSSDOCK_CP_REQUIRE": "v2"},
        {"CROSSDOCK_REQUIRE": "v2"},
        {"CROSSDOCK_CP_STRICT": "1", "CROSSDOCK_S3_CONDITIONAL_WRITES": "false"},
        {"CROSSDOCK_STRICT": "1", "CROSSDOCK_S3_CONDITIONAL_WRITES": "false"},
    ],
)
def test_the_environment_says_the_same(source, s3, environment):
    """By the command's own name, and by the transfer's, which every command and every worker reads."""
    code, _, _ = crossdock("cp", source, *to(s3), **environment)

    assert code == (5 if "REQUIRE" in str(environment) else 8)
    assert s3.objects("landing") == {}


def test_a_flag_beats_the_environment(source, s3):
    code, *_ = crossdock("cp", source, *to(s3, "--require", "v1"), CROSSDOCK_CP_REQUIRE="v2")

    assert code == 0


def test_a_level_that_does_not_exist_is_a_mistake_of_the_user(source, s3):
    code, _, said = crossdock("cp", source, *to(s3, "--require", "v9"))

    assert code == 2
    assert "v9" in said
    code, _, said = crossdock("cp", source, *to(s3, "--sink-option", "require=v9"))
    assert code == 2
    assert "require is v0, v1, v2 or v3" in said


def test_failures_as_data(source, s3):
    code, told, _ = crossdock("cp", source, *to(s3, "--require", "v2", "--json"))
    failures = [row for row in map(json.loads, told.splitlines()) if row.get("type") == "failure"]

    assert code == 5
    assert {"unproven"} == {row["reason"] for row in failures}
