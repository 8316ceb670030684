"""The guard of CI itself: a skip is a failure there, and nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

SKIPPING_TEST = "import pytest\n\ndef test_it():\n    pytest.skip('no server here')\n"
ALLOWED = (
    "import pytest\n\n@pytest.mark.may_skip('needs an account')\ndef test_it():\n    pytest.skip('no')\n"
)
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n"
SKIPPING_MODULE = "import pytest\n\npytest.importorskip('no_such_module_anywhere')\n"


def exit_status(tmp_path: Path, source: str, *arguments: str) -> int:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_case.py").write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--strict-markers",
        "-p",
        "no:cacheprovider",
        *arguments,
        ".",
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={}).returncode


@pytest.mark.parametrize(
    ("source", "here", "in_ci"),
    [
        pytest.param(SKIPPING_TEST, 0, 1, id="a skipped test"),
        pytest.param(SKIPPING_MODULE, 5, 2, id="a skipped module"),
        pytest.param(ALLOWED, 0, 0, id="a skip that is allowed"),
        pytest.param(EXPECTED_FAILURE, 0, 0, id="an expected failure"),
    ],
)
def test_a_skip_fails_only_where_it_is_asked_for(tmp_path: Path, source: str, here: int, in_ci: int) -> None:
    assert (here, in_ci) == (exit_status(tmp_path, source), exit_status(tmp_path, source, "--no-skips"))
