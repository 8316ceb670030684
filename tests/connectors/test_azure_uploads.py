"""Azure's blocks, records, copies, listings and metadata: what the port's suite cannot ask of every store."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import pytest
from azure.storage.blob import BlobBlock
from azurite import ACCOUNT, KEY as ACCOUNT_KEY, meddling, once
from hypothesis import given, strategies as st

import crossdock as xd
from crossdock.connectors.azure import AzureOptions, AzureStore, copying, headers, metadata as azure_metadata
from crossdock.connectors.azure.client import Client
from crossdock.connectors.layers import layered
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    UnsupportedError,
)
from crossdock.flows.listing import Listing
from crossdock.flows.listing.ranges import Shape
from crossdock.model import ABSENT, ANY, Condition, Digests, Metadata, Version
from crossdock.options import Secret
from crossdock.testing.suite.base import content, digests_of, keys_in

PART = 1_000
BODY = content(2_500)


@pytest.fixture
def name(azurite):
    return azurite.make_container()


@pytest.fixture
def store(azurite, name):
    return open_store(azurite.url, name)


def open_store(url: str, name: str, **more) -> AzureStore:
    options = AzureOptions(endpoint_url=url, account_key=Secret(ACCOUNT_KEY), account_name=ACCOUNT, **more)
    return AzureStore(name, options)


def send(store, upload, data=BODY):
    size = upload.part_size_bytes
    return [
        store.put_part(upload, number, data[start : start + size])
        for number, start in enumerate(range(0, len(data), size), start=1)
    ]


def begun(store, key="k", **more):
    upload = store.begin(key, part_size_bytes=PART, **more)
    return upload, send(store, upload)


def is_commit(method, target):
    return method == "PUT" and "comp=blocklist" in target


class TestCommitsWhoseAnswerIsLost:
    @pytest.mark.parametrize("fault", ["lose", "twice"])
    @pytest.mark.parametrize("condition", [ANY, ABSENT], ids=["any", "absent"])
    def test_a_commit_is_recognised_by_its_random_blocks(self, azurite, name, fault, condition):
        """Done, and the answer lost or that of a second delivery: ``complete`` looks, and says what is there."""
        meddle, fired = once(is_commit, fault)
        with meddling(azurite.url, meddle) as (url, _):
            store = open_store(url, name)
            upload, parts = begun(store, metadata=Metadata(content_type="text/x"))
            info = store.complete(upload, parts, size=len(BODY), condition=condition)

            assert fired
            assert azurite.read(name, "k") == BODY
            assert store.stat("k").version == info.version
            assert [*store.list_uploads()] == []

    def test_a_commit_is_recognised_by_the_next_call(self, azurite, name):
        """Lost, and looking fails too: the error is worth trying again, and the next call finds it done."""
        commit, fired = once(is_commit, "lose")

        def meddle(method, target):
            fault = commit(method, target)
            if fault is None and len(fired) == 1 and method == "GET" and "comp=blocklist" in target:
                fired.append(f"{method} {target}")
                return "refuse"
            return fault

        with meddling(azurite.url, meddle) as (url, _):
            store = open_store(url, name)
            upload, parts = begun(store)
            with pytest.raises(ConnectionLostError) as raised:
                store.complete(upload, parts, size=len(BODY), condition=ABSENT)
            info = store.complete(upload, parts, size=len(BODY), condition=ABSENT)

            assert len(fired) == 2
            assert raised.value.retry is Retry.LATER
            assert store.stat("k").version == info.version
            assert azurite.read(name, "k") == BODY

    def test_a_commit_that_did_not_happen_is_not_taken_for_done(self, azurite, name):
        meddle, fired = once(is_commit, "refuse")
        with meddling(azurite.url, meddle) as (url, _):
            store = open_store(url, name)
            upload, parts = begun(store)
            with pytest.raises(CrossdockError) as raised:
                store.complete(upload, parts, size=len(BODY))

            assert fired
            assert raised.value.retry is Retry.LATER
            assert azurite.read(name, "k") is None
            store.complete(upload, parts, size=len(BODY))
            assert azurite.read(name, "k") == BODY

    @pytest.mark.parametrize("size", [3_000, 9_000_000])
    def test_a_sink_writes_once_when_the_answer_is_lost(self, azurite, name, size):
        """Create-if-absent, small and in parts: one object, a receipt, no error."""
        data = content(size)

        def is_the_write(method, target):
            return is_commit(method, target) or (method == "PUT" and target.endswith("/k"))

        meddle, fired = once(is_the_write, "lose")
        with meddling(azurite.url, meddle) as (url, _):
            sink = xd.AzureSink(
                name,
                endpoint_url=url,
                account_name=ACCOUNT,
                account_key=ACCOUNT_KEY,
                part_size="4MiB",
                overwrite="never",
            )
            receipt = sink(data, key="k")

        assert fired
        assert receipt.size == size
        assert receipt.verification >= xd.Verification.V1
        assert azurite.read(name, "k") == data


class TestUploads:
    def test_a_crash_leaves_what_another_process_finds_and_ends(self, azurite, name, store):
        """Killed after its first part, with and without an object there: found by list_uploads, ended by abort."""
        store.put("old", b"old")
        script = """
