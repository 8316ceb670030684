"""What holds for the repository as a whole: what may not be in a tracked file, and what must agree with what."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import crossdock

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_OURS = {"build", "dist", "site", "node_modules"}

# Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:root|work|Users|home/[a-z]+)/\w")
REGISTRIES = re.compile(
    "|".join(
        (
            r"pypi\." + "org",
            r"pythonhosted\." + "org",
            r"registry\.npmjs\." + "org",
            r"registry\.yarnpkg\." + "com",
            r"proxy\.golang\." + "org",
            r"conda\.anaconda\." + "org",
            r"index-" + "url",
            r"find-" + "links",
        )
    )
)
SECRETS = re.compile(
    "|".join(
        (
            r"(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}",
            "-----BEGIN [A-Z ]*PRIVATE" + " KEY-----\n?[A-Za-z0-9+/]{20}",
            r"hooks\.slack\.com/services/" + r"T[A-Z0-9]+/",
            r"gh[pousr]_[A-Za-z0-9]{36}",
            r"AIza[0-9A-Za-z_-]{35}",
            r"ya29\.[0-9A-Za-z_-]{30}",
        )
    )
)


@cache
def tracked() -> tuple[Path, ...]:
    """Files git tracks or would track; outside a checkout, all files but what is built."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if answer.returncode == 0:
        names = [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]
        return tuple(path for name in sorted(names) if (path := ROOT / name).is_file())
    return tuple(path for path in sorted(ROOT.rglob("*")) if path.is_file() and _is_ours(path))


def _is_ours(path: Path) -> bool:
    """Neither built nor a tool's cache (those are hidden directories, as .ci is not)."""
    directories = path.relative_to(ROOT).parts[:-1]
    return not any(part in NOT_OURS or (part.startswith(".") and part != ".ci") for part in directories)


@cache
def texts() -> dict[str, str]:
    """Path and text of each tracked text file."""
    found = {}
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found[str(path.relative_to(ROOT))] = data.decode("utf-8", errors="replace")
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"
        for name, text in texts().items()
        for found in pattern.finditer(text)
    ]


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        pytest.param(MACHINE_PATHS, "see " + "/root" + "/x", id="paths of one machine"),
        pytest.param(REGISTRIES, "pip install --index-" + "url", id="package registries"),
        pytest.param(SECRETS, "AKIA" + "ABCDEFGHIJKLMNOP", id="secrets"),
    ],
)
def test_no_tracked_file_has(pattern: re.Pattern[str], example: str) -> None:
    assert pattern.search(example), "the pattern finds what it is for"
    # The canaries of tests/security are secrets in shape: they are looked for where they must not be.
    assert [line for line in lines_with(pattern) if not line.startswith("tests/security/")] == []


def test_every_module_says_what_it_is_for() -> None:
    modules = {name: text for name, text in texts().items() if name.endswith(".py")}
    silent = [name for name, text in modules.items() if not ast.get_docstring(ast.parse(text))]

    assert len(modules) > 50, "this test found the source"
    assert silent == []


def test_imports_go_in_one_direction() -> None:
    """The contracts of pyproject.toml: rooms, connectors, the test kit."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stdout


def test_every_connector_is_under_the_independence_contract() -> None:
    """A connector that is added to the registry is added to the contract too."""
    from crossdock.connectors.registry import CONNECTORS

    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    independent = next(contract["modules"] for contract in contracts if contract["type"] == "independence")

    # What fsspec opens has no row of its own: one is made when such a URL is met. A lake stands upon connectors.
    assert {row.module for row in CONNECTORS if row.upon is None} | {
        "crossdock.connectors.fsspec_bridge"
    } == set(independent)


def test_the_version_is_one() -> None:
    assert PROJECT["project"]["version"] == crossdock.__version__


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {crossdock.__version__}" in texts()["CHANGELOG.md"]


def test_every_ruff_ignore_is_explained() -> None:
    """Each group of ignored rules stands below a comment, or has one at the end of its line."""
    text = texts()["pyproject.toml"]
    block = re.search(r"^ignore = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1].splitlines()
    unexplained = [
        line
        for before, line in zip(["", *block], block, strict=False)
        if not line.lstrip().startswith("#") and "#" not in line and not before.lstrip().startswith("#")
    ]
    assert unexplained == []


def test_every_door_a_document_names_exists() -> None:
    doors = set(re.findall(r"^([a-z]+):", texts()["Makefile"], re.MULTILINE))
    named = {
        (name, door)
        for name, text in texts().items()
        if name.endswith(".md")
        for door in re.findall(r"(?:`|^\$ |^)make ([a-z]+)", text, re.MULTILINE)
    }

    assert {"demo", "test"} <= {door for name, door in named if name == "README.md"}
    assert [(name, door) for name, door in named if door not in doors] == []


def test_decisions_are_numbered_and_have_their_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    lacking = [
        (page.name, part)
        for page in pages
        for part in ("Context", "Choice", "Drawbacks", "Alternatives")
        if f"\n## {part}\n" not in page.read_text(encoding="utf-8")
    ]

    assert numbers == list(range(1, len(pages) + 1))
    assert lacking == []


@pytest.mark.parametrize("name", [".ci/run", ".ci/venv"])
def test_scripts_are_executable_and_parse(name: str) -> None:
    script = ROOT / name
    shell = script.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").split()
    answer = subprocess.run([*shell, "-n", str(script)], capture_output=True, text=True, check=False)

    assert os.access(script, os.X_OK)
    assert (answer.returncode, answer.stderr) == (0, "")
