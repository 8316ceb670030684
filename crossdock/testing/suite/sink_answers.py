"""What a sink answers and promises besides the bytes: receipts, conditions, metadata, names, being a recipe."""

from __future__ import annotations

import pickle
import uuid
from typing import Any

import pytest

import crossdock as xd
from crossdock.errors import (
    ConfigError,
    CrossdockError,
    IntegrityError,
    PreconditionError,
    TaskFailed,
    UnsupportedError,
)
from crossdock.model import ABSENT, Condition, Metadata, Verification
from crossdock.testing.ends import End
from crossdock.testing.hostile import FULL_METADATA, HOSTILE_METADATA
from crossdock.testing.suite.base import content, digests_of
from crossdock.testing.suite.end_base import PREFIX
from crossdock.testing.suite.origins import KEY, Origin
from crossdock.testing.suite.sink_base import NAME, SinkBase, in_form
from crossdock.testing.suite.sink_failures import OLD, SourceDiedError, dying

__all__ = ["SinkAnswerChecks"]

SMALL_RECEIPT = 4_096


class SinkAnswerChecks(SinkBase):
    """A receipt proves one commit; a condition decides at that moment; metadata arrives or is named."""

    @pytest.fixture(params=["small", "in parts"])
    def data(self, request: pytest.FixtureRequest, end: End) -> bytes:
        """An object of one request, and one of several parts."""
        return content(1_000 if request.param == "small" else 2 * self.part_size(end) + 7)

    @pytest.mark.parametrize("form", ["generator", "stored"])
    def test_a_receipt_says_what_was_proven(self, end: End, sink: Any, data: bytes, form: str) -> None:
        """Key, place, size and right digests; V1 where the end checks or publishes one, V2 if the source did too."""
        receipt = sink(in_form(form, data), key=NAME)
        can, stat = end.capabilities, end.root.store.stat(end.root.prefix + PREFIX + NAME)
        checks = can.put_checks | can.complete_checks | can.publishes

        assert (sink.prefix + NAME, len(data)) == (receipt.key, receipt.size)
        assert f"{sink.store.url}/{receipt.key}" == receipt.destination
        assert stat.version == receipt.version
        assert receipt.digests
        assert receipt.digests.conflict(digests_of(data)) is None
        assert receipt.evidence
        if checks:
            assert receipt.verification >= (Verification.V2 if form == "stored" else Verification.V1)
        else:
            assert receipt.verification is Verification.V0
            assert "length" in receipt.evidence

    def test_a_receipt_names_its_source(self, sink: Any) -> None:
        """URL and version of the object that was read; nothing for bytes from nowhere."""
        origin = Origin(b"data")
        stored, plain = sink(origin.stream(), key=NAME), sink(b"data", key="plain")

        assert f"{origin.url}/{KEY}" == stored.source
        assert origin.stat(KEY).version == stored.source_version
        assert (plain.source, bool(plain.source_version)) == ("", False)

    def test_a_receipt_is_small(self, end: End, sink: Any, data: bytes) -> None:
        """It is all that leaves a worker: picklable, equal to its copy, below 4 KiB whatever was written."""
        receipt = sink(data, key=NAME)
        pickled = pickle.dumps(receipt)

        assert len(pickled) < SMALL_RECEIPT
        assert receipt == pickle.loads(pickled)  # noqa: S301 - our own bytes
        assert [secret for secret in end.secrets if secret.encode() in pickled] == []

    def test_a_weaker_form_is_named(self, end: End, sink: Any) -> None:
        """Without conditional writes, or without any digest checked, the receipt says so and ``strict`` refuses."""
        can = end.capabilities
        checks = can.put_checks | can.complete_checks | can.publishes
        is_full = can.create_if_absent and can.replace_if_match and bool(checks)
        receipt = sink(b"data", key=NAME)

        assert is_full == ("weaker" not in receipt.evidence)
        if is_full:
            sink.verifying(strict=True)(b"strictly", key=NAME)
            self.assert_as_before(end, NAME, b"strictly")
        else:
            with pytest.raises(UnsupportedError):
                sink.verifying(strict=True)(b"strictly", key=NAME)
            self.assert_as_before(end, NAME, b"data")

    def test_a_read_back_is_v3(self, end: End, sink: Any, data: bytes) -> None:
        """Asked for V3, the destination is read again and the receipt says so."""
        receipt = sink.verifying("v3")(data, key=NAME)

        assert receipt.verification is Verification.V3
        self.assert_as_before(end, NAME, data)

    def test_a_receipt_is_confirmed_while_it_holds(self, end: End, sink: Any) -> None:
        """``confirms``: yes as long as the object is there unchanged; no once it was replaced, equal size or not."""
        receipt = sink(b"data", key=NAME)

        assert sink.confirms(receipt)
        sink(b"DATA", key=NAME)
        assert not sink.confirms(receipt)
        end.root.store.delete(end.root.prefix + PREFIX + NAME)
        assert not sink.confirms(receipt)

    def test_created_only_if_absent(self, end: End, sink: Any, data: bytes) -> None:
        """``ABSENT`` creates once; then ``PreconditionError`` and the first stays. Without the capability it is refused."""
        if not end.capabilities.create_if_absent:
            with pytest.raises(UnsupportedError):
                sink(data, key=NAME, condition=ABSENT)
            self.assert_as_before(end, NAME, None)
            return
        sink(data, key=NAME, condition=ABSENT)
        with pytest.raises(PreconditionError):
            sink(content(len(data), seed=9), key=NAME, condition=ABSENT)
        self.assert_as_before(end, NAME, data)

    def test_replaced_only_if_it_is_what_was_seen(self, end: End, sink: Any, data: bytes) -> None:
        """The version a receipt names is replaced once; a stale one never. Without the capability it is refused."""
        first = Condition(version=sink(OLD, key=NAME).version)
        if not end.capabilities.replace_if_match:
            with pytest.raises(UnsupportedError):
                sink(data, key=NAME, condition=first)
            self.assert_as_before(end, NAME, OLD)
            return
        sink(data, key=NAME, condition=first)
        with pytest.raises(PreconditionError):
            sink(content(len(data), seed=9), key=NAME, condition=first)
        self.assert_as_before(end, NAME, data)

    def test_metadata_is_kept_or_named(self, end: End, sink: Any, data: bytes) -> None:
        """Every field of the source's object is at the destination, or is in ``metadata_lost``; never both, never changed."""
        receipt = sink(Origin(data, metadata=FULL_METADATA).stream(), key=NAME)
        self.assert_kept_or_named(end, FULL_METADATA, receipt.metadata_lost)

    @pytest.mark.parametrize("what", HOSTILE_METADATA)
    def test_hostile_metadata_is_kept_named_or_refused(self, end: End, sink: Any, what: str) -> None:
        """Kept exactly, named as lost, or an error and no object."""
        metadata = HOSTILE_METADATA[what]
        try:
            receipt = sink(Origin(b"data", metadata=metadata).stream(), key=NAME)
        except IntegrityError:
            raise
        except CrossdockError:
            self.assert_as_before(end, NAME, None)
        else:
            self.assert_kept_or_named(end, metadata, receipt.metadata_lost)

    def assert_kept_or_named(self, end: End, given: Metadata, lost: tuple[str, ...]) -> None:
        """By the store's own word on what is there now."""
        found = end.root.store.stat(end.root.prefix + PREFIX + NAME).metadata or Metadata()
        for name in given.present():
            field, _, user = name.partition(".")
            expected, kept = getattr(given, field), getattr(found, field)
            if user:
                expected, kept = expected[user], kept.get(user)
            assert (kept == expected) != (name in lost), name
        assert {*lost} <= {*given.present()}

    def test_the_stream_names_the_object(self, end: End, sink: Any) -> None:
        """Without ``key`` it is the name the source gave; bytes without a name need one."""
        sink(Origin(b"data").stream())
        self.assert_as_before(end, KEY, b"data")

        with pytest.raises(ConfigError):
            sink(b"nameless")
        self.assert_as_before(end, KEY, b"data")

    def test_the_destination_is_known_before(self, end: End, sink: Any) -> None:
        """``destination`` names one place for one key and another for another, and writes nothing."""
        assert sink.destination("a") == sink.destination("b", key="a") != sink.destination("b")
        assert end.names() == []

    def test_a_sink_is_a_recipe(self, end: End, sink: Any) -> None:
        """It goes through pickle, before and after it was used, and writes the same place; no secret shows."""
        sink(b"before", key="before")
        pickled = pickle.dumps(sink)
        twin = pickle.loads(pickled)  # noqa: S301 - our own bytes
        twin(b"data", key=NAME)
        shown = pickled + repr(sink).encode() + sink.name.encode() + sink.url.encode()

        assert (sink.url, repr(sink)) == (twin.url, repr(twin))
        assert end.held(PREFIX + NAME) == b"data"
        assert [secret for secret in end.secrets if secret.encode() in shown] == []

    def test_preflight_passes(self, sink: Any) -> None:
        """A place that is there can be reached."""
        sink.preflight()

    def test_a_failing_sink_is_the_sinks_failure(self, end: End, sink: Any) -> None:
        """In a combined task a refused key is phase ``sink``; a source that dies is ``source``."""
        begin = xd.task(lambda text: [text.encode()])
        with xd.one_task(f"refused-{uuid.uuid4().hex[:4]}") as pair:
            sink(begin(xd.param("text")), key=xd.param("key"))
        with pytest.raises(TaskFailed) as refused:
            pair(text="data", key="lone surrogate \ud800")
        with xd.one_task("dying") as dies:
            sink(xd.task(lambda: dying(b"data", 2))(), key=NAME)
        with pytest.raises(TaskFailed) as died:
            dies()

        assert (refused.value.phase, died.value.phase) == ("sink", "source")
        assert isinstance(died.value.__cause__, SourceDiedError)
        assert end.names() == []