import os, signal, sys
sys.path[:0] = sys.argv[4:]
from crossdock.connectors.azure import AzureOptions, AzureStore
from crossdock.options import Secret
url, name, key = sys.argv[1:4]
store = AzureStore(name, AzureOptions(endpoint_url=url, account_key=Secret(key)))
for object in ("new", "old"):
    store.put_part(store.begin(object, part_size_bytes=100), 1, b"x" * 100)
os.kill(os.getpid(), signal.SIGKILL)
"""
        done = subprocess.run([sys.executable, "-c", script, azurite.url, name, ACCOUNT_KEY], check=False)

        assert done.returncode == -9
        assert azurite.keys(name, uncommitted=True)[-1:] == ["old"]
        assert "new" in azurite.keys(name, uncommitted=True)
        found = sorted([*store.list_uploads()], key=lambda upload: upload.key)
        assert [(upload.key, upload.part_size_bytes) for upload in found] == [("new", 100), ("old", 100)]
        assert all(upload.begun is not None for upload in found)
        for upload in found:
            store.abort(upload)
        assert [*store.list_uploads()] == []
        assert azurite.keys(name) == ["old"]
        assert azurite.read(name, "old") == b"old"

    def test_an_upload_that_another_process_aborted_cannot_complete(self, azurite, name, store):
        upload, parts = begun(store)
        (record,) = azurite.keys(name)
        azurite.container(name).delete_blob(record)

        with pytest.raises(NotFoundError, match="the upload is gone"):
            store.complete(upload, parts, size=len(BODY))
        assert azurite.keys(name) == []

    def test_records_are_hidden_and_their_place_is_reserved(self, azurite, name, store):
        store.put(".crossdock/other", b"1")
        store.put("z", b"2")
        begun(store)

        assert keys_in(store) == [".crossdock/other", "z"]
        assert len(azurite.keys(name)) == 3
        assert store.refusal(".crossdock/uploads/x")

    @pytest.mark.parametrize("condition", [ABSENT, ANY], ids=["absent", "any"])
    def test_another_writer_drops_the_parts_and_we_say_so(self, azurite, name, store, condition):
        """Their object stays, whole; ours fails: as a broken condition if there was one."""
        upload, parts = begun(store)
        theirs = azurite.container(name).get_blob_client("k")
        block = "t" * 48  # the SDK encodes it
        theirs.stage_block(block, b"theirs")
        theirs.commit_block_list([BlobBlock(block)])

        with pytest.raises(NotFoundError if condition is ANY else PreconditionError, match="another writer"):
            store.complete(upload, parts, size=len(BODY), condition=condition)
        assert azurite.read(name, "k") == b"theirs"

    def test_ids_are_as_long_as_those_of_blocks_that_are_there(self, azurite, name, store):
        """Azure takes ids of one length for a blob; an upload of another tool that crashed must not block ours."""
        azurite.container(name).get_blob_client("k").stage_block("o" * 16, b"theirs")
        upload, parts = begun(store)
        store.complete(upload, parts, size=len(BODY))

        assert {len(base64.b64decode(part.etag)) for part in parts} == {16}
        assert azurite.read(name, "k") == BODY

    def test_ids_too_short_to_be_random_are_refused(self, azurite, name, store):
        azurite.container(name).get_blob_client("k").stage_block("0001", b"theirs")

        with pytest.raises(UnsupportedError, match="ids too short"):
            store.begin("k", part_size_bytes=PART)
        assert [*store.list_uploads()] == []

    def test_every_part_has_a_block_of_its_own(self, store):
        upload = store.begin("k", part_size_bytes=PART)
        blocks = {store.put_part(upload, 1, b"same").etag for _ in range(20)}

        assert len(blocks) == 20

    def test_a_block_the_service_holds_short_is_found(self, azurite, name, store):
        """The sizes are the service's own, not only ours."""
        upload, parts = begun(store)
        query = {"comp": "block", "blockid": parts[0].etag}
        store._connection.client.call("test", "PUT", "k", query=query, payload=b"short")

        with pytest.raises(IntegrityError, match="holds 5 of the 1000 bytes"):
            store.complete(upload, parts, size=len(BODY))
        assert azurite.read(name, "k") is None

    def test_an_md5_is_stored_but_proves_nothing(self, azurite, name, store):
        """Azure stores what it is told: so it is told only what is known, and no answer counts it as compared."""
        known, unknown = begun(store, "known"), begun(store, "unknown")
        digests = digests_of(BODY)
        info = store.complete(*known, size=len(BODY), digests=digests)
        store.complete(*unknown, size=len(BODY), digests=Digests(crc64nvme=digests.crc64nvme))
        shown = azurite.container(name).get_blob_client("known").get_blob_properties().content_settings

        assert hashlib.md5(BODY).digest() == bytes(shown.content_md5)
        assert info.digests == Digests(crc64nvme=digests.crc64nvme)
        assert store.stat("unknown").digests == Digests()
        assert "md5" not in store.capabilities.complete_checks

    def test_an_upload_without_parts_is_the_empty_object(self, azurite, name, store):
        upload = store.begin("k", part_size_bytes=PART, metadata=Metadata(user={"a": "b"}))
        store.complete(upload, [], size=0, condition=ABSENT)

        assert azurite.read(name, "k") == b""
        assert store.stat("k").metadata == Metadata(user={"a": "b"})
        with pytest.raises(NotFoundError):
            store.complete(upload, [], size=0)


