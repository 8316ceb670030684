"""Azure: options, accounts, credentials, errors; what is sent where, and that no secret shows."""

from __future__ import annotations

import dataclasses
import json
import logging
import pickle
import time
import traceback
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import generate_container_sas
from azurite import ACCOUNT, KEY as ACCOUNT_KEY
from plain_http import answering, error_body, fixed

import crossdock as xd
from crossdock.connectors.azure import AzureOptions, AzureStore
from crossdock.connectors.azure.account import account_of, parse_connection_string
from crossdock.connectors.azure.names import container_of
from crossdock.connectors.registry import open_store, split_url
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StorageError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ByteRange, Metadata, Version
from crossdock.options import Secret, parse_options
from crossdock.testing.suite.base import keys_in

VARIABLES = (
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No credentials from this machine, and no way to any: the metadata service is a closed port of this machine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def name(azurite):
    return azurite.make_container()


def sas_of(container, permission="racwdl"):
    expiry = datetime.now(UTC) + timedelta(hours=1)
    return generate_container_sas(
        ACCOUNT, container, account_key=ACCOUNT_KEY, permission=permission, expiry=expiry
    )


def connection_string(url, **more):
    parts = {"DefaultEndpointsProtocol": "http", "AccountName": ACCOUNT, "BlobEndpoint": url, **more}
    return ";".join(f"{key}={value}" for key, value in parts.items())


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "container", "key"),
        [
            ("az://data/a/b", "data", "a/b"),
            ("azure://data/a%2Fb", "data", "a%2Fb"),
            ("abfs://data//a", "data", "/a"),
            ("abfs://data@acct.dfs.core.windows.net/a", "data@acct.dfs.core.windows.net", "a"),
            ("abfss://data@acct.dfs.core.windows.net/", "data@acct.dfs.core.windows.net", ""),
        ],
    )
    def test_all_spellings_name_a_container(self, url, container, key):
        row, bucket, rest = split_url(url)
        store, _ = open_store(url, {"account_key": ACCOUNT_KEY, "account_name": "acct"})

        assert (row.name, bucket, rest) == ("azure", container, key)
        assert store.url == ("az://data" if "@" not in container else f"abfs://{container}")

    def test_a_store_is_rebuilt_from_its_url(self):
        store, _ = open_store("abfss://data@acct.dfs.core.windows.net/x", {"account_key": ACCOUNT_KEY})
        again, _ = open_store(store.url + "/x", {"account_key": ACCOUNT_KEY})

        assert store.endpoint == again.endpoint == "azure+https://acct.blob.core.windows.net#"

    @pytest.mark.parametrize("container", ["Upper", "ab", "a--b", "-ab", "x" * 64, "under_score", ""])
    def test_what_is_no_container_is_a_mistake(self, container):
        with pytest.raises(ConfigError, match="no name of a container"):
            container_of(container)

    @pytest.mark.parametrize("container", ["abc", "a-b-c", "$web", "x" * 63])
    def test_what_is_a_container(self, container):
        assert container_of(container).name == container


