"""``CodecSuite``: what every format promises, as a pytest class.

A format's test derives from it, defines a fixture ``codec`` that gives a ``CodecEnd``, and ends. What is written has to be read
again: the same rows in their order, the same nulls, in the same types. What a format cannot carry it declares (``refuses``,
``bends``, ``cannot_read``, ``becomes``, ``changes``), and the suite demands just that: a loud error before a row is pulled, or the
documented mapping, never a silent loss. Importing this needs pytest and hypothesis beyond crossdock (``crossdock[testing]``).

Example:
    >>> class TestMyFormat(CodecSuite):
    ...     @pytest.fixture
    ...     def codec(self):
    ...         return CodecEnd(format="parquet", becomes={"date in milliseconds": pa.date32()})
"""

from crossdock.testing.codecs.end import CodecEnd
from crossdock.testing.codecs.rows import RowChecks
from crossdock.testing.codecs.streams import StreamChecks
from crossdock.testing.codecs.values import ValueChecks

__all__ = ["CodecEnd", "CodecSuite"]


class CodecSuite(ValueChecks, RowChecks, StreamChecks):
    """What a format promises. See ``CodecEnd`` for what a subclass may say.

    Attributes:
        examples: How many tables hypothesis draws.
    """