class TestDigests:
    def test_crc64_is_what_azure_means(self):
        """A known answer of Microsoft's own C++ library: the same polynomial as S3's, in the other byte order."""
        sent = headers.check_headers(headers.to_check(b"Hello Azure!", Digests(), md5=False))

        assert sent == {"x-ms-content-crc64": "DtjZpL9/o8c="}
        assert headers.crc64_in(sent) == digests_of(b"Hello Azure!").crc64nvme

    def test_one_digest_goes_along_and_the_other_is_compared_here(self):
        """Azure refuses a request with both."""
        data = b"some bytes"
        wrong = Digests(md5=digests_of(data).md5, crc64nvme=bytes(8))

        assert [*headers.check_headers(digests_of(data))] == ["Content-MD5"]
        with pytest.raises(IntegrityError):
            headers.to_check(data, wrong, md5=False)
        with pytest.raises(IntegrityError):
            headers.to_check(data, Digests(crc64nvme=bytes(8)), md5=True)

    def test_the_service_refuses_a_damaged_block(self, store):
        """Not our own comparison: the CRC is right for what was meant, and other bytes arrive."""
        upload = store.begin("k", part_size_bytes=PART)
        with pytest.raises(IntegrityError, match="Crc64Mismatch"):
            store.put_part(upload, 1, b"other bytes", digests=Digests(crc64nvme=digests_of(BODY).crc64nvme))


