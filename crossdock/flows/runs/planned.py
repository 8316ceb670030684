"""A plan that was written down before: opened, checked against what is asked now, made ready to be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, LedgerError
from crossdock.flows.planning.question import Question, asked_of
from crossdock.flows.questions.endpoints import Ends, rebuilt
from crossdock.flows.runs.directory import RunDirectory, run_files
from crossdock.options import public_options

__all__ = ["OpenPlan", "demand_both", "demand_same", "keep_transfer", "open_plan"]

_PLACES = ("source", "sink")


def demand_same(
    directory: RunDirectory, asked: Mapping[str, Any], question: Question, ends: Ends | None
) -> None:
    """Refuse to carry out a plan that answers another question.

    What is said now has to be what the plan was asked; what is not said (left as it is by default) is the plan's. How bytes
    move, credentials and endpoints may differ.

    Args:
        directory: Where the plan is.
        asked: What it was asked.
        question: What is asked now.
        ends: Source and destination, settled, if they are given now.

    Raises:
        LedgerError: Something differs; the text says what.
    """
    now = question.as_dict()
    default = Question(include=(), exclude=(), overwrite="if-different").as_dict()
    differs = [name for name, value in now.items() if value != default.get(name) and value != asked.get(name)]
    if ends is not None:
        described = asked_of(ends, question)
        differs += [place for place in _PLACES if _where(described[place]) != _where(asked[place])]
        differs += [name for name in ("one", "exact") if described[name] != asked[name]]
        differs += ["given"] if described.get("given", asked.get("given")) != asked.get("given") else []
    if differs:
        raise LedgerError(
            f"the plan was made for another question: {', '.join(dict.fromkeys(differs))} differ",
            operation="carry out plan",
            where=directory.url,
            hint="leave out what the plan has decided, or make a new plan",
        )


def _where(place: Mapping[str, Any]) -> tuple[str, str]:
    return place["store"], place["prefix"]


class OpenPlan(NamedTuple):
    """A plan that may be carried out: where it is, and its two ends."""

    directory: RunDirectory
    source: ObjectSource
    sink: ObjectSink

    @property
    def run_id(self) -> str:
        """The id of the run it becomes. One request."""
        run_id: str = self.directory.read()["run_id"]
        return run_id


def open_plan(
    url: str,
    options: Mapping[str, Any] | None,
    question: Question,
    ends: Ends | None,
    *,
    source_options: Mapping[str, Any] | None,
    sink_options: Mapping[str, Any] | None,
    verify: str | None,
    require: str | None,
    strict: bool | None,
) -> OpenPlan:
    """The plan at a URL, with its ends as it has them and options given again on top: secrets are not in it.

    Args:
        url: Where it was written.
        options: Options for the store that holds it.
        question: What is asked now; what is not said is the plan's.
        ends: Source and destination, settled, if they are given now: then these are used.
        source_options: On top of what the plan has, if the ends are not given.
        sink_options: Likewise.
        verify: Likewise.
        require: Likewise.
        strict: Likewise.

    Raises:
        NotFoundError: There is no plan here.
        LedgerError: It was never finished, or what is asked now is another question.
    """
    directory = RunDirectory(run_files(url, options))
    asked = directory.read()["asked"]
    _ = directory.summary  # says what is wrong with one that was never finished
    demand_same(directory, asked, question, ends)
    if ends is not None:
        return OpenPlan(directory, ends.source, ends.sink)
    source, sink = rebuilt(asked, source_options, sink_options)
    return OpenPlan(directory, source, sink.verifying(verify, require=require, strict=strict))


def keep_transfer(directory: RunDirectory, sink: ObjectSink) -> None:
    """Note how bytes shall move, so that whoever goes on with the run does the same. For the owner; before it begins."""
    document = directory.read()
    asked = document["asked"]
    transfer = public_options(sink.transfer)
    if document["state"] == "planned" and asked["sink"]["transfer"] != transfer:
        directory.update(asked=asked | {"sink": asked["sink"] | {"transfer": transfer}})


def demand_both(source: object, sink: object, plan: str | None, run_dir: str | None) -> None:
    """Refuse what does not go together: half of a pair of ends, or a plan and a directory of its own.

    Raises:
        ConfigError: It does not.
    """
    if (source is None) != (sink is None) or (plan is None and source is None):
        raise ConfigError(
            "a migration has a source and a destination, or a plan that names them", operation="migrate"
        )
    if plan is not None and run_dir is not None:
        raise ConfigError(
            "a plan is carried out where it is: its directory becomes the run's",
            operation="migrate",
            hint="leave out the run directory",
        )
