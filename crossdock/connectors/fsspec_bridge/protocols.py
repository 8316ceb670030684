"""What fsspec knows: its protocols, the class of each, the package that is missing, the options its constructor takes.

Read from fsspec's own registry and from the classes themselves, so that nothing here is a list to keep up to date.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import fsspec
from fsspec.registry import known_implementations

from crossdock.errors import ConfigError, MissingExtraError

__all__ = [
    "Parameter",
    "class_name",
    "class_path",
    "every_protocol",
    "filesystem_class",
    "is_installed",
    "is_known",
    "is_loaded",
    "need_of",
    "parameters",
]

# What a URL says already, what only Python code can give, and what would change how a store reads.
_NOT_OPTIONS = frozenset(
    {
        "self", "args", "kwargs", "host", "fo", "fs", "path", "mode", "target_protocol", "target_options", "target_fs",
        "asynchronous", "loop", "skip_instance_cache", "use_listings_cache", "listings_expiry_time", "max_paths",
        "session", "get_client", "auto_mkdir", "simple_templates",
    }
)  # fmt: skip

# Wrappers that only code can give something to wrap, and what has no place to list or read by key.
_NO_URL = frozenset(
    {"adl", "async_wrapper", "asyncwrapper", "chained", "data", "generic", "pyscript"}
)  # adl: retired
_OF_NO_USE = {
    "ftp": {"block_size", "tempdir"},  # bytes go straight through ftplib here: no blocks, no transactions
    "zip": {"compression", "allowZip64", "compresslevel"},  # about writing archives, which is not done
    "smb": {"temppath"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument of a filesystem's constructor; ``kind`` and ``help`` are what its docstring says."""

    name: str
    default: Any
    kind: str
    help: str


def is_known(protocol: str) -> bool:
    """Whether fsspec has, or can import, a filesystem of this protocol."""
    return protocol in every_protocol()


def is_loaded(protocol: str) -> bool:
    """Whether the protocol's class is there already: imported, or registered by the program."""
    return protocol in fsspec.registry


def class_path(protocol: str) -> str:
    """``module.Class`` of a protocol. Imports nothing."""
    found = fsspec.registry.get(protocol)
    if found is not None:
        return f"{found.__module__}.{found.__qualname__}"
    return str(known_implementations[protocol]["class"])


def class_name(protocol: str) -> str:
    """The bare name of a protocol's class."""
    return class_path(protocol).rpartition(".")[2]


def every_protocol() -> list[str]:
    """All protocols with a URL of their own, by name."""
    return sorted({*fsspec.available_protocols(), *fsspec.registry} - _NO_URL)


@cache
def filesystem_class(protocol: str) -> type[Any]:
    """The filesystem class of a protocol.

    Raises:
        ConfigError: fsspec does not know it.
        MissingExtraError: A package it needs is not installed.
    """
    try:
        found: type[Any] = fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise ConfigError(f"fsspec knows no {protocol}://", operation="open") from error
    except ImportError as error:
        raise MissingExtraError(
            f"{protocol}:// needs a package that is not installed ({error})",
            operation="open",
            hint=f"install it: {_pip(protocol)}",
        ) from error
    return found


def need_of(protocol: str) -> str:
    """What fsspec's own table says the protocol needs besides fsspec, as a command; empty for nothing."""
    return _pip(protocol) if "err" in known_implementations.get(protocol, {}) else ""


def _pip(protocol: str) -> str:
    """The extra of fsspec itself where it has one, else the package its message names."""
    if protocol in (metadata.metadata("fsspec").get_all("Provides-Extra") or []):
        return f"pip install 'fsspec[{protocol}]'"
    text = str(known_implementations.get(protocol, {}).get("err", ""))
    named = re.search(r"(?i)(?:install (?:the )?|requires )['\"]?([a-z0-9_.\[\]-]+)", text)
    package = named[1] if named else class_path(protocol).partition(".")[0]
    return f"pip install '{package}'"


def is_installed(protocol: str) -> bool:
    """Whether the protocol's class could be imported, told without importing it: by the imports in its source."""
    module = class_path(protocol).rpartition(".")[0]
    if not module.startswith("fsspec."):
        return _is_there(module.partition(".")[0])
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return False
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return all(_is_there(name) for name in _imported(tree))


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _imported(tree: ast.Module) -> Iterator[str]:
    """Top-level packages that a module imports when it is imported, and those its constructor imports."""
    bodies = [*tree.body]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    bodies.extend(inner.body)
    for node in bodies:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def parameters(protocol: str) -> tuple[Parameter, ...]:
    """The options of a protocol: what its class and the classes it derives from take by name, its own first.

    Raises:
        MissingExtraError: A package it needs is not installed.
    """
    found: dict[str, Parameter] = {}
    left_out = _NOT_OPTIONS | _OF_NO_USE.get(protocol, set())
    for cls in filesystem_class(protocol).__mro__:
        if cls.__module__ in ("fsspec.spec", "fsspec.asyn", "builtins") or "__init__" not in vars(cls):
            continue
        makes = vars(cls)["__init__"]
        helps = _documented(inspect.getdoc(cls) or "") | _documented(inspect.getdoc(makes) or "")
        given = inspect.signature(makes).parameters.values()
        for each in given:
            by_name = each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
            if by_name and each.name not in left_out and not each.name.startswith("_"):
                default = None if each.default is each.empty else each.default
                kind, words = helps.get(each.name, ("", ""))
                found.setdefault(each.name, Parameter(name=each.name, default=default, kind=kind, help=words))
        if not any(each.kind is each.VAR_KEYWORD for each in given):
            break
    return tuple(found.values())


def _documented(text: str) -> dict[str, tuple[str, str]]:
    """Type and first sentence about each parameter of a docstring in numpy's form."""
    helps: dict[str, tuple[str, str]] = {}
    for found in re.finditer(
        r"^(?P<names>\w+(?:, \w+)*) ?:(?P<kind>[^\n]*)\n(?P<body>(?:[ \t]+\S[^\n]*\n?)+)", text, re.MULTILINE
    ):
        words = " ".join(found["body"].split())
        sentence = re.split(r"(?<=[a-z\)])\. |: - ", words)[0].rstrip(".:")
        for name in found["names"].split(", "):
            helps.setdefault(name, (found["kind"].strip(), f"{sentence}."))
    return helps
