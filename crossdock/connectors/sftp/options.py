"""The options of SFTP, in the words of paramiko and of fsspec's sftp, where they have one."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.errors import ConfigError
from crossdock.options import Secret, option

__all__ = ["SFTPOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTPOptions:
    """How an SSH server is reached, and how its files are written."""

    user: str | None = option(
        "User name, unless the URL has one; without either, that of this process.", aliases=("username",)
    )
    password: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Password, also for servers that ask for it interactively.", secret=True
    )
    key_file: str | None = option(
        "Private key to use, and no other; without it the agent's keys and those of ~/.ssh are tried.",
        aliases=("key_filename", "pkey", "identity_file"),
    )
    passphrase: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Passphrase of the private key.", secret=True
    )
    agent: bool = option("Try the keys that the SSH agent holds.", default=True, aliases=("allow_agent",))
    known_hosts: str = option(
        "File of host keys to trust, in OpenSSH's format.",
        default="~/.ssh/known_hosts",
        env=("CROSSDOCK_SFTP_KNOWN_HOSTS",),
    )
    host_key: str | None = option(
        "The one host key to accept: its fingerprint (SHA256:...), or type and key as in known_hosts."
    )
    connections: int = option(
        "Connections to one server at most; each serves many requests at a time.", default=4
    )
    connect_timeout_s: float = option(
        "Longest wait for a connection and for each step of the login.",
        default=15.0,
        unit="s",
        aliases=("timeout", "connect_timeout"),
    )
    no_progress_timeout_s: float = option(
        "Longest silence of the server while something is asked; there is no limit on total time.",
        default=60.0,
        unit="s",
    )
    fsync: bool = option(
        "Wait until the server's disk has a file before it gets its name, where the server offers that.",
        default=True,
    )
    conditional_writes: bool | None = option(
        "Whether files can be created only if absent: unset, where the server offers hardlink@openssh.com;"
        " true, also by a rename that is known to refuse to replace; false, never."
    )
    missing_root_is_empty: bool = option(
        "A root that does not exist counts as empty, as a sink's may: the first write makes it.",
        default=False,
    )

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ConfigError("connections is at least 1", operation="open", where="sftp://")
        if min(self.connect_timeout_s, self.no_progress_timeout_s) <= 0:
            raise ConfigError("a timeout is more than 0 s", operation="open", where="sftp://")
        if self.host_key is not None and not (
            self.host_key.startswith("SHA256:") or len(self.host_key.split()) >= 2
        ):
            raise ConfigError(
                f"host_key {self.host_key!r} is neither a fingerprint nor a key",
                operation="open",
                where="sftp://",
                hint="write SHA256:... as ssh-keygen -lf shows it, or 'ssh-ed25519 AAAA...'",
            )
