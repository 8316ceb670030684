"""A row of the registry for whatever fsspec knows: made when a URL of it is met, never kept as a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from crossdock.connectors.chains import CACHES, CONTAINERS, links_of
from crossdock.connectors.fsspec_bridge import protocols
from crossdock.connectors.fsspec_bridge.dialects import demand_sink, dialect_of, renames
from crossdock.connectors.fsspec_bridge.protocols import every_protocol
from crossdock.connectors.registry import Connector

__all__ = ["FsspecConnector", "connector_of", "every_connector", "every_protocol"]

_WORDS = {
    "zip": "Files in a zip archive",
    "tar": "Files in a tar archive",
    "libarchive": "Files in an archive of any kind",
    "reference": "Objects described by a reference file (kerchunk)",
    "dir": "A directory of another filesystem",
    "ftp": "An FTP server",
    "smb": "A Windows or Samba share",
    "hdfs": "HDFS, by pyarrow and the Java client",
    "arrow_hdfs": "HDFS, by pyarrow and the Java client",
    "webhdfs": "HDFS over HTTP",
    "webdav": "A WebDAV server",
    "github": "A GitHub repository at one ref",
    "gist": "A GitHub gist",
    "git": "A local git repository at one ref",
    "hf": "Hugging Face Hub",
    "dropbox": "Dropbox",
    "box": "Box",
    "gdrive": "Google Drive",
    "dbfs": "Databricks files",
    "jupyter": "Files behind a Jupyter server",
    "jlab": "Files behind a Jupyter server",
    "oss": "Alibaba Cloud OSS",
    "oci": "Oracle Cloud object storage",
    "ocilake": "Oracle Cloud data lake",
    "tos": "Volcano Engine TOS",
    "tosfs": "Volcano Engine TOS",
    "root": "XRootD",
    "dvc": "A DVC repository",
    "lakefs": "lakeFS",
    "wandb": "Weights & Biases runs",
    "dask": "Files of a Dask worker",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FsspecConnector(Connector):
    """What opens a chain of fsspec's protocols, outermost first; its options are those of the first link."""

    links: tuple[str, ...] = ()

    def load(self) -> tuple[Any, type[Any]]:
        """The store class and the option class of these links.

        Raises:
            MissingExtraError: A package of the first link is not installed.
        """
        from crossdock.connectors.fsspec_bridge.options import options_for
        from crossdock.connectors.fsspec_bridge.store import FsspecStore

        for protocol in self.links:
            protocols.filesystem_class(protocol)
        return FsspecStore, options_for(self.links)

    def demand_sink(self) -> None:
        """Refuse what is a source only, and say why.

        Raises:
            UnsupportedError: A finished file cannot be given its name in one step there.
        """
        demand_sink(dialect_of(self.links), self.links[0])

    @property
    def need(self) -> str:
        """The command that installs what the first link needs; empty for nothing."""
        return protocols.need_of(self.links[0])

    @property
    def is_installed(self) -> bool:
        """Whether that is there; imports nothing."""
        return protocols.is_installed(self.links[0])

    @property
    def example(self) -> str:
        """A root that the store takes; an archive's is in a file."""
        first = self.links[0]
        if first in CONTAINERS | CACHES:
            return f"{first}::file:///place" + ("!" if first in CONTAINERS else "")
        return f"{first}://host"


def connector_of(root: str) -> FsspecConnector | None:
    """The row of a root URL or a single protocol; ``None`` if fsspec does not know it."""
    links = links_of(root) if "::" in root or "://" in root else (root,)
    if not all(protocols.is_known(link) for link in links):
        return None
    first = links[0]
    wraps = first in CONTAINERS | CACHES
    is_sink = first == "dir" or (not wraps and renames(first))
    summary = _WORDS.get(first) or (
        "A cache in front of another link" if first in CACHES else f"{protocols.class_name(first)} of fsspec"
    )
    return FsspecConnector(
        name=first,
        schemes=(first,),
        module="crossdock.connectors.fsspec_bridge.store",
        store="FsspecStore",
        options="FsspecOptions",
        summary=summary,
        is_sink=is_sink,
        sink_defaults={"missing_root_is_empty": True} if is_sink else {},
        links=links,
    )


def every_connector(besides: frozenset[str]) -> Iterator[FsspecConnector]:
    """A row for each protocol fsspec knows, by name, but for ``besides``. Imports none of them."""
    for protocol in every_protocol():
        row = connector_of(protocol) if protocol not in besides else None
        if row is not None:
            yield row
