"""Levels of verification: what is asked of a source, what is required of a copy, what strict refuses, what V3 reads."""

from __future__ import annotations

import hashlib
import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from crossdock.connectors import ObjectSink, ObjectSource, TransferOptions, commits, layers, sink as sink_of
from crossdock.connectors.digests import digest_of, multipart_etag
from crossdock.connectors.evidence import judge, weaknesses
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.connectors.published import Published, compare, from_answer, learn
from crossdock.connectors.strategy import choose_part_size
from crossdock.connectors.writer.ordered import OrderedHasher, OtherPartFailedError
from crossdock.errors import ConfigError, IntegrityError, StrictError, UnprovenError
from crossdock.model import MIB, NO_DIGESTS, Digests, ObjectInfo, Verification, Version
from crossdock.ports import Capabilities, PartSizes

PART = 64 * 1024
LEVELS = [level.name.lower() for level in Verification]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr(commits, "backoff_s", lambda *_: 0.0)


def body(size):
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


def bare(info, **more):
    return replace(info, digests=NO_DIGESTS, **more)


class Silent(MemoryStore):
    """A memory store that publishes no digest, as a directory or a plain web server; counts its reads."""

    pinned = True

    def __init__(self, bucket, options):
        super().__init__(bucket, options)
        self.calls = []
        self.rots = False

    @property
    def endpoint(self):
        return f"apart-{id(self)}"

    @property
    def capabilities(self):
        return replace(super().capabilities, publishes=frozenset(), pinned_reads=self.pinned)

    def _shown(self, info):
        return bare(info) if self.pinned else bare(info, version=Version())

    def stat(self, key, **kwargs):
        self.calls.append("stat")
        return self._shown(super().stat(key, **kwargs))

    def list(self, *args, **kwargs):
        for page in super().list(*args, **kwargs):
            yield [self._shown(info) for info in page]

    def read(self, *args, **kwargs):
        self.calls.append("read")
        reader = super().read(*args, **kwargs)
        return Shown(reader, self._shown(reader.info), rots=self.rots and self.calls.count("read") > 1)

    def put(self, *args, **kwargs):
        self.calls.append("put")
        return self._shown(super().put(*args, **kwargs))

    def complete(self, *args, **kwargs):
        return self._shown(super().complete(*args, **kwargs))


class Unpinned(Silent):
    pinned = False


class Shown:
    def __init__(self, reader, info, *, rots):
        self.reader, self.info, self.rots = reader, info, rots

    def __iter__(self):
        for chunk in self.reader:
            yield bytes([chunk[0] ^ 1]) + bytes(chunk[1:]) if self.rots else chunk

    def read_all(self):
        return b"".join(bytes(chunk) for chunk in self)

    def close(self):
        self.reader.close()


def made(kind=MemoryStore):
    return kind(f"e-{uuid.uuid4()}", MemoryOptions())


def pair(source, sink, **options):
    options = {"part_size_bytes": PART, **options}
    return ObjectSource(layered(source)), ObjectSink(layered(sink), transfer=TransferOptions(**options))


def is_empty(store):
    return not [info for page in MemoryStore.list(store) for info in page] and not [*store.list_uploads()]


class TestOptions:
    @pytest.mark.parametrize("name", ["verify", "require"])
    def test_a_level_that_does_not_exist_is_refused(self, name):
        with pytest.raises(ConfigError, match=f"{name} is .*v3, not 'v4'"):
            TransferOptions(**{name: "v4"})

    def test_case_does_not_matter(self):
        options = TransferOptions(verify="V2", require="V1")

        assert (options.wanted, options.required) == (Verification.V2, Verification.V1)

    @pytest.mark.parametrize("verify", ["auto", *LEVELS])
    @pytest.mark.parametrize("require", LEVELS)
    def test_what_is_required_is_wanted(self, verify, require):
        """Never less; and what is required for free changes nothing."""
        wanted = TransferOptions(verify=verify, require=require).wanted
        asked = None if verify == "auto" else Verification[verify.upper()]
        least = Verification[require.upper()]

        assert wanted == (asked if least <= Verification.V1 else max(asked or least, least))

    @pytest.mark.parametrize(
        ("name", "value", "read"),
        [("VERIFY", "v3", "verify"), ("REQUIRE", "v2", "require"), ("STRICT", "true", "strict")],
    )
    def test_the_environment_sets_them(self, monkeypatch, name, value, read):
        monkeypatch.setenv(f"CROSSDOCK_{name}", value)
        sink = sink_of("memory://levels/")

        assert getattr(sink.transfer, read) == (value if read != "strict" else True)

    def test_a_sink_can_be_asked_for_another_level(self):
        sink = sink_of("memory://levels/", verify="v1", strict=True)

        assert sink.verifying(require="v2").transfer == TransferOptions(
            verify="v1", require="v2", strict=True
        )
        assert sink.verifying("v3", strict=False).transfer == TransferOptions(verify="v3")


