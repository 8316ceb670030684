"""A PostgreSQL of the tests' own: in a temporary directory, on a free port of 127.0.0.1, for one session.

``make test`` installs the programs (``.ci/postgres``). PostgreSQL refuses to run as root: then its programs run as the user
``postgres`` that the package brings, or as ``nobody``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import pytest

PASSWORD = "CROSSDOCK_TEST_PGPASSWORD"
"""The environment variable that the password is in: what is given to the connector is ``env:`` and this name."""

_READY = re.compile(r"database system is ready to accept connections")
_FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "autovacuum=off",
)


class PostgreSQLServer:
    """A server that is running, and a back door into it."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password
        self.options = {"password": f"env:{PASSWORD}"}

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """The URL of a new database, with nothing in it."""
        name = f"db_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def fresh_schema(self) -> str:
        """The name of a new schema in the database of ``url()``; cheaper than a database."""
        name = f"schema_{uuid.uuid4().hex}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def connect(self, url: str | None = None) -> Any:
        """A connection of the plain driver, each statement a transaction."""
        place = (url or self.url()).replace("tester@", f"tester:{self.password}@")
        return adbc_driver_postgresql.dbapi.connect(place, autocommit=True)

    def execute(self, sql: str, url: str | None = None) -> None:
        with self.connect(url) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_sql_query(sql)
            cursor.adbc_statement.execute_update()

    def rows(self, sql: str, url: str | None = None) -> list[tuple[Any, ...]]:
        with self.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]


def programs() -> Path:
    """Where ``initdb`` and ``postgres`` are.

    Raises:
        FileNotFoundError: Nowhere.
    """
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(debian, key=lambda place: float(place.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    raise FileNotFoundError("there is no PostgreSQL: run `sh .ci/postgres` (make test does)")


def _other_user() -> dict[str, Any]:
    """As whom the programs run, for ``subprocess``: not as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise LookupError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


@contextlib.contextmanager
def serve_postgres() -> Iterator[PostgreSQLServer]:
    """Run a server for the length of the block."""
    home, user, password = programs(), _other_user(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="crossdock-pg-") as scratch:
        data, words = Path(scratch) / "data", Path(scratch) / "words"
        words.write_text(password)
        if user:
            for place in (Path(scratch), words):
                os.chown(place, user["user"], user["group"])
        made = subprocess.run(
            [
                *(home / "initdb", "-D", data, "-U", "tester", "--auth=scram-sha-256", f"--pwfile={words}"),
                *("--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            cwd=scratch,
            check=False,
            **user,
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        with _running(home, data, user) as port:
            os.environ[PASSWORD] = password
            yield PostgreSQLServer(port, password)


@contextlib.contextmanager
def _running(home: Path, data: Path, user: dict[str, Any]) -> Iterator[int]:
    said: list[str] = []
    for _ in range(5):  # somebody may take the port between our asking and its start
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *_FAST]
        command = [home / "postgres", "-D", data, "-p", str(port)]
        with subprocess.Popen(
            [*command, *(part for each in settings for part in ("-c", each))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=data,
            start_new_session=True,  # a Ctrl-C is ours; it is told to stop below
            **user,
        ) as server:
            ready = any(_READY.search(line) or said.append(line) for line in server.stderr)
            drain = threading.Thread(target=server.stderr.read, daemon=True)
            drain.start()  # it may say more; a full pipe would stop it
            try:
                if ready:
                    yield port
                    return
            finally:
                server.send_signal(signal.SIGINT)  # disconnects everybody and stops
                server.wait(30)
                drain.join(30)
    raise RuntimeError(f"PostgreSQL did not start: {''.join(said)}")


_shared: list[tuple[contextlib.ExitStack, PostgreSQLServer]] = []


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> PostgreSQLServer:
    """One server for the whole session, whichever test files import this fixture."""
    if not _shared:
        stack = contextlib.ExitStack()
        stack.callback(_shared.clear)
        server = stack.enter_context(serve_postgres())
        _shared.append((stack, server))
        request.session.config.add_cleanup(stack.close)
    return _shared[0][1]