class TestCopies:
    def test_large_copies_are_made_of_pinned_ranges(self, azurite, name, store, monkeypatch):
        """Block by block, exact; the service's own CRC of each block makes the whole's."""
        monkeypatch.setattr(copying, "_BLOCK", 700)
        info = store.put("a", BODY, metadata=Metadata(content_type="text/a"))
        made = store.copy(store.url, "a", "b", info=info, metadata=Metadata(content_type="text/b"))

        assert azurite.read(name, "b") == BODY
        assert made.digests == Digests(crc64nvme=digests_of(BODY).crc64nvme)
        assert store.stat("b").metadata == Metadata(content_type="text/b")
        assert len(azurite.container(name).get_blob_client("b").get_block_list()[0]) == 4

    def test_a_source_replaced_between_two_ranges_is_found(self, azurite, name, store, monkeypatch):
        monkeypatch.setattr(copying, "_BLOCK", 700)
        info = store.put("a", BODY)
        replaced = []

        def meddle(method, target):
            if "comp=block&" in target and not replaced and len(seen) > 3:
                replaced.append(target)
                azurite.container(name).upload_blob("a", content(2_500, seed=9), overwrite=True)

        # Azurite copies only from itself, so that the proxy's own address cannot be the source's.
        with meddling(azurite.url, meddle) as (url, seen):
            through = open_store(url, name)
            client = through._connection.client
            monkeypatch.setattr(client, "readable", store._connection.client.readable)
            with pytest.raises(CrossdockError) as raised:
                through.copy(through.url, "a", "b", info=info)

        assert replaced
        assert isinstance(raised.value, PreconditionError | NotFoundError)
        assert azurite.read(name, "b") is None

    def test_a_small_copy_is_compared_with_the_sources_md5(self, azurite, name, store):
        info = store.put("a", BODY)
        lie = replace(info, digests=Digests(md5=bytes(16)))

        assert store.copy(store.url, "a", "b", info=info).digests.md5 == hashlib.md5(BODY).digest()
        with pytest.raises(IntegrityError):
            store.copy(store.url, "a", "c", info=lie)
        assert azurite.read(name, "c") is None

    def test_between_containers_and_of_nothing(self, azurite, store):
        other = azurite.make_container()
        target = open_store(azurite.url, other)
        for key, body in (("full", BODY), ("empty", b"")):
            info = store.put(key, body)
            target.copy(store.url, key, key, info=info, condition=ABSENT)

            assert azurite.read(other, key) == body
        stale = store.put("empty", b"")
        store.put("empty", b"no more")
        with pytest.raises(PreconditionError):
            target.copy(store.url, "empty", "x", info=stale)
        assert azurite.read(other, "x") is None

    def test_a_migration_inside_the_account_moves_no_bytes(self, azurite, name, store):
        other = azurite.make_container()
        for number in range(5):
            store.put(f"in/{number}", BODY, metadata=Metadata(user={"number": str(number)}))
        options = {"endpoint_url": azurite.url, "account_key": ACCOUNT_KEY}
        report = xd.migrate(
            f"az://{name}/in/", f"az://{other}/out/", source_options=options, sink_options=options
        )

        assert report.counts.copied == 5
        assert [f"out/{number}" for number in range(5)] == azurite.keys(other)
        assert azurite.read(other, "out/3") == BODY


