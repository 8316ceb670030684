"""Type hints survive: checkers see a task, and a pair under ``@one_task``, with the signature that was written."""

from __future__ import annotations

import re

from mypy import api

CODE = """
from crossdock.combine import one_task, task, param, CombinedTask

@task
def read(key: str, n: int = 1) -> bytes:
    return b""

@task(name="w", retries=2)
def write(data: bytes, key: str = "") -> int:
    return 1

@one_task(name="move", retries=2)
def move(key: str, folder: str = "") -> int:
    return write(read(key), key=folder + key)

@one_task
def bare(key: str) -> int:
    return write(read(key))

reveal_type(read("k"))
reveal_type(move("k", folder="f"))
reveal_type(bare)
move(5)
move("k", nonsense=1)
write("text")
with one_task("block") as block:
    write(read(param("key")))
reveal_type(block)
reveal_type(CombinedTask(read.bind("k"), write))
reveal_type(move.with_options(retries=3))
reveal_type(read.with_options(timeout=5)("k"))
task(retries="many")
one_task("block", nonsense=1)
CombinedTask(read.bind("k"), write, timeout="soon")
"""


def test_checkers_see_signatures(tmp_path):
    module = tmp_path / "typed.py"
    module.write_text(CODE)
    config = tmp_path / "mypy.ini"  # not the project's, which names its own files
    config.write_text("[mypy]\nfollow_imports = silent\n")
    out, err, _ = api.run(
        ["--strict", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache"), str(module)]
    )
    notes = re.findall(r'Revealed type is "(.*)"', out)
    errors = re.findall(r"error: .*", out)

    assert err == ""
    assert notes == [
        "bytes",
        "int",
        "crossdock.combine.block.TracedTask[[key: str], int]",
        "crossdock.combine.combined.CombinedTask",
        "crossdock.combine.combined.CombinedTask",
        "crossdock.combine.block.TracedTask[[key: str, folder: str =], int]",
        "bytes",
    ]
    wanted = [
        '"int"; expected "str"',
        'Unexpected keyword argument "nonsense"',
        '"str"; expected "bytes"',
        'No overload variant of "task"',
        'No overload variant of "one_task"',
        'Argument "timeout"',
    ]
    assert [text for text in wanted if not any(text in error for error in errors)] == []
