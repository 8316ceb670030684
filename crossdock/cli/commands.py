"""Commands as a user types them: what the verdict names as the next step. Pure; secrets do not come back.

A value that was given as text on a command line is the user's own, but a screen and a log outlive the command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from crossdock.options import sounds_secret

__all__ = ["redacted", "resume_command", "without_dry_run"]

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
    words = [re.sub("n", "", word) if re.fullmatch("-[nqv]+", word) else word for word in arguments]
    return [word for word in words if word not in ("-", "--dry-run")]


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
    for flag, options in (("--source-option", source_options), ("--sink-option", sink_options)):
        for name, value in (options or {}).items():
            if _hides(name, value):
                words += [flag, f"{name}={value}"]
    words += others
    return redacted(words)
