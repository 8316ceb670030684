"""Flows by name: what is found, what a text stands for, what is asked for before anything runs."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

import crossdock as xd
from crossdock.errors import ConfigError, MissingExtraError, NotFoundError, TaskFailed
from crossdock.flows.named import call_flow, find_flow
from crossdock.flows.named.parameters import REQUIRED, parameters_of
from crossdock.flows.named.values import is_readable, read_value, text_of, type_text
from crossdock.testing import EmbeddedWebhook


class Order(TypedDict):
    """A mapping with known names."""

    id: int


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("a=b ", str, "a=b "),
        ("-10_000", int, -10_000),
        ("1e3", float, 1000.0),
        ("Yes", bool, True),
        ("0", bool, False),
        ("2026-11-21", date, date(2026, 11, 21)),
        ("2026-11-21T10:00:00+00:00", datetime, datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("a/b", Path, Path("a/b")),
        ("3", Literal[1, 3], 3),
        ("", int | None, None),
        ("7", int | None, 7),
        ("7", int | str, 7),
        ("x", int | str, "x"),
        ("[1, 2]", list, [1, 2]),
        ('["a"]', list[str], ["a"]),
        ("[1, 2.5]", list[float], [1.0, 2.5]),
        ('["2026-11-21"]', list[date], [date(2026, 11, 21)]),
        ('["a", "b"]', tuple[str, ...], ("a", "b")),
        ("[null, 1]", Sequence[int | None], [None, 1]),
        ('[{"name": "a", "n": [1]}]', list[dict[str, Any]], [{"name": "a", "n": [1]}]),
        ('{"a": 1}', Mapping[str, int], {"a": 1}),
        ('{"a": [true]}', dict, {"a": [True]}),
        ('{"id": 1}', Order, {"id": 1}),
        ("anything", Any, "anything"),
    ],
)
def test_a_text_stands_for_a_value_of_the_type(text, kind, value):
    read = read_value(text, kind)

    assert is_readable(kind)
    assert (value, type(value)) == (read, type(read))
    assert read_value(text_of(value), kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("1.5", int, "'1.5' is no whole number"),
        ("", float, "'' is no number"),
        ("maybe", bool, "neither true nor false"),
        ("21.11.2026", date, "no date, such as 2026-11-21"),
        ("noon", datetime, "no time, such as"),
        ("2", Literal[1, 3], "'2' is none of 1, 3"),
        ("x", int | None, "'x' is no whole number"),
        ("x", int | float | None, "'x' is no int or float or none"),
        ("[1", list, "list as JSON"),
        ("a,b", list[str], "list of str as JSON"),
        ('{"a": 1}', list[str], "it is a list of str, not a dict"),
        ("[1]", dict[str, str], "it is a dict, not a list"),
        ('["a", 1]', list[str], "item 1: 1 is no str"),
        ("[true]", list[int], "item 0: True is no int"),
        ('[{"a": {"b": 1}}]', list[dict[str, str]], "item 0: 'a': {'b': 1} is no str"),
        ('{"a": "2026-13-01"}', dict[str, date], "'a': '2026-13-01' is no date"),
        ('["x"]', list[Literal["a", "b"]], "item 0: 'x' is none of 'a', 'b'"),
    ],
)
def test_what_a_text_cannot_stand_for_is_told(text, kind, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        read_value(text, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (list[date], "list of date"),
        (int | None, "int or none"),
        (Literal["a", "b"], "a|b"),
        (dict[str, int], "dict"),
        (Any, "any"),
    ],
)
def test_types_read_as_words(kind, text):
    assert type_text(kind) == text


def sample(url: str, days: list[date], *, depth=3, note=None, run: xd.LocalRunner | None = None, **_: Any):
    """A flow.

    Args:
        url: Where it is: there,
            or elsewhere.
        days: Which days.
        **_: Ignored.

    Returns:
        Nothing: at all.
    """
    return url, days, depth, note, run


def test_parameters_are_read_off_the_signature_and_the_docstring():
    found = parameters_of("sample", sample)

    assert [(each.name, each.type, each.default) for each in found] == [
        ("url", "str", REQUIRED),
        ("days", "list of date", REQUIRED),
        ("depth", "int", 3),
        ("note", "str", None),
        ("run", "LocalRunner or none (in Python only)", None),
    ]
    assert [each.help for each in found] == [
        "Where it is: there, or elsewhere.",
        "Which days.",
        "",
        "",
        "",
    ]


def test_a_type_no_text_stands_for_is_for_python():
    runner = parameters_of("sample", sample)[-1]

    with pytest.raises(ConfigError, match="no text stands for; call the flow from Python"):
        runner.read("x")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with a flow of somebody, as the working directory; modules of it are forgotten afterwards."""
    (tmp_path / "nightly.py").write_text(
        textwrap.dedent('''
        """Flows of somebody."""
        import words
        import crossdock as xd

        def greet(name: str, times: int = 1, data: dict = None):
            return words.hello(name) * times, data

        @xd.task
        def shout(name: str) -> str:
            return name.upper()

        @xd.task
        def half(n: int) -> int:
            if n % 2:
                raise ValueError(f"{n} is odd")
            return n // 2

        def halves(numbers: list[int]):
            return half.map(n=numbers).results()

        def each_half(numbers: list[int]):
            return half.map(n=numbers).wait()

        def broken():
            return {}["nothing"]

        async def later():
            """Not a flow."""

        def bit_by_bit():
            yield 1

        def by_place(one, /):
            return one

        def unknown(one: "Nowhere"):
            return one
        ''')
    )
    (tmp_path / "words.py").write_text('"""Words."""\n\ndef hello(name):\n    return f"hello {name} "\n')
    (tmp_path / "bad.py").write_text("import no_such_package_anywhere\n")
    (tmp_path / "extra.py").write_text(
        "from crossdock.errors import MissingExtraError\nraise MissingExtraError('needs x', hint='pip install x')\n"
    )
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("place", ["nightly.py:greet", "./nightly.py:greet", "nightly:greet"])
def test_a_function_is_found_by_its_file_or_its_module(project, place):
    flow = find_flow(place)

    assert call_flow(flow, {"name": "ada", "times": "2"}) == ("hello ada hello ada ", None)


