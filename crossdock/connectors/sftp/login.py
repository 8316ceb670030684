"""Reaching an SSH server: prove that it is the one, then prove who we are. paramiko speaks SSH.

A host that is not known is refused, as by ``ssh`` with StrictHostKeyChecking: nothing is ever added by itself. Keys are
tried in a fixed order, and what was tried is named if all fail.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko

from crossdock.connectors.sftp.address import Address
from crossdock.connectors.sftp.errors import translated
from crossdock.connectors.sftp.keys import private_key
from crossdock.connectors.sftp.known_hosts import KnownKeys, known_keys, name_of
from crossdock.connectors.sftp.options import SFTPOptions
from crossdock.connectors.sftp.session import Session
from crossdock.errors import ConfigError, ConnectionLostError, CredentialsError, DeniedError, Retry
from crossdock.model import MIB

__all__ = ["fingerprint", "open_session"]

_WINDOW = 8 * MIB  # what the server may send before we take it; several answers share it
_KEEPALIVE_S = 30
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


def fingerprint(key: paramiko.PKey) -> str:
    """As ``ssh-keygen -lf`` and ``ssh`` show it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def open_session(address: Address, options: SFTPOptions, *, where: str) -> Session:
    """Connect, check the host's key, log in, start SFTP. A failure leaves nothing open.

    Raises:
        DeniedError: The host is not known, or is not who it was.
        CredentialsError: No key and no password was accepted; says what was tried.
        ConnectionLostError: The server does not answer, or does not speak SFTP.
    """
    with translated("connect", where):
        sock = _connected(address, options)
        transport: paramiko.Transport | None = None
        try:
            transport = paramiko.Transport(sock, default_window_size=_WINDOW)
            transport.banner_timeout = transport.handshake_timeout = options.connect_timeout_s
            transport.auth_timeout = transport.channel_timeout = options.connect_timeout_s
            known = _Known(address, options)
            known.prefer(transport)
            transport.start_client(timeout=options.connect_timeout_s)
            known.demand(transport.get_remote_server_key())
            _Login(transport, address, options).run()
            transport.set_keepalive(_KEEPALIVE_S)
            channel = transport.open_session(timeout=options.connect_timeout_s)
            channel.invoke_subsystem("sftp")
            return Session(transport, channel, no_progress_s=options.no_progress_timeout_s)
        except BaseException:
            if transport is not None:
                transport.close()
            sock.close()
            raise


