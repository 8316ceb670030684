"""Where a secret is, as a value that may be printed and pickled; the secret itself only where it is used."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.errors import ConfigError, CredentialsError
from crossdock.options import Secret

__all__ = ["Reference", "reference_of"]


@dataclass(frozen=True, slots=True)
class Reference:
    """``env:NAME``, ``file:PATH`` or ``cmd:COMMAND``; never the secret."""

    text: str

    def reveal(self) -> str:
        """The secret, read anew each time: it may have been replaced meanwhile.

        Raises:
            CredentialsError: It leads nowhere, or to nothing.
        """
        try:
            secret = Secret(self.text).reveal()
        except CredentialsError as error:
            secret, cause = "", error.cause.replace(self.text, str(self))
        else:
            cause = f"the secret reference {self} is empty"
        if not secret:  # raised here, so that what may repeat a command is not its context
            raise CredentialsError(cause, operation="resolve secret")
        return secret

    def __str__(self) -> str:
        """As written, but of a command only its first word: the rest may hold anything."""
        kind, _, place = self.text.partition(":")
        return f"cmd:{place.split()[0]}" if kind == "cmd" and place.split() else self.text

    def __repr__(self) -> str:
        return repr(str(self))


def reference_of(given: object, what: str) -> Reference:
    """Check a reference without following it.

    Args:
        given: Text or ``Secret``.
        what: What takes it, for the error's text.

    Raises:
        ConfigError: It is the secret itself, or no text. The error does not repeat it.
    """
    # A Secret is pickled as what it refers to, so that is how it says what it is.
    secret = given if isinstance(given, Secret) else Secret(given) if isinstance(given, str) else None
    if secret is None or not secret.is_reference:
        wrong = "the secret itself" if secret is not None else type(given).__name__
        raise ConfigError(
            f"{what} takes a reference to a secret, not {wrong}",
            hint='what stands in code is in version control: keep it in the environment or a file, and write "env:NAME", "file:PATH" or "cmd:COMMAND"',
        )
    text: str = secret.__reduce__()[1][0]
    if not text.partition(":")[2].strip():
        raise ConfigError(
            f"{what}: the reference {text!r} names no place", hint='such as "env:SLACK_WEBHOOK"'
        )
    return Reference(text)