def test_a_file_anywhere_finds_its_neighbours(project, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    assert call_flow(find_flow(f"{project}/nightly.py:greet"), {"name": "bo"}) == ("hello bo ", None)


def test_a_file_whose_name_is_taken_is_still_itself(project):
    other = project / "deeper"
    other.mkdir()
    (other / "nightly.py").write_text('"""Another."""\ndef greet():\n    return "another"\n')

    assert call_flow(find_flow("nightly.py:greet"), {"name": "bo"}) == ("hello bo ", None)
    assert call_flow(find_flow("deeper/nightly.py:greet"), {}) == "another"


def test_a_task_is_a_flow_too(project):
    assert call_flow(find_flow("nightly:shout"), {"name": "ada"}) == "ADA"


def test_so_is_a_combined_task_in_either_form(project):
    (project / "pairs.py").write_text(
        textwrap.dedent('''
        """Two tasks as one, as a block and as a function."""
        import crossdock as xd

        with xd.one_task("copied") as copied:
            xd.MemorySink("copies")(xd.MemorySource("originals")(xd.param("name")), key=xd.param("key", default="x"))

        @xd.one_task
        def traced(name: str, times: int = 2):
            return measure(repeat(name, times))

        repeat, measure = xd.task(lambda text, times: text * times), xd.task(len)
        ''')
    )
    xd.MemorySink("originals")([b"text"], key="a")
    copied = find_flow("pairs:copied")

    assert [(each.name, each.is_required) for each in copied.parameters] == [("name", True), ("key", False)]
    assert call_flow(copied, {"name": "a", "key": "b"}).destination == "memory://copies/b"
    assert call_flow(find_flow("pairs:traced"), {"name": "ada", "times": "3"}) == 9


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        (
            "nightly.py:gret",
            ConfigError,
            "there is no function 'gret'; write nightly.py:NAME; there are greet",
        ),
        ("nightly.py", ConfigError, "it does not say which function; write"),
        ("nightly:later", ConfigError, "it is async"),
        ("nightly:bit_by_bit", ConfigError, "it yields, and a flow returns"),
        ("nightly:by_place", ConfigError, "'one' is by position only"),
        ("nightly:unknown", ConfigError, "name 'Nowhere' is not defined; annotate"),
        ("nightlyy:greet", ConfigError, "No module named 'nightlyy'"),
        ("bad.py:x", ConfigError, "cannot be imported: ModuleNotFoundError"),
        ("extra.py:x", MissingExtraError, "needs x; pip install x"),
        ("nowhere.py:x", NotFoundError, "no such file"),
        ("taxi_best_tip", ConfigError, "did you mean 'taxi_best_tips'"),
        ("nothing", ConfigError, "module:function, file.py:function or one of"),
    ],
)
def test_what_cannot_be_found_is_one_line(project, name, error, told):
    with pytest.raises(error) as failure:
        find_flow(name)

    assert told in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({}, "parameter name is missing; its parameters: name, [times], [data]"),
        ({"nam": "x"}, "no parameter 'nam'; did you mean 'name'? its parameters: name, times, data"),
        ({"name": "x", "times": "twice"}, "parameter 'times': 'twice' is no whole number"),
        ({"name": "x", "data": "[]"}, "parameter 'data': it is a dict, not a list"),
        ({"name": "@nowhere.txt"}, "nowhere.txt: there is no such object"),
    ],
)
def test_wrong_parameters_are_one_line(project, texts, told):
    with pytest.raises(xd.CrossdockError) as failure:
        call_flow(find_flow("nightly:greet"), texts)

    assert told in str(failure.value)


