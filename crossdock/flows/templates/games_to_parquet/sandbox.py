"""Where ``games_to_parquet`` can be tried: a site with players and monthly archives, as api.chess.com has them, and an S3."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from crossdock.testing import EmbeddedAPI, Faults, Rule, embedded_clouds

PLAYERS = ("ada", "bo", "cleo")
MONTHS = ("2026/08", "2026/09", "2026/10", "2026/11")
TODAY = date(2026, 11, 21)
RESULTS = ("win", "resigned", "timeout", "agreed")


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start both; the site answers 429 now and then."""
    with site() as api, embedded_clouds(s3=["lake"]):
        yield {"api": f"{api.url}/pub", "lake": "s3://lake/chess/", "players": list(PLAYERS), "today": TODAY}


def site() -> EmbeddedAPI:
    """The site; ``asked`` and ``most_at_once`` tell how it was treated."""
    busy = Rule(operation="api.get", status=429, retry_after_s=0, skip=2, every=5, name="429")

    def answer(path: str, query: Mapping[str, str]) -> Any:
        del query
        match path.strip("/").split("/"):
            case ["pub", "player", player, "games", "archives"] if player in PLAYERS:
                return {"archives": [f"{api.url}/pub/player/{player}/games/{month}" for month in MONTHS]}
            case ["pub", "player", player, "games", year, month] if player in PLAYERS:
                return {"games": games(player, f"{year}/{month}")}
        return None

    api = EmbeddedAPI(answer, Faults((busy,)))
    return api


def games(player: str, month: str) -> list[dict[str, Any]]:
    """What a player played in a month."""
    if month not in MONTHS:
        return []
    dice = random.Random(f"{player} {month}")  # noqa: S311 - data, not secrets
    start = int(datetime.strptime(month, "%Y/%m").replace(tzinfo=UTC).timestamp())
    return [
        _game(player, f"{month}-{number}", start + number * 3600, dice)
        for number in range(dice.randint(5, 40))
    ]


def _game(player: str, name: str, ended: int, dice: random.Random) -> dict[str, Any]:
    players = [player, dice.choice([each for each in PLAYERS if each != player])]
    dice.shuffle(players)
    white, black = (
        {"username": each, "rating": dice.randrange(800, 2400), "result": dice.choice(RESULTS)}
        for each in players
    )
    return {
        "url": f"https://example.com/game/{player}-{name}",
        "end_time": ended,
        "time_class": dice.choice(["blitz", "rapid"]),
        "rated": dice.random() < 0.9,
        "white": white,
        "black": black,
    }
