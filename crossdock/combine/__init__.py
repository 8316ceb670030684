"""Combining: two tasks become one, and one task is mapped over many items. DESIGN section 4 in code.

``task`` makes a function a task; ``one_task``, ``CombinedTask`` and ``combine`` make two tasks one; ``stitch_function``
says how the first's output becomes the second's input; ``.map`` runs it per item on a runner. Importing this room costs
the standard library only: Dask is imported when a ``DaskRunner`` starts, tenacity when a task has retries.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from crossdock.combine import combined as _combined
from crossdock.combine.block import Block, TracedTask, one_task
from crossdock.combine.caching.recall import Cache
from crossdock.combine.combined import CombinedTask, NeverRunWarning, combine
from crossdock.combine.context import TaskContext, current
from crossdock.combine.described import param
from crossdock.combine.functions import FunctionTask, task
from crossdock.combine.guard import LargeResultWarning
from crossdock.combine.mapping.given import flatten, product, unmapped
from crossdock.combine.mapping.result import MapResult
from crossdock.combine.runners.dask import DaskRunner
from crossdock.combine.runners.local import LocalRunner
from crossdock.combine.settings import TaskOptions
from crossdock.combine.stitch import into
from crossdock.tasks import set_combiner

__all__ = [
    "Block",
    "Cache",
    "CombinedTask",
    "DaskRunner",
    "FunctionTask",
    "LargeResultWarning",
    "LocalRunner",
    "MapResult",
    "NeverRunWarning",
    "TaskContext",
    "TaskOptions",
    "TracedTask",
    "combine",
    "current",
    "flatten",
    "into",
    "one_task",
    "param",
    "product",
    "task",
    "unmapped",
]

set_combiner(combine)


class _Room(types.ModuleType):
    """This room, callable: ``crossdock.combine`` is both its name and the public function ``xd.combine``.

    Importing a submodule makes it an attribute of its package, so ``xd.combine`` is this module whatever the package
    says; calling it combines.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> CombinedTask:
        return _combined.combine(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
# The package copies this name into itself; a function there would hide the room from `import crossdock.combine as x`.
globals()["combine"] = sys.modules[__name__]
