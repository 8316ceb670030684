"""A run's end is told once, whatever ended it; and telling changes nothing but what the report says of it."""

import json
import signal
import socket
import threading

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.errors import DeniedError
from crossdock.events import Listed, Progress
from crossdock.flows import build_report, open_run
from crossdock.flows.runs.directory import run_files
from crossdock.flows.runs.ownership import Owner
from crossdock.notifications import post
from crossdock.testing import EmbeddedWebhook, Rule

CANARY = "canary-of-the-webhook"


@pytest.fixture
def hook(monkeypatch):
    with EmbeddedWebhook() as server:
        monkeypatch.setenv("HOOK", f"{server.url}/{CANARY}")
        yield server


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(post, "pause", lambda _: None)


@pytest.fixture
def place():
    return f"memory://{bucket()}/"


def told(hook):
    """The one record that arrived."""
    (posted,) = hook.posted
    return posted.json()


def ends():
    return filled({f"{n}": b"12345" for n in range(3)}), f"memory://{bucket()}/"


def test_a_run_that_is_done_is_told_once_with_its_numbers(hook, place):
    source, sink = ends()
    report = xd.migrate(source, sink, run_dir=place, notify=xd.webhook("env:HOOK"))
    record = told(hook)

    assert (record["name"], record["status"], record["ok"]) == ("migrate", "done", True)
    assert record["counts"] == {"planned": 3, "copied": 3, "skipped": 0, "failed": 0, "pending": 0}
    assert (record["bytes"], record["objects"]) == (15, 3)
    assert (record["run_id"], record["run_dir"]) == (report.run_id, place.rstrip("/"))
    assert (record["source"], record["sink"]) == (report.source, report.sink)
    assert (record["failures"], record["next_command"], record["error"]) == ([], "", "")
    assert record["started"] == report.started.isoformat()
    assert (report.notifications_sent, report.notifications_failed) == (1, 0)


def test_the_run_directory_keeps_references_and_never_an_address(hook, place):
    source, sink = ends()
    xd.migrate(
        source, sink, run_dir=place, notify=[xd.webhook("env:HOOK"), xd.slack("env:HOOK", on="failure")]
    )
    kept = {name: bytes(body) for name, body in contents(place.rstrip("/")).items()}

    assert open_run(place).read()["notify"] == [
        "<notifier webhook env:HOOK on completion>",
        "<notifier slack env:HOOK on failure>",
    ]
    assert not [name for name, body in kept.items() if CANARY.encode() in body]


def test_failures_are_told_grouped_with_a_sample_and_the_next_command(hook, place):
    source, store = filled({f"{n}": b"x" for n in range(5)}), Troubled()

    def refuse(verb, key):
        if verb == "put" and key in "123":
            raise DeniedError("not allowed", operation="put", where=store.url, key=key)

    store.before = refuse
    report = xd.migrate(source, store.sink(), run_dir=place, notify=[xd.webhook("env:HOOK")])
    record = told(hook)

    assert report.counts.failed == 3
    assert (record["status"], record["ok"]) == ("failed", False)
    assert record["counts"]["failed"] == 3
    assert [(cause["reason"], cause["count"]) for cause in record["failures"]] == [("denied", 3)]
    assert "not allowed" in record["failures"][0]["sample"]
    assert record["next_command"] == f"crossdock runs resume {place.rstrip('/')}"


def test_own_runs_are_named_by_their_id(hook):
    store = Troubled()
    store.before = lambda verb, _: _denied() if verb == "put" else None
    report = xd.migrate(filled({"a": b"1"}), store.sink(), notify=[xd.webhook("env:HOOK")])

    assert told(hook)["next_command"] == f"crossdock runs resume {report.run_id}"


def _denied():
    raise DeniedError("not allowed", operation="put")


def test_resuming_is_a_run_of_its_own_to_tell_of(hook, place):
    source, store = filled({"a": b"1"}), Troubled()
    store.before = lambda verb, _: _denied() if verb == "put" else None
    xd.migrate(source, store.sink(), run_dir=place, notify=[xd.webhook("env:HOOK")])
    store.before = lambda *_: None
    xd.resume(place, sink=store.sink())
    silent = len(hook.posted)
    report = xd.resume(place, sink=store.sink(), notify=[xd.webhook("env:HOOK")])

    assert silent == 1  # who was told of the first attempt is not told of another unless asked
    assert [(p.json()["name"], p.json()["status"]) for p in hook.posted] == [
        ("migrate", "failed"),
        ("resume", "done"),
    ]
    assert report.notifications_sent == 2


