"""Caching: the same inputs, the same version of the source and an untouched destination mean that nothing runs."""

from __future__ import annotations

import datetime as dt
import enum
import json
import logging
import math
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

import crossdock as xd
from crossdock.combine.caching import entries as cache_entries
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.combine.caching.format import UnreadableError, decode, encode
from crossdock.combine.guard import LargeResultWarning
from crossdock.connectors import commits, layers
from crossdock.model import MIB, Digests, Receipt, State, Verification, Version
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule

RAN: list[Any] = []
PLACES = ("local", "memory", "s3", "gcs")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """No waiting, nothing remembered of other tests' stores, and an empty list of what ran."""
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr(commits, "backoff_s", lambda *_: 0.0)
    monkeypatch.delenv("CROSSDOCK_CACHE_REFRESH", raising=False)
    for remembered in (cache_entries._quiet_until, cache_entries._proven, cache_entries._warned):
        remembered.clear()
    RAN.clear()


@pytest.fixture(scope="module")
def s3():
    with EmbeddedS3(buckets=("cache",)) as server:
        yield server


@pytest.fixture(scope="module")
def gcs():
    with EmbeddedGCS(buckets=("cache",)) as server:
        yield server


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    return a_place(request.param, request, tmp_path)


def a_place(kind, request, tmp_path):
    """An empty place: its URL, with the options of its store."""
    name = uuid.uuid4().hex
    if kind == "local":
        return str(tmp_path / "a place"), {}
    if kind == "memory":
        return f"memory://{name}", {}
    server = request.getfixturevalue(kind)
    if kind == "s3":
        return f"s3://cache/{name}", options_of(server)
    return f"gs://cache/{name}", {"endpoint_url": server.url, "token": "anon"}


def options_of(server):
    return {"endpoint_url": server.url, "key": "AKIDEXAMPLE", "secret": "a-secret", "region": "us-east-1"}


def entries(place):
    """The entries below a place: key and content, read through the store itself."""
    url, options = place
    source = xd.source(f"{url}/", **options)
    return {key: bytes(source(key).opened().read_all()) for key in source.list()}


def overwrite(place, data):
    """Put something else in the place of every entry."""
    url, options = place
    sink = xd.sink(f"{url}/", **options)
    for key in entries(place):
        sink.store.put(sink.prefix + key, data)


def load(x, y=2):
    RAN.append((x, y))
    return x + y


def failing(x):
    RAN.append(x)
    raise ValueError("no")


def same(value):
    RAN.append(value)
    return value


def double(value):
    return value * 2


def states(result):
    return [outcome.state for outcome in result.in_order()]


# -- the forms ---------------------------------------------------------------------------------------------------


def test_the_second_call_does_not_run_the_body_wherever_the_cache_is(place):
    url, options = place
    task = xd.task(load, cache=xd.Cache(url, options=options))

    assert [task(1), task(1), task(x=1), task(1, y=2), task(2)] == [3, 3, 3, 3, 4]
    assert RAN == [(1, 2), (2, 2)]
    (key, other) = entries(place)
    assert key[:2] == key[3:5]
    assert key != other


def pairs(cache):
    first, second = xd.task(load), xd.task(same)
    yield xd.CombinedTask(first.bind(xd.param("x")), second, name="pair", cache=cache)
    yield second.combine(first.bind(xd.param("x"))).with_options(name="pair", cache=cache)
    yield xd.combine(first.bind(xd.param("x")), second, name="pair", cache=cache)
    with xd.one_task("pair", cache=cache) as block:
        second(first(xd.param("x")))
    yield block

    @xd.one_task(name="pair", cache=cache)
    def traced(x):
        return second(first(x))

    yield traced


def test_every_form_of_a_pair_shares_one_entry(tmp_path):
    cache = xd.Cache(tmp_path / "cache")

    results = [pair(x=1) for pair in pairs(cache)]

    assert results == [3] * 5
    assert RAN == [(1, 2), 3]
    assert len(entries((str(tmp_path / "cache"), {}))) == 1


