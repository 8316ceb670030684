"""Why an object failed, in classes a person can act on: one table from errors to reasons and hints."""

from __future__ import annotations

from crossdock import errors
from crossdock.errors import CrossdockError, Retry
from crossdock.flows.ledger.records import Failure
from crossdock.flows.planning.deciding import IS_ARCHIVED, TWO_MEET
from crossdock.flows.questions.missing import NO_SUCH_OBJECT, REPLACED

__all__ = [
    "ARCHIVED",
    "BAD_ROWS",
    "COLLISION",
    "DESTINATION_CHANGED",
    "KEPT_OUT",
    "MISSING",
    "PASSING",
    "REASONS",
    "REFUSED",
    "SOURCE_CHANGED",
    "VANISHED",
    "failure_of",
    "hint_for",
    "refusal_reason",
]

VANISHED = "vanished"
SOURCE_CHANGED = "source changed"
DESTINATION_CHANGED = "destination changed"
REFUSED = "refused"
MISSING = "missing"
ARCHIVED = "archived"
COLLISION = "collision"
BAD_ROWS = "rows"
KEPT_OUT = "kept out"
WEAKER = "weaker"
UNPROVEN = "unproven"

# First match wins, so a class stands before its bases.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.CredentialsError, "credentials"),
    (errors.DeniedError, "denied"),
    (errors.StrictError, WEAKER),
    (errors.UnsupportedError, REFUSED),
    (errors.UnprovenError, UNPROVEN),
    (errors.PreconditionError, DESTINATION_CHANGED),
    (errors.ExistsError, DESTINATION_CHANGED),
    (errors.NotFoundError, "not found"),
    (errors.ThrottledError, "throttled"),
    (errors.StalledError, "stalled"),
    (errors.ConnectionLostError, "connection"),
    (errors.IntegrityError, "integrity"),
    (errors.RowError, BAD_ROWS),
    (errors.ConfigError, "configuration"),
    (errors.StorageError, "storage"),
)

_HINTS = {
    VANISHED: "these were deleted at the source after they were listed; a new run will not list them",
    SOURCE_CHANGED: "these were replaced at the source after they were listed; run the same command again",
    DESTINATION_CHANGED: "somebody else wrote these destination keys meanwhile; look, then run the same command again",
    ARCHIVED: "restore these, then run the same command with --archived try; or exclude them",
    COLLISION: "two keys or more come out as one; change the rename, exclude all but one, or choose a destination that tells them apart",
    MISSING: "the list names these, and the source has no such objects; correct the list, or leave them out",
    BAD_ROWS: "correct these objects, or go on without such rows: bad_rows (--bad-rows) skips them, or keeps them below a URL",
    KEPT_OUT: "nothing is wrong with these: they are loaded together with one that fails; mend that one, then run the same command again",
    REFUSED: "the destination cannot hold these keys or sizes; exclude them, or choose another destination",
    WEAKER: "these would get a weaker form of the promise; leave out strict, or exclude them",
    UNPROVEN: "less was proven of these than was required; go for more (--verify v3), or require less, in a new run",
    "credentials": "give working credentials, then resume",
    "denied": "grant the permission named, then resume",
    "not found": "the destination bucket, or an upload in it, is gone; check it, then resume",
    "throttled": "the service asks for fewer requests: resume with a lower concurrency",
    "stalled": "the network or the service stood still: resume",
    "connection": "the network or the service failed: resume",
    "integrity": "bytes were not what a digest or their compression promised; check the source object: as it is, resume; replaced, run the same command again",
    "configuration": "correct the option named, and start a new run",
    "storage": "see the message; then resume",
    "unexpected": "this should not happen: please report it",
}

REASONS = tuple(_HINTS)
PASSING = ("throttled", "stalled", "connection", "integrity", "storage")
"""What may be over a while later, without anybody doing anything."""
"""Every class of failures."""

# Worth another attempt when a person resumes the run, though no automatic retry would help.
_MENDABLE = ("credentials", "denied", "not found", "integrity", "storage", "unexpected")


def failure_of(error: BaseException, *, reason: str | None = None) -> Failure:
    """An error as a record: short, one line, without payload or secrets.

    Args:
        error: What was raised.
        reason: The class of failure where the caller knows better than the error's class tells.
    """
    named = reason or _reason(error)
    known = isinstance(error, CrossdockError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    retry = error.retry if isinstance(error, CrossdockError) else Retry.NEVER
    return Failure(
        reason=named,
        error=type(error).__name__,
        message=" ".join(text.split())[:1_000],
        hint=hint_for(named),
        retryable=reason is None and (retry is not Retry.NEVER or named in _MENDABLE),
        attempts=error.attempts if isinstance(error, CrossdockError) else 1,
    )


def _reason(error: BaseException) -> str:
    return next((name for kind, name in _REASONS if isinstance(error, kind)), "unexpected")


def refusal_reason(text: str) -> str:
    """The class of a failure known before any byte moves, from what the plan says of it."""
    for words, reason in ((IS_ARCHIVED, ARCHIVED), (TWO_MEET, COLLISION)):
        if text.startswith(words):
            return reason
    return {NO_SUCH_OBJECT: MISSING, REPLACED: SOURCE_CHANGED}.get(text, REFUSED)


def hint_for(reason: str) -> str:
    """What to do about a class of failures."""
    return _HINTS.get(reason, "")
