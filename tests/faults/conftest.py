"""Servers and benches of this room, and the record of how each fault ends.

``--record-faults`` writes ``outcomes.json`` anew from what the tests that ran have seen; without it each ending is
compared with the record, so that a change of behaviour is a decision and the published page is what was shown.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_kit import ROUTES, Bench, new_bucket
from fault_matrix import OUTCOMES, read_outcomes

from crossdock.connectors import layers
from crossdock.connectors.gcs import client
from crossdock.connectors.s3 import connection
from crossdock.testing import EmbeddedGCS, EmbeddedS3

_seen = pytest.StashKey[dict[str, dict[str, set[str]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-faults", action="store_true", help="write the endings of faults that ran to outcomes.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(id, ...): the faults of the matrix that the test is of")
    config.stash[_seen] = {}


_controls = pytest.StashKey[subprocess.Popen[str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The controls are looked at last: until then they run in a process of their own."""
    items.sort(key=lambda item: item.path.name == "test_faults_controls.py")


def pytest_collection_finish(session: pytest.Session) -> None:
    """The controls take long and mostly wait: begun now, they run beside the other tests."""
    wanted = any(item.path.name == "test_faults_controls.py" for item in session.items)
    if wanted and not session.config.getoption("collectonly"):
        session.config.stash[_controls] = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fault_controls.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    process = config.stash.get(_controls, None)
    if process is not None:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def control_process(request: pytest.FixtureRequest) -> subprocess.Popen[str]:
    """The negative controls, running."""
    return request.config.stash[_controls]


@pytest.fixture(scope="session")
def seen_key() -> pytest.StashKey[dict[str, dict[str, set[str]]]]:
    """Where endings are kept until the session ends."""
    return _seen


def pytest_sessionfinish(session: pytest.Session) -> None:
    seen = session.config.stash[_seen]
    if not session.config.getoption("--record-faults", default=False) or not seen:
        return
    outcomes = read_outcomes()
    for fault, cells in seen.items():
        outcomes[fault] = outcomes.get(fault, {}) | {cell: sorted(endings) for cell, endings in cells.items()}
    OUTCOMES.write_text(
        json.dumps(dict(sorted(outcomes.items())), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``record(fault, cell, ending)``: note an ending, or compare it with those on record."""
    seen, records = request.config.stash[_seen], request.config.getoption("--record-faults", default=False)

    def note(fault: str, cell: str, ending: str) -> None:
        assert any(fault in mark.args for mark in request.node.iter_markers("fault")), (
            f"the test is not marked {fault}"
        )
        if records:
            seen.setdefault(fault, {}).setdefault(cell, set()).add(ending)
        else:
            assert ending in read_outcomes().get(fault, {}).get(cell, []), (
                "not as published: see --record-faults"
            )

    return note


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait, so that nothing here depends on time; Retry-After is obeyed."""

    def short(_: int, error: BaseException | None) -> float:
        return getattr(error, "retry_after_s", None) or 0.0

    monkeypatch.setattr(layers, "backoff_s", short)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", short)


@pytest.fixture(autouse=True)
def _few_descriptors() -> Iterator[None]:
    """A process keeps its clients of every bucket it ever met, and this one meets hundreds."""
    yield
    if len(connection._connections) + len(client._clients) > 60:
        connection._connections.clear()
        client._clients.clear()
        gc.collect()


@pytest.fixture(scope="session")
def _s3() -> Iterator[EmbeddedS3]:
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="session")
def _gcs() -> Iterator[EmbeddedGCS]:
    with EmbeddedGCS() as server:
        yield server


@pytest.fixture
def servers(_s3: EmbeddedS3, _gcs: EmbeddedGCS) -> Iterator[dict[str, Any]]:
    """Both servers without rules and with counters at zero."""
    found = {"s3": _s3, "gcs": _gcs}
    for server in found.values():
        server.faults.clear()
        server.faults.reset_counters()
    yield found
    for server in found.values():
        server.faults.clear()


@pytest.fixture(params=ROUTES)
def reading(request: pytest.FixtureRequest, servers: dict[str, Any]) -> Bench:
    """The route under test reads; the other cloud is written to."""
    kind, key = ROUTES[request.param]
    other = {"s3": "gcs", "gcs": "s3"}[kind]
    return Bench(
        source=new_bucket(servers[kind]), sink=new_bucket(servers[other]), key=key, route=request.param
    )


@pytest.fixture(params=["s3", "gcs"])
def writing(request: pytest.FixtureRequest, servers: dict[str, Any]) -> Bench:
    """The cloud under test is written to; the other one is read."""
    other = {"s3": "gcs", "gcs": "s3"}[request.param]
    return Bench(
        source=new_bucket(servers[other]), sink=new_bucket(servers[request.param]), route=request.param
    )
