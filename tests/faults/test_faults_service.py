"""Faults of a service as a whole: overloaded, or unreachable."""

from __future__ import annotations

import dataclasses
import socket
import threading

import pytest
from fault_kit import LARGE, OLD, SMALL, Bench, body_of, new_bucket, prepare

import crossdock as xd
from crossdock.connectors import layers
from crossdock.errors import Retry
from crossdock.events import Retried
from crossdock.testing import EmbeddedGCS, EmbeddedS3, FaultProxy, Faults, Rule

ATTEMPTS = layers.ATTEMPTS
PATIENCE_S = 20


def cell(bench, size):
    return f"{bench.route} {'large' if size == LARGE else 'small'}"


SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture
def proxied(writing):
    """The sink behind a proxy of its own."""
    with FaultProxy(writing.sink.server.url, speaks=writing.sink.kind) as proxy:
        yield through(writing, proxy.url), proxy


def through(bench, url):
    """The same bench with its sink at another address."""
    bench.sink = dataclasses.replace(bench.sink, options={**bench.sink.options, "endpoint_url": url})
    return bench


def many(bench, count=40):
    bodies = {f"d/{number:03d}": bytes([number]) * (number * 7) for number in range(count)}
    for key, body in bodies.items():
        bench.source.put(key, body)
    bench.key = "d/"
    for side in (bench.source, bench.sink):
        side.server.faults.reset_counters()
    return bodies


def migrate(bench, place):
    return xd.migrate(
        bench.source_url,
        bench.sink_url,
        source_options={**bench.source.options, **bench.timeouts},
        sink_options={**bench.sink.options, **bench.timeouts, **bench.transfer},
        run_dir=f"{place}/run",
    )


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


def held(bench):
    """What is there; what writes leave behind is looked for apart."""
    found = bench.sink.server.objects(bench.sink.bucket).items()
    return {key: bytes(stored.data) for key, stored in found if not key.startswith(".crossdock/")}


@pytest.mark.fault("slowdown-while")
def test_a_service_that_asks_for_less_for_a_while(writing, tmp_path, record):
    """Both ends throttle; nothing is lost, and no more is asked again than was refused."""
    bodies = many(writing)
    for side in (writing.source, writing.sink):
        side.wrong(
            operation="object.[gi]*", every=2, first=40, status=503, retry_after_s=0, name=f"{side.kind} slow"
        )

    report = migrate(writing, tmp_path)

    assert numbers(report) == (40, 40, 0, 0, 0)
    assert bodies == held(writing)
    for side, operation in ((writing.source, "object.get"), (writing.sink, "object.insert")):
        refused = side.server.faults.fired[f"{side.kind} slow"]
        assert refused == 20
        assert side.server.faults.requests[operation] <= 40 + refused
    record("slowdown-while", writing.route, "exact")


@SIZES
@pytest.mark.fault("slowdown-forever")
def test_a_service_that_asks_for_less_for_ever(writing, size, record):
    """Given up after a bounded number of requests, and the next layer is told not to multiply them."""
    body = prepare(writing, size)
    operation = "part.put" if size == LARGE else "object.insert"
    writing.sink.wrong(operation=operation, status=503, name="slow")

    outcome = writing.copy(body)

    assert outcome.error.retry is Retry.EXHAUSTED
    assert outcome.fired["slow"] <= ATTEMPTS * (3 if size == LARGE else 1)
    record("slowdown-forever", cell(writing, size), outcome.ending)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.fault("random-500")
def test_a_fifth_of_all_requests_fails(kind, seed, tmp_path, record):
    """At both ends and for every operation; each failure costs one request more, and none an object."""
    makers = {"s3": EmbeddedS3, "gcs": EmbeddedGCS}
    other = "gcs" if kind == "s3" else "s3"
    with makers[other](faults=Faults(seed=seed)) as from_, makers[kind](faults=Faults(seed=seed)) as to:
        bench = Bench(source=new_bucket(from_), sink=new_bucket(to), route=kind)
        bodies = many(bench, 60) | {"d/large": body_of(LARGE)}
        bench.source.put("d/large", bodies["d/large"])
        for server in (from_, to):
            server.faults.reset_counters()
            server.faults.add(Rule(operation="*", status=500, probability=0.2, name="500"))

        report = migrate(bench, tmp_path)

        assert numbers(report) == (61, 61, 0, 0, 0)
        assert bodies == held(bench)
        for server, operations in ((from_, {"object.get": 64}), (to, {"object.insert": 60, "part.put": 3})):
            assert server.faults.fired["500"] >= 5
            asked = sum(server.faults.requests[name] for name in operations)
            assert asked <= sum(operations.values()) + server.faults.fired["500"]
        bench.clean()
        assert bench.sink.left() == []
    record("random-500", kind, "exact")


