"""Negative controls: the same faults against plain fsspec copying, in a process of its own. Prints one JSON object.

What is run is what people run: ``fsspec.generic.rsync``, a loop over two ``fs.open``, ``get_file`` and ``put_file``, with
default settings; only their waits between retries are shortened. The environment is gcsfs's for an emulator, and has
to be there before its import.

An ending is a verdict and, behind a colon, how it showed:

``holds``      exact, or an error and the destination as before
``loses data`` success, and the destination holds something else or nothing
``leaves junk`` an error, and the destination holds neither the old nor the whole
``overwrites`` success, over what somebody else had written meanwhile
``hangs``      no end within three seconds, while the server waits for nothing but to be left
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "NO_GCE_CHECK": "true"}

import fsspec
import gcsfs
import s3fs
from fault_kit import LARGE, MEDIUM, OLD, SMALL, Side, body_of, new_bucket
from fsspec.generic import GenericFileSystem, rsync, set_generic_fs

from crossdock.model import Metadata
from crossdock.testing import EmbeddedGCS, EmbeddedS3

_sleep = asyncio.sleep


async def _hasty(delay: float, result: Any = None) -> Any:
    """Retries wait a twentieth of a second at most."""
    return await _sleep(min(delay, 0.05), result)


def opened(side: Side) -> Any:
    """The plain filesystem of one side."""
    url = side.options["endpoint_url"]
    if side.kind == "gcs":
        return gcsfs.GCSFileSystem(
            token="anon", endpoint_url=url, use_listings_cache=False, skip_instance_cache=True
        )
    return s3fs.S3FileSystem(
        key=side.options["key"],
        secret=side.options["secret"],
        endpoint_url=url,
        client_kwargs={"region_name": "us-east-1"},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def by_open(source: Side, sink: Side, key: str) -> None:
    """A loop over two files."""
    with (
        opened(source).open(f"{source.bucket}/{key}", "rb", block_size=1 << 20) as reader,
        opened(sink).open(f"{sink.bucket}/{key}", "wb") as writer,
    ):
        shutil.copyfileobj(reader, writer, 1 << 20)


def by_file(source: Side, sink: Side, key: str) -> None:
    """Down to a file, up from it."""
    with tempfile.TemporaryDirectory() as folder:
        opened(source).get_file(f"{source.bucket}/{key}", f"{folder}/k")
        opened(sink).put_file(f"{folder}/k", f"{sink.bucket}/{key}")


def by_rsync(source: Side, sink: Side, key: str) -> None:
    """fsspec's own answer to copying between stores."""
    del key
    for side in (source, sink):
        set_generic_fs("gs" if side.kind == "gcs" else "s3")  # names are the protocols of the URLs below
        fsspec.generic._generic_fs["gs" if side.kind == "gcs" else "s3"] = opened(side)
    rsync(source.url.rstrip("/"), sink.url.rstrip("/"), fs=GenericFileSystem(default_method="generic"))


TOOLS = {"fs.open": by_open, "get_file, put_file": by_file, "rsync": by_rsync}


@dataclass(frozen=True, kw_only=True)
class Control:
    """One fault against plain tools, from one cloud to the other."""

    fault: str
    source: str
    wrong: Callable[[Side, Side], object]
    size: int = MEDIUM
    tools: tuple[str, ...] = tuple(TOOLS)
    old: bytes | None = OLD
    metadata: Metadata | None = None
    body: bytes | None = None
    intruder: bytes | None = None
    versions: tuple[bytes, ...] = ()
    patience_s: float = 60.0


def down(**rule: Any) -> Callable[[Side, Side], object]:
    return lambda source, _: source.wrong(operation="object.get", **rule)


def up(operation: str, **rule: Any) -> Callable[[Side, Side], object]:
    return lambda _, sink: sink.wrong(operation=operation, **rule)


NEW = body_of(MEDIUM, seed=1)
INTRUDER = b"somebody else's"
PACKED = gzip.compress(body_of(SMALL), mtime=0)

