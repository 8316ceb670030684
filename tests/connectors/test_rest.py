"""APIs as a source: paging, ends and circles, records by path, failures; against a server on loopback."""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import threading

import pytest
from rest_server import API, FAULTS, answering

import crossdock as xd
from crossdock.connectors import layers
from crossdock.connectors.rest import ByCursor, ByLink, ByOffset, ByPage, ByURL, rest
from crossdock.connectors.rest.gate import Gate
from crossdock.connectors.rest.pages import Circle
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    NotFoundError,
    Retry,
    RowError,
    StorageError,
    TaskFailed,
    ThrottledError,
    UnsupportedError,
)
from crossdock.testing.rules import Rule
from crossdock.testing.wire import Response

USERS = [{"id": number, "name": f"user {number}"} for number in range(23)]
WAYS = {
    "page": ByPage(size=5, size_param="size"),
    "page and total": ByPage(size=5, size_param="size", total="total"),
    "offset": ByOffset(size=5, size_param="size"),
    "offset and total": ByOffset(size=5, size_param="size", total="total"),
    "cursor": ByCursor(path="meta.next", size=5, size_param="size"),
    "cursor and more": ByCursor(path="meta.next", more="meta.more", size=5, size_param="size"),
    "cursor in a header": ByCursor(header="X-Next", size=5, size_param="size"),
    "link": ByLink(),
    "url": ByURL(path="next"),
}


@pytest.fixture
def server():
    with API() as running:
        running.lists["/v1/users"] = USERS
        yield running


def api(server, **more):
    return rest(f"{server.url}/v1", records="items", **more)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_paging_gives_each_record_once_in_order(server, way):
    server.cap = 5

    assert list(api(server)("users", params={"size": 5}, paging=WAYS[way])) == USERS
    assert len(server.targets()) == (5 if way not in ("page", "offset") else 6)


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_list_is_empty(server, way):
    server.lists["/v1/none"] = []

    assert list(api(server)("none", paging=WAYS[way])) == []


def test_a_server_that_caps_sizes_does_not_shorten_a_list(server):
    """A page with fewer records than asked for is not the last."""
    server.cap = 4

    assert list(api(server)("users", paging=ByOffset(size=50, size_param="size"))) == USERS


def test_pages_are_asked_for_when_they_are_wanted(server):
    server.cap = 5
    records = api(server)("users", paging=ByCursor(path="meta.next"))

    assert server.seen == []
    assert [*itertools.islice(records, 6)] == USERS[:6]
    assert len(server.seen) == 2

    records.close()

    assert list(records) == []


def test_a_list_in_one_piece_and_a_record_alone(server):
    server.handlers["/v1/me"] = answering({"id": 1})
    server.handlers["/v1/all"] = answering([{"id": 1}, {"id": 2}])

    assert list(rest(f"{server.url}/v1")("me")) == [{"id": 1}]
    assert list(rest(f"{server.url}/v1")("all")) == [{"id": 1}, {"id": 2}]


def test_params_are_sent_as_written(server):
    server.handlers["/v1/a%20b"] = answering([])
    many = {"tag": ["x", "y&z"], "deep": True, "no": None, "q": "ä+"}

    list(rest(f"{server.url}/v1", params={"v": 2})("a b?keep=1,2", params=many))

    assert server.targets() == ["/v1/a%20b?keep=1,2&v=2&tag=x&tag=y%26z&deep=true&q=%C3%A4%2B"]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (
            {"data": {"rows": []}, "ok": 1},
            "data.items",
            "page 1 has nothing at 'data.items'; the keys found are data, ok",
        ),
        ({"data": {"rows": []}}, "data", "page 1 has no list at 'data'; the keys found are rows"),
        ({"items": [1]}, "items", "record 0 of page 1 is no object"),
        ([], "items", "what was found is an array"),
    ],
)
def test_records_that_are_not_there_are_an_error_that_names_page_and_keys(server, body, path, said):
    server.handlers["/v1/odd"] = answering(body)

    with pytest.raises(StorageError, match=said) as caught:
        list(rest(f"{server.url}/v1", records=path, paging=ByPage())("odd"))

    assert caught.value.place == f"{server.url}/v1/odd (page 1)"


@pytest.mark.parametrize("paging", [ByPage(), ByOffset()])
def test_a_page_that_repeats_itself_is_loud(server, paging):
    server.handlers["/v1/same"] = answering({"items": [{"id": 1}]})

    with pytest.raises(StorageError, match="page 2 has the same records"):
        list(api(server)("same", paging=paging))


def test_cursors_that_go_in_circles_are_loud(server):
    round_and_round = {"": "a", "a": "b", "b": "c", "c": "a"}

    def circle(request):
        return answering({"items": [{"id": 1}], "next": round_and_round[request.query.get("cursor", "")]})(
            request
        )

    server.handlers["/v1/circle"] = circle

    with pytest.raises(StorageError, match="goes in circles"):
        list(api(server)("circle", paging=ByCursor(path="next")))
    assert len(server.seen) < 12


