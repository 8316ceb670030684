"""``--notify`` on ``cp`` and ``runs resume``: who is told, of what, and that a command line never holds an address."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.notifications import post
from crossdock.testing import EmbeddedS3, EmbeddedWebhook, Rule
from crossdock.testing.demo.plain import PlainS3

CANARY = "canary-of-the-webhook"


def crossdock(*arguments, **environment):
    result = CliRunner().invoke(cli, arguments, env=environment)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(post, "pause", lambda _: None)


@pytest.fixture
def hook(monkeypatch):
    with EmbeddedWebhook() as server:
        monkeypatch.setenv("HOOK", f"{server.url}/{CANARY}")
        monkeypatch.setenv("APPRISE_URL", f"{server.url.replace('http', 'json')}/{CANARY}")
        monkeypatch.setenv("HOOK_KEY", "key-canary")
        yield server


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("landing",)) as server:
        with PlainS3(server.url) as plain:
            for name in ("a", "b", "c"):
                plain.put("landing", name, name.encode(), {}, None)
        server.faults.reset_counters()
        yield server


@pytest.fixture
def copying(s3, tmp_path):
    return "cp", "s3://landing/", f"{tmp_path}/out/", "--source-option", f"endpoint_url={s3.url}"


def test_all_services_are_told_of_a_run_that_is_done(copying, hook, tmp_path):
    file = tmp_path / "hook"
    file.write_text(os.environ["HOOK"])
    code, _, told = crossdock(
        *copying,
        *(
            "--notify",
            "slack=env:HOOK",
            "--notify",
            f"webhook=file:{file}",
            "--notify",
            "apprise=env:APPRISE_URL",
        ),
        *("--notify-signature", "env:HOOK_KEY"),
    )
    slack, webhook, apprise = (posted.json() for posted in hook.posted)

    assert code == 0, told
    assert slack["text"] == "crossdock migrate done"
    assert (webhook["status"], webhook["counts"]["copied"]) == ("done", 3)
    assert hook.posted[1].headers["x-crossdock-signature"].startswith("sha256=")
    assert apprise["title"] == "crossdock migrate done"


def test_only_failures_are_told_if_asked_and_the_next_command_tells_again(copying, s3, hook):
    flags = ("--notify", "webhook=env:HOOK", "--notify-on", "failure")
    crossdock(*copying, "-n", *flags)
    rule = s3.faults.add(Rule(operation="object.get", key="b", status=403))
    code, told, _ = crossdock(*copying, *flags)
    command = shlex.split(re.search(r"^  next +crossdock (.*)$", told, re.MULTILINE)[1])
    s3.faults.clear()
    resumed = crossdock(*command)

    assert s3.faults.fired[rule] > 0
    assert (code, resumed[0]) == (5, 0)
    assert command[-4:] == ["--notify", "webhook=env:HOOK", "--notify-on", "failure"]
    assert [posted.json()["status"] for posted in hook.posted] == ["failed"]
    assert hook.posted[0].json()["failures"][0]["reason"] == "denied"


def test_a_resumed_run_is_told_of(copying, s3, hook):
    s3.faults.add(Rule(operation="object.get", key="b", status=403))
    crossdock(*copying)
    s3.faults.clear()
    run = json.loads(crossdock("runs", "ls", "--json")[1])["run_id"]
    code, _, _ = crossdock("runs", "resume", run, "--notify", "webhook=env:HOOK")

    assert code == 0
    assert [(p.json()["name"], p.json()["run_id"]) for p in hook.posted] == [("resume", run)]


def test_the_environment_sets_the_flags(copying, hook):
    code, _, told = crossdock(
        *copying, CROSSDOCK_CP_NOTIFY="webhook=env:HOOK slack=env:HOOK", CROSSDOCK_CP_NOTIFY_ON="success"
    )

    assert code == 0, told
    assert len(hook.posted) == 2


def test_a_failed_notification_changes_neither_exit_code_nor_outcome_and_is_said(copying, hook, tmp_path):
    rule = hook.faults.add(Rule(operation="post", status=404))
    code, out, told = crossdock(*copying, "--notify", "webhook=env:HOOK", "--json")
    shown = crossdock("runs", "show", json.loads(crossdock("runs", "ls", "--json")[1])["run_id"])[1]
    summary = json.loads(out.splitlines()[-1])

    assert hook.faults.fired[rule] == 1
    assert code == 0
    assert (summary["notifications_sent"], summary["notifications_failed"]) == (0, 1)
    assert "a notification by webhook env:HOOK failed: answered 404" in told
    assert re.search(r"^  not told +1 notification failed", shown, re.MULTILINE)
    assert CANARY not in out + told + shown
    assert names(tmp_path / "out") == {"a", "b", "c"}


@pytest.mark.parametrize(
    "flags",
    [
        ("--notify", f"slack=https://hooks.example.com/{CANARY}"),
        ("--notify", f"https://hooks.example.com/{CANARY}"),
        ("--notify", "slack=env:NOT_THERE"),
        ("--notify", f"teams={CANARY}"),
        ("--notify", "webhook=env:HOOK", "--notify-signature", CANARY),
        ("--notify", "slack=env:HOOK", "--notify-on", "always"),
    ],
)
@pytest.mark.parametrize("dry_run", [(), ("-n",)])
def test_who_cannot_be_told_is_a_usage_mistake_before_anything_moves(copying, s3, hook, flags, dry_run):
    code, out, told = crossdock(*copying, *flags, *dry_run)

    assert (code, out) == (2, "")
    assert CANARY not in told
    assert s3.faults.requests == {}
    assert hook.posted == []


def test_a_run_that_cannot_begin_is_told_of(s3, hook, tmp_path):
    code, _, told = crossdock(
        *("cp", "s3://nowhere/", f"{tmp_path}/out/", "--source-option", f"endpoint_url={s3.url}"),
        *("--notify", "webhook=env:HOOK"),
    )
    record = hook.posted[0].json()

    assert code == 3
    assert record["status"] == "refused"
    assert record["error"] in told


def test_verbose_logs_do_not_hold_the_address(copying, hook):
    hook.faults.add(Rule(operation="post", status=500, first=1))
    done = subprocess.run(
        [sys.executable, "-m", "crossdock", *copying, "-vv", "--notify", "webhook=env:HOOK"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(hook.posted) == 1
    assert CANARY not in done.stdout + done.stderr


def names(directory):
    return {place.name for place in directory.iterdir()} if directory.is_dir() else set()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_is_told_of_and_ends_with_130(copying, s3, hook, tmp_path, sign):
    """The sign comes while the source holds one object up; the others are done."""
    s3.faults.add(Rule(operation="object.get", key="b", delay_s=4, name="held up"))
    process = subprocess.Popen(
        [sys.executable, "-m", "crossdock", *copying, "--concurrency", "2", "--notify", "webhook=env:HOOK"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out_dir = tmp_path / "out"
    while s3.faults.requests.get("object.get", 0) < 3 or not {"a", "c"} <= names(out_dir):
        assert process.poll() is None, process.communicate()
    process.send_signal(sign)
    _, told = process.communicate(timeout=60)
    record = hook.posted[0].json()

    assert s3.faults.fired["held up"] > 0
    assert process.returncode == 130, told
    assert len(hook.posted) == 1
    assert (record["status"], record["counts"]["planned"]) == ("interrupted", 3)
    assert record["next_command"].startswith("crossdock runs ")