class TestAccounts:
    def resolve(self, host="", settings=None, **options):
        return account_of(AzureOptions(**options), host, settings or {}, "az://data")

    @pytest.mark.parametrize(
        ("options", "host", "name", "root"),
        [
            ({"account_name": "acct"}, "", "acct", "https://acct.blob.core.windows.net"),
            ({}, "acct.dfs.core.windows.net", "acct", "https://acct.blob.core.windows.net"),
            ({}, "acct.blob.core.chinacloudapi.cn", "acct", "https://acct.blob.core.chinacloudapi.cn"),
            ({}, "acct.z01.blob.storage.azure.net", "acct", "https://acct.z01.blob.storage.azure.net"),
            (
                {"endpoint_url": "acct.blob.core.usgovcloudapi.net"},
                "",
                "acct",
                "https://acct.blob.core.usgovcloudapi.net",
            ),
            (
                {"endpoint_url": "http://127.0.0.1:10000/devstoreaccount1"},
                "",
                "devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1",
            ),
            (
                {"endpoint_url": "http://127.0.0.1:10000", "account_name": "acct"},
                "",
                "acct",
                "http://127.0.0.1:10000/acct",
            ),
            (
                {"endpoint_url": "https://blobs.example.org/", "account_name": "acct"},
                "",
                "acct",
                "https://blobs.example.org",
            ),
        ],
    )
    def test_where_an_account_is(self, options, host, name, root):
        account = self.resolve(host, **options)

        assert (account.name, account.root) == (name, root)

    def test_a_connection_string_says_it_all(self):
        settings = parse_connection_string(
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5==;EndpointSuffix=core.chinacloudapi.cn;",
            "az://data",
        )

        assert settings["AccountKey"] == "a2V5=="
        assert self.resolve(settings=settings).root == "https://acct.blob.core.chinacloudapi.cn"
        assert (
            self.resolve(settings=parse_connection_string("UseDevelopmentStorage=true", "")).name == ACCOUNT
        )

    @pytest.mark.parametrize(
        ("options", "host", "cause"),
        [
            ({}, "", "nothing says which storage account"),
            ({"account_name": "No-Account"}, "", "no name of a storage account"),
            ({"account_name": "other"}, "acct.dfs.core.windows.net", "the URL is of account acct"),
            ({}, "acct", "is no host"),
            ({"endpoint_url": "https://blobs.example.org"}, "", "does not say which account"),
            ({"endpoint_url": "ftp://acct.blob.core.windows.net"}, "", "is no http"),
            ({"endpoint_url": "https://acct.blob.core.windows.net/?sv=1"}, "", "without user, query"),
        ],
    )
    def test_mistakes_are_named(self, options, host, cause):
        with pytest.raises(ConfigError, match=cause):
            self.resolve(host, **options)

    def test_two_accounts_contradict_each_other(self):
        with pytest.raises(ConfigError, match="connection string is of acct"):
            self.resolve(settings={"AccountName": "acct"}, account_name="other")

    def test_a_damaged_connection_string_is_not_shown(self):
        with pytest.raises(ConfigError) as raised:
            parse_connection_string("AccountName=acct;canary-secret", "az://data")

        assert "canary" not in str(raised.value)


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "field", "value"),
        [
            ("azure_storage_account_name", "account_name", "acct"),
            ("azure_storage_access_key", "account_key", "k"),
            ("azure_storage_sas_key", "sas_token", "k"),
            ("azure_storage_client_id", "client_id", "id"),
            ("azure_tenant_id", "tenant_id", "id"),
            ("bearer_token", "token", "k"),
            ("account_host", "endpoint_url", "acct.blob.core.windows.net"),
            ("azure_skip_signature", "anon", True),
        ],
    )
    def test_names_of_adlfs_and_object_store(self, given, field, value):
        found = getattr(parse_options(AzureOptions, {given: value}), field)

        assert (found.reveal() if isinstance(found, Secret) else found) == value

    @pytest.mark.parametrize(
        ("given", "cause"),
        [
            ({"account_key": "k", "anon": True}, "account_key and anon exclude each other"),
            ({"sas_token": "k", "connection_string": "c"}, "exclude each other"),
            ({"client_secret": "s"}, "needs client_id and tenant_id"),
            ({"connect_timeout": 0}, "positive number"),
            ({"credential": 17}, "get_token"),
            ({"acount_name": "x"}, "did you mean 'account_name'"),
        ],
    )
    def test_mistakes_are_named(self, given, cause):
        with pytest.raises(ConfigError, match=cause):
            parse_options(AzureOptions, given)

    def test_the_environment_names_the_account(self, monkeypatch):
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "acct")

        assert parse_options(AzureOptions, {}).account_name == "acct"


