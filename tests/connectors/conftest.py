"""Servers that several files of this room share: one process of each a session."""

from __future__ import annotations

import pytest
from azurite import BackDoor, serve_azurite

# Whichever file is collected first: some take the suite's data and not the suite.
pytest.register_assert_rewrite("crossdock.testing.suite")


@pytest.fixture(scope="session")
def azurite():
    """Azurite, through the plain SDK."""
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()