def test_values_come_from_urls_and_files(project):
    xd.MemorySink("config")([json.dumps({"a": [1]}).encode()], key="data.json")
    (project / "name.txt").write_text("ada\n")
    flow = find_flow("nightly:greet")

    given = {"name": "@name.txt", "data": "@memory://config/data.json"}
    assert call_flow(flow, given) == ("hello ada ", {"a": [1]})
    assert call_flow(flow, {"name": "@@home"}) == ("hello @home ", None)


def test_a_value_from_a_url_is_small_and_text(project):
    xd.MemorySink("config")([bytes([0xFF])], key="no.txt")
    xd.MemorySink("config")([bytes(2**20)] * 17, key="large.txt")

    with pytest.raises(ConfigError, match="this is no text"):
        call_flow(find_flow("nightly:greet"), {"name": "@memory://config/no.txt"})
    with pytest.raises(ConfigError, match="more than 16 MiB"):
        call_flow(find_flow("nightly:greet"), {"name": "@memory://config/large.txt"})


def test_what_the_users_code_raises_is_a_failed_task_and_no_bug_of_ours(project):
    with pytest.raises(TaskFailed, match="KeyError: 'nothing'; run with -v") as failure:
        call_flow(find_flow("nightly:broken"), {})
    assert isinstance(failure.value.__cause__, KeyError)

    with pytest.raises(TaskFailed, match=r"2 of 3 items of 'half' failed; the first: .*1 is odd"):
        call_flow(find_flow("nightly:halves"), {"numbers": "[1, 2, 3]"})


def test_a_sandbox_is_a_file_beside_the_flow(project):
    flow = find_flow("nightly.py:greet")
    with pytest.raises(ConfigError, match=r"it has no sandbox; put a sandbox\.py beside it"):
        call_flow(flow, {}, in_sandbox=True)

    (project / "sandbox.py").write_text(
        "from contextlib import contextmanager\n\n@contextmanager\ndef sandbox():\n"
        "    yield {'name': 'sand', 'times': 3, 'numbers': [2, 4], 'of_another_flow': 1}\n"
        "    print('closed')\n"
    )
    told = []
    assert call_flow(flow, {"times": "2"}, in_sandbox=True, told=told.append) == (
        "hello sand hello sand ",
        None,
    )
    assert told == ["sandbox of nightly.py:greet, gone when it ends: name=sand"]


def test_a_map_that_is_returned_has_ended_before_its_sandbox(project):
    (project / "sandbox.py").write_text(
        "import threading\nfrom contextlib import contextmanager\n\nis_open = threading.Event()\n\n"
        "@contextmanager\ndef sandbox():\n    is_open.set()\n    yield {}\n    is_open.clear()\n"
    )
    (project / "mapped.py").write_text(
        "import crossdock as xd\nimport sandbox\n\n"
        "def seen(numbers: list[int]):\n"
        "    return xd.task(lambda n: sandbox.is_open.is_set()).map(numbers, runner=xd.LocalRunner(threads=1))\n"
    )
    numbers = json.dumps(list(range(500)))
    result = call_flow(find_flow("mapped.py:seen"), {"numbers": numbers}, in_sandbox=True)

    assert set(result.results()) == {True}


@pytest.fixture
def hook(monkeypatch):
    with EmbeddedWebhook() as server:
        monkeypatch.setenv("HOOK", server.url)
        yield server


def told_of(hook, name, texts):
    """What is told of one call, whatever it comes to."""
    before = len(hook.posted)
    with contextlib.suppress(xd.CrossdockError):
        call_flow(find_flow(name), texts, notify=[xd.webhook("env:HOOK")])
    (posted,) = hook.posted[before:]
    return posted.json()


def test_the_end_is_told_whatever_it_is(project, hook):
    done = told_of(hook, "nightly:greet", {"name": "ada"})
    refused = told_of(hook, "nightly:greet", {"name": "ada", "times": "x"})
    failed = told_of(hook, "nightly:broken", {})
    partly = told_of(hook, "nightly:each_half", {"numbers": "[1, 2]"})
    places = {"source": f"{project}/", "destination": "memory://told/", "include": "*.py"}
    run = told_of(hook, "migrate_bucket", places)

    assert (done["name"], done["status"], done["error"]) == ("nightly:greet", "done", "")
    assert (refused["status"], "no whole number" in refused["error"]) == ("refused", True)
    assert (failed["status"], "KeyError" in failed["error"]) == ("failed", True)
    assert (partly["status"], partly["counts"]) == ("failed", {"done": 1, "failed": 1})
    assert partly["failures"][0]["reason"] == "ValueError"
    assert (run["status"], run["counts"]["copied"] > 0, run["sink"]) == ("done", True, "memory://told/")


def test_a_notifier_that_leads_nowhere_is_found_before_anything_runs(project):
    with pytest.raises(ConfigError, match="NOT_SET"):
        call_flow(find_flow("nightly:broken"), {}, notify=[xd.webhook("env:NOT_SET")])
