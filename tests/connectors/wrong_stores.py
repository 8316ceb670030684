"""Stores that are wrong in one way each, round an exact one: the negative controls of ``StoreSuite``.

``test_suite_catches.py`` runs this file and demands that each class fails where ``caught_by`` says. ``TestFaithful`` is
the control of the controls: the same wrapper without a fault passes everything.
"""

# ruff: noqa: ARG002 - to ignore an argument is how most of these stores are wrong
from __future__ import annotations

import unicodedata
import uuid
from dataclasses import replace
from urllib.parse import unquote

import pytest

from crossdock.connectors.memory import MemoryStore
from crossdock.errors import CrossdockError, NotFoundError
from crossdock.model import ANY, NO_DIGESTS, NO_METADATA, NO_VERSION, Metadata
from crossdock.ports import CASE
from crossdock.testing.store_suite import StoreSuite


class Wrapped:
    """An exact store, verb by verb, for subclasses to spoil."""

    def __init__(self, name=None):
        self.inner = MemoryStore(name or uuid.uuid4().hex)

    def __reduce__(self):
        return type(self), (self.inner.bucket,)

    url = property(lambda self: self.inner.url)
    endpoint = property(lambda self: self.inner.endpoint)
    capabilities = property(lambda self: self.inner.capabilities)

    def refusal(self, key, size=None):
        return self.inner.refusal(key, size)

    def check(self):
        self.inner.check()

    def list(self, prefix="", *, start_after=None):
        yield from self.inner.list(prefix, start_after=start_after)

    def stat(self, key, *, version=NO_VERSION):
        return self.inner.stat(key, version=version)

    def read(self, key, byte_range=None, *, version=NO_VERSION):
        return self.inner.read(key, byte_range, version=version)

    def put(self, key, data, *, metadata=NO_METADATA, digests=NO_DIGESTS, condition=ANY):
        return self.inner.put(key, data, metadata=metadata, digests=digests, condition=condition)

    def begin(self, key, *, part_size_bytes, metadata=NO_METADATA, size=None):
        return self.inner.begin(key, part_size_bytes=part_size_bytes, metadata=metadata, size=size)

    def put_part(self, upload, number, data, *, digests=NO_DIGESTS):
        return self.inner.put_part(upload, number, data, digests=digests)

    def complete(self, upload, parts, *, size, digests=NO_DIGESTS, condition=ANY):
        return self.inner.complete(upload, parts, size=size, digests=digests, condition=condition)

    def abort(self, upload):
        self.inner.abort(upload)

    def list_uploads(self, prefix=""):
        return self.inner.list_uploads(prefix)

    def copy(self, source, source_key, key, *, info, metadata=NO_METADATA, condition=ANY):
        return self.inner.copy(source, source_key, key, info=info, metadata=metadata, condition=condition)

    def delete(self, key, *, version=NO_VERSION):
        self.inner.delete(key, version=version)


class WrongSuite(StoreSuite):
    __test__ = False
    kind = Wrapped
    caught_by: tuple[str, ...] = ()

    @pytest.fixture
    def store(self):
        return self.kind()

    def back_door(self, store, key):
        try:
            return bytes(store.inner.read(key).read_all())
        except CrossdockError:
            return None


def spoiled(*caught_by):
    """Make a suite class of a spoiled store; its failures must include one of each of these tests."""

    def make(kind):
        suite = type(
            f"Test{kind.__name__}", (WrongSuite,), {"kind": kind, "caught_by": caught_by, "__test__": True}
        )
        suite.__module__ = __name__
        globals()[suite.__name__] = suite
        return kind

    return make


@spoiled()
class Faithful(Wrapped):
    """Wrong in nothing."""


@spoiled("test_put_gives_the_bytes_back")
class DropsLastByte(Wrapped):
    def put(self, key, data, **rest):
        return super().put(key, bytes(data)[:-1], **{**rest, "digests": NO_DIGESTS})


@spoiled("test_chunks_add_up", "test_put_gives_the_bytes_back")
class ReadsShort(Wrapped):
    """The connection broke and nobody noticed."""

    def read(self, key, byte_range=None, *, version=NO_VERSION):
        reader = super().read(key, byte_range, version=version)
        reader._view = reader._view[: max(0, len(reader._view) - 1)]
        return reader


@spoiled("test_replaced_between_two_ranged_reads")
class IgnoresPins(Wrapped):
    """Reads what is there now, whatever was observed: half old, half new, as success."""

    def read(self, key, byte_range=None, *, version=NO_VERSION):
        return super().read(key, byte_range)


@spoiled(
    "test_replace_if_match_refuses_another_version",
    "test_replace_if_match_refuses_absence",
    "test_one_wins_a_race",
)
class IgnoresIfMatch(Wrapped):
    def put(self, key, data, *, condition=ANY, **rest):
        return super().put(key, data, condition=condition if condition.absent else ANY, **rest)


