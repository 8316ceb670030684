"""Fault rules: whom they hit, when, what a client sees, and that the counters are honest."""

import base64
import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import google_crc32c
import pytest

from crossdock.testing import EmbeddedGCS, Faults, Rule
from crossdock.testing.gcs import Content, Metadata as StoredMetadata

QUANTUM = 256 << 10
ZEROS = base64.b64encode(google_crc32c.value(bytes(4)).to_bytes(4, "big")).decode()


@pytest.fixture
def gcs():
    with EmbeddedGCS() as server:
        yield server


@pytest.fixture
def call(gcs):
    """Send one request on a connection of its own; returns the response, read, or raises what http.client raises."""

    def send(method, target, body=None, headers=None):
        connection = http.client.HTTPConnection(urlsplit(gcs.url).netloc, timeout=10)
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            response.body = response.read()
            return response
        finally:
            connection.close()

    return send


def decide(faults, **changes):
    request = {"operation": "object.get", "method": "GET", "target": "/b/x?y=1", "bucket": "b", "key": "x"}
    return faults.decide(**(request | changes))


def test_all_matches_of_a_rule_must_hold():
    faults = Faults(
        rules=(Rule(operation="object.*", method="GET", path="y=1", bucket="b", key="^x$", reset=True),)
    )

    assert decide(faults) is not None
    for change in (
        {"operation": "part.put"},
        {"method": "PUT"},
        {"target": "/b/x"},
        {"bucket": "c"},
        {"key": "xx"},
    ):
        assert decide(faults, **change) is None


def test_skip_first_and_every_choose_among_the_matches():
    def hits(**when):
        faults = Faults(rules=(Rule(reset=True, **when),))
        return [i for i in range(10) if decide(faults)]

    assert hits() == list(range(10))
    assert hits(first=2) == [0, 1]
    assert hits(skip=3, first=2) == [3, 4]
    assert hits(every=4) == [0, 4, 8]
    assert hits(skip=1, every=4, first=5) == [1, 5]


def test_probability_is_seeded():
    def hits(seed):
        faults = Faults(rules=(Rule(reset=True, probability=0.2),), seed=seed)
        return [i for i in range(1000) if decide(faults)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 150 < len(hits(1)) < 250


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"explode": True},
        {"reset": True, "every": 0},
        {"reset": True, "probability": 2},
        {"rate_bytes_per_s": 0},
    ],
)
def test_rules_that_make_no_sense_are_refused(values):
    with pytest.raises(ValueError):
        Rule.from_json(values)


def test_only_effects_count_as_fired():
    faults = Faults(
        rules=(Rule(cut_at=5, name="cut"), Rule(delay_s=0.5, name="a"), Rule(delay_s=0.25, name="b"))
    )
    fault = decide(faults)
    peeked = fault.get("cut_at"), fault.get("status")
    before = faults.fired
    taken = fault.take("delay_s"), fault.take("cut_at"), fault.take("cut_at")

    assert peeked == (5, None)
    assert before == {"cut": 0, "a": 0, "b": 0}
    assert taken == (0.75, 5, 5)
    assert faults.fired == {"cut": 1, "a": 1, "b": 1}


def test_clearing_keeps_the_counters():
    faults = Faults(rules=(Rule(reset=True, name="r"),))
    decide(faults).take("reset")
    faults.clear()

    assert decide(faults) is None
    assert faults.fired == {"r": 1}
    assert faults.requests == {"object.get": 2}
    faults.reset_counters()
    assert faults.fired == faults.requests == {}


# --- what a client sees


def test_status_is_answered_without_doing_the_work(gcs, call):
    gcs.faults.add(
        Rule(
            operation="object.insert",
            status=503,
            retry_after_s=7,
            headers=(("x-a", "b"),),
            body="no",
            name="no",
        )
    )
    answer = call("PUT", "/b/x", b"1")

    assert (answer.status, answer.body) == (503, b"no")
    assert (answer.headers["Retry-After"], answer.headers["x-a"]) == ("7", "b")
    assert gcs.objects("b") == {}
    assert gcs.faults.fired == {"no": 1}


