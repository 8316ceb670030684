"""Keys and metadata that break object movers: what the conformance suites put through every store.

Keys are opaque text to the port, and each of these has been bent, split, decoded or lost by some client or server.
Pure data: importing this loads nothing but the model.
"""

from __future__ import annotations

import unicodedata

from crossdock.model import Metadata

__all__ = ["A_FEW_HOSTILE_KEYS", "FULL_METADATA", "HOSTILE_KEYS", "HOSTILE_METADATA"]

_ACCENTED = "caf\u00e9 \u00fcber"

HOSTILE_KEYS: tuple[str, ...] = (
    # segments that paths would collapse
    "a//b",
    "//",
    "/a",
    "/",
    "a/",
    "a//",
    "marker/dir/",
    "a/./b",
    "a/../b",
    "./a",
    "../a",
    ".",
    "..",
    "...",
    ".hidden",
    "..data/file",
    # a key and what would be its directory
    "x",
    "x/y",
    "x/y/z",
    # pairs that must stay apart
    unicodedata.normalize("NFC", _ACCENTED),
    unicodedata.normalize("NFD", _ACCENTED),
    "case/Pair",
    "case/pair",
    "order.txt",
    "order/b",
    "order0",
    # what URLs, forms and shells read
    "a%2Fb",
    "a%252Fb",
    "100%",
    "%00",
    "a+b",
    "a#b?c",
    "?versionId=null&uploads",
    "a=b&c;d",
    "*[x]{y,z}",
    "$HOME/`id`/~user",
    "quote\"s and 's",
    "back\\slash",
    "pipe|colon:at@comma,",
    "-rf",
    # what XML and JSON read
    "<tag attr='1'>&amp;</tag>",
    "]]>",
    # spaces
    " starts with a space",
    "ends with a space ",
    "two  spaces",
    " ",
    "ends with a no-break space\u00a0",
    # control characters
    "tab\tinside",
    "new\nline",
    "carriage\rreturn",
    "bell\x07escape\x1bdelete\x7f",
    "next\u0085line\u2028separator",
    # beyond ASCII
    "emoji \U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ufeffbyte order mark",
    "\uffee sorts before an emoji in UTF-8, not in UTF-16",
    "\u0645\u0631\u062d\u0628\u0627/\u05e9\u05dc\u05d5\u05dd",
    "replacement\ufffd",
    # lengths
    "k" * 1024,
    "/".join(["d" * 200] * 5) + "/" + "e" * 19,
    "\u00e9" * 512,
    # names that systems keep for themselves
    "con/aux.txt",
    "manifest.json.part",
)
"""Keys of CONTRACT section 3: each arrives exactly, alone and together, or is refused before a byte moves."""

A_FEW_HOSTILE_KEYS: tuple[str, ...] = tuple(
    key
    for key in HOSTILE_KEYS
    if key
    in {
        *(
            "a//b",
            "/a",
            "a/",
            "a/./b",
            "a/../b",
            ".hidden",
            "x",
            "x/y",
            "case/Pair",
            "case/pair",
            "back\\slash",
        ),
        *("a%2Fb", "a%252Fb", "a+b", "a#b?c", "a=b&c;d", "*[x]{y,z}", "tab\tinside"),
        *(" starts with a space", "ends with a space ", "two  spaces"),
        *(unicodedata.normalize("NFC", _ACCENTED), unicodedata.normalize("NFD", _ACCENTED)),
    }
    or key.startswith("emoji")
    or len(key) == 1024
)
"""One of each kind, for matrices of many pairs."""

FULL_METADATA = Metadata(
    content_type="text/csv; charset=utf-8",
    cache_control="public, max-age=3600, no-transform",
    content_disposition='attachment; filename="report.csv"',
    content_encoding="identity",
    content_language="de-CH, fr",
    user={"origin": "warehouse-7", "reviewed-by": "A. Nobody", "empty-ish": "-"},
)
"""Every field set, with values no store has an excuse to change."""

HOSTILE_METADATA: dict[str, Metadata] = {
    "non-ASCII user value": Metadata(user={"city": "Z\u00fcrich", "mood": "\U0001f642"}),
    "double spaces": Metadata(user={"text": "two  spaces   three"}),
    "spaces at the ends": Metadata(user={"text": "  padded  "}),
    "empty user value": Metadata(user={"text": ""}),
    "upper-case user name": Metadata(user={"CamelCase": "kept?"}),
    "underscore and digits in a user name": Metadata(user={"a_b.c-1": "kept?"}),
    "percent escapes": Metadata(user={"text": "100%41%2F"}),
    "looks like an RFC 2047 word": Metadata(user={"text": "=?UTF-8?Q?caf=C3=A9?="}),
    "quotes, commas, semicolons": Metadata(user={"text": "a, \"b\"; c='d' \\e"}),
    "a line break": Metadata(user={"text": "a\r\nx-amz-acl: public-read"}),
    "a tab": Metadata(user={"text": "a\tb"}),
    "near a service's limit": Metadata(user={"text": "v" * 1_900}),
    "over every limit": Metadata(user={"text": "v" * 20_000}),
    "many names": Metadata(user={f"name-{number}": str(number) for number in range(60)}),
    "stored gzip that is not": Metadata(content_type="text/plain", content_encoding="gzip"),
    "two encodings": Metadata(content_encoding="br, gzip"),
    "non-ASCII disposition": Metadata(content_disposition='attachment; filename="\u00fcber.csv"'),
    "encoded disposition": Metadata(content_disposition="attachment; filename*=UTF-8''%C3%BCber%20x.csv"),
    "line break in a system field": Metadata(cache_control="no-cache\r\nx-injected: 1"),
    "odd content type": Metadata(content_type='application/x.\u00e9; q="a b"'),
}
"""Metadata by what is hostile about it: each is kept exactly, or the store refuses loudly and leaves nothing."""
