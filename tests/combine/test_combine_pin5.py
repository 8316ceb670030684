"""The pseudo-code of PIN-5 and of its discussion, as it was written there, names aside."""

from __future__ import annotations

import os
import threading

import pytest

import crossdock as xd

TEN_GB = object()  # it only matters that it is the same one


@pytest.fixture
def seen():
    return []


@pytest.fixture
def s3_task(seen):
    @xd.task
    def s3_task(config="default"):
        seen.append(("s3", config, os.getpid(), threading.get_ident()))
        return TEN_GB

    return s3_task


@pytest.fixture
def gcs_task(seen):
    @xd.task
    def gcs_task(data, parameter=None):
        seen.append(("gcs", parameter, os.getpid(), threading.get_ident()))
        return data is TEN_GB

    return gcs_task


def test_the_flow_of_the_context_section(s3_task, gcs_task):
    """``with Flow("migration") as f: gcs_task(data=s3_task)``, with one task instead of a flow."""
    with xd.one_task("migration") as f:
        gcs_task(data=s3_task)

    assert f() is True


def test_the_imperative_version(s3_task, gcs_task):
    """``CombinedTask(first_task, second_task, stitch_function)``: what it returned went in as ``**processed``."""
    combined = xd.CombinedTask(s3_task, gcs_task, stitch_function=lambda inputs: {"data": inputs})

    assert combined() is True


def test_the_functional_method(s3_task, gcs_task, seen):
    """``second_task.combine(first_task, **additional_kwargs, stitch_function=stitch_function)``."""
    additional_kwargs = {"parameter": "another_input"}

    combined = gcs_task.combine(s3_task, **additional_kwargs, stitch_function=lambda inputs: inputs)

    assert combined() is True
    assert [entry[:2] for entry in seen] == [("s3", "default"), ("gcs", "another_input")]


def test_settings_of_both(s3_task, gcs_task, seen):
    """``second_task.combine(first_task(config="some_setting"), parameter="another_input")``.

    A task called outside a block runs at once, so the first's settings are bound, or the call is written in a block.
    """
    bound = gcs_task.combine(s3_task.bind(config="some_setting"), parameter="another_input")
    with xd.one_task() as written:
        gcs_task(s3_task(config="some_setting"), parameter="another_input")

    assert bound() is True
    assert written() is True
    assert [entry[:2] for entry in seen] == 2 * [("s3", "some_setting"), ("gcs", "another_input")]


def test_a_call_written_there_says_what_to_write_here(s3_task, gcs_task):
    with pytest.raises(xd.CompositionError, match=r"give its inputs with \.bind\(\.\.\.\)"):
        gcs_task.combine(s3_task(config="some_setting"), parameter="another_input")


def test_the_context_manager_of_the_discussion(s3_task, gcs_task):
    """``with one_task(): second(first)``."""
    with xd.one_task() as task:
        gcs_task(s3_task)

    assert task() is True


def test_on_the_same_worker_in_the_same_process_sharing_memory(s3_task, gcs_task, seen):
    gcs_task.combine(s3_task)()

    assert seen[0][2:] == seen[1][2:]


def test_a_single_task_submitted_to_a_single_worker(s3_task, gcs_task):
    """What is submitted is one function with one name, one outcome an item."""
    task = gcs_task.combine(s3_task.bind(xd.param("config")))
    result = task.map(config=["a", "b"])

    assert {"s3_task_to_gcs_task"} == {outcome.task for outcome in result}
    assert result.results() == [True, True]


def test_how_many_tasks(s3_task, gcs_task):
    """Two; "allowing for arbitrary numbers might encourage an anti-pattern"."""
    with pytest.raises(xd.CompositionError, match="holds 3 task calls"), xd.one_task("three"):
        gcs_task(gcs_task(s3_task()))


@pytest.mark.parametrize("stitched", ["value", "dict", "args and kwargs", "into"])
def test_renaming_the_seconds_input_matters_only_to_whoever_names_it(stitched):
    """The question left open: a stitch function that returns a plain value does not know ``data`` from ``inputs``."""
    stitch = {
        "value": lambda value: value,
        "dict": lambda value: {"data": value},
        "args and kwargs": lambda value: ([value], {}),
        "into": lambda value: xd.into(value, parameter=1),
    }[stitched]
    first = xd.task(lambda: "x")
    before = xd.task(lambda data, parameter=0: (data, parameter), name="store")
    after = xd.task(lambda inputs, parameter=0: (inputs, parameter), name="store")

    assert before.combine(first, stitch_function=stitch)()[0] == "x"
    if stitched == "dict":
        with pytest.raises(xd.TaskFailed, match="'store' cannot be called like this"):
            after.combine(first, stitch_function=stitch)()
    else:
        assert after.combine(first, stitch_function=stitch)()[0] == "x"