def nowhere(host, *_args, **_kwargs):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("end", ["source", "sink"])
@pytest.mark.fault("dns-gone")
def test_a_name_that_does_not_resolve(servers, end, monkeypatch, record):
    """Said within seconds, with the place to look at. No resolver is asked."""
    bench = Bench(source=new_bucket(servers["s3"]), sink=new_bucket(servers["gcs"]))
    body = prepare(bench)
    servers["s3"].faults.add(Rule(operation="nothing.*", reset=True, name="unused"))
    # obstore asks the system, which does not send a question with so long a name; urllib3 asks Python.
    name = f"http://{'n' * 64}.test:1" if end == "source" else "http://gone.test:1"
    side = dataclasses.replace(
        getattr(bench, end), options={**getattr(bench, end).options, "endpoint_url": name}
    )
    setattr(bench, end, side)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere) if end == "sink" else None

    receipt, error = bench._run({})

    monkeypatch.undo()
    assert receipt is None
    assert "endpoint_url" in error.hint
    assert (bench.sink.held("k"), bench.source.held("k")) == (OLD, body)
    record("dns-gone", f"{side.kind} {end}", type(error).__name__)


@SIZES
@pytest.mark.fault("port-refused")
def test_a_port_that_refuses(proxied, size, record):
    """From the start: a wrong address, said at once."""
    bench, proxy = proxied
    body = prepare(bench, size)
    proxy.faults.add(Rule(status=500, name="never"))
    with proxy.refusing():
        receipt, error = bench._run({})

    assert receipt is None
    assert "refused" in str(error)
    assert proxy.faults.fired == {"never": 0}
    assert (bench.sink.held("k"), bench.source.held("k")) == (OLD, body)
    record("port-refused", f"{cell(bench, size)} for ever", type(error).__name__)


@pytest.mark.fault("port-refused")
def test_a_port_that_refuses_for_a_while(proxied, monkeypatch, record):
    """In the middle of an object: the connections that stood are cut, new ones refused; the same upload goes on."""
    bench, proxy = proxied
    body = prepare(bench, LARGE)
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.05)
    refused, threads = threading.Event(), []

    def gone():
        with proxy.refusing():
            refused.wait(PATIENCE_S)

    def go():
        threads.append(threading.Thread(target=gone))
        threads[0].start()

    def hear(event):
        if isinstance(event, Retried) and "refused" in event.cause:
            refused.set()

    proxy.faults.add(Rule(operation="part.put", skip=1, first=1, act=go, name="gone"))
    bench.sink.server.faults.add(Rule(operation="part.put", delay_s=0, name="arrived"))

    outcome = bench.copy(body, observer=hear, resends={"sink part.put": 3 * ATTEMPTS})
    threads[0].join(PATIENCE_S)

    assert refused.is_set()
    assert proxy.faults.fired["gone"] == 1
    record("port-refused", f"{cell(bench, LARGE)} for a while", outcome.ending)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.fault("black-hole")
def test_a_service_that_swallows_everything(writing, size, record):
    """Requests go in and no answer comes, twice; then it is back."""
    body = prepare(writing, size)
    writing.hasty(0.4)
    operation = "part.put" if size == LARGE else "object.insert"
    writing.sink.wrong(operation=operation, first=2, black_hole=True)

    outcome = writing.copy(body)

    record("black-hole", f"{cell(writing, size)} for a while", outcome.ending)


@pytest.mark.fault("black-hole")
def test_an_address_that_neither_accepts_nor_refuses(proxied, record):
    """As behind a dead firewall: given up after the connect timeout, a bounded number of times."""
    bench, proxy = proxied
    prepare(bench)
    bench.timeouts["connect_timeout_s"] = 0.1
    with proxy.unreachable() as url:
        receipt, error = through(bench, url)._run({})

    assert receipt is None
    assert "connect" in str(error)
    assert bench.sink.held("k") == OLD
    record("black-hole", f"{bench.route} for ever", type(error).__name__)
