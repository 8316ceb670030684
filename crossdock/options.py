"""Option classes: one frozen record per connector feeds the API, the CLI, environment names and the documents.

An option class is a frozen dataclass whose fields were made with ``option(...)``. ``parse_options`` builds one
from a mapping, refuses names it does not know with the nearest match, and turns text (the CLI's) into values.
Secrets are ``Secret`` values: they never show in a repr, and they are pickled only as references.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shlex
import subprocess
import types
import typing
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from crossdock.errors import ConfigError, CredentialsError

__all__ = [
    "Secret",
    "describe_options",
    "format_size",
    "option",
    "parse_age",
    "parse_options",
    "parse_size",
    "public_options",
    "revealed",
    "sealed",
    "sounds_secret",
]

OptionsT = TypeVar("OptionsT")  # an option class

_SOUNDS_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|(^|_)key($|_)|(^|_)sas($|_)|connection_string|auth|cookie|header|acct",
    re.IGNORECASE,
)
_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGTP", start=1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}IB": 1024**_power, f"{_letter}B": 1000**_power}
_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Secret:
    """A secret by reference, resolved where and when it is used.

    ``env:NAME`` reads the environment, ``file:PATH`` the first line of a file, ``cmd:COMMAND`` the first line a
    command prints; anything else is the secret itself. A literal secret is pickled as a reference to an environment
    variable of this process: worker processes started afterwards inherit it, others say what to write instead.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def is_reference(self) -> bool:
        """Whether the text names a place rather than being the secret."""
        return self._text.startswith(("env:", "file:", "cmd:"))

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            CredentialsError: The reference leads nowhere.
        """
        kind, _, place = self._text.partition(":")
        if not self.is_reference:
            return self._text
        try:
            if kind == "env":
                return os.environ[place]
            if kind == "file":
                text = Path(place).expanduser().read_text(encoding="utf-8")
            else:
                text = subprocess.run(  # noqa: S603 - the user's own command, given as a secret reference
                    shlex.split(place), check=True, capture_output=True, text=True, timeout=60
                ).stdout
            return text.splitlines()[0].strip()
        except (KeyError, OSError, IndexError, subprocess.SubprocessError) as error:
            hint = f"make {kind}:{place} resolvable on this machine"
            if kind == "env" and place.startswith("CROSSDOCK_SECRET_"):
                hint = "a secret given as text cannot reach this worker: give it as env:NAME, file:PATH or cmd:COMMAND"
            raise CredentialsError(
                f"the secret reference {kind}:{place} gives nothing ({type(error).__name__})",
                operation="resolve secret",
                hint=hint,
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.is_reference:
            return Secret, (self._text,)
        reference = self._reference()
        os.environ[reference.removeprefix("env:")] = self._text
        return Secret, (reference,)

    def _reference(self) -> str:
        """The text of a reference; of a secret given as text, the reference that its pickle is."""
        if self.is_reference:
            return self._text
        # uuid5: the same secret always gets the same name, so that equal recipes pickle equally.
        return f"env:CROSSDOCK_SECRET_{uuid.uuid5(uuid.NAMESPACE_OID, self._text).hex.upper()}"

    # By what was written, not by what it leads to: a comparison runs no command and never fails.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._reference() == other._reference()

    def __hash__(self) -> int:
        return hash(self._reference())

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def option(
    help: str,
    *,
    default: Any = None,
    unit: str = "",
    env: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    secret: bool = False,
    nested: bool = False,
) -> Any:
    """One field of an option class.

    Args:
        help: One sentence for ``--help`` and the reference.
        default: The value when neither given nor found in the environment.
        unit: ``bytes``, ``s``, ...; ``bytes`` makes text such as ``8MiB`` acceptable.
        env: Environment variables read, first match wins, when the option is not given.
        aliases: Other names for the same option, such as object_store's.
        secret: Wrap the value in ``Secret``; never read from ``env`` here but by the cloud's own chain.
        nested: The value may be a mapping (JSON as text) that holds secrets, told by their names: they are wrapped
            where they are.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "unit": unit,
            "env": env,
            "aliases": aliases,
            "secret": secret,
            "nested": nested,
        },
        repr=not secret and not nested,
    )


