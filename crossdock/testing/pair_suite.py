"""``PairSuite``: every kind of source into every kind of sink, the whole matrix, as a pytest class.

A test names its ends, each a fixture that returns a function which makes a fresh `crossdock.testing.End`; ``memory`` and
``local`` are there already. With ``focus`` only the pairs with one end run: a connector of your own against all others.

Example:
    >>> class TestMyPairs(PairSuite):
    ...     ends = ("mine", "memory", "local")
    ...     focus = "mine"
    ...
    ...     @pytest.fixture
    ...     def mine(self, tmp_path):
    ...         return lambda: End(url=f"my://{tmp_path}/{uuid4()}/")
"""

from __future__ import annotations

from crossdock.testing.suite.pairs import PairChecks

__all__ = ["PairSuite"]


class PairSuite(PairChecks):
    """What any source and any sink promise together. See ``suite.pair_base.PairBase`` for what a subclass says."""