@spoiled("test_create_if_absent_never_replaces", "test_one_wins_a_race")
class IgnoresConditions(Wrapped):
    def put(self, key, data, *, condition=ANY, **rest):
        return super().put(key, data, **rest)


@spoiled("test_create_if_absent_never_replaces")
class ChecksThenActs(Wrapped):
    """Looks first, writes later, and forgets the condition when it completes parts."""

    def complete(self, upload, parts, *, condition=ANY, **rest):
        return super().complete(upload, parts, **rest)


@spoiled("test_pages_are_whole", "test_page_borders")
class ListsOnePage(Wrapped):
    """Takes the first page for the whole listing."""

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield page
            return


@spoiled("test_order_is_that_of_utf8_bytes")
class SortsAsUtf16(Wrapped):
    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield sorted(page, key=lambda info: info.key.encode("utf-16-be"))


@spoiled("test_a_prefix_is_plain_text")
class PrefixIsADirectory(Wrapped):
    def list(self, prefix="", *, start_after=None):
        inner = super().list(f"{prefix.rstrip('/')}/" if prefix else "", start_after=start_after)
        yield from inner


@spoiled("test_start_after_is_exclusive")
class StartsAt(Wrapped):
    """Includes the key it should start behind: one object twice."""

    def list(self, prefix="", *, start_after=None):
        yield from super().list(prefix, start_after=start_after and start_after[:-1])


class BendsKeys(Wrapped):
    bend = staticmethod(str)

    def _bent(self, key):
        return self.bend(key) or "_"

    def stat(self, key, **rest):
        return super().stat(self._bent(key), **rest)

    def read(self, key, byte_range=None, **rest):
        return super().read(self._bent(key), byte_range, **rest)

    def put(self, key, data, **rest):
        return super().put(self._bent(key), data, **rest)

    def begin(self, key, **rest):
        return super().begin(self._bent(key), **rest)

    def delete(self, key, **rest):
        super().delete(self._bent(key), **rest)


@spoiled("test_a_hostile_key_alone", "test_hostile_keys_together", "test_hostile_keys_in_parts")
class CollapsesSlashes(BendsKeys):
    @staticmethod
    def bend(key):
        while "//" in key:
            key = key.replace("//", "/")
        return key


@spoiled("test_a_hostile_key_alone")
class DropsEdgeSlashes(BendsKeys):
    bend = staticmethod(lambda key: key.strip("/"))


@spoiled("test_a_hostile_key_alone")
class DecodesKeys(BendsKeys):
    bend = staticmethod(unquote)


@spoiled("test_hostile_keys_together")
class NormalisesUnicode(BendsKeys):
    bend = staticmethod(lambda key: unicodedata.normalize("NFC", key))


@spoiled("test_hostile_keys_together", "test_keys_that_differ_by_case_alone")
class IgnoresCase(BendsKeys):
    bend = staticmethod(str.lower)


@spoiled("test_keys_that_differ_by_case_alone")
class ClaimsToFold(Wrapped):
    capabilities = property(lambda self: replace(self.inner.capabilities, folds=frozenset({CASE})))


@spoiled("test_a_hostile_key_alone")
class TrimsSpaces(BendsKeys):
    bend = staticmethod(str.strip)


@spoiled("test_metadata_travels", "test_one_metadata_field_alone")
class ForgetsMetadata(Wrapped):
    def put(self, key, data, *, metadata=NO_METADATA, **rest):
        return super().put(key, data, **rest)


@spoiled("test_parts_carry_metadata")
class ForgetsMetadataOfParts(Wrapped):
    def begin(self, key, *, part_size_bytes, metadata=NO_METADATA, size=None):
        return super().begin(key, part_size_bytes=part_size_bytes, size=size)


@spoiled("test_absent_metadata_stays_absent")
class MakesUpAContentType(Wrapped):
    def put(self, key, data, *, metadata=NO_METADATA, **rest):
        made_up = replace(metadata, content_type=metadata.content_type or "application/octet-stream")
        return super().put(key, data, metadata=made_up, **rest)


@spoiled("test_hostile_metadata_is_kept_or_refused")
class MetadataInAscii(Wrapped):
    def put(self, key, data, *, metadata=NO_METADATA, **rest):
        user = {name: value.encode("ascii", "replace").decode() for name, value in metadata.user.items()}
        return super().put(key, data, metadata=replace(metadata, user=user), **rest)


@spoiled("test_put_with_a_wrong_digest_changes_nothing")
class ChecksNoDigest(Wrapped):
    def put(self, key, data, *, digests=NO_DIGESTS, **rest):
        return super().put(key, data, **rest)


