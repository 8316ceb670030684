"""What goes wrong in the soak: every fault that two servers can make by themselves, each with the same share.

A rule is named after its kind; a kind may have several rules, and its count is the sum. Kinds that only a few requests of
a run can meet have a ``sure`` rule besides, which stands first and always hits once, so that a small run shows them too.
"""

from __future__ import annotations

from typing import Any

__all__ = ["destination_rules", "source_rules"]

_RANGED = "^range: "
# A put to GCS is one body of a JSON envelope and the bytes: 1,003 bytes from the end is within the bytes of long ones.
_LONG = r"^content-length: \d{5,}$"
_SLOWER = "429 with Retry-After"
_LAX = ("content-md5", "x-amz-checksum-*", "x-goog-hash")
_ERROR = "<?xml version='1.0'?><Error><Code>InternalError</Code><Message>late</Message></Error>"
_CONTROL = ("upload.complete", "object.compose", "object.delete", "object.stat", "upload.abort")
# A large object has up to forty parts, and one flipped bit in any of them is found when the whole is read, so this is
# a share of objects, not of requests.
_PER_PART = 0.1


def _rule(name: str, operation: str, probability: float, **what: Any) -> dict[str, Any]:
    return {"name": name, "operation": operation, "probability": probability, **what}


def source_rules(share: float) -> list[dict[str, Any]]:
    """Faults of reads and listings, as the admin route takes them."""
    read, page = "object.get", "object.list"
    return [
        _rule("range ignored", read, 1.0, header=_RANGED, first=4, ignore_range=True),
        _rule("wrong Content-Range", read, 1.0, header=_RANGED, skip=4, first=4, answer_headers=_SHIFTED),
        _rule("range ignored", read, share, header=_RANGED, ignore_range=True),
        _rule("wrong Content-Range", read, share, header=_RANGED, answer_headers=_SHIFTED),
        _rule("read cut at byte 0, FIN", read, share, cut_at=0),
        _rule("read cut at byte 1, RST", read, share, cut_at=1, cut_with="rst"),
        _rule("read cut before the last byte, FIN", read, share, cut_at=-1),
        _rule("read without a length", read, share, no_length=True),
        _rule("read short, its length agrees", read, share, truncate_at=-1),
        _rule("bit flipped on the way here", read, share * _PER_PART, header=_RANGED, flip_bit=80_021),
        _rule("bit flipped on the way here", read, share * (1 - _PER_PART), flip_bit=80_021, key="^small/"),
        _rule("silence before the headers", read, share, black_hole=True),
        _rule("silence within the body", read, share, stall_at=1),
        _rule("connection reset", read, share, reset=True),
        _rule("500", read, share, status=500),
        _rule("503 SlowDown", read, share, status=503),
        _rule("slow answer", read, share, delay_s=0.3),
        _rule("page: 500", page, 1.0, skip=1, first=2, status=500),
        _rule("page: cut", page, 1.0, skip=3, first=3, cut_at=-40),
        _rule("page: 500", page, share, status=500),
        _rule("page: cut", page, share, cut_at=-40),
    ]


_SHIFTED = [["Content-Range", "bytes 7-5242886/11534339"]]


def destination_rules(share: float) -> list[dict[str, Any]]:
    """Faults of writes and listings, as the admin route takes them."""
    once = {"first": 2}  # twice, that is: the first may meet a reset before
    rules = [
        _rule("200 with an error inside", "upload.complete", 1.0, status=200, body=_ERROR) | once,
        _rule("409 on complete", "upload.complete", 1.0, status=409, skip=2) | once,
        _rule("complete: answer lost", "upload.complete", 1.0, lose_ack=True, skip=4) | once,
        _rule("begin: answer lost", "upload.begin", 1.0, lose_ack=True) | once,
        _rule("begin: delivered twice", "upload.begin", 1.0, twice=True, skip=2) | once,
        _rule("publish: answer lost", "object.compose", 1.0, lose_ack=True, first=2),
        _rule(
            "half a part, lax server",
            "part.put",
            1.0,
            truncate_upload_at=-7,
            hide_headers=_LAX,
            skip=1,
            every=2,
            first=10,  # any of them may meet another fault before
        ),
        _rule(_SLOWER, "object.insert", 1.0, status=429, retry_after_s=1, skip=20, every=5, first=15),
        _rule("200 with an error inside", "upload.complete", share, status=200, body=_ERROR),
        _rule("409 on complete", "upload.complete", share, status=409),
        _rule("complete: answer lost", "upload.complete", share, lose_ack=True),
        _rule("begin: answer lost", "upload.begin", share, lose_ack=True),
        _rule("begin: delivered twice", "upload.begin", share, twice=True),
        _rule("publish: answer lost", "object.compose", share, lose_ack=True),
        _rule(
            "half a part, lax server",
            "part.put",
            share * _PER_PART,
            truncate_upload_at=-7,
            hide_headers=_LAX,
        ),
        _rule("bit flipped on the way there", "part.put", share * _PER_PART, flip_upload_bit=80_021),
        _rule("bit flipped on the way there", "object.insert", share, flip_upload_bit=-8_021, header=_LONG),
        _rule("page: 500", "object.list", share, status=500),
        _rule("page: cut", "object.list", share, cut_at=-40),
    ]
    for write in ("object.insert", "part.put"):
        rules += [
            _rule("write: answer lost", write, share, lose_ack=True),
            _rule("write: delivered twice", write, share, twice=True),
            _rule("write cut at byte 1, FIN", write, share, cut_upload_at=1),
            _rule("write cut before the last byte, RST", write, share, cut_upload_at=-1, cut_with="rst"),
            _rule("write never answered", write, share, black_hole=True),
            _rule("answer to a write cut", write, share, cut_at=0),
            _rule("connection reset", write, share, reset=True),
            _rule("500", write, share, status=500),
            _rule("503 SlowDown", write, share, status=503),
            _rule(_SLOWER, write, share / 10, status=429, retry_after_s=1),
            _rule("slow answer", write, share, delay_s=0.3),
        ]
    for control in _CONTROL:
        rules += [
            _rule("control call: 500", control, share, status=500),
            _rule("control call: reset", control, share, reset=True),
            _rule("control call: answer lost", control, share, lose_ack=True),
        ]
    return rules
