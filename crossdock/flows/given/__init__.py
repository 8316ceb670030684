"""What is given instead of a listing: names, or a list of objects.

Either has ``asked()``, a small form of its content that a run keeps, and ``pages(source)``, its objects in key order.
"""

from __future__ import annotations

from crossdock.flows.given.lists import ObjectTable, open_table
from crossdock.flows.given.names import Names, names_in
from crossdock.flows.given.taking import with_list
from crossdock.flows.questions.missing import Missing

__all__ = ["Missing", "Names", "ObjectTable", "names_in", "open_table", "with_list"]
