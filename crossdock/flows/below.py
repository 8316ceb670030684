"""What a URL names when it is looked at: the object of that name and everything below it. ``du`` and ``rm`` agree with ``ls``.

A prefix ends at a slash: ``logs`` is ``logs/`` and the object ``logs``, never ``logs-2/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import NotFoundError
from crossdock.flows.listing import Listing
from crossdock.model import ObjectInfo

__all__ = ["objects_below"]


def objects_below(source: ObjectSource) -> Iterator[ObjectInfo]:
    """The objects, lazily, the one of that very name first, the others in key order.

    Memory: what ``Listing`` reads ahead. Requests: those of ``Listing``, about one LIST for 1,000 objects, and one more for a name without a final slash.

    Raises:
        NotFoundError: The bucket is missing.
        CrossdockError: A page failed: the listing is never silently short.
    """
    if not source.prefix or source.prefix.endswith("/"):
        pages = Listing(source.store, source.prefix)
    else:
        pages = Listing(source.store, f"{source.prefix}/")
        with suppress(NotFoundError):  # a bucket that is missing says so again, in the listing
            if source.store.refusal(source.prefix) is None:
                yield source.store.stat(source.prefix)
    for page in pages:
        yield from page
