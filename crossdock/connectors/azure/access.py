"""Four ways of proving who asks: account key, SAS token, Microsoft Entra token, nobody.

Azure's SDK signs with the key and azure-identity resolves tokens; both are imported when they are first needed.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any, Protocol

from crossdock.connectors.azure.account import Account, missing_credentials
from crossdock.errors import CredentialsError

__all__ = ["Access", "Bearer", "Key", "Nobody", "Sas"]

_SCOPE = "https://storage.azure.com/.default"
_EARLY_S = 300.0  # a token is renewed this long before it expires
_YOUNG_S = 10.0  # a token refused at this age was never good
_SAS_FOR = timedelta(hours=6)  # longer than any copy of one block takes


class Access(Protocol):
    """One way of proving who asks. Thread-safe."""

    mark: str
    """Equal for stores that may read each other's objects; tells nothing of the secret. Empty: any in the account."""

    def sign(self, method: str, base: str, target: str, headers: dict[str, str]) -> str:
        """Complete ``headers`` for a request; the target to send."""

    def readable(self, account: Account, container: str, key: str) -> tuple[str, dict[str, str]]:
        """What lets the service itself read a blob of the account: a query for its URL, or headers of the request."""

    def for_obstore(self) -> Callable[[], Any] | None:
        """Obstore's credential provider; ``None`` for nobody."""

    def refused(self) -> bool:
        """Note that the service refused us; true if trying again makes sense."""


class Key:
    """The account key: signed by the SDK, whose order of headers is the service's own."""

    mark = ""

    def __init__(self, account: Account, key: str, where: str) -> None:
        from azure.core.pipeline import PipelineContext, PipelineRequest
        from azure.core.rest import HttpRequest
        from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

        try:
            base64.b64decode(key, validate=True)
        except binascii.Error:
            raise CredentialsError(
                "the account key is not base64", operation="authenticate", where=where, hint="copy it again"
            ) from None
        self._key = key
        self._account = account
        self._policy: Any = SharedKeyCredentialPolicy(account.name, key)  # type: ignore[no-untyped-call]
        self._context = PipelineContext(None)  # no transport: it is only signed
        self._request, self._wrapped = HttpRequest, PipelineRequest

    def sign(self, method: str, base: str, target: str, headers: dict[str, str]) -> str:
        """See ``Access``."""
        headers["x-ms-date"] = formatdate(usegmt=True)
        request = self._request(method, base + target, headers=headers)
        self._policy.on_request(self._wrapped(request, self._context))
        headers["Authorization"] = request.headers["Authorization"]
        return target

    def readable(self, account: Account, container: str, key: str) -> tuple[str, dict[str, str]]:
        """See ``Access``."""
        from azure.storage.blob import generate_blob_sas

        token = generate_blob_sas(
            account.name,
            container,
            key,
            account_key=self._key,
            permission="r",
            expiry=datetime.now(UTC) + _SAS_FOR,
        )
        return token, {}

    def for_obstore(self) -> Callable[[], Any]:
        """See ``Access``."""
        return lambda: {"access_key": self._key, "expires_at": None}

    def refused(self) -> bool:
        """See ``Access``."""
        return False


class Sas:
    """A shared access signature: the query of every request."""

    def __init__(self, token: str, container: str, mark: str, where: str) -> None:
        self._token = token.strip().lstrip("?")
        if "sig=" not in self._token or not self._token.isascii() or " " in self._token:
            raise CredentialsError(
                "the SAS token has no signature",
                operation="authenticate",
                where=where,
                hint="give what stands after the ? of a SAS URL",
            )
        # A token may be good for one container only, and for fewer rights than another one.
        self.mark = f"sas:{container}:{mark}"

    def sign(self, method: str, base: str, target: str, headers: dict[str, str]) -> str:  # noqa: ARG002 - the port's
        """See ``Access``."""
        return f"{target}{'&' if '?' in target else '?'}{self._token}"

    def readable(self, account: Account, container: str, key: str) -> tuple[str, dict[str, str]]:  # noqa: ARG002
        """See ``Access``."""
        return self._token, {}

    def for_obstore(self) -> Callable[[], Any]:
        """See ``Access``."""
        return lambda: {"sas_token": self._token, "expires_at": None}

    def refused(self) -> bool:
        """See ``Access``."""
        return False


