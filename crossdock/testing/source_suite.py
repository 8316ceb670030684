"""``SourceSuite``: what ``xd.source(url)`` promises, as a pytest class. Fit for ends that are sources only.

A connector's test derives from it, defines a fixture ``end`` (see ``crossdock.testing.End``), and ends. What a source
cannot do (list, pin) by its capabilities must be refused, and is tested too.

Example:
    >>> class TestMySource(SourceSuite):
    ...     @pytest.fixture
    ...     def end(self, server):
    ...         return End(
    ...             url=f"my://{server.name}/", seed=lambda key, data, metadata: server.keep(key, data)
    ...         )
"""

from __future__ import annotations

from crossdock.testing.suite.source_names import SourceNameChecks
from crossdock.testing.suite.source_streams import SourceStreamChecks

__all__ = ["SourceSuite"]


class SourceSuite(SourceStreamChecks, SourceNameChecks):
    """Everything a source promises. See ``suite.end_base.EndSuite`` for what a subclass may say."""
