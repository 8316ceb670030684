"""The parts of the suites: one module for each group of promises of a store, a source, a sink, a pair.

Whatever is imported first of them, their assertions show both sides when they fail.
"""

import pkgutil

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
