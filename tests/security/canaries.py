"""Secrets that are looked for everywhere: what a job lets out is collected, and searched in every form a secret may take.

``Witness`` collects: log records of every library at every level, reprs, pickles, tracebacks with whatever is in their
frames, files. ``leaks`` names the places where a secret, or an encoding of it, was found.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import cloudpickle
import pyarrow.parquet as pq

from crossdock.tasks import Call

_SERVERS = {"asyncssh", "pyftpdlib"}  # they serve in this process, and know what was sent to them
WAYS = ("literal", "env", "file", "cmd")


@dataclass(frozen=True, kw_only=True)
class Login:
    """How one kind of store is reached with secrets.

    ``secrets`` are options as a user gives them; ``hidden`` is what must show nowhere; ``gone`` is the same place on a port
    where nobody listens; ``wrong`` are other secrets, which the server refuses or does not (they are hidden too).
    """

    url: str
    secrets: Mapping[str, Any]
    hidden: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    gone: tuple[str, Mapping[str, Any]] | None = None
    is_sink: bool = True
    marker: str = ""  # something of this login that is no secret: the witness must have seen it


def as_references(secrets: Mapping[str, Any], way: str, place: Path, environment: Any) -> dict[str, Any]:
    """The same options with each text given in one of the ways."""

    def referred(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {inner: referred(f"{name}_{inner}", each) for inner, each in value.items()}
        if way == "literal":
            return value
        path = place / f"{way}-{name}"
        path.write_text(f"{value}\n")
        if way == "env":
            environment.setenv(f"CANARY_{name.upper()}", value)
            return f"env:CANARY_{name.upper()}"
        return f"file:{path}" if way == "file" else f"cmd:cat {path}"

    return {name: referred(name, value) for name, value in secrets.items()}


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it may be written: plain, percent-encoded, in JSON, in base64, as bytes' repr."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield json.dumps(secret)[1:-1].encode()
    yield repr(secret)[1:-1].encode()
    for offset in range(3):  # inside of a longer text that was encoded as a whole
        inner = base64.b64encode(bytes(offset) + secret.encode())
        yield inner[4 if offset else 0 : -4]


class Witness(logging.Handler):
    """Everything that is let out, as bytes, by where it was seen."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(threadName)s %(message)s"))
        self.seen: list[tuple[str, bytes]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """The line with its traceback, and what hangs on the record besides."""
        if record.name.partition(".")[0] in _SERVERS:
            return
        self.saw(f"log of {record.name}", f"{self.format(record)}\n{record.__dict__!r}")

    def saw(self, where: str, thing: Any) -> None:
        """Take bytes or text."""
        self.seen.append((where, thing if isinstance(thing, bytes) else str(thing).encode(errors="replace")))

    def saw_object(self, where: str, thing: Any) -> None:
        """A public object: what prints it, what pickles it, and the same of what it wraps."""
        self.saw(f"repr of {where}", repr(thing))
        for name, dump in (("pickle", pickle.dumps), ("cloudpickle", cloudpickle.dumps)):
            try:
                self.saw(f"{name} of {where}", dump(thing))
            except (
                TypeError,
                pickle.PicklingError,
                AttributeError,
            ) as error:  # what has none cannot leak by it
                self.saw(f"{name} of {where}", repr(error))
        if isinstance(thing, Call):  # a described call refuses to be asked for anything
            return
        for name in ("store", "inner", "options", "transfer"):
            if (inner := getattr(thing, name, None)) is not None:
                self.saw_object(f"{where}.{name}", inner)

    def saw_error(self, where: str, error: BaseException) -> None:
        """Its traceback and those of its causes, its pickle, and the repr of each object of ours in any frame."""
        self.saw(f"traceback of {where}", "".join(traceback.format_exception(error)))
        self.saw(f"error of {where}", f"{error!r} {error} {vars(error)!r} {getattr(error, '__notes__', '')}")
        self.saw(f"pickle of the error of {where}", pickle.dumps(error))
        pending, known = [error], set()
        while pending:
            each = pending.pop()
            if each is None or id(each) in known:
                continue
            known.add(id(each))
            pending += [each.__cause__, each.__context__]
            for frame, _ in traceback.walk_tb(each.__traceback__):
                for name, value in frame.f_locals.items():
                    if type(value).__module__.partition(".")[0] == "crossdock":
                        self.saw(f"{name} in a frame of {where}", repr(value))

    def saw_files(self, where: str, directory: Path) -> None:
        """Every file, as it is and, of Parquet, as a table."""
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                self.saw(f"{where}: {path.name}", data)
                if data.startswith(b"PAR1"):
                    self.saw(f"{where}: {path.name} read", repr(pq.read_table(io.BytesIO(data)).to_pylist()))

    def leaks(self, hidden: tuple[str, ...]) -> list[tuple[str, str]]:
        """Where a secret was seen, with the text around it."""
        found = []
        for secret in hidden:
            for form in {*forms(secret)}:
                for where, data in self.seen:
                    at = data.find(form)
                    if at >= 0:
                        found.append((where, repr(data[max(0, at - 80) : at + 40])))
        return sorted(set(found))

    def has_seen(self, where: str, text: str) -> bool:
        """Whether a place that begins so let this out: proof that it was looked at."""
        return any(place.startswith(where) and text.encode() in data for place, data in self.seen)


@contextmanager
def witnessing() -> Iterator[Witness]:
    """Listen to every logger at every level, for the length of the block."""
    witness = Witness()
    root = logging.getLogger()
    loggers = [
        root,
        *(each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)),
    ]
    before = [(each, each.level, each.propagate, each.disabled) for each in loggers]
    for each in loggers:
        each.setLevel(1 if each is root else logging.NOTSET)
        each.propagate, each.disabled = True, False
    root.addHandler(witness)
    try:
        yield witness
    finally:
        root.removeHandler(witness)
        for each, level, propagate, disabled in before:
            each.setLevel(level)
            each.propagate, each.disabled = propagate, disabled
