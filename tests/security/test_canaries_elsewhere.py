"""Secrets that are no option of ours: in URLs, of proxies, and those that a cloud's own chain fetches."""

from __future__ import annotations

import json

import pytest
from answering import answering
from click.testing import CliRunner

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.errors import CrossdockError

CANARY = "canary-0123456789-secret"


def test_credentials_that_aws_hands_out_are_not_logged(s3, witness, tmp_path, monkeypatch):
    """botocore logs whole requests and answers at DEBUG; those of STS hold the identity token and the new keys."""
    token = tmp_path / "identity"
    token.write_text(f"identity-{CANARY}")
    given = {
        "AccessKeyId": "ASIACANARY0123456789",
        "SecretAccessKey": f"s-{CANARY}",
        "SessionToken": f"t-{CANARY}",
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    answer = (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult><Credentials>{inner}<Expiration>2099-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    with answering(answer.encode(), "text/xml") as (url, asked):
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/mover")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        sink = xd.sink(s3.url, **s3.options)
        sink(b"data", key="odd//key")
        sink(b"data", key="plain")
        witness.saw_object("sink", sink)

    assert f"identity-{CANARY}" in asked[0]
    assert witness.leaks((CANARY, *given.values())) == []
    assert any(where.startswith("log of botocore") for where, _ in witness.seen)


def test_a_token_of_azures_chain_is_not_logged(azurite, witness, monkeypatch):
    """A managed identity's token goes to the service (which refuses it here, without TLS) and nowhere else."""
    body = json.dumps(
        {"access_token": CANARY, "expires_in": "3600", "expires_on": "4102444800", "token_type": "Bearer"}
    )
    with answering(body.encode()) as (url, asked):
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
        options = {"endpoint_url": azurite.url, "account_name": "devstoreaccount1"}
        source = xd.source(f"az://{azurite.make_container()}/", credential="managed_identity", **options)
        with pytest.raises(CrossdockError) as raised:
            source("k").opened()
        witness.saw_error("refused", raised.value)
        witness.saw_object("source", source)

    assert asked
    assert witness.leaks((CANARY,)) == []


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{CANARY}@bucket/x",
        f"gs://key:{CANARY}@bucket/x",
        f"az://key:{CANARY}@bucket/x",
        f"abfs://key:{CANARY}@account.dfs.core.windows.net/x",
        f"http://me:{CANARY}@127.0.0.1:1/x",
        f"https://me:{CANARY}@127.0.0.1:1/x",
        f"sftp://me:{CANARY}@127.0.0.1:1/x",
        f"ftp://me:{CANARY}@127.0.0.1:1/x",
        f"zip://a::ftp://me:{CANARY}@127.0.0.1:1/x.zip",
        f"webdav://me:{CANARY}@127.0.0.1:1/x",
        f"memory://me:{CANARY}@bucket/x",
        f"nosuch://me:{CANARY}@host/x",
    ],
    ids=lambda url: url.partition(":")[0],
)
@pytest.mark.parametrize(
    "words",
    [("ls",), ("cp", "/nonexistent/x"), ("cleanup",), ("cleanup", "--older-than", "1d")],
    ids=lambda words: words[0] + str(len(words)),
)
def test_a_password_in_a_url_is_not_repeated(url, words, witness, tmp_path):
    """It is refused, or at least never shown; what is refused says how to give it."""
    arguments = [words[0], url, *words[1:]] if words[0] != "cp" else ["cp", url, str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "-vv"])
    witness.saw("command line", done.output)

    assert witness.leaks((CANARY,)) == []
    assert done.exit_code not in (0, 1)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "s3://bucket/",
            {"endpoint_url": "https://127.0.0.2:1", "key": "k", "secret": "s", "region": "us-east-1"},
        ),
        ("gs://bucket/", {"endpoint_url": "https://127.0.0.2:1", "anon": True}),
        ("az://bucket/", {"endpoint_url": "https://127.0.0.2:1/acct", "account_name": "acct", "anon": True}),
        ("https://127.0.0.2:1/", {}),
    ],
    ids=["s3", "gs", "az", "https"],
)
def test_a_proxys_password_is_not_repeated(url, options, witness, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://me:{CANARY}@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    source = xd.source(url, **options)
    witness.saw_object("source", source)
    for key in ("plain", "odd//key"):
        with pytest.raises(CrossdockError) as raised:
            source(key).opened()
        witness.saw_error("no proxy", raised.value)

    assert witness.leaks((CANARY,)) == []
