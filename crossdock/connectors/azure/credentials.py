"""Which credentials count: those of the options, then the environment's, then azure-identity's default chain.

Nothing falls back to anonymous requests, and nothing is asked for before the first request.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

from crossdock.connectors.azure.access import Access, Bearer, Key, Nobody, Sas
from crossdock.connectors.azure.account import ENVIRONMENT, Account
from crossdock.connectors.azure.options import IDENTITIES, AzureOptions
from crossdock.errors import ConfigError
from crossdock.options import Secret

__all__ = ["access_for"]

# azure-identity warns of each step of its search; without this Python prints that where nobody configured logging.
logging.getLogger("azure").addHandler(logging.NullHandler())


def access_for(
    options: AzureOptions, account: Account, container: str, settings: Mapping[str, str], where: str
) -> Access:
    """Choose the kind of access. Asks nobody yet: a token is got with the first request.

    Args:
        options: As given.
        account: Whose key it would be.
        container: For the mark of a SAS token.
        settings: Of the connection string.
        where: For errors.

    Raises:
        CredentialsError: A secret reference leads nowhere, or what it gives is not what it should be.
    """
    if options.anon:
        return Nobody()
    if options.token is not None:
        text = options.token.reveal()
        return Bearer(lambda: _Given(text), f"token:{_mark_of(options.token)}", where)
    if options.client_secret is not None or options.credential is not None:
        return _by_identity(options, account, container, where)
    key, sas = _secret(options.account_key), _secret(options.sas_token)
    mark = _mark_of(options.sas_token or options.connection_string)
    key, sas = key or settings.get("AccountKey"), sas or settings.get("SharedAccessSignature")
    if not key and not sas:
        key, sas = _from_environment("account_key"), _from_environment("sas_token")
    if key:
        return Key(account, key, where)
    if sas:
        return Sas(sas, container, mark, where)
    return Bearer(lambda: _identity("default", options), f"default:{options.client_id or ''}", where)


def _by_identity(options: AzureOptions, account: Account, container: str, where: str) -> Access:
    credential = options.credential
    if options.client_secret is not None:
        return Bearer(lambda: _principal(options), f"{options.tenant_id}:{options.client_id}", where)
    if not isinstance(credential, Secret):
        return Bearer(lambda: credential, f"object:{id(credential)}", where)
    text = credential.reveal().strip()
    if text in IDENTITIES:
        return Bearer(lambda: _identity(text, options), f"{text}:{options.client_id or ''}", where)
    if "sig=" in text:
        return Sas(text, container, _mark_of(credential), where)
    return Key(account, text, where)


def _secret(secret: Secret | None) -> str | None:
    return secret.reveal().strip() if secret is not None else None


def _from_environment(kind: str) -> str | None:
    return next((os.environ[name] for name in ENVIRONMENT[kind] if os.environ.get(name)), None)


class _Given:
    """A token as the user gave it: not renewed."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.expires_on = time.time() + 10 * 365 * 86400

    def get_token(self, *_: str) -> _Given:
        return self


def _principal(options: AzureOptions) -> Any:
    from azure.identity import ClientSecretCredential

    if options.client_secret is None or options.tenant_id is None or options.client_id is None:
        raise ConfigError("client_secret needs client_id and tenant_id", operation="open")
    return ClientSecretCredential(options.tenant_id, options.client_id, options.client_secret.reveal())


def _identity(kind: str, options: AzureOptions) -> Any:
    """One of azure-identity's credentials; none of them asks a person."""
    import azure.identity as vendor

    user_assigned: dict[str, Any] = {"client_id": options.client_id} if options.client_id else {}
    if kind == "managed_identity":
        return vendor.ManagedIdentityCredential(**user_assigned)
    if kind == "workload_identity":
        return vendor.WorkloadIdentityCredential(**user_assigned)
    if kind == "environment":
        return vendor.EnvironmentCredential()
    if kind == "cli":
        return vendor.AzureCliCredential(tenant_id=options.tenant_id or "")
    chosen: dict[str, Any] = {"managed_identity_client_id": options.client_id} if options.client_id else {}
    return vendor.DefaultAzureCredential(process_timeout=5, **chosen)


def _mark_of(secret: Secret | None) -> str:
    """A short mark, equal for equal secrets and telling nothing of them; a reference is not resolved.

    A secret given as text is marked as the reference it becomes in a pickle, so that a recipe and its copy on a worker
    have one mark.
    """
    if secret is None:
        return ""
    if secret.is_reference:
        text = str(secret.__reduce__()[1][0])
    else:
        text = f"env:CROSSDOCK_SECRET_{uuid.uuid5(uuid.NAMESPACE_OID, secret.reveal()).hex.upper()}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]
