"""Azurite, Microsoft's emulator of Azure Storage, as a process of its own; and a back door through the plain SDK.

``make test`` installs both it and the ``node`` it runs on into the environment (``.ci/azurite``).
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient

ACCOUNT = "devstoreaccount1"
# Public: every Azurite has it. https://learn.microsoft.com/azure/storage/common/storage-use-azurite
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HOME = Path(sys.prefix) / "azurite"
MAIN = HOME / "node_modules/azurite/dist/src/blob/main.js"
_LISTENING = re.compile(r"successfully listens on (http://127\.0\.0\.1:\d+)")


@contextlib.contextmanager
def serve_azurite() -> Iterator[str]:
    """Run Azurite on a free port, in memory; yields the URL of its account."""
    if not MAIN.is_file():
        raise FileNotFoundError(f"{MAIN} is missing: run `sh .ci/azurite {sys.prefix}` (make test does)")
    command = [
        str(HOME / "node"),
        str(MAIN),
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    with subprocess.Popen(
        [*command, "--blobHost", "127.0.0.1", "--blobPort", "0", "--silent"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        drain: threading.Thread | None = None
        try:
            url = _announced(process)
            # It may say more; a full pipe would stop it.
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield f"{url}/{ACCOUNT}"
        finally:
            process.terminate()
            process.wait(20)
            if drain is not None:
                drain.join(20)


def _announced(process: subprocess.Popen[str]) -> str:
    said = []
    for line in process.stdout:
        said.append(line)
        found = _LISTENING.search(line)
        if found is not None:
            return found[1]
    raise RuntimeError(f"Azurite did not start: {''.join(said)}")


class BackDoor:
    """What is in Azurite, by the plain SDK."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.service = BlobServiceClient(url, credential=KEY)

    def make_container(self) -> str:
        """A fresh container; its name."""
        name = f"c-{uuid.uuid4()}"
        self.service.create_container(name)
        return name

    def container(self, name: str) -> ContainerClient:
        return self.service.get_container_client(name)

    def read(self, container: str, key: str) -> bytes | None:
        """The bytes under a key; ``None`` if there are none."""
        try:
            return self.container(container).download_blob(key, decompress=False).readall()
        except ResourceNotFoundError:
            return None

    def keys(self, container: str, *, uncommitted: bool = False) -> list[str]:
        """All names, also those of records; with those of blobs that are only staged if asked for."""
        include = ["uncommittedblobs"] if uncommitted else []
        return [blob.name for blob in self.container(container).list_blobs(include=include)]

    def close(self) -> None:
        self.service.close()


Meddle = Callable[[str, str], str | None]
"""Given method and target: ``lose`` the answer after the request was done, do it ``twice``, ``refuse`` it; else nothing."""


@contextlib.contextmanager
def meddling(url: str, meddle: Meddle) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A proxy before Azurite that does to each request what ``meddle`` says; yields its URL and the requests seen."""
    seen: list[tuple[str, str]] = []
    place = urlsplit(url)

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.append((self.command, self.path))
            fault = meddle(self.command, self.path)
            if fault == "refuse":
                self._answer(503, [("x-ms-error-code", "ServerBusy")], b"")
                return
            for _ in range(2 if fault == "twice" else 1):
                status, headers, data = self._forward(body)
            if fault == "lose":
                self.close_connection = True
                self.connection.close()
                return
            self._answer(status, headers, data)

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - http.server's names

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
            try:
                headers = {**dict(self.headers.items()), "Host": place.netloc}
                connection.request(self.command, self.path, body=body, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            hop = ("transfer-encoding", "connection", "keep-alive")
            kept = [(name, value) for name, value in headers if name.lower() not in hop]
            if not any(name.lower() == "content-length" for name, _ in kept):
                kept.append(("Content-Length", str(len(data))))
            for name, value in kept:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{place.path}", seen
        finally:
            server.shutdown()
            thread.join()


def once(matches: Callable[[str, str], bool], fault: str) -> tuple[Meddle, list[str]]:
    """A fault for the first request that matches, and the list of what it fired at."""
    fired: list[str] = []

    def meddle(method: str, target: str) -> str | None:
        if not fired and matches(method, target):
            fired.append(f"{method} {target}")
            return fault
        return None

    return meddle, fired
