"""Who an SFTP store talks to, and as whom: hosts that are not known, logins, URLs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess

import asyncssh
import pytest
from http_server import WebServer
from sftp_server import PASSWORD, USER, SSHInProcess

import crossdock as xd
from crossdock.connectors.sftp import SFTPOptions, SFTPStore
from crossdock.connectors.sftp.address import address_of
from crossdock.connectors.sftp.keys import private_key
from crossdock.connectors.sftp.known_hosts import known_keys, name_of
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
)
from crossdock.options import Secret


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def server(tmp_path):
    with SSHInProcess(tmp_path) as server:
        yield server


def store_at(server, root, **options):
    chosen = {"password": Secret(PASSWORD), "host_key": server.fingerprint, **options}
    return SFTPStore(f"{USER}@127.0.0.1:{server.port}{root}", SFTPOptions(**chosen))


@pytest.fixture
def store(server, root):
    return store_at(server, root)


def everything_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


class TestHosts:
    def test_an_unknown_host_is_refused_with_its_fingerprint(self, server, root, tmp_path):
        unknown = store_at(server, root, host_key=None, known_hosts=str(tmp_path / "none"))

        with pytest.raises(DeniedError, match="not known") as raised:
            unknown.check()
        assert server.fingerprint in str(raised.value)
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("form", ["plain", "hashed", "pattern", "after others"])
    def test_a_known_host_is_accepted(self, server, root, tmp_path, form):
        line = server.known_hosts_line
        name, rest = line.split(" ", 1)
        if form == "hashed":
            salt = bytes(range(20))
            digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
            name = "|".join(("", "1", base64.b64encode(salt).decode(), base64.b64encode(digest).decode()))
        elif form == "pattern":
            name = "[127.0.0.*]:*"
        other = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
        before = f"# comment\n\nelsewhere {other}nonsense\n" if form == "after others" else ""
        (tmp_path / "known").write_text(f"{before}{name} {rest}")

        store_at(server, root, host_key=None, known_hosts=str(tmp_path / "known")).check()

    @pytest.mark.parametrize("pinned", [True, False])
    def test_another_key_than_the_known_one_is_refused(self, server, root, tmp_path, pinned):
        other = asyncssh.generate_private_key("ssh-ed25519")
        line = f"[127.0.0.1]:{server.port} {other.export_public_key().decode()}"
        (tmp_path / "known").write_text(line)
        host_key = other.get_fingerprint() if pinned else None
        wrong = store_at(server, root, host_key=host_key, known_hosts=str(tmp_path / "known"))

        with pytest.raises(DeniedError, match="another key"):
            wrong.check()

    def test_a_revoked_key_is_refused(self, server, root, tmp_path):
        (tmp_path / "known").write_text(f"{server.known_hosts_line}@revoked {server.known_hosts_line}")

        with pytest.raises(DeniedError, match="revoked"):
            store_at(server, root, host_key=None, known_hosts=str(tmp_path / "known")).check()

    def test_names_in_known_hosts(self):
        lines = [
            "!bad.example.com,*.example.com t1 k1",
            "[host]:2222 t2 k2",
            "HOST t3 k3",
            "@cert-authority * t4 k4",
        ]

        def kinds(host, port=22):
            return [kind for kind, _ in known_keys(lines, name_of(host, port)).keys]

        assert kinds("good.example.com") == ["t1"]
        assert kinds("bad.example.com") == []
        assert (kinds("host", 2222), kinds("Host"), kinds("h", 2222)) == (["t2"], ["t3"], [])

    def test_nobody_there(self, root):
        with SSHInProcess(root) as server:
            gone = store_at(server, root)

        with pytest.raises(ConnectionLostError, match="cannot connect"):
            gone.check()

    def test_something_else_than_ssh(self, root):
        """A web server's port: an error within the timeout, not a hang."""
        with WebServer() as web, pytest.raises(ConnectionLostError):
            SFTPStore(f"{USER}@127.0.0.1:{web.port}{root}", SFTPOptions(connect_timeout_s=2.0)).check()


