"""One object; what a run keeps of its ends; what importing and looking at runs costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from flow_kit import HOSTILE, bucket, contents, filled

import crossdock as xd
from crossdock.errors import ConfigError, NotFoundError, PreconditionError
from crossdock.flows import list_runs
from crossdock.flows.questions.endpoints import describe, kept_options, open_ends, rebuilt


@pytest.mark.parametrize("key", [key for key in HOSTILE if not key.endswith("/")])
def test_copy_takes_keys_literally_and_a_prefix_keeps_the_last_segment(key):
    source, sink = filled({key: b"body"}), f"memory://{bucket()}"

    exact = xd.copy(f"{source}/{key}", f"{sink}/to")
    below = xd.copy(f"{source}/{key}", f"{sink}/d/")
    root = xd.copy(f"{source}/{key}", sink)

    last = key.rpartition("/")[2]
    assert ["to", f"d/{last}", last] == [exact.key, below.key, root.key]
    assert {"to": b"body", f"d/{last}": b"body", last: b"body"} == contents(sink)


def test_copy_raises_the_error_itself_and_leaves_the_destination():
    source, sink = filled({"a": b"new"}), filled({"a": b"old"})

    with pytest.raises(NotFoundError):
        xd.copy(f"{source}/missing", f"{sink}/a")
    with pytest.raises(PreconditionError):
        xd.copy(f"{source}/a", f"{sink}/a", overwrite=False)
    with pytest.raises(ConfigError, match="names no object"):
        xd.copy(f"{source}/", f"{sink}/a")
    with pytest.raises(ConfigError):
        xd.copy(f"{source}/a", f"{sink}/a", verify="v7")
    assert contents(sink) == {"a": b"old"}


@pytest.mark.parametrize(("source", "sink"), [(Path("here"), "memory://b"), ("memory://b", 5)])
def test_an_end_that_is_no_url_and_no_task_is_one_clear_line(source, sink):
    with pytest.raises(ConfigError, match=r"is a URL or a task of objects, not (PosixPath|int)"):
        xd.migrate(source, sink)


def test_copy_verifies_by_reading_back_when_asked():
    source, sink = filled({"a": b"new"}), f"memory://{bucket()}"

    receipt = xd.copy(f"{source}/a", f"{sink}/a", verify="v3")

    assert receipt.verification == xd.Verification.V3


def test_secrets_are_not_kept_and_may_be_given_again():
    kept = kept_options("s3://b/", {"endpoint_url": "http://h", "key": "AK", "secret": "S3CRET-canary"})

    assert kept["endpoint_url"] == "http://h"
    assert "canary" not in json.dumps(kept)


def test_ends_are_rebuilt_as_they_were_with_options_on_top(tmp_path):
    """Roots and prefixes must be the same split: the manifest's keys are relative to the store's root."""
    (tmp_path / "d" / "logs").mkdir(parents=True)
    ends = open_ends(
        str(tmp_path / "d"),
        "memory://b/p/",
        sink_options={"min_part_size": 7, "part_size": 1_000, "page_size": 5},
    )

    asked = json.loads(json.dumps(describe(ends)))
    source, sink = rebuilt(asked, {}, {"min_part_size_bytes": 9, "chunksize": 2_000})

    assert (ends.source.store.url, ends.source.prefix) == (source.store.url, source.prefix)
    assert (sink.store.url, sink.prefix) == ("memory://b", "p/")
    assert (sink.store.inner.options.min_part_size_bytes, sink.store.inner.options.page_size) == (9, 5)
    assert sink.transfer.part_size_bytes == 2_000


def test_options_beside_a_task_are_refused():
    with pytest.raises(ConfigError, match="already"):
        open_ends(xd.source("memory://a/"), "memory://b/", source_options={"page_size": 1})


def test_runs_are_listed_oldest_first_wherever_they_are():
    source, place = filled({"a": b"1"}), f"memory://{bucket()}"
    for number in (2, 1, 3):
        xd.migrate(source, f"memory://{bucket()}", run_dir=f"{place}/runs/{number}")
    filled({})
    xd.sink(f"{place}/")(b"", key="runs/no-run/file")

    runs = list(list_runs(f"{place}/runs"))

    assert [f"{place}/runs/{number}" for number in (1, 2, 3)] == [run["url"] for run in runs]
    assert {"complete"} == {run["state"] for run in runs}


def test_importing_the_room_loads_nothing_heavy():
    code = "import crossdock.flows, sys; print([m for m in ('pyarrow', 'distributed', 'obstore') if m in sys.modules])"

    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        == "[]"
    )
