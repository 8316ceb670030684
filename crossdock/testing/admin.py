"""Steering an embedded server from outside: routes under ``/_crossdock/``, and running it as a process of its own.

``GET /_crossdock/faults`` shows counters, ``POST`` adds rules (one JSON object or a list), ``DELETE`` removes all
rules and keeps the counters; ``GET /_crossdock/uploads`` lists uploads that nobody completed or aborted;
``GET /_crossdock/objects?bucket=b`` lists keys, sizes and entity tags. No fault ever hits these routes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from crossdock.testing.rules import Faults, Rule
from crossdock.testing.wire import Request, Response, Route

PREFIX = "/_crossdock/"


class Steerable(Protocol):
    """What the admin routes and the command line need of an embedded server."""

    faults: Faults

    @property
    def url(self) -> str:
        """Where it listens."""
        ...

    def start(self) -> Any:
        """Listen."""
        ...

    def stop(self) -> None:
        """Close."""
        ...

    def bucket_names(self) -> list[str]:
        """Return all buckets."""
        ...

    def open_uploads(self, bucket: str) -> dict[str, str]:
        """Return keys by upload id."""
        ...

    def summaries(self, bucket: str) -> dict[str, dict[str, Any]]:
        """Return a few facts of each object, by key."""
        ...


def admin_route(request: Request, server: Steerable) -> Route:
    """Find the handler of a path under ``/_crossdock/``."""
    verb = (request.method, request.path.removeprefix(PREFIX))
    handlers: dict[tuple[str, str], Callable[[Request], Any]] = {
        ("GET", "faults"): lambda _: server.faults.to_json(),
        ("POST", "faults"): lambda r: _add_rules(server.faults, r.body()),
        ("DELETE", "faults"): lambda _: _clear(server.faults),
        ("GET", "uploads"): lambda _: {b: server.open_uploads(b) for b in server.bucket_names()},
        ("GET", "objects"): lambda r: server.summaries(r.query.get("bucket", "")),
    }
    handler = handlers.get(verb)

    def run(request: Request) -> Response:
        if handler is None:
            return Response.text(404, f"no such admin route: {request.method} {request.path}\n", "text/plain")
        try:
            value = handler(request)
        except Exception as error:  # whatever a mistaken rule or bucket name makes of itself
            return Response.text(400, f"{type(error).__name__}: {error}\n", "text/plain")
        return Response.text(200, json.dumps(value), "application/json")

    return Route(f"admin.{verb[1]}", run)


def parse_rules(text: str | bytes) -> list[Rule]:
    """Read one rule or a list of rules from JSON."""
    value = json.loads(text)
    return [Rule.from_json(item) for item in (value if isinstance(value, list) else [value])]


def run_process(
    program: str, make: Callable[[Sequence[str], Faults, int], Steerable], argv: Sequence[str] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT; the first line of stdout is the URL."""
    parser = argparse.ArgumentParser(prog=program, description="Run an embedded object store on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--bucket", action="append", default=[], help="bucket to create; may be repeated")
    parser.add_argument("--rules", default="[]", help="fault rules as JSON: an object, or a list of objects")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults' random generator")
    options = parser.parse_args(argv)
    try:
        rules = parse_rules(options.rules)
    except (ValueError, TypeError) as error:
        parser.error(f"--rules: {error}")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = make(options.bucket, Faults(rules=tuple(rules), seed=options.seed), options.port)
    server.start()
    try:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        ended.wait()
    finally:
        server.stop()
    return 0


def _add_rules(faults: Faults, body: bytes) -> dict[str, Any]:
    for rule in parse_rules(body):
        faults.add(rule)
    return faults.to_json()


def _clear(faults: Faults) -> dict[str, Any]:
    faults.clear()
    return faults.to_json()