@pytest.mark.parametrize("rule", [Rule(operation="post", status=500), Rule(operation="post", status=404)])
def test_a_failed_notification_fails_nothing_and_is_counted(hook, place, rule, caplog):
    source, sink = ends()
    name = hook.faults.add(rule)
    report = xd.migrate(source, sink, run_dir=place, notify=[xd.webhook("env:HOOK"), xd.slack("env:HOOK")])
    kept = json.loads(contents(place.rstrip("/"))["report.json"])

    assert hook.faults.fired[name] >= 2
    assert (report.exit_code, report.counts.copied) == (0, 3)
    assert (report.notifications_sent, report.notifications_failed) == (0, 2)
    assert (kept["notifications_sent"], kept["notifications_failed"]) == (0, 2)
    assert build_report(open_run(place)).notifications_failed == 2
    assert len([r for r in caplog.records if r.name == "crossdock.notify"]) == 2
    assert CANARY not in caplog.text


def test_functions_hear_once_of_the_end_they_asked_for():
    source, sink = ends()
    heard = []
    xd.migrate(
        source,
        sink,
        on_success=lambda ended: heard.append(("success", ended.status)),
        on_failure=lambda ended: heard.append(("failure", ended.status)),
        on_completion=[lambda ended: heard.append(("completion", ended.counts["copied"]))],
    )

    assert heard == [("success", "done"), ("completion", 3)]


def test_a_function_that_raises_is_logged_and_the_others_hear(hook, caplog):
    source, sink = ends()
    heard = []

    def broken(ended):
        raise RuntimeError("broken hook")

    report = xd.migrate(source, sink, on_completion=[broken, heard.append], notify=[xd.webhook("env:HOOK")])

    assert report.exit_code == 0
    assert len(heard) == 1
    assert told(hook)["status"] == "done"
    assert "broken hook" in caplog.text
    assert report.run_id in caplog.text


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda notify: xd.migrate(f"memory://{bucket()}/", f"memory://{bucket()}/", notify=notify), "no such bucket|is not there|no object"),
        (lambda notify: xd.migrate(filled({"a": b"1"}), f"memory://{bucket()}/", include="*.csv", notify=notify), "matches the filters"),
        (lambda notify: xd.migrate(filled({"a": b"1"}), f"memory://{bucket()}/", overwrite="mabye", notify=notify), "overwrite is if-different, always or never"),
        (lambda notify: xd.migrate("nosuch://x", f"memory://{bucket()}/", notify=notify), "nosuch"),
        (lambda notify: xd.resume(f"memory://{bucket()}/", notify=notify), "no run here"),
    ],
)  # fmt: skip
def test_a_run_that_could_not_begin_is_told_as_refused(hook, call, says):
    """A nightly job that never starts is what nobody notices."""
    with pytest.raises(xd.CrossdockError, match=says) as caught:
        call([xd.webhook("env:HOOK")])
    record = told(hook)

    assert (record["status"], record["ok"], record["counts"]) == ("refused", False, {})
    assert record["error"] == str(caught.value)


def test_a_run_that_another_driver_owns_is_told_as_refused_and_left_alone(hook, place):
    source, sink = ends()
    xd.migrate(source, sink, run_dir=place)
    with Owner(run_files(place)), pytest.raises(xd.LedgerError, match="another driver owns"):
        xd.resume(place, notify=[xd.webhook("env:HOOK")])
    record = told(hook)

    assert (record["status"], record["run_id"]) == ("refused", open_run(place).read()["run_id"])
    assert "notify" not in open_run(place).read()


