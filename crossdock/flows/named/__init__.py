"""A flow by its name: find the function, read its parameters from text, call it.

``finding`` turns ``module:function``, ``file.py:function`` or a template's name into a ``NamedFlow``; ``parameters`` is its
signature as a list; ``values`` makes values of texts; ``calling`` fetches ``@URL`` values, opens the sandbox and calls.
Importing this package loads nothing heavy; the flow's own module is imported when it is found.
"""

from __future__ import annotations

from crossdock.flows.named.calling import call_flow as call_flow
from crossdock.flows.named.finding import NamedFlow as NamedFlow, find_flow as find_flow
from crossdock.flows.named.parameters import Parameter as Parameter
from crossdock.flows.named.values import text_of as text_of

__all__ = ["NamedFlow", "Parameter", "call_flow", "find_flow", "text_of"]
