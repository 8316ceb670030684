"""``StoreSuite``: the specification of ``ports.ObjectStore`` as a pytest class.

A connector's test derives from it, defines a fixture ``store`` (fresh, empty, writable), says by ``back_door`` how to
read bytes without our code, and ends. Checks are selected by ``store.capabilities``: one that is claimed is tested, one
that is missing must raise ``UnsupportedError``. Importing this needs pytest and hypothesis beyond crossdock (``crossdock[testing]``).

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

from crossdock.testing.hostile import FULL_METADATA, HOSTILE_KEYS, HOSTILE_METADATA
from crossdock.testing.suite.conditions import ConditionChecks
from crossdock.testing.suite.copying import CopyChecks
from crossdock.testing.suite.keys import KeyChecks
from crossdock.testing.suite.listing import ListingChecks
from crossdock.testing.suite.machine import MachineChecks
from crossdock.testing.suite.read_only import ReadOnlyChecks
from crossdock.testing.suite.reading import ReadingChecks
from crossdock.testing.suite.recipes import RecipeChecks
from crossdock.testing.suite.uploads import UploadChecks
from crossdock.testing.suite.writing import WritingChecks

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
    MachineChecks,
):
    """Everything an ``ObjectStore`` promises. See ``suite.base.SuiteBase`` for what a subclass may say."""


class ReadOnlyStoreSuite(RecipeChecks, ReadingChecks, ReadOnlyChecks):
    """What an ``ObjectStore`` that is a source only promises; ``seed`` and ``unseed`` write behind its back."""
