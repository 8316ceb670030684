"""The matrix is complete: each fault of the contract has a test that ran, and the published page says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fault_matrix import CONTROL, FAULTS, marked_tests, page, read_outcomes

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_each_fault_has_a_test_and_an_ending(fault):
    tests = [test for test in marked_tests().get(fault.id, []) if "controls" not in test]
    cells = [cell for cell in read_outcomes().get(fault.id, {}) if not cell.startswith(CONTROL)]

    assert tests
    assert cells
    assert not fault.see or marked_tests()[fault.see]


def test_no_test_and_no_ending_is_of_an_unknown_fault():
    known = {fault.id for fault in FAULTS}

    assert len(known) == len(FAULTS)
    assert set(marked_tests()) <= known
    assert set(read_outcomes()) <= known


def test_the_published_page_is_of_these_outcomes():
    """``make reference`` after ``--record-faults``."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    assert page(generator.NOTE) == (DOCS / "reference" / "faults.md").read_text(encoding="utf-8")
