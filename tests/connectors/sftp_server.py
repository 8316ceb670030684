"""SSH servers for tests, on 127.0.0.1: asyncssh in this process (required), OpenSSH's sshd where there is one.

asyncssh is another implementation of the protocol than the one under test. ``Manners`` make it misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

USER, PASSWORD = "somebody", "canary-password-0123456789"


@dataclass
class Manners:
    """What the in-process server does besides serving; a test changes them while it runs.

    ``before`` is called with the name of an operation before it is done, in the server's thread, and may raise.
    """

    without: frozenset[str] = frozenset()  # extensions it does not offer
    before: Callable[[str], None] | None = None
    connections: int = 0  # so far
    handles: set[int] = field(default_factory=set)  # open just now
    transports: list[asyncssh.SSHServerConnection] = field(default_factory=list)


def sftp_class(root: Path, manners: Manners) -> type[asyncssh.SFTPServer]:
    """The server's file operations, watched."""

    def watched(name):
        inner = getattr(asyncssh.SFTPServer, name)

        def operation(self, *args, **kwargs):
            if manners.before is not None:
                manners.before(name)
            return inner(self, *args, **kwargs)

        return operation

    class Server(asyncssh.SFTPServer):
        def __init__(self, chan):
            super().__init__(chan)

        def open(self, path, pflags, attrs):
            if manners.before is not None:
                manners.before("open")
            handle = super().open(path, pflags, attrs)
            manners.handles.add(id(handle))
            return handle

        def close(self, file_obj):
            manners.handles.discard(id(file_obj))
            return super().close(file_obj)

        read, write, posix_rename, link, fsync = map(
            watched, ("read", "write", "posix_rename", "link", "fsync")
        )

    return Server


class SSHInProcess:
    """An asyncssh server in a thread of its own."""

    def __init__(self, root: Path, **options) -> None:
        self.root = root
        self.manners = Manners()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncssh server")

    @property
    def fingerprint(self) -> str:
        return self.host_key.get_fingerprint()

    @property
    def known_hosts_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.export_public_key().decode().strip()}\n"

    def __enter__(self):
        self._thread.start()
        self._server = self._run(self._start())
        self.port = self._server.get_port()
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def drop_connections(self) -> None:
        """Cut every connection, as a server that is restarted does."""

        def cut():
            for connection in self.manners.transports:
                connection.abort()
            self.manners.transports.clear()

        self._loop.call_soon_threadsafe(cut)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self):
        manners = self.manners

        class Login(asyncssh.SSHServer):
            def connection_made(self, conn):
                manners.connections += 1
                manners.transports.append(conn)

            def password_auth_supported(self):
                return True

            def validate_password(self, username, password):
                return (username, password) == (USER, PASSWORD)

        return await asyncssh.create_server(
            Login,
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            sftp_factory=sftp_class(self.root, manners),
            **self._options,
        )

    async def _stop(self):
        self._server.close()
        for connection in self.manners.transports:
            connection.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)


SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _sftp_server() -> str | None:
    """OpenSSH's own program for the subsystem, wherever the system keeps it."""
    near = Path(SSHD).parent.parent / "lib" if SSHD else Path("/usr/lib")
    places = (
        near / "openssh",
        Path("/usr/lib/openssh"),
        Path("/usr/libexec"),
        Path("/usr/lib/ssh"),
        Path("/usr/libexec/openssh"),
    )
    return next((str(place / "sftp-server") for place in places if (place / "sftp-server").exists()), None)


@contextlib.contextmanager
def openssh(folder: Path) -> Iterator[tuple[int, Path, str]]:
    """A real ``sshd`` that lets this user in by a key; yields port, private key and the host key's line."""
    if SSHD is None:
        raise FileNotFoundError("there is no sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config"
    config.write_text(
        f"""
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {folder}/host
        AuthorizedKeysFile {folder}/authorized
        PidFile {folder}/pid
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        AllowUsers {getpass.getuser()}
        Subsystem sftp {_sftp_server() or "internal-sftp"}
        """
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"sshd does not listen: {(folder / 'log').read_text()}")
                time.sleep(0.02)  # a process that starts; there is nothing to wait on
            yield port, folder / "user", (folder / "host.pub").read_text()
        finally:
            process.terminate()
            process.wait(10)
