"""The committed reference says what the code says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_the_code_says_now() -> None:
    """After a change of a command, an option, an error or a public name: ``make reference``.

    In a process of its own: click remembers how a command was first asked for help.
    """
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_is_checked(generator: ModuleType) -> None:
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == set(generator.PAGES)
