"""The report as one HTML page: no script, nothing fetched from anywhere, every text of a run escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from crossdock.options import format_size

if TYPE_CHECKING:
    from crossdock.flows.ledger.summing import FailureGroup
    from crossdock.flows.reporting.report import Report

__all__ = ["page"]

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--ok:#2e7d32;--was:#1565c0;--bad:#c62828;--left:#9e9e9e}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-family:ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
.bar{display:flex;height:1rem;border-radius:.3rem;overflow:hidden;background:var(--line);margin:1rem 0}
.copied{background:var(--ok)}.skipped{background:var(--was)}.failed{background:var(--bad)}.pending{background:var(--left)}
.good{color:var(--ok)}.bad{color:var(--bad)}
"""
_WORDS = {
    "complete": "done: every object is at the destination",
    "incomplete": "not done",
    "interrupted": "interrupted: the rest can be resumed",
    "limited": "a limit stopped it: the rest can be resumed",
    "running": "still running, or its driver was killed",
    "planned": "planned: nothing was moved",
    "failed": "the run broke off: the rest can be resumed",
}


def page(report: Report) -> str:
    """One self-contained page. Order: the verdict, the counts, levels, what was moved, failures by class."""
    # A page opened from a bucket is a page of that bucket's origin: nothing in it may run or load, even if a text slipped through.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>crossdock run {_text(report.run_id)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(_sections(report))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _sections(report: Report) -> Iterator[str]:
    counts = report.counts
    words = _text(_WORDS.get(report.state, report.state))
    if report.state == "complete" and report.counts.skipped and not report.compared:
        words = "done: what was there already was left as it is, and not compared"
    yield f'<h1 class="{"good" if report.ok else "bad"}">{words}</h1>'
    yield f"<p><code>{_text(report.source)}</code> &rarr; <code>{_text(report.sink)}</code></p>"
    ends = report.counts_by_name
    yield _bar(ends, counts.planned)
    yield _table(
        ("planned", *ends),
        [(f"{counts.planned:,}", *(f"{each:,}" for each in ends.values()))],
        numbers=range(5),
    )
    if report.records_gone:
        yield (
            f'<p class="bad">Records of {report.records_gone:,} objects are gone from the ledger. Resume the run: '
            "what is at the destination is recognised, and nothing is written twice.</p>"
        )
    yield "<h2>Moved</h2>"
    yield _table(("", ""), list(_moved(report)), numbers=(1,))
    if report.levels:
        yield "<h2>Verification</h2>"
        shares = report.level_shares
        rows = [(level, f"{count:,}", f"{shares[level]:.1%}") for level, count in report.levels.items()]
        yield _table(("level", "objects", "share"), rows, numbers=(1, 2))
    if report.metadata_lost:
        yield "<h2>Metadata lost</h2>"
        yield _table(
            ("field", "objects"), [(name, f"{n:,}") for name, n in report.metadata_lost.items()], numbers=(1,)
        )
    if report.failures:
        yield "<h2>Failures</h2>"
        yield _table(
            ("reason", "objects", "resumable", "first keys", "message", "what to do"),
            [_failure(group) for group in report.failures],
            numbers=(1, 2),
            codes=(3,),
        )
    started = f"{report.started:%Y-%m-%d %H:%M:%S} UTC" if report.started else ""
    yield "<h2>Run</h2>"
    yield _table(
        ("", ""), [("id", report.run_id), ("started", started), ("record", report.run_dir)], codes=(1,)
    )


def _moved(report: Report) -> Iterator[tuple[str, str]]:
    counts = report.counts
    yield "bytes", f"{counts.copied_bytes:,} ({format_size(counts.copied_bytes)})"
    yield "bytes planned", f"{counts.planned_bytes:,} ({format_size(counts.planned_bytes)})"
    yield "seconds", f"{report.duration_s:,.1f}"
    for method, count in report.methods.items():
        yield f"objects by {method}", f"{count:,}"
    yield "requests tried again", f"{report.retries:,}"
    yield "bytes sent again", f"{report.resent_bytes:,}"
    yield "left out by filters", f"{report.excluded:,}"
    if report.made is not None:
        yield "rows made", f"{report.made.rows:,}"
        yield "rows read", f"{report.made.rows_read:,}"
        yield "outputs", f"{report.made.outputs:,}"
        yield "bytes of outputs", f"{report.made.bytes:,} ({format_size(report.made.bytes)})"


def _failure(group: FailureGroup) -> tuple[str, ...]:
    keys = "\n".join(group.keys) + ("\n..." if group.count > len(group.keys) else "")
    return group.reason, f"{group.count:,}", f"{group.retryable:,}", keys, group.message, group.hint


def _bar(ends: Mapping[str, int], planned: int) -> str:
    pieces = "".join(
        f'<div class="{name}" style="width:{100 * count / planned:.3f}%" title="{count:,} {name}"></div>'
        for name, count in ends.items()
        if count
    )
    return f'<div class="bar">{pieces}</div>'


def _table(
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    numbers: tuple[int, ...] | range = (),
    codes: tuple[int, ...] = (),
) -> str:
    def cell(tag: str, index: int, text: str) -> str:
        shown = f"<code>{_text(text)}</code>" if index in codes and tag == "td" else _text(text)
        return f'<{tag} class="n">{shown}</{tag}>' if index in numbers else f"<{tag}>{shown}</{tag}>"

    def line(tag: str, cells: tuple[str, ...]) -> str:
        return f"<tr>{''.join(cell(tag, index, text) for index, text in enumerate(cells))}</tr>"

    head = line("th", heads) if any(heads) else ""
    return f"<table>{head}{''.join(line('td', row) for row in rows)}</table>"


def _text(text: str) -> str:
    """Escaped for any place in the page; characters that do not print, and could turn text around, as escapes."""
    shown = "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )
    return escape(shown, quote=True)