class TestOrder:
    @settings(deadline=None)
    @given(
        sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
        cut=st.integers(1, 30),
        threads=st.integers(1, 4),
        order=st.randoms(use_true_random=False),
    )
    def test_stretches_are_hashed_whatever_the_pieces_and_their_order(self, sizes, cut, threads, order):
        """Pieces of another length than the stretches, from several threads, begun in order, ending in any."""
        data = body(sum(sizes))
        hasher = OrderedHasher(sizes, ["md5"])
        pieces = list(range(0, len(data), cut))
        if threads == 1:
            for start in pieces:
                hasher.update(start, data[start : start + cut])
        else:
            with ThreadPoolExecutor(threads) as pool:
                window = [pieces[at : at + threads] for at in range(0, len(pieces), threads)]
                for some in window:
                    order.shuffle(some)
                    for each in [pool.submit(hasher.update, at, data[at : at + cut]) for at in some]:
                        each.result()
        ends = list(itertools.accumulate(sizes))

        expected = [
            hashlib.md5(data[end - size : end]).digest() for size, end in zip(sizes, ends, strict=True)
        ]
        assert expected == [digests.md5 for digests in hasher.digests()]

    def test_an_early_piece_waits_and_is_let_go_if_others_fail(self):
        hasher, ended = OrderedHasher((10,), ["md5"]), []

        def early():
            try:
                hasher.update(5, b"later")
            except OtherPartFailedError as error:
                ended.append(error)

        thread = threading.Thread(target=early)
        thread.start()
        hasher.break_up()
        thread.join(10)

        assert len(ended) == 1

    def test_more_bytes_than_there_are_raise(self):
        hasher = OrderedHasher((2, 2), ["md5"])

        with pytest.raises(IntegrityError, match="more bytes"):
            hasher.update(0, b"12345")


class TestPartSize:
    SINK = Capabilities(min_part_size=5, max_part_size=1000, max_parts=100)

    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ((7, 7, 7), 7),
            ((7, 7, 1), 7),
            ((20, 20), 20),
            ((7, 6, 7), 8),  # not equal
            ((7, 7, 9), 8),  # the last is larger
            ((4, 4), 8),  # the destination takes no parts so small
            ((26, 26), 8),  # not four of them in the budget
            ((30,), 8),  # one: no reason to hold it whole
            ((5,) * 101, 8),  # more than the destination takes
            ((), 8),
        ],
    )
    def test_equal_parts_of_the_source_are_taken_over_where_they_fit(self, parts, expected):
        size = choose_part_size(sum(parts) or 50, 8, self.SINK, source_parts=parts, budget_bytes=100)

        assert expected == size


class Answering(MemoryStore):
    """Says of its objects what a test wants, and counts what it is asked."""

    def __init__(self, info, stat=None, sizes=None, every=None):
        super().__init__(f"a-{uuid.uuid4()}", MemoryOptions())
        self._info, self._stat, self._sizes, self._every = info, stat, sizes, every
        self.asked = []

    def stat(self, key, *, version):
        self.asked.append(("stat", key, version.etag))
        return replace(self._info, digests=self._stat or self._info.digests)

    def part_sizes(self, info, *, every=False):
        self.asked.append(("every" if every else "first", info.key, info.version.etag))
        return self._every if every else self._sizes


ETAG = "0" * 32 + "-2"
MULTI = ObjectInfo(key="k", size=10, version=Version(etag=ETAG), digests=Digests(multipart_etag=ETAG))


