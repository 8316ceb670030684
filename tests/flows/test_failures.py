"""Failures as records: what resuming tries again."""

from __future__ import annotations

import pytest

from crossdock import errors
from crossdock.flows.ledger.failures import failure_of, hint_for


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.ConnectionLostError("reset"), True),
        (errors.DeniedError("no"), True),
        (errors.IntegrityError("other bytes"), True),
        (errors.StorageError("400 Parse Error"), True),
        (errors.UnsupportedError("too large"), False),
        (errors.PreconditionError("replaced"), False),
    ],
)
def test_what_a_person_can_mend_is_tried_again(error, again):
    """A hint that says resume, and a resume that does nothing, would contradict each other."""
    failure = failure_of(error)

    assert failure.retryable is again
    assert not again or "resume" in hint_for(failure.reason)
