"""A statement as one HTML page, for screen and paper: no scripts, fonts or images, and nothing is fetched."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from html import escape
from typing import Final

from blocklist_sdk.enforcement.statement import OperationFigures, Statement
from blocklist_sdk.texts import counted

_NAMES: Final = {"block": "Blocks", "change": "Changes", "unblock": "Unblocks"}

_LABELS: Final = (
    "Carried over from the month before",
    "Received",
    "Enforced; for unblocks, lifted",
    "Nothing to do",
    "Refused",
    "Set aside",
    "Overtaken",
    "Open",
)
"""Labels of what `_counts` returns, in its order."""

_STYLE: Final = """
:root { color-scheme: light dark; --rule: #8884; --soft: #8881; --block: #3b7dd8; --lift: #d8823b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; }
.about, figcaption, .note { opacity: .75; }
.alert { border-left: .25rem solid #c33; padding: .3rem .8rem; background: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
td { white-space: nowrap; }
td:first-child, th:first-child, .text { text-align: left; overflow-wrap: break-word; min-width: 8rem; }
figure { margin: 0; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.block { fill: var(--block); }
.lift { fill: var(--lift); }
.line { stroke: currentColor; stroke-opacity: .3; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .8em; }
@media print {
  :root { color-scheme: light; }
  body { margin: 0; max-width: none; font-size: 11pt; }
  h2 { break-after: avoid; }
  table, figure { break-inside: avoid; }
  .block, .lift, .key { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

_WIDTH, _HEIGHT = 900, 200
_LEFT, _BOTTOM, _TOP = 56, 22, 12
"""The chart's size and margins, in its own units."""


def statement_html(statement: Statement) -> str:
    """The statement as a page that needs no other file."""
    return "".join(_pieces(statement))


def _pieces(statement: Statement) -> Iterator[str]:
    title = f"Statement for {statement.month}: {statement.feed}"
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="about">Sink {escape(statement.sink)} · made {statement.made_at:%Y-%m-%d %H:%M} UTC · \
{"the whole month" if statement.is_whole else "the month so far"} · days are UTC</p>
"""
    yield from (f'<p class="alert">{escape(text)}</p>\n' for text in _alerts(statement))
    yield "<h2>Changes and their outcomes</h2>\n"
    counts = [_counts(figures) for figures in statement.operations.values()]
    yield from _table(
        ("", *(_NAMES[name] for name in statement.operations)),
        ((label, *cells) for label, *cells in zip(_LABELS, *counts, strict=True)),
    )
    yield (
        '<p class="note">A change is one number or one run of numbers. <em>Nothing to do</em>: the number is inactive, '
        "belongs to another operator, or has a new owner. <em>Set aside</em>: failed too often, so it is not tried any "
        "more. <em>Overtaken</em>: something else was asked for the number before this was done.</p>\n"
    )
    yield "<h2>How long it took</h2>\n"
    yield from _table(
        ("", "changes", "median", "95 % within"),
        (
            (label, f"{figures.time.count:,}", _time(figures.time.median_s), _time(figures.time.p95_s))
            for label, figures in (
                ("From publication to enforcement", statement.operations["block"]),
                ("From publication to a changed block", statement.operations["change"]),
                ("From publication, or the entry's end, to lifting", statement.operations["unblock"]),
            )
        ),
    )
    yield "<h2>By day</h2>\n"
    yield from _chart(statement)
    if statement.categories:
        yield "<h2>By category</h2>\n"
        yield from _table(
            ("category", "received", "blocked", "lifted", "refused", "set aside"),
            (
                (c.category, *(f"{n:,}" for n in (c.received, c.blocked, c.lifted, c.refused, c.set_aside)))
                for c in statement.categories
            ),
        )
    if statement.reasons:
        yield "<h2>Why changes were refused or set aside</h2>\n"
        yield from _table(
            ("reason", "change", "outcome", "count"),
            (
                (why.reason, why.operation, "set aside" if why.outcome == "failed" else why.outcome, f"{why.count:,}")
                for why in statement.reasons
            ),
        )
    yield "<h2>Receipts</h2>\n"
    yield (
        f"<p>The exchange has not acknowledged {counted(statement.receipts_waiting, 'batch', 'batches')} of the month "
        f"yet, and has refused {counted(statement.receipts_refused, 'receipt')}.</p>\n"
        f'<p class="note">Not counted above: {counted(statement.own_decisions, "change")} that only the recipient\'s '
        "own decisions asked for.</p>\n</body>\n</html>\n"
    )


def _alerts(statement: Statement) -> Iterator[str]:
    """Warnings that a reader must not miss."""
    if statement.is_shadow:
        yield "This sink is a shadow: it only recorded what would have been done. None of it has happened."
    unblock = statement.operations["unblock"]
    stuck = unblock.refused + unblock.set_aside
    if stuck:
        yield f"Not carried out: {counted(stuck, 'unblock')}. These numbers may still be blocked, and must not be."
    if unblock.open:
        yield f"Without a final outcome: {counted(unblock.open, 'unblock')}."


def _counts(of: OperationFigures) -> Iterator[str]:
    values = (of.carried, of.received, of.enforced, of.nothing_to_do, of.refused, of.set_aside, of.overtaken, of.open)
    return (f"{value:,}" for value in values)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield '<div class="scroll"><table>\n<thead><tr>'
    yield "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    yield "</tr></thead>\n<tbody>\n"
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n'
    yield "</tbody></table></div>\n"


def _chart(statement: Statement) -> Iterator[str]:
    most = max((max(day.blocked, day.lifted) for day in statement.days), default=0)
    top = _round_up(most)
    room, high = (_WIDTH - _LEFT) / max(len(statement.days), 1), _HEIGHT - _BOTTOM - _TOP
    total = sum(day.blocked for day in statement.days), sum(day.lifted for day in statement.days)
    label = f"{total[0]:,} blocked and {total[1]:,} lifted in {statement.month}, by day; at most {most:,} in one day"
    yield (
        '<figure><figcaption><span class="key" style="background: var(--block)"></span>blocked'
        '<span class="key" style="background: var(--lift)"></span>lifted</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
    )
    for value in (0, top // 2, top) if top > 1 else (0, top):
        y = _TOP + high * (1 - value / top)
        yield f'<line class="line" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>\n'
    for place, day in enumerate(statement.days):
        x, wide = _LEFT + place * room, min(room * 0.38, 24)
        middle = x + room / 2
        for kind, value, left in (("block", day.blocked, middle - wide), ("lift", day.lifted, middle)):
            if value:
                tall = max(high * value / top, 1)
                yield (
                    f'<rect class="{kind}" x="{left:.1f}" y="{_TOP + high - tall:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}"><title>{day.day}: {value:,} {"blocked" if kind == "block" else "lifted"}'
                    "</title></rect>"
                )
        yield f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{day.day.day}</text>\n'
    yield "</svg></figure>\n"


def _round_up(value: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50 …, at least 1.

    >>> [_round_up(value) for value in (0, 3, 20, 21, 700)]
    [1, 5, 20, 50, 1000]
    """
    step = 1
    while True:
        for times in (1, 2, 5):
            if times * step >= value:
                return times * step
        step *= 10


def _time(seconds: float | None) -> str:
    """A duration, for people to read.

    >>> _time(42.4), _time(3725), _time(100_000), _time(None)
    ('42 s', '1 h 2 min', '1 d 3 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    span = timedelta(seconds=round(seconds))
    hours, minutes = divmod(span.seconds // 60, 60)
    if span.days:
        return f"{span.days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {span.seconds % 60} s"