def test_circles_are_found_and_straight_lines_are_none():
    for start, length in itertools.product(range(5), range(1, 9)):
        circle, steps = Circle(), 0
        while not circle.closes_with(steps if steps < start else start + (steps - start) % length):
            steps += 1
        assert start < steps + 1 <= 3 * (start + length) + 1
    straight = Circle()
    assert not any(map(straight.closes_with, range(1000)))


def test_an_empty_page_before_the_total_is_a_short_list_and_loud(server):
    server.handlers["/v1/short"] = answering({"items": [], "total": 7})

    with pytest.raises(StorageError, match="empty after 0 of 7 records"):
        list(api(server)("short", paging=ByPage(total="total")))


@pytest.mark.parametrize(
    ("paging", "body", "said"),
    [
        (ByCursor(path="next", more="more"), {"items": [], "more": True}, "has no cursor to it"),
        (ByCursor(path="next", more="more"), {"items": []}, "has no more; the keys found are items"),
        (ByCursor(path="next"), {"items": [], "next": {}}, "neither text nor number"),
        (ByPage(total="count"), {"items": []}, "no number at count"),
        (ByURL(), {"items": [], "next": 5}, "not a URL but int"),
        (
            ByURL(),
            {"items": [], "next": "https://elsewhere.example/x"},
            "another origin, https://elsewhere.example",
        ),
    ],
)
def test_contradictions_are_loud(server, paging, body, said):
    server.handlers["/v1/odd"] = answering(body)

    with pytest.raises((StorageError, UnsupportedError), match=said):
        list(api(server)("odd", paging=paging))


def test_a_page_that_fails_for_good_fails_the_list(server):
    """After page one the server dies: what came before is no list, and asking again says so again."""
    broken = threading.Event()

    def page(request):
        if request.query["page"] == "1":
            return answering({"items": [{"id": 1}]})(request)
        broken.set()
        return Response(502)

    server.handlers["/v1/dies"] = page
    records = api(server, attempts=2)("dies", paging=ByPage())

    assert next(records) == {"id": 1}
    for _ in range(2):
        with pytest.raises(ConnectionLostError, match=r"502.*after 2 attempts") as caught:
            next(records)
    assert caught.value.retry is Retry.EXHAUSTED
    assert broken.is_set()
    assert len(server.seen) == 3


def test_not_found_is_not_tried_again(server):
    with pytest.raises(NotFoundError):
        list(api(server)("nobody"))
    assert len(server.seen) == 1


def test_pages_for_people_are_no_data(server):
    server.handlers["/v1/login"] = lambda _: Response.text(200, "<html>", "text/html")

    with pytest.raises(StorageError, match=r"the page is no JSON \(text/html\)"):
        list(api(server)("login"))
    assert len(server.seen) == 1


def test_a_third_waits_for_a_place():
    gate, entered = Gate(), threading.Event()

    def third():
        with gate.turn(None, 2):
            entered.set()

    thread = threading.Thread(target=third)
    with gate.turn(None, 2):
        with gate.turn(None, 2):
            thread.start()
            assert not entered.wait(0.2)  # a gate without a bound lets it in at once
        assert entered.wait(10)
    thread.join(10)


def test_retry_after_holds_back_all_who_ask_the_host(server, monkeypatch):
    slept: list[float] = []
    gate = Gate(clock=lambda: 0.0, sleep=slept.append)
    monkeypatch.setattr("crossdock.connectors.rest.fetching.gate_for", lambda _: gate)
    server.faults.add(Rule(status=429, retry_after_s=1, first=1, name="busy"))

    assert list(api(server)("users")) == USERS
    assert server.faults.fired["busy"] == 1
    assert slept == [1.0]


def test_retry_after_is_obeyed_and_bounded(server):
    def patience(request):
        return Response(429, [("Retry-After", "1" if len(server.seen) == 1 else "7200")])

    server.handlers["/v1/busy"] = patience
    now = [0.0]
    slept = []
    gate = Gate(clock=lambda: now[0], sleep=slept.append)
    gate.rest(30)
    with gate.turn(None, 1):
        pass

    with pytest.raises(ThrottledError, match="come again in 7200 s; max_retry_after_s allows less") as caught:
        list(api(server)("busy"))

    assert slept == [30.0]
    assert caught.value.retry is Retry.EXHAUSTED
    assert len(server.seen) == 2


def test_turns_are_spaced_whoever_takes_them():
    now = [0.0]

    def sleep(seconds):
        slept.append(seconds)

    slept: list[float] = []
    gate = Gate(clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        with gate.turn(10.0, 8):
            pass

    assert slept == pytest.approx([0.1, 0.2, 0.3])


def test_pages_keep_the_rate_that_was_asked_for(server, monkeypatch):
    slept: list[float] = []
    gate = Gate(clock=lambda: 0.0, sleep=slept.append)
    monkeypatch.setattr("crossdock.connectors.rest.fetching.gate_for", lambda _: gate)
    server.cap = 8

    assert list(api(server, rate_per_s=4)("users", paging=ByLink())) == USERS
    assert slept == [0.25, 0.5]


def test_no_more_at_a_time_than_allowed_over_all_sources(server):
    inside, most = threading.Barrier(2), []

    def slow(request):
        inside.wait(10)  # two must meet here, so the bound is reached; a third would break `most`
        return answering([])(request)

    server.handlers["/v1/slow"] = slow
    sources = [rest(f"{server.url}/v1", max_in_flight=2) for _ in range(6)]
    threads = [threading.Thread(target=lambda s=s: most.append(list(s("slow")))) for s in sources]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)

    assert most == [[]] * 6
    assert server.most_at_once == 2


