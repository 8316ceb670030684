"""Notifiers against a real receiver: what arrives, what is tried again, and that the address is nowhere to be seen."""

import hashlib
import hmac
import io
import logging
import pickle
import socket
import ssl
import threading
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import crossdock as xd
from crossdock.model import State
from crossdock.notifications import FailureCause, notifier, notifier_of, post
from crossdock.notifications.message import message_of, slack_body
from crossdock.notifications.record import ended_map
from crossdock.testing import EmbeddedWebhook, Rule

CANARY = "canary-T0B1XyZsecret"
STARTED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ENDED = xd.RunEnded(
    name="migrate",
    run_id="20261121T090000-abcdef",
    status="failed",
    counts={"planned": 3, "copied": 2, "skipped": 0, "failed": 1, "pending": 0},
    bytes=10,
    objects=2,
    started=STARTED,
    duration_s=61.5,
    failures=(FailureCause(reason="denied", count=1, sample="a<b>&`c`: no", hint="grant it"),),
    source="s3://landing/",
    sink="gs://archive/",
    run_dir="s3://ops/run",
    next_command="crossdock runs resume s3://ops/run",
)
DONE = xd.RunEnded(name="migrate", status="done", counts={"planned": 1, "copied": 1})
ITEM = xd.Outcome(
    index=4,
    state=State.FAILED,
    task="pair",
    value=b"payload",
    error=xd.TaskFailed("no such key", task="pair", phase="source"),
    inputs={"key": "'a'"},
    started=STARTED,
)


@pytest.fixture
def hook():
    with EmbeddedWebhook() as server:
        yield server


@pytest.fixture
def address(hook, monkeypatch):
    """Where the receiver is, behind references; the path is what nobody may see."""
    monkeypatch.setenv("HOOK", f"{hook.url}/services/{CANARY}?token={CANARY}")
    monkeypatch.setenv("APPRISE_URL", f"{hook.url.replace('http', 'json')}/services/{CANARY}")
    monkeypatch.setenv("HOOK_KEY", "signing-canary")
    return "env:HOOK"


@pytest.fixture
def pauses(monkeypatch):
    """How long was waited between attempts, without waiting."""
    waited = []
    monkeypatch.setattr(post, "pause", waited.append)
    return waited


