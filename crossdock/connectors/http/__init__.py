"""Objects behind URLs of any web server, as a source: ``http://`` and ``https://``.

``options`` says how a server is reached, ``addresses`` where a redirect may lead, ``route`` opens connections,
``client`` sends one request, ``headers`` reads answers, ``reading`` streams a body, ``store`` is the ``ObjectStore``.
"""

from crossdock.connectors.http.options import HTTPOptions
from crossdock.connectors.http.store import HTTPStore

__all__ = ["HTTPOptions", "HTTPStore"]
