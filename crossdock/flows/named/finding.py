"""From ``module:function``, ``path/file.py:function`` or a template's name to the function. Imports the flow's own module.

A file is imported as Python runs a script: its directory comes first on the path, so that it finds its neighbours and worker
processes of this machine find it. A module is looked for in the working directory too.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from crossdock.errors import ConfigError, CrossdockError, NotFoundError
from crossdock.flows.named.parameters import Parameter, parameters_of
from crossdock.flows.templates import TEMPLATES

__all__ = ["NamedFlow", "Sandbox", "find_flow"]

Sandbox = Callable[[], AbstractContextManager[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFlow:
    """A function that was found, and what it takes.

    Attributes:
        name: As it was asked for.
        function: The function or task.
        parameters: What it takes.
        module: Where it is.
        is_template: Whether it was named as a template: one that is run without saying where runs in its sandbox.
    """

    name: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    module: ModuleType
    is_template: bool = False

    def sandbox(self) -> Sandbox:
        """What opens its sandbox: ``sandbox()`` of the module ``sandbox`` beside its own.

        Raises:
            ConfigError: There is none.
        """
        place = Path(self.module.__file__ or "").with_name("sandbox.py")
        if not place.is_file():
            raise ConfigError(
                "it has no sandbox",
                operation="run",
                where=self.name,
                hint="put a sandbox.py beside it that defines sandbox(), as `crossdock flows init` does",
            )
        package = self.module.__package__
        module = _imported(f"{package}.sandbox", self.name) if package else _from_file(place, self.name)
        opened: Sandbox = _member(module, "sandbox", self.name)
        return opened


def find_flow(name: str) -> NamedFlow:
    """The flow of this name.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: There is no such template, module or function, or its module cannot be imported.
    """
    if name in {each.name for each in TEMPLATES}:
        module = _imported(f"crossdock.flows.templates.{name}.flow", name)
        return _flow(name, module, name, is_template=True)
    place, colon, function = name.rpartition(":")
    if not colon:
        place, function = name, ""
    is_file = place.endswith(".py") or os.sep in place
    if is_file:
        module = _from_file(Path(place), name)
    elif colon:
        module = _imported(place, name)
    else:
        near = difflib.get_close_matches(name, [each.name for each in TEMPLATES], n=1)
        raise ConfigError(
            "there is no template of this name",
            operation="run",
            where=name,
            hint=(f"did you mean {near[0]!r}? " if near else "")
            + "a flow is module:function, file.py:function or one of `crossdock flows ls`",
        )
    return _flow(name, module, function)


def _flow(name: str, module: ModuleType, function: str, *, is_template: bool = False) -> NamedFlow:
    found = _member(module, function, name)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise ConfigError("it is async, and flows are not", operation="run", where=name)
    if inspect.isgeneratorfunction(found):
        raise ConfigError("it yields, and a flow returns", operation="run", where=name)
    return NamedFlow(
        name=name,
        function=found,
        parameters=parameters_of(name, found),
        module=module,
        is_template=is_template,
    )


def _member(module: ModuleType, function: str, flow: str) -> Callable[..., Any]:
    found = getattr(module, function, None) if function else None
    if callable(found):
        return found  # type: ignore[no-any-return]
    known = [
        name
        for name, each in vars(module).items()
        if not name.startswith("_")
        and callable(each)
        and not isinstance(each, type)
        and getattr(each, "__module__", None) == module.__name__
    ]
    raise ConfigError(
        f"there is no function {function!r}" if function else "it does not say which function",
        operation="run",
        where=flow,
        hint=f"write {flow.rpartition(':')[0] or flow}:NAME; there are {', '.join(known)}"
        if known
        else "the module defines no function",
    )


def _imported(module: str, flow: str) -> ModuleType:
    """Import by name, from the working directory too, as ``python -m`` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    return _loaded(lambda: importlib.import_module(module), flow)


def _from_file(place: Path, flow: str) -> ModuleType:
    if not place.is_file():
        raise NotFoundError("there is no such file", operation="run", where=str(place))
    path = place.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and _is_at(known, path):
        return known
    # The name that a worker process imports it by; one that is taken would be somebody else's module there.
    name = path.stem if known is None else f"{path.stem}_{zlib.crc32(bytes(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("this is no Python file", operation="run", where=str(place))
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def load() -> ModuleType:
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    return _loaded(load, flow)


def _is_at(module: ModuleType, path: Path) -> bool:
    found = getattr(module, "__file__", None)
    return found is not None and Path(found).resolve() == path


def _loaded(load: Callable[[], ModuleType], flow: str) -> ModuleType:
    try:
        return load()
    except CrossdockError:
        raise  # it says itself what is wrong: a package that is missing, an option
    except Exception as error:  # whatever a module of somebody else may raise when it is imported
        raise ConfigError(
            f"its module cannot be imported: {type(error).__name__}: {error}", operation="run", where=flow
        ) from error