@pytest.fixture
def everything():
    """All that any logger says at any level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setLevel(1)
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in ("", "urllib3", "apprise", "requests")}
    for name in before:
        logging.getLogger(name).setLevel(1)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


# -- what arrives --------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_record_in_the_documented_form(hook, address):
    delivery = xd.webhook(address)(ENDED)
    (posted,) = hook.posted
    body = posted.json()

    assert delivery.ok
    assert posted.headers["content-type"] == "application/json"
    assert len(body.pop("delivery")) == 32
    assert body == {
        "version": 1,
        "type": "run_ended",
        "ok": False,
        "name": "migrate",
        "run_id": "20261121T090000-abcdef",
        "status": "failed",
        "counts": {"planned": 3, "copied": 2, "skipped": 0, "failed": 1, "pending": 0},
        "bytes": 10,
        "objects": 2,
        "rows": 0,
        "started": "2026-11-21T09:00:00+00:00",
        "duration_s": 61.5,
        "failures": [{"reason": "denied", "count": 1, "sample": "a<b>&`c`: no", "hint": "grant it"}],
        "source": "s3://landing/",
        "sink": "gs://archive/",
        "run_dir": "s3://ops/run",
        "next_command": "crossdock runs resume s3://ops/run",
        "error": "",
    }


def test_an_items_record_has_no_payload(hook, address):
    xd.webhook(address)(ITEM)
    (posted,) = hook.posted
    body = posted.json()

    assert (body["type"], body["state"], body["index"], body["inputs"]) == (
        "item_ended",
        "failed",
        4,
        {"key": "'a'"},
    )
    assert "no such key" in body["error"]
    assert b"payload" not in posted.body


def test_a_signature_lets_the_receiver_tell_who_sent_it(hook, address):
    xd.webhook(address, signature="env:HOOK_KEY")(ENDED)
    (posted,) = hook.posted
    expected = hmac.new(b"signing-canary", posted.body, hashlib.sha256).hexdigest()

    assert posted.headers["x-crossdock-signature"] == f"sha256={expected}"


def test_slack_gets_text_and_blocks_in_which_nothing_from_outside_has_a_meaning(hook, address):
    hostile = xd.RunEnded(
        name="m<!channel>",
        status="failed",
        failures=(FailureCause(reason="denied", count=2, sample="<!here> `a` & b\n*c*"),),
        next_command="crossdock runs resume 'a>b'",
    )
    xd.slack(address)(hostile)
    body = hook.posted[0].json()
    texts = [block["text"]["text"] for block in body["blocks"]]

    assert body["text"] == "crossdock m&lt;!channel&gt; failed"
    assert {(block["type"], block["text"]["type"]) for block in body["blocks"]} == {("section", "mrkdwn")}
    assert texts[1] == "*2 x denied*\n`&lt;!here&gt; \u02b9a\u02b9 &amp; b *c*`"
    assert texts[2] == "next: `crossdock runs resume 'a&gt;b'`"


def test_slack_blocks_keep_slacks_limits_whatever_a_key_is_like():
    long = xd.RunEnded(
        name="m",
        status="failed",
        error="<" * 5_000,
        failures=tuple(FailureCause(reason=str(n), count=1, sample="&" * 1_000) for n in range(5)),
    )
    blocks = slack_body(message_of(long))["blocks"]

    assert len(blocks) <= 50
    assert max(len(block["text"]["text"]) for block in blocks) <= 3_000


def test_apprise_reaches_its_services(hook, address):
    delivery = xd.apprise("env:APPRISE_URL")(ENDED)
    body = hook.posted[0].json()

    assert delivery.ok
    assert (body["title"], body["type"]) == ("crossdock migrate failed", "failure")
    assert "next: crossdock runs resume s3://ops/run" in body["message"]


@pytest.mark.parametrize(
    ("on", "told"),
    [
        ("completion", ["failed", "done", "interrupted", "refused"]),
        ("failure", ["failed", "interrupted", "refused"]),
        ("success", ["done"]),
    ],
)
def test_on_says_of_which_ends_is_told(hook, address, on, told):
    for status in ("failed", "done", "interrupted", "refused"):
        xd.webhook(address, on=on)(xd.RunEnded(name="m", status=status))

    assert [posted.json()["status"] for posted in hook.posted] == told


def test_file_and_cmd_references_are_read_when_they_are_needed(hook, tmp_path):
    place = tmp_path / "hook"
    place.write_text(f"{hook.url}/one\nsecond line\n")
    by_file, by_cmd = xd.webhook(f"file:{place}"), xd.webhook(f"cmd:cat {place}")
    by_file.check()
    by_cmd.check()
    by_file(DONE)
    place.write_text(f"{hook.url}/two\n")  # rotated meanwhile
    by_cmd(DONE)

    assert [posted.path for posted in hook.posted] == ["/one", "/two"]


def test_user_and_password_of_a_url_are_a_header(hook, monkeypatch):
    monkeypatch.setenv("HOOK", hook.url.replace("http://", "http://me:p%40ss@") + "/x")
    xd.webhook("env:HOOK")(DONE)

    assert hook.posted[0].headers["authorization"] == "Basic bWU6cEBzcw=="
    assert hook.posted[0].path == "/x"


def test_the_environments_proxy_is_used(hook, monkeypatch):
    monkeypatch.setenv("HOOK", f"http://hooks.invalid/{CANARY}")
    monkeypatch.setenv("http_proxy", hook.url)
    monkeypatch.setenv("no_proxy", "localhost")
    delivery = xd.webhook("env:HOOK")(DONE)

    assert delivery.ok
    assert [posted.headers["host"] for posted in hook.posted] == ["hooks.invalid"]


def test_a_proxy_that_refuses_is_named_as_such(hook, monkeypatch, pauses):
    monkeypatch.setenv("HOOK", f"https://hooks.invalid/{CANARY}")
    monkeypatch.setenv("https_proxy", hook.url)
    monkeypatch.setenv("no_proxy", "localhost")
    delivery = xd.webhook("env:HOOK")(DONE)

    assert hook.faults.requests == {"other": 3}  # CONNECT
    assert delivery.cause == "the proxy does not answer"


# -- what is tried again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [xd.slack, xd.webhook])
def test_what_may_pass_is_tried_again_with_the_same_delivery(hook, address, pauses, make):
    rule = hook.faults.add(Rule(operation="post", status=500, first=1))
    lost = hook.faults.add(Rule(operation="post", lose_ack=True, skip=1, first=1))
    delivery = make(address)(ENDED)

    assert (hook.faults.fired[rule], hook.faults.fired[lost]) == (1, 1)
    assert (delivery.ok, delivery.attempts) == (True, 3)
    assert pauses == [0.5, 1.0]
    assert len({posted.body for posted in hook.posted}) == 1
    assert len(hook.posted) == 2  # the lost acknowledgement: the receiver tells by the delivery's id


def test_a_server_that_keeps_failing_is_asked_three_times(hook, address, pauses, caplog):
    rule = hook.faults.add(Rule(operation="post", status=503))
    delivery = xd.webhook(address)(ENDED)

    assert hook.faults.fired[rule] == 3
    assert (delivery.ok, delivery.cause) == (False, "answered 503")
    assert [record.getMessage() for record in caplog.records] == [
        "a notification by webhook env:HOOK failed: answered 503 (after 3 attempts)"
    ]


def test_retry_after_is_waited_for(hook, address, pauses):
    rule = hook.faults.add(Rule(operation="post", status=429, retry_after_s=7, first=1))
    delivery = xd.slack(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert delivery.ok
    assert pauses == [7.0]


def test_retry_after_as_a_date_is_waited_for(hook, address, pauses):
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    rule = hook.faults.add(
        Rule(operation="post", status=503, headers=(("Retry-After", when),), first=1, name="later")
    )
    xd.slack(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert 0 < pauses[0] <= 10


def test_a_server_that_asks_for_an_hour_does_not_get_it(hook, address, pauses):
    rule = hook.faults.add(Rule(operation="post", status=429, retry_after_s=3_600))
    delivery = xd.slack(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert delivery.cause == "answered 429, and asked to wait 3600 s"
    assert pauses == []


def test_after_ctrl_c_patience_is_short(hook, address, pauses):
    """Seven seconds are too long for a person who waits for the prompt, and nothing after a night."""
    rule = hook.faults.add(Rule(operation="post", status=429, retry_after_s=7))
    delivery = xd.slack(address)(xd.RunEnded(name="m", status="interrupted"))

    assert hook.faults.fired[rule] == 1
    assert not delivery.ok
    assert pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(hook, address, pauses, status):
    rule = hook.faults.add(Rule(operation="post", status=status))
    delivery = xd.webhook(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert (delivery.cause, delivery.attempts) == (f"answered {status}", 1)


def test_slacks_own_word_for_a_refusal_is_told(hook, address):
    rule = hook.faults.add(Rule(operation="post", status=404, body="no_service"))
    delivery = xd.slack(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert delivery.cause == "answered 404 (no_service)"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(hook, address, status):
    """The record would go where nobody meant it to go."""
    rule = hook.faults.add(
        Rule(operation="post", status=status, headers=(("Location", f"{hook.url}/elsewhere"),), first=1)
    )
    delivery = xd.webhook(address)(ENDED)

    assert hook.faults.fired[rule] == 1
    assert delivery.cause == f"answered {status}: redirects are not followed"
    assert sum(hook.faults.requests.values()) == 1
    assert hook.posted == []


def test_a_server_that_hangs_is_given_up(hook, address, pauses):
    rule = hook.faults.add(Rule(operation="post", delay_s=60))
    delivery = xd.webhook(address, timeout=0.2)(ENDED)

    assert hook.faults.fired[rule] == 3
    assert (delivery.cause, delivery.attempts) == ("no answer within 0.2 s", 3)


def test_a_port_nobody_listens_on(monkeypatch, pauses, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}/{CANARY}")
    delivery = xd.webhook("env:HOOK")(ENDED)

    assert (delivery.cause, delivery.attempts) == ("its server takes no connections", 3)
    assert CANARY not in caplog.text


@contextmanager
def serving(answer):
    """One thread that does with each connection what a test says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def run():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                taken.append(sock)
                with sock:
                    answer(sock)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", taken
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_server_that_trickles_for_ever_holds_nothing_up(monkeypatch):
    """Each byte is progress, so no timeout ends it; the bound does."""
    ended = threading.Event()

    def trickle(sock):
        sock.recv(65_536)
        while not ended.wait(0.02):
            try:
                sock.sendall(b"H")
            except OSError:
                return

    monkeypatch.setattr(notifier, "BUDGET_S", 0.5)
    with serving(trickle) as (place, taken):
        monkeypatch.setenv("HOOK", f"http://{place}/{CANARY}")
        delivery = xd.webhook("env:HOOK", timeout=5)(ENDED)
        ended.set()

        assert len(taken) == 1
        assert delivery.cause == "not delivered within 0.5 s"


