"""Flows to begin with: each a small project that runs as it is, on servers of this machine, and is yours after ``init``.

One package for each, with ``flow.py`` (a function of the template's name; model code, read it first), ``sandbox.py`` (servers and
generated data to try it on) and ``README.md``. A new template is such a package, one row here and its test.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from crossdock.errors import ConfigError, ExistsError

__all__ = ["TEMPLATES", "Template", "init_template", "template"]

_FILES = ("README.md", "flow.py", "sandbox.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template.

    Attributes:
        name: Of the package and of its function.
        summary: What it does, on one line.
        needs: Extras of crossdock that it needs, besides those of the places it is given.
    """

    name: str
    summary: str
    needs: tuple[str, ...] = ()

    def text(self, file: str = "flow.py") -> str:
        """One of its files.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return resources.files(f"{__name__}.{self.name}").joinpath(file).read_text(encoding="utf-8")

    @property
    def files(self) -> tuple[str, ...]:
        """What ``init`` writes."""
        return _FILES


TEMPLATES = (
    Template(
        name="migrate_bucket",
        summary="One bucket to another, compared at the end; again and again as a routine",
    ),
    Template(
        name="taxi_best_tips",
        summary="A CSV of taxi trips in chunks by hour and day, the best tip of each, retries and all",
    ),
    Template(
        name="games_to_parquet",
        summary="An API with monthly archives to Parquet, a file per player and month, nothing read twice",
    ),
    Template(
        name="api_to_lake",
        summary="Accounts, their services, the metrics of a range of days: three maps into a partitioned lake",
    ),
    Template(
        name="etl",
        summary="Extract, transform, load over a list of sources that is read when it runs",
    ),
    Template(
        name="lake_to_warehouse",
        summary="Parquet objects into a table of a database, and a query of it back to the lake",
        needs=("sqlite", "postgresql"),
    ),
)


def template(name: str) -> Template:
    """The template of this name.

    Raises:
        ConfigError: There is none; the nearest is named.
    """
    for each in TEMPLATES:
        if each.name == name:
            return each
    near = difflib.get_close_matches(name, [each.name for each in TEMPLATES], n=1)
    raise ConfigError(
        f"there is no template {name!r}",
        operation="find",
        hint=f"did you mean {near[0]!r}?"
        if near
        else f"there are {', '.join(each.name for each in TEMPLATES)}",
    )


def init_template(name: str, directory: str | os.PathLike[str]) -> list[Path]:
    """Write a template's files into a directory, which is made if it is not there. Nothing is overwritten.

    Returns:
        What was written.

    Raises:
        ConfigError: There is no such template, or the directory is none.
        ExistsError: One of the files is there already; nothing was written.
    """
    chosen, place = template(name), Path(directory)
    if place.exists() and not place.is_dir():
        raise ConfigError("this is a file", operation="init", where=str(place), hint="name a directory")
    targets = [place / each for each in chosen.files]
    for each in targets:
        if os.path.lexists(each):
            raise ExistsError(
                "this is there already, and nothing is overwritten",
                operation="init",
                where=str(each),
                hint="name another directory",
            )
    place.mkdir(parents=True, exist_ok=True)
    for target in targets:
        with target.open("x", encoding="utf-8") as file:
            file.write(chosen.text(target.name))
    return targets
