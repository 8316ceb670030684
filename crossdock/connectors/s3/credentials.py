"""Credentials for both engines from one botocore chain, resolved once per process and refreshed by botocore.

botocore is imported here and nowhere earlier than the S3 connector. Nothing falls back to anonymous requests.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from datetime import UTC
from typing import Any, cast

import botocore.session
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from crossdock.connectors.s3.options import S3Options
from crossdock.connectors.s3.quiet import quiet
from crossdock.errors import ConfigError, CredentialsError
from crossdock.options import Secret

__all__ = ["Identity", "asked_as", "identity_of", "mark_of"]

_LOOKED_FOR = (
    "options key and secret; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the profile in ~/.aws/credentials and"
    " ~/.aws/config; SSO and web identity; container and instance metadata"
)


class Identity:
    """Who signs: ``frozen()`` for botocore's signer, the object itself for obstore. Thread-safe."""

    def __init__(self, options: S3Options, *, where: str) -> None:
        self._options = options
        self._where = where
        self._lock = threading.Lock()
        self._session: Any = None
        self._credentials: Any = None

    @property
    def anonymous(self) -> bool:
        """Whether requests stay unsigned, because the user said so."""
        return self._options.anon

    def region(self) -> str:
        """The region to sign for: the option's, the profile's, or us-east-1."""
        if self._options.region:
            return self._options.region
        with self._lock:
            return str(self._opened().get_config_variable("region") or "us-east-1")

    def frozen(self) -> ReadOnlyCredentials:
        """Valid credentials, renewed if they are about to expire.

        Raises:
            CredentialsError: Nothing was found, or it cannot be renewed; says what was looked for.
        """
        try:
            with quiet():
                with self._lock:
                    if self._credentials is None:
                        self._credentials = self._resolved()
                return cast("ReadOnlyCredentials", self._credentials.get_frozen_credentials())
        except BotoCoreError as error:
            raise CredentialsError(
                f"the credentials cannot be resolved or renewed: {error}", where=self._where
            ) from error

    def __call__(self) -> dict[str, Any]:
        """What obstore asks for before a request; it keeps the answer until ``expires_at``."""
        frozen = self.frozen()
        expiry = getattr(self._credentials, "_expiry_time", None)  # botocore has no public name for it
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            # obstore takes Python's own UTC only, and botocore's times have dateutil's.
            "expires_at": None if expiry is None else expiry.astimezone(UTC),
        }

    def _opened(self) -> Any:
        if self._session is None:
            session = botocore.session.Session(profile=self._options.profile)
            # On a machine without instance metadata the address is a black hole: one second, once.
            session.set_config_variable("metadata_service_timeout", 1)
            session.set_config_variable("metadata_service_num_attempts", 1)
            self._session = session
        return self._session

    def _resolved(self) -> Any:
        if self._options.key is not None and self._options.secret is not None:
            token = self._options.token.reveal() if self._options.token is not None else None
            return Credentials(self._options.key.reveal(), self._options.secret.reveal(), token)
        try:
            found = self._opened().get_credentials()
        except BotoCoreError as error:
            raise CredentialsError(
                f"{error}", where=self._where, hint=f"looked for: {_LOOKED_FOR}"
            ) from error
        if found is None:
            raise CredentialsError(
                f"no credentials were found; looked for {_LOOKED_FOR}",
                where=self._where,
                hint="give credentials, or anon=true for a public bucket",
            )
        return found


# What the chain reads of the environment. Two environments are two identities: a notebook that sets another one is heard.
_READ = tuple(
    f"AWS_{name}"
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "PROFILE",
        "REGION",
        "DEFAULT_REGION",
        "CONFIG_FILE",
        "SHARED_CREDENTIALS_FILE",
        "ROLE_ARN",
        "WEB_IDENTITY_TOKEN_FILE",
        "ENDPOINT_URL_STS",
        "EC2_METADATA_DISABLED",
        "CONTAINER_CREDENTIALS_RELATIVE_URI",
        "CONTAINER_CREDENTIALS_FULL_URI",
    )
)

_identities: dict[Any, Identity] = {}
_lock = threading.Lock()


def asked_as(options: S3Options) -> tuple[Any, ...]:
    """What decides who signs: equal for equal answers of ``identity_of``. Holds secrets; never shown."""
    given = (options.key, options.secret, options.token, options.anon, options.profile, options.region)
    if options.anon or (options.key is not None and options.secret is not None and options.region):
        return given
    return (*given, *map(os.environ.get, _READ))


def identity_of(options: S3Options, *, where: str) -> Identity:
    """The process's one identity for these options.

    Raises:
        ConfigError: The profile does not exist.
    """
    key = asked_as(options)
    with _lock:
        if key not in _identities:
            _identities[key] = Identity(options, where=where)
        identity = _identities[key]
    try:
        identity.region()
    except BotoCoreError as error:
        raise ConfigError(
            str(error), operation="open", where=where, hint="check the option profile"
        ) from error
    return identity


def mark_of(key: Secret | None) -> str:
    """A short mark that is equal for equal access keys and tells nothing of them; empty without one.

    A reference is not resolved: its text is what is compared. A secret given as text is marked as the reference it
    becomes in a pickle, so that a recipe and its copy on a worker have one mark.
    """
    if key is None:
        return ""
    if key.is_reference:
        text = str(key.__reduce__()[1][0])
    else:
        text = f"env:CROSSDOCK_SECRET_{uuid.uuid5(uuid.NAMESPACE_OID, key.reveal()).hex.upper()}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]
