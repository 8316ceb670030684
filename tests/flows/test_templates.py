"""The templates, each end to end on servers of this machine: the result by another route, then run again, then given wrong things.

Objects are read back, and requests counted, by plain HTTP at the servers (``crossdock.testing.demo.plain``).
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import random
import re
import shlex
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from postgres_server import postgres  # noqa: F401 - a fixture

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.errors import ConfigError, NotFoundError
from crossdock.flows.named import call_flow, find_flow
from crossdock.flows.templates import TEMPLATES, init_template, template
from crossdock.flows.templates.api_to_lake import sandbox as vendors
from crossdock.flows.templates.etl import sandbox as sources
from crossdock.flows.templates.games_to_parquet import sandbox as chess
from crossdock.flows.templates.lake_to_warehouse import sandbox as shop
from crossdock.flows.templates.migrate_bucket import sandbox as buckets
from crossdock.flows.templates.taxi_best_tips import sandbox as taxi
from crossdock.model import State
from crossdock.testing import embedded_clouds
from crossdock.testing.demo.plain import PlainGCS, PlainS3

WRITES = re.compile(r"object\.(insert|copy|delete|patch)|objects\.delete|upload\.|part\.|chunk\.|put")


class S3:
    """The sandbox's S3 by plain HTTP."""

    def __init__(self):
        self.http = PlainS3(os.environ["AWS_ENDPOINT_URL_S3"])

    def objects(self, bucket, prefix=""):
        return {
            key: self.http.ask("GET", f"/{bucket}/{quote(key, safe='/')}")
            for key in self.http.keys(bucket)
            if key.startswith(prefix)
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.__exit__()


class GCS:
    """The sandbox's GCS by plain HTTP."""

    def __init__(self):
        self.http = PlainGCS(os.environ["STORAGE_EMULATOR_HOST"])

    def objects(self, bucket, prefix=""):
        return {
            each["name"]: self.http.ask(
                "GET", f"/storage/v1/b/{bucket}/o/{quote(each['name'], safe='')}?alt=media"
            )
            for each in self.http.resources(bucket)
            if each["name"].startswith(prefix)
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.__exit__()


def counted(server):
    return Counter(server.http.admin("GET", "faults")["requests"])


def healed(server):
    """Stop all faults; says how often each fired."""
    return server.http.admin("DELETE", "faults")["fired"]


def writes(server):
    return sum(count for name, count in counted(server).items() if WRITES.match(name))


def rows_of(data):
    return pq.read_table(io.BytesIO(data)).to_pylist()


# -- migrate_bucket ------------------------------------------------------------------------------------------------------


def test_a_bucket_is_migrated_through_faults_and_a_second_run_writes_nothing():
    flow = find_flow("migrate_bucket")
    with buckets.sandbox() as places, S3() as s3, GCS() as gcs:
        first = flow.function(**places)
        fired = {**healed(s3), **healed(gcs)}
        there, written = gcs.objects("archive"), writes(gcs)
        again = flow.function(**places)

        assert there == s3.objects("landing")
        assert len(there) == buckets.OBJECTS + len(buckets.AWKWARD)
        assert (first.counts.copied, first.counts.failed, first.exit_code) == (len(there), 0, 0)
        assert len(fired) == 2
        assert all(fired.values())
        assert (again.counts.copied, again.counts.skipped) == (0, len(there))
        assert writes(gcs) == written


def test_only_what_is_asked_for_is_migrated():
    with buckets.sandbox() as places, GCS() as gcs:
        report = find_flow("migrate_bucket").function(**places, include="day=1/**")

        assert {key.split("/")[1] for key in gcs.objects("archive")} == {"day=1"}
        assert report.counts.copied == len(range(1, buckets.OBJECTS, 7))


# -- taxi_best_tips ------------------------------------------------------------------------------------------------------


def best_tips(rows):
    """The same report by the csv module."""
    chunks = {}
    for trip in islice(csv.DictReader([taxi.COLUMNS, *taxi.trips()]), rows):
        pickup = datetime.fromisoformat(trip["tpep_pickup_datetime"])
        chunks.setdefault((pickup.date(), pickup.hour), []).append(trip)
    for (day, hour), trips in sorted(chunks.items()):
        shares = [
            float(trip["tip_amount"]) / float(trip["total_amount"])
            for trip in trips
            if float(trip["tip_amount"]) > 0 and float(trip["total_amount"]) > 0
        ]
        if shares:
            yield str(day), hour, len(trips), len(shares), round(max(shares), 4)


def told(report):
    return [
        (
            str(best["date"]),
            int(best["hour"]),
            int(best["trips"]),
            int(best["tipped"]),
            float(best["best_share"]),
        )
        for best in report
    ]


def test_the_best_tip_of_every_hour_is_found_though_a_fifth_of_the_attempts_fails(caplog):
    caplog.set_level(logging.INFO, logger="crossdock.task")
    flow = find_flow("taxi_best_tips")
    expected = list(best_tips(10_000))
    with taxi.sandbox() as places, S3() as s3:
        report = flow.function(**{**places, "retry_delay": 0.001})
        stored = s3.objects("lake")
        retried = [each for each in caplog.records if "failed by chance" in each.getMessage()]
        flow.function(**{**places, "retry_delay": 0.001})
        passengers = find_flow("crossdock.flows.templates.taxi_best_tips.flow:tips_by_passengers")
        means = passengers.function(lake=places["lake"])

        assert told(report) == expected
        assert told(csv.DictReader(io.StringIO(stored["taxi/best_tips_2019-01.csv"].decode()))) == expected
        # Forty hours hold the first 10,000 trips; in two of them nobody gave a tip.
        assert len(expected) == 40 - len(taxi.CASH_ONLY)
        assert len([key for key in stored if key.startswith("taxi/chunks/2019-01/date=")]) == 40
        # The dice are seeded: as many attempts fail as these say, and more than none.
        assert len(retried) == sum(failures(item) for item in range(40)) > 3
        assert s3.objects("lake", "taxi/chunks/2019-01/date=").keys() == {
            key for key in stored if key.startswith("taxi/chunks/2019-01/date=")
        }
    assert [row["passenger_count"] for row in means] == [2, 3, 4, 5, 6]


def failures(item):
    """How often a chunk's attempts fail before one succeeds."""
    attempt = 1
    while random.Random(f"24 {item} {attempt}").random() < 0.2:
        attempt += 1
    return attempt - 1


def test_nothing_to_report_is_an_empty_report():
    """No trip at all, and chunks in which nobody gave a tip."""
    with taxi.sandbox() as places, S3() as s3:
        none = find_flow("taxi_best_tips").function(**{**places, "rows": 0})
        report = s3.objects("lake", "taxi/best")["taxi/best_tips_2019-01.csv"]
        cash = "\n".join([taxi.COLUMNS, *(trip for trip in taxi.trips() if trip.split(",")[9] == "2"), ""])
        xd.sink("s3://nyc-tlc/csv/")(cash.encode(), key="yellow_tripdata_2019-02.csv")
        no_tips = find_flow("taxi_best_tips").function(**{**places, "month": "2019-02", "failure": 0.0})

    assert none == no_tips == []
    assert report.decode().replace('"', "").split() == ["date,hour,trips,tipped,best_share"]


def test_what_always_fails_is_given_up_after_six_attempts():
    texts = {"failure": "1", "rows": "300", "retry_delay": "0.001"}
    with pytest.raises(xd.TaskFailed, match=r"2 of 2 items of 'best_tip' failed.*after 6 attempts"):
        call_flow(find_flow("taxi_best_tips"), texts, in_sandbox=True)


# -- games_to_parquet ----------------------------------------------------------------------------------------------------


def test_games_become_a_file_for_each_player_and_month_and_nothing_is_read_twice():
    function = find_flow("games_to_parquet").function
    with chess.site() as site, embedded_clouds(s3=["lake"]), S3() as s3:
        given = {"api": f"{site.url}/pub", "lake": "s3://lake/", "players": list(chess.PLAYERS)}
        first = function(**given, contact="me@example.com", today=chess.TODAY)
        files, asked, written = s3.objects("lake", "games/"), len(site.asked), writes(s3)
        again = function(**given, contact="me@example.com", today=chess.TODAY)
        asked_again, written_again = site.asked[asked:], writes(s3)
        next_day = function(**given, today=chess.TODAY + timedelta(days=1))

        assert first.counts == {State.DONE: len(chess.PLAYERS) * len(chess.MONTHS)}
        assert files.keys() == {
            f"games/{player}/{month.replace('/', '-')}.parquet"
            for player in chess.PLAYERS
            for month in chess.MONTHS
        }
        assert [row["url"] for row in rows_of(files["games/ada/2026-09.parquet"])] == [
            game["url"] for game in chess.games("ada", "2026/09")
        ]
        # As a guest should: one at a time, by name, waiting when told to.
        assert site.most_at_once == 1
        assert {each.headers["user-agent"] for each in site.asked[:asked]} == {
            "games_to_parquet (me@example.com)"
        }
        assert site.faults.fired["429"] > 0
        # The same day: only the lists of months, which have not changed, and no write.
        assert again.counts == {State.CACHED: len(first)}
        assert {(each.target.endswith("archives"), each.status) for each in asked_again} == {(True, 304)}
        assert len(asked_again) == len(chess.PLAYERS)
        assert written_again == written
        # The next day: the month that runs, once for each player; it has not changed either.
        assert next_day.counts == {State.CACHED: len(first) - 3, State.DONE: 3}
        assert [each.status for each in site.asked if "2026/11" in each.target].count(304) == 3


def test_a_game_is_one_flat_row_of_two_sides():
    game = chess.games("bo", "2026/08")[0]
    row = find_flow("crossdock.flows.templates.games_to_parquet.flow:one_row").function(game)

    assert row["ended"] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (row["white_username"], row["black_rating"]) == (
        game["white"]["username"],
        game["black"]["rating"],
    )
    assert not any(isinstance(value, dict) for value in row.values())


def test_an_unknown_player_fails_alone():
    with chess.site() as site, embedded_clouds(s3=["lake"]):
        result = find_flow("games_to_parquet").function(
            api=f"{site.url}/pub", lake="s3://lake/", players=["bo", "nobody"], today=chess.TODAY
        )

        assert result.counts == {State.DONE: len(chess.MONTHS), State.UPSTREAM_FAILED: 1}


# -- api_to_lake ---------------------------------------------------------------------------------------------------------


def test_metrics_of_all_services_and_days_arrive_and_broken_accounts_fail_alone():
    function = find_flow("api_to_lake").function
    days = [date(2026, 11, 19), date(2026, 11, 20)]
    good = [f"a{number:02}" for number in range(vendors.ACCOUNTS) if number != 3]
    services = [f"{account}-s{number}" for account in good for number in range(vendors.SERVICES)]
    with vendors.vendor(broken=["a03"]) as api, embedded_clouds(gcs=["lake"]), GCS() as gcs:
        given = {"api": api.url, "lake": "gs://lake/", "requests_per_s": 5000.0}
        saved = function(**given, first=days[0], last=days[-1])
        files, written, asked = gcs.objects("lake", "metrics/"), writes(gcs), len(api.asked)
        again = function(**given, first=days[0], last=days[-1])
        written_again, asked_again = writes(gcs), [each.target for each in api.asked[asked:]]
        longer = function(**given, first=days[0], last=days[-1] + timedelta(days=1))

    items = len(services) * len(days)
    assert {name for name, count in api.faults.fired.items() if count} == {"500", "429", "reset"}
    assert saved.counts == {State.DONE: items, State.UPSTREAM_FAILED: len(days)}
    assert {key: rows_of(data) for key, data in files.items()} == {
        f"metrics/day={day}/{service}.parquet": [
            {**row, "hour": datetime.fromisoformat(row["hour"])} for row in vendors.metrics(service, str(day))
        ]
        for service in services
        for day in days
    }
    # Run again: no metrics are asked for, nothing is written; one more day is just that day.
    assert again.counts == {State.CACHED: items, State.UPSTREAM_FAILED: len(days)}
    assert not [target for target in asked_again if "metrics" in target]
    assert written_again == written
    assert longer.counts[State.DONE] == len(services)


# -- etl -----------------------------------------------------------------------------------------------------------------


def test_sources_are_read_when_it_runs_and_one_that_fails_does_not_stop_the_others():
    flow = find_flow("etl")
    with sources.sandbox(), GCS() as gcs:
        texts = {"sources": "@s3://config/sources.json", "lake": "gs://lake/etl/"}
        result = call_flow(flow, texts)
        tables = {key: rows_of(data) for key, data in gcs.objects("lake", "etl/tables/").items()}
        call_flow(flow, texts)
        same = {key: rows_of(data) for key, data in gcs.objects("lake", "etl/tables/").items()}
        listed = [
            {"name": "places", "place": "s3://landing/", "key": "places.tsv"},
            {"name": "gone", "place": "s3://landing/", "key": "gone.csv"},
        ]
        partly = call_flow(flow, {"sources": json.dumps(listed), "lake": "gs://lake/partly/"})
        outcomes = [
            json.loads(each) for each in gcs.objects("lake", "partly/")["partly/last_run.jsonl"].splitlines()
        ]

    assert result.counts == {State.DONE: 3}
    assert tables == same
    assert tables["etl/tables/orders.parquet"] == [  # the row without any value is gone
        {"order_id": 1, "total_paid": 9.5, "day": date(2026, 11, 20)},
        {"order_id": 2, "total_paid": None, "day": date(2026, 11, 21)},
    ]
    assert tables["etl/tables/events.parquet"] == [{"kind": "view", "n": 3}, {"kind": "buy", "n": 1}]
    assert tables["etl/tables/places.parquet"][0] == {"name": "München", "in_use": True}
    assert partly.counts == {State.DONE: 1, State.FAILED: 1}
    assert [(each["state"], each["error_class"]) for each in outcomes] == [
        ("done", None),
        ("failed", "NotFoundError"),
    ]


def test_sources_are_read_from_the_sandbox_too():
    told = []
    texts = {"sources": "@s3://config/sources.json"}
    result = call_flow(find_flow("etl"), texts, in_sandbox=True, told=told.append)

    assert result.counts == {State.DONE: 3}
    assert told[0].startswith("sandbox of etl, gone when it ends: sources=[{'name': 'orders'")


# -- lake_to_warehouse ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql", "duckdb"])
def database(request, tmp_path):
    """A new database: its URL, and what the flow is given besides."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        return {"database": server.fresh(), "password": server.options["password"]}
    return {"database": f"{request.param}://{tmp_path}/warehouse.db"}


def test_a_lake_goes_into_a_warehouse_and_back_and_again_changes_nothing(database):
    function = find_flow("lake_to_warehouse").function
    with shop.sandbox() as places, S3() as s3:
        first = function(**{**places, **database})
        exported = s3.objects("lake", "export/day=")
        again = function(**{**places, **database})
        unchanged = s3.objects("lake", "export/day=") == exported
        # One order is paid: one row changes.
        rows = shop.orders(11)
        rows[0]["paid"] = 1.25
        save = xd.sink("s3://lake/orders/").combine(
            xd.frames(orders=rows).bind("orders"),
            stitch_function=xd.encode("parquet"),
            key="2026-11.parquet",
        )
        save()
        third = function(**{**places, **database})
        back = xd.dataset("s3://lake/export/")().read_all().to_pylist()

    assert first == {"rows": shop.ORDERS, "changed": shop.ORDERS, "exported": shop.ORDERS}
    assert again == {"rows": shop.ORDERS, "changed": 0, "exported": shop.ORDERS}
    assert unchanged
    assert third["changed"] == 1
    assert sorted(map(repr, (row.items() for row in ordered(back)))) == sorted(
        map(repr, (row.items() for row in ordered([*shop.orders(10), *rows])))
    )


def ordered(rows):
    return [dict(sorted(row.items())) for row in rows]


# -- all of them ---------------------------------------------------------------------------------------------------------

EACH = pytest.mark.parametrize("name", [each.name for each in TEMPLATES])


@EACH
def test_a_template_says_what_it_shows_and_documents_every_parameter(name):
    flow = find_flow(name)

    assert "Shows " in flow.module.__doc__
    assert [each.name for each in flow.parameters if not each.help] == []
    assert any(each.is_required for each in flow.parameters)
    assert callable(flow.sandbox())


@EACH
def test_init_copies_a_project_and_overwrites_nothing(name, tmp_path):
    written = init_template(name, tmp_path / "mine")

    assert {each.name for each in written} == {"README.md", "flow.py", "sandbox.py"}
    assert {each.name: each.read_text() for each in written} == {
        each: template(name).text(each) for each in template(name).files
    }

    (tmp_path / "mine" / "README.md").unlink()
    (tmp_path / "mine" / "flow.py").write_text("mine = True\n")
    with pytest.raises(xd.ExistsError, match="nothing is overwritten"):
        init_template(name, tmp_path / "mine")
    assert (tmp_path / "mine" / "flow.py").read_text() == "mine = True\n"
    assert not (tmp_path / "mine" / "README.md").exists()


@EACH
def test_commands_of_a_readme_are_ones_that_work(name):
    """Options are those of `crossdock run`, parameters those of the flow, and values such as it takes."""
    commands = re.findall(
        r"^\$ crossdock run (.+)$", template(name).text("README.md").replace("\\\n", " "), re.MULTILINE
    )
    module = f"crossdock.flows.templates.{name}.flow"

    assert commands
    for command in commands:
        given = cli.commands["run"].make_context("run", shlex.split(command)).params
        flow = find_flow(given["flow"].replace("flow.py", module))
        known = {each.name: each for each in flow.parameters}
        assert given["param"].keys() <= known.keys()
        assert all(
            known[key].read(text) is not None for key, text in given["param"].items() if text[0] != "@"
        )
        required = {each.name for each in flow.parameters if each.is_required}
        assert given["in_sandbox"] or given["keep"] or required <= given["param"].keys()


def test_a_template_that_is_not_there():
    with pytest.raises(ConfigError, match="did you mean 'etl'"):
        template("etll")
    with pytest.raises(NotFoundError, match="no such file"):
        find_flow("nowhere/flow.py:etl")


def test_the_sandbox_leaves_the_environment_and_the_disk_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    before = dict(os.environ)
    with buckets.sandbox():
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")

    assert dict(os.environ) == before


def test_wrong_values_are_refused_before_a_server_starts():
    for texts, told in (
        ({"rows": "many"}, "'rows': 'many' is no whole number"),
        ({"row": "1"}, "did you mean 'rows'"),
        ({"trips": "s3://x/"}, "lake is missing"),
    ):
        with pytest.raises(ConfigError, match=told):
            call_flow(find_flow("taxi_best_tips"), texts)
