"""Any other database that has an ADBC driver: read by name or query, with the driver's own types."""

from __future__ import annotations

from typing import Any

import adbc_driver_manager.dbapi

from crossdock.connectors.sql.options import ADBCOptions
from crossdock.connectors.sql.session import ADBCSession
from crossdock.options import revealed

__all__ = ["connect"]


def connect(url: str, name: str, options: ADBCOptions) -> ADBCSession:
    """Open a connection of the driver called ``name``, unless ``driver`` says which.

    Args:
        url: What the driver is given as ``uri``; empty for none.
        name: What stands between ``adbc+`` and ``://``.
        options: The rest.
    """
    given: dict[str, Any] = {
        "uri": url or None,
        "username": options.user,
        "password": options.password.reveal() if options.password is not None else None,
        **revealed(options.db_kwargs or {}),
    }
    connection = adbc_driver_manager.dbapi.connect(
        driver=options.driver or name,
        entrypoint=options.entrypoint,
        db_kwargs={key: str(value) for key, value in given.items() if value is not None},
        autocommit=True,  # not every database has transactions
    )
    return ADBCSession(connection)