def test_a_map_says_cached_and_counts_it(tmp_path):
    task = xd.task(load, name="loading", cache=tmp_path)
    first = task.map(x=range(3))

    assert states(first) == [State.DONE] * 3
    again = task.map(x=range(5))
    assert states(again) == [State.CACHED] * 3 + [State.DONE] * 2
    assert again.results() == [2, 3, 4, 5, 6]
    assert [outcome.attempts for outcome in again.in_order()] == [0, 0, 0, 1, 1]
    assert again.counts == {State.CACHED: 3, State.DONE: 2}
    assert "3 cached" in again.summary()
    assert sorted(RAN) == [(x, 2) for x in range(5)]


def test_a_cached_item_moves_nothing_and_its_hooks_hear_so(tmp_path):
    heard = []
    xd.sink(f"{tmp_path}/src/")(b"abc", key="k")
    pair = copying(tmp_path, on_success=heard.append)
    pair.map(key=["k"]).results()
    pair(key="k")

    assert [(each.state, each.bytes, each.objects, each.attempts) for each in heard] == [
        (State.DONE, 3, 1, 1),
        (State.CACHED, 0, 0, 0),
    ]


def test_without_a_cache_nothing_is_kept(tmp_path):
    task = xd.task(load, cache=tmp_path).with_options(cache=None)

    assert task(1) == task(1) == 3
    assert len(RAN) == 2


