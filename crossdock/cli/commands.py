"""Commands as a user types them: what the verdict names as the next step. Pure; secrets do not come back.

A value that was given as text on a command line is the user's own, but a screen and a log outlive the command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from crossdock.options import sounds_secret

__all__ = ["carry_out_command", "redacted", "resume_command", "without_dry_run"]

_SECRET = re.compile(r"key|secret|token|password|credential|account|sas", re.IGNORECASE)
_NAME = re.compile(r'"([^"]*)"\s*:')  # of a JSON object, also one that is not quite right
_REFERENCE = ("env:", "file:", "cmd:")  # these name a place, which is no secret


def redacted(arguments: Sequence[str]) -> str:
    """A command line with the values of secret options replaced by ``...``."""
    return shlex.join(["crossdock", *map(_redacted, arguments)])


def _redacted(argument: str) -> str:
    head, sep, value = argument.partition("=")
    if head.startswith("--") and sep and "=" in value:  # --source-option=secret=value
        return f"{head}={_redacted(value)}"
    if sep and _hides(head, value) and not value.startswith(_REFERENCE):
        return f"{head}=..."
    return argument


def _hides(name: str, value: str) -> bool:
    """Whether an option is not to be shown: by its name, or by a name within a value that is a JSON object."""
    if _SECRET.search(name) or sounds_secret(name):
        return True
    return value.lstrip().startswith("{") and any(
        _SECRET.search(inner) or sounds_secret(inner) for inner in _NAME.findall(value)
    )


def without_dry_run(arguments: Sequence[str]) -> list[str]:
    """The same command for real; ``-n`` may stand among other letters."""
    return [
        re.sub("n", "", word) if re.fullmatch("-[nqv]+", word) else word
        for word in arguments
        if word not in ("-n", "--dry-run")  # a - that was typed stays: it is stdin
    ]


def resume_command(
    run: str,
    *,
    where: str = "",
    source_options: Mapping[str, str] | None = None,
    sink_options: Mapping[str, str] | None = None,
    others: Sequence[str] = (),
) -> str:
    """The command that goes on with a run. It repeats what the run does not keep: secrets, as references or ``...``.

    Args:
        run: Its id, or the URL of its directory.
        where: The flags that said where it runs.
        source_options: As they were given.
        sink_options: As they were given.
        others: Further words that the run does not keep.
    """
    words = ["runs", "resume", run, *shlex.split(where)]
    words += _secrets({"--source-option": source_options, "--sink-option": sink_options})
    words += others
    return redacted(words)


def carry_out_command(
    plan: str,
    *,
    source_options: Mapping[str, str] | None = None,
    sink_options: Mapping[str, str] | None = None,
    run_options: Mapping[str, str] | None = None,
) -> str:
    """The command that carries out a plan. It repeats what the plan does not keep: secrets, as references or ``...``.

    Args:
        plan: The URL of its directory.
        source_options: As they were given.
        sink_options: As they were given.
        run_options: Of the store that holds the directory, as they were given: all of them are needed to find it.
    """
    words = ["cp", "--plan", plan]
    words += _secrets({"--source-option": source_options, "--sink-option": sink_options})
    for name, value in (run_options or {}).items():
        words += ["--run-option", f"{name}={value}"]
    return redacted(words)


def _secrets(given: Mapping[str, Mapping[str, str] | None]) -> list[str]:
    """Flags and values of those options that hold secrets."""
    return [
        word
        for flag, options in given.items()
        for name, value in (options or {}).items()
        if _hides(name, value)
        for word in (flag, f"{name}={value}")
    ]
