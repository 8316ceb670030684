"""The vocabulary of faults: one `Rule` says which requests it means, when it applies to them and what then goes wrong.

The embedded servers and `FaultProxy` share it, and apply it in one place (`crossdock.testing.server`), so a rule means
the same whether it stands in S3, in GCS or in front of any other server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["ACTIONS", "Rule"]

ACTIONS = (
    "delay_s",
    "reset",
    "cut_upload_at",
    "upload_rate_bytes_per_s",
    "black_hole",
    "act",
    "status",
    "hide_headers",
    "ignore_range",
    "truncate_upload_at",
    "flip_upload_bit",
    "replay",
    "twice",
    "lose_ack",
    "truncate_at",
    "flip_bit",
    "answer_headers",
    "no_length",
    "cut_at",
    "stall_at",
    "rate_bytes_per_s",
)
"""What a rule can do, in the order in which a server does it."""

_PAIRS = ("headers", "answer_headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault: whom it hits, when, and what goes wrong.

    All given matches must hold. Of the requests that match, the first ``skip`` are spared; of the rest the rule
    looks at the ``first`` ones only (all, when None), takes each ``every``-th of these, starting with the first, and then
    throws dice with ``probability``.

    Operations have the same names on both servers: ``bucket.list``, ``bucket.get``, ``bucket.insert``,
    ``bucket.delete``; ``object.list``, ``object.stat``, ``object.get``, ``object.insert``, ``object.patch``,
    ``object.copy``, ``object.compose``, ``object.delete``, ``objects.delete``; ``upload.begin``, ``part.put``,
    ``upload.complete``, ``upload.abort``, ``upload.list``, ``upload.parts`` for multipart uploads; and for GCS's
    resumable uploads ``upload.begin``, ``chunk.put``, ``chunk.final`` (the request that carries the last byte),
    ``upload.status``, ``upload.abort``.

    Places in a body (``cut_at``, ``cut_upload_at``, ``truncate_at``, ``truncate_upload_at``, ``stall_at``) count from the
    end if negative: ``cut_at=-1`` leaves the last byte out.

    Attributes:
        operation: Shell pattern on the operation's name, such as ``object.*``.
        method: HTTP method; empty for any.
        path: Regular expression searched in the raw request target, query included.
        bucket: The bucket's exact name; empty for any.
        key: Regular expression searched in the decoded object key.
        header: Regular expression searched in each header as ``name: value``, names in small letters.
        skip: Matches to spare first.
        first: How many matches after ``skip`` to look at; None for all.
        every: Of those, take one of so many.
        probability: Of those, take this share, by the registry's seeded generator.
        above: Of those, take the ones that arrive while so many other matches are under way: a service that is full. With
            ``status=503`` it throttles like one; ``delay_s`` in another rule says how long a request keeps its place.
        delay_s: Wait before anything else is done.
        status: Answer this instead of doing the work (with ``lose_ack``: after doing it).
        body: Body of that answer; None for a proper error document of the service.
        headers: Further headers of that answer.
        retry_after_s: Adds ``Retry-After`` to that answer.
        reset: Close the connection with RST before the body is read; nothing was done.
        cut_upload_at: Receive only so many bytes of the request's body, then close the connection. Nothing is done, but
            by a resumable upload, which keeps the multiples of 256 KiB that arrived.
        upload_rate_bytes_per_s: Receive the request's body no faster than this. The kernel's buffers hold some MB
            that the client does not wait for.
        black_hole: Take the request and never answer; nothing was done. Ends when the client goes away.
        act: Called when the request has arrived, before the service does its work: whatever happens at this moment
            elsewhere (another writer, a signal, a wait for an event). Not to be had over JSON.
        lose_ack: Do the work, then close with RST (or answer ``status``): a lost acknowledgement.
        twice: Do the work twice and answer what the second time said: a delivery repeated by the network.
        replay: Answer what the request of the same operation before this one was answered; nothing is done. Without one
            before, nothing happens.
        cut_at: Send only so many bytes of the response's body, under the full Content-Length, then close.
        cut_with: Close with a FIN or with an RST; for ``cut_at`` and ``cut_upload_at``.
        truncate_at: Send only so many bytes of the response's body, as if they were all: Content-Length agrees.
        stall_at: Send only so many bytes of the response's body, then nothing for ``stall_s``, then the rest.
        stall_s: How long ``stall_at`` lasts; it ends earlier when the client goes away.
        flip_bit: Invert this bit of the response's body (modulo its length).
        flip_upload_bit: Invert this bit of the request's body before the service sees it.
        truncate_upload_at: The service sees only so many bytes of the request's body, and believes them complete.
            A resumable upload persists the multiples of 256 KiB among them, and says so.
        rate_bytes_per_s: Send the response's body no faster than this, per connection.
        ignore_range: The service does not see the ``Range`` header.
        hide_headers: The service does not see request headers whose names match one of these shell patterns (small
            letters): a lax server, or something between that drops what it does not know.
        answer_headers: Set these headers of the response; an empty value removes one.
        no_length: Send the body without Content-Length and close the connection at its end.
        name: Under which the rule is counted; by default made of operation and action.
    """

    operation: str = "*"
    method: str = ""
    path: str = ""
    bucket: str = ""
    key: str = ""
    header: str = ""
    skip: int = 0
    first: int | None = None
    every: int = 1
    probability: float = 1.0
    above: int | None = None
    delay_s: float | None = None
    status: int | None = None
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None
    reset: bool = False
    cut_upload_at: int | None = None
    upload_rate_bytes_per_s: float | None = None
    black_hole: bool = False
    act: Callable[[], object] | None = None
    lose_ack: bool = False
    twice: bool = False
    replay: bool = False
    cut_at: int | None = None
    cut_with: Literal["fin", "rst"] = "fin"
    truncate_at: int | None = None
    stall_at: int | None = None
    stall_s: float = 3600.0
    flip_bit: int | None = None
    flip_upload_bit: int | None = None
    truncate_upload_at: int | None = None
    rate_bytes_per_s: float | None = None
    ignore_range: bool = False
    hide_headers: tuple[str, ...] = ()
    answer_headers: tuple[tuple[str, str], ...] = ()
    no_length: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        # JSON knows lists only.
        for name in _PAIRS:
            pairs = tuple((str(key), str(value)) for key, value in getattr(self, name))
            object.__setattr__(self, name, pairs)
        object.__setattr__(self, "hide_headers", tuple(map(str, self.hide_headers)))
        if not self.actions():
            raise ValueError(f"a rule needs an action: one of {', '.join(ACTIONS)}")
        if self.every < 1 or self.skip < 0 or not 0 <= self.probability <= 1 or (self.above or 0) < 0:
            raise ValueError("every is at least 1, skip and above at least 0 and probability between 0 and 1")
        for rate in (self.rate_bytes_per_s, self.upload_rate_bytes_per_s):
            if rate is not None and rate <= 0:
                raise ValueError("rate_bytes_per_s and upload_rate_bytes_per_s are above 0")
        if not self.name:
            object.__setattr__(self, "name", f"{self.operation} {'+'.join(self.actions())}")

    def actions(self) -> tuple[str, ...]:
        """Name what this rule does, in the order in which a server applies it."""
        # Zero is a value: a cut at byte 0.
        return tuple(
            a
            for a in ACTIONS
            if (value := getattr(self, a)) is not None and value is not False and value != ()
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Rule:
        """Make a rule of a JSON object with this class's field names; all but ``act``.

        Raises:
            ValueError: A name is unknown, or the values make no rule.
        """
        known = {f.name for f in fields(cls)} - {"act"}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"a rule has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return cls(**values)
