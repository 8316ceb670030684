"""What botocore logs at DEBUG and nobody may read: the text it signs, and the answers that bring credentials.

The signed text holds the session token of temporary credentials; requests and answers of STS, SSO and the metadata
services hold everything. Other uses of botocore in this process log as before.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_TOKEN = re.compile(r"(?i)(x-amz-security-token[:=])[^\n&]*")
_TELLING = (
    "auth",
    "credentials",
    "endpoint",
    "hooks",
    "httpsession",
    "parsers",
    "retryhandler",
    "tokens",
    "utils",
)

_thread = threading.local()


class _Masked(logging.Filter):
    """Keeps the line and takes the token out."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _TOKEN.sub(r"\1***", record.getMessage()), ()
        return True


class _Quiet(logging.Filter):
    """Drops debug lines of a thread that is fetching credentials."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or not getattr(_thread, "fetching", False)


logging.getLogger("botocore.auth").addFilter(_Masked())
for _name in _TELLING:
    logging.getLogger(f"botocore.{_name}").addFilter(_Quiet())


@contextmanager
def quiet() -> Iterator[None]:
    """Let botocore log no details on this thread, for the length of the block."""
    before = getattr(_thread, "fetching", False)
    _thread.fetching = True
    try:
        yield
    finally:
        _thread.fetching = before
