"""``StoreSuite``: the specification of ``ports.ObjectStore`` as a pytest class.

A connector's test derives from it, defines a fixture ``store`` (fresh, empty, writable), says by ``back_door`` how to
read bytes without our code, and ends. Checks are selected by ``store.capabilities``: one that is claimed is tested, one
that is missing must raise ``UnsupportedError``. Importing this needs pytest and nothing else beyond crossdock.

Example:
    >>> class TestMyStore(StoreSuite):
    ...     @pytest.fixture
    ...     def store(self, tmp_path):
    ...         return MyStore(tmp_path)
    ...
    ...     def back_door(self, store, key):
    ...         return MyServer.bytes_of(key)
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "crossdock.testing.suite"
)  # before the import, so that failures show both sides

from crossdock.testing.hostile import FULL_METADATA, HOSTILE_KEYS, HOSTILE_METADATA  # noqa: E402 - see above
from crossdock.testing.suite.conditions import ConditionChecks  # noqa: E402
from crossdock.testing.suite.copying import CopyChecks  # noqa: E402
from crossdock.testing.suite.keys import KeyChecks  # noqa: E402
from crossdock.testing.suite.listing import ListingChecks  # noqa: E402
from crossdock.testing.suite.read_only import ReadOnlyChecks  # noqa: E402
from crossdock.testing.suite.reading import ReadingChecks  # noqa: E402
from crossdock.testing.suite.recipes import RecipeChecks  # noqa: E402
from crossdock.testing.suite.uploads import UploadChecks  # noqa: E402
from crossdock.testing.suite.writing import WritingChecks  # noqa: E402

__all__ = ["FULL_METADATA", "HOSTILE_KEYS", "HOSTILE_METADATA", "ReadOnlyStoreSuite", "StoreSuite"]


class StoreSuite(
    RecipeChecks,
    ReadingChecks,
    WritingChecks,
    ConditionChecks,
    UploadChecks,
    CopyChecks,
    ListingChecks,
    KeyChecks,
):
    """Everything an ``ObjectStore`` promises. See ``suite.base.SuiteBase`` for what a subclass may say."""


class ReadOnlyStoreSuite(RecipeChecks, ReadingChecks, ReadOnlyChecks):
    """What an ``ObjectStore`` that is a source only promises; ``seed`` and ``unseed`` write behind its back."""
