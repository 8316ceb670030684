"""``crossdock connectors``: everything that can be opened, as data, without loading what is not asked for."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.connectors import registry
from crossdock.connectors.registry import CONNECTORS
from crossdock.connectors.sql import TableCapabilities
from crossdock.options import describe_options
from crossdock.ports import Capabilities

SDKS = (
    "s3fs",
    "gcsfs",
    "adlfs",
    "boto3",
    "botocore",
    "obstore",
    "paramiko",
    "pyarrow",
    "pandas",
    "distributed",
)
OTHERS = """
from crossdock.connectors import Connector

row = Connector(
    name="others", schemes=("others",), module="crossdock.connectors.memory", store="MemoryStore",
    options="MemoryOptions", summary="Somebody else's",
)
"""


def run(*arguments):
    result = CliRunner().invoke(cli, ["connectors", *arguments])
    return result.exit_code, result.stdout, result.stderr


def rows():
    code, out, _ = run("--json")
    assert code == 0
    return {row["name"]: row for row in map(json.loads, out.splitlines())}


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package of somebody else, installed."""
    (tmp_path / "others_rows.py").write_text(OTHERS)
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[crossdock.connectors]\nothers = others_rows:row\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._by_scheme.cache_clear()
    yield
    registry._by_scheme.cache_clear()
    sys.modules.pop("others_rows", None)


def test_all_of_ours_and_fsspecs_are_rows():
    listed = rows()

    assert {row.name for row in CONNECTORS} <= {*listed}
    assert {"ftp", "zip", "webhdfs", "smb", "github", "simplecache"} <= {*listed}
    assert all(row["summary"] and row["schemes"] and row["source"] for row in listed.values())


def test_what_is_a_sink_and_what_is_missing_is_told():
    listed = rows()

    assert (listed["ftp"]["sink"], listed["github"]["sink"], listed["http"]["sink"]) == (True, False, False)
    assert (listed["ftp"]["installed"], listed["ftp"]["install"]) == (True, "")
    assert listed["dropbox"]["install"] == "pip install 'fsspec[dropbox]'"
    assert not listed["dropbox"]["installed"]


def test_a_scheme_is_in_one_row_only():
    schemes = [scheme for row in rows().values() for scheme in row["schemes"]]

    assert len(schemes) == len({*schemes})


def test_the_row_says_what_the_store_says():
    """``sink`` in the overview is told without loading; the store's own capability is the truth."""
    for name, row in rows().items():
        if row["installed"] and name not in ("hdfs", "arrow_hdfs"):
            code, out, told = run(name, "--json")
            if code == 2:  # it cannot be built without an option that only a user knows
                assert "option" in told or "needs" in told, told
                continue
            found = json.loads(out)
            assert (code, found["sink"]) == (0, row["sink"]), name
            assert found["capabilities"]["writable"] is row["sink"], name


@pytest.mark.parametrize("name", [row.name for row in CONNECTORS])
def test_one_in_detail_has_every_option_and_capability(name):
    row = next(row for row in CONNECTORS if row.name == name)
    code, out, told = run(name, "--json")
    assert code == 0, told
    found = json.loads(out)
    about = describe_options(row.load()[1])

    assert [each["name"] for each in about] == [each["name"] for each in found["options"]]
    assert [each["help"] for each in about] == [each["help"] for each in found["options"]]
    capabilities = TableCapabilities if row.kind == "table" else Capabilities
    assert {field.name for field in dataclasses.fields(capabilities)} == {*found["capabilities"]}
    assert {each["type"] for each in found["options"] if "secret" in each["name"]} <= {"secret"}


def test_a_protocol_of_fsspec_in_detail():
    _, out, _ = run("ftp", "--json")
    options = {each["name"]: each for each in json.loads(out)["options"]}

    assert (options["port"]["type"], options["port"]["default"]) == ("int", 21)
    assert options["password"]["type"] == "secret"
    assert options["timeout"]["help"] == "Timeout of the ftp connection in seconds."


def test_capabilities_follow_the_options_given():
    strict = json.loads(run("s3", "--json")[1])["capabilities"]
    weak = json.loads(run("s3", "--json", "--option", "conditional_writes=false")[1])["capabilities"]

    assert (strict["create_if_absent"], weak["create_if_absent"]) == (True, False)


def test_a_scheme_names_its_connector():
    assert run("gs") == run("gcs")


def test_the_table_is_for_people():
    code, out, told = run()
    lines = out.splitlines()

    assert (code, told) == (0, "")
    assert lines[0].split() == ["NAME", "SCHEMES", "USE", "NEEDS", "SUMMARY"]
    assert {line.index("source") for line in lines[1:]} == {lines[0].index("USE")}
    assert any(line.startswith("s3 ") for line in lines)
    assert run("-q")[1] == "\n".join(lines[1:]) + "\n"


def test_one_in_detail_is_readable():
    code, out, _ = run("ftp")

    assert code == 0
    assert "URLs: ftp://  source, sink" in out
    assert "CAPABILITY" in out
    assert "pinned_reads          no" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ftpp"], "did you mean 'ftp'?"),
        (["dropbox"], "pip install 'fsspec[dropbox]'"),
        (["s3", "--option", "endpont=x"], "did you mean"),
        (["--option", "a=b"], "--option goes with the NAME"),
    ],
)
def test_a_mistake_is_exit_code_2_and_says_what_is_right(arguments, told):
    code, out, error = run(*arguments)

    assert (code, out) == (2, "")
    assert told in error


def test_connectors_of_other_packages_appear(others):
    assert rows()["others"]["summary"] == "Somebody else's"
    assert json.loads(run("others", "--json")[1])["options"][0]["name"] == "min_part_size_bytes"


def test_the_overview_imports_no_sdk_and_no_filesystem():
    """What is asked for by name is loaded, and nothing else."""
    code = (
        "import sys\nfrom crossdock.cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:], prog_name='crossdock')\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(repr([n for n in {SDKS!r} if n in sys.modules] + "
        "[n for n in sys.modules if n.startswith('fsspec.implementations.')]))"
    )
    loaded = {
        name: subprocess.run(
            [sys.executable, "-c", code, "connectors", *name], capture_output=True, text=True, check=True
        ).stderr
        for name in ((), ("ftp",))
    }

    assert loaded[()] in ("[]", "['fsspec.implementations.local']")
    assert "fsspec.implementations.ftp" in loaded[("ftp",)]
