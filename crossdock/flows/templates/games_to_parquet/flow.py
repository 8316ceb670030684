"""Every game of some players, from an API with monthly archives to Parquet: a row for each game, a file for each player and month.

Shows a REST source that behaves (one request at a time, a name to write to, unchanged pages asked for by ETag), a map that feeds
another, and a cache: a month that is over is never read again, the month that runs once a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

import crossdock as xd

SIDE: dict[str, pa.DataType] = {"username": pa.string(), "rating": pa.int32(), "result": pa.string()}
GAME: dict[str, pa.DataType] = {
    "url": pa.string(),
    "ended": pa.timestamp("s", "UTC"),
    "time_class": pa.string(),
    "rated": pa.bool_(),
    **{f"white_{name}": kind for name, kind in SIDE.items()},
    **{f"black_{name}": kind for name, kind in SIDE.items()},
}


def games_to_parquet(
    api: str,
    lake: str,
    players: list[str],
    contact: str = "you@example.com",
    today: date | None = None,
) -> xd.MapResult:
    """Bring the games of some players into a lake.

    Args:
        api: Such as https://api.chess.com/pub
        lake: Prefix for the games, and for what is remembered between runs.
        players: Their names.
        contact: Whom the API's operators may write to.
        today: The date to go by; that of the run unless given.
    """
    lake, today = lake.removesuffix("/"), today or datetime.now(UTC).date()
    site = xd.rest(
        api, headers={"User-Agent": f"games_to_parquet ({contact})"}, max_in_flight=1, cache=f"{lake}/pages/"
    )
    files = xd.sink(f"{lake}/games/")

    @xd.task
    def archives(player: str) -> list[dict[str, str]]:
        (found,) = site(f"player/{player}/games/archives")
        return [_archive(url, player, today) for url in found["archives"]]

    seen = xd.Cache(f"{lake}/seen/", key=lambda inputs: inputs["archive"])

    @xd.one_task(name="games_to_parquet", stitch_function=as_parquet, cache=seen)
    def save(archive: dict[str, str]) -> Any:
        games = site(archive["path"], records="games")
        return files(games, key=f"{archive['player']}/{archive['month']}.parquet")

    return save.map(archive=xd.flatten(archives.map(player=players))).wait()


def _archive(url: str, player: str, today: date) -> dict[str, str]:
    """One month of one player. ``read`` is part of what was seen: it changes daily until the month is over."""
    year, month = url.rstrip("/").split("/")[-2:]
    is_over = (int(year), int(month)) < (today.year, today.month)
    return {
        "player": player,
        "month": f"{year}-{month}",
        "path": f"player/{player}/games/{year}/{month}",
        "read": "once" if is_over else today.isoformat(),
    }


def as_parquet(games: Iterable[dict[str, Any]]) -> Any:
    """The stitch function: records in, bytes of Parquet out."""
    rows = [one_row(game) for game in games]
    return xd.encode("parquet")(pa.Table.from_pylist(rows, pa.schema(GAME)))


def one_row(game: dict[str, Any]) -> dict[str, Any]:
    """One game as one flat row."""
    return {
        **{name: game[name] for name in ("url", "time_class", "rated")},
        "ended": datetime.fromtimestamp(game["end_time"], UTC),
        **{f"white_{name}": game["white"][name] for name in SIDE},
        **{f"black_{name}": game["black"][name] for name in SIDE},
    }
