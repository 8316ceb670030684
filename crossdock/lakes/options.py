"""The options of lakes. Whatever else is given is for the store their objects are in: its words, its credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError
from crossdock.options import option

__all__ = ["DeltaOptions", "IcebergOptions", "LakeOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeOptions:
    """How data files are written, in any lake."""

    target_size_bytes: int = option(
        "About how large data files become, as far as there are rows; told by those before.",
        default=128 * 2**20,
        unit="bytes",
        aliases=("target_size",),
    )
    memory_bytes: int = option(
        "Rows in memory that wait for their partition's file; the others wait on disk.",
        default=64 * 2**20,
        unit="bytes",
        aliases=("memory",),
    )
    max_open: int = option("Partitions with rows in memory.", default=1024)
    max_partitions: int = option("More in one call are refused.", default=10_000)

    def __post_init__(self) -> None:
        for name in ("target_size_bytes", "memory_bytes", "max_open", "max_partitions"):
            _demand_positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOptions(LakeOptions):
    """How Delta tables are written."""

    merge_memory_bytes: int = option(
        "What an upsert's join may hold; it fails, and changes nothing, rather than take more.",
        default=2**30,
        unit="bytes",
        aliases=("merge_memory",),
    )

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is made anew, and the name in this function means the old one.
        LakeOptions.__post_init__(self)
        _demand_positive("merge_memory_bytes", self.merge_memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class IcebergOptions(LakeOptions):
    """How Iceberg tables are found and written."""

    warehouse: str | None = option(
        "URL below which new tables get their data, such as s3://bucket/lake; needed to write, and to read with its options."
    )
    namespace: str = option("Namespace of tables that are named without one.", default="default")
    catalog: str = option("Name of the catalogue within its database.", default="default")

    def __post_init__(self) -> None:
        LakeOptions.__post_init__(self)
        for name in ("namespace", "catalog"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty", operation="open")


def _demand_positive(name: str, value: Any) -> None:
    if value < 1:
        raise ConfigError(f"{name} is at least 1, not {value}", operation="open")
