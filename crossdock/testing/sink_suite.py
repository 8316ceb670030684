"""``SinkSuite``: what ``xd.sink(url)`` promises, as a pytest class.

A connector's test derives from it, defines a fixture ``end`` (see ``crossdock.testing.End``), and ends. Every check goes
through the sink as a task, as users call it, and looks at the result by the end's back door.

Example:
    >>> class TestMySink(SinkSuite):
    ...     @pytest.fixture
    ...     def end(self, tmp_path):
    ...         return End(url=f"my://{tmp_path}/", back_door=lambda key: read_file(tmp_path / key))
"""

from __future__ import annotations

from crossdock.testing.suite.sink_answers import SinkAnswerChecks
from crossdock.testing.suite.sink_content import SinkContentChecks
from crossdock.testing.suite.sink_failures import SinkFailureChecks

__all__ = ["SinkSuite"]


class SinkSuite(SinkContentChecks, SinkFailureChecks, SinkAnswerChecks):
    """Everything a sink promises. See ``suite.end_base.EndSuite`` for what a subclass may say."""