@spoiled("test_put_with_a_wrong_digest_changes_nothing")
class ChecksTooLate(Wrapped):
    """Raises as it should, but the object is already there."""

    def put(self, key, data, *, digests=NO_DIGESTS, **rest):
        super().put(key, data, **rest)
        return super().put(key, data, digests=digests, **rest)


@spoiled("test_a_wrong_digest_of_a_part_is_refused")
class ChecksNoPart(Wrapped):
    def put_part(self, upload, number, data, *, digests=NO_DIGESTS):
        return super().put_part(upload, number, data)


@spoiled("test_a_wrong_digest_of_the_whole_changes_nothing")
class ChecksNoWhole(Wrapped):
    def complete(self, upload, parts, *, digests=NO_DIGESTS, **rest):
        return super().complete(upload, parts, **rest)


@spoiled("test_a_missing_part_is_found", "test_a_wrong_size_is_found")
class IgnoresSize(Wrapped):
    def complete(self, upload, parts, *, size, **rest):
        return super().complete(upload, parts, size=sum(part.size for part in parts), **rest)


@spoiled("test_nothing_is_visible_before_complete")
class VisibleTooEarly(Wrapped):
    def put_part(self, upload, number, data, **rest):
        super().put(upload.key, data)
        return super().put_part(upload, number, data, **rest)


@spoiled("test_abort_leaves_nothing")
class NeverAborts(Wrapped):
    def abort(self, upload):
        pass


@spoiled("test_open_uploads_are_listed", "test_hostile_keys_in_parts")
class HidesUploads(Wrapped):
    def list_uploads(self, prefix=""):
        return iter(())


@spoiled("test_copy_is_pinned")
class CopiesWhateverIsThere(Wrapped):
    def copy(self, source, source_key, key, *, info, **rest):
        return super().copy(source, source_key, key, info=replace(info, version=NO_VERSION), **rest)


@spoiled("test_copy_carries_the_metadata_asked_for")
class CopiesMetadataToo(Wrapped):
    def copy(self, source, source_key, key, *, info, metadata=NO_METADATA, **rest):
        return super().copy(source, source_key, key, info=info, metadata=info.metadata or Metadata(), **rest)


@spoiled("test_delete_of_what_is_not_there_is_fine")
class DeletesStrictly(Wrapped):
    def delete(self, key, **rest):
        super().stat(key)
        super().delete(key, **rest)


@spoiled("test_delete_removes_one_object")
class DeletesByPrefix(Wrapped):
    def delete(self, key, **rest):
        for page in [*super().list(key)]:
            for info in page:
                super().delete(info.key)


@spoiled("test_delete_only_in_one_version")
class DeletesAnyVersion(Wrapped):
    def delete(self, key, **rest):
        super().delete(key)


@spoiled("test_stored_bytes_are_not_decoded")
class DecodesGzip(Wrapped):
    def put(self, key, data, *, metadata=NO_METADATA, digests=NO_DIGESTS, condition=ANY):
        if metadata.content_encoding == "gzip" and bytes(data[:2]) == b"\x1f\x8b":
            import gzip

            data = gzip.decompress(data)
        return super().put(key, data, metadata=metadata, condition=condition)


@spoiled("test_a_range_behind_the_end_raises")
class RangesAreForgiving(Wrapped):
    def read(self, key, byte_range=None, **rest):
        size = super().stat(key).size
        if byte_range is not None and byte_range.start >= size:
            return super().read(key, **rest)
        return super().read(key, byte_range, **rest)


@spoiled("test_what_is_not_there_is_not_found")
class MissingIsEmpty(Wrapped):
    def read(self, key, byte_range=None, **rest):
        try:
            return super().read(key, byte_range, **rest)
        except NotFoundError:
            super().put(key, b"")
            return super().read(key, **rest)


@spoiled("test_check_accepts_a_store_that_is_there")
class CheckLeavesTraces(Wrapped):
    def check(self):
        super().put(".probe", b"")


@spoiled("test_pickle_is_the_recipe")
class PicklesAnotherPlace(Wrapped):
    def __reduce__(self):
        return type(self), ()


@spoiled("test_published_digests_are_of_the_bytes")
class PublishesAnothersDigest(Wrapped):
    def stat(self, key, **rest):
        info = super().stat(key, **rest)
        return replace(info, digests=replace(info.digests, crc32c=b"\0\0\0\0"))


@spoiled("test_secrets_do_not_show")
class ShowsItsSecret(Wrapped):
    def __repr__(self):
        return "ShowsItsSecret(secret='canary-in-the-repr')"


TestShowsItsSecret.secrets = ("canary-in-the-repr",)  # noqa: F821 - made by the decorator
