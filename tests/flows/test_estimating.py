"""What a plan will ask for, cost and take: against servers that count, and against sums done by hand."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib import resources

import pytest
from flow_kit import bucket, filled

import crossdock as xd
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConfigError
from crossdock.flows.planning.deciding import Action
from crossdock.flows.planning.estimating import cost_of, read_prices
from crossdock.flows.planning.rows import Row
from crossdock.flows.planning.weighing import KINDS, Load, Means, Weighing
from crossdock.model import MIB, Metadata, ObjectInfo, Version
from crossdock.ports import Capabilities
from crossdock.testing import EmbeddedGCS, EmbeddedS3
from crossdock.testing.demo.plain import PlainS3

S3, GCS = "s3+https://s3.eu-west-1.amazonaws.com#key", "gcs+https://storage.googleapis.com"


def means(*, same=False, verify="auto", sink=None):
    return Means(
        same_endpoint=same,
        source=Capabilities(),
        sink=sink or Capabilities(),
        transfer=TransferOptions(part_size_bytes=8 * MIB, verify=verify),
    )


def row(size, action=Action.COPY, reason="absent", **about):
    return Row(
        source=ObjectInfo(key="k", size=size, version=Version(etag="e"), **about),
        name="k",
        destination="k",
        action=action,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("one", "asked", "source", "sink"),
    [
        (row(0), means(), {"get": 1}, {"put": 1}),
        (row(8 * MIB), means(), {"get": 1}, {"put": 1}),
        (row(8 * MIB + 1), means(), {"get": 2}, {"begin": 1, "part": 2, "complete": 1}),
        (row(8 * MIB, Action.COMPARE), means(), {"head": 1, "get": 1}, {"head": 1, "put": 1}),
        (row(100), means(verify="v3"), {"get": 1}, {"put": 1, "get": 1}),
        (row(100), means(same=True), {}, {"copy": 1}),
        (row(6 * 1024 * MIB), means(same=True), {}, {"begin": 1, "copy": 768, "complete": 1}),
        (row(9, Action.SKIP), means(), {}, {}),
        (row(9, Action.REFUSE), means(), {}, {}),
        (row(9 * 1024**4), means(), {}, {}),
        (
            row(90_000 * 8 * MIB),
            means(),
            {"get": 10_000},
            {"begin": 1, "part": 10_000, "complete": 1},
        ),
    ],
)
def test_each_row_is_weighed_as_the_writer_would_write_it(one, asked, source, sink):
    found = asked.requests(one)

    assert (source, sink) == found[:2]


def test_servers_count_what_the_plan_foresaw(monkeypatch):
    """Small objects and one in parts, from S3 to GCS: gets, puts and parts as counted at both servers."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("landing",)) as s3, EmbeddedGCS(buckets=("archive",)) as gcs:
        with PlainS3(s3.url) as plain:
            for number in range(5):
                plain.put("landing", f"small/{number}", b"x" * number, {}, None)
            plain.put("landing", "large", b"y" * (11 * MIB), {}, None)
        options = {
            "source_options": {"endpoint_url": s3.url},
            "sink_options": {"endpoint_url": gcs.url, "part_size_bytes": 5 * MIB},
        }
        with_plan = xd.plan("s3://landing/", "gs://archive/", **options)
        load = with_plan.estimate().load
        s3.faults.reset_counters()
        gcs.faults.reset_counters()

        report = xd.migrate("s3://landing/", "gs://archive/", **options)

    assert report.exit_code == 0
    assert load.source_requests == {"list": 1, "get": 8}
    assert load.sink_requests == {"list": 1, "put": 5, "begin": 1, "part": 3, "complete": 1}
    assert s3.faults.requests["object.get"] == load.source_requests["get"]
    counted = gcs.faults.requests
    assert counted["part.put"] == load.sink_requests["part"], counted
    assert sum(count for name, count in counted.items() if name.endswith("insert")) == 5, counted
    assert load.moved_bytes == 11 * MIB + sum(range(5))


def test_evidence_classes_and_lost_metadata_are_added_up():
    weighing = Weighing(means(sink=Capabilities(metadata_fields=frozenset({"content_type"}))))
    full = Metadata(content_type="text/plain", cache_control="no-store", user={"a": "1", "b": "2"})
    rows = [
        row(10, metadata=full, storage_class="STANDARD_IA"),
        row(20, metadata=Metadata(content_type="text/plain")),
        row(30),
        row(40, Action.SKIP, "same md5", metadata=full),
        row(40, Action.SKIP, "same md5"),
        row(50, Action.REFUSE, "no"),
    ]

    passed = list(weighing.watch(rows))
    load = weighing.load(listed=2_001)

    assert passed == rows
    assert load.evidence == {"copy": {"absent": 3}, "skip": {"same md5": 2}, "refuse": {"no": 1}}
    assert load.class_bytes == {"STANDARD": 50, "STANDARD_IA": 10}
    assert (load.metadata_known, load.metadata_lost_objects) == (2, 1)
    assert load.metadata_lost == {"cache_control": 1, "user": 1}
    assert (load.source_requests["list"], load.sink_requests["list"]) == (3, 1)
    assert "list" not in weighing.load(listed=None).source_requests


def test_reasons_without_end_do_not_grow_the_summary():
    weighing = Weighing(means())
    for _ in weighing.watch(row(1, Action.REFUSE, f"size {number}") for number in range(10_000)):
        pass

    reasons = weighing.load(listed=1).evidence["refuse"]

    assert len(reasons) == 21
    assert sum(reasons.values()) == 10_000


