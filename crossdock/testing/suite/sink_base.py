"""What all checks of a sink share: the sink itself, and the forms in which bytes come to it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from crossdock.connectors.streams import PlainStream
from crossdock.model import ObjectInfo
from crossdock.testing.ends import End
from crossdock.testing.suite.end_base import PREFIX, EndSuite, chunks_of
from crossdock.testing.suite.origins import Origin

__all__ = ["FORMS", "NAME", "SinkBase", "in_form"]

NAME = "folder/object.bin"
FORMS = ("bytes", "generator", "file", "declared", "stored")
"""Bytes in memory; of unknown length; a file; a stream that knows its length; an object that can be read by range."""


class SinkBase(EndSuite):
    """The sink under test is the end below ``PREFIX``, with parts as small as it takes."""

    @pytest.fixture(autouse=True)
    def _left_out(self, request: pytest.FixtureRequest, end: End) -> None:
        reason = end.left_out_checks.get(getattr(request.node, "originalname", ""))
        if reason is not None:
            pytest.skip(reason)

    @pytest.fixture
    def sink(self, end: End) -> Any:
        """The sink: a task, called as ``sink(stream, key=...)``."""
        return end.sink(PREFIX, part_size_bytes=self.part_size(end), part_concurrency=3)


def in_form(form: str, data: bytes) -> Any:
    """``data`` in one of ``FORMS``."""
    if form == "bytes":
        return data
    if form == "generator":
        return chunks_of(data)
    if form == "file":
        return io.BytesIO(data)
    if form == "declared":
        return PlainStream(chunks_of(data), info=ObjectInfo(key="", size=len(data)))
    return Origin(data).stream()