class Bearer:
    """A token of Microsoft Entra, renewed under a lock shortly before it expires."""

    def __init__(self, resolve: Callable[[], Any], mark: str, where: str) -> None:
        self.mark = f"entra:{mark}"
        self._resolve = resolve
        self._where = where
        self._lock = threading.Lock()
        self._credential: Any = None
        # Token, when it expires, when it was got: replaced as a whole, read without the lock.
        self._current: tuple[str, float, float] = ("", 0.0, 0.0)

    def token(self) -> str:
        """The token to send now.

        Raises:
            CredentialsError: There is none to be had; says what was looked for.
        """
        text, expires, _ = self._current
        return text if time.time() < expires - _EARLY_S else self._renewed()

    def _renewed(self) -> str:
        from azure.core.exceptions import AzureError
        from azure.identity import CredentialUnavailableError

        with self._lock:
            text, expires, _ = self._current
            if time.time() < expires - _EARLY_S:  # another thread was here first
                return text
            try:
                if self._credential is None:
                    self._credential = self._resolve()
                found = self._credential.get_token(_SCOPE)
            except CredentialUnavailableError as error:
                raise missing_credentials(self._where) from error
            except (AzureError, ValueError) as error:
                if "failed to retrieve a token" in str(
                    error
                ):  # of the whole chain: none of its members had one
                    raise missing_credentials(self._where, _first_failure(str(error))) from error
                raise CredentialsError(
                    f"Microsoft Entra gives no token: {str(error).splitlines()[0][:300]}",
                    operation="authenticate",
                    where=self._where,
                    hint="check client_id, tenant_id and client_secret, or sign in again",
                ) from error
            # A token that lives shorter than the margin is used for as long as it lives.
            lives = max(float(found.expires_on), time.time() + _EARLY_S + 1)
            self._current = (str(found.token), lives, time.monotonic())
            return str(found.token)

    def sign(self, method: str, base: str, target: str, headers: dict[str, str]) -> str:  # noqa: ARG002 - the port's
        """See ``Access``."""
        headers["Authorization"] = f"Bearer {self.token()}"
        headers["x-ms-date"] = formatdate(usegmt=True)
        return target

    def readable(self, account: Account, container: str, key: str) -> tuple[str, dict[str, str]]:  # noqa: ARG002
        """See ``Access``."""
        return "", {"x-ms-copy-source-authorization": f"Bearer {self.token()}"}

    def for_obstore(self) -> Callable[[], Any]:
        """See ``Access``."""

        def provide() -> dict[str, Any]:
            token = self.token()
            return {"token": token, "expires_at": datetime.fromtimestamp(self._current[1], UTC)}

        return provide

    def refused(self) -> bool:
        """See ``Access``."""
        with self._lock:
            text, _, got = self._current
            if time.monotonic() - got < _YOUNG_S:
                return False
            self._current = (text, 0.0, got)
            return True


class Nobody:
    """Unsigned requests, because the user said so."""

    mark = "anonymous"

    def sign(self, method: str, base: str, target: str, headers: dict[str, str]) -> str:  # noqa: ARG002 - the port's
        """See ``Access``."""
        return target

    def readable(self, account: Account, container: str, key: str) -> tuple[str, dict[str, str]]:  # noqa: ARG002
        """See ``Access``."""
        return "", {}

    def for_obstore(self) -> None:
        """See ``Access``."""
        return

    def refused(self) -> bool:
        """See ``Access``."""
        return False


_ABSENT = (
    "configur",
    "not found",
    "unavailable",
    "not available",
    "not installed",
    "no accounts",
    "requires",
    "login",
)


def _first_failure(text: str) -> str:
    """Of a chain's story: what an identity that was configured said; most of it is what is merely absent."""
    for line in text.splitlines():
        name, sep, cause = line.strip().partition(": ")
        if sep and name.endswith("Credential") and not any(word in cause.lower() for word in _ABSENT):
            return f"; {name} said: {cause[:200]}"
    return ""
