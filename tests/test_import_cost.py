"""Importing crossdock and asking for help load no cloud SDK, no data frame library and no scheduler."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "adlfs",
    "awscrt",
    "azure",
    "botocore",
    "dask",
    "distributed",
    "fsspec",
    "gcsfs",
    "google.auth",
    "numpy",
    "obstore",
    "pandas",
    "pyarrow",
    "s3fs",
)

REPORT = f"""
import sys
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print("loaded:", *loaded)
"""


def loaded_after(script):
    done = subprocess.run(
        [sys.executable, "-c", script + REPORT], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("loaded:")[2].split()


def test_importing_crossdock_loads_nothing_heavy():
    assert loaded_after("import crossdock") == []


def test_the_check_itself_would_notice():
    """The list is read after the import, in the same process."""
    assert loaded_after("import obstore") == ["obstore"]


def test_help_loads_nothing_heavy():
    """``crossdock --help``, called as the installed command calls it."""
    script = """
import sys
from crossdock.cli.main import main
sys.argv = ["crossdock", "--help"]
try:
    code = main()
except SystemExit as end:
    code = end.code
assert not code, code
"""
    assert loaded_after(script) == []


@pytest.mark.parametrize("module", ["errors", "model", "options", "events", "ports", "tasks"])
def test_root_modules_load_nothing_heavy(module):
    assert loaded_after(f"import crossdock.{module}") == []


@pytest.mark.parametrize("module", ["crossdock.testing.hostile", "crossdock.testing"])
def test_the_test_kit_is_lazy(module):
    """Naming the kit loads neither pytest nor a server."""
    script = f"import {module}, sys; assert 'pytest' not in sys.modules; assert 'moto' not in sys.modules"

    assert loaded_after(script) == []


def test_public_names_are_listed_without_being_loaded():
    script = "import crossdock; assert {'migrate', 'S3Source', 'one_task', 'Receipt'} <= set(dir(crossdock))"

    assert loaded_after(script) == []


def test_an_unknown_public_name_is_an_attribute_error():
    script = """
import crossdock
try:
    crossdock.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise AssertionError("no error")
"""
    assert loaded_after(script) == []
