"""Code in README and documents: all of it parses, and what is marked ``<!-- runnable -->`` runs, against real servers.

The blocks of one document run in order in one namespace, as a reader would type them, in an empty directory, with an
embedded S3 and GCS behind the clouds' own environment variables: bucket ``src-bucket`` holds a few objects, ``dst-bucket``
is empty. Lines that begin with ``$ crossdock`` in ``console`` blocks are checked against the real commands.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.testing import EmbeddedGCS, EmbeddedS3

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?P<mark><!-- runnable -->\s*\n)?^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
OBJECTS = {"2024/a.bin": b"a" * 70_000, "2024/b c.bin": b"b", "2024/empty": b"", "2025/d.csv": b"x,y\n1,2\n"}


def blocks(page: Path, language: str) -> Iterator[tuple[int, bool, str]]:
    """Line number, whether marked runnable, and code of each block."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found["language"] == language:
            yield text.count("\n", 0, found.start("code")) + 1, bool(found["mark"]), found["code"]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


ALL_PYTHON = [
    pytest.param(code, id=f"{name_of(page)}:{line}")
    for page in PAGES
    for line, _, code in blocks(page, "python")
]
RUNNABLE = [
    pytest.param(page, id=name_of(page))
    for page in PAGES
    if any(marked for _, marked, _ in blocks(page, "python"))
]
COMMANDS = [
    pytest.param(line[2:], id=line[2:])
    for page in PAGES
    for _, _, code in blocks(page, "console")
    for line in code.replace("\\\n", " ").splitlines()
    if line.startswith("$ crossdock ")
]


@pytest.fixture
def two_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a reader has: two clouds that the environment names, and an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSDOCK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-test-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with EmbeddedS3(buckets=("src-bucket",)) as s3, EmbeddedGCS(buckets=("dst-bucket",)) as gcs:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        for key, data in OBJECTS.items():
            xd.sink("s3://src-bucket/")(iter([data] if data else []), key=key)
        yield


@pytest.mark.parametrize("code", ALL_PYTHON)
def test_every_python_block_parses(code: str) -> None:
    ast.parse(code)


@pytest.mark.usefixtures("two_clouds")
@pytest.mark.parametrize("page", RUNNABLE)
def test_marked_blocks_run_in_order(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": "example"}
    for line, marked, code in blocks(page, "python"):
        if marked:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)  # noqa: S102 - our own documents


def test_the_readme_and_both_explanations_have_something_to_run() -> None:
    """Or the test above would pass with nothing to do."""
    runnable = {parameter.id for parameter in RUNNABLE}
    assert {"README.md", "docs/explanation/combining.md", "docs/explanation/delivery.md"} <= runnable


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_one_the_cli_understands(line: str) -> None:
    """Parsed, not run: unknown commands, unknown options and wrong values are errors."""
    words = shlex.split(re.split(r"\s[|>]\s?", line)[0], comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="crossdock")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        context = click.Context(found, info_name=name, parent=context)
        command = found
    options = {name for parameter in command.get_params(context) for name in parameter.opts}
    written = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}

    assert not isinstance(command, click.Group) or written
    assert written <= options
