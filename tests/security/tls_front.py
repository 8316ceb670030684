"""A TLS front before a plain server on 127.0.0.1, with a certificate of one's choice, made on the spot."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def certificate(
    folder: Path, *, host: str = "127.0.0.1", until: dt.datetime = NOW + DAY
) -> tuple[Path, Path]:
    """A self-signed certificate, which is also the authority that would vouch for it; files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test of crossdock")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, until) - 2 * DAY)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@dataclass
class Front:
    """Where it listens, and what became of the connections."""

    port: int
    trusted: Path
    connections: int = 0
    received: list[bytes] = field(default_factory=list)  # what was sent first, on those that sent anything

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextlib.contextmanager
def tls_front(behind: int, files: tuple[Path, Path]) -> Iterator[Front]:
    """Answer TLS with this certificate, and pass what was sent on to the port behind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    listener = socket.create_server(("127.0.0.1", 0))
    front = Front(port=listener.getsockname()[1], trusted=files[0])
    lock, ending = threading.Lock(), threading.Event()
    threads: list[threading.Thread] = []
    kept: list[socket.socket] = []

    def serve(plain: socket.socket) -> None:
        plain.settimeout(30)
        try:
            secure = context.wrap_socket(plain, server_side=True)
            first = secure.recv(65536)  # with TLS 1.3 a client's refusal comes with the first read
        except OSError:
            plain.close()
            return
        if not first:
            secure.close()
            return
        with lock:
            front.received.append(first)
            kept.append(secure)
        with secure, socket.create_connection(("127.0.0.1", behind)) as inner:
            inner.sendall(first)
            back = threading.Thread(target=_pump, args=(inner, secure))
            back.start()
            _pump(secure, inner)
            back.join(30)

    def accept() -> None:
        while not ending.is_set():
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            front.connections += 1
            threads.append(threading.Thread(target=serve, args=(plain,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield front
    finally:
        ending.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(30)
        for each in kept:  # clients keep connections alive
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(30)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
