"""What a process keeps open per container: both engines over one access. Made on first use, once per options."""

from __future__ import annotations

import os
import threading
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore as NativeStore

from crossdock.connectors.azure.access import Access
from crossdock.connectors.azure.account import Account, account_of, settings_of
from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.credentials import access_for
from crossdock.connectors.azure.listing import Bookmarks
from crossdock.connectors.azure.names import Container
from crossdock.connectors.azure.options import AzureOptions
from crossdock.connectors.azure.uploads import Uploads
from crossdock.connectors.kept import Kept
from crossdock.connectors.native import NO_RETRIES, client_options
from crossdock.errors import ConfigError

__all__ = ["Connection", "connection"]


class Connection:
    """The two engines of one container. Thread-safe.

    Raises:
        ConfigError: Nothing says which account.
        CredentialsError: A secret reference leads nowhere.
    """

    def __init__(self, container: Container, options: AzureOptions) -> None:
        where = container.url
        settings = settings_of(options, where)
        self.account: Account = account_of(options, container.host, settings, where)
        self.access: Access = access_for(options, self.account, container.name, settings, where)
        self.client = Client(self.account, container.name, self.access, options, where=where)
        self.uploads = Uploads(self.client)
        self.bookmarks = Bookmarks()
        self.starts_exactly = False  # until ``check`` found that it does
        self._container, self._options = container.name, options
        self._lock = threading.Lock()
        self._native: NativeStore | None = None

    def native(self) -> NativeStore:
        """Obstore's store of the container."""
        provide = self.access.for_obstore()
        if provide is not None:
            provide()  # missing credentials are reported in our words, before Rust asks
        with self._lock:
            if self._native is None:
                self._native = self._opened(provide)
            return self._native

    def forget_native(self) -> None:
        """Open it anew next time: it keeps a token that was refused."""
        with self._lock:
            self._native = None

    def _opened(self, provide: Any) -> NativeStore:
        options = self._options
        try:
            return NativeStore(
                self._container,
                # Every setting that it would otherwise take from the environment is given.
                config={
                    "account_name": self.account.name,
                    "endpoint": self.account.root,
                    "use_emulator": False,
                    "use_fabric_endpoint": False,
                    "skip_signature": provide is None,
                },
                client_options=client_options(  # type: ignore[arg-type]
                    connect_timeout_s=options.connect_timeout_s,
                    no_progress_timeout_s=options.no_progress_timeout_s,
                    allow_http=self.account.base.startswith("http://"),
                ),
                retry_config=NO_RETRIES,  # type: ignore[arg-type]
                credential_provider=provide,
            )
        except BaseError as error:  # it reads object_store's own variables, also when it does not need them
            raise ConfigError(
                f"the reading engine cannot be opened: {str(error).splitlines()[0]}",
                operation="read",
                where=self.client.where,
                hint="correct or unset the variables that begin with AZURE_",
            ) from error


_connections: Kept[Connection] = Kept()


def connection(container: Container, options: AzureOptions) -> Connection:
    """The process's connection to a container with these options; a fork opens its own."""
    secrets = (options.account_key, options.connection_string, options.sas_token, options.token)
    key = (os.getpid(), container, options, *secrets, options.client_secret)
    return _connections.get(key, lambda: Connection(container, options))
