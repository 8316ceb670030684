"""One writer for all object sinks. ``write`` chooses; each way of writing has its module.

``job`` holds what they share, ``whole`` one request, ``ranges`` parallel parts, ``sequential`` streams in order,
``parts`` the pool of parts in flight.
"""

from crossdock.connectors.writer.write import write

__all__ = ["write"]