class TestCredentials:
    def works(self, store):
        """Both engines, every kind of request."""
        store.put("k", b"data", metadata=Metadata(user={"a": "b"}))
        upload = store.begin("big", part_size_bytes=1)
        store.complete(upload, [store.put_part(upload, 1, b"part")], size=4)

        assert bytes(store.read("k").read_all()) == b"data"
        assert bytes(store.read("k", ByteRange(1, 2)).read_all()) == b"a"
        store.put("odd//key +%&", b"data")
        assert bytes(store.read("odd//key +%&").read_all()) == b"data"
        assert keys_in(store) == ["big", "k", "odd//key +%&"]
        assert keys_in(store, "odd//key +%&") == ["odd//key +%&"]
        store.copy(store.url, "k", "copy", info=store.stat("k"))
        store.delete("k")
        store.check()

    @pytest.mark.parametrize(
        "kind", ["account_key", "connection_string", "credential", "sas_token", "sas_credential"]
    )
    def test_given_ones(self, azurite, name, kind):
        sas = sas_of(name)
        options = {
            "account_key": {"endpoint_url": azurite.url, "account_key": ACCOUNT_KEY},
            "connection_string": {
                "connection_string": connection_string(azurite.url, AccountKey=ACCOUNT_KEY)
            },
            "credential": {"endpoint_url": azurite.url, "credential": ACCOUNT_KEY},
            "sas_token": {"endpoint_url": azurite.url, "sas_token": f"?{sas}"},
            "sas_credential": {"endpoint_url": azurite.url, "credential": sas},
        }[kind]

        self.works(AzureStore(name, parse_options(AzureOptions, options)))

    @pytest.mark.parametrize("kind", ["connection_string", "key", "sas", "sas_connection"])
    def test_from_the_environment(self, azurite, name, monkeypatch, kind):
        sas = sas_of(name)
        variables = {
            "connection_string": {
                "AZURE_STORAGE_CONNECTION_STRING": connection_string(azurite.url, AccountKey=ACCOUNT_KEY)
            },
            "key": {"AZURE_STORAGE_KEY": ACCOUNT_KEY, "AZURE_STORAGE_ENDPOINT": azurite.url},
            "sas": {"AZURE_STORAGE_SAS_TOKEN": sas, "AZURE_STORAGE_ENDPOINT": azurite.url},
            "sas_connection": {
                "AZURE_STORAGE_CONNECTION_STRING": connection_string(azurite.url, SharedAccessSignature=sas)
            },
        }[kind]
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)

        self.works(AzureStore(name, parse_options(AzureOptions, {})))

    def test_by_reference(self, azurite, name, monkeypatch):
        monkeypatch.setenv("MY_KEY", ACCOUNT_KEY)
        store = AzureStore(
            name, parse_options(AzureOptions, {"endpoint_url": azurite.url, "account_key": "env:MY_KEY"})
        )

        self.works(pickle.loads(pickle.dumps(store)))  # noqa: S301 - our own bytes

    @pytest.mark.parametrize("key", ["k", "odd//key"])
    def test_missing_ones_are_one_line_within_seconds(self, azurite, name, key, caplog):
        """Whatever is asked first, by either engine; never a silent fall-back to anonymous requests."""
        store = AzureStore(name, AzureOptions(endpoint_url=azurite.url))
        began = time.monotonic()
        with caplog.at_level(logging.CRITICAL), pytest.raises(CredentialsError) as raised:
            store.read(key)

        assert time.monotonic() - began < 20
        text = str(raised.value)
        assert "\n" not in text
        for looked_for in (
            "account_key",
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_CLIENT_ID",
            "managed identity",
            "az login",
            "anon=true",
        ):
            assert looked_for in text

    def test_anonymous_only_if_asked_for(self, azurite):
        name = azurite.make_container()
        azurite.container(name).set_container_access_policy({}, public_access="container")
        azurite.container(name).upload_blob("k", b"public")
        store = AzureStore(name, AzureOptions(endpoint_url=azurite.url, anon=True))

        assert bytes(store.read("k").read_all()) == b"public"
        assert keys_in(store) == ["k"]
        with pytest.raises(StorageError):
            store.put("k", b"mine")
        assert azurite.read(name, "k") == b"public"

    @pytest.mark.parametrize(
        ("options", "cause"),
        [
            ({"account_key": "not base64!"}, "not base64"),
            ({"sas_token": "sv=1&sp=r"}, "no signature"),
            ({"account_key": "env:NO_SUCH_VARIABLE"}, "gives nothing"),
        ],
    )
    def test_what_cannot_be_a_credential_is_named(self, azurite, name, options, cause):
        store = AzureStore(name, parse_options(AzureOptions, {"endpoint_url": azurite.url, **options}))

        with pytest.raises(CredentialsError, match=cause):
            store.check()

    def test_a_wrong_key_and_a_missing_right_are_denied(self, azurite, name):
        """Azurite answers a wrong key with the code of a missing right; Azure's own codes are in ``TestErrors``."""
        wrong = AzureStore(
            name, parse_options(AzureOptions, {"endpoint_url": azurite.url, "account_key": "a2V5"})
        )
        weak = AzureStore(
            name, parse_options(AzureOptions, {"endpoint_url": azurite.url, "sas_token": sas_of(name, "r")})
        )

        with pytest.raises(DeniedError):
            wrong.check()
        with pytest.raises(DeniedError):
            wrong.read("k")
        with pytest.raises(DeniedError) as raised:
            weak.put("k", b"data")
        assert not isinstance(raised.value, CredentialsError)

    def test_endpoints_tell_who_may_read_whom(self, azurite):
        def endpoint(container="one", **options):
            return AzureStore(
                container, parse_options(AzureOptions, {"endpoint_url": azurite.url, **options})
            ).endpoint

        key, sas = {"account_key": ACCOUNT_KEY}, {"sas_token": sas_of("one")}

        assert endpoint(**key) == endpoint("two", **key)
        assert endpoint(**sas) == endpoint(**sas)
        assert endpoint(**sas) != endpoint("two", **sas)
        assert endpoint(**sas) != endpoint(sas_token=sas_of("one", "r"))
        assert endpoint(**key) != endpoint(anon=True)
        assert "sig" not in endpoint(**sas)


