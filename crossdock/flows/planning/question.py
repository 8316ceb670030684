"""What a plan is asked, besides its two ends: what is taken, under which key it goes, what counts as the same.

Pure. Everything that can be wrong with a question is found before the first request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from crossdock.errors import ConfigError
from crossdock.flows.planning.deciding import demand_known
from crossdock.flows.planning.rows import Rules
from crossdock.flows.questions.bounds import Age, Size, age_text, size_bytes
from crossdock.flows.questions.endpoints import Ends, describe
from crossdock.flows.questions.filters import Filters, compile_filters
from crossdock.flows.questions.mapping import Given, Rename, rename_of

__all__ = ["ARCHIVES", "Question", "asked_of", "kept_filters", "question_of", "rules_of"]

ARCHIVES = ("refuse", "try")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan is asked, besides the two ends. Plain values but for ``rename``; ages are as they were written."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    overwrite: str
    compare: str = "auto"
    min_size: int | None = None
    max_size: int | None = None
    min_age: str | None = None
    max_age: str | None = None
    rename: Rename | None = None
    archived: str = "refuse"

    def filters(self) -> Filters:
        """The filters, with ages counted back from now."""
        return compile_filters(
            self.include,
            self.exclude,
            min_size=self.min_size,
            max_size=self.max_size,
            min_age=self.min_age,
            max_age=self.max_age,
        )

    def as_dict(self) -> dict[str, Any]:
        """What a run keeps of it; equal for equal questions. What was not asked for is not in it."""
        kept: dict[str, Any] = {
            "include": list(self.include),
            "exclude": list(self.exclude),
            "overwrite": self.overwrite,
        }
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in kept and value != each.default:
                kept[each.name] = list(value.texts) if isinstance(value, Rename) else value
        return kept


def question_of(
    ends: Ends | None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    overwrite: str = "if-different",
    *,
    compare: str = "auto",
    min_size: Size = None,
    max_size: Size = None,
    min_age: Age = None,
    max_age: Age = None,
    rename: Given | None = None,
    archived: str = "refuse",
) -> Question:
    """A question from what a user wrote; the arguments are those of ``migrate``. ``ends`` may hold globs of its own.

    Raises:
        ConfigError: Something is wrong with one of them.
    """
    demand_known(overwrite, compare)
    if archived not in ARCHIVES:
        raise ConfigError(f"archived is {' or '.join(ARCHIVES)}, not {archived!r}", operation="plan")
    globs = _texts(include)
    if ends is not None and ends.include and globs:
        raise ConfigError(
            "wildcards in the source's URL and include say the same thing",
            operation="plan",
            where=ends.source.url,
            hint="write the prefix as source, and the pattern as include",
        )
    question = Question(
        include=(ends.include if ends is not None else ()) + globs,
        exclude=_texts(exclude),
        overwrite=overwrite,
        compare=compare,
        min_size=size_bytes(min_size, "min size"),
        max_size=size_bytes(max_size, "max size"),
        min_age=age_text(min_age),
        max_age=age_text(max_age),
        rename=rename_of(rename),
        archived=archived,
    )
    question.filters()
    return question


def asked_of(ends: Ends, question: Question) -> dict[str, Any]:
    """What a run keeps of its question; equal for equal questions."""
    return {
        **describe(ends),
        "one": ends.one.key if ends.one is not None else None,
        "exact": ends.exact,
        **question.as_dict(),
    }


def kept_filters(asked: Mapping[str, Any]) -> Filters:
    """The filters of a question as a run kept it, with ages counted back from now."""
    return compile_filters(
        asked["include"],
        asked["exclude"],
        min_size=asked.get("min_size"),
        max_size=asked.get("max_size"),
        min_age=asked.get("min_age"),
        max_age=asked.get("max_age"),
    )


def rules_of(ends: Ends, question: Question) -> Rules:
    """The rules of a plan between two ends that are settled.

    Raises:
        ConfigError: A rename, and the source is one object.
    """
    return Rules(
        source_prefix=ends.source.prefix,
        destination_prefix=ends.sink.prefix,
        filters=question.filters(),
        overwrite=question.overwrite,
        compare=question.compare,
        refusal=ends.sink.store.refusal,
        exact=ends.exact,
        rename=question.rename,
        folds=ends.sink.store.capabilities.folds,
        try_archived=question.archived == "try",
    )


def _texts(globs: Iterable[str]) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)
