"""One POST to an address nobody may see: bounded in time, tried again where that may help, silent about where.

The result is data. No error of a library leaves this module, because their texts hold the address; nor do their log
lines, for as long as a secret is in use on a thread.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ATTEMPTS", "Delivery", "bounded", "post", "silent", "usable"]

ATTEMPTS: Final = 3
_BACKOFF_S = 0.5  # doubled after each attempt
_TRANSIENT: Final = (408, 425, 429, 500, 502, 503, 504)
_ANSWER_BYTES = 200

pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Whether a message arrived; if not, why, in words without the address."""

    ok: bool
    cause: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one attempt came to: a status, or 0 and a cause."""

    status: int = 0
    cause: str = ""
    passing: bool = False
    wait_s: float | None = None


def usable(url: str) -> str:
    """What is wrong with an address, in words that do not repeat it; empty if nothing is."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme.lower() not in ("https", "http") or not host:
        return "is not an http or https URL"
    return "" if url.isascii() and url.isprintable() and " " not in url else "has characters no URL has"


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, budget_s: float) -> Delivery:
    """Send, at most three times; redirects are not followed, certificates are verified.

    A message may arrive twice, when an answer was lost; its receiver can tell by the delivery's id.

    Args:
        url: Where to.
        body: JSON.
        headers: On top of the usual ones.
        timeout_s: Give up an attempt that makes no progress for so long.
        budget_s: No further attempt after this long; a server that asks for more patience does not get it.
    """
    ends = time.monotonic() + budget_s
    attempt = 0
    while True:
        attempt += 1
        left = ends - time.monotonic()
        answer = _attempt(url, body, headers, max(0.1, min(timeout_s, left)))
        if 200 <= answer.status < 300:
            return Delivery(ok=True, attempts=attempt)
        wait_s = answer.wait_s if answer.wait_s is not None else _BACKOFF_S * 2 ** (attempt - 1)
        if not answer.passing or attempt == ATTEMPTS:
            return Delivery(ok=False, cause=answer.cause, attempts=attempt)
        if time.monotonic() + wait_s >= ends:
            cause = f"{answer.cause}, and asked to wait {wait_s:.0f} s" if answer.wait_s else answer.cause
            return Delivery(ok=False, cause=cause, attempts=attempt)
        pause(wait_s)


def _attempt(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> _Answer:
    import urllib3

    parts = urllib.parse.urlsplit(url)
    sent = {"Content-Type": "application/json", "User-Agent": "crossdock", **headers}
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    with silent(), _connections(parts) as pool:
        try:
            response = pool.request(
                "POST",
                parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(),
                body=body,
                headers=sent,
                timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except Exception as error:  # urllib3's, ssl's, socket's: only what kind it is may be told
            return _lost(error, timeout_s)
        answer = _answered(response.status, response.headers.get("Retry-After"))
        if answer.status >= 400:
            word = _word(response, url)
            answer = _Answer(
                status=answer.status,
                cause=f"{answer.cause} ({word})" if word else answer.cause,
                passing=answer.passing,
                wait_s=answer.wait_s,
            )
        response.close()
        return answer


def _connections(parts: urllib.parse.SplitResult) -> Any:
    """A pool of its own: messages are rare. The environment's proxies are used, as everywhere in this package."""
    import urllib.request

    import urllib3

    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(
            proxy if "://" in proxy else f"http://{proxy}", cert_reqs="CERT_REQUIRED", retries=False
        )
    return urllib3.PoolManager(cert_reqs="CERT_REQUIRED", retries=False)


def _answered(status: int, retry_after: str | None) -> _Answer:
    if 300 <= status < 400:
        return _Answer(status=status, cause=f"answered {status}: redirects are not followed")
    passing = status in _TRANSIENT
    wait_s = _seconds(retry_after) if passing and retry_after else None
    return _Answer(status=status, cause=f"answered {status}", passing=passing, wait_s=wait_s)


def _seconds(retry_after: str) -> float | None:
    from email.utils import parsedate_to_datetime

    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, until.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _word(response: Any, url: str) -> str:
    """Slack says why in one word (``no_service``); other text may repeat the address."""
    try:
        text = response.read(_ANSWER_BYTES).decode("ascii", "replace").strip()
    except Exception:  # the answer's status is known; its text is a courtesy
        return ""
    return text if text.replace("_", "").isalpha() and text.islower() and text not in url else ""


def _lost(error: Exception, timeout_s: float) -> _Answer:
    from urllib3 import exceptions

    if isinstance(error, exceptions.ProxyError):
        return _Answer(cause="the proxy does not answer", passing=True)
    if isinstance(error, exceptions.NameResolutionError):
        return _Answer(cause="the name of its server is not known", passing=True)
    if isinstance(error, exceptions.NewConnectionError):
        return _Answer(cause="its server takes no connections", passing=True)
    if isinstance(error, exceptions.TimeoutError):
        return _Answer(cause=f"no answer within {timeout_s:g} s", passing=True)
    if isinstance(error, exceptions.SSLError):
        return _Answer(cause="its certificate could not be verified, or it speaks no TLS")
    if isinstance(error, exceptions.ProtocolError):
        return _Answer(cause="the connection broke off", passing=True)
    return _Answer(cause=f"it could not be sent ({type(error).__name__})")


# -- what must not be seen -----------------------------------------------------------------------------------------

_thread = threading.local()


class _Quiet(logging.Filter):
    """Drops what a library logs on a thread that uses an address: it names the path, or all of it."""

    def filter(self, _: logging.LogRecord) -> bool:
        return not getattr(_thread, "silent", False)


for _name in (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.util.retry",
    "urllib3.poolmanager",
    "apprise",
):
    logging.getLogger(_name).addFilter(_Quiet())


@contextmanager
def silent() -> Iterator[None]:
    """Let the libraries that send log nothing on this thread, for the length of the block."""
    before = getattr(_thread, "silent", False)
    _thread.silent = True
    try:
        yield
    finally:
        _thread.silent = before


def bounded(send: Callable[[], Delivery], budget_s: float) -> Delivery:
    """Run ``send`` on a thread of its own and wait so long at most: a server that trickles could hold a run for ever.

    A thread that is given up goes on until its own timeouts end it, and keeps no process alive.
    """
    result: list[Delivery] = []

    def run() -> None:
        try:
            result.append(send())
        except Exception as error:  # a library may raise anything, with the address in its text
            result.append(Delivery(ok=False, cause=f"it could not be sent ({type(error).__name__})"))

    thread = threading.Thread(target=run, name="crossdock-notify", daemon=True)
    thread.start()
    thread.join(budget_s)
    return result[0] if result else Delivery(ok=False, cause=f"not delivered within {budget_s:g} s")
