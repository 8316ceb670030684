"""Who asks an API, and what is kept of its answers: credentials, tokens, redirects, validators; secrets stay where they belong."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import threading

import pytest
from rest_server import API, answering

import crossdock as xd
from crossdock.connectors.rest import Basic, Bearer, ByURL, ClientCredentials, HeaderKey, QueryKey, rest
from crossdock.connectors.rest.auth import Tokens
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    UnsupportedError,
)
from crossdock.testing.rules import Rule
from crossdock.testing.wire import Response

CANARY = "canary-5f1d"


@pytest.fixture
def server():
    with API() as running:
        running.lists["/users"] = [{"id": number} for number in range(3)]
        yield running


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("API_SECRET", CANARY)


@pytest.mark.parametrize(
    ("auth", "needs"),
    [
        (Bearer("env:API_SECRET"), ("Authorization", f"Bearer {CANARY}")),
        (
            Basic("me", "env:API_SECRET"),
            ("Authorization", f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}"),
        ),
        (HeaderKey("X-Api-Key", "env:API_SECRET"), ("X-Api-Key", CANARY)),
    ],
)
def test_credentials_are_sent_and_never_shown(server, auth, needs):
    server.needs = needs
    api = rest(server.url, auth=auth, records="items")

    assert len(list(pickle.loads(pickle.dumps(api))("users"))) == 3  # noqa: S301
    assert CANARY not in repr(api) + repr(auth) + repr(api.__crossdock_fingerprint__()) + repr(api.options)
    assert CANARY.encode() not in pickle.dumps(api)
    with pytest.raises(CredentialsError, match="401"):
        list(rest(server.url)("users"))


def test_a_key_in_the_query_is_in_no_error_event_or_cache(server, tmp_path, caplog):
    """The server sees it; nobody who reads errors, logs or the kept pages does."""
    caplog.set_level(logging.DEBUG)
    server.etags = True
    api = rest(
        server.url,
        auth=QueryKey("api_key", "env:API_SECRET"),
        records="items",
        cache=str(tmp_path),
        attempts=2,
    )
    server.handlers["/broken"] = lambda _: Response(500)

    assert len(list(api("users"))) == 3
    with pytest.raises(CrossdockError) as caught:
        list(api("broken", params={"page": 1}))

    assert all(f"api_key={CANARY}" in target for target in server.targets())
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert CANARY not in "".join(f"{each} {each!r} {vars(each) if each else ''}" for each in chain)
    server.faults.add(Rule(reset=True, name="reset"))
    with pytest.raises(ConnectionLostError) as lost:
        list(api("users"))
    assert server.faults.fired["reset"] == 2
    cause = lost.value.__cause__
    assert CANARY not in f"{lost.value} {vars(lost.value)} {cause} {vars(cause)}"
    assert caplog.records
    assert CANARY not in caplog.text
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert kept
    assert CANARY.encode() not in kept
    assert CANARY.encode() not in pickle.dumps(api)


def test_the_next_url_may_echo_the_key_and_it_is_sent_once(server):
    server.handlers["/echo"] = answering(
        {"items": [{"id": 1}], "next": f"{server.url}/users?api_key={CANARY}&page=1"}
    )
    api = rest(server.url, auth=QueryKey("api_key", "env:API_SECRET"), records="items", paging=ByURL())

    assert len(list(api("echo"))) == 4
    assert server.targets("/users") == [f"/users?page=1&api_key={CANARY}"]


def test_credentials_follow_no_redirect_to_another_origin(server):
    with API() as other:
        other.handlers["/there"] = answering([{"id": 9}])
        server.handlers["/moved"] = lambda _: Response(302, [("Location", f"{other.url}/there")])
        api = rest(server.url, auth=Bearer("env:API_SECRET"), headers={"X-Tenant": "t1"})

        assert list(api("moved")) == [{"id": 9}]
        assert server.seen[0][1]["authorization"] == f"Bearer {CANARY}"
        assert not {"authorization", "x-tenant"} & set(other.seen[0][1])


def test_a_next_page_at_another_origin_is_not_asked(server):
    with API() as other:
        server.handlers["/list"] = answering({"items": [], "next": f"{other.url}/users"})
        api = rest(server.url, auth=Bearer("env:API_SECRET"), records="items", paging=ByURL())

        with pytest.raises(UnsupportedError, match="another origin"):
            list(api("list"))
        assert other.seen == []


def test_a_redirect_from_outside_to_a_private_address_is_refused(server, monkeypatch):
    """The server's own address is made to look public; where it redirects to is loopback by another name."""
    from crossdock.connectors.http import client

    resolved = client.resolve
    monkeypatch.setattr(client, "is_private", lambda address: address != "127.0.0.1")
    monkeypatch.setattr(
        client,
        "resolve",
        lambda host, port, **place: (
            ["127.0.0.2"] if host == "inside.example" else resolved(host, port, **place)
        ),
    )
    server.handlers["/ssrf"] = lambda _: Response(302, [("Location", "http://inside.example:1/meta-data")])

    with pytest.raises(UnsupportedError, match=r"inside\.example, which is a private address"):
        list(rest(server.url)("ssrf"))


