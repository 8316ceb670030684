"""Negative controls: where plain fsspec copying loses data under the same faults, the suite has to be able to say so."""

from __future__ import annotations

import json

import pytest
from fault_matrix import CONTROL, FAULTS, VERDICTS, read_outcomes


@pytest.fixture(scope="module")
def endings(control_process):
    """What the controls came to, in a process of their own that ran beside the other tests."""
    out, err = control_process.communicate(timeout=110)
    assert control_process.returncode == 0, err
    return json.loads(out)


@pytest.mark.timeout(115)
def test_every_control_met_its_fault_and_ended_as_published(endings, request):
    found = {(fault, tool): ending for fault, tools in endings.items() for tool, ending in tools.items()}
    records, seen = (
        request.config.getoption("--record-faults", default=False),
        request.config.stash[request.getfixturevalue("seen_key")],
    )
    for (fault, tool), ending in found.items():
        assert ending.partition(":")[0] in VERDICTS, (fault, tool, ending)
        if records:
            seen.setdefault(fault, {})[f"{CONTROL}{tool}"] = {ending}
    recorded = {
        (fault, cell.removeprefix(CONTROL)): ended[0].partition(":")[0]
        for fault, cells in read_outcomes().items()
        for cell, ended in cells.items()
        if cell.startswith(CONTROL)
    }

    assert {fault.id for fault in FAULTS} >= {fault for fault, _ in found}
    if not records:
        assert recorded == {place: ending.partition(":")[0] for place, ending in found.items()}


# What is known of these libraries and versions, each with the fault that shows it.
KNOWN = [
    ("cut-fin", "fs.open, s3fs to gcsfs", "leaves junk", "a block that raises publishes what it has"),
    ("cut-fin", "fs.open, gcsfs to s3fs", "leaves junk", "a block that raises publishes what it has"),
    ("cut-fin", "rsync, gcsfs to s3fs", "loses data", "rsync reports files it never wrote"),
    (
        "overwritten",
        "get_file, put_file, s3fs to gcsfs",
        "loses data",
        "s3fs does not pin: half of each version",
    ),
    ("source-bit-flip", "get_file, put_file, gcsfs to s3fs", "loses data", "gcsfs verifies nothing it reads"),
    (
        "upload-bit-flip",
        "get_file, put_file, s3fs to gcsfs",
        "loses data",
        "gcsfs verifies nothing it writes",
    ),
    ("stall-headers", "fs.open, gcsfs to s3fs", "hangs", "gcsfs has no timeout"),
    (
        "gcs-308",
        "get_file, put_file, s3fs to gcsfs",
        "loses data",
        "gcsfs takes a 308 without Range for success",
    ),
    (
        "gzip-stored",
        "get_file, put_file, gcsfs to s3fs",
        "loses data",
        "aiohttp decompresses what is stored compressed",
    ),
    ("destination-changes", "fs.open, s3fs to gcsfs", "overwrites", "no condition on a write"),
    ("slowdown-forever", "rsync, s3fs to gcsfs", "loses data", "rsync reports files it never wrote"),
]


@pytest.mark.parametrize(("fault", "tool", "verdict", "why"), KNOWN)
def test_plain_copying_fails_where_it_is_known_to(endings, fault, tool, verdict, why):
    assert endings[fault][tool].partition(":")[0] == verdict, why
