"""Where ``api_to_lake`` can be tried: an API that fails on a fifth of all requests, and a GCS on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

from crossdock.testing import EmbeddedAPI, Faults, Rule, embedded_clouds

ACCOUNTS, SERVICES, PAGE = 6, 3, 5
FAULTS = (
    Rule(operation="api.get", status=500, probability=0.1, name="500"),
    Rule(operation="api.get", status=429, retry_after_s=0, probability=0.05, name="429"),
    Rule(operation="api.get", reset=True, probability=0.05, name="reset"),
)


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Start both."""
    with vendor() as api, embedded_clouds(gcs=["lake"]):
        yield {
            "api": api.url,
            "lake": "gs://lake/vendor/",
            "first": date(2026, 11, 18),
            "last": date(2026, 11, 20),
            "requests_per_s": 500.0,
        }


def vendor(broken: Sequence[str] = ()) -> EmbeddedAPI:
    """The API; lists come in pages of five. It does not know the services of broken accounts."""

    def answer(path: str, query: Mapping[str, str]) -> Any:
        match path.strip("/").split("/"):
            case ["accounts"]:
                return _page([{"id": f"a{number:02}"} for number in range(ACCOUNTS)], query)
            case ["accounts", account, "services"] if account not in broken:
                return _page([{"id": f"{account}-s{number}"} for number in range(SERVICES)], query)
            case ["services", service, "metrics"]:
                return _page(metrics(service, query["day"]), query)
        return None

    return EmbeddedAPI(answer, Faults(FAULTS, seed=26))


def metrics(service: str, day: str) -> list[dict[str, Any]]:
    """What a service did on a day, by the hour of it."""
    load = sum(f"{service} {day}".encode())
    return [
        {"service": service, "hour": f"{day}T{hour:02}:00:00Z", "requests": load * (hour + 1) % 997}
        for hour in range(0, 24, 6)
    ]


def _page(records: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    start = int(query.get("cursor", 0))
    end = start + PAGE
    return {"data": records[start:end], "next": str(end) if end < len(records) else None}
