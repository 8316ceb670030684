"""What the tests of this room share: memory buckets with unique names, and a bucket that fails on demand."""

from __future__ import annotations

import itertools
import threading
import uuid

from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.connectors.objects import ObjectSink, ObjectSource

_numbers = itertools.count()

HOSTILE = (
    "a//b",
    "/a",
    "a/",
    "a/./b",
    "a/../b",
    " lead",
    "trail ",
    "a%2Fb",
    "a+b",
    "a#b?c",
    "*[x]",
    "\N{PILE OF POO}",
    "caf\u00e9",
    "cafe\u0301",
    "Case",
    "case",
    "tab\tnew\nline\x01\x7f",
    "x",
    "x/y",
    "k" * 1024,
)


def bucket() -> str:
    """A name no other test has."""
    return f"flows-{next(_numbers)}-{uuid.uuid4().hex[:8]}"


def filled(objects):
    """A new bucket with these objects; its URL without a final slash."""
    store = MemoryStore(bucket())
    for key, body in objects.items():
        store.put(key, body)
    return store.url


def contents(url):
    """Every object of a bucket by key."""
    store = MemoryStore(url.removeprefix("memory://"))
    return {info.key: bytes(store.read(info.key).read_all()) for page in store.list() for info in page}


def generations(url):
    """Which write each object is."""
    store = MemoryStore(url.removeprefix("memory://"))
    return {info.key: info.version.generation for page in store.list() for info in page}


def quietly(verb, key):
    """No trouble."""


class Troubled(MemoryStore):
    """A memory bucket whose verbs call a hook first; never a server-side copy, so bytes pass through here."""

    def __init__(self, name=None, options=None):
        super().__init__(name or bucket(), options or MemoryOptions())
        self.before = quietly
        self.calls = []
        self._calls_lock = threading.Lock()

    def __reduce__(self):
        return MemoryStore, (self.bucket, self.options)

    @property
    def endpoint(self):
        return f"troubled-{id(self)}"

    def _note(self, verb, key):
        with self._calls_lock:
            self.calls.append((verb, key))
        self.before(verb, key)

    def count(self, verb):
        return sum(1 for name, _ in self.calls if name == verb)

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            self._note("list", page[0].key)
            yield page

    def stat(self, key, **kwargs):
        self._note("stat", key)
        return super().stat(key, **kwargs)

    def read(self, key, *args, **kwargs):
        self._note("read", key)
        return super().read(key, *args, **kwargs)

    def put(self, key, *args, **kwargs):
        self._note("put", key)
        return super().put(key, *args, **kwargs)

    def source(self, prefix=""):
        return ObjectSource(layered(self), prefix)

    def sink(self, prefix="", **kwargs):
        return ObjectSink(layered(self), prefix, **kwargs)