def test_reset_does_nothing_and_a_lost_acknowledgement_does_everything(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", key="reset", reset=True, name="reset"))
    gcs.faults.add(Rule(operation="object.insert", key="lost", lose_ack=True, name="lost"))
    gcs.faults.add(Rule(operation="object.insert", key="late", lose_ack=True, status=502, name="late"))
    for key in ("reset", "lost"):
        with pytest.raises(ConnectionResetError):
            call("PUT", f"/b/{key}", b"1")
    late = call("PUT", "/b/late", b"1")

    assert late.status == 502
    assert sorted(gcs.objects("b")) == ["late", "lost"]
    assert gcs.faults.fired == {"reset": 1, "lost": 1, "late": 1}


@pytest.mark.parametrize(
    ("how", "error"), [("fin", http.client.IncompleteRead), ("rst", ConnectionResetError)]
)
def test_a_body_is_cut(gcs, call, how, error):
    call("PUT", "/b/x", b"0123456789")
    gcs.faults.add(Rule(operation="object.get", cut_at=4, cut_with=how, name="cut"))

    with pytest.raises((error, http.client.IncompleteRead)):
        call("GET", "/b/x")
    assert gcs.faults.fired == {"cut": 1}


def test_a_cut_beyond_the_end_has_no_effect_and_is_not_counted(gcs, call):
    call("PUT", "/b/x", b"0123")
    gcs.faults.add(Rule(operation="object.get", cut_at=4, name="cut"))

    assert call("GET", "/b/x").body == b"0123"
    assert gcs.faults.fired == {"cut": 0}


def test_bits_flip_on_the_way_down_and_on_the_way_up(gcs, call):
    call("PUT", "/b/x", bytes(4))
    gcs.faults.add(Rule(operation="object.get", flip_bit=9, first=1, name="down"))
    gcs.faults.add(Rule(operation="object.insert", flip_upload_bit=0, name="up"))
    flipped, clean = call("GET", "/b/x").body, call("GET", "/b/x").body
    call("PUT", "/b/y", bytes(4))
    checked = call("PUT", "/b/z", bytes(4), {"x-goog-hash": f"crc32c={ZEROS}"})

    assert (flipped, clean) == (b"\0\2\0\0", bytes(4))
    assert gcs.objects("b")["y"].data == b"\1\0\0\0"
    assert checked.status == 400
    assert gcs.faults.fired == {"down": 1, "up": 2}


def test_a_truncated_upload_is_believed_by_a_lax_server(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", truncate_upload_at=3, name="lax"))
    answer = call("PUT", "/b/x", b"0123456789")

    assert answer.status == 200
    assert gcs.objects("b")["x"].data == b"012"
    assert gcs.faults.fired == {"lax": 1}


@pytest.mark.parametrize(
    ("kept", "span"), [(0, None), (QUANTUM - 1, None), (QUANTUM + 5, f"bytes=0-{QUANTUM - 1}")]
)
@pytest.mark.parametrize("total", ["*", str(2 * QUANTUM)])
def test_a_truncated_chunk_gives_an_honest_308(gcs, call, kept, span, total):
    begun = call("POST", "/upload/storage/v1/b/b/o?uploadType=resumable&name=x", b"")
    session = begun.headers["Location"].removeprefix(gcs.url)
    gcs.faults.add(Rule(operation="chunk.*", truncate_upload_at=kept, first=1, name="short"))
    headers = {"Content-Range": f"bytes 0-{2 * QUANTUM - 1}/{total}"}
    short = call("PUT", session, bytes(2 * QUANTUM), headers)
    whole = call("PUT", session, bytes(2 * QUANTUM), headers)

    assert (short.status, short.headers["Range"]) == (308, span)
    assert whole.status == (308 if total == "*" else 200)
    assert gcs.faults.fired == {"short": 1}


def test_a_write_delivered_twice_makes_two_generations_or_one_error(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", twice=True, name="twice"))
    plain = call("PUT", "/b/x", b"1")
    conditional = call("PUT", "/b/y", b"1", {"x-goog-if-generation-match": "0"})

    assert plain.status == 200
    assert conditional.status == 412
    assert gcs.objects("b")["y"].data == b"1"
    assert gcs.faults.fired == {"twice": 2}


def test_a_range_is_ignored_and_a_length_left_out(gcs, call):
    call("PUT", "/b/x", b"0123456789")
    gcs.faults.add(Rule(operation="object.get", ignore_range=True, name="range"))
    gcs.faults.add(Rule(operation="object.get", no_length=True, name="length"))
    answer = call("GET", "/b/x", headers={"Range": "bytes=2-3"})

    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.headers["Content-Length"] is None
    assert gcs.faults.fired == {"range": 1, "length": 1}


def test_delays_and_rates_slow_a_response_down(gcs, call):
    call("PUT", "/b/x", bytes(1000))
    gcs.faults.add(Rule(operation="object.get", delay_s=0.05, name="delay"))
    gcs.faults.add(Rule(operation="object.get", rate_bytes_per_s=10_000, name="rate"))
    began = time.monotonic()
    body = call("GET", "/b/x").body

    assert body == bytes(1000)
    assert time.monotonic() - began >= 0.15
    assert gcs.faults.fired == {"delay": 1, "rate": 1}


def test_stopping_interrupts_a_delay(gcs):
    gcs.faults.add(Rule(delay_s=60))
    connection = http.client.HTTPConnection(urlsplit(gcs.url).netloc, timeout=10)
    connection.request("GET", "/b/x")
    while not any(gcs.faults.fired.values()):
        pass  # the request is on its way through loopback
    began = time.monotonic()
    gcs.stop()
    connection.close()

    assert time.monotonic() - began < 5


# --- cuts, silences and lies


def test_a_place_in_a_body_may_be_told_from_its_end(gcs, call):
    call("PUT", "/b/x", b"0123456789")
    gcs.faults.add(Rule(operation="object.get", truncate_at=-3, name="short"))

    assert call("GET", "/b/x").body == b"0123456"
    assert gcs.faults.fired == {"short": 1}


def test_a_cut_at_byte_0_is_an_action():
    assert Rule(cut_at=0).actions() == ("cut_at",)
    assert Rule(cut_upload_at=0).actions() == ("cut_upload_at",)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_request_is_cut_and_nothing_is_done(gcs, call, how):
    gcs.faults.add(Rule(operation="object.insert", cut_upload_at=-1, cut_with=how, name="cut"))

    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        call("PUT", "/b/x", b"0123456789")
    assert gcs.objects("b") == {}
    assert gcs.faults.fired == {"cut": 1}


def test_a_request_shorter_than_its_cut_is_left_alone(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", cut_upload_at=10, name="cut"))

    assert call("PUT", "/b/x", b"0123456789").status == 200
    assert gcs.faults.fired == {"cut": 0}


def test_a_chunk_that_is_cut_is_kept_as_far_as_it_came(gcs, call):
    begun = call("POST", "/upload/storage/v1/b/b/o?uploadType=resumable&name=x", b"")
    session = begun.headers["Location"].removeprefix(gcs.url)
    gcs.faults.add(Rule(operation="chunk.*", cut_upload_at=QUANTUM + 5, first=1, name="cut"))
    headers = {"Content-Range": f"bytes 0-{2 * QUANTUM - 1}/{2 * QUANTUM}"}
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        call("PUT", session, bytes(2 * QUANTUM), headers)
    status = call("PUT", session, b"", {"Content-Range": f"bytes */{2 * QUANTUM}"})

    assert (status.status, status.headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")


def read(connection):
    return connection.getresponse().read()


def test_silence_ends_when_the_client_goes_away(gcs):
    """Before the headers or within the body; the server's thread does not wait for ever."""
    gcs._store.put("b", "x", Content.of([bytes(1000)]), StoredMetadata())
    gcs.faults.add(Rule(operation="object.get", first=1, black_hole=True, name="hole"))
    gcs.faults.add(Rule(operation="object.get", skip=1, stall_at=10, name="stall"))
    for _ in range(2):
        connection = http.client.HTTPConnection(urlsplit(gcs.url).netloc, timeout=0.2)
        connection.request("GET", "/b/x")
        with pytest.raises(TimeoutError):
            read(connection)
        connection.close()
    began = time.monotonic()
    gcs.stop()

    assert time.monotonic() - began < 5
    assert gcs.faults.fired == {"hole": 1, "stall": 1}


def test_a_pause_ends_by_itself(gcs, call):
    call("PUT", "/b/x", b"0123456789")
    gcs.faults.add(Rule(operation="object.get", stall_at=3, stall_s=0.05, name="pause"))

    assert call("GET", "/b/x").body == b"0123456789"
    assert gcs.faults.fired == {"pause": 1}


def test_the_last_answer_comes_again(gcs, call):
    call("PUT", "/b/x", b"first")
    call("PUT", "/b/y", b"second")
    gcs.faults.add(Rule(operation="object.get", skip=1, first=1, replay=True, name="again"))
    bodies = [call("GET", f"/b/{key}").body for key in "xyy"]

    assert bodies == [b"first", b"first", b"second"]
    assert gcs.faults.fired == {"again": 1}


def test_headers_are_hidden_and_changed(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", hide_headers=("x-goog-*",), name="hide"))
    gcs.faults.add(
        Rule(operation="object.insert", answer_headers=(("ETag", ""), ("X-New", "1")), name="change")
    )
    wrong = call("PUT", "/b/x", b"1234", {"x-goog-hash": f"crc32c={ZEROS}"})

    assert (wrong.status, wrong.headers["ETag"], wrong.headers["X-New"]) == (200, None, "1")
    assert gcs.faults.fired == {"hide": 1, "change": 1}


def test_a_rule_may_look_at_headers(gcs, call):
    call("PUT", "/b/x", b"0123456789")
    gcs.faults.add(Rule(operation="object.get", header="^range: bytes=2-", status=503, name="range"))
    answers = [call("GET", "/b/x", headers=headers).status for headers in ({}, {"Range": "bytes=2-3"})]

    assert answers == [200, 503]
    assert gcs.faults.fired == {"range": 1}


def test_something_happens_just_before_the_work(gcs, call):
    """When the request has arrived whole, and before the service looks at it."""
    seen = []
    gcs.faults.add(
        Rule(operation="object.insert", act=lambda: seen.append(dict(gcs.objects("b"))), name="act")
    )
    call("PUT", "/b/x", b"1")

    assert (seen, sorted(gcs.objects("b"))) == ([{}], ["x"])
    assert gcs.faults.fired == {"act": 1}


def test_what_acts_cannot_be_asked_for_over_json():
    with pytest.raises(ValueError, match="act"):
        Rule.from_json({"act": "print"})


def test_an_upload_is_taken_slowly(gcs, call):
    gcs.faults.add(Rule(operation="object.insert", upload_rate_bytes_per_s=1_000_000, name="slow"))
    began = time.monotonic()

    assert call("PUT", "/b/x", bytes(100_000)).status == 200
    assert time.monotonic() - began >= 0.1
    assert gcs.faults.fired == {"slow": 1}


def test_a_rule_above_so_many_takes_those_that_find_the_service_full():
    faults = Faults((Rule(operation="object.*", status=503, above=2, name="full"),))
    here = [decide(faults) for _ in range(4)]

    assert [fault.get("status") for fault in here] == [None, None, 503, 503]
    for fault in here[:3]:
        fault.ended()
    assert [decide(faults).get("status"), decide(faults).get("status")] == [None, 503]
    assert faults.most_at_once == {"full": 4}


def test_a_server_that_is_full_says_so_and_has_room_again(gcs, call):
    """Two requests are held inside, so a third finds no room; when they have gone there is room again."""
    inside, go_on = threading.Semaphore(0), threading.Event()

    def hold():
        inside.release()
        go_on.wait(10)

    def ask():
        return call("GET", "/b/none").status

    gcs.faults.add(Rule(operation="object.get", status=503, above=2, name="full"))
    gcs.faults.add(Rule(operation="object.get", first=2, act=hold))
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask) for _ in range(2)]
        for _ in first:
            assert inside.acquire(timeout=10)
        third = ask()
        go_on.set()
        assert [each.result(10) for each in first] == [404, 404]

    assert third == 503
    assert 404 in (ask() for _ in range(100))  # a place is free when the answer was sent, not when it arrived
    assert gcs.faults.fired["full"] >= 1
    assert gcs.faults.most_at_once == {"full": 3}
