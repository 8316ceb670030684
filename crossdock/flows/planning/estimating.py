"""What a plan will cost and how long it will take: its load, times a table of list prices. An estimate, and dated.

Pure but for reading the table. What is left out is named in ``Estimate.assumptions``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crossdock.errors import ConfigError
from crossdock.flows.planning.weighing import KINDS, Load

__all__ = ["Cost", "Estimate", "Prices", "Service", "cost_of", "read_prices"]

_GB = 1e9
_FREE = ("file", "memory", "local")  # this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The list prices of one service: requests per 1,000, the rest per GB of 10^9 bytes."""

    name: str
    hosts: tuple[str, ...]
    requests: Mapping[str, float]
    egress: Mapping[str, float]
    retrieval: Mapping[str, float]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A table of list prices, and when they were read."""

    as_of: str
    currency: str
    services: tuple[Service, ...]

    def service(self, endpoint: str) -> Service | None:
        """The service an endpoint belongs to, by the end of its host name."""
        host = urlsplit(endpoint.partition("+")[2].partition("#")[0]).hostname or ""
        return next(
            (
                each
                for each in self.services
                if any(host == name or host.endswith(f".{name}") for name in each.hosts)
            ),
            None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money by what it is for. ``unpriced`` are endpoints the table knows nothing of: they count as nothing."""

    currency: str
    as_of: str
    source_requests: float = 0.0
    sink_requests: float = 0.0
    egress: float = 0.0
    retrieval: float = 0.0
    unpriced: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """All of it."""
        return self.source_requests + self.sink_requests + self.egress + self.retrieval


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A plan in requests, money and time, as far as it can be foreseen.

    ``duration_s`` is for the bytes alone, at the rate given; ``None`` without one.
    """

    load: Load
    cost: Cost
    rate_bytes_per_s: int | None = None
    duration_s: float | None = None
    assumptions: tuple[str, ...] = field(
        default=(
            "list prices, without free allowances, tiers, contracts and taxes",
            "one LIST for 1,000 objects at each end; more where the destination holds more than the source",
            "no retries; what is to be compared counts as copied, too",
            "bytes leave the source's service unless both ends are one service",
        )
    )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        cost = asdict(self.cost) | {"total": self.cost.total, "unpriced": list(self.cost.unpriced)}
        money = {name: round(value, 6) if isinstance(value, float) else value for name, value in cost.items()}
        return {
            **self.load.as_dict(),
            "cost": money,
            "rate_bytes_per_s": self.rate_bytes_per_s,
            "duration_s": self.duration_s,
            "assumptions": list(self.assumptions),
        }


def cost_of(load: Load, prices: Prices, *, source: str, sink: str) -> Cost:
    """What a load costs between two endpoints (``ObjectStore.endpoint``)."""
    from_, to = prices.service(source), prices.service(sink)
    unpriced = tuple(
        sorted(
            {
                endpoint.partition("#")[0]
                for endpoint, found in ((source, from_), (sink, to))
                if found is None and endpoint.partition(":")[0] not in _FREE
            }
        )
    )
    egress = retrieval = 0.0
    if from_ is not None:
        where = "within" if to is from_ else "internet"
        egress = load.moved_bytes / _GB * from_.egress.get(where, 0.0)
        retrieval = sum(
            size / _GB * from_.retrieval.get(name, 0.0) for name, size in load.class_bytes.items()
        )
    return Cost(
        currency=prices.currency,
        as_of=prices.as_of,
        source_requests=_requests(load.source_requests, from_),
        sink_requests=_requests(load.sink_requests, to),
        egress=egress,
        retrieval=retrieval,
        unpriced=unpriced,
    )


def _requests(counts: Mapping[str, int], service: Service | None) -> float:
    if service is None:
        return 0.0
    return sum(count * service.requests.get(kind, 0.0) / 1_000 for kind, count in counts.items())


def read_prices(path: str | Path | None = None) -> Prices:
    """The table that comes with crossdock, or one of the same form.

    Raises:
        ConfigError: The file is not there, or not such a table.
    """
    where = str(path) if path is not None else "prices.toml"
    try:
        if path is None:
            text = (
                resources.files("crossdock.flows.planning")
                .joinpath("prices.toml")
                .read_text(encoding="utf-8")
            )
        else:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        return _table(tomllib.loads(text))
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        cause = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"the prices cannot be read: {cause}",
            operation="estimate",
            where=where,
            hint="the form is that of crossdock/flows/planning/prices.toml",
        ) from error


def _table(read: Mapping[str, Any]) -> Prices:
    return Prices(
        as_of=str(read["as_of"]),
        currency=str(read["currency"]),
        services=tuple(_service(name, table) for name, table in read["services"].items()),
    )


def _service(name: str, table: Mapping[str, Any]) -> Service:
    requests = _numbers(table.get("requests", {}))
    unknown = sorted(set(requests) - set(KINDS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no kind of request; known are {', '.join(KINDS)}")
    return Service(
        name=name,
        hosts=tuple(str(host) for host in table["hosts"]),
        requests=requests,
        egress=_numbers(table.get("egress", {})),
        retrieval=_numbers(table.get("retrieval", {})),
        source=str(table.get("source", "")),
    )


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in table.items()}
