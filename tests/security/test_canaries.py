"""Secrets appear nowhere (oracle O5): logs, ledger, reports, errors, pickles, caches, notifications, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from canaries import WAYS, as_references, forms

import crossdock as xd
from crossdock.errors import CrossdockError
from crossdock.flows import open_run
from crossdock.testing import EmbeddedWebhook

PART = 5 * 1024 * 1024


def failing(witness, where, act):
    """What an error lets out."""
    with pytest.raises(CrossdockError) as raised:
        act()
    witness.saw_error(where, raised.value)


def use(witness, login, options, place):
    """A source and a sink, what prints and pickles them before and after use, one object each way, in parts too."""
    source = xd.source(login.url, **options)
    witness.saw_object("source", source)
    witness.saw_object("bound source", source.bind("small"))
    if login.is_sink:
        sink = xd.sink(login.url, part_size_bytes=PART, **options)
        witness.saw_object("sink", sink)
        witness.saw("receipt", repr(sink(b"data", key="small")))
        witness.saw(
            "receipt",
            repr(sink(iter([b"x" * PART, b"y"]), key="large//odd" if "s3:" in login.url else "large")),
        )
        witness.saw_object("used sink", sink)
    pair = xd.CombinedTask(source.bind(xd.param("key")), xd.sink(f"{place}/one/"))
    witness.saw_object("combined task", pair)
    witness.saw("receipt", repr(pair(key="small")))
    witness.saw_object("used source", source)
    failing(witness, "a missing object", lambda: source("absent").opened())
    failing(witness, "a failed task", lambda: pair(key="absent"))


def run(witness, login, options, place, hook):
    """A run in each direction, with its directory, report and notifications; and the cache."""
    notify = [xd.webhook("env:CANARY_HOOK"), xd.slack("env:CANARY_HOOK")]
    for each in notify:
        witness.saw_object("notifier", each)
    more = {"notify": notify}
    source = login.url if login.is_sink else f"{login.url}small"
    report = xd.migrate(source, f"{place}/in/", source_options=options, run_dir=f"{place}/run-1/", **more)
    witness.saw_object("report", report)
    witness.saw("report", json.dumps(report.to_dict()))
    if login.is_sink:
        report = xd.migrate(
            f"{place}/in/", f"{login.url}again/", sink_options=options, run_dir=f"{place}/run-2/", **more
        )
        witness.saw_object("report", report)
        witness.saw("cleanup", repr(xd.cleanup(f"{place}/run-2/", sink_options=options)))
    assert report.ok
    gone, public = login.gone
    failing(
        witness,
        "a run whose server is gone",
        lambda: xd.migrate(
            f"{gone}x",
            f"{place}/no/",
            source_options={**options, **public},
            run_dir=f"{place}/run-3/",
            **more,
        ),
    )
    cached = xd.CombinedTask(
        xd.source(login.url, **options).bind(xd.param("key")),
        xd.sink(f"{place}/cached/"),
        cache=xd.Cache(f"{place}/cache"),
    )
    witness.saw("receipt", repr([cached(key="small"), cached(key="small")]))
    for posted in hook.posted:
        witness.saw("notification", posted.body + json.dumps(posted.headers).encode())
    for name in ("run-1", "run-2", "run-3", "cache", "state"):
        witness.saw_files(name, place / name)


def refused(witness, login, place):
    """Other secrets: most servers refuse them, and what they say is an error like any other."""
    wrong = {
        name: dict.fromkeys(value, "wrong-canary-987") if isinstance(value, dict) else "wrong-canary-987"
        for name, value in login.secrets.items()
    }
    if "account_key" in wrong:
        wrong["account_key"] = "d3JvbmctY2FuYXJ5LTk4Nw=="  # base64, as an account key is
    if "sas_token" in wrong:
        wrong["sas_token"] = "sv=2021-12-02&sig=wrong-canary-987"
    if "connection_string" in wrong:
        wrong["connection_string"] = "AccountName=devstoreaccount1;AccountKey wrong-canary-987"
    try:
        xd.source(login.url, **login.options, **wrong)("small").opened().read_all()
    except CrossdockError as error:
        witness.saw_error("refused credentials", error)
    del place
    return "wrong-canary-987"


@pytest.fixture
def hook(monkeypatch):
    with EmbeddedWebhook() as server:
        monkeypatch.setenv("CANARY_HOOK", f"{server.url}/canary-of-the-webhook")
        yield server


@pytest.mark.parametrize("way", WAYS)
def test_a_job_lets_no_secret_out(login, way, witness, hook, tmp_path, monkeypatch):
    options = {**login.options, **as_references(login.secrets, way, tmp_path, monkeypatch)}

    use(witness, login, options, tmp_path)
    run(witness, login, options, tmp_path, hook)
    hidden = (*login.hidden, "canary-of-the-webhook", refused(witness, login, tmp_path))

    assert witness.leaks(hidden) == []
    for where in ("repr of source", "traceback of", "run-1: run.json", "run-1: 0000", "notification"):
        assert witness.has_seen(where, login.marker if where != "run-1: 0000" else "small"), where
    assert any(where.startswith("log of") for where, _ in witness.seen) or login.url.startswith(
        ("ftp", "dir")
    )
    assert len(hook.posted) >= 2


def told(*words, environment=None):
    """What a process says on both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "crossdock", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