def test_ctrl_c_while_objects_move_is_told(hook, place):
    source, store = filled({f"{n:03d}": b"x" for n in range(300)}), Troubled()
    pressed = []

    def press(event):
        if isinstance(event, Progress) and event.counts.copied and not pressed:
            pressed.append(event)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        xd.migrate(
            source,
            store.sink(),
            run_dir=place,
            notify=[xd.webhook("env:HOOK")],
            observer=press,
            concurrency=1,
        )
    record = told(hook)
    report = build_report(open_run(place))

    assert pressed
    assert (record["status"], record["error"]) == ("interrupted", "")
    assert record["counts"]["copied"] == report.counts.copied
    assert record["next_command"] == f"crossdock runs resume {place.rstrip('/')}"
    assert (report.state, report.notifications_sent) == ("interrupted", 1)


def test_ctrl_c_while_listing_is_told(hook, place):
    source, sink = ends()

    def press(event):
        if isinstance(event, Listed):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xd.migrate(source, sink, run_dir=place, notify=[xd.webhook("env:HOOK")], observer=press)
    record = told(hook)

    assert (record["status"], record["counts"], record["next_command"]) == ("interrupted", {}, "")


class BrokenRunner:
    """A cluster that never comes up; it says so before there is anything to iterate."""

    def run(self, *_, **__):
        raise ConnectionError("no scheduler at tcp://127.0.0.1:1")

    def close(self):
        pass


def test_a_run_whose_workers_never_came_is_told_with_its_plan(hook, place):
    source, sink = ends()
    with pytest.raises(ConnectionError):
        xd.migrate(source, sink, run_dir=place, runner=BrokenRunner(), notify=[xd.webhook("env:HOOK")])
    record = told(hook)

    assert record["status"] == "failed"
    assert record["error"] == "ConnectionError: no scheduler at tcp://127.0.0.1:1"
    assert record["counts"] == {"planned": 3, "copied": 0, "skipped": 0, "failed": 0, "pending": 3}
    assert record["next_command"] == f"crossdock runs resume {place.rstrip('/')}"


def test_a_run_that_was_taken_over_is_told_and_its_directory_left_to_its_new_driver(hook, place, monkeypatch):
    source, sink = ends()

    def lost(_):
        raise xd.LedgerError("this driver no longer owns the run", operation="drive run")

    monkeypatch.setattr(Owner, "demand", lost)
    with pytest.raises(xd.LedgerError, match="no longer owns"):
        xd.migrate(source, sink, run_dir=place, notify=[xd.webhook("env:HOOK")])

    assert told(hook)["status"] == "failed"
    assert "no longer owns" in told(hook)["error"]
    assert "notifications" not in open_run(place).read()


def test_nothing_is_begun_if_nobody_could_be_told(place, monkeypatch):
    """To learn after six hours that the webhook's variable was misspelt is too late."""
    monkeypatch.delenv("MISSPELT", raising=False)
    source, store = Troubled(), Troubled()
    for way in (
        {"notify": [xd.slack("env:MISSPELT")]},
        {"on_failure": xd.slack("env:MISSPELT")},
        {"notify": xd.slack("env:MISSPELT"), "dry_run": True},
    ):
        with pytest.raises(xd.ConfigError, match="env:MISSPELT"):
            xd.migrate(source.source(), store.sink(), run_dir=place, **way)

    assert source.calls + store.calls == []
    assert contents(place.rstrip("/")) == {}


def test_a_place_nobody_listens_at_is_no_reason_not_to_begin(place, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}/{CANARY}")
    report = xd.migrate(*ends(), run_dir=place, notify=[xd.webhook("env:HOOK")])

    assert (report.exit_code, report.notifications_failed) == (0, 1)


def test_a_dry_run_tells_nobody(hook):
    heard = []
    report = xd.migrate(*ends(), dry_run=True, notify=[xd.webhook("env:HOOK")], on_completion=heard.append)

    assert report.state == "planned"
    assert (hook.posted, heard) == ([], [])


@pytest.mark.parametrize(
    "way",
    [
        {"notify": f"https://{CANARY}"},
        {"notify": [print]},
        {"on_failure": f"https://{CANARY}"},
        {"on_success": 3},
    ],
)
def test_what_cannot_be_told_is_refused_and_not_repeated(way):
    with pytest.raises(xd.ConfigError) as caught:
        xd.migrate(*ends(), **way)

    assert CANARY not in str(caught.value)


def test_a_run_without_anybody_to_tell_writes_nothing_about_it(place):
    xd.migrate(*ends(), run_dir=place)

    assert {"notify", "notifications"}.isdisjoint(open_run(place).read())