def test_a_server_that_hangs_up_without_an_answer(monkeypatch, pauses):
    with serving(lambda sock: sock.recv(65_536)) as (place, taken):
        monkeypatch.setenv("HOOK", f"http://{place}/{CANARY}")
        delivery = xd.webhook("env:HOOK")(ENDED)

        assert len(taken) == 3
        assert delivery.cause == "the connection broke off"


def test_a_certificate_nobody_vouches_for_is_refused(monkeypatch, tmp_path, pauses):
    handshakes = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))

    def shake_hands(sock):
        try:
            context.wrap_socket(sock, server_side=True)
        except ssl.SSLError as error:
            handshakes.append(error.reason)

    with serving(shake_hands) as (place, _):
        monkeypatch.setenv("HOOK", f"https://{place}/{CANARY}")
        delivery = xd.webhook("env:HOOK")(ENDED)

    assert delivery.cause == "its certificate could not be verified, or it speaks no TLS"
    assert delivery.attempts == 1
    assert handshakes == ["TLSV1_ALERT_UNKNOWN_CA"]


def _self_signed(tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    place = tmp_path / "server.pem"
    place.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return place


# -- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [xd.slack, xd.webhook, xd.apprise])
@pytest.mark.parametrize(
    "literal",
    [f"https://hooks.example.com/{CANARY}", xd.Secret(CANARY), f"envHOOK{CANARY}", 3, None, "env:", "cmd: "],
)
def test_an_address_in_code_is_refused_and_not_repeated(make, literal):
    with pytest.raises(xd.ConfigError) as caught:
        make(literal)

    assert CANARY not in str(caught.value)
    assert "env:" in str(caught.value)


def test_a_signing_key_in_code_is_refused():
    with pytest.raises(xd.ConfigError) as caught:
        xd.webhook("env:HOOK", signature=CANARY)

    assert CANARY not in str(caught.value)


def test_a_notifier_is_pickled_and_printed_as_its_reference(address):
    for made in (
        xd.slack(address),
        xd.webhook(address, signature="env:HOOK_KEY"),
        xd.apprise("env:APPRISE_URL"),
    ):
        made.check()
        data = pickle.dumps(made)

        assert CANARY.encode() not in data
        assert pickle.loads(data) == made  # noqa: S301 - our own
        assert CANARY not in f"{made!r} {made}"


def test_of_a_command_only_the_first_word_is_shown():
    assert repr(xd.slack(f"cmd:vault read {CANARY}")) == "<notifier slack cmd:vault on completion>"


def test_a_command_that_gives_nothing_is_not_repeated_either(caplog):
    made = xd.webhook(f"cmd:false --token {CANARY}")
    with pytest.raises(xd.ConfigError, match="the secret reference cmd:false gives nothing") as caught:
        made.check()
    delivery = made(DONE)

    assert not delivery.ok
    assert CANARY not in f"{''.join(traceback.format_exception(caught.value))} {caplog.text} {delivery}"


def _trouble(server):
    return {
        "not found": Rule(operation="post", status=404),
        "broken": Rule(operation="post", status=500),
        "moved": Rule(operation="post", status=302, headers=(("Location", f"{server.url}/{CANARY}"),)),
        "reset": Rule(operation="post", reset=True),
        "stalled": Rule(operation="post", delay_s=60),
        "fine": None,
    }


@pytest.mark.parametrize("trouble", ["not found", "broken", "moved", "reset", "stalled", "fine"])
@pytest.mark.parametrize("service", ["slack", "webhook", "apprise"])
def test_no_log_of_any_library_at_any_level_holds_the_address(
    hook, address, pauses, everything, monkeypatch, trouble, service
):
    rule = _trouble(hook)[trouble]
    if rule is not None:
        hook.faults.add(rule)
    if service == "apprise":
        monkeypatch.setenv("APPRISE_URL", f"{hook.url.replace('http', 'json')}/{CANARY}?rto=0.2&redirect=no")
        made = xd.apprise("env:APPRISE_URL")
    else:
        made = (xd.slack if service == "slack" else xd.webhook)(address, timeout=0.2)
    made.check()
    delivery = made(ENDED)
    said = everything.getvalue()

    assert hook.faults.requests["post"] >= 1
    assert delivery.ok == (trouble == "fine")
    assert CANARY not in said
    assert CANARY not in delivery.cause
    assert (f"a notification by {made.place} failed" in said) == (trouble != "fine")


def test_the_guard_is_only_for_the_thread_that_uses_a_secret(hook, address, everything):
    """The filter that hides the address hides nothing of anybody else's requests."""
    import urllib3

    xd.webhook(address)(ENDED)
    urllib3.PoolManager().request("POST", f"{hook.url}/somebody-elses")

    assert CANARY not in everything.getvalue()
    assert "/somebody-elses" in everything.getvalue()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "gives nothing"),
        ("", "is empty"),
        (f"hooks.example.com/{CANARY}", "is not an http or https URL"),
        (f"ftp://hooks.example.com/{CANARY}", "is not an http or https URL"),
        (f"https:///{CANARY}", "is not an http or https URL"),
        (f"https://[{CANARY}", "is not a URL"),
        (f"https://host:{CANARY}/", "is not a URL"),
        (f"https://host/{CANARY} x", "has characters no URL has"),
    ],
)
@pytest.mark.parametrize("make", [xd.slack, xd.webhook])
def test_a_reference_that_leads_nowhere_is_found_before_a_run(monkeypatch, make, value, says):
    monkeypatch.delenv("HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK", value)
    with pytest.raises(xd.ConfigError, match="notify") as caught:
        make("env:HOOK").check()
    text = "".join(traceback.format_exception(caught.value))

    assert says in text
    assert "env:HOOK" in text
    assert CANARY not in text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_apprise_url_that_means_nothing_is_found_before_a_run(monkeypatch, everything):
    monkeypatch.setenv("HOOK", f"nosuchservice://{CANARY}")
    with pytest.raises(xd.ConfigError, match="is no apprise URL") as caught:
        xd.apprise("env:HOOK").check()

    assert CANARY not in str(caught.value) + everything.getvalue()