class TestLearning:
    @pytest.mark.parametrize(
        ("wanted", "in_parts", "asked"),
        [
            (None, True, ["stat", "first"]),
            (None, False, []),
            (Verification.V0, True, []),
            (Verification.V1, True, []),
            (Verification.V2, False, ["stat", "first"]),
            (Verification.V3, False, ["stat", "first"]),
        ],
    )
    def test_questions_are_worth_it_or_asked_for(self, wanted, in_parts, asked):
        store = Answering(MULTI, sizes=(6, 4))

        known = learn(MULTI, store, wanted=wanted, in_parts=in_parts)

        assert asked == [question for question, *_ in store.asked]
        assert all(row[1:] == ("k", ETAG) for row in store.asked)
        assert known.parts == ((6, 4) if asked else ())

    def test_a_crc_ends_the_questions(self):
        store = Answering(MULTI, stat=Digests(crc64nvme=bytes(8)), sizes=(6, 4))

        known = learn(MULTI, store, wanted=Verification.V2, in_parts=True)

        assert (known.parts, known.has_digest) == ((), True)
        assert [question for question, *_ in store.asked] == ["stat"]

    def test_a_known_crc_costs_none(self):
        info = replace(MULTI, digests=Digests(crc32c=bytes(4)))
        store = Answering(info)
        learn(info, store, wanted=Verification.V3, in_parts=True)

        assert store.asked == []

    def test_every_part_is_asked_for_only_if_the_first_does_not_tell_and_v2_is_wanted(self):
        """By default V1, with the reason; after bytes that did not agree each part's size, whatever is wanted."""
        for wanted, again, expected in (
            (None, False, ["stat", "first"]),
            (Verification.V2, False, ["stat", "first", "every"]),
            (None, True, ["stat", "every"]),
        ):
            store = Answering(MULTI, every=(3, 7))
            known = learn(MULTI, store, wanted=wanted, in_parts=True, again=again)
            assert expected == [question for question, *_ in store.asked]
            assert known.parts == ((3, 7) if "every" in expected else ())
        assert "sizes of the source's parts" in learn(MULTI, Answering(MULTI), wanted=None, in_parts=True).gap

    def test_a_store_that_cannot_tell_parts_is_not_asked(self):
        store = MemoryStore(f"m-{uuid.uuid4()}", MemoryOptions())

        assert not isinstance(store, PartSizes)
        assert layered(store).part_sizes(MULTI) is None

    def test_an_encrypted_objects_etag_is_dropped_when_stat_says_so(self):
        info = ObjectInfo(key="k", size=3, version=Version(etag="ab" * 16), digests=Digests(md5=b"\xab" * 16))
        known = learn(info, Answering(info, stat=Digests(sha256=bytes(32))), wanted=None, in_parts=True)

        assert known.source.digests == Digests(sha256=bytes(32))

    def test_what_is_more_than_an_etag_comes_first(self):
        fake = ObjectInfo(key="k", size=3, version=Version(etag="ab" * 16), digests=Digests(md5=b"\xab" * 16))
        better = replace(fake, digests=Digests(crc64nvme=bytes(8)))

        assert from_answer(fake, better) == from_answer(better, fake) == better.digests
        assert from_answer(fake, bare(fake)) == fake.digests


