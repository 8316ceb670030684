"""The registry of faults: CONTRACT section 5, groups Source, Upload and Service, one row each, and the page made of it.

How a fault ends is not written here but recorded by the tests (``outcomes.json``); which tests are of a fault is read
from their marks. So the page says what was shown, and ``test_faults_matrix`` fails where a row shows nothing.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OUTCOMES = Path(__file__).with_name("outcomes.json")
CONTROL = "control: "  # begins the cells of negative controls
SEED = 20261128

Outcomes = Mapping[str, Mapping[str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row.

    Attributes:
        id: What tests are marked with.
        group: Of the contract.
        what: The fault in words.
        where: Where it is injected.
        does: What crossdock does about it, in words.
        see: Where the engine cannot meet the fault: the nearest one that it can. The test then shows that it cannot.
    """

    id: str
    group: str
    what: str
    where: str
    does: str
    see: str = ""


_SESSIONS = (
    "no resumable session is ever opened: small objects are one checked request, large ones XML parts under a temporary "
    "name and one conditional compose"
)
# id | what | where it is injected, or `see` another row | what crossdock does
_SOURCE = """
cut-fin | cut at byte 0, 1, middle, last by FIN | answer to a GET | goes on at the offset, or reads the range again, pinned to the version
cut-rst | cut at byte 0, 1, middle, last by RST | answer to a GET | as with FIN
no-content-length | no Content-Length | answer to a GET | GCS tells the size in another header; on S3 the answer is refused, asked for again, then loud
range-ignored | Range ignored (200 with the whole) | answer to a GET | S3: the bytes before the range are dropped; GCS: asked for again, then loud
wrong-content-range | wrong Content-Range | answer to a GET | compared with what was asked for: asked for again, or loud
source-bit-flip | bit flip | answer to a GET | found by the digest the source publishes; read again twice, then loud
stall-headers | stall before the headers | answer to a GET | given up after `no_progress_timeout_s` and asked for again
stall-body | stall within the body | answer to a GET | the same; what is missing is asked for
trickle | 1 KB/s trickle | answer to a GET | survives: some byte moves, so nothing is given up
slow-sink | sink slower than every timeout | request and answer of a part, of a put | survives: timeouts are on no progress, at both ends
overwritten | source overwritten between two parts | source, between two reads | loud; never half of each version
deleted | source deleted between two parts | source, between two reads | loud
gzip-stored | stored with Content-Encoding: gzip | source | the stored bytes are copied, the header kept
page-repeated | listing page repeated | answer to a LIST | noticed by order; asked for again after the last key
page-truncated | listing page truncated, length agrees | answer to a LIST | noticed; asked for again, then fatal before anything moves
page-failing | listing page failing | answer to a LIST | asked for again, then fatal before anything moves
page-looping | listing pages in circles | answer to a LIST | fatal before anything moves
"""
_UPLOAD = f"""
gcs-308 | GCS 308 without Range, shorter, longer | see upload-cut | {_SESSIONS}
session-gone | GCS resumable session gone | see upload-gone | {_SESSIONS}
lost-ack-final-chunk | lost acknowledgement of the final chunk | see lost-ack-complete | {_SESSIONS}
upload-gone | multipart upload gone at a part or at the completion | answer to part and complete | loud; an upload that is gone because it was completed counts as such only if the object's digest says so
upload-cut | request cut at byte 0, 1, middle, last by FIN and RST | request of a put or a part | sent again after looking whether it arrived
lost-ack-put | lost acknowledgement of a put | answer to a put | found at the destination by digest; not sent again
lost-ack-part | lost acknowledgement of a part | answer to a part | sent again; a part replaces itself
lost-ack-complete | lost acknowledgement of begin, complete, compose | those answers | found at the destination by digest; an upload whose name was never heard is left to the cleanup
twice | every write delivered twice | put, part, complete, compose | one object; a conditional create is loud although the object is there and right
upload-bit-flip | bit flip in a part or a put | request of a put or a part | refused by the digest sent along; sent again, then loud
lax-truncation | truncated part accepted by a lax server | request; digest headers hidden from the server | the server's ETag or digest is compared; a wrong object of one put is removed again
200-with-error | 200 with an error body | answer to complete | neither success nor failure: looked up, repeated, then loud with the upload left to the cleanup
409-on-complete | 409 on complete | answer to complete | S3: loud, the upload aborted; GCS: repeated
slow-complete | completion takes longer than the timeout | complete | waited for, or looked up; the late one does no harm
exists-equal | destination exists, equal | destination | skipped with evidence; a create without overwrite is refused
exists-different | destination exists, different | destination | kept or replaced as asked, told apart by digest
destination-changes | destination changes between plan and commit | destination, while the source is read | the conditional commit refuses; what somebody else wrote stays, and the run says so
abort-fails | abort fails | answer to abort | the first error stays the error, with a note; the upload is listed and goes with the cleanup
late-part | abort races a late part | part held back until after the abort | the late part finds no upload; nothing is left
ctrl-c | Ctrl-C during a part | SIGINT while a part is in flight | a copy aborts its upload; a run saves its state, and resuming finishes it
"""
_SERVICE = """
slowdown-while | SlowDown for a while | every second GET and PUT at both ends | waits as told; one request more for each that was refused
slowdown-forever | SlowDown for ever | every put or part | gives up after 8 attempts a request, loud, and says that it was retried
random-500 | 20 % random 500 | every operation at both ends, three seeds | one request more for each failure, no object lost
dns-gone | DNS gone | name that does not resolve | loud, naming `endpoint_url`
port-refused | port refused | proxy with its port closed | from the start: loud; within an object: the same upload goes on
black-hole | black hole | answers never come; a port that neither accepts nor refuses | given up after the timeout of no progress or of connecting, a bounded number of times
credentials-expire | credentials expire during the transfer | temporary credentials, refused tokens | renewed, and the same upload goes on; static ones: loud at once
clock-skew | clock skew | S3's answer to a signature (GCS signs nothing with our time) | loud at once, naming the clock
bad-tls | self-signed certificate | proxy that speaks TLS | refused at the first handshake, never retried, no option to look away; passes when named by `ca_bundle` (S3)
"""


