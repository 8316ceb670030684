"""Caching by input hash: if we already saw the input, we already have the output.

``recall`` is what a task asks; ``key`` says which inputs count, ``fingerprint`` turns them into one hash, ``entries`` keeps
results at a URL, ``format`` and ``frames`` write them without pickle.
"""
