"""Accounts -> services -> metrics: a vendor's API, a map for each level, everything to a lake, on Dask.

The API fails on a fifth of all requests and throttles on others, and some accounts are broken for good. What is shown:
the levels run into each other, failures stay where they are, and a second run asks the API for nothing.
"""

from __future__ import annotations

import json
import random
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

import crossdock as xd
from crossdock.errors import ConnectionLostError, NotFoundError, ThrottledError
from crossdock.model import State

ACCOUNTS, SERVICES = 200, 10
BROKEN = frozenset({"a007", "a101"})
DAY = "2026-11-20"


class Api:
    """The vendor: deterministic but for the faults, which are seeded; counts what it answered."""

    def __init__(self, seed: int) -> None:
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.answered: dict[int, int] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status, body, headers = api.answer(self.path)
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": len(data), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path):
        with self.lock:
            dice = self.random.random()
            _, kind, *rest = path.split("/")
            if kind == "account" and rest[0] in BROKEN:
                status, body, headers = 404, {"error": "no such account"}, {}
            elif dice < 0.15:
                status, body, headers = 500, {"error": "try again"}, {}
            elif dice < 0.20:
                status, body, headers = 429, {"error": "slower"}, {"Retry-After": "0"}
            else:
                status, body, headers = 200, self.data(kind, *rest), {}
            self.answered[status] = self.answered.get(status, 0) + 1
        return status, body, headers

    @staticmethod
    def data(kind, name, day=None):
        if kind == "account":
            return {"account": name, "services": [f"{name}-s{number}" for number in range(SERVICES)]}
        return {"service": name, "day": day, "requests": len(name) * 7}

    def requests(self):
        with self.lock:
            return sum(self.answered.values())

    def close(self):
        self.server.shutdown()
        self.server.server_close()


pool = urllib3.PoolManager(maxsize=32, retries=False)


def get(url):
    """One request; the API's own words for failure become ours."""
    response = pool.request("GET", url)
    if response.status == 404:
        raise NotFoundError("the API does not know it", operation="get", where=url)
    if response.status == 429:
        wait = float(response.headers["Retry-After"])
        raise ThrottledError(
            "the API asks for fewer requests", operation="get", where=url, retry_after_s=wait
        )
    if response.status != 200:
        raise ConnectionLostError(f"the API answered {response.status}", operation="get", where=url)
    return response.json()


def read_account(api, account):
    return get(f"{api}/account/{account}")


def list_services(details):
    return details["services"]


def read_metrics(api, service, day):
    return get(f"{api}/metrics/{service}/{day}")


def as_lines(metrics):
    """The stitch: one JSON line, and the key it goes to."""
    key = f"day={metrics['day']}/{metrics['service']}.json"
    return xd.into((json.dumps(metrics) + "\n").encode(), key=key)


@pytest.fixture
def api():
    api = Api(seed=20261120)
    yield api
    api.close()


def run(api, lake, runner, cache):
    """The whole pipeline; three maps, no barrier."""
    options = {"retries": 12, "cache": cache}
    accounts = xd.task(read_account, name="account", **options)
    services = xd.task(list_services, name="services")
    metrics = xd.CombinedTask(
        xd.task(read_metrics).bind(api.url, xd.param("service"), xd.param("day")),
        lake,
        stitch_function=as_lines,
        name="metrics_to_lake",
        **options,
    )
    found = accounts.map(api=api.url, account=(f"a{number:03d}" for number in range(ACCOUNTS)), runner=runner)
    listed = services.map(details=found, runner=runner)
    saved = metrics.map(service=xd.flatten(listed), day=DAY, runner=runner)
    return found.wait(), listed.wait(), saved.wait()


def test_accounts_services_metrics(api, gcs, tmp_path):
    url, options, server, bucket = gcs
    lake = xd.sink(url + "metrics/", **options)
    cache = f"file://{tmp_path}/cache/"
    expected = (ACCOUNTS - len(BROKEN)) * SERVICES

    with xd.DaskRunner(n_workers=2, threads=8, shard_size=8) as runner:
        found, listed, saved = run(api, lake, runner, cache)
        answered = dict(api.answered)
        again = run(api, lake, runner, cache)
        asked_again = api.requests() - sum(answered.values())

    # The faults were real, and only what is broken for good failed: alone, with what hangs on it.
    assert answered[500] > 0.1 * answered[200]
    assert answered[429] > 0.02 * answered[200]
    assert {outcome.inputs["account"] for outcome in found.failed()} == {repr(name) for name in BROKEN}
    assert found.counts == {State.DONE: ACCOUNTS - len(BROKEN), State.FAILED: len(BROKEN)}
    assert listed.counts == {State.DONE: ACCOUNTS - len(BROKEN), State.UPSTREAM_FAILED: len(BROKEN)}
    assert saved.counts == {State.DONE: expected, State.UPSTREAM_FAILED: len(BROKEN)}

    # Every service of every good account arrived, exactly.
    stored = {
        key.removeprefix(f"metrics/day={DAY}/"): json.loads(found.data)
        for key, found in server.objects(bucket).items()
    }
    assert stored == {
        f"a{number:03d}-s{service}.json": Api.data("metrics", f"a{number:03d}-s{service}", DAY)
        for number in range(ACCOUNTS)
        for service in range(SERVICES)
        if f"a{number:03d}" not in BROKEN
    }

    # No barrier: the last level began before the first had ended.
    first_metrics = min(outcome.started for outcome in saved if outcome.started)
    last_account = max(outcome.started + timedelta(seconds=outcome.duration_s) for outcome in found)
    assert first_metrics < last_account

    # The second run: what was seen is known; only the broken accounts are asked for again.
    found, listed, saved = again
    assert found.counts == {State.CACHED: ACCOUNTS - len(BROKEN), State.FAILED: len(BROKEN)}
    assert saved.counts == {State.CACHED: expected, State.UPSTREAM_FAILED: len(BROKEN)}
    assert all(outcome.attempts == 0 for outcome in saved if outcome.state is State.CACHED)
    assert asked_again == len(BROKEN)
