"""The last screen adds up, says what failed and what to type next, and repeats no secret."""

from dataclasses import replace

import pytest

from crossdock.cli.commands import redacted, resume_command, without_dry_run
from crossdock.cli.ending import when_done
from crossdock.cli.main import _print_error
from crossdock.cli.verdict import headline, next_step, verdict
from crossdock.flows import FailureGroup, Report
from crossdock.model import MIB, Counts

DENIED = FailureGroup(
    reason="denied",
    count=7,
    keys=("a", "b\nc"),
    message="put gs://archive/a: 403 forbidden",
    hint="grant the permission named, then resume",
    retryable=7,
)
REFUSED = FailureGroup(
    reason="refused", count=1, keys=("x",), message="too long", hint="exclude it", retryable=0
)
CHANGED = FailureGroup(
    reason="source changed", count=1, keys=("y",), message="replaced", hint="run it again", retryable=0
)


def report(state="complete", failures=(), **numbers):
    counts = Counts(planned=100, planned_bytes=80 * MIB, **numbers)
    return Report(
        run_id="20261120T101500-4f2a1b",
        run_dir="file:///state/runs/20261120T101500-4f2a1b",
        state=state,
        source="s3://landing/",
        sink="gs://archive/",
        counts=counts,
        duration_s=4.0,
        levels={"V1": 3, "V2": 87},
        retries=5,
        resent_bytes=2 * MIB,
        metadata_lost={"user.owner": 2},
        metadata_lost_objects=2,
        failures=tuple(failures),
        excluded=12,
    )


def test_the_last_screen_of_a_run_with_failures():
    done = report("incomplete", [DENIED], copied=90, skipped=3, failed=7, copied_bytes=80 * MIB)

    assert (
        verdict(done, next_command="crossdock runs resume 20261120T101500-4f2a1b")
        == """\
not done: of 100 objects 7 failed
  s3://landing/ -> gs://archive/

  planned   100 objects = 90 copied + 3 skipped + 7 failed + 0 pending
  left out  12 by the filters
  moved     80.0 MiB in 4.0 s, 20.0 MiB/s
  verified  3 to V1, 87 to V2
  retried   5 requests, 2.0 MiB sent again
  lost      metadata of 2 objects: user.owner (2)

  7 denied: a, b\\nc, ...
    put gs://archive/a: 403 forbidden
    what to do: grant the permission named, then resume

  record    file:///state/runs/20261120T101500-4f2a1b
  next      crossdock runs resume 20261120T101500-4f2a1b"""
    )


def test_nothing_left_to_do_says_so():
    assert verdict(report(copied=100), next_command="").endswith(
        "next      nothing; the same command again copies only what changes"
    )


def test_a_run_directory_that_was_given_holds_one_run():
    """The same command with the same --run-dir is refused after a complete run, so it is not recommended."""
    assert when_done(report(copied=100)) == "nothing"


@pytest.mark.parametrize(
    ("command", "keeps"),
    [("cp", True), ("sync", True), ("convert", True), ("ingest", True), ("check", False), ("ls", False)],
)
def test_interrupted_promises_only_what_the_command_keeps(command, keeps, capsys):
    _print_error(KeyboardInterrupt(), command=command, verbose=0)

    assert keeps == ("goes on from there" in capsys.readouterr().err)


def test_neither_screen_nor_page_call_proven_what_was_not_compared():
    ended = replace(report(copied=60, skipped=40), compared=False)

    assert headline(ended).endswith("what was there already was left as it is, and not compared")
    assert "what was there already was left as it is, and not compared</h1>" in ended.to_html()
    assert headline(replace(report(copied=100), compared=False)).endswith(", proven")


def test_what_no_command_mends_is_not_given_as_the_next_command():
    """The same command would end the same: what to do is said of each class of failures."""
    assert verdict(report("incomplete", [REFUSED], copied=99, failed=1), next_command="").endswith(
        "next      see what to do, above; the same command again ends the same"
    )


@pytest.mark.parametrize(
    ("told", "ended"),
    [
        ("done: every object is at the destination, proven", report(copied=60, skipped=40)),
        ("not done: of 100 objects 1 failed and 9 pending", report("incomplete", copied=90, failed=1)),
        ("not done: of 100 objects 10 pending", report("incomplete", copied=90)),
        ("plan: nothing was moved", report("planned")),
        ("plan: nothing was moved; 1 of 100 objects are refused", report("planned", failed=1)),
        ("interrupted: what was done is recorded, the rest can be resumed", report("interrupted", copied=9)),
    ],
)
def test_the_first_line_says_how_it_ended(told, ended):
    assert told == headline(ended)


@pytest.mark.parametrize(
    ("expected", "ended"),
    [
        ("", report(copied=100)),
        ("AGAIN", report("planned")),
        ("RESUME", report("interrupted", copied=9)),
        ("RESUME", report("incomplete", [DENIED], copied=93, failed=7)),
        ("", report("incomplete", [REFUSED], copied=99, failed=1)),
        ("AGAIN", report("incomplete", [CHANGED], copied=99, failed=1)),
        ("RESUME", report("incomplete", [REFUSED], copied=90, failed=1)),
    ],
)
def test_the_next_step_is_the_one_that_helps(expected, ended):
    assert expected == next_step(ended, resume="RESUME", again="AGAIN")


def test_secrets_on_a_command_line_do_not_come_back():
    words = [
        "cp", "s3://a/b=c", "gs://d/", "--source-option", "secret=hunter2", "--source-option=key=AKIA", "--sink-option",
        "token=env:TOKEN", "--sink-option", "endpoint_url=http://h:1",
    ]  # fmt: skip

    assert redacted(words) == (
        "crossdock cp s3://a/b=c gs://d/ --source-option secret=... --source-option=key=... "
        "--sink-option token=env:TOKEN --sink-option endpoint_url=http://h:1"
    )


def test_resuming_repeats_what_the_run_does_not_keep():
    command = resume_command(
        "R",
        where=" --workers 2",
        source_options={"endpoint_url": "http://h:1", "secret": "env:MY_SECRET"},
        sink_options={"token": "hunter2"},
    )

    expected = (
        "crossdock runs resume R --workers 2 --source-option secret=env:MY_SECRET --sink-option token=..."
    )
    assert expected == command


@pytest.mark.parametrize("words", [["-n"], ["--dry-run"], ["-qn"], ["-nv", "-v"]])
def test_the_command_after_a_plan_is_for_real(words):
    left = without_dry_run(["cp", "-n-", "src", *words])

    assert left[:3] == ["cp", "-n-", "src"]
    assert not any("n" in word for word in left[3:])
