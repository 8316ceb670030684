"""What a function is, for the hash of a piece of work: its name where an import finds it, its code where none does.

A function of a module is told by module and name: that it changed is said with ``xd.Cache(..., version=...)``. A lambda, a
function inside a function, and whatever a script or a notebook defines have no such name that means one thing for ever:
they are told by their bytecode and constants, their defaults, the values they closed over and the plain values among the
globals they use, but for variables they write themselves. Bytecode differs between minor versions of Python, so such a digest
holds for one of them.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

from crossdock.combine.caching.fingerprint.canonical import Canonical, class_name
from crossdock.combine.inputs import names_credential
from crossdock.tasks import Task

__all__ = ["add_callable"]

_SCRIPTS = ("__main__", "__mp_main__")


def add_callable(out: Canonical, value: Any) -> None:
    """Write a function, method, partial, class or task.

    Raises:
        ConfigError: What it closed over or is bound to has no canonical form.
    """
    if isinstance(value, types.FunctionType):
        _add_function(out, value)
    elif isinstance(value, functools.partial):
        out.head("partial", 3)
        out.add(value.func)
        out.add(value.args)
        out.add(value.keywords)
    elif isinstance(value, type):
        _add_class(out, value)
    elif isinstance(value, Task):
        _add_task(out, value)
    elif isinstance(value, types.MethodType):
        out.head("method", 2)
        out.add(value.__func__)
        with out.at(".__self__"):
            out.add(value.__self__)
    elif isinstance(value, types.MethodDescriptorType | types.WrapperDescriptorType):
        out.text("descriptor", f"{class_name(value.__objclass__)}.{value.__name__}")
    elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
        owner = getattr(value, "__self__", None)
        if owner is None or isinstance(owner, types.ModuleType):
            out.text("builtin", f"{value.__module__}:{value.__qualname__}")
        else:
            out.text("bound builtin", value.__name__)
            out.add(owner)
    else:  # functools.lru_cache and its like
        out.head("wrapped", 1)
        out.add(value.__wrapped__)


def _add_function(out: Canonical, function: types.FunctionType) -> None:
    if importable(function):
        out.text("function", f"{function.__module__}:{function.__qualname__}")
        return
    with out.once(function) as entered:
        if entered is not None:
            out.text("function", f"again {entered}")
            return
        out.text("code of", f"{sys.version_info[0]}.{sys.version_info[1]}")
        _add_code(out, function.__code__)
        out.add(function.__defaults__)
        out.add(function.__kwdefaults__)
        used, written = _names(function.__code__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            out.text("captured", name)
            if name in written:
                continue
            try:
                content = cell.cell_contents
            except ValueError:
                out.record("empty")
                continue
            with out.at(f", which closes over {name!r}"):
                out.add(content)
        for name in used:
            if name in function.__globals__ and name not in written:
                _add_global(out, name, function.__globals__[name])


def _add_code(out: Canonical, code: types.CodeType) -> None:
    """Bytecode and constants; not the name, the file and the lines, which may change while it stays the same."""
    out.record("bytecode", code.co_code)
    out.record("exceptions", code.co_exceptiontable)
    out.add((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags))
    out.add((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    out.head("constants", len(code.co_consts))
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            _add_code(out, each)
        else:
            out.add(each)


def _add_global(out: Canonical, name: str, value: Any) -> None:
    """A global by its value; what has no canonical form (a client, a logger, a lock) by its class.

    Functions of modules may use such things unseen as well; those captured or given as arguments are refused instead.
    """
    digest = out.attempt(value)
    out.text("global", name)
    if digest is None:
        out.text("some", class_name(type(value)))
    else:
        out.record("is", digest)


@functools.lru_cache(maxsize=256)
def _names(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The globals a function uses, sorted, and the variables outside it that it writes: those are no input of it.

    Functions inside it are looked at too.
    """
    used: set[str] = set()
    written: set[str] = set()
    for each in _codes(code):
        for instruction in dis.get_instructions(each):
            name = str(instruction.argval)
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                used.add(name)
            inner = instruction.opname == "STORE_DEREF" and name in each.co_freevars
            if inner or instruction.opname == "STORE_GLOBAL":
                written.add(name)
    return tuple(sorted(used)), frozenset(written)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _add_class(out: Canonical, kind: type) -> None:
    if importable(kind):
        out.text("class", class_name(kind))
        return
    with out.once(kind) as entered:
        if entered is not None:
            out.text("class", f"again {entered}")
            return
        out.text("code of class", kind.__qualname__)
        out.several("bases", kind.__bases__, len(kind.__bases__))
        for name, member in sorted(vars(kind).items()):
            if isinstance(member, staticmethod | classmethod):
                member = member.__func__  # noqa: PLW2901 - what it wraps is what matters
            if isinstance(member, property):
                for each in (member.fget, member.fset, member.fdel):
                    _add_global(out, name, each)
            elif isinstance(member, types.FunctionType) or not name.startswith("__"):
                _add_global(out, name, member)


def _add_task(out: Canonical, task: Task) -> None:
    """A task of a class of one's own: the class and its attributes, those that name a credential left out."""
    with out.once(task) as entered:
        if entered is not None:
            out.text("task", f"again {entered}")
            return
        out.head("task", 2)
        out.add(type(task))
        out.named("attributes", (each for each in vars(task).items() if not names_credential(each[0])))


def importable(value: Any) -> bool:
    """Whether an import of its module finds this very function or class under its name."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not module or module in _SCRIPTS or "<" in qualname or module not in sys.modules:
        return False
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name, None)
    for _ in range(20):  # a decorator put something in its place, and says what it wraps
        if found is value:
            return True
        found = getattr(found, "__func__", None) or getattr(found, "__wrapped__", None)
        if found is None:
            return False
    return False
