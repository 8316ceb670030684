"""Mapping: one task over many items, each with its own outcome.

``given`` is what callers wrap arguments in, ``binding`` and ``columns`` make rows of them; ``mappable`` gives tasks their
``map``; ``driving`` and ``intake`` feed a runner; ``result`` is what comes back, read in any order.
"""
