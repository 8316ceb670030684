"""Faults of trust: credentials that expire, clocks that are wrong, servers that are not who they say they are."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import self_signed, service_account
from fault_kit import LARGE, OLD, SMALL, Bench, new_bucket, prepare

from crossdock.errors import Retry
from crossdock.testing import FaultProxy

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])


def cell(bench, size):
    return f"{bench.route} {'large' if size == LARGE else 'small'}"


@contextlib.contextmanager
def issuing(issue):
    """A server of credentials: each request gets what ``issue`` says of its number; yields its URL and the count."""
    issued, lock = [], threading.Lock()

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                issued.append(None)
                body = json.dumps(issue(len(issued))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", issued
        finally:
            server.shutdown()
            thread.join()


def mark_each(bench, pattern):
    """Rules that change nothing and count which credential a part came with."""
    for number in range(1, 40):
        bench.sink.wrong(
            operation="part.put", header=pattern % number, delay_s=0, name=f"credential {number}"
        )


def marks(bench):
    return {
        name: count
        for name, count in bench.sink.server.faults.fired.items()
        if name.startswith("credential") and count
    }


@pytest.mark.fault("credentials-expire")
def test_s3_credentials_expire_during_the_transfer(servers, monkeypatch, tmp_path, record):
    """Temporary credentials of a minute: renewed by the chain between two parts of one upload."""
    bench = Bench(source=new_bucket(servers["gcs"]), sink=new_bucket(servers["s3"]), route="s3")
    body = prepare(bench, LARGE)

    def issue(number):
        ends = datetime.now(UTC) + timedelta(seconds=60)
        return {
            "AccessKeyId": f"KEY{number}",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    mark_each(bench, "authorization: .*Credential=KEY%d/")
    with issuing(issue) as (url, issued):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        # The region makes this identity another one than those of other tests: it is kept for the process.
        bench.sink = dataclasses.replace(
            bench.sink, options={"endpoint_url": servers["s3"].url, "region": f"test-{id(bench)}"}
        )
        receipt, error = bench._run({})

    assert error is None
    assert (receipt.parts, bench.sink.held("k")) == (3, body)
    assert len(issued) >= 3
    assert len(marks(bench)) >= 2, "one credential was used for all parts: nothing expired"
    record("credentials-expire", "s3 large", "exact")


@pytest.mark.fault("credentials-expire")
def test_a_gcs_token_is_refused_during_the_transfer(servers, monkeypatch, record):
    """Another token is fetched and the same upload goes on."""
    monkeypatch.setattr(
        "crossdock.connectors.gcs.credentials._YOUNG_S", 0.0
    )  # or ten seconds would have to pass
    bench = Bench(source=new_bucket(servers["s3"]), sink=new_bucket(servers["gcs"]), route="gcs")
    body = prepare(bench, LARGE)
    mark_each(bench, "authorization: Bearer token%d$")
    bench.sink.wrong(operation="part.put", skip=1, header="Bearer token1$", status=401, name="refused")

    def issue(number):
        return {"access_token": f"token{number}", "expires_in": 3600, "token_type": "Bearer"}

    with issuing(issue) as (url, issued):
        bench.sink = dataclasses.replace(
            bench.sink, options={"endpoint_url": servers["gcs"].url, "token": service_account(url)}
        )
        receipt, error = bench._run({})

    assert error is None
    assert (receipt.parts, bench.sink.held("k")) == (3, body)
    assert servers["gcs"].faults.fired["refused"] >= 1
    assert (len(issued), set(marks(bench))) == (2, {"credential 1", "credential 2"})
    record("credentials-expire", "gcs large", "exact")


def s3_error(code, message):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


@SIZES
@pytest.mark.fault("credentials-expire")
def test_credentials_that_cannot_be_renewed(writing, size, record):
    """Static ones, expired: loud at once, with what to do; nothing is tried again, nothing is left."""
    body = prepare(writing, size)
    answer = {"s3": {"status": 400, "body": s3_error("ExpiredToken", "The provided token has expired.")}}
    answer["gcs"] = {"status": 401}
    operation = "part.put" if size == LARGE else "object.insert"
    writing.sink.wrong(operation=operation, **answer[writing.route], name="expired")

    outcome = writing.copy(body)

    assert outcome.fired["expired"] <= 3
    assert "credentials" in outcome.error.hint
    record("credentials-expire", f"{cell(writing, size)} static", outcome.ending)


@SIZES
@pytest.mark.fault("clock-skew")
def test_a_clock_that_is_wrong(servers, size, record):
    """S3 refuses what was signed too long ago; the clock is named. GCS's tokens carry no time of ours."""
    bench = Bench(source=new_bucket(servers["gcs"]), sink=new_bucket(servers["s3"]), route="s3")
    body = prepare(bench, size)
    message = s3_error(
        "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."
    )
    operation = "upload.begin" if size == LARGE else "object.insert"
    bench.sink.wrong(operation=operation, status=403, body=message)

    outcome = bench.copy(body)

    assert "clock" in outcome.error.hint
    record("clock-skew", cell(bench, size), outcome.ending)


@pytest.mark.parametrize("end", ["source", "sink"])
@pytest.mark.fault("bad-tls")
def test_a_certificate_nobody_vouches_for(writing, end, tmp_path, record):
    """Refused at the first handshake, by each engine, without another try and without an option to look away."""
    body = prepare(writing)
    side = getattr(writing, end)
    tls, _ = self_signed(tmp_path)
    with FaultProxy(side.server.url, speaks=side.kind, tls=tls) as proxy:
        setattr(writing, end, dataclasses.replace(side, options={**side.options, "endpoint_url": proxy.url}))
        receipt, error = writing._run({})

    assert receipt is None
    assert (error.retry, proxy.faults.fired, proxy.faults.requests) == (Retry.NEVER, {"TLS refused": 1}, {})
    assert "TLS" in str(error)
    assert (side.held("k"), writing.sink.held("k")) == (body if end == "source" else OLD, OLD)
    record("bad-tls", f"{side.kind} {end}", type(error).__name__)


@pytest.mark.fault("bad-tls")
def test_a_certificate_of_ones_own_that_is_trusted(servers, tmp_path, record):
    """The same proxy passes once its certificate is named: it was the certificate that was refused."""
    bench = Bench(source=new_bucket(servers["gcs"]), sink=new_bucket(servers["s3"]), route="s3")
    body = prepare(bench)
    tls, bundle = self_signed(tmp_path)
    with FaultProxy(servers["s3"].url, speaks="s3", tls=tls) as proxy:
        bench.sink = dataclasses.replace(
            bench.sink,
            options={**bench.sink.options, "endpoint_url": proxy.url, "ca_bundle": str(bundle)},
        )
        receipt, error = bench._run({})

    assert error is None
    assert (receipt.verification.name, bench.sink.held("k")) == ("V2", body)
    record("bad-tls", "s3 sink, trusted", "exact")