def test_auth_and_headers_that_clash_are_refused(server):
    with pytest.raises(ConfigError, match="exclude each other"):
        rest(server.url, auth=Bearer("env:API_SECRET"), headers={"authorization": "x"})
    with pytest.raises(ConfigError, match="crossdock's own"):
        rest(server.url, headers={"If-None-Match": "x"})
    with pytest.raises(ConfigError, match="one of crossdock's values"):
        rest(server.url, auth="env:API_SECRET")
    with pytest.raises(ConfigError, match="did you mean 'cache'"):
        rest(server.url, cach="x")
    with pytest.raises(ConfigError, match="user or password in the URL"):
        rest("https://me:pw@api.example.com")


def test_a_secret_that_leads_nowhere_is_told_before_any_request(server):
    api = rest(server.url, auth=Bearer("env:NOT_SET_HERE"))

    for act in (api.preflight, lambda: list(api("users"))):
        with pytest.raises(CredentialsError, match="env:NOT_SET_HERE gives nothing"):
            act()
    assert server.seen == []


class TokenServer(API):
    """Gives out tokens t1, t2, ... and takes only the last."""

    def __init__(self, life=3600):
        super().__init__()
        self.life, self.given, self.forms = life, 0, []
        self.handlers["/token"] = self.token

    def token(self, request):
        if (
            request.headers.get("authorization")
            != f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}"
        ):
            return Response(401)
        self.forms.append(request.body().decode())
        self.given += 1
        self.needs = ("Authorization", f"Bearer t{self.given}")
        return answering({"access_token": f"t{self.given}", "expires_in": self.life})(request)

    def _answer(self, request):
        return self.token(request) if request.path == "/token" else super()._answer(request)


def client_of(server, **more):
    return ClientCredentials(
        token_url=f"{server.url}/token", client_id="me", client_secret="env:API_SECRET", scope="read", **more
    )


def test_a_token_is_fetched_once_for_many_and_again_when_it_is_refused():
    with TokenServer() as server:
        server.lists["/users"] = [{"id": 1}]
        api = rest(server.url, auth=client_of(server), records="items")
        found = []
        threads = [threading.Thread(target=lambda: found.append(list(api("users")))) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)

        assert found == [[{"id": 1}]] * 8
        assert server.given == 1
        assert server.forms == ["grant_type=client_credentials&scope=read"]

        server.needs = ("Authorization", "Bearer t2")  # revoked

        assert list(api("users")) == [{"id": 1}]
        assert server.given == 2


def test_a_token_is_renewed_before_it_expires():
    with TokenServer(life=100) as server:
        now = [0.0]
        tokens = Tokens(client_of(server, renew_before_s=30), None, clock=lambda: now[0])

        assert tokens.current() == "t1"
        now[0] = 69.0
        assert tokens.current() == "t1"
        now[0] = 70.0
        assert tokens.current() == "t2"


def test_a_token_server_that_refuses_says_what_to_check(server, monkeypatch):
    monkeypatch.setenv("API_SECRET", "wrong-canary")
    with TokenServer() as tokens:
        api = rest(server.url, auth=client_of(tokens))

        with pytest.raises(CredentialsError, match=r"refuses \(401\); check client_id") as caught:
            list(api("users"))
        assert "wrong-canary" not in str(caught.value)
        assert server.seen == []


def test_a_page_that_has_not_changed_is_taken_from_what_was_kept(server, tmp_path):
    server.etags = True
    api = rest(server.url, records="items", cache=str(tmp_path))

    first, second = list(api("users")), list(api("users"))

    assert first == second == server.lists["/users"]
    assert "if-none-match" not in server.seen[0][1]
    assert re.fullmatch(r'"\w+"', server.seen[1][1]["if-none-match"])

    server.lists["/users"].append({"id": 3})

    assert list(api("users")) == server.lists["/users"]
    assert list(api("users", params={"size": 1})) == [{"id": 0}]  # another URL, another page


def test_a_kept_page_that_is_damaged_counts_as_absent(server, tmp_path):
    server.etags = True
    api = rest(server.url, records="items", cache=str(tmp_path))
    list(api("users"))
    (entry,) = tmp_path.rglob("*.json")
    whole = json.loads(entry.read_text())

    for damaged in ("{", json.dumps({**whole, "sha256": "0"}), json.dumps({**whole, "url": "http://other/"})):
        entry.write_text(damaged)
        assert len(list(api("users"))) == 3
        assert "if-none-match" not in server.seen[-1][1]


def test_what_is_not_to_be_stored_is_not(server, tmp_path):
    server.handlers["/private"] = answering(
        [{"id": 1}], headers=(("ETag", '"x"'), ("Cache-Control", "no-store"))
    )

    assert list(rest(server.url, cache=str(tmp_path))("private")) == [{"id": 1}]
    assert [*tmp_path.rglob("*.json")] == []


def test_callers_do_not_share_kept_pages(server, tmp_path):
    server.etags = True
    for user in ("a", "b"):
        list(
            rest(server.url, auth=Basic(user, "env:API_SECRET"), cache=str(tmp_path), records="items")(
                "users"
            )
        )

    assert len([*tmp_path.rglob("*.json")]) == 2
    assert all("if-none-match" not in headers for _, headers in server.seen)


def test_kept_pages_live_at_any_url(server):
    server.etags = True
    api = rest(server.url, records="items", cache="memory://rest-cache/pages")

    assert list(api("users")) == list(api("users"))
    assert "if-none-match" in server.seen[1][1]
    assert [*xd.source("memory://rest-cache/pages/").list()]