class TestListings:
    def test_keys_beyond_the_first_plane_are_in_the_order_of_utf8(self, azurite, name, store):
        """Azurite sorts by UTF-16; right whichever the service does, over pages and prefixes."""
        keys = [
            f"{head}{tail}"
            for head in ("", "p/")
            for tail in ("a", "\ue000x", "\ufffdy", "\U0001f680", "\U0001f680\uffee", "z")
        ]
        for key in keys:
            azurite.container(name).upload_blob(key, b"")

        assert azurite.keys(name) != sorted(keys)
        assert sorted(keys) == keys_in(store)
        for after in keys:
            assert [key for key in sorted(keys) if key > after] == keys_in(store, start_after=after)

    def test_a_listing_goes_on_where_a_page_ended(self, azurite, name, store, monkeypatch):
        """After the last key of a page only what follows is asked for; after any other key the answer is the same."""
        monkeypatch.setattr("crossdock.connectors.azure.listing._PAGE", 10)
        for number in range(35):
            store.put(f"{number:02d}", b"")
        with meddling(azurite.url, lambda *_: None) as (url, seen):
            through = open_store(url, name)
            pages = [[info.key for info in page] for page in through.list()]
            del seen[:]
            again = keys_in(through, start_after=pages[2][-1])

        assert [len(page) for page in pages] == [10, 10, 10, 5]
        assert again == pages[3]
        assert len(seen) == 1
        assert [f"{number:02d}" for number in range(14, 35)] == keys_in(
            open_store(azurite.url, name), start_after="13"
        )

    def test_a_container_that_can_start_anywhere_is_listed_in_ranges(self, azurite, name, monkeypatch):
        """Found out by ``check``, with a key that is there. Exact at any key, within the prefix, and a page is one request."""
        monkeypatch.setattr("crossdock.connectors.azure.listing._PAGE", 10)
        monkeypatch.setattr("crossdock.connectors.azure.listing._TRIED", 5)
        keys = [
            f"{head}/{n:03d}{tail}" for head in ("o", "p", "q") for n in range(60) for tail in ("", "/x&y")
        ]
        for key in keys:
            azurite.container(name).upload_blob(key, b"")
        with meddling(azurite.url, lambda *_: None) as (url, seen):
            store = open_store(url, name)
            before = store.capabilities.seekable_listing
            store.check()
            checks, after = len(seen), store.capabilities.seekable_listing
            ours = [key for key in keys if key.startswith("p/")]
            for start in ("p/", "p/000", "p/0300", "p/030/x", "p/059/x&y", "p/07"):
                del seen[:]
                assert [key for key in ours if key > start] == keys_in(store, prefix="p/", start_after=start)
                assert len(seen) <= 2 + len([key for key in ours if key > start]) // 10
            del seen[:]
            with Listing(layered(store), "p/", shape=Shape(first=1, stretch=2, window=12)) as listing:
                listed = [info.key for page in listing for info in page]

        assert (before, after, checks) == (False, True, 2)
        assert ours == listed
        assert sum("startFrom=" in target for _, target in seen) > 2
        assert sorted(keys) == keys_in(store)

    def test_a_start_beyond_the_first_plane_is_exact_too(self, azurite, name, store, monkeypatch):
        monkeypatch.setattr("crossdock.connectors.azure.listing._TRIED", 3)
        keys = [f"{head}{tail}" for head in "ab" for tail in ("", "x", "\ue000", "\uffee", "\U0001f680", "z")]
        for key in keys:
            azurite.container(name).upload_blob(key, b"")
        store.check()

        assert store.capabilities.seekable_listing
        for after in keys:
            assert [key for key in sorted(keys) if key > after] == keys_in(store, start_after=after)

    @pytest.mark.parametrize("service", ["ignores", "refuses", "starts later"])
    def test_a_service_that_cannot_start_anywhere_is_listed_from_its_beginning(
        self, azurite, name, store, monkeypatch, service
    ):
        """An older service; one that understands the start in another way would be found by the same question."""
        monkeypatch.setattr("crossdock.connectors.azure.listing._TRIED", 5)
        for number in range(20):
            azurite.container(name).upload_blob(f"d/{number:02d}", b"")
        plain, asked = Client.call, []

        def other(client, operation, method, key, *, query=None, **rest):
            query = dict(query or {})
            start = query.pop("startFrom", None)
            if start is not None:
                asked.append(start)
                if service == "refuses":
                    raise UnsupportedError("unknown version", operation=operation)
                if service == "starts later":
                    query["startFrom"] = f"d/{start}"
            return plain(client, operation, method, key, query=query, **rest)

        monkeypatch.setattr(Client, "call", other)
        store.check()

        assert asked == ["d/03"]
        assert not store.capabilities.seekable_listing
        assert [f"d/{number:02d}" for number in range(8, 20)] == keys_in(store, start_after="d/07")
        assert asked == ["d/03"]

    def test_a_service_that_starts_elsewhere_after_all_is_loud(self, azurite, name, store, monkeypatch):
        monkeypatch.setattr("crossdock.connectors.azure.listing._TRIED", 5)
        for number in range(20):
            azurite.container(name).upload_blob(f"{number:02d}", b"")
        store.check()
        plain = Client.call

        def forgetful(client, *args, query=None, **rest):
            return plain(client, *args, query={k: v for k, v in query.items() if k != "startFrom"}, **rest)

        monkeypatch.setattr(Client, "call", forgetful)

        with pytest.raises(ConnectionLostError, match="asked to start at '07', it starts at '00'"):
            keys_in(store, start_after="07")

    def test_a_failing_page_is_asked_for_again_and_none_is_lost(self, azurite, name, store, monkeypatch):
        monkeypatch.setattr("crossdock.connectors.azure.listing._PAGE", 10)
        for number in range(35):
            store.put(f"{number:02d}", b"")
        meddle, fired = once(lambda _, target: "marker=" in target, "lose")
        with meddling(azurite.url, meddle) as (url, _):
            source = xd.AzureSource(name, endpoint_url=url, account_name=ACCOUNT, account_key=ACCOUNT_KEY)
            keys = [*source.list()]

        assert fired
        assert [f"{number:02d}" for number in range(35)] == keys

    def test_a_listing_knows_what_stat_knows(self, store):
        store.put("a", BODY, metadata=Metadata(content_type="text/a", user={"Mixed-Case": "1"}))
        (listed,) = [info for page in store.list() for info in page]

        assert replace(store.stat("a"), storage_class=None) == replace(listed, storage_class=None)