def test_a_failure_is_not_kept(tmp_path):
    task = xd.task(failing, cache=tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            task(1)

    assert RAN == [1, 1]
    assert entries((str(tmp_path), {})) == {}


def test_true_is_the_users_own_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    task = xd.task(load, cache=True)

    assert task(1) == task(1) == 3
    assert len(RAN) == 1
    assert len([*(tmp_path / "crossdock" / "results").rglob("*.json")]) == 1


# -- the key -----------------------------------------------------------------------------------------------------


def test_other_work_is_other_work(tmp_path):
    """Name, function, stitch function, version and each argument of both halves are in the key."""
    first, second, other = xd.task(load), xd.task(same), xd.task(double)
    with xd.one_task("pair", cache=tmp_path) as pair:
        second(first(xd.param("x"), y=xd.param("y", default=2)))
    with xd.one_task("pair", cache=tmp_path) as with_other:
        other(first(xd.param("x"), y=2))
    with xd.one_task("pair", stitch_function=double, cache=tmp_path) as stitched:
        second(first(xd.param("x"), y=2))
    with xd.one_task("pair", stitch_function=lambda value: value * 2, cache=tmp_path) as by_lambda:
        second(first(xd.param("x"), y=2))
    with xd.one_task("other", cache=tmp_path) as renamed:
        second(first(xd.param("x"), y=2))
    versioned = pair.with_options(cache=xd.Cache(tmp_path, version="2"))

    assert [pair(x=1), pair(x=1, y=2), pair(x=1.0), pair(x=True)] == [3, 3, 3.0, 3]
    assert pair(x=1, y=3) == 4
    assert [with_other(x=1), stitched(x=1), by_lambda(x=1), renamed(x=1), versioned(x=1)] == [6, 6, 6, 3, 3]
    assert len(entries((str(tmp_path), {}))) == 9


def signed_in(x, password, page_token="", login=None):
    RAN.append(x)
    return x


def test_a_credential_is_no_part_of_the_key_but_a_page_token_is(tmp_path):
    task = xd.task(signed_in, cache=tmp_path)
    task(1, password="one", login=xd.Secret("one"))
    task(1, password="two", login=xd.Secret("two"))
    assert RAN == [1]

    task(1, password="one", login=xd.Secret("one"), page_token="2")
    assert RAN == [1, 1]
    kept = b"".join(entries((str(tmp_path), {})).values())
    assert b"one" not in kept


def with_client(client, x=1):
    RAN.append(x)
    return x


def test_an_input_without_canonical_form_is_an_error_that_names_it(tmp_path):
    with pytest.raises(xd.ConfigError, match=r"argument 'client' of task 'with_client', a builtins\.object"):
        xd.task(with_client, cache=tmp_path)(object())

    with xd.one_task("pair", cache=tmp_path) as pair:
        xd.task(same)(xd.task(with_client)(xd.param("client")))
    failed = pair.map(client=[object()])
    (outcome,) = failed.failed()
    assert outcome.error.phase == "cache"
    assert "key=function of the inputs" in str(outcome.error)
    assert RAN == []


def test_a_key_function_takes_the_place_of_the_inputs_and_sees_defaults(tmp_path):
    seen = []

    def key(inputs):
        seen.append(dict(inputs))
        return inputs["x"]

    cache = xd.Cache(tmp_path, key=key)
    task = xd.task(with_client, cache=cache)
    assert [task(object()), task(object()), task(object(), x=2)] == [1, 1, 2]
    assert RAN == [1, 2]
    assert [each["x"] for each in seen] == [1, 1, 2]

    with xd.one_task("pair", cache=cache) as pair:
        xd.task(same)(xd.task(with_client)(xd.param("client"), x=xd.param("x", default=7)))
    pair.map(client=[object(), object()], runner=xd.LocalRunner(threads=1)).results()
    assert RAN == [1, 2, 7, 7]
    assert [each["x"] for each in seen[3:]] == [7, 7]


def test_what_a_local_function_closes_over_is_part_of_the_key(tmp_path):
    def multiplied(by):
        return xd.task(lambda x: RAN.append(x) or x * by, name="multiplied", cache=tmp_path)

    assert [multiplied(2)(1), multiplied(3)(1), multiplied(2)(1)] == [2, 3, 2]


def test_a_script_run_again_finds_what_it_made(tmp_path):
    """Its functions are told by their code, in this process and on any other machine."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys, crossdock as xd\nFACTOR = int(sys.argv[1])\n\n"
        f"@xd.task(cache={str(tmp_path / 'cache')!r})\ndef times(x):\n    print('ran', end=' ')\n    return x * FACTOR\n\n"
        f"print(times(2))\n"
    )

    def run(factor, seed):
        done = subprocess.run(
            [sys.executable, script, factor],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert [run("3", "1"), run("3", "2"), run("4", "3")] == ["ran 6", "6", "ran 8"]


# -- source and destination --------------------------------------------------------------------------------------


def copying(tmp_path, **options):
    source, sink = xd.source(f"{tmp_path}/src/"), xd.sink(f"{tmp_path}/dst/")
    return sink.combine(source.bind(xd.param("key"))).with_options(
        name="copying", **{"cache": tmp_path / "cache", **options}
    )


@pytest.fixture(params=PLACES)
def ends(request, tmp_path):
    """A source, a sink, a cache and their pair, all in stores of one kind."""
    source, sink, cache = (
        a_place(request.param, request, tmp_path / name) for name in ("src", "dst", "cache")
    )
    pair = (
        xd.sink(f"{sink[0]}/", **sink[1])
        .combine(xd.source(f"{source[0]}/", **source[1]).bind(xd.param("key")))
        .with_options(name="copying", cache=xd.Cache(cache[0], options=cache[1]))
    )
    put(source, b"first")
    return pair, source, sink


def put(end, data, key="k"):
    return xd.sink(f"{end[0]}/", **end[1])(data, key=key)


def content(end, key="k"):
    return bytes(xd.source(f"{end[0]}/", **end[1])(key).opened().read_all())


def test_an_object_is_copied_again_if_its_source_changed(ends):
    pair, source, sink = ends
    receipt = pair(key="k")

    assert states(pair.map(key=["k"])) == [State.CACHED]
    assert pair(key="k") == receipt
    put(source, b"other")
    assert states(pair.map(key=["k"])) == [State.DONE]
    assert content(sink) == b"other"
    assert states(pair.map(key=["k"])) == [State.CACHED]


def test_an_object_is_copied_again_if_its_destination_is_gone_or_changed(ends):
    pair, _, sink = ends
    pair(key="k")

    put(sink, b"wrong")
    assert states(pair.map(key=["k"])) == [State.DONE]
    assert content(sink) == b"first"
    opened = xd.sink(f"{sink[0]}/", **sink[1])
    opened.store.delete(f"{opened.prefix}k")
    assert states(pair.map(key=["k"])) == [State.DONE]
    assert content(sink) == b"first"
    assert states(pair.map(key=["k"])) == [State.CACHED]


def test_a_listings_info_saves_the_question(s3, request, tmp_path):
    """One stat a hit for the source without it, none with it; one for the destination in either case."""
    source, sink = (a_place("s3", request, tmp_path) for _ in range(2))
    opened = xd.source(f"{source[0]}/", **source[1])
    put(source, b"data")
    (info,) = next(iter(opened.pages()))
    pair = (
        xd.sink(f"{sink[0]}/", **sink[1])
        .combine(opened.bind("k", info=xd.param("info", default=None)))
        .with_options(cache=tmp_path)
    )
    pair(), pair(info=info)
    rule = Rule(operation="object.stat", delay_s=0.001, name=f"stat {uuid.uuid4()}")  # counts them

    with counting(s3, rule) as stats:
        assert pair() == pair()
        assert stats() == 4
        assert pair(info=info).key.endswith("k")
        assert stats() == 5


class counting:  # noqa: N801 - reads as a verb in a with statement
    def __init__(self, server, *rules):
        self.server, self.rules = server, rules

    def __enter__(self):
        for rule in self.rules:
            self.server.faults.add(rule)
        return lambda: sum(self.server.faults.fired[rule.name] for rule in self.rules)

    def __exit__(self, *_):
        self.server.faults.clear()


def test_a_source_that_is_missing_fails_as_it_would_without_a_cache(tmp_path):
    with pytest.raises(xd.TaskFailed) as caught:
        copying(tmp_path)(key="nothing")

    assert caught.value.phase == "source"
    assert isinstance(caught.value.__cause__, xd.NotFoundError)


VERSIONS: list[int] = []


class Moving(xd.Task):
    """A source that changes while it is read."""

    name = "moving"

    def version_of(self):
        return VERSIONS.pop(0)

    def run(self):
        return "data"


def test_a_result_is_not_kept_if_the_source_changed_while_the_work_was_done(tmp_path):
    pair = xd.task(same).combine(Moving()).with_options(cache=tmp_path)
    VERSIONS[:] = [1, 2, 2, 2, 2]

    pair()
    assert entries((str(tmp_path), {})) == {}
    pair()
    assert len(entries((str(tmp_path), {}))) == 1
    pair()
    assert RAN == ["data", "data"]


class Versionless(xd.Task):
    name = "versionless"

    def version_of(self):
        raise xd.UnsupportedError("nothing tells its version")

    def run(self):
        raise AssertionError("must not run")


def test_a_source_that_cannot_tell_versions_apart_is_refused(tmp_path):
    with pytest.raises(xd.TaskFailed, match="in its cache: nothing tells its version"):
        xd.task(same).combine(Versionless()).with_options(cache=tmp_path)()


def test_a_sink_confirms_by_version_or_digest_never_by_existence():
    name = f"memory://{uuid.uuid4()}"
    sink = xd.sink(f"{name}/")
    receipt = sink(b"data", key="k")

    assert sink.confirms(receipt)
    sink(b"data", key="k")
    assert sink.confirms(receipt)
    without = Receipt(source="", destination=receipt.destination, key="k", size=4, version=Version())
    assert not sink.confirms(without)
    assert not xd.sink(f"{name}-other/").confirms(receipt)
    sink(b"dat!", key="k")
    assert not sink.confirms(receipt)


def test_a_destination_that_cannot_be_asked_means_doing_the_work_again(s3, request, tmp_path, caplog):
    source, sink = (a_place("s3", request, tmp_path) for _ in range(2))
    put(source, b"data")
    pair = (
        xd.sink(f"{sink[0]}/", **sink[1])
        .combine(xd.source(f"{source[0]}/", **source[1]).bind("k"))
        .with_options(cache=tmp_path)
    )
    pair()
    refuse = Rule(
        operation="object.stat", status=403, key=f"^{sink[0].rpartition('/')[2]}", first=1, name="no stat"
    )
    with counting(s3, refuse) as fired, caplog.at_level(logging.WARNING, "crossdock.cache"):
        pair()
        assert fired()

    assert "cannot be asked" in caplog.text


# -- expiry and refresh ------------------------------------------------------------------------------------------


def age(folder, **ago):
    """Make every entry look older."""
    for path in pathlib.Path(folder).rglob("*.json"):
        entry = json.loads(path.read_text())
        created = dt.datetime.fromisoformat(entry["created"]) - dt.timedelta(**ago)
        path.write_text(json.dumps({**entry, "created": created.isoformat()}))


@pytest.mark.parametrize("expires", [3600, dt.timedelta(hours=1)])
def test_what_is_too_old_is_made_anew(tmp_path, expires):
    task = xd.task(load, cache=xd.Cache(tmp_path, expires=expires))
    task(1)
    age(tmp_path, minutes=59)
    task(1)
    assert len(RAN) == 1

    age(tmp_path, minutes=2)
    task(1)
    task(1)
    assert len(RAN) == 2


def test_refresh_takes_nothing_and_keeps_what_is_made(monkeypatch, tmp_path):
    task = xd.task(load, cache=tmp_path)
    task(1)
    (before,) = entries((str(tmp_path), {})).values()
    task.with_options(cache=xd.Cache(tmp_path, refresh=True))(1)
    (after,) = entries((str(tmp_path), {})).values()
    assert len(RAN) == 2
    assert before != after

    monkeypatch.setenv("CROSSDOCK_CACHE_REFRESH", "1")
    task(1)
    assert len(RAN) == 3
    sent = pickle.dumps(task.settings.cache)
    monkeypatch.delenv("CROSSDOCK_CACHE_REFRESH")
    task(1)
    assert len(RAN) == 3
    assert pickle.loads(sent).refresh  # noqa: S301 - our own; the driver's wish goes with the work


# -- what can be kept --------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    when: dt.datetime


@dataclass
class Guarded:
    value: int

    def __post_init__(self):
        RAN.append("constructed")


@attrs.frozen
class Attrs:
    x: int


class Pair(NamedTuple):
    left: Any
    right: Any


RECEIPT = Receipt(
    source="s3://b/k",
    destination="gs://c/k",
    key="k",
    size=3,
    version=Version(generation="7"),
    digests=Digests(crc32c=b"\0\1\2\3"),
    verification=Verification.V2,
    metadata_lost=("user.a",),
    duration_s=0.25,
)
KEPT = [
    None,
    True,
    0,
    2**9000,
    -1.5,
    -0.0,
    math.nan,
    math.inf,
    1j,
    "",
    "Grüße \ud800 🚚",
    b"\0\xff",
    bytearray(b"x"),
    Decimal("1.50"),
    Decimal("sNaN"),
    Fraction(1, 3),
    uuid.UUID(int=7),
    pathlib.Path("a/b"),
    pathlib.PurePosixPath("a"),
    pathlib.PureWindowsPath("a/b"),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4),  # noqa: DTZ001
    dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.date(1, 1, 1),
    dt.time(1, 2, tzinfo=dt.UTC),
    dt.timedelta(days=-1, microseconds=5),
    [1, [2], (3, {4}), frozenset("ab")],
    {"a": {"$": 1}, "$": 2},
    {1: "a", (1, 2): "b", None: "c"},
    RECEIPT,
    [RECEIPT, RECEIPT],
    Colour.RED,
    Bits.A | Bits.B,
    Row("a", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    Attrs(1),
    Pair(1, [2]),
    np.arange(6, dtype=">i2").reshape(2, 3),
    np.float32(1.5),
    np.array(["2024-01-01"], "M8[D]"),
    pa.table({"a": [1, None], "l": [[1], None]}, metadata={"k": "v"}),
    pa.record_batch({"a": [1]}),
    pa.record_batch({"a": pa.array([], pa.int8())}),
    pa.schema([("a", pa.int8())]),
    pd.DataFrame(
        {"a": [1, 2], "s": ["x", None], "c": pd.Categorical(["u", "v"])}, index=pd.Index([5, 6], name="i")
    ),
    pd.DataFrame(
        {"t": pd.to_datetime(["2024-01-01"]).tz_localize("Europe/Berlin"), "i": pd.array([None], "Int64")}
    ),
    pd.DataFrame({1: [2]}),
    pd.Series([1.0, None], name="q"),
    pd.Timestamp("2024-01-01", tz="UTC"),
    pl.DataFrame({"a": [1, 2], "s": ["x", None], "c": pl.Series(["u", "v"], dtype=pl.Categorical)}),
    pl.Series("n", [1, None]),
]


@pytest.mark.parametrize(
    "value", KEPT, ids=[f"{type(each).__name__}-{number}" for number, each in enumerate(KEPT)]
)
def test_a_result_comes_back_as_it_was(tmp_path, value):
    task = xd.task(lambda: RAN.append(1) or value, name="make", cache=xd.Cache(tmp_path, key=lambda _: 0))

    made, kept = task(), task()

    assert made is value
    assert RAN == [1]
    assert type(kept) is type(value)
    assert fingerprint(kept) == fingerprint(value)
    assert isinstance(value, pa.RecordBatch | pa.Schema | Receipt) or repr(kept) == repr(value)


NAMES = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes()
PLAIN = NAMES | st.floats() | st.decimals()  # a signalling NaN cannot be the name of anything


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        PLAIN,
        lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner) | st.tuples(inner, inner),
        max_leaves=10,
    )
)
def test_plain_values_come_back_as_they_were_whatever_they_are(value):
    back = decode(json.loads(json.dumps(encode(value))))

    assert fingerprint(back) == fingerprint(value)


def test_an_empty_frame_comes_back_empty(tmp_path):
    task = xd.task(pd.DataFrame, name="make", cache=tmp_path)

    assert task().empty
    assert isinstance(task(), pd.DataFrame)


def test_restoring_an_object_calls_no_constructor(tmp_path):
    task = xd.task(Guarded, cache=tmp_path)
    task(1)

    assert task(1).value == 1
    assert RAN == ["constructed"]


def local_class():
    @dataclass
    class Here:
        x: int = 1

    return Here()


def with_attribute():
    row = Guarded(1)
    row.beside = 2
    return row


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (object, "the result, a builtins.object, cannot be kept"),
        (lambda: {"a": [1, object()]}, r"the result\['a'\]\[1\], a builtins.object"),
        (local_class, "a class that no import finds"),
        (with_attribute, "'beside' is an attribute beside its fields"),
        (lambda: iter([1]), "list_iterator, cannot be kept"),
        (lambda: print, "cannot be kept"),
        (lambda: ValueError("x"), "ValueError, cannot be kept"),
        (lambda: np.array([object()]), "a numpy ndarray, cannot be kept in a cache: it is of a kind"),
        (lambda: pd.DataFrame({"a": [{"x": 1}, {"y": 2}]}), "would not come back as it is"),
        (lambda: pd.DataFrame({"a": [1], 1: [2]}), "it is of a kind that is not kept"),
        (lambda: pd.DataFrame({"a": [1, "x"]}), "a pandas DataFrame, cannot be kept in a cache: .*convert"),
        (lambda: xd.Secret("x"), "crossdock.options.Secret, cannot be kept"),
    ],
)
def test_a_result_that_cannot_be_kept_is_a_clear_error(tmp_path, make, says):
    task = xd.task(make, name="make", cache=xd.Cache(tmp_path, key=lambda _: 0))
    with pytest.raises(xd.ConfigError, match=says):
        task()

    (outcome,) = (
        xd.task(lambda _: make(), name="make", cache=xd.Cache(tmp_path, key=lambda _: 1)).map([1]).failed()
    )
    assert outcome.error.phase == "cache"


def test_a_result_that_contains_itself_cannot_be_kept(tmp_path):
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(xd.ConfigError, match="contains itself"):
        xd.task(lambda: endless, name="make", cache=xd.Cache(tmp_path, key=lambda _: 0))()


def test_payload_does_not_sneak_into_the_cache(tmp_path):
    def task(**options):
        return xd.task(bytes, name="make", cache=tmp_path, **options)

    with pytest.warns(LargeResultWarning, match=r"takes 2\.0 MiB"):
        task()(2 * MIB)
    with pytest.raises(xd.CompositionError, match=r"takes more than 16\.0 MiB"):
        task()(17 * MIB)
    assert len(task(allow_large_result=True)(17 * MIB)) == 17 * MIB
    assert len(entries((str(tmp_path), {}))) == 2


# -- entries of others -------------------------------------------------------------------------------------------


def damaged(data):
    entry = json.loads(data)
    yield "cut short", data[: len(data) // 2]
    yield "empty", b""
    yield "foreign", b"PK\3\4 not ours"
    yield "foreign JSON", b"[1, 2]"
    yield "another version", json.dumps({**entry, "crossdock_cache": 99}).encode()
    yield "another key's", json.dumps({**entry, "key": "0" * 64}).encode()
    yield "changed", data.replace(b'"value":3', b'"value":4')
    yield "no time", json.dumps({**entry, "created": "yesterday"}).encode()
    yield "deep", b"[" * 100_000


def test_an_entry_that_is_none_is_a_miss_with_a_warning(place, caplog):
    task = xd.task(load, cache=xd.Cache(place[0], options=place[1]))
    task(1)
    (data,) = entries(place).values()
    for number, (_, content) in enumerate(damaged(data)):
        overwrite(place, content)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "crossdock.cache"):
            assert task(1) == 3

        assert len(RAN) == 2 + number
        assert "counts as absent" in caplog.text
        assert json.loads(*entries(place).values())["value"] == 3


def test_reading_an_entry_runs_and_imports_nothing(tmp_path):
    """A class is restored only if it is loaded; nothing else than dataclasses, attrs classes, named tuples and enums."""
    for name in (
        "this:Nothing",
        "os:system",
        "builtins:object",
        "subprocess:Popen",
        ":__class__",
        "crossdock.model:nope",
    ):
        with pytest.raises(UnreadableError):
            decode({"$": "object", "class": name, "fields": {}})
    assert "this" not in sys.modules
    with pytest.raises(UnreadableError):
        decode({"$": "object", "class": f"{__name__}:Row", "fields": {"name": "a"}})
    with pytest.raises(UnreadableError):
        decode({"$": "array", "dtype": "O", "shape": [1], "scalar": False, "v": "AAAAAAAAAAA="})
    with pytest.raises(UnreadableError):
        decode({"$": "arrow", "batch": False, "v": "AAAA"})
    with pytest.raises(UnreadableError):
        decode({"$": "python", "v": "1"})


def test_a_class_that_changed_since_is_a_miss():
    kept = encode(Row("a", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)))
    kept["fields"]["older"] = 1
    with pytest.raises(UnreadableError, match="other fields"):
        decode(kept)


# -- stores that fail --------------------------------------------------------------------------------------------


def s3_task(server, url="s3://cache/faults", **options):
    return xd.task(load, name="loading", cache=xd.Cache(url, options=options_of(server)), **options)


@pytest.mark.parametrize("operation", ["object.get", "object.insert"])
def test_a_cache_that_refuses_is_an_error(s3, operation):
    task = s3_task(s3, f"s3://cache/{uuid.uuid4()}")
    with counting(s3, Rule(operation=operation, status=403, name="refuse")) as fired:
        (outcome,) = task.map(x=[1]).failed()
        assert fired()

    assert outcome.error.phase == "cache"
    assert isinstance(outcome.error.__cause__, xd.DeniedError)
    assert len(RAN) == (0 if operation == "object.get" else 1)


def test_a_cache_that_is_not_there_is_an_error_before_any_work_is_done(s3):
    with pytest.raises(xd.NotFoundError, match="no-such-bucket"):
        s3_task(s3, "s3://no-such-bucket/x")(1)

    assert RAN == []


@pytest.mark.parametrize("operation", ["object.get", "object.insert"])
def test_a_cache_that_does_not_answer_costs_one_warning_a_run_and_no_item(s3, operation, caplog):
    task = s3_task(s3, f"s3://cache/{uuid.uuid4()}")
    with (
        counting(s3, Rule(operation=operation, status=503, name="down")) as fired,
        caplog.at_level(logging.WARNING, "crossdock.cache"),
    ):
        result = task.map(x=range(5), runner=xd.LocalRunner(threads=1))
        assert result.results() == [2, 3, 4, 5, 6]
        once = fired()

    assert len(RAN) == 5
    assert layers.ATTEMPTS <= once < 3 * layers.ATTEMPTS  # tried as stores are, then left alone
    assert [record.getMessage()[:28] for record in caplog.records] == ["the cache does not answer an"]
    cache_entries._quiet_until.clear()  # a minute later
    task.map(x=range(5)).results()
    assert states(task.map(x=range(5))) == [State.CACHED] * 5


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/cache", "nosuch://x/y"])
def test_a_place_that_cannot_be_written_is_refused(url):
    with pytest.raises(xd.ConfigError):
        xd.task(load, cache=url)(1)

    assert RAN == []


# -- races -------------------------------------------------------------------------------------------------------


def slowly(x, together):
    together.wait(30)
    RAN.append(x)
    return {"x": x}


def test_threads_that_race_on_one_key_all_succeed(place):
    cache = xd.Cache(place[0], options=place[1], key=lambda inputs: inputs["x"])
    together = threading.Barrier(8)  # all of them missed before any of them keeps
    task = xd.task(slowly, cache=cache)

    result = task.map(x=[1] * 8, together=together, runner=xd.LocalRunner(threads=8))

    assert result.results() == [{"x": 1}] * 8
    assert states(result) == [State.DONE] * 8
    assert states(task.map(x=[1], together=together)) == [State.CACHED]
    assert len(entries(place)) == 1


def racing(url, options, together, results):
    def body(x):
        together.wait(60)
        return {"x": x, "text": "y" * 10_000}

    task = xd.task(body, name="racing", cache=xd.Cache(url, options=options, key=lambda inputs: inputs["x"]))
    results.put([task(1)["x"]])
    together.wait(60)
    results.put(states(task.map(x=[1] * 20)))


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_processes_that_race_on_one_key_all_succeed(kind, request, tmp_path):
    url, options = a_place(kind, request, tmp_path)
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=racing, args=(url, options, together, results)) for _ in range(2)]
    for process in processes:
        process.start()
    got = [results.get(timeout=90) for _ in range(4)]
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert got.count([1]) == 2
    assert got.count([State.CACHED] * 20) == 2
    assert len(entries((url, options))) == 1


# -- Dask --------------------------------------------------------------------------------------------------------


def where(x, log):
    with pathlib.Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return x * 2


def test_on_dask_the_second_run_is_entirely_cached(s3, request, tmp_path):
    """Two worker processes; a second run on new ones; the secret travels as a reference."""
    url, options = a_place("s3", request, tmp_path)
    task = xd.task(where, cache=xd.Cache(url, options=options))
    log = tmp_path / "log"
    for run in range(2):
        with xd.DaskRunner(cluster_kwargs={"n_workers": 2}, threads=2) as runner:
            result = task.map(x=range(40), log=str(log), runner=runner)
            assert result.results() == [2 * x for x in range(40)]
            assert states(result) == [State.CACHED if run else State.DONE] * 40

    assert len(log.read_text().split()) == 40
    assert len(entries((url, options))) == 40


# -- the option --------------------------------------------------------------------------------------------------


def test_a_cache_pickles_with_its_secret_as_a_reference_and_shows_none():
    cache = xd.Cache(
        "s3://b/p", options={"secret": "canary-8f3", "endpoint_url": "http://x"}, expires=60, version="1"
    )
    sent = pickle.dumps(cache)
    arrived = pickle.loads(sent)  # noqa: S301 - our own

    assert b"canary-8f3" not in sent
    assert "canary-8f3" not in repr(cache)
    assert "canary-8f3" not in repr(arrived)
    assert arrived == cache
    assert arrived.options["endpoint_url"] == "http://x"


def test_a_path_is_made_absolute_because_a_worker_stands_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert xd.Cache("results").url == str(tmp_path / "results")
    assert xd.Cache("~/results").url == str(tmp_path / "home" / "results")
    assert xd.Cache(pathlib.Path("x")).url == str(tmp_path / "x")
    assert xd.Cache("s3://b/x").url == "s3://b/x"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: xd.Cache(""), "a cache is at a URL or a path"),
        (lambda: xd.Cache(7), "a cache is at a URL or a path"),
        (lambda: xd.Cache("sftp://me:canary-8f3@host/x"), "the cache's URL holds a password"),
        (lambda: xd.Cache("x", expires=0), "expires takes seconds or a timedelta above 0"),
        (lambda: xd.Cache("x", expires=True), "expires takes seconds"),
        (lambda: xd.Cache("x", version=2), "version is text"),
        (lambda: xd.Cache("x", key="k"), "key is a function"),
        (lambda: xd.task(load, cache=7), "cache takes xd.Cache"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, says):
    with pytest.raises(xd.ConfigError, match=says) as caught:
        make()

    assert "canary" not in str(caught.value)


def test_a_half_of_a_pair_has_no_cache_of_its_own(tmp_path):
    with pytest.raises(xd.CompositionError, match="has cache of its own"):
        xd.task(same).combine(xd.task(load, cache=tmp_path).bind(1))


def test_importing_the_room_loads_no_connector():
    code = "import sys, crossdock as xd; xd.task(len, cache=xd.Cache('s3://b/x')); print([m for m in sys.modules if 'connectors' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