def flags(name, options):
    given = (
        (key, json.dumps(value) if isinstance(value, dict) else str(value)) for key, value in options.items()
    )
    return [word for key, value in given for word in (name, f"{key}={value}")]


def test_the_command_line_shows_none_at_its_most_talkative(login, witness, tmp_path):
    """Given as text on the command line, the worst case; also in the commands that a verdict proposes."""
    options = {**login.options, **login.secrets}
    if login.is_sink:
        xd.sink(login.url, **options)(b"data", key="small")
    source = login.url if login.is_sink else f"{login.url}small"
    gone, public = login.gone
    lost = {**options, **public}

    codes = []
    for words in (
        ["cp", source, f"{tmp_path}/out/", "-vv", *flags("--source-option", options)],
        ["cp", source, f"{tmp_path}/out/", "-vv", "-n", "--json", *flags("--source-option", options)],
        ["cp", f"{gone}x", f"{tmp_path}/out/", "-vv", *flags("--source-option", lost)],
        ["ls", login.url, "-vv", *flags("--option", options)],
        ["cleanup", login.url, "-vv", *flags("--option", options)],
        ["connectors", login.url.partition(":")[0], "--json", "-vv"],
    ):
        code, text = told(*words)
        codes.append(code)
        witness.saw(" ".join(words[:2]), text)

    assert witness.leaks(login.hidden) == []
    assert codes[:2] == [0, 0]
    assert codes[2] not in (0, 1)
    assert witness.has_seen("cp", "done: every object")


def test_the_search_finds_what_it_looks_for(witness):
    """Or all of the above would pass for nothing."""
    secret = "canary/secret+key=0123456789"
    for number, form in enumerate(forms(secret)):
        witness.saw(f"form {number}", b"before " + form + b" after")
    import logging

    logging.getLogger("urllib3.connectionpool").debug("GET /?sig=%s", secret)

    found = {where for where, _ in witness.leaks((secret,))}
    assert {f"form {number}" for number in range(8)} | {"log of urllib3.connectionpool"} == found


def test_a_run_kept_by_reference_is_resumed_by_reference(s3, tmp_path, monkeypatch):
    """What ``run.json`` keeps of a login is what is no secret."""
    options = {**s3.options, **as_references(s3.secrets, "env", tmp_path, monkeypatch)}
    xd.sink(s3.url, **options)(b"data", key="small")
    xd.migrate(s3.url, f"{tmp_path}/out/", source_options=options, run_dir=f"{tmp_path}/run/")

    kept = open_run(f"{tmp_path}/run/").read()["asked"]["source"]["options"]

    assert {"endpoint_url", "region"} == set(kept)