class TestMetadata:
    NAMES: ClassVar = {
        "plain": "plain",
        "reviewed-by": "reviewed_x002D_by",
        "a.b c": "a_x002E_b_x0020_c",
        "1st": "_x0031_st",
        "_x002D_": "_x005F_x002D_",
        "caf\u00e9\U0001f680": "caf_x00E9__x0001F680_",
        "CamelCase_1": "CamelCase_1",
    }

    @pytest.mark.parametrize("field", NAMES, ids=ascii)
    def test_names_become_identifiers_and_come_back(self, azurite, name, store, field):
        """As .NET's XmlConvert.EncodeName writes them; legible to other tools."""
        metadata = Metadata(user={field: "value"})
        store.put("k", b"", metadata=metadata)
        shown = azurite.container(name).get_blob_client("k").get_blob_properties().metadata

        assert shown == {self.NAMES[field]: "value"}
        assert store.stat("k").metadata == metadata

    @given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=3))
    def test_whatever_is_kept_comes_back(self, user):
        try:
            kept = azure_metadata.encoded(Metadata(user=user))
        except UnsupportedError:
            return
        sent = azure_metadata.metadata_headers(kept)

        assert all(
            value.isascii() and value.isprintable() and value.strip() == value for value in sent.values()
        )
        assert all(name.removeprefix("x-ms-meta-").isidentifier() for name in sent)
        assert Metadata(user=dict(sorted(user.items()))) == azure_metadata.metadata_in(sent)

    @pytest.mark.parametrize(
        ("metadata", "cause"),
        [
            (Metadata(user={"a": "1", "A": "2"}), "case only"),
            (Metadata(user={"": "1"}), "without a name"),
            (Metadata(user={"a": "line\nbreak"}), "control characters"),
            (Metadata(user={"a": "v" * 8_192}), "takes 8192"),
            (Metadata(cache_control="a\r\nb"), "no header value"),
            (Metadata(content_language="d\u00e9"), "no header value"),
        ],
    )
    def test_what_cannot_be_kept_is_refused_before_a_byte_is_sent(
        self, azurite, name, store, metadata, cause
    ):
        with pytest.raises(UnsupportedError, match=cause):
            store.put("k", b"data", metadata=metadata)
        with pytest.raises(UnsupportedError, match=cause):
            store.begin("k", part_size_bytes=PART, metadata=metadata)
        assert azurite.keys(name, uncommitted=True) == []

    def test_octet_stream_is_no_content_type(self, store):
        """Azure says it of what has none, and whoever is told nothing assumes it."""
        store.put("none", b"")
        store.put("said", b"", metadata=Metadata(content_type="application/octet-stream"))

        assert store.stat("none").metadata == store.stat("said").metadata == Metadata()


class TestPreconditions:
    def test_a_missing_container_is_not_a_missing_object(self, azurite, store):
        """What is not there can be deleted and aborted; a container that is not there cannot be deleted from."""
        missing = open_store(azurite.url, "missing")
        upload = store.begin("k", part_size_bytes=PART)
        for act in (
            lambda: missing.delete("k"),
            lambda: missing.abort(upload),
            lambda: missing.begin("k", part_size_bytes=1),
        ):
            with pytest.raises(NotFoundError, match="ContainerNotFound"):
                act()

    @pytest.mark.parametrize("act", ["put", "stat", "read", "delete"])
    def test_a_version_without_an_etag_cannot_be_compared(self, store, act):
        """A generation is another store's: refused, not ignored."""
        store.put("k", b"data")
        version = Version(generation="17")
        calls = {
            "put": lambda: store.put("k", b"new", condition=Condition(version=version)),
            "stat": lambda: store.stat("k", version=version),
            "read": lambda: store.read("k", version=version),
            "delete": lambda: store.delete("k", version=version),
        }

        with pytest.raises(PreconditionError):
            calls[act]()
        assert bytes(store.read("k").read_all()) == b"data"

    def test_an_object_with_snapshots_is_not_deleted_silently(self, azurite, name, store):
        store.put("k", b"data")
        azurite.container(name).get_blob_client("k").create_snapshot()

        with pytest.raises(UnsupportedError, match="snapshots"):
            store.delete("k")
        assert azurite.read(name, "k") == b"data"

    def test_a_leased_object_is_denied_not_a_broken_condition(self, azurite, name, store):
        store.put("k", b"data")
        lease = azurite.container(name).get_blob_client("k").acquire_lease()

        with pytest.raises(xd.DeniedError, match="lease"):
            store.put("k", b"new")
        lease.release()
        assert azurite.read(name, "k") == b"data"

    def test_blocks_do_not_go_into_another_kind_of_blob(self, azurite, name, store):
        azurite.container(name).get_blob_client("k").create_append_blob()

        with pytest.raises(UnsupportedError, match="append blob"):
            begun(store)
