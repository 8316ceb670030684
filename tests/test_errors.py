"""The error tree: one line each, all fields through a pickle, retry as data."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from crossdock import errors
from crossdock.errors import (
    CrossdockError,
    NotFoundError,
    Retry,
    StalledError,
    StorageError,
    TaskFailed,
    ThrottledError,
)

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, CrossdockError)
]
FIELDS = {
    "operation": "put",
    "where": "s3://bucket",
    "key": "a/b",
    "hint": "try this",
    "attempts": 3,
    "retry": Retry.EXHAUSTED,
    "retry_after_s": 1.5,
}


def made(kind):
    extra = {"task": "t", "phase": "sink", "inputs": {"key": "'a'"}} if kind is TaskFailed else {}
    return kind("it broke", **FIELDS, **extra)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickling_with_all_fields_and_their_cause(kind):
    vendor = OSError(13, "vendor's words")
    try:
        raise made(kind) from vendor
    except kind as raised:
        error = raised
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is kind
    assert vars(again) == vars(error)
    assert again.args == error.args
    assert str(again) == str(error)
    assert type(again.__cause__) is OSError or isinstance(again.__cause__, PermissionError)
    assert again.__cause__.args == vendor.args


@pytest.mark.parametrize("kind", CLASSES)
def test_a_chain_of_our_own_errors_survives(kind):
    error = made(TaskFailed)
    error.__cause__ = made(kind)
    error.__cause__.__cause__ = ValueError("the vendor's")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again.__cause__) is kind
    assert vars(again.__cause__) == vars(error.__cause__)
    assert str(again.__cause__.__cause__) == "the vendor's"


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_copied(kind):
    assert vars(copy.copy(made(kind))) == vars(made(kind))


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not TaskFailed])
def test_one_line_says_operation_place_cause_attempts_and_what_to_do(kind):
    assert str(made(kind)) == "put s3://bucket/a/b: it broke (after 3 attempts); try this"


def test_a_failed_task_names_itself_its_inputs_and_its_phase():
    assert (
        str(made(TaskFailed)) == "task t(key='a') failed in its sink: it broke (after 3 attempts); try this"
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_hostile_keys_stay_on_one_line(kind):
    """A key or a server's message cannot forge a second line or move the cursor."""
    text = str(kind("two\nlines\x1b[2J", operation="put", where="s3://b", key="a\nb\r\x07"))

    assert text.isprintable()
    assert "\\n" in text


def test_the_place_is_the_url_with_the_key():
    assert NotFoundError("x", where="s3://b", key="k").place == "s3://b/k"
    assert NotFoundError("x", where="s3://b/", key="k").place == "s3://b/k"
    assert NotFoundError("x", where="s3://b").place == "s3://b"
    assert NotFoundError("x", key="k").place == "k"
    assert NotFoundError("x").place == ""


@pytest.mark.parametrize("kind", CLASSES)
def test_retry_defaults_belong_to_the_class(kind):
    """LATER for what passes by itself, NEVER otherwise; what is given wins."""
    passing = {"ThrottledError", "ConnectionLostError", "StalledError", "IntegrityError"}
    expected = Retry.LATER if kind.__name__ in passing else Retry.NEVER

    assert kind("x").retry is expected
    assert kind("x", retry=Retry.EXHAUSTED).retry is Retry.EXHAUSTED


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.MissingExtraError, ImportError),
        (errors.CompositionError, TypeError),
        (errors.NotFoundError, FileNotFoundError),
        (errors.StalledError, TimeoutError),
    ],
)
def test_errors_are_the_builtins_people_catch(kind, builtin):
    assert issubclass(kind, builtin)
    assert str(kind("words", operation="open")) == "open: words"


def test_what_services_do_is_a_storage_error():
    services = {kind for kind in CLASSES if issubclass(kind, StorageError)}

    assert {NotFoundError, ThrottledError, StalledError, errors.PreconditionError} <= services
    assert not {errors.ConfigError, errors.IntegrityError, errors.UnsupportedError} & services


def test_a_failed_task_is_transient_unless_it_never_helps():
    assert TaskFailed("x", retry=Retry.LATER).transient
    assert TaskFailed("x", retry=Retry.EXHAUSTED).transient
    assert not TaskFailed("x").transient


def test_all_classes_are_public():
    assert {kind.__name__ for kind in CLASSES} | {"Retry"} == {*errors.__all__}
