"""Listings in key order: read ahead in ranges, checked as they come, and looked into with keys that only grow.

``Listing`` reads a store, ``in_order`` proves the order everything above relies on, ``Ahead`` answers "is this key there?"
for growing keys from one pass over a listing.
"""

from __future__ import annotations

from crossdock.flows.listing.ahead import Ahead
from crossdock.flows.listing.order import in_order
from crossdock.flows.listing.ranges import Shape
from crossdock.flows.listing.reading import Listing

__all__ = ["Ahead", "Listing", "Shape", "in_order"]