def test_a_reference_that_is_gone_at_the_end_fails_the_notification_only(address, monkeypatch, caplog):
    made = xd.slack(address)
    made.check()
    monkeypatch.delenv("HOOK")
    delivery = made(ENDED)

    assert not delivery.ok
    assert "env:HOOK gives nothing" in caplog.text


def test_apprise_is_an_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("HOOK", "json://127.0.0.1/")
    with pytest.raises(xd.MissingExtraError, match=r"pip install 'crossdock\[notify\]'"):
        xd.apprise("env:HOOK").check()


# -- what is given -------------------------------------------------------------------------------------------------


def test_the_command_lines_form_makes_the_same_notifiers():
    assert notifier_of("slack=env:A", on="failure") == xd.slack("env:A", on="failure")
    assert notifier_of("webhook=cmd:pass show a=b", signature="env:K") == xd.webhook(
        "cmd:pass show a=b", signature="env:K"
    )
    assert notifier_of("apprise=file:/run/x") == xd.apprise("file:/run/x")


@pytest.mark.parametrize(
    "text", [f"https://{CANARY}", f"slack:{CANARY}", f"slack=https://{CANARY}", f"teams={CANARY}"]
)
def test_another_form_is_refused_and_not_repeated(text):
    with pytest.raises(xd.ConfigError) as caught:
        notifier_of(text)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("option", "value"), [("on", "always"), ("timeout", 0), ("timeout", "5")])
