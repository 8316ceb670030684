"""Protections removed one at a time from a copy of the tree: a named test must notice each.

A removal is a few characters of source replaced by others; if the source has moved on and they are not found, that is an
error, not a pass. First all named tests run on the untouched copy: a test that fails anyway would prove nothing. The table
goes to ``docs/explanation/removed-protections.md``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["MUTATIONS", "Mutation", "full"]

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "explanation" / "removed-protections.md"
_COPIED = ("crossdock", "tests", "benchmarks", "pyproject.toml", "README.md")
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One protection, what takes it away, and who must notice."""

    protection: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_WRITER = "tests/connectors/test_writer.py"
_ALONE = "tests/mutation/test_protections.py"
_LOCAL = "tests/connectors/test_local.py"

MUTATIONS = (
    Mutation(
        protection="a read is pinned to the version that was listed",
        file="crossdock/connectors/streams.py",
        old="self.store.read(self.key, version=self._info.version)",
        new="self.store.read(self.key)",
        tests=(f"{_ALONE}::test_a_source_replaced_meanwhile_without_a_digest_to_tell[whole]",),
    ),
    Mutation(
        protection="each range of a large object is pinned to one version",
        file="crossdock/connectors/writer/parted.py",
        old="source.read(begun.source_key, begun.range_of(number), version=begun.version)",
        new="source.read(begun.source_key, begun.range_of(number))",
        tests=(f"{_ALONE}::test_a_source_replaced_meanwhile_without_a_digest_to_tell[parts]",),
    ),
    Mutation(
        protection="a read that goes on after a break is pinned",
        file="crossdock/connectors/layers.py",
        old="self._store.read(self._key, ByteRange(self._next, end), version=self.info.version)",
        new="self._store.read(self._key, ByteRange(self._next, end))",
        tests=(f"{_ALONE}::test_a_read_that_goes_on_is_pinned_to_where_it_began",),
    ),
    Mutation(
        protection="the bytes read are compared with the source's digest before the commit",
        file="crossdock/connectors/published.py",
        old="    if conflict is not None:\n        what",
        new="    if False:\n        what",
        tests=(f"{_WRITER}::test_bytes_that_disagree_with_the_source_digest_never_arrive",),
    ),
    Mutation(
        protection="an object read in one piece has the listed length",
        file="crossdock/connectors/writer/whole.py",
        old="if len(data) != size:",
        new="if False:",
        tests=(f"{_ALONE}::test_an_answer_that_is_short_and_says_it_is_whole[whole]",),
    ),
    Mutation(
        protection="a range has the length that was asked for",
        file="crossdock/connectors/writer/parted.py",
        old="if len(data) != expected:",
        new="if False:",
        tests=(f"{_ALONE}::test_an_answer_that_is_short_and_says_it_is_whole[parts]",),
    ),
    Mutation(
        protection="each part carries a digest that the service checks (GCS)",
        file="crossdock/connectors/gcs/uploads.py",
        old='headers={"x-goog-hash": hashes}',
        new="headers={}",
        tests=(f"{_ALONE}::test_each_part_carries_its_digest[gcs]",),
    ),
    Mutation(
        protection="each part carries a digest that the service checks (S3)",
        file="crossdock/connectors/s3/uploads.py",
        old='query={"partNumber": str(number), "uploadId": upload.id},\n        headers=headers.checksum_headers(sent),',
        new='query={"partNumber": str(number), "uploadId": upload.id},\n        headers={},',
        tests=(f"{_ALONE}::test_each_part_carries_its_digest[s3]",),
    ),
    Mutation(
        protection="what the service says of a part is compared with what was sent (GCS)",
        file="crossdock/connectors/gcs/uploads.py",
        old="if stored is not None and a2b_base64(stored[1]) != crc32c:",
        new="if False:",
        tests=(f"{_ALONE}::test_what_the_service_says_of_a_part_is_compared[gcs]",),
    ),
    Mutation(
        protection="what the service says of a part is compared with what was sent (S3)",
        file="crossdock/connectors/s3/uploads.py",
        old='if theirs != (sent.md5 or digest_of(data, ["md5"]).md5):',
        new="if False:",
        tests=(f"{_ALONE}::test_what_the_service_says_of_a_part_is_compared[s3]",),
    ),
    Mutation(
        protection="a put is conditional on the state that was observed",
        file="crossdock/connectors/writer/job.py",
        old="metadata=metadata, digests=computed, condition=job.condition",
        new="metadata=metadata, digests=computed",
        tests=(f"{_WRITER}::test_conditions_protect_the_destination",),
    ),
    Mutation(
        protection="a completion is conditional on the state that was observed",
        file="crossdock/connectors/writer/job.py",
        old="size=size, digests=computed, condition=job.condition",
        new="size=size, digests=computed",
        tests=("tests/faults/test_faults_commit.py::test_the_destination_changes_between_plan_and_commit",),
    ),
    Mutation(
        protection="a failed upload is aborted",
        file="crossdock/connectors/commits.py",
        old="        store.abort(upload)\n    except",
        new="        pass\n    except",
        tests=(f"{_WRITER}::test_a_source_that_fails_for_good_leaves_nothing",),
    ),
    Mutation(
        protection="an abort waits for the parts in flight",
        file="crossdock/connectors/writer/ranges.py",
        old="    except BaseException as error:\n        parts.close()\n",
        new="    except BaseException as error:\n",
        tests=("tests/faults/test_faults_commit.py::test_ctrl_c_while_parts_are_in_flight",),
    ),
    Mutation(
        protection="a lost acknowledgement is looked up before anything is sent again",
        file="crossdock/connectors/commits.py",
        old="            found = look(store, key, size, digests)\n            if found is not None:\n                settle()",
        new="            found = None\n            if found is not None:\n                settle()",
        tests=(f"{_WRITER}::test_a_lost_acknowledgement_is_resolved_by_looking",),
    ),
    Mutation(
        protection="that something is there is no proof that it is ours",
        file="crossdock/connectors/commits.py",
        old="found.digests.common(digests) and found.digests.conflict(digests) is None",
        new="True",
        tests=(f"{_WRITER}::test_a_lost_acknowledgement_of_somebody_elses_object_is_no_success",),
    ),
    Mutation(
        protection="bytes in flight stay within the budget",
        file="crossdock/connectors/budget.py",
        old="self._queue[0] is ticket and self._free >= wanted",
        new="True",
        tests=(f"{_ALONE}::test_nothing_is_taken_of_the_budget_that_is_not_there",),
    ),
    Mutation(
        protection="an answer that is open and waits counts against the budget",
        file="crossdock/connectors/writer/ranges.py",
        old="    taken = job.budget.acquire(len(first))",
        new="    taken = 0",
        tests=(f"{_ALONE}::test_an_answer_that_waits_for_its_turn_counts_against_the_budget",),
    ),
    Mutation(
        protection="what throttles gets fewer requests",
        file="crossdock/connectors/pace.py",
        old="self._set(int(self.limit * _CUT))",
        new="pass",
        tests=("tests/connectors/test_pace.py::test_a_service_that_throttles_is_obeyed_and_still_used",),
    ),
    Mutation(
        protection="retries end",
        file="crossdock/connectors/layers.py",
        old="error.retry, error.attempts = Retry.EXHAUSTED, attempts",
        new="error.attempts = attempts",
        tests=("tests/faults/test_faults_service.py::test_a_service_that_asks_for_less_for_ever",),
    ),
    Mutation(
        protection="a redirect into a private network is refused",
        file="crossdock/connectors/http/client.py",
        old="if inside is False and any(is_private(address) for address in addresses):",
        new="if False:",
        tests=(
            "tests/connectors/test_http_access.py::TestRedirects::test_a_private_address_is_refused_to_a_public_server",
        ),
    ),
    Mutation(
        protection="credentials stay with the origin they were given for",
        file="crossdock/connectors/http/client.py",
        old="common | (headers if target.origin == self._root.origin else ours)",
        new="common | headers",
        tests=("tests/connectors/test_http_access.py", "-k", "another_origin_never_sees_them"),
    ),
    Mutation(
        protection="a file that is a link is not opened",
        file="crossdock/connectors/local.py",
        old="os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK",
        new="os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK",
        tests=(_LOCAL, "-k", "reading_a_link_is_refused"),
    ),
    Mutation(
        protection="a directory that is a link is not entered",
        file="crossdock/connectors/local_tree.py",
        old="os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC",
        new="os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC",
        tests=(_LOCAL, "-k", "a_linked_directory_is_never_entered"),
    ),
    Mutation(
        protection="a page of a listing holds as many objects as it says",
        file="crossdock/connectors/s3/listing.py",
        old="int(count) != len(infos)",
        new="False",
        tests=("tests/connectors/test_s3_access.py", "-k", "no_page_is_silently_short"),
    ),
    Mutation(
        protection="a page of a listing comes after the one before",
        file="crossdock/connectors/s3/listing.py",
        old="if raw <= last:",
        new="if False:",
        tests=("tests/connectors/test_s3_access.py", "-k", "no_page_is_silently_short"),
    ),
    Mutation(
        protection="a generator that dies leaves the old object",
        file="crossdock/connectors/writer/sequential.py",
        old="        commits.abort_unless_unknown(job.store, upload, error)\n        raise\n",
        new="        done = []\n        return job.store.complete(upload, parts.collect(), size=0)  # type: ignore[return-value]\n",
        tests=(f"{_WRITER}::test_a_generator_that_dies_leaves_the_old_object",),
    ),
    Mutation(
        protection="what was found at the destination is proven, not believed",
        file="crossdock/flows/planning/recognise.py",
        old="    if not verdict:\n        return None\n",
        new="",
        tests=("tests/flows/test_resume.py", "tests/flows/test_migrate.py"),
    ),
    Mutation(
        protection="two drivers never work on one run",
        file="crossdock/flows/runs/ownership.py",
        old="if not _is_gone(held):",
        new="if False:",
        tests=("tests/flows/test_resume.py::test_two_drivers_on_one_run_the_second_is_refused",),
    ),
)


