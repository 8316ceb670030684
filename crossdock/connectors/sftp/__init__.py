"""Directories of SSH servers, as source and as sink: ``sftp://user@host:port/path``.

``options`` says how a server is reached, ``address`` reads URLs, ``login`` proves host and user, ``wire`` is the protocol's
bytes, ``session`` one connection shared by threads, ``pool`` the process's connections, ``files`` what one does with paths,
``tree`` the walk and containment, ``drafts`` uploads, ``reading`` streams, ``store`` the ``ObjectStore``.
"""

from crossdock.connectors.sftp.options import SFTPOptions
from crossdock.connectors.sftp.store import SFTPStore

__all__ = ["SFTPOptions", "SFTPStore"]