class TestTokens:
    def test_a_managed_identity_is_found_and_its_token_sent(self, monkeypatch):
        """The default chain, to the end, against a metadata service of our own; both engines send the token."""

        def answer(request):
            body = json.dumps(
                {
                    "access_token": "canary-token",
                    "expires_in": "3600",
                    "expires_on": str(int(time.time()) + 3600),
                    "resource": "https://storage.azure.com",
                    "token_type": "Bearer",
                }
            )
            fixed(200, body.encode(), {"Content-Type": "application/json"})(request)

        def blob(request):
            headers = {
                "ETag": '"0x1"',
                "Content-Length": "4",
                "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
            }
            fixed(200, b"data", headers)(request)

        with answering(answer) as (identity, asked), answering(blob) as (url, seen):
            monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", identity)
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct"))
            assert store.stat("k").size == 4
            assert bytes(store.read("k").read_all()) == b"data"
            assert bytes(store.read("odd//k").read_all()) == b"data"

        assert asked
        assert len(seen) == 3
        assert {"Bearer canary-token"} == {sent["authorization"] for _, _, sent in seen}
        assert b"canary-token" not in pickle.dumps(store)

    def test_a_refused_token_is_renewed_once(self):
        """401 in mid-run: the token is got anew and the same call works; a fresh one that is refused is the end."""

        class Rotating:
            def __init__(self):
                self.given = 0

            def get_token(self, *scopes, **_):
                assert scopes == ("https://storage.azure.com/.default",)
                self.given += 1
                return dataclasses.make_dataclass("Token", ["token", "expires_on"])(
                    f"token-{self.given}", int(time.time()) + 3600
                )

        def answer(request):
            good = request.headers["authorization"] == "Bearer token-2"
            if good:
                fixed(200, b"", {"ETag": '"0x1"', "Content-Length": "0"})(request)
            else:
                fixed(401, error_body("InvalidAuthenticationInfo"))(request)

        identity = Rotating()
        with answering(answer) as (url, seen):
            store = AzureStore(
                "data", AzureOptions(endpoint_url=url, account_name="acct", credential=identity)
            )
            access = store._connection.access
            store._connection.access.token()
            access._current = (*access._current[:2], -1e9)  # got long ago
            with pytest.raises(CredentialsError) as first:
                store.stat("k")
            assert store.stat("k").size == 0
            access._current = ("stale", *access._current[1:])
            with pytest.raises(CredentialsError) as second:
                store.stat("k")

        assert (first.value.retry, second.value.retry) == (Retry.LATER, Retry.NEVER)
        assert (identity.given, len(seen)) == (2, 3)

    def test_an_identity_that_was_refused_is_quoted(self, azurite):
        """Of a chain that found nothing, what is merely not there is left out."""
        story = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client secret provided.
