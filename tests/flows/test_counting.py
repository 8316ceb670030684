"""``usage``: objects and bytes below a URL, each prefix as soon as the listing has passed it."""

from __future__ import annotations

import random

import pytest
from flow_kit import bucket, filled

import crossdock as xd
from crossdock.errors import ConfigError, NotFoundError
from crossdock.flows.counting import counted
from crossdock.model import ObjectInfo

TREE = {"logs": b"0", "logs/a": b"1", "logs/b/c": b"22", "logs/b/d/e": b"333", "logs-2/f": b"4444", "x": b"5"}


def told(url, depth=0):
    return [(each.prefix, each.depth, each.objects, each.bytes) for each in xd.usage(url, depth=depth)]


def test_the_whole():
    assert told(f"{filled(TREE)}/") == [("", 0, 6, 12)]


def test_prefixes_to_a_depth_inside_before_outside():
    url = filled(TREE)

    assert told(f"{url}/", 1) == [("logs-2/", 1, 1, 4), ("logs/", 1, 3, 6), ("", 0, 6, 12)]
    assert told(f"{url}/", 2) == [
        ("logs-2/", 1, 1, 4),
        ("logs/b/", 2, 2, 5),
        ("logs/", 1, 3, 6),
        ("", 0, 6, 12),
    ]


def test_a_name_is_its_object_and_its_prefix_and_never_its_neighbour():
    url = filled(TREE)

    assert told(f"{url}/logs") == [("logs", 0, 4, 7)]
    assert told(f"{url}/logs", 1) == [("logs/b/", 1, 2, 5), ("logs", 0, 4, 7)]
    assert told(f"{url}/logs/", 1) == [("logs/b/", 1, 2, 5), ("logs/", 0, 3, 6)]


@pytest.mark.parametrize("seed", range(30))
def test_the_stack_agrees_with_a_dictionary(seed):
    """Any keys, empty segments and all: the same sums as adding up every prefix of every key."""
    random_ = random.Random(seed)
    keys = sorted(
        {"".join(random_.choice("ab/-") for _ in range(random_.randrange(1, 7))) for _ in range(60)}
    )
    depth = random_.randrange(4)
    expected = {}
    for size, key in enumerate(keys):
        parts = key.split("/")[:-1][:depth]
        for level in range(len(parts) + 1):
            prefix = "".join(f"{part}/" for part in parts[:level])
            objects, total = expected.get((prefix, level), (0, 0))
            expected[prefix, level] = objects + 1, total + size

    found = list(counted((ObjectInfo(key=key, size=size) for size, key in enumerate(keys)), "", depth))

    assert expected == {(each.prefix, each.depth): (each.objects, each.bytes) for each in found}
    assert len(expected) == len(found)
    assert found[-1].depth == 0


def test_lines_come_before_the_listing_ends():
    seen = []

    def objects():
        for key in ("a/1", "b/1", "c/1"):
            seen.append(key)
            yield ObjectInfo(key=key, size=1)

    first = next(counted(objects(), "", 1))

    assert (first.prefix, seen) == ("a/", ["a/1", "b/1"])


def test_sizes_that_are_not_told_are_counted_apart():
    (whole,) = counted([ObjectInfo(key="a", size=None), ObjectInfo(key="b", size=2)], "", 0)

    assert (whole.objects, whole.bytes, whole.unknown_sizes) == (2, 2, 1)


def test_nothing_there_is_not_found():
    for url in (f"{filled(TREE)}/none/", f"memory://{bucket()}/"):
        with pytest.raises(NotFoundError):
            list(xd.usage(url))
    with pytest.raises(ConfigError, match="0 or more"):
        xd.usage("memory://b/", depth=-1)
