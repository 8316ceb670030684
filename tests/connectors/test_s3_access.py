"""How S3 is reached: options, credentials, endpoints; and what an endpoint that lies or fails gets us."""

from __future__ import annotations

import pickle
import time

import pytest
from plain_http import answering, error_body, fixed
from rclone_server import KEY_ID, SECRET, serve_s3

from crossdock.connectors.s3 import S3Options, S3Store, documents, headers
from crossdock.connectors.s3.address import address_of, encode_key
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    StalledError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ByteRange, Condition, Digests, Metadata, Part, Upload, Version
from crossdock.options import Secret, parse_options, public_options

ETAG = "5d41402abc4b2a76b9719d911017c592"  # MD5 of b"hello"
STATE = {"ETag": f'"{ETAG}"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}


@pytest.fixture(autouse=True)
def no_aws(monkeypatch, tmp_path):
    """No machine's credentials, configuration or metadata service."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def store_at(url: str, bucket: str = "bucket", **more) -> S3Store:
    given = {"key": Secret("A"), "secret": Secret("canary"), "region": "us-east-1", **more}
    return S3Store(bucket, S3Options(endpoint_url=url, **given))


def listing(*keys: str, more: str = "", truncated: str = "false") -> bytes:
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;{ETAG}&quot;</ETag></Contents>" for key in keys
    )
    return (
        "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        f"<EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>{more}{rows}</ListBucketResult>"
    ).encode()


class TestOptions:
    def test_the_words_of_other_tools_mean_the_same(self):
        """fsspec's, object_store's and s3fs's nested names lead to one option each."""
        ours = parse_options(
            S3Options, {"key": "K", "secret": "S", "region": "eu-west-1", "endpoint_url": "http://h:1"}
        )
        for given in (
            {
                "aws_access_key_id": "K",
                "aws_secret_access_key": "S",
                "aws_region": "eu-west-1",
                "aws_endpoint": "http://h:1",
            },
            {
                "username": "K",
                "password": "S",
                "client_kwargs": {"endpoint_url": "http://h:1", "region_name": "eu-west-1"},
            },
        ):
            assert ours == parse_options(S3Options, given)

    def test_the_environment_is_read_where_options_are_parsed(self, monkeypatch):
        """AWS_* of the driver travels in the recipe; secrets stay with the credential chain."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all:1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3:1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not here")
        options = parse_options(S3Options, {})

        assert (options.endpoint_url, options.region, options.key) == ("http://s3:1", "eu-north-1", None)

    @pytest.mark.parametrize(
        "given",
        [
            {"client_kwargs": {"verify": False}},
            {"config_kwargs": {"signature_version": "s3"}},
            {"endpoint_url": "localhost:9000"},
            {"key": "K"},
            {"anon": True, "key": "K", "secret": "S"},
            {"addressing_style": "dns"},
        ],
    )
    def test_what_is_not_understood_is_refused(self, given):
        """No option is parsed and ignored."""
        with pytest.raises(ConfigError):
            parse_options(S3Options, given)

    def test_secrets_stay_out_of_sight(self):
        """Not in pickles, reprs, URLs or what a run directory keeps."""
        store = store_at("http://127.0.0.1:1", secret=Secret("env:CANARY"), key=Secret("env:CANARY_ID"))
        shown = f"{store!r}{store.url}{store.endpoint}{public_options(store.options)}{store.options!r}"

        assert "CANARY" not in shown
        assert store.url == pickle.loads(pickle.dumps(store)).url  # noqa: S301 - our own pickle

    def test_a_copy_inside_needs_one_set_of_credentials(self):
        """CopyObject reads the source with the destination's credentials: other credentials are another endpoint."""
        one, same, other = (store_at("http://h:1", bucket=b, key=Secret(k)) for b, k in ("xK", "yK", "xL"))

        assert one.endpoint == same.endpoint
        assert one.endpoint != other.endpoint
        assert "K" not in one.endpoint

    @pytest.mark.parametrize(
        ("bucket", "options", "expected"),
        [
            ("b", {}, "https://b.s3.us-east-1.amazonaws.com/k"),
            ("b.c", {}, "https://s3.us-east-1.amazonaws.com/b.c/k"),
            ("b", {"endpoint_url": "http://h:9"}, "http://h:9/b/k"),
            ("b", {"endpoint_url": "http://h:9/base/", "addressing_style": "path"}, "http://h:9/base/b/k"),
            ("b", {"endpoint_url": "http://h:9", "addressing_style": "virtual"}, "http://b.h:9/k"),
            ("b", {"addressing_style": "path"}, "https://s3.us-east-1.amazonaws.com/b/k"),
        ],
    )
    def test_addressing(self, bucket, options, expected):
        """Virtual hosts on Amazon, path style for an endpoint of one's own, unless said otherwise."""
        address = address_of(bucket, S3Options(**options), "us-east-1")

        assert expected == address.base + address.target("k")

    def test_keys_are_encoded_byte_for_byte(self):
        """Nothing is folded on the way: dot segments, doubled slashes and percent signs stay."""
        assert encode_key("a/../b//c%2F +é") == "a/../b//c%252F%20%2B%C3%A9"


class TestCredentials:
    def test_none_are_reported_within_seconds(self):
        """No credentials anywhere: one clear line that names what was looked for; never anonymous."""
        with answering(fixed(200, listing())) as (url, seen):
            store = S3Store("bucket", S3Options(endpoint_url=url, region="us-east-1"))
            began = time.monotonic()
            for act in (store.check, lambda: store.read("key"), lambda: store.put("key", b"x")):
                with pytest.raises(CredentialsError, match=r"AWS_ACCESS_KEY_ID.*profile.*instance metadata"):
                    act()

        assert time.monotonic() - began < 5
        assert seen == []

    def test_a_missing_profile(self):
        """A profile that does not exist is a mistake in the options."""
        store = S3Store("bucket", S3Options(profile="no-such-profile"))
        with pytest.raises(ConfigError, match="no-such-profile"):
            store.check()

    def test_anonymous_requests_are_unsigned(self):
        """anon=true signs nothing, on both engines."""
        with answering(fixed(200, b"hello", STATE)) as (url, seen):
            store = S3Store("bucket", S3Options(endpoint_url=url, region="us-east-1", anon=True))
            store.read("key").read_all()
            store.read("key/").read_all()

        assert ["authorization" in sent for _, _, sent in seen] == [False, False]

    def test_the_environment_feeds_both_engines(self, monkeypatch):
        """botocore's chain is asked once; obstore and the signed route use the same answer."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROMENVIRONMENT")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
        with answering(fixed(200, b"hello", STATE)) as (url, seen):
            store = S3Store("bucket", S3Options(endpoint_url=url, region="us-east-1", requester_pays=True))
            store.read("key").read_all()
            store.read("key/").read_all()

        assert all("Credential=FROMENVIRONMENT/" in sent["authorization"] for _, _, sent in seen)
        assert [(sent["x-amz-security-token"], sent["x-amz-request-payer"]) for _, _, sent in seen] == [
            ("temporary", "requester")
        ] * 2

    def test_wrong_ones_are_told_apart(self, tmp_path):
        """An unknown key id and a wrong secret: ``CredentialsError`` from a server that checks signatures."""
        (tmp_path / "bucket").mkdir()
        with serve_s3(tmp_path) as url:
            store_at(url, key=Secret(KEY_ID), secret=Secret(SECRET)).check()
            for given in ({"key": "UNKNOWNKEYID00000000"}, {"secret": "wrong" * 8}):
                secrets = {"key": KEY_ID, "secret": SECRET, **given}
                store = store_at(url, **{name: Secret(value) for name, value in secrets.items()})
                for act in (store.check, lambda store=store: store.read("key")):
                    with pytest.raises(CredentialsError):
                        act()


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "body", "extra", "kind", "words"),
        [
            (404, error_body("NoSuchBucket"), {}, NotFoundError, "NoSuchBucket"),
            (403, error_body("AccessDenied"), {}, DeniedError, "AccessDenied"),
            (403, error_body("RequestTimeTooSkewed"), {}, CredentialsError, "clock"),
            (
                301,
                error_body("PermanentRedirect"),
                {"x-amz-bucket-region": "eu-west-3"},
                ConfigError,
                "region=eu-west-3",
            ),
            (
                400,
                error_body("AuthorizationHeaderMalformed", "expecting 'eu-west-3'"),
                {},
                ConfigError,
                "eu-west-3",
            ),
            (302, b"", {"Location": "http://169.254.169.254/"}, Exception, "302"),
        ],
    )
    def test_of_check(self, status, body, extra, kind, words):
        """One request, one clear line; redirects are never followed."""
        with answering(fixed(status, body, extra)) as (url, seen), pytest.raises(kind, match=words):
            store_at(url).check()

        assert len(seen) == 1

    def test_slow_down_says_for_how_long(self):
        """Retry-After travels in the error."""
        answer = fixed(503, error_body("SlowDown"), {"Retry-After": "7"})
        with answering(answer) as (url, _), pytest.raises(ThrottledError) as caught:
            store_at(url).check()

        assert (caught.value.retry, caught.value.retry_after_s) == (Retry.LATER, 7.0)

    @pytest.mark.parametrize("key", ["key", "key/"], ids=["obstore", "signed"])
    def test_no_server_at_all(self, key):
        """A refused connection is reported at once, by both engines."""
        store = store_at("http://127.0.0.1:1")
        for act in (store.check, lambda: store.read(key), lambda: store.put(key, b"x")):
            with pytest.raises(ConnectionLostError, match=r"[Cc]onnection refused") as caught:
                act()
            assert caught.value.retry is Retry.LATER

    def test_an_archived_object(self):
        """Glacier's refusal is for good."""
        answer = fixed(403, error_body("InvalidObjectState"))
        with answering(answer) as (url, _), pytest.raises(UnsupportedError, match="archived"):
            store_at(url).read("key")


class TestListing:
    @pytest.mark.parametrize(
        "body",
        [
            listing("a", "b")[:-30],
            b"",
            b"<html>welcome to the hotel</html>",
            listing("b", "a"),
            listing("a", "a"),
            listing("a", more="<KeyCount>2</KeyCount>"),
            listing("a", truncated="true"),
            listing("a", truncated="true", more="<NextContinuationToken>t</NextContinuationToken>"),
            listing("a").replace(b"<IsTruncated>false</IsTruncated>", b""),
            listing("a").replace(b"<Size>1</Size>", b""),
            listing("a").replace(b"<ListBucketResult", b"<!DOCTYPE x [<!ENTITY e 'boom'>]><ListBucketResult"),
        ],
        ids=[
            "cut",
            "empty",
            "hotel",
            "order",
            "twice",
            "count",
            "endless",
            "looping",
            "unsaid",
            "sizeless",
            "entities",
        ],
    )
    def test_no_page_is_silently_short(self, body):
        """Cut, repeated, looping, contradictory or foreign pages raise."""
        with answering(fixed(200, body)) as (url, _), pytest.raises(ConnectionLostError):
            [*store_at(url).list()]

    def test_an_error_in_a_200_is_an_error(self):
        """S3 may answer 200 and fail in the body."""
        answer = fixed(200, error_body("SlowDown"))
        with answering(answer) as (url, _), pytest.raises(ThrottledError):
            [*store_at(url).list()]

    def test_keys_are_decoded_as_amazon_encodes_them(self):
        """A space is ``+``, a plus ``%2B``; control characters survive; digests come from ETags by their form."""
        body = listing("a+b%2Bc", "c%01%0A", "d").replace(
            ETAG.encode() + b"&quot;</ETag></Contents></", ETAG.encode() + b"-3&quot;</ETag></Contents></"
        )
        infos = documents.object_infos(documents.parse(body, "ListBucketResult", "Contents"))

        assert [info.key for info in infos] == ["a b+c", "c\x01\n", "d"]
        assert [Digests(md5=bytes.fromhex(ETAG))] * 2 == [info.digests for info in infos[:2]]
        assert Digests(multipart_etag=f"{ETAG}-3") == infos[2].digests


class TestReading:
    def test_a_server_that_ignores_if_match_is_caught(self):
        """The answer's own ETag is compared, on both engines and in ``stat``."""
        with answering(fixed(200, b"hello", STATE)) as (url, _):
            store = store_at(url)
            for act in (store.read, store.stat):
                for key in ("key", "key/"):
                    with pytest.raises(PreconditionError):
                        act(key, version=Version(etag="0" * 32))

    def test_a_server_that_ignores_ranges_is_read_all_the_same(self):
        """200 with the whole body: what is before the range is dropped; from then on obstore is not asked for ranges."""
        with answering(fixed(200, b"hello", STATE)) as (url, seen):
            store = store_at(url)
            got = [
                bytes(store.read("key", ByteRange(start, end)).read_all()) for start, end in ((1, 3), (2, 9))
            ]

        assert got == [b"el", b"llo"]
        assert len(seen) == 3

    @pytest.mark.parametrize("said", ["bytes 0-1/5", "bytes 1-3/5", "nonsense"])
    def test_a_wrong_content_range_is_loud(self, said):
        """A partial answer that is not the range asked for never passes."""
        answer = fixed(206, b"el", {**STATE, "Content-Range": said})
        for key in ("key", "key/"):
            with answering(answer) as (url, _), pytest.raises((IntegrityError, ConnectionLostError)):
                store_at(url).read(key, ByteRange(1, 3)).read_all()

    def test_a_short_body_is_loud_on_the_signed_route(self):
        """Fewer bytes than Content-Length: ``ConnectionLostError``, to be resumed."""

        def cut(request):
            fixed(200, b"hel", {**STATE, "Content-Length": "5"})(request)
            request.close_connection = True

        with answering(cut) as (url, _), pytest.raises(ConnectionLostError):
            store_at(url).read("key/").read_all()

    def test_silence_is_a_stall_on_the_signed_route(self):
        """No answer within the timeout."""
        import threading

        hold = threading.Event()
        with answering(lambda _: hold.wait(5)) as (url, _):
            try:
                with pytest.raises(StalledError):
                    store_at(url, no_progress_timeout_s=0.2).stat("key")
            finally:
                hold.set()

    def test_metadata_in_bytes_that_are_not_utf8_goes_the_other_way(self):
        """obstore refuses Latin-1 values; the object is read all the same."""
        with answering(fixed(200, b"hello", {**STATE, "x-amz-meta-a": "é"})) as (url, _):
            reader = store_at(url).read("key")

            assert bytes(reader.read_all()) == b"hello"
            assert reader.info.metadata == Metadata(user={"a": "é"})


class TestDigests:
    def test_a_server_that_confirms_crc64nvme_gets_it_from_both_engines(self):
        """The first put is signed and shows what the server checks; the next small one takes obstore."""
        crc = "M3eFcAZSQlc="  # of b"hello", big-endian, base64

        with answering(fixed(200, b"", {**STATE, "x-amz-checksum-crc64nvme": crc})) as (url, seen):
            store = store_at(url)
            infos = [store.put("key", b"hello") for _ in range(2)]

        assert [crc, crc] == [sent["x-amz-checksum-crc64nvme"] for _, _, sent in seen]
        assert [sent["user-agent"].split("/")[0] for _, _, sent in seen] == ["crossdock", "object_store"]
        assert all(info.digests.md5 is not None and info.digests.crc64nvme is not None for info in infos)

    def test_a_server_that_does_not_is_held_to_its_md5(self):
        """No confirmation: the ETag must be the MD5, and from the second put on Content-MD5 goes along."""
        with answering(fixed(200, b"", STATE)) as (url, seen):
            store = store_at(url)
            store.put("key", b"hello")
            store.put("key", b"hello")
            with pytest.raises(IntegrityError):
                store.put("key", b"other bytes")

        assert [sent.get("content-md5") for _, _, sent in seen[:2]] == [None, "XUFAKrxLKna5cZ2REBfFkg=="]

    def test_nothing_is_claimed_of_encrypted_etags(self):
        """KMS: the ETag is no MD5 and is never compared with one; without CRC-64/NVME nothing is proven."""
        with answering(fixed(200, b"", {**STATE, "x-amz-server-side-encryption": "aws:kms"})) as (url, _):
            store = store_at(url)
            info = store.put("key", b"other bytes")

        assert not info.digests
        assert (store.capabilities.put_checks, store.capabilities.publishes) == (frozenset(), frozenset())

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            ({"etag": f'"{ETAG}"'}, Digests(md5=bytes.fromhex(ETAG))),
            ({"etag": f'"{ETAG}-2"'}, Digests(multipart_etag=f"{ETAG}-2")),
            (
                {"etag": f'"{ETAG}"', "x-amz-server-side-encryption": "AES256"},
                Digests(md5=bytes.fromhex(ETAG)),
            ),
            ({"etag": f'"{ETAG}"', "x-amz-server-side-encryption": "aws:kms:dsse"}, Digests()),
            ({"etag": f'"{ETAG}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, Digests()),
            ({"x-amz-checksum-crc32c": "AAAAAQ=="}, Digests(crc32c=b"\0\0\0\1")),
            ({"x-amz-checksum-crc32c": "AAAAAQ==-2"}, Digests()),
            ({"x-amz-checksum-crc32c": "AAAAAQ==", "x-amz-checksum-type": "COMPOSITE"}, Digests()),
        ],
    )
    def test_what_an_answer_publishes(self, sent, expected):
        """An ETag is an MD5 only of a single put without KMS; checksums count only for the full object."""
        assert expected == headers.published(sent)

    def test_a_complete_that_fails_in_its_body(self):
        """CompleteMultipartUpload answers 200 early: an error in the body is the error."""
        upload = Upload(key="key", id="u", part_size_bytes=5)
        part = Part(number=1, size=5, etag=ETAG)
        answer = fixed(200, error_body("InternalError"))
        with answering(answer) as (url, _), pytest.raises(ConnectionLostError) as caught:
            store_at(url).complete(upload, [part], size=5)

        assert caught.value.retry is Retry.LATER


class TestMetadata:
    @pytest.mark.parametrize("value", ["plain", "é", "😀", "=?UTF-8?B?eA==?=", "two  spaces", "a =?x", ""])
    def test_user_values_survive(self, value):
        """What is not plain ASCII travels as RFC 2047 words and comes back as it was."""
        kept = headers.encoded(Metadata(user={"a": value}))

        assert kept.user["a"].isascii()
        assert headers.decoded(dict(kept.user)) == Metadata(user={"a": value})

    @pytest.mark.parametrize(
        "metadata",
        [
            Metadata(user={"a": "line\r\nbreak"}),
            Metadata(user={"Upper": "x"}),
            Metadata(user={"a b": "x"}),
            Metadata(user={"a": "x" * 2048}),
            Metadata(cache_control="é"),
            Metadata(content_type="a\nb"),
        ],
    )
    def test_what_s3_cannot_keep_is_refused(self, metadata):
        """Never changed silently."""
        with pytest.raises(UnsupportedError):
            headers.encoded(metadata)

    def test_conditions_without_the_servers_help_are_refused(self):
        """conditional_writes=false: a condition raises instead of being sent and ignored."""
        store = store_at("http://127.0.0.1:1", conditional_writes=False)

        assert not store.capabilities.create_if_absent
        with pytest.raises(UnsupportedError):
            store.put("key", b"x", condition=Condition(absent=True))