LAX = ("content-md5", "x-amz-checksum-*", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-goog-hash")


def replaced(source: Side, _: Side) -> None:
    """The first answer breaks off half-way; before the next one another version is written."""
    source.wrong(operation="object.get", first=1, cut_at=700_000, name="cut")
    source.wrong(operation="object.get", skip=1, first=1, act=lambda: source.put("k", NEW), name="replaced")


def slow(_: Side, sink: Side) -> None:
    """Whatever carries payload."""
    for operation in ("object.insert", "chunk.*", "part.put"):
        sink.wrong(operation=operation, status=503, name=f"slow {operation}")


def expired(_: Side, sink: Side) -> None:
    for operation in ("object.insert", "chunk.*", "upload.begin"):
        sink.wrong(operation=operation, status=401, name=f"expired {operation}")


def flipped(_: Side, sink: Side) -> None:
    for operation in ("object.insert", "chunk.*"):
        sink.wrong(operation=operation, first=1, flip_upload_bit=80_021, name=f"flip {operation}")


def lax(_: Side, sink: Side) -> None:
    sink.wrong(operation="object.insert", hide_headers=LAX, truncate_upload_at=90_000, name="lax")


def intruded(source: Side, sink: Side) -> None:
    source.wrong(operation="object.get", first=1, act=lambda: sink.put("k", INTRUDER), name="intruder")


def listing(**rule: Any) -> Callable[[Side, Side], object]:
    return lambda source, _: source.wrong(operation="object.list", **rule)


ONE = ("fs.open",)
CONTROLS = (
    Control(fault="cut-fin", source="s3", wrong=down(cut_at=700_000)),
    Control(fault="cut-fin", source="gcs", wrong=down(cut_at=700_000)),
    Control(fault="cut-rst", source="s3", wrong=down(cut_at=700_000, cut_with="rst")),
    Control(fault="cut-rst", source="gcs", wrong=down(cut_at=700_000, cut_with="rst")),
    Control(fault="no-content-length", source="s3", wrong=down(no_length=True)),
    Control(fault="no-content-length", source="gcs", wrong=down(no_length=True)),
    Control(fault="range-ignored", source="s3", wrong=down(ignore_range=True), tools=ONE),
    Control(fault="range-ignored", source="gcs", wrong=down(ignore_range=True), tools=ONE),
    Control(
        fault="wrong-content-range",
        source="s3",
        wrong=down(answer_headers=(("Content-Range", "bytes 7-9/10"),)),
    ),
    Control(fault="source-bit-flip", source="s3", wrong=down(first=1, flip_bit=80_021)),
    Control(fault="source-bit-flip", source="gcs", wrong=down(first=1, flip_bit=80_021)),
    Control(
        fault="stall-headers", source="gcs", wrong=down(first=1, black_hole=True), tools=ONE, patience_s=3.0
    ),
    Control(
        fault="stall-body",
        source="gcs",
        wrong=down(first=1, stall_at=50_000),
        tools=("rsync",),
        patience_s=3.0,
    ),
    Control(fault="overwritten", source="s3", wrong=replaced, versions=(NEW,)),
    Control(fault="overwritten", source="gcs", wrong=replaced, versions=(NEW,)),
    Control(
        fault="deleted",
        source="s3",
        wrong=lambda source, _: source.wrong(operation="object.get", first=1, act=lambda: source.delete("k")),
    ),
    Control(
        fault="gzip-stored",
        source="gcs",
        wrong=down(delay_s=0),
        metadata=Metadata(content_encoding="gzip"),
        body=PACKED,
        old=None,
    ),
    Control(fault="page-failing", source="s3", wrong=listing(status=500), tools=("rsync",), size=SMALL),
    Control(fault="page-failing", source="gcs", wrong=listing(status=500), tools=("rsync",), size=SMALL),
    Control(
        fault="page-truncated", source="s3", wrong=listing(truncate_at=200), tools=("rsync",), size=SMALL
    ),
    Control(
        fault="page-truncated", source="gcs", wrong=listing(truncate_at=200), tools=("rsync",), size=SMALL
    ),
    Control(fault="gcs-308", source="s3", wrong=up("chunk.final", status=308, body=""), size=LARGE),
    Control(fault="upload-bit-flip", source="s3", wrong=flipped),
    Control(fault="upload-bit-flip", source="gcs", wrong=flipped),
    Control(fault="lax-truncation", source="gcs", wrong=lax),
    Control(fault="destination-changes", source="s3", wrong=intruded, intruder=INTRUDER, size=SMALL),
    Control(fault="destination-changes", source="gcs", wrong=intruded, intruder=INTRUDER, size=SMALL),
    Control(fault="slowdown-forever", source="s3", wrong=slow, size=SMALL),
    Control(fault="slowdown-forever", source="gcs", wrong=slow, size=SMALL),
    Control(fault="credentials-expire", source="s3", wrong=expired, size=SMALL),
)


def run(control: Control, tool: str, servers: dict[str, Any]) -> str:
    """One verdict."""
    for server in servers.values():
        server.faults.clear()
        server.faults.reset_counters()
    source = new_bucket(servers[control.source])
    sink = new_bucket(servers["gcs" if control.source == "s3" else "s3"])
    body = control.body or body_of(control.size)
    source.put("k", body, control.metadata)
    if control.old is not None:
        sink.put("k", control.old)
    control.wrong(source, sink)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            TOOLS[tool](source, sink, "k")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(control.patience_s)
    fired = {**servers["s3"].faults.fired, **servers["gcs"].faults.fired}
    if not any(fired.values()):
        return "did not meet the fault"
    return _verdict(control, body, sink.held("k"), errors, is_alive=thread.is_alive())


def _verdict(
    control: Control, body: bytes, held: bytes | None, errors: list[BaseException], *, is_alive: bool
) -> str:
    size = "nothing" if held is None else f"{len(held)} of {len(body)} bytes"
    if is_alive:
        return "hangs"
    if errors:
        as_before = held in (control.old, control.intruder if control.intruder is not None else control.old)
        kind = type(errors[0]).__name__
        return f"holds: {kind}" if as_before else f"leaves junk: {kind}, {size}"
    if control.intruder is not None:
        return "holds: success" if held == control.intruder else "overwrites: success"
    if held == body or held in control.versions:
        return "holds: exact"
    what = "what was there before" if held == control.old and held is not None else size
    return f"loses data: success, {what}" + (
        ", wrong bytes" if held is not None and len(held) == len(body) else ""
    )


def main() -> None:
    """Run all, or those whose fault is named."""
    asyncio.sleep = _hasty  # type: ignore[assignment]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    asked = set(sys.argv[1:])
    endings: dict[str, dict[str, str]] = {}
    with EmbeddedS3() as s3, EmbeddedGCS() as gcs:
        servers = {"s3": s3, "gcs": gcs}
        for control in CONTROLS:
            if asked and control.fault not in asked:
                continue
            pair = "s3fs to gcsfs" if control.source == "s3" else "gcsfs to s3fs"
            for tool in control.tools:
                endings.setdefault(control.fault, {})[f"{tool}, {pair}"] = run(control, tool, servers)
        sys.stdout.write(json.dumps(endings, indent=1) + "\n")
        sys.stdout.flush()
        os._exit(0)  # what hangs would not let go


if __name__ == "__main__":
    main()
