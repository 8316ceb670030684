"""The committed reference says what the code says."""

from __future__ import annotations

import importlib.util
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


@pytest.mark.parametrize("page", ["api.md", "cli.md", "errors.md", "options.md"])
def test_a_page_is_what_the_code_says_now(generator: ModuleType, page: str) -> None:
    """After a change of a command, an option, an error or a public name: ``make reference``."""
    assert generator.PAGES[page]() == (DOCS / "reference" / page).read_text(encoding="utf-8")


def test_every_page_is_checked(generator: ModuleType) -> None:
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == set(generator.PAGES)