def test_values_that_make_no_sense_are_refused(option, value):
    with pytest.raises(xd.ConfigError, match=option):
        xd.slack("env:HOOK", **{option: value})


def test_one_map_sends_ten_messages_about_items_and_says_so(hook, address, caplog):
    made = xd.webhook(address)
    for index in range(25):
        made(xd.Outcome(index=index, state=State.FAILED, task="t", run_id="one-map"))
    made(xd.Outcome(index=0, state=State.FAILED, task="t", run_id="another-map"))
    made(xd.Outcome(index=0, state=State.FAILED, task="t"))

    assert [posted.json()["run_id"] for posted in hook.posted] == ["one-map"] * 10 + ["another-map", ""]
    assert (
        caplog.text.count("webhook env:HOOK was told of 10 items of map one-map and is told of no more") == 1
    )


# -- the record of a map -------------------------------------------------------------------------------------------


def test_the_record_of_a_map_adds_up_and_groups_causes():
    def failed(index, cause):
        error = xd.TaskFailed(str(cause), task="t")
        error.__cause__ = cause
        return xd.Outcome(index=index, state=State.FAILED, error=error, bytes=1)

    kinds = [ValueError, KeyError, OSError, TypeError, IndexError, EOFError]
    outcomes = [failed(n, kind(f"cause {n}")) for n, kind in enumerate([*kinds, ValueError])]
    outcomes += [
        xd.Outcome(index=7, state=State.DONE, bytes=5, objects=1, rows=3),
        xd.Outcome(index=8, state=State.CACHED),
        xd.Outcome(index=9, state=State.UPSTREAM_FAILED, error=xd.TaskFailed("not run")),
    ]
    ended = ended_map(outcomes, name="t", run_id="r", started=STARTED, duration_s=2.0)

    assert ended.status == "failed"
    assert ended.counts == {"failed": 7, "done": 1, "cached": 1, "upstream_failed": 1}
    assert (ended.bytes, ended.objects, ended.rows) == (12, 1, 3)
    assert len(ended.failures) == 5
    assert (ended.failures[0].reason, ended.failures[0].count) == ("ValueError", 2)
    assert "cause 0" in ended.failures[0].sample
    assert pickle.loads(pickle.dumps(ended)) == ended  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, "done"),
        ({"interrupted": True}, "interrupted"),
        ({"error": KeyboardInterrupt()}, "interrupted"),
        ({"error": OSError("no runner")}, "failed"),
        ({"outcomes": [State.CANCELLED, State.DONE]}, "interrupted"),
        ({"outcomes": [State.CANCELLED, State.FAILED]}, "failed"),
        ({"outcomes": [State.UPSTREAM_FAILED, State.CACHED]}, "failed"),
        ({"outcomes": [State.CACHED, State.SKIPPED]}, "done"),
        ({"outcomes": []}, "done"),
    ],
)
def test_the_status_of_a_map(given, status):
    given = {"outcomes": [State.DONE], **given}
    states = given.pop("outcomes")
    outcomes = [xd.Outcome(index=number, state=state) for number, state in enumerate(states)]

    assert ended_map(outcomes, name="t", run_id="r", started=None, duration_s=0, **given).status == status
