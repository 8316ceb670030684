"""Which keys are known of a host: OpenSSH's ``known_hosts`` read as ``ssh`` reads it. Pure.

Names may be patterns, negated or hashed; lines marked ``@revoked`` are keys never to accept. Certificate authorities
are not understood here and passed over, so such a host counts as not known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["KnownKeys", "known_keys", "name_of"]


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """Keys of one host as (type, base64), and those that are revoked, as base64."""

    keys: tuple[tuple[str, str], ...] = ()
    revoked: frozenset[str] = frozenset()


def name_of(host: str, port: int) -> str:
    """What a host is called in the file."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def known_keys(lines: Iterable[str], name: str) -> KnownKeys:
    """What the file says of ``name``. Lines that are no entries are passed over, as ``ssh`` does."""
    keys, revoked = [], set()
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3 or not _matches(words[0], name):
            continue
        if marker == "@revoked":
            revoked.add(words[2])
        elif not marker:
            keys.append((words[1], words[2]))
    return KnownKeys(tuple(keys), frozenset(revoked))


def _matches(names: str, name: str) -> bool:
    """Whether a comma-separated list names the host; one negated pattern that fits decides against it."""
    found = False
    for pattern in names.split(","):
        if pattern.startswith("|1|"):
            found = found or _hashed(pattern, name)
        elif pattern.startswith("!"):
            if _fits(pattern[1:], name):
                return False
        else:
            found = found or _fits(pattern, name)
    return found


def _fits(pattern: str, name: str) -> bool:
    """``*`` and ``?`` are wild; brackets are not: they stand round a host with a port."""
    return fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _hashed(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        wanted = base64.b64decode(digest, validate=True)
        found = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(wanted, found)
