"""Faults of a listing: no page is ever silently short, and a listing that cannot be had whole moves nothing."""

from __future__ import annotations

import pytest
from fault_kit import new_bucket

import crossdock as xd
from crossdock.errors import CrossdockError

KEYS = [f"k{number:02d}" for number in range(25)]
PAGE = 10
ALWAYS = pytest.mark.parametrize("first", [1, None], ids=["once", "always"])
# Not the one-key listing by which a store is checked.
SECOND = {"operation": "object.list", "path": rf"(max-keys|maxResults)={PAGE}(&|$)", "skip": 1}


@pytest.fixture(params=["s3", "gcs"])
def ends(request, servers, monkeypatch):
    """A source of three pages, and an empty sink at the other cloud."""
    monkeypatch.setattr("crossdock.connectors.s3.listing._PAGE", PAGE)
    monkeypatch.setattr("crossdock.connectors.gcs.objects._PAGE", PAGE)
    source, sink = (
        new_bucket(servers[request.param]),
        new_bucket(servers["gcs" if request.param == "s3" else "s3"]),
    )
    for key in KEYS:
        source.put(key, key.encode())
    source.server.faults.reset_counters()
    return source, sink


def migrate(source, sink, place):
    """The ending, after what must hold either way: everything, or a loud error before anything moved."""
    try:
        report = xd.migrate(
            source.url,
            sink.url,
            source_options=source.options,
            sink_options=sink.options,
            run_dir=f"{place}/run",
        )
    except CrossdockError as error:
        assert sink.server.objects(sink.bucket) == {}
        return type(error).__name__
    counts = report.counts
    assert (counts.planned, counts.copied, counts.failed, counts.pending, report.exit_code) == (
        len(KEYS),
        len(KEYS),
        0,
        0,
        0,
    )
    assert {key: key.encode() for key in KEYS} == {
        key: bytes(stored.data) for key, stored in sink.server.objects(sink.bucket).items()
    }
    return "exact"


def run(ends, tmp_path, record, fault, first, **rule):
    source, sink = ends
    name = source.wrong(**{**SECOND, "first": first, **rule})

    ending = migrate(source, sink, tmp_path)

    assert source.server.faults.fired[name] > 0
    record(fault, f"{source.kind}{'' if first is None else ' once'}", ending)


@pytest.mark.fault("page-repeated")
def test_a_page_that_comes_twice(ends, tmp_path, record):
    """Neither objects twice nor those of the page that is missing for it."""
    run(ends, tmp_path, record, "page-repeated", 1, replay=True)


@pytest.mark.fault("page-repeated")
def test_the_answer_to_another_question(ends, tmp_path, record):
    """What a cache between says: the first page is the answer to the listing of one key asked before."""
    run(ends, tmp_path, record, "page-repeated", 1, replay=True, skip=0)


@pytest.mark.fault("page-looping")
def test_pages_that_go_in_circles(ends, tmp_path, record):
    """Ends, and loudly."""
    run(ends, tmp_path, record, "page-looping", None, replay=True)


@ALWAYS
@pytest.mark.parametrize("at", [200, -40], ids=["early", "late"])
@pytest.mark.fault("page-truncated")
def test_a_page_that_ends_early_and_says_it_is_whole(ends, tmp_path, record, first, at):
    run(ends, tmp_path, record, "page-truncated", first, truncate_at=at)


@ALWAYS
@pytest.mark.parametrize(
    "rule",
    [{"status": 500}, {"cut_at": 300}, {"cut_at": 300, "cut_with": "rst"}, {"reset": True}],
    ids=["500", "fin", "rst", "reset"],
)
@pytest.mark.fault("page-failing")
def test_a_page_that_fails(ends, tmp_path, record, first, rule):
    """Asked for again after the last key seen; if that fails too, nothing moves."""
    run(ends, tmp_path, record, "page-failing", first, **rule)