def full() -> None:
    """Run all, print as they come, write the table; exits with an error if one is not noticed."""
    rows, missed = [], []
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        tree = Path(scratch)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        _demand_green(tree)
        for mutation in MUTATIONS:
            caught = _run(tree, mutation)
            print(f"{'caught' if caught else 'NOT CAUGHT':<11} {mutation.protection}: {caught}", flush=True)
            rows.append(f"| {mutation.protection} | `{mutation.file}` | {_words(caught)} |")
            if not caught:
                missed.append(mutation.protection)
    _write(rows)
    if missed:
        sys.exit(f"not caught: {'; '.join(missed)}")


def _words(caught: str) -> str:
    return f"`{caught}`" if caught else "**nobody**"


def _demand_green(tree: Path) -> None:
    for mutation in MUTATIONS:
        text = (tree / mutation.file).read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            sys.exit(f"{mutation.protection}: {mutation.file} has changed; write this mutation anew")
    for tests in dict.fromkeys(mutation.tests for mutation in MUTATIONS):
        code, said = _pytest(tree, tests)
        if code:
            sys.exit(f"{' '.join(tests)} does not pass on the untouched tree:\n{said[-3000:]}")


def _run(tree: Path, mutation: Mutation) -> str:
    """The first test that noticed; empty if none did."""
    file = tree / mutation.file
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        code, said = _pytest(tree, mutation.tests)
    finally:
        file.write_text(before, encoding="utf-8")
    found = re.search(r"^FAILED (?:\S*/)?(\S+\.py::\S+)", said, re.MULTILINE)
    if code == 1 and found:
        return found[1]
    if code not in (0, 1):
        sys.exit(f"{mutation.protection}: the tests did not run:\n{said[-3000:]}")
    return ""


def _pytest(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Run these tests with the copy's packages, up to the first failure."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "60",
        *tests,
    ]
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command,
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
        # A shell's background jobs are deaf to SIGINT, and a test of Ctrl-C would be too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return done.returncode, done.stdout + done.stderr


def _write(rows: list[str]) -> None:
    today = datetime.now(UTC).date().isoformat()
    TABLE.write_text(
        "# Removed protections\n\n"
        'What `make bench ARGS="mutation"` says: each line is one protection, taken out of a copy of the source, and the first\n'
        f"test that failed for it. Last run: {today}.\n\n"
        "| protection | removed from | noticed by |\n|---|---|---|\n" + "\n".join(rows) + "\n",
        encoding="utf-8",
    )