\tManagedIdentityCredential: ManagedIdentityCredential authentication unavailable, no response.
\tAzurePowerShellCredential: PowerShell is not installed
"""

        class Chain:
            def get_token(self, *_):
                raise ClientAuthenticationError(message=story)

        store = AzureStore("data", AzureOptions(endpoint_url=azurite.url, credential=Chain()))
        with pytest.raises(CredentialsError) as raised:
            store.check()

        assert "EnvironmentCredential said: Authentication failed: AADSTS7000215" in str(raised.value)
        assert "PowerShell" not in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_an_object_stays_in_its_process(self):
        """Whatever it holds, it may be a secret."""

        class Identity:
            def get_token(self, *_):
                raise NotImplementedError

        store = AzureStore("data", AzureOptions(account_name="acct", credential=Identity()))

        with pytest.raises(ConfigError, match="managed_identity"):
            pickle.dumps(store)

    def test_a_token_as_given(self):
        with answering(fixed(200, b"", {"ETag": '"0x1"'})) as (url, seen):
            options = parse_options(
                AzureOptions, {"endpoint_url": url, "account_name": "acct", "token": "given"}
            )
            AzureStore("data", options).stat("k")

        assert seen[0][2]["authorization"] == "Bearer given"


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "kind", "retry"),
        [
            (404, "ContainerNotFound", NotFoundError, Retry.NEVER),
            (404, "BlobNotFound", NotFoundError, Retry.NEVER),
            (403, "AuthenticationFailed", CredentialsError, Retry.NEVER),
            (401, "NoAuthenticationInformation", CredentialsError, Retry.NEVER),
            (403, "AuthorizationPermissionMismatch", DeniedError, Retry.NEVER),
            (409, "PublicAccessNotPermitted", DeniedError, Retry.NEVER),
            (409, "BlobImmutableDueToPolicy", DeniedError, Retry.NEVER),
            (412, "ConditionNotMet", PreconditionError, Retry.NEVER),
            (409, "BlobAlreadyExists", PreconditionError, Retry.NEVER),
            (412, "LeaseIdMissing", DeniedError, Retry.NEVER),
            (416, "InvalidRange", RangeError, Retry.NEVER),
            (409, "BlobArchived", UnsupportedError, Retry.NEVER),
            (400, "Md5Mismatch", IntegrityError, Retry.LATER),
            (400, "Crc64Mismatch", IntegrityError, Retry.LATER),
            (400, "InvalidMetadata", UnsupportedError, Retry.NEVER),
            (503, "ServerBusy", ThrottledError, Retry.LATER),
            (500, "OperationTimedOut", ConnectionLostError, Retry.LATER),
            (500, "InternalError", ConnectionLostError, Retry.LATER),
            (409, "PendingCopyOperation", ConnectionLostError, Retry.LATER),
        ],
    )
    @pytest.mark.parametrize("route", ["head", "signed", "native"])
    def test_one_table_for_both_engines(self, status, code, kind, retry, route):
        """The code decides, from a body or (HEAD) from a header."""

        def answer(request):
            fixed(status, error_body(code), {"x-ms-error-code": code})(request)

        with answering(answer) as (url, seen):
            options = AzureOptions(endpoint_url=url, account_name="acct", account_key=Secret(ACCOUNT_KEY))
            store = AzureStore("data", options)
            act = {
                "head": lambda: store.stat("k"),
                "signed": lambda: store.read("odd//k"),
                "native": lambda: store.read("k"),
            }[route]
            with pytest.raises(kind) as raised:
                act()

        assert len(seen) == 1
        assert (type(raised.value), raised.value.retry) == (kind, retry)
        assert "\n" not in str(raised.value)
        assert raised.value.place.startswith("az://data/")

    def test_retry_after_is_obeyed(self):
        with answering(fixed(503, error_body("ServerBusy"), {"Retry-After": "7"})) as (url, _):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
            with pytest.raises(ThrottledError) as raised:
                store.stat("k")

        assert raised.value.retry_after_s == 7

    @pytest.mark.parametrize(
        ("page", "cause"),
        [
            (b"<EnumerationResults><Blobs><Blob><Name>a</Name>", "no complete XML"),
            (b"<Other/>", "not <EnumerationResults>"),
            (b"<EnumerationResults><Blobs/></EnumerationResults>", "whether it is the last"),
            (
                b"<!DOCTYPE a [<!ENTITY b 'c'>]><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>",
                "document type",
            ),
            (
                b"<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker/></EnumerationResults>",
                "lacks its name or its size",
            ),
            (
                b"<EnumerationResults><Blobs/><NextMarker>same</NextMarker></EnumerationResults>",
                "in circles",
            ),
            (
                (
                    b"<EnumerationResults><Blobs>"
                    b"<Blob><Name>b</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>"
                    b"<Blob><Name>a</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>"
                    b"</Blobs><NextMarker/></EnumerationResults>"
                ),
                "out of order",
            ),
        ],
    )
    def test_a_damaged_page_is_never_a_short_one(self, page, cause):
        with answering(fixed(200, page)) as (url, _):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
            with pytest.raises(ConnectionLostError, match=cause):
                keys_in(store)

    def test_an_encoded_name_is_decoded(self):
        """How Azure lists U+FFFE and U+FFFF, which XML cannot carry."""
        page = (
            b"<EnumerationResults><Blobs><Blob><Name Encoded='true'>a%EF%BF%BEb%2520</Name><Properties>"
            b"<Content-Length>1</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>"
        )
        with answering(fixed(200, page)) as (url, _):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))

            assert keys_in(store) == ["a\ufffeb%20"]

    @pytest.mark.parametrize(
        ("headers", "kind"),
        [
            ({"Content-Range": "bytes 0-3/10"}, IntegrityError),
            ({}, ConnectionLostError),
            ({"Content-Range": "bytes 2-5/10", "Content-Length": "9"}, (IntegrityError, ConnectionLostError)),
        ],
    )
    def test_another_range_than_was_asked_for_is_found(self, headers, kind):
        with answering(fixed(206, b"data", {"ETag": '"0x1"', **headers})) as (url, _):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
            with pytest.raises(kind):
                store.read("odd//k", ByteRange(2, 6)).read_all()

    def test_a_body_that_ends_early_is_loud(self):
        sent = {
            "ETag": '"0x1"',
            "Content-Length": "9",
            "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
            "Connection": "close",
        }
        with answering(fixed(200, b"data", sent)) as (url, _):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
            for key in ("k", "odd//k"):
                with pytest.raises(ConnectionLostError):
                    store.read(key).read_all()

    def test_a_closed_port_and_a_missing_host_are_named(self):
        store = AzureStore(
            "data", AzureOptions(endpoint_url="http://127.0.0.1:9", account_name="acct", anon=True)
        )
        with pytest.raises(ConnectionLostError, match="endpoint_url"):
            store.check()

    def test_pins_are_sent_by_both_engines(self):
        with answering(fixed(412, error_body("ConditionNotMet"))) as (url, seen):
            store = AzureStore("data", AzureOptions(endpoint_url=url, account_name="acct", anon=True))
            for key in ("k", "odd//k"):
                with pytest.raises(PreconditionError):
                    store.read(key, version=Version(etag="0x8D"))

        assert [sent["if-match"] for _, _, sent in seen] == ['"0x8D"', '"0x8D"']


class TestSecrets:
    def test_no_secret_in_errors_or_their_causes(self, name):
        """SAS tokens are in URLs: nothing that is printed, pickled or raised may show one."""
        sas = sas_of(name)
        signature = sas.split("sig=")[1].split("&")[0]
        texts = []

        def cut(request):
            request.connection.close()
            request.close_connection = True

        with answering(cut) as (url, seen):
            options = parse_options(
                AzureOptions, {"endpoint_url": url, "account_name": ACCOUNT, "sas_token": sas}
            )
            store = AzureStore(name, options)
            for act in (lambda: store.stat("k"), lambda: store.read("k"), lambda: store.put("k", b"x")):
                with pytest.raises(xd.CrossdockError) as raised:
                    act()
                texts += ["".join(traceback.format_exception(raised.value)), repr(pickle.dumps(raised.value))]
        texts += [
            repr(store),
            repr(options),
            str(options),
            store.url,
            store.endpoint,
            repr(pickle.dumps(store)),
        ]

        assert seen
        assert all(unquote(f"sig={signature}") in unquote(target) for _, target, _ in seen)
        signatures = (signature, unquote(signature))
        assert [text for text in texts if any(each in text for each in signatures)] == []

    def test_a_run_keeps_none(self, azurite, name, tmp_path):
        xd.AzureSink(name, endpoint_url=azurite.url, account_key=ACCOUNT_KEY)(b"data", key="k")
        xd.migrate(
            f"az://{name}/",
            f"file://{tmp_path}/out/",
            source_options={"endpoint_url": azurite.url, "account_key": ACCOUNT_KEY},
            run_dir=f"{tmp_path}/run",
        )
        kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]

        assert kept
        assert (tmp_path / "out/k").read_bytes() == b"data"
        assert [path for path in kept if ACCOUNT_KEY.encode() in path.read_bytes()] == []