def _rows(group: str, table: str) -> Iterator[Fault]:
    for line in table.strip().splitlines():
        name, what, where, does = line.split(" | ")
        see = where.removeprefix("see ") if where.startswith("see ") else ""
        yield Fault(id=name, group=group, what=what, where="" if see else where, does=does, see=see)


GROUPS = {"Source": _SOURCE, "Upload": _UPLOAD, "Service": _SERVICE}
FAULTS = tuple(row for group, table in GROUPS.items() for row in _rows(group, table))
VERDICTS = ("loses data", "leaves junk", "overwrites", "hangs", "holds")


def read_outcomes() -> dict[str, dict[str, list[str]]]:
    """The recorded endings: by fault and cell."""
    return json.loads(OUTCOMES.read_text(encoding="utf-8")) if OUTCOMES.is_file() else {}


def marked_tests() -> dict[str, list[str]]:
    """Which tests are marked with each id, as ``file::test``; read from the source, without importing it."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for fault in _marks(node):
                    found.setdefault(fault, []).append(f"{path.name}::{node.name}")
    return found


def _marks(function: ast.FunctionDef) -> list[str]:
    """The ids in ``pytest.mark.fault("id")``, also inside of parameters."""
    calls = [
        node for mark in function.decorator_list for node in ast.walk(mark) if isinstance(node, ast.Call)
    ]
    return [
        str(argument.value)
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]


def page(note: str) -> str:
    """``docs/reference/faults.md``."""
    outcomes, tests = read_outcomes(), marked_tests()
    lines = [note, "# Faults", "", *_INTRODUCTION]
    for group in GROUPS:
        lines += [
            "",
            f"## {group}",
            "",
            "| fault | injected into | what crossdock does | endings | tests | negative control |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            _row(fault, outcomes.get(fault.id, {}), tests.get(fault.id, []))
            for fault in FAULTS
            if fault.group == group
        ]
    lines += ["", "## Negative controls in full", "", *_CONTROLS, ""]
    lines += ["| fault | plain tool | verdict |", "|---|---|---|"]
    for fault in FAULTS:
        for cell, endings in sorted(outcomes.get(fault.id, {}).items()):
            if cell.startswith(CONTROL):
                lines.append(f"| `{fault.id}` | {cell.removeprefix(CONTROL)} | {' / '.join(endings)} |")
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    (
        "What was made to go wrong on purpose, and what came of it. Every fault is injected by an embedded server, or a proxy before one "
        "(`crossdock.testing`: `Rule`, `Faults`, `FaultProxy`), reproducibly "
        f"(bodies from seed {SEED}, dice of random faults from the seeds in the tests), and every test proves that its fault fired."
    ),
    "",
    (
        "Whatever the ending, each test of a copy checks: a watcher that reads the destination all the while sees nothing but whole versions of "
        "the source or what was there before; after success the object is exact, after an error the destination is as it was (or as somebody "
        "else left it); no upload, temporary object or thread is left, or only what the cleanup finds and removes; no payload is "
        "sent again beyond once for each fault (a flipped bit: the object, twice). *Endings* counts the cells of the test matrix: engine and route "
        "(S3 and GCS, each through obstore and over its own HTTP route), small and large (three parts) objects, a fault once or always. Tests of a whole run check instead that its numbers "
        "add up, that the exit code agrees and that every object is exact or untouched."
    ),
    "",
    "Anew: `pytest tests/faults --record-faults`, then `make reference`.",
)
_CONTROLS = (
    (
        "The same faults against `fsspec.generic.rsync` and plain `s3fs`/`gcsfs` copying with their default settings, to show that the suite "
        "catches what it claims to catch. *loses data*: success is reported and the destination holds something else, or nothing. *leaves junk*: an "
        "error, and the destination holds neither the old object nor the new. *overwrites*: success, over what somebody else wrote "
        "meanwhile. *hangs*: no end while the server is silent. *holds*: exact, or an error and the destination as before."
    ),
)


def _row(fault: Fault, cells: Mapping[str, list[str]], tests: list[str]) -> str:
    name = f"`{fault.id}`: {fault.what}"
    controls = [endings for cell, endings in cells.items() if cell.startswith(CONTROL)]
    endings = [endings for cell, endings in cells.items() if not cell.startswith(CONTROL)]
    shown = Counter(ending for each in endings for ending in each)
    counted = ", ".join(
        f"{_ending(ending)} ({count})" for ending, count in sorted(shown.items(), key=_by_count)
    )
    listed = "<br>".join(f"`{test}`" for test in dict.fromkeys(tests))
    where = fault.where or f"not met; see `{fault.see}`"
    return "| " + " | ".join((name, where, fault.does, counted, listed, _verdicts(controls))) + " |"


def _by_count(item: tuple[str, int]) -> tuple[bool, int, str]:
    return (item[0] != "exact", -item[1], item[0])


def _ending(ending: str) -> str:
    return f"`{ending}`" if ending[:1].isupper() else ending


def _verdicts(controls: Iterable[list[str]]) -> str:
    """How many of the plain tools came to each verdict; the worst first."""
    counted = Counter(ending.partition(":")[0] for endings in controls for ending in endings)
    return (
        ", ".join(f"{verdict} ({counted[verdict]})" for verdict in VERDICTS if counted[verdict]) or "not run"
    )
