"""S3 and GCS on this machine for the length of a block, behind the clouds' own environment variables.

Whatever names only ``s3://`` and ``gs://`` URLs then works as it would in a cloud: in this process, and in processes it starts.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossdock.errors import MissingExtraError

if TYPE_CHECKING:
    from crossdock.testing.gcs import EmbeddedGCS
    from crossdock.testing.s3 import EmbeddedS3

__all__ = ["Clouds", "embedded_clouds"]

_ELSEWHERE = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clouds:
    """Two servers that run, and a directory that goes with them."""

    s3: EmbeddedS3
    gcs: EmbeddedGCS
    directory: Path


@contextmanager
def embedded_clouds(*, s3: Sequence[str] = (), gcs: Sequence[str] = ()) -> Iterator[Clouds]:
    """Start both services with these buckets and point the environment at them; put all back and leave nothing.

    The state directory (records of runs) is a temporary one too. The environment is the process's: one block at a time.

    Raises:
        MissingExtraError: The embedded S3's service is not installed.
    """
    if importlib.util.find_spec("moto") is None:
        raise MissingExtraError(
            "the embedded S3 needs moto",
            operation="start",
            hint="install it: pip install 'crossdock[testing]'",
        )
    from crossdock.testing.gcs import EmbeddedGCS
    from crossdock.testing.s3 import EmbeddedS3

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-sandbox-")))
        clouds = Clouds(
            s3=stack.enter_context(EmbeddedS3(buckets=s3)),
            gcs=stack.enter_context(EmbeddedGCS(buckets=gcs)),
            directory=home,
        )
        stack.enter_context(_environment(_pointing_at(clouds)))
        yield clouds


def _pointing_at(clouds: Clouds) -> dict[str, str | None]:
    return {
        **dict.fromkeys(_ELSEWHERE),
        # Dummies: the embedded server verifies no signature, but a client without credentials refuses to start.
        "AWS_ACCESS_KEY_ID": "sandbox-access-key",
        "AWS_SECRET_ACCESS_KEY": "sandbox-secret-key",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_S3": clouds.s3.url,
        "STORAGE_EMULATOR_HOST": clouds.gcs.url,
        "XDG_STATE_HOME": str(clouds.directory / "state"),
    }


@contextmanager
def _environment(names: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, remove those that are ``None``, and put all back."""
    before = {name: os.environ.get(name) for name in names}
    try:
        _set(names)
        yield
    finally:
        _set(before)


def _set(names: Mapping[str, str | None]) -> None:
    for name, value in names.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