def _connected(address: Address, options: SFTPOptions) -> socket.socket:
    try:
        sock = socket.create_connection((address.host, address.port), timeout=options.connect_timeout_s)
    except OSError as error:
        raise ConnectionLostError(
            f"cannot connect ({error.strerror or error})", hint="check host, port and network"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Known:
    """What is known of a host before it is asked."""

    def __init__(self, address: Address, options: SFTPOptions) -> None:
        self._path = Path(options.known_hosts).expanduser()
        self._wanted = options.host_key
        self._known = KnownKeys() if options.host_key is not None else self._read(address)

    def _read(self, address: Address) -> KnownKeys:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return KnownKeys()
        except OSError as error:
            raise ConfigError(
                f"known_hosts cannot be read: {error.strerror}", operation="connect", where=str(self._path)
            ) from error
        return known_keys(lines, name_of(address.host, address.port))

    def prefer(self, transport: paramiko.Transport) -> None:
        """Ask the server for the kind of key that is known of it; it usually has several."""
        kinds = [kind for kind, _ in self._known.keys]
        if self._wanted is not None and not self._wanted.startswith("SHA256:"):
            kinds = [self._wanted.split()[0]]
        wanted = [name for kind in kinds for name in (_RSA if kind == "ssh-rsa" else (kind,))]
        offered = transport.get_security_options()
        first = [name for name in dict.fromkeys(wanted) if name in offered.key_types]
        if first:
            offered.key_types = (*first, *(name for name in offered.key_types if name not in first))

    def demand(self, key: paramiko.PKey) -> None:
        """Compare.

        Raises:
            DeniedError: The key is not the known one, or none is known.
        """
        shown, blob = fingerprint(key), key.get_base64()
        if self._wanted is not None:
            words = self._wanted.split()
            if (words[0] == shown) if len(words) == 1 else (words[1] == blob):
                return
            raise self._another(shown, "the option host_key")
        if blob in self._known.revoked:
            raise DeniedError(f"the host's key {shown} is revoked in {self._path}")
        if blob in (known for _, known in self._known.keys):
            return
        if self._known.keys:
            raise self._another(shown, str(self._path))
        raise DeniedError(
            f"the host is not known; it shows {key.get_name()} {shown}",
            hint=f"if that is right, set host_key={shown}, or add it to {self._path} (ssh-keyscan)",
        )

    def _another(self, shown: str, place: str) -> DeniedError:
        return DeniedError(
            f"the host shows another key ({shown}) than {place} says: it was set up anew, or it is somebody else",
            hint="ask its administrator before you accept the new key",
        )


class _Login:
    """One login: what is tried, in order, until one is accepted."""

    def __init__(self, transport: paramiko.Transport, address: Address, options: SFTPOptions) -> None:
        self._transport = transport
        self._options = options
        self._user = address.user or options.user or getpass.getuser()
        self._tried: list[str] = []

    def run(self) -> None:
        """Try all.

        Raises:
            CredentialsError: None was accepted.
        """
        try:
            if self._accepted():
                return
        except paramiko.AuthenticationException as error:  # the server ended it: too many attempts
            raise self._refused(str(error)) from error
        raise self._refused("")

    def _refused(self, words: str) -> CredentialsError:
        tried = ", ".join(self._tried) or "nothing: there is no key, no agent and no password"
        return CredentialsError(
            f"the server does not let {self._user} in; tried {tried}{f' ({words})' if words else ''}",
            hint="give key_file, password, or add a key to the agent",
            retry=Retry.NEVER,
        )

    def _accepted(self) -> bool:
        for name, key in self._keys():
            self._tried.append(name)
            try:
                if not self._transport.auth_publickey(self._user, key):
                    return True
            except paramiko.BadAuthenticationType:
                break  # the server takes no keys
            except paramiko.AuthenticationException:
                self._demand_open()
        return self._options.password is not None and self._by_password(self._options.password.reveal())

    def _demand_open(self) -> None:
        if not self._transport.is_active():
            raise paramiko.AuthenticationException("the server ended the connection")

    def _by_password(self, password: str) -> bool:
        self._tried.append("the password")
        try:
            # Falls back to keyboard-interactive, where the one question is the password.
            return not self._transport.auth_password(self._user, password, fallback=True)
        except paramiko.AuthenticationException:
            return False

    def _keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        if self._options.key_file is not None:
            path = Path(self._options.key_file).expanduser()
            yield f"the key {path}", self._loaded(path)
            return
        if self._options.password is not None:
            return  # asked for by name, like ssh -o PreferredAuthentications: keys would only use up attempts
        if self._options.agent:
            agent = paramiko.Agent()
            try:
                for number, key in enumerate(agent.get_keys(), start=1):
                    yield f"key {number} of the agent", key
            finally:
                agent.close()
        for name in _DEFAULT_KEYS:
            path = Path("~/.ssh").expanduser() / name
            if path.is_file():
                yield f"the key {path}", self._loaded(path)

    def _loaded(self, path: Path) -> paramiko.PKey:
        secret = self._options.passphrase
        try:
            return private_key(path, secret.reveal().encode() if secret is not None else None)
        except FileNotFoundError:
            cause, hint = "there is no such file", "check key_file"
        except (OSError, paramiko.SSHException, ValueError, TypeError) as error:
            cause, hint = f"it cannot be read ({error})", "check key_file and passphrase"
            if secret is None and "password" in str(error).lower():
                cause, hint = "it has a passphrase", "give the option passphrase, or add the key to the agent"
        raise CredentialsError(f"the private key {path}: {cause}", hint=hint)
