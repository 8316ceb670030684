"""Which account, at which URL, from options, URL and environment: pure but for reading both environment and secrets."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from crossdock.connectors.azure.options import AzureOptions
from crossdock.errors import ConfigError, CredentialsError

__all__ = ["Account", "account_of", "parse_connection_string", "settings_of"]

ENVIRONMENT = {
    "connection_string": ("AZURE_STORAGE_CONNECTION_STRING",),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
    "sas_token": ("AZURE_STORAGE_SAS_TOKEN",),
}
"""Environment variables of credentials, read where the store is used: adlfs's and the Azure command line's."""

# The emulator's account and key are public: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
_EMULATOR = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_SUFFIX = "core.windows.net"
_NAME = re.compile(r"[a-z0-9]{3,24}")


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account: its name, scheme and host of its blob service, and the path all its targets start with."""

    name: str
    base: str
    path: str = ""

    @property
    def root(self) -> str:
        """URL of the blob service."""
        return self.base + self.path

    def target(self, container: str, key: str | None = None, query: Mapping[str, str] | None = None) -> str:
        """The request target of a container or of a key (encoded already)."""
        path = f"{self.path}/{container}" + ("" if key is None else f"/{key}")
        if not query:
            return path
        return path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def settings_of(options: AzureOptions, where: str) -> dict[str, str]:
    """The parts of the connection string that counts: the option's, or the environment's if no other credentials are given.

    Raises:
        ConfigError: It is no connection string.
        CredentialsError: A reference leads nowhere.
    """
    if options.connection_string is not None:
        return parse_connection_string(options.connection_string.reveal(), where)
    others = (
        options.account_key,
        options.sas_token,
        options.token,
        options.credential,
        options.client_secret,
    )
    text = os.environ.get(ENVIRONMENT["connection_string"][0])
    if text and not options.anon and all(given is None for given in others):
        return parse_connection_string(text, where)
    return {}


def parse_connection_string(text: str, where: str) -> dict[str, str]:
    """``AccountName``, ``AccountKey``, ``BlobEndpoint``, ``SharedAccessSignature``, ... by name.

    Raises:
        ConfigError: It is no connection string; says nothing of its content.
    """
    pairs = [part.partition("=") for part in text.strip().strip(";").split(";")]
    if not all(name and sep for name, sep, _ in pairs):
        raise ConfigError(
            "the connection string has a part that is no name=value",
            operation="open",
            where=where,
            hint="copy it from the account's access keys",
        )
    settings = {name.strip(): value.strip() for name, _, value in pairs}
    if settings.get("UseDevelopmentStorage", "").lower() == "true":
        return _EMULATOR | settings
    return settings


def account_of(options: AzureOptions, host: str, settings: Mapping[str, str], where: str) -> Account:
    """The account: the URL's host first, then endpoint_url, then the connection string, then the name alone.

    Args:
        options: As given.
        host: What the URL said after ``@``; empty if nothing.
        settings: Of the connection string.
        where: For errors.

    Raises:
        ConfigError: Nothing says which account, or two things say different ones.
    """
    name = options.account_name or settings.get("AccountName")
    if options.account_name and settings.get("AccountName", options.account_name) != options.account_name:
        raise ConfigError(
            f"account_name is {options.account_name}, and the connection string is of {settings['AccountName']}",
            operation="open",
            where=where,
        )
    if host and "." in host:
        url = _blob_host(host)
        if name is not None and _first_label(url) not in (name, None):
            raise ConfigError(
                f"the URL is of account {_first_label(url)}, the options are of {name}",
                operation="open",
                where=where,
            )
    elif host:
        raise ConfigError(
            f"{host!r} is no host",
            operation="open",
            where=where,
            hint="write container@account.dfs.core.windows.net",
        )
    else:
        url = options.endpoint_url or settings.get("BlobEndpoint") or _default_url(name, settings, where)
    return _account(url, name, where)


def _default_url(name: str | None, settings: Mapping[str, str], where: str) -> str:
    if name is None:
        raise ConfigError(
            "nothing says which storage account",
            operation="open",
            where=where,
            hint="set account_name (or AZURE_STORAGE_ACCOUNT_NAME), or write abfs://container@account.dfs.core.windows.net/",
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a storage account", operation="open", where=where)
    scheme = settings.get("DefaultEndpointsProtocol", "https")
    return f"{scheme}://{name}.blob.{settings.get('EndpointSuffix', _SUFFIX)}"


def _blob_host(host: str) -> str:
    """The blob service beside an ADLS Gen2 endpoint."""
    first, _, rest = host.partition(".")
    return (
        f"https://{first}.blob.{rest.removeprefix('dfs.')}" if rest.startswith("dfs.") else f"https://{host}"
    )


def _first_label(url: str) -> str | None:
    """The account's name, if the host is one of Azure's own."""
    host = urlsplit(url).hostname or ""
    label, _, rest = host.partition(".")
    return label.removesuffix("-secondary") if rest.startswith(("blob.", "z")) and "." in rest else None


def _account(url: str, name: str | None, where: str) -> Account:
    text = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the endpoint: {error}", operation="open", where=where) from None
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or parts.username or path.count("/") > 1:
        raise ConfigError(
            "endpoint_url is the account's root, without user, query or more than one segment",
            operation="open",
            where=where,
            hint="give a SAS token as sas_token",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii():
        raise ConfigError(f"{url!r} is no http:// or https:// URL", operation="open", where=where)
    # An emulator or an address names the account in the path.
    name = name or _first_label(text) or (path[1:] if path else None)
    if name is None:
        raise ConfigError(
            "endpoint_url does not say which account it is",
            operation="open",
            where=where,
            hint="set account_name",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if not path and _is_address(parts.hostname):
        path = f"/{name}"
    return Account(name, f"{parts.scheme}://{host}" + (f":{port}" if port else ""), path)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def missing_credentials(where: str, detail: str = "") -> CredentialsError:
    """Nothing was found; says what was looked for."""
    return CredentialsError(
        "no Azure credentials: looked for options account_key, connection_string, sas_token, token, credential and"
        f" client_secret; {', '.join(name for names in ENVIRONMENT.values() for name in names)}; azure-identity's"
        " service principal (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET), workload identity, managed identity"
        f" and signed-in tools{detail}",
        operation="authenticate",
        where=where,
        hint="set one of them, run `az login`, or pass anon=true for a public container",
    )
