"""APIs that answer in JSON, as a source of records: ``rest(url)``.

``options`` says how an API is asked, ``auth`` who asks, ``asking`` what, ``paging`` what after a page; ``gate`` spaces requests,
``fetching`` makes them, ``kept_pages`` saves them, ``jsonpath`` and ``pages`` find records, ``rows`` makes Arrow of them,
``records`` hands them over, ``source`` is the task. The web client is that of ``connectors.http``.
"""

from crossdock.connectors.rest.auth import Basic, Bearer, ClientCredentials, HeaderKey, QueryKey
from crossdock.connectors.rest.options import RESTOptions
from crossdock.connectors.rest.paging import ByCursor, ByLink, ByOffset, ByPage, ByURL
from crossdock.connectors.rest.records import Records
from crossdock.connectors.rest.source import RESTBatches, RESTSource, rest

__all__ = [
    "Basic",
    "Bearer",
    "ByCursor",
    "ByLink",
    "ByOffset",
    "ByPage",
    "ByURL",
    "ClientCredentials",
    "HeaderKey",
    "QueryKey",
    "RESTBatches",
    "RESTOptions",
    "RESTSource",
    "Records",
    "rest",
]