class TestLogins:
    def test_a_wrong_password(self, server, root):
        with pytest.raises(CredentialsError, match="tried the password") as raised:
            store_at(server, root, password=Secret("canary")).check()
        assert "canary" not in str(raised.value)

    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
    @pytest.mark.parametrize("passphrase", [None, "canary phrase"])
    def test_keys(self, root, tmp_path, kind, passphrase):
        key = asyncssh.generate_private_key(kind)
        key.write_private_key(tmp_path / "id", passphrase=passphrase)
        key.write_public_key(tmp_path / "authorized")
        with SSHInProcess(root, authorized_client_keys=str(tmp_path / "authorized")) as server:
            secret = Secret(passphrase) if passphrase else None
            options = {"password": None, "key_file": str(tmp_path / "id")}
            store_at(server, root, passphrase=secret, **options).check()
            if passphrase is not None:
                with pytest.raises(CredentialsError, match="has a passphrase"):
                    store_at(server, root, **options).check()
                with pytest.raises(CredentialsError, match="cannot be read"):
                    store_at(server, root, passphrase=Secret("wrong"), **options).check()

    @pytest.mark.parametrize("fills_its_block", [False, True])
    def test_every_private_number(self, tmp_path, fills_its_block):
        """A key without a comment that happens to fill its last block is read like any other."""
        while True:
            key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
            number = key.pyca_key.private_numbers().private_value
            if (number.bit_length() < 256) is fills_its_block:
                break
        key.write_private_key(tmp_path / "id")

        assert key.public_data == private_key(tmp_path / "id", None).asbytes()

    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
    def test_a_certificate_next_to_the_key(self, root, tmp_path, kind):
        """A server that knows an authority and no key lets its certificates in."""
        authority, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key(kind)
        key.write_private_key(tmp_path / "id")
        certificate = authority.generate_user_certificate(key, "us", principals=[USER])
        trusted = authority.export_public_key().decode()
        (tmp_path / "authorized").write_text(f"cert-authority {trusted}")
        with SSHInProcess(root, authorized_client_keys=str(tmp_path / "authorized")) as server:
            options = {"password": None, "key_file": str(tmp_path / "id")}
            with pytest.raises(CredentialsError):
                store_at(server, root, **options).check()
            certificate.write_certificate(tmp_path / "id-cert.pub")
            store_at(server, root, **options).check()

    def test_an_agent(self, root, tmp_path, monkeypatch):
        """A key that only a running ssh-agent holds."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(tmp_path / "id")
        key.write_public_key(tmp_path / "authorized")
        place = str(tmp_path / "agent")
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.PIPE, text=True)
        try:
            agent.stdout.readline()
            monkeypatch.setenv("SSH_AUTH_SOCK", place)
            (tmp_path / "id").chmod(0o600)
            subprocess.run(["ssh-add", "-q", tmp_path / "id"], check=True)
            (tmp_path / "id").unlink()
            monkeypatch.setenv("HOME", str(tmp_path))
            with SSHInProcess(root, authorized_client_keys=str(tmp_path / "authorized")) as server:
                store_at(server, root, password=None).check()
                with pytest.raises(CredentialsError, match="tried nothing"):
                    store_at(server, root, password=None, agent=False).check()
        finally:
            agent.terminate()
            agent.wait(10)
            agent.stdout.close()

    def test_a_missing_key_file(self, server, root, tmp_path):
        with pytest.raises(CredentialsError, match="no such file"):
            store_at(server, root, password=None, key_file=str(tmp_path / "none")).check()

    @pytest.mark.parametrize(
        "url", ["sftp://me:canary@host/x/", "sftp://host:99999/", "sftp:///x", "sftp://a b@/x"]
    )
    def test_urls_that_are_refused(self, url):
        with pytest.raises(ConfigError) as raised:
            xd.source(url)
        assert "canary" not in str(raised.value)

    @pytest.mark.parametrize(
        ("place", "url", "path"),
        [
            ("me@host:2222/a/b/", "sftp://me@host:2222/a/b", b"/a/b/k"),
            ("host", "sftp://host", b"/k"),
            ("host/~", "sftp://host/~/.", b"./k"),
            ("host/", "sftp://host", b"/k"),
            ("[::1]:22/x", "sftp://[::1]/x", b"/x/k"),
            ("host/~/in", "sftp://host/~/in", b"in/k"),
        ],
    )
    def test_where_a_url_leads(self, place, url, path):
        assert (address_of(place).url, address_of(place).path("k")) == (url, path)
        assert address_of(address_of(place).url) == address_of(place)

    @pytest.mark.parametrize(
        "bad", [{"connections": 0}, {"host_key": "nonsense"}, {"no_progress_timeout_s": 0.0}]
    )
    def test_options_that_make_no_sense(self, bad):
        with pytest.raises(ConfigError):
            SFTPOptions(**bad)
