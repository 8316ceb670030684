"""The package as it is installed: names, command line, shipped servers, and one object from S3 to GCS.

CI runs this file against the built wheel, from a directory that holds neither the source nor anything else; the whole
suite runs it against the source tree as well.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from importlib import metadata, resources
from pathlib import Path

import pytest

import crossdock as xd
from crossdock.testing import EmbeddedGCS, EmbeddedS3

COMMAND = Path(sysconfig.get_path("scripts")) / "crossdock"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_what_is_installed_is_what_is_tested() -> None:
    """In CI's second environment the package must come from the wheel, not from a source tree that happens to be near."""
    if os.environ.get("CROSSDOCK_TEST_INSTALLED"):
        assert Path(sysconfig.get_path("purelib")) in Path(xd.__file__).parents
    assert metadata.version("crossdock") == xd.__version__


def test_the_wheel_is_typed() -> None:
    assert resources.files("crossdock").joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", xd.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(xd, name) is not None


def test_the_command_says_its_version() -> None:
    answer = run("--version")

    assert (0, f"crossdock, version {xd.__version__}\n") == (answer.returncode, answer.stdout)


@pytest.mark.parametrize("command", ["cp", "ls", "runs", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    answer = run(command, "--help")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"Usage: crossdock {command}")


def test_one_object_moves_from_s3_to_gcs() -> None:
    """The shipped servers start, the two connectors meet, and the receipt is proof at level V1 or better."""
    body = bytes(range(256)) * 4096
    with EmbeddedS3(buckets=("src",)) as s3, EmbeddedGCS(buckets=("dst",)) as gcs:
        keys = {"key": "a-test-access-key", "secret": "a-test-secret", "endpoint_url": s3.url}
        xd.sink("s3://src/", **keys)(iter([body]), key="a b/ü.bin")
        with xd.one_task("s3toGCS") as s3_to_gcs:
            xd.sink("gs://dst/copied/", endpoint_url=gcs.url)(xd.source("s3://src/", **keys)(xd.param("key")))

        receipt = s3_to_gcs(key="a b/ü.bin")

        assert ("gs://dst/copied/a b/ü.bin", len(body)) == (receipt.destination, receipt.size)
        assert receipt.verification >= xd.Verification.V1
        assert gcs.objects("dst")["copied/a b/ü.bin"].data == body
