"""FTP over TLS with the server's certificate verified: ``ftplib`` does not do that unless it is told to.

Registered for ``ftp://`` in fsspec's own place when such a URL is first opened, so that inner links of chains get it too; a
class that the program registered itself is left alone. Trusted is what the system trusts, or the file that SSL_CERT_FILE names.
"""

from __future__ import annotations

import ftplib
import ssl
from typing import Any

import fsspec
from fsspec.implementations import ftp as vendor

__all__ = ["FTPFileSystem", "register"]


class _Implicit(vendor.ImplicitFTPTLS):  # type: ignore[misc]
    """TLS from the first byte on; its certificate is compared with the host's name."""

    @property
    def sock(self) -> Any:
        """The socket of the control connection."""
        return self._sock

    @sock.setter
    def sock(self, value: Any) -> None:
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._sock = value


class FTPFileSystem(vendor.FTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem; with ``tls`` the certificate is verified before a user name is sent, and data is encrypted."""

    def _connect(self) -> None:
        if not self.tls:
            super()._connect()
            return
        if isinstance(self.tls, str) and self.tls not in vendor.SECURITY_PROTOCOL_MAP:
            raise ValueError(f"Not supported {self.tls} protocol")
        made = _Implicit if isinstance(self.tls, str) else ftplib.FTP_TLS
        self.ftp = made(timeout=self.timeout, encoding=self.encoding, context=ssl.create_default_context())
        self.ftp.connect(self.host, self.port)
        self.ftp.login(*self.cred)
        self.ftp.prot_p()


def register() -> None:
    """Let fsspec use it from now on. Twice is fine."""
    if fsspec.get_filesystem_class("ftp") is vendor.FTPFileSystem:
        fsspec.register_implementation("ftp", FTPFileSystem, clobber=True)
