"""The options of S3, in the vocabulary of fsspec's s3fs, with object_store's names as aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError
from crossdock.options import Secret, option

__all__ = ["S3Options"]

_STYLES = ("auto", "path", "virtual")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How a bucket is reached.

    Credentials that are not given come from botocore's chain (environment, profile, shared files, SSO, container and
    instance metadata) where the store is used; everything else is settled where the options are parsed.
    """

    endpoint_url: str | None = option(
        "URL of an S3-compatible server; without it, Amazon S3 in the region.",
        env=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        aliases=("endpoint", "aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3"),
    )
    key: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Access key id.", secret=True, aliases=("username", "access_key_id", "aws_access_key_id")
    )
    secret: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Secret access key.", secret=True, aliases=("password", "secret_access_key", "aws_secret_access_key")
    )
    token: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Session token of temporary credentials.",
        secret=True,
        aliases=("session_token", "aws_session_token", "aws_token"),
    )
    anon: bool = option(
        "Send unsigned requests: public buckets only.",
        default=False,
        aliases=("skip_signature", "aws_skip_signature"),
    )
    profile: str | None = option(
        "Profile of the shared configuration files.",
        env=("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        aliases=("profile_name",),
    )
    region: str | None = option(
        "Region of the bucket; without it the profile's, or us-east-1.",
        env=("AWS_REGION", "AWS_DEFAULT_REGION"),
        aliases=("region_name", "aws_region", "default_region", "aws_default_region"),
    )
    addressing_style: str = option(
        "How the bucket is named in requests: path, virtual (as a host name), or auto: path for an endpoint_url.",
        default="auto",
        env=("AWS_S3_ADDRESSING_STYLE",),
    )
    virtual_hosted_style_request: bool | None = option(
        "As object_store takes it: true is addressing_style=virtual, false is path.",
        aliases=("aws_virtual_hosted_style_request",),
    )
    requester_pays: bool = option(
        "Pay for requests to a requester-pays bucket.",
        default=False,
        aliases=("request_payer", "aws_request_payer"),
    )
    connect_timeout_s: float = option(
        "Longest wait for a connection.", default=10.0, unit="s", aliases=("connect_timeout",)
    )
    no_progress_timeout_s: float = option(
        "Longest silence of a connection; there is no limit on total time.",
        default=60.0,
        unit="s",
        aliases=("read_timeout",),
    )
    ca_bundle: str | None = option(
        "File of certificates (PEM) to trust instead of the public ones; TLS is always verified.",
        env=("AWS_CA_BUNDLE",),
    )
    conditional_writes: bool = option(
        "Whether the server honours If-None-Match and If-Match on writes; some imitations ignore them silently.",
        default=True,
        env=("CROSSDOCK_S3_CONDITIONAL_WRITES",),
    )
    client_kwargs: Mapping[str, Any] | None = option(
        "As s3fs takes it: endpoint_url and region_name are understood, anything else is refused."
    )
    config_kwargs: Mapping[str, Any] | None = option(
        "As s3fs takes it: s3.addressing_style, connect_timeout and read_timeout are understood, anything else is refused."
    )

    def __post_init__(self) -> None:
        for name, value in _from_kwargs(self.client_kwargs or {}, self.config_kwargs or {}).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "client_kwargs", None)
        object.__setattr__(self, "config_kwargs", None)
        if self.virtual_hosted_style_request is not None:
            style = "virtual" if self.virtual_hosted_style_request else "path"
            if self.addressing_style not in ("auto", style):
                _refuse("addressing_style and virtual_hosted_style_request contradict each other")
            object.__setattr__(self, "addressing_style", style)
            object.__setattr__(self, "virtual_hosted_style_request", None)
        if self.addressing_style not in _STYLES:
            _refuse(f"addressing_style is one of {', '.join(_STYLES)}, not {self.addressing_style!r}")
        if self.endpoint_url is not None and not self.endpoint_url.startswith(("http://", "https://")):
            _refuse(f"endpoint_url {self.endpoint_url!r} is not an http:// or https:// URL")
        if (self.key is None) != (self.secret is None):
            _refuse("key and secret belong together: give both or neither")
        if self.anon and self.key is not None:
            _refuse("anon and key exclude each other")


def _from_kwargs(client: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What s3fs's nested options mean here."""
    known = {"endpoint_url": "endpoint_url", "region_name": "region"}
    found = {known[name]: value for name, value in client.items() if name in known}
    left = [f"client_kwargs.{name}" for name in client if name not in known]
    for name, value in config.items():
        if name in ("connect_timeout", "read_timeout"):
            found["connect_timeout_s" if name == "connect_timeout" else "no_progress_timeout_s"] = float(
                value
            )
        elif name == "s3" and isinstance(value, Mapping) and set(value) <= {"addressing_style"}:
            found |= value
        else:
            left.append(f"config_kwargs.{name}")
    if left:
        _refuse(f"{', '.join(left)} is not understood; see the options of S3")
    return found


def _refuse(cause: str) -> None:
    raise ConfigError(cause, operation="open", where="s3://")