def test_a_page_over_the_limit_is_refused_compressed_or_not(server):
    data = json.dumps([{"x": "a" * 5_000_000}]).encode()
    server.handlers["/v1/bomb"] = answering(gzip.compress(data), headers=(("Content-Encoding", "gzip"),))
    server.handlers["/v1/large"] = answering(data)

    for path in ("bomb", "large"):
        with pytest.raises(UnsupportedError, match="larger than 1000000 bytes"):
            list(rest(f"{server.url}/v1", max_page_bytes=1_000_000)(path))
    assert list(rest(f"{server.url}/v1")("bomb")) == json.loads(data)


def test_a_path_leads_nowhere_else(server):
    for path in ("https://elsewhere.example/x", "//elsewhere.example/x", "../admin"):
        with pytest.raises(ConfigError):
            api(server)(path)
    with pytest.raises(ConfigError, match="no query"):
        rest(f"{server.url}/v1?api_key=canary")


def test_200_accounts_arrive_exactly_once_through_faults(monkeypatch):
    """A fifth of the requests fail, by 500, 429, resets and cut bodies; each kind fired, every record came exactly once."""
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.01)  # how long to wait is tested with the layer
    with API(FAULTS, seed=7) as server:
        expected = {}
        for account in range(200):
            expected[account] = server.lists[f"/v1/accounts/{account}"] = [
                {"account": account, "id": number} for number in range(11)
            ]
        source = rest(
            f"{server.url}/v1",
            records="items",
            paging=ByCursor(path="meta.next", size=4, size_param="size"),
            max_in_flight=24,
        )

        @xd.one_task(name="accounts")
        def read(path):
            return _listed(source(path))

        result = read.map(
            path=[f"accounts/{account}" for account in range(200)], runner=xd.LocalRunner(threads=32)
        )
        result.raise_if_failed()

        assert [*result.results()] == [*expected.values()]
        fired, asked = server.faults.fired, sum(server.faults.requests.values())
        assert all(fired[rule.name] > 20 for rule in FAULTS), fired
        assert 600 + 100 < asked <= 600 + sum(fired.values())


@xd.task
def _listed(records):
    return list(records)


def test_a_source_is_a_recipe(server):
    source = pickle.loads(pickle.dumps(api(server, paging=ByCursor(path="meta.next"))))  # noqa: S301

    assert list(source("users")) == USERS
    assert source.preflight_place == api(server).preflight_place


def test_batches(server):
    server.cap = 5
    batches = api(server, paging=ByCursor(path="meta.next")).batches("users")

    assert batches.name == "users"
    assert batches.read_all().to_pylist() == USERS


def test_batches_combine(server):
    with xd.one_task("api to frame") as task:
        xd.collect("rows")(api(server).batches(xd.param("path")))

    assert task(path="users") == USERS


def test_batches_bend_no_value(server):
    import pyarrow as pa

    server.handlers["/v1/rows"] = answering([{"at": "2024-05-01T10:00:00Z", "n": 1}, {"at": None}])
    server.handlers["/v1/more"] = answering([{"n": 1}, {"n": 2, "extra": 3}])
    server.handlers["/v1/bad"] = answering([{"n": 1}, {"n": "x"}])
    server.handlers["/v1/deep"] = answering([{"n": {"a": 1, "b": 2}}])
    server.handlers["/v1/truth"] = answering([{"n": True}])
    source = rest(f"{server.url}/v1")
    schema = pa.schema([("at", pa.timestamp("ms", "UTC")), ("n", pa.int64())])

    table = source.batches("rows", schema=schema).read_all()
    assert table.schema == schema
    assert table["at"].cast("int64").to_pylist() == [1_714_557_600_000, None]
    for path, wanted, said in [
        ("more", pa.int64(), "record 1 has 'extra'"),
        ("bad", pa.int64(), "record 1 has in 'n' a str that is no int64"),
        ("deep", pa.struct([("a", pa.int64())]), "the struct has no 'b'"),
        ("truth", pa.int64(), "record 0 has in 'n' a bool"),
    ]:
        with pytest.raises(RowError, match=said):
            source.batches(path, schema=pa.schema([("n", wanted)])).read_all()
    server.handlers["/v1/void"] = answering([{"n": None}])
    assert source.batches("void").schema == pa.schema([("n", pa.string())])
    with pytest.raises(RowError, match="several types"):
        source.batches("bad")


def test_an_error_in_a_pair_is_the_sources(server):
    @xd.one_task(name="pair")
    def pair():
        return _listed(api(server)("nobody"))

    with pytest.raises(TaskFailed) as caught:
        pair()
    assert caught.value.phase == "source"
