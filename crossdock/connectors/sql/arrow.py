"""pyarrow for the modules of this package, typed where its stubs are of use.

The stubs know few of the combinations that the compute functions take, and not which attributes a type has once it was
found to be a list, a decimal or a timestamp.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute

__all__ = ["Array", "Field", "Kind", "pc"]

Array: TypeAlias = Any
Field: TypeAlias = "pa.Field[Any]"
Kind: TypeAlias = Any
"""A data type, as ``Array`` is an array of any, whatever it may be asked for."""

pc: Any = pyarrow.compute
