"""Filesystems of fsspec under protocols that are not ours, as a user's own would be."""

from __future__ import annotations

from typing import ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem


class OtherLocal(LocalFileSystem):
    """The disk of this machine."""

    protocol = "otherlocal"


class OtherMemory(MemoryFileSystem):
    """A dict of this process."""

    protocol = "othermemory"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("othermemory://"))


fsspec.register_implementation("otherlocal", OtherLocal, clobber=True)
fsspec.register_implementation("othermemory", OtherMemory, clobber=True)
