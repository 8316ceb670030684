"""Where a bucket lives: host, style of addressing, and the exact request target of a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from crossdock.connectors.s3.options import S3Options

__all__ = ["Address", "address_of", "encode_key"]


def encode_key(key: str) -> str:
    """A key as a request path: every byte but RFC 3986's unreserved ones and ``/`` is percent-encoded; nothing is folded."""
    return quote(key, safe="/~-._")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A bucket's place. ``base`` is scheme and host; ``root`` the path all its targets start with."""

    base: str
    root: str
    region: str
    virtual: bool
    amazon: bool

    def target(self, key: str | None, query: Mapping[str, str] | None = None) -> str:
        """The request target of a key (``None``: the bucket), as sent and as signed."""
        path = self.root + ("/" if key is None and not self.root else "")
        if key is not None:
            path = f"{self.root}/{encode_key(key)}"
        if not query:
            return path
        pairs = (
            f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in sorted(query.items())
        )
        return f"{path}?{'&'.join(pairs)}"


def address_of(bucket: str, options: S3Options, region: str) -> Address:
    """The place of a bucket; style ``auto`` is virtual on Amazon, except for names with dots (their certificate)."""
    if options.endpoint_url is not None:
        parts = urlsplit(options.endpoint_url)
        base, prefix = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        amazon = (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        virtual = options.addressing_style == "virtual"
    else:
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        base, prefix, amazon = f"https://s3.{region}.{suffix}", "", True
        virtual = options.addressing_style != "path" and "." not in bucket
    if virtual:
        scheme, _, host = base.partition("://")
        return Address(
            base=f"{scheme}://{bucket}.{host}", root=prefix, region=region, virtual=True, amazon=amazon
        )
    root = f"{prefix}/{quote(bucket, safe='-._~')}"
    return Address(base=base, root=root, region=region, virtual=False, amazon=amazon)
