"""How deltalake reaches a store of ours: the connector's options and credentials in object_store's words.

Credentials are resolved by the connector's own chain each time a table is opened, so they are fresh when a commit is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossdock.errors import ConfigError
from crossdock.lakes.place import Place

__all__ = ["storage_options"]


def storage_options(place: Place) -> dict[str, str]:
    """What ``DeltaTable`` takes for a place.

    Raises:
        CredentialsError: There are none.
        ConfigError: The connector has an option for which the library has none.
    """
    return {name: text for name, text in _MADE[place.system](place).items() if text is not None}


def _of_s3(place: Place) -> dict[str, Any]:
    from crossdock.connectors.s3.address import address_of
    from crossdock.connectors.s3.credentials import identity_of

    options = place.options
    identity = identity_of(options, where=place.url)
    address = address_of(place.bucket, options, identity.region())
    if (
        options.ca_bundle is not None
        and address.base.startswith("https:")
        and "SSL_CERT_FILE" not in os.environ
    ):
        raise ConfigError(
            "deltalake takes no ca_bundle",
            operation="open",
            where=place.url,
            hint=f"set SSL_CERT_FILE={options.ca_bundle} too, which it reads",
        )
    path = address.root if address.virtual else address.root.rpartition("/")[0]
    made = {
        "aws_region": address.region,
        "aws_endpoint_url": address.base + path,
        "aws_virtual_hosted_style_request": _said(address.virtual),
        "aws_skip_signature": _said(options.anon),
        "aws_request_payer": _said(options.requester_pays),
        "aws_conditional_put": "etag",
        **_timeouts(options, address.base),
    }
    if not options.anon:
        frozen = identity.frozen()
        made |= {
            "aws_access_key_id": frozen.access_key,
            "aws_secret_access_key": frozen.secret_key,
            "aws_session_token": frozen.token or None,
        }
    return made


def _of_gcs(place: Place) -> dict[str, Any]:
    options = place.options
    return {
        "google_base_url": options.root,
        "google_skip_signature": _said(bool(options.anon)),
        **(_nobody(options.root) if options.anon else _identity_of_gcs(options, place)),
        **_timeouts(options, options.root),
    }


def _nobody(root: str) -> dict[str, str]:
    """Of requests without a signature the library still signs its puts, unless it has a key that says not to."""
    key = {
        "gcs_base_url": root,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {"google_service_account_key": json.dumps(key)}


def _identity_of_gcs(options: Any, place: Place) -> dict[str, str]:
    """The library takes no access token (object_store 0.13), so it is given what tokens are made of, or finds it by itself."""
    token = options.token
    if token is None or token in ("google_default", "cloud"):
        return {}  # GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server: the same chain
    if isinstance(token, str):
        return {"google_application_credentials": str(Path(token).expanduser())}
    text = token.reveal()
    if text.lstrip().startswith("{"):
        return {"google_service_account_key": text}
    raise ConfigError(
        "deltalake takes no access token",
        operation="open",
        where=place.url,
        hint="give the path of a credentials file, its JSON, or google_default",
    )


def _of_azure(place: Place) -> dict[str, Any]:
    from crossdock.connectors.azure.connection import connection
    from crossdock.connectors.azure.names import container_of

    made = connection(container_of(place.bucket), place.options)
    provide = made.access.for_obstore()
    found = {} if provide is None else provide()
    return {
        "azure_storage_account_name": made.account.name,
        "azure_storage_endpoint": made.account.root,
        "azure_storage_account_key": found.get("access_key"),
        "azure_storage_sas_key": found.get("sas_token"),
        "azure_storage_token": found.get("token"),
        "azure_skip_signature": _said(provide is None),
        **_timeouts(place.options, made.account.base),
    }


def _of_directory(_: Place) -> dict[str, Any]:
    return {}


def _timeouts(options: Any, base: str) -> dict[str, Any]:
    return {
        "allow_http": _said(base.startswith("http://")),
        "connect_timeout": f"{options.connect_timeout_s:g}s",
        # Of a whole request: the log's objects are small, a checkpoint is the largest.
        "timeout": f"{max(options.no_progress_timeout_s * 5, 300):g}s",
    }


def _said(value: bool) -> str:
    return "true" if value else "false"


_MADE: dict[str, Callable[[Place], dict[str, Any]]] = {
    "s3": _of_s3,
    "gcs": _of_gcs,
    "azure": _of_azure,
    "local": _of_directory,
}
