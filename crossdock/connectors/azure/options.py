"""The options of Azure Blob Storage, in the vocabulary of fsspec's adlfs, with object_store's names as aliases.

Nothing here opens a file or asks a server.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.errors import ConfigError
from crossdock.options import Secret, option

__all__ = ["IDENTITIES", "AzureOptions"]

IDENTITIES = ("default", "environment", "workload_identity", "managed_identity", "cli")
"""Words for azure-identity's credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureOptions:
    """How an account is reached, and as whom.

    At most one kind of credentials is given. Without any, the environment is looked at (connection string, account key,
    SAS token), then azure-identity's default chain; nothing falls back to anonymous requests.

    Raises:
        ConfigError: A value has no meaning, or two contradict each other.
    """

    account_name: str | None = option(
        "Name of the storage account; not needed where the URL, endpoint_url or the connection string says it.",
        env=("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        aliases=("azure_storage_account_name", "azure_account_name", "account"),
    )
    account_key: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Key of the account.",
        secret=True,
        aliases=(
            "azure_storage_account_key",
            "azure_storage_access_key",
            "azure_storage_master_key",
            "access_key",
            "master_key",
        ),
    )
    connection_string: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Connection string: account, endpoint, and key or SAS token in one.",
        secret=True,
        aliases=("azure_storage_connection_string",),
    )
    sas_token: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Shared access signature: the query of a SAS URL.",
        secret=True,
        aliases=("azure_storage_sas_token", "azure_storage_sas_key", "sas_key"),
    )
    token: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Access token of Microsoft Entra; it is not renewed.",
        secret=True,
        aliases=("bearer_token", "azure_storage_token"),
    )
    credential: Secret | str | object | None = option(  # noqa: RUF009 - a field, not a call at run time
        "Which of azure-identity's credentials: default, environment, workload_identity, managed_identity or cli; or, "
        "as adlfs takes it, a SAS token, an account key, or an object with get_token (in this process only).",
        secret=True,
    )
    client_id: str | None = option(
        "Client id of a service principal, or of a user-assigned managed identity.",
        env=("AZURE_STORAGE_CLIENT_ID",),
        aliases=("azure_storage_client_id", "azure_client_id"),
    )
    client_secret: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Secret of the service principal.",
        secret=True,
        aliases=("azure_storage_client_secret", "azure_client_secret"),
    )
    tenant_id: str | None = option(
        "Tenant of the service principal.",
        env=("AZURE_STORAGE_TENANT_ID",),
        aliases=(
            "azure_storage_tenant_id",
            "azure_storage_authority_id",
            "azure_tenant_id",
            "azure_authority_id",
            "authority_id",
        ),
    )
    anon: bool = option(
        "Send unsigned requests: public containers only.",
        default=False,
        aliases=("skip_signature", "azure_skip_signature"),
    )
    endpoint_url: str | None = option(
        "URL of the account's blob service, where it is not https://ACCOUNT.blob.core.windows.net; without a scheme "
        "it is https.",
        env=("AZURE_STORAGE_ENDPOINT",),
        aliases=("account_url", "account_host", "azure_storage_endpoint", "azure_endpoint", "endpoint"),
    )
    connect_timeout_s: float = option(
        "Longest wait for a connection.",
        default=10.0,
        unit="s",
        aliases=("connection_timeout", "connect_timeout"),
    )
    no_progress_timeout_s: float = option(
        "Longest silence of a connection; there is no limit on total time.",
        default=60.0,
        unit="s",
        aliases=("read_timeout",),
    )

    def __post_init__(self) -> None:
        given = [name for name in _CREDENTIALS if getattr(self, name)]
        if len(given) > 1:
            _refuse(f"{' and '.join(given)} exclude each other: give one")
        principal = [self.client_id, self.tenant_id, self.client_secret]
        if self.client_secret is not None and None in principal:
            _refuse("client_secret needs client_id and tenant_id")
        if self.connect_timeout_s <= 0 or self.no_progress_timeout_s <= 0:
            _refuse("a timeout is a positive number of seconds")
        credential = self.credential
        if isinstance(credential, str):
            object.__setattr__(self, "credential", Secret(credential))
        elif not (
            credential is None
            or isinstance(credential, Secret)
            or callable(getattr(credential, "get_token", None))
        ):
            _refuse(f"credential is text or an object with get_token, not {type(credential).__name__}")


_CREDENTIALS = (
    "account_key",
    "connection_string",
    "sas_token",
    "token",
    "credential",
    "client_secret",
    "anon",
)


def _refuse(cause: str) -> None:
    raise ConfigError(cause, operation="open", where="az://")