LOAD = Load(
    source_requests={"list": 1_000, "get": 1_000_000},
    sink_requests={"list": 1_000, "put": 1_000_000},
    moved_bytes=10**12,
    class_bytes={"STANDARD": 9 * 10**11, "STANDARD_IA": 10**11},
)


def test_a_cost_is_requests_egress_and_retrieval():
    """A million small objects, a terabyte, S3 to GCS, with the table that comes with crossdock; summed by hand."""
    cost = cost_of(LOAD, read_prices(), source=S3, sink=GCS)

    assert cost.source_requests == pytest.approx(1_000 / 1_000 * 0.005 + 1_000 * 0.0004)
    assert cost.sink_requests == pytest.approx(1_000 / 1_000 * 0.005 + 1_000 * 0.005)
    assert cost.egress == pytest.approx(1_000 * 0.09)
    assert cost.retrieval == pytest.approx(100 * 0.01)
    assert cost.total == pytest.approx(0.405 + 5.005 + 90 + 1)
    assert cost.unpriced == ()


@pytest.mark.parametrize(
    ("source", "sink", "egress", "unpriced"),
    [
        (S3, "s3+https://s3.us-east-1.amazonaws.com#other", 20.0, ()),
        (S3, "file:///data", 90.0, ()),
        ("file:///data", GCS, 0.0, ()),
        ("memory", GCS, 0.0, ()),
        ("azure+https://acct.blob.core.windows.net#mark", GCS, 87.0, ()),
        (GCS, "s3+https://minio.example:9000#k", 120.0, ("s3+https://minio.example:9000",)),
        ("s3+https://amazonaws.com.example#k", GCS, 0.0, ("s3+https://amazonaws.com.example",)),
        ("http+https://example.org", GCS, 0.0, ("http+https://example.org",)),
    ],
)
def test_what_the_table_does_not_know_is_said_and_costs_nothing(source, sink, egress, unpriced):
    cost = cost_of(LOAD, read_prices(), source=source, sink=sink)

    assert cost.egress == pytest.approx(egress)
    assert cost.unpriced == unpriced


def test_the_table_is_dated_whole_and_says_where_it_is_from():
    text = resources.files("crossdock.flows.planning").joinpath("prices.toml").read_text(encoding="utf-8")
    prices = read_prices()

    assert tomllib.loads(text)["as_of"] == prices.as_of
    assert {service.name for service in prices.services} == {"s3", "gcs", "azure"}
    for service in prices.services:
        assert set(service.requests) == set(KINDS)
        assert set(service.egress) == {"internet", "within"}
        assert service.source.startswith("https://")


def test_a_table_of_one_s_own_takes_its_place(tmp_path):
    table = tmp_path / "prices.toml"
    table.write_text(
        'as_of = "2027-01-01"\ncurrency = "EUR"\n'
        '[services.minio]\nhosts = ["minio.example"]\n[services.minio.requests]\nput = 1.0\n'
    )

    cost = cost_of(LOAD, read_prices(table), source=S3, sink="s3+https://minio.example:9000#k")

    assert (cost.currency, cost.as_of, cost.total) == ("EUR", "2027-01-01", 1_000.0)
    assert cost.unpriced == ("s3+https://s3.eu-west-1.amazonaws.com",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "as_of = 1",
        "no toml",
        'as_of = "x"\ncurrency = "y"\nservices = 3',
        'as_of = "x"\ncurrency = "y"\n[services.s]\nhosts = ["h"]\n[services.s.requests]\nfetch = 1',
        'as_of = "x"\ncurrency = "y"\n[services.s]\nhosts = ["h"]\n[services.s.requests]\nput = "much"',
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text):
    table = tmp_path / "prices.toml"
    table.write_text(text)

    with pytest.raises(ConfigError, match="prices cannot be read"):
        read_prices(table)
    with pytest.raises(ConfigError, match="prices cannot be read"):
        read_prices(tmp_path / "absent.toml")


def test_time_is_the_bytes_that_pass_here_at_a_rate(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000)
    plan = xd.plan(f"{tmp_path}/", f"memory://{bucket()}/")
    inside = xd.plan(filled({"a": b"x" * 3_000}), f"memory://{bucket()}/")

    assert plan.estimate().duration_s is None
    assert plan.estimate(rate_bytes_per_s=100).to_dict()["duration_s"] == 30.0
    assert inside.estimate(rate_bytes_per_s=100).duration_s == 0.0
    with pytest.raises(ConfigError, match="more than 0"):
        plan.estimate(rate_bytes_per_s=0)


def test_sums_are_those_of_the_rows_one_by_one():
    """Small rows share one answer: the sum must not show it, on either side of every limit."""
    sizes = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 40 * MIB, None]
    for asked in (means(), means(same=True), means(verify="v3"), means(sink=Capabilities(max_put_size=MIB))):
        rows = [row(size, action) for size in sizes for action in Action]
        weighing = Weighing(asked)
        list(weighing.watch(rows))
        load = weighing.load(listed=1)
        by_hand = [Counter({"list": 1}), Counter({"list": 1})]
        for one in rows:
            for total, found in zip(by_hand, asked.requests(one)[:2], strict=True):
                total.update(found)

        assert [dict(each) for each in by_hand] == [load.source_requests, load.sink_requests]
