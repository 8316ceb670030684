"""The kit itself: ends, the watcher, the table of what ran, and the page for outsiders, whose example is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crossdock.errors import ConfigError
from crossdock.testing import End, Watcher
from crossdock.testing.conformance import page
from crossdock.testing.watcher import threads_left

ROOT = Path(__file__).parents[2]
# Runs where there is an sshd; the record is made where there is none.
ONLY_SOMEWHERE = {("StoreSuite", "SFTP on open SSH")}


def pytest_in(folder, *arguments):
    """A pytest of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


class TestWatcher:
    def test_whole_versions_and_what_was_there_pass(self):
        held = {"a": b"old"}
        watcher = Watcher(held.get, ["a", "b"])
        watcher.allow("a", b"old", b"new")
        watcher.allow("b", None)
        with watcher:
            watcher.wait_for_looks(2)
            held["a"] = b"new"
            watcher.wait_for_looks(2)

        watcher.assert_exact()
        assert watcher.versions_seen("a") == 2
        assert watcher.looks >= 4

    @pytest.mark.parametrize("body", [b"", b"ne", b"new!", None])
    def test_anything_else_is_kept(self, body):
        """Empty, short, longer, gone for a moment: one look is enough."""
        held = {"a": b"old"}
        watcher = Watcher(held.get, ["a"])
        watcher.allow("a", b"old", b"new")
        with watcher:
            held["a"] = body
            watcher.wait_for_looks(2)
            held["a"] = b"new"

        assert {(sighting.key, sighting.size) for sighting in watcher.wrong} == {
            ("a", None if body is None else len(body))
        }
        with pytest.raises(AssertionError, match="never be there"):
            watcher.assert_exact()

    def test_a_look_between_two_chunks_needs_no_thread(self):
        held = {"a": b"stump"}
        watcher = Watcher(held.get, ["a"])
        watcher.allow("a", b"whole")
        watcher.look()

        assert [sighting.size for sighting in watcher.wrong] == [5]

    def test_one_that_never_looked_proves_nothing(self):
        with pytest.raises(AssertionError, match="never looked"):
            Watcher({}.get, ["a"]).assert_exact()

    def test_a_back_door_that_fails_is_heard_of(self):
        def broken(key):
            raise OSError("the back door is shut")

        watcher = Watcher(broken, ["a"])
        with pytest.raises(OSError, match="shut"), watcher:
            pass


def test_threads_left_names_ours_and_no_others():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, name=name) for name in ("crossdock-part_0", "other")]
    for thread in threads:
        thread.start()
    left = threads_left()
    stop.set()
    for thread in threads:
        thread.join()

    assert "crossdock-part_0" in left
    assert "other" not in left
    assert "crossdock-part_0" not in threads_left()


@pytest.mark.parametrize(
    "wrong", [{}, {"url": "memory://no-slash"}, {"url": "memory://both/", "store": object()}]
)
def test_an_end_is_one_place(wrong):
    with pytest.raises(ConfigError):
        End(**wrong)


def test_an_end_shows_what_is_there_and_what_was_begun():
    end = End(url="memory://kit-names/")
    end.put("b", b"1")
    end.root.store.begin("a", part_size_bytes=10)

    assert end.names() == ["b", "upload of a"]
    assert (end.held("b"), end.held("a")) == (b"1", None)


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """The example of the page, as its reader would save and run it."""
    folder = tmp_path_factory.mktemp("documented")
    text = (ROOT / "docs/how-to/test-a-connector.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(code, encoding="utf-8")
    done = pytest_in(
        folder,
        "-q",
        "-W",
        "error",
        "-p",
        "crossdock.testing.conformance",
        "--conformance-record",
        "kept.json",
    )
    return folder, done


def test_the_documented_example_passes(documented):
    """A third party's connector in a dozen lines: all suites run, nothing fails, and the end says what ran."""
    folder, done = documented
    lines = (folder / "test_shelf.py").read_text(encoding="utf-8").splitlines()
    kept = json.loads((folder / "kept.json").read_text(encoding="utf-8"))
    ran = {row["suite"]: row["passed"] for row in kept if " to " not in row["end"]}

    assert done.returncode == 0, done.stdout[-3_000:]
    assert len([line for line in lines if line.startswith(("    def", "class"))]) <= 12
    assert ran.keys() == {"StoreSuite", "SourceSuite", "SinkSuite", "CodecSuite"}
    assert min(ran.values()) >= 30
    assert {row["end"] for row in kept if row["suite"] == "PairSuite"} == {
        *("shelf to shelf", "shelf to memory", "shelf to local", "memory to shelf", "local to shelf")
    }
    assert "conformance: StoreSuite shelf" in done.stdout
    assert "conformance: PairSuite 5 pairs" in done.stdout


def test_the_page_is_made_of_what_ran(documented):
    folder, _ = documented
    text = page(json.loads((folder / "kept.json").read_text(encoding="utf-8")), "<!-- note -->")

    assert text.startswith("<!-- note -->")
    assert re.search(r"## StoreSuite\n.*\n\| shelf \| \d{3} \|", text, re.DOTALL)
    assert "this kind of store is always there: shelf" in text
    assert re.search(r"\| memory \| \d+ \|  \|  \|", text)


def test_the_record_names_every_end_that_is_tested():
    """After a suite or an end came or went: ``make conformance``. Counts may lag behind; rows may not."""
    recorded = json.loads((ROOT / "tests/conformance.json").read_text(encoding="utf-8"))
    rows = {(row["suite"], row["end"]) for row in recorded}
    done = pytest_in(
        *(ROOT, "--collect-only", "-qq", "--conformance-rows", "tests/connectors"),
        *("tests/formats/test_codec_suite.py", "tests/integration/test_pairs.py"),
    )
    collected = {
        tuple(line.removeprefix("conformance row: ").split(": "))
        for line in done.stdout.splitlines()
        if line.startswith("conformance row: ")
    }

    assert len(collected) > 100, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert rows ^ collected <= ONLY_SOMEWHERE
    assert [row for row in recorded if row["failed"]] == []