def parse_options(cls: type[OptionsT], given: Mapping[str, Any], *, where: str = "") -> OptionsT:
    """Build an option class from names and values, text or typed.

    Raises:
        ConfigError: A name is unknown (the nearest match is named), given twice, or a value does not fit.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    names = {alias: name for name, field in fields.items() for alias in (name, *field.metadata["aliases"])}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for written, value in given.items():
        name = names.get(written)
        if name is None:
            near = difflib.get_close_matches(written, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known options: {', '.join(sorted(fields))}"
            raise ConfigError(f"unknown option {written!r}", operation="open", where=where, hint=hint)
        if name in values:
            raise ConfigError(f"option {name!r} is given twice", operation="open", where=where)
        values[name] = _convert(written, value, hints[name], fields[name].metadata)
    for name, field in fields.items():
        found = next((os.environ[env] for env in field.metadata["env"] if os.environ.get(env)), None)
        if name not in values and found is not None and not field.metadata["secret"]:
            values[name] = _convert(name, found, hints[name], field.metadata)
    return cls(**values)


def _convert(name: str, value: Any, hint: Any, about: Mapping[str, Any]) -> Any:
    """Turn text into what the field's type asks for; typed values pass if they are of that type."""
    if value is None or (about["secret"] and isinstance(value, Secret)):
        return value
    if about["secret"] and isinstance(value, str):
        return Secret(value)
    if about["nested"] and not isinstance(value, str):
        value = sealed(value, secret=about["secret"])
    kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    kinds = {typing.get_origin(kind) or kind for kind in kinds}
    try:
        if about["unit"] == "bytes" and isinstance(value, str):
            return parse_size(value)
        if isinstance(value, str) and str not in kinds:
            typed = _from_text(value, kinds)
            return sealed(typed, secret=about["secret"]) if about["nested"] else typed
        if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
            return float(value)
    except ValueError as error:
        raise ConfigError(f"option {name!r}: {error}", operation="open") from None
    fits = type(value) in kinds or any(isinstance(value, kind) for kind in kinds if isinstance(kind, type))
    if isinstance(value, bool) and bool not in kinds:
        fits = False
    if not fits:
        wanted = " or ".join(sorted(kind.__name__ for kind in kinds if kind is not type(None)))
        raise ConfigError(f"option {name!r} takes {wanted}, not {type(value).__name__}", operation="open")
    return value


def _from_text(text: str, kinds: set[Any]) -> Any:
    if bool in kinds:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError(f"{text!r} is neither true nor false")
    if int in kinds:
        return int(text)
    if float in kinds:
        return float(text)
    if any(isinstance(kind, type) and issubclass(kind, Mapping) for kind in kinds):
        import json

        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError(f"{text!r} is not a JSON object")
        return value
    raise ValueError(f"{text!r} does not fit")


def public_options(options: Any) -> dict[str, Any]:
    """What was set and is not secret, ready for JSON: what a run directory may keep."""
    return {
        field.name: _unsealed(getattr(options, field.name))
        for field in dataclasses.fields(options)
        if not field.metadata["secret"] and getattr(options, field.name) != field.default
    }


def sealed(value: Any, *, secret: bool = False) -> Any:
    """The value with every secret in it wrapped: all text if ``secret``, else text under names that sound like one."""
    if isinstance(value, Mapping):
        return {name: sealed(each, secret=secret or sounds_secret(name)) for name, each in value.items()}
    if secret and isinstance(value, str):
        return Secret(value)
    if isinstance(value, list | tuple):
        return type(value)(sealed(each, secret=secret) for each in value)
    return value


def revealed(value: Any) -> Any:
    """The value with every secret in it as text: for the call that needs it, never to be kept.

    Raises:
        CredentialsError: A reference leads nowhere.
    """
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {name: revealed(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(revealed(each) for each in value)
    return value


def _unsealed(value: Any) -> Any:
    """The value without what is secret in it."""
    if isinstance(value, Mapping):
        return {name: _unsealed(each) for name, each in value.items() if not _is_secret(each)}
    return value


def _is_secret(value: Any) -> bool:
    return isinstance(value, Secret) or (isinstance(value, list | tuple) and any(map(_is_secret, value)))


def sounds_secret(name: str) -> bool:
    """Whether an option of this name holds something nobody should read in a log."""
    return _SOUNDS_SECRET.search(name) is not None


def describe_options(cls: type[Any]) -> list[dict[str, Any]]:
    """One row per option, for help and reference."""
    return [
        {"name": field.name, "default": field.default, **field.metadata} for field in dataclasses.fields(cls)
    ]


def parse_size(text: str) -> int:
    """Bytes from ``10``, ``8MiB``, ``1.5G`` (binary, as rclone reads it) or ``1GB`` (decimal).

    Raises:
        ValueError: The text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is not a size such as 512, 8MiB or 1.5G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_age(text: str) -> timedelta:
    """A length of time from ``45s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Raises:
        ValueError: The text is not one; a number without a unit could mean any.
    """
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d+)?)\s*([smhdw])\s*", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is not a length of time such as 30m, 12h or 7d")
    return timedelta(**{_AGES[match[2]]: float(match[1])})


def format_size(size: float) -> str:
    """Bytes for people: ``0 B``, ``4.0 KiB``, ``1.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
