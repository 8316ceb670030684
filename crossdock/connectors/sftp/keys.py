"""Private keys from files. cryptography reads them; paramiko signs with them.

paramiko's own reader takes an OpenSSH key without a comment for an empty one whenever it happens to fill its last block
(its ``_unpad_openssh`` cuts ``data[:-0]``): that is every second ECDSA key. Only Ed25519 keys, which cannot be handed
over, are still read by it; theirs never fill it.
"""

from __future__ import annotations

from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

__all__ = ["private_key"]


def private_key(path: Path, passphrase: bytes | None) -> paramiko.PKey:
    """A key of OpenSSH's form or PEM, with the certificate that lies next to it, if any.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no key, or the passphrase is wrong.
        TypeError: It needs a passphrase, or needs none.
        paramiko.SSHException: A kind of key that SSH does not know.
    """
    data = path.read_bytes()
    try:
        loaded = load_ssh_private_key(data, passphrase)
    except ValueError:
        loaded = load_pem_private_key(data, passphrase)  # type: ignore[assignment]
    key: paramiko.PKey
    if isinstance(loaded, EllipticCurvePrivateKey):
        key = paramiko.ECDSAKey(vals=(loaded, loaded.public_key()))
    elif isinstance(loaded, RSAPrivateKey):
        key = paramiko.RSAKey(key=loaded)
    else:
        # Bytes, whatever its annotation says: it hands them to cryptography, which takes no text.
        return paramiko.PKey.from_path(path, password=passphrase)  # type: ignore[arg-type]
    certificate = path.with_name(f"{path.name}-cert.pub")
    if certificate.exists():
        key.load_certificate(str(certificate))
    return key