class TestComparing:
    def test_parts_that_agree_are_the_proof(self):
        stretches = [digest_of(piece, ["md5"]) for piece in (b"abc", b"de")]
        etag = multipart_etag([each.md5 for each in stretches])
        info = replace(MULTI, size=5, digests=Digests(multipart_etag=etag))

        known = compare(Published(source=info, parts=(3, 2)), NO_DIGESTS, stretches, None)

        assert known.proof == "md5(md5s) of its 2 parts"

    def test_parts_that_do_not_are_damage(self):
        with pytest.raises(IntegrityError, match="multipart_etag of its 2 parts"):
            compare(Published(source=MULTI, parts=(3, 2)), NO_DIGESTS, [digest_of(b"", ["md5"])] * 2, None)

    def test_an_md5_that_the_source_takes_back_is_no_damage(self):
        info = ObjectInfo(key="k", size=3, version=Version(etag="ab" * 16), digests=Digests(md5=b"\xab" * 16))
        store = Answering(info, stat=Digests(crc32c=digest_of(b"abc", ["crc32c"]).crc32c))
        known = compare(Published(source=info), digest_of(b"abc", ["md5", "crc32c"]), [], store)

        assert known.proof == "crc32c"

    @pytest.mark.parametrize(
        ("proof", "shown", "checks", "expected", "words"),
        [
            ("crc32c", {"crc32c"}, set(), Verification.V2, "source crc32c, destination crc32c"),
            ("md5", set(), {"crc32c"}, Verification.V2, "source md5, destination crc32c"),
            ("", {"crc32c"}, set(), Verification.V1, "destination crc32c; the source published no digest"),
            ("md5", set(), set(), Verification.V0, "length"),
        ],
    )
    def test_levels(self, proof, shown, checks, expected, words):
        """What agreed at the source, and what the destination checked or publishes, make the level."""
        computed = digest_of(b"abc", ["crc32c", "md5"])
        info = ObjectInfo(key="k", size=3)
        result = replace(info, digests=computed if shown else NO_DIGESTS)
        sink = Capabilities(put_checks=frozenset(checks))
        only = Digests(crc32c=computed.crc32c)
        level, told = judge(
            Published(source=info, proof=proof),
            replace(result, digests=only if shown else NO_DIGESTS),
            only,
            3,
            sink,
        )

        assert expected == level
        assert told.startswith(words)

    def test_another_digest_or_size_at_the_destination_is_damage(self):
        info, computed = ObjectInfo(key="k", size=3), digest_of(b"abc", ["crc32c"])

        with pytest.raises(IntegrityError, match="another crc32c"):
            judge(
                Published(source=info),
                replace(info, digests=digest_of(b"abd", ["crc32c"])),
                computed,
                3,
                Capabilities(),
            )
        with pytest.raises(IntegrityError, match="4 of 3 bytes"):
            judge(Published(source=info), replace(info, size=4), computed, 3, Capabilities())


class TestRequire:
    @pytest.mark.parametrize("size", [10, 5 * PART])
    def test_what_cannot_be_proven_is_not_read_nor_written(self, size):
        """A source without digests can never be V2: refused before its bytes pass; the old object stays."""
        source, sink = made(Silent), made()
        MemoryStore.put(source, "k", body(size))
        MemoryStore.put(sink, "k", b"old")
        read, write = pair(source, sink, require="v2")
        info = source.stat("k")
        source.calls.clear()

        with pytest.raises(UnprovenError, match=r"V1 is all.*V2 is required.*no digest; nothing was written"):
            write(read("k", info=info))

        assert "read" not in source.calls
        assert bytes(sink.read("k").read_all()) == b"old"
        assert [*sink.list_uploads()] == []

    @pytest.mark.parametrize("size", [10, 5 * PART])
    def test_a_stream_from_nowhere_is_not_even_pulled(self, size):
        sink, pulled = made(), []

        def chunks():
            pulled.append(size)
            yield body(size)

        with pytest.raises(UnprovenError, match="nothing was written"):
            pair(made(), sink, require="v2")[1](chunks(), key="k")

        assert (pulled, is_empty(sink)) == ([], True)

    @pytest.mark.parametrize("size", [10, 5 * PART])
    @pytest.mark.parametrize("stored", [True, False])
    def test_a_destination_that_checks_nothing_is_not_written(self, size, stored):
        class Blind(Silent):
            @property
            def capabilities(self):
                none = frozenset()
                return replace(super().capabilities, put_checks=none, part_checks=none, complete_checks=none)

        source, sink = made(Silent), made(Blind)
        MemoryStore.put(source, "k", body(size))
        read, write = pair(source, sink, require="v1")

        with pytest.raises(UnprovenError, match=r"V0 is all.*checks no digest; nothing was written"):
            write(read("k") if stored else iter([body(size)]), key="k")

        assert is_empty(sink)

    def test_one_that_only_shows_it_afterwards_is_written_and_does_not_count(self):
        """A destination that promised a digest and published none: an error that says the object is there."""

        class Liar(Silent):
            @property
            def capabilities(self):
                none = frozenset()
                return replace(
                    super().capabilities,
                    put_checks=none,
                    part_checks=none,
                    complete_checks=none,
                    publishes=frozenset({"crc32c"}),
                )

        source, sink = made(), made(Liar)
        source.put("k", b"abc")
        read, write = pair(source, sink, require="v2")

        with pytest.raises(UnprovenError, match="the object was written, but does not count"):
            write(read("k"))

        assert bytes(sink.read("k").read_all()) == b"abc"

    @pytest.mark.parametrize("require", LEVELS)
    def test_what_is_proven_passes(self, require):
        source, sink = made(), made(Silent)
        source.put("k", body(3 * PART))
        read, write = pair(source, sink, require=require)

        assert write(read("k")).verification >= Verification[require.upper()]


class TestReadingBack:
    @pytest.mark.parametrize("size", [10, 5 * PART])
    def test_both_ends_are_read_again_if_the_source_publishes_nothing(self, size):
        source, sink = made(Silent), made(Silent)
        MemoryStore.put(source, "k", body(size))
        read, write = pair(source, sink, verify="v3", require="v3")

        receipt = write(read("k"))

        assert receipt.verification == Verification.V3
        assert receipt.evidence.startswith("source and destination read again: ")

    def test_a_source_that_reads_otherwise_the_second_time_is_found(self):
        source, sink = made(Silent), made()
        MemoryStore.put(source, "k", b"abc")
        source.rots = True
        read, write = pair(source, sink, verify="v3")

        with pytest.raises(IntegrityError, match="the source, read again"):
            write(read("k"))

    def test_a_destination_that_does_not_hold_what_was_sent_is_found(self):
        source, sink = made(), made(Silent)
        source.put("k", b"abc")
        sink.rots = True
        sink.calls.append("read")  # its first read is the one that rots
        read, write = pair(source, sink, verify="v3")

        with pytest.raises(IntegrityError, match="the destination, read again"):
            write(read("k"))

    def test_a_proven_source_is_read_once(self):
        source, sink = made(), made(Silent)
        source.put("k", b"abc")
        read, write = pair(source, sink, verify="v3")

        assert write(read("k")).evidence.startswith("destination read back: ")

    def test_a_stream_from_nowhere_is_proven_at_the_destination(self):
        sink = made(Silent)
        receipt = pair(made(), sink, verify="v3")[1](iter([b"abc"]), key="k")

        assert (receipt.verification, sink.calls.count("read")) == (Verification.V3, 1)


class TestStrict:
    @pytest.mark.parametrize("size", [10, 5 * PART])
    def test_a_source_without_versions_is_refused_and_otherwise_named(self, size):
        """Reads that cannot be pinned: in the receipt's words, or with strict no copy at all."""
        source, sink = made(Unpinned), made()
        MemoryStore.put(source, "k", body(size))
        read, write = pair(source, sink)

        plain = write(read("k"))
        sink.delete("k")
        with pytest.raises(StrictError, match="cannot be pinned"):
            write.verifying(strict=True)(read("k"))

        assert plain.evidence.endswith("; weaker: the source cannot be pinned to a version")
        assert is_empty(sink)

    @pytest.mark.parametrize(
        ("missing", "words"),
        [
            ({"create_if_absent": False}, "no conditional writes"),
            ({"replace_if_match": False}, "no conditional writes"),
            (
                {name: frozenset() for name in ("put_checks", "complete_checks", "publishes")},
                "checks no digest",
            ),
        ],
    )
    def test_a_weak_destination_is_refused(self, missing, words):
        class Weak(MemoryStore):
            @property
            def capabilities(self):
                return replace(super().capabilities, **missing)

        sink = made(Weak)
        strict = pair(made(), sink, strict=True)[1]

        with pytest.raises(StrictError, match=words):
            strict(b"abc", key="k")
        assert is_empty(sink)
        assert words in pair(made(), sink)[1](b"abc", key="k").evidence

    def test_strong_ends_pass(self):
        source, sink = made(), made()
        source.put("k", body(MIB))
        read, write = pair(source, sink, strict=True)

        assert "weaker" not in write(read("k")).evidence

    def test_an_unknown_version_is_no_weakness_yet(self):
        """Before anything was listed only what the store cannot do at all counts."""
        assert weaknesses(Capabilities(), None, made().capabilities) == ()
        assert weaknesses(Capabilities(), Version(), made().capabilities) != ()
