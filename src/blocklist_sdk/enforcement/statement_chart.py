"""The chart of a statement's days, with a table of the same figures. Its labels keep their size on narrow screens."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from blocklist_sdk.enforcement.statement import DayFigures
from blocklist_sdk.enforcement.statement_texts import Texts

_STEPS: Final = 5
"""The axis has at most so many steps."""

_LABELLED: Final = (1, 5, 10, 15, 20, 25, 30)
"""Days of the month with a label; all of them would not fit on a telephone."""


def day_chart(days: Sequence[DayFigures], texts: Texts) -> Iterator[str]:
    """The chart; nothing if nothing was done. Positions are shares of its width and height."""
    most = max((max(day.blocked, day.lifted) for day in days), default=0)
    if not most:
        return
    ticks = axis(most)
    kinds = [
        (kind, name, values)
        for kind, name, values in (
            ("block", texts.blocked_short, [day.blocked for day in days]),
            ("lift", texts.lifted_short, [day.lifted for day in days]),
        )
        if any(values)
    ]
    label = texts.chart.format(
        blocked=texts.number(sum(day.blocked for day in days)),
        lifted=texts.number(sum(day.lifted for day in days)),
        period=texts.span(days[0].day, days[-1].day),
        most=texts.number(most),
    )
    yield f"<h2>{escape(texts.by_day)}</h2>\n"
    yield "<figure>\n<figcaption>"
    for kind, name, _ in kinds:
        yield f'<span class="key" style="background: var(--{kind})"></span><span>{escape(name)}</span>'
    yield f'</figcaption>\n<svg role="img" aria-label="{escape(label)}">\n'
    for value in ticks:
        y = 100 * (1 - value / ticks[-1])
        yield f'<line class="line" x1="0" x2="100%" y1="{y:.2f}%" y2="{y:.2f}%"/>'
        yield f'<text x="-8" y="{y:.2f}%" dy="4" text-anchor="end">{texts.number(value)}</text>\n'
    room = 100 / len(days)
    wide = room * 0.76 / len(kinds)
    for place, day in enumerate(days):
        for side, (kind, name, values) in enumerate(kinds):
            if values[place]:
                tall = max(100 * values[place] / ticks[-1], 0.5)
                said = f"{texts.day_of(day.day)}: {texts.number(values[place])} {name}"
                yield (
                    f'<rect class="{kind}" x="{(place + 0.12) * room + side * wide:.2f}%" y="{100 - tall:.2f}%" '
                    f'width="{wide:.2f}%" height="{tall:.2f}%"><title>{escape(said)}</title></rect>\n'
                )
        if day.day.day in _LABELLED:
            yield f'<text x="{(place + 0.5) * room:.2f}%" y="100%" dy="16" text-anchor="middle">{day.day.day}</text>\n'
    yield f"</svg>\n<details><summary>{escape(texts.chart_table)}</summary>\n<table>\n<thead><tr>"
    yield "".join(f'<th scope="col">{escape(name)}</th>' for name in (texts.day, *(name for _, name, _ in kinds)))
    yield "</tr></thead>\n<tbody>\n"
    for place, day in enumerate(days):
        if day.blocked or day.lifted:
            cells = "".join(f"<td>{texts.number(values[place])}</td>" for _, _, values in kinds)
            yield f'<tr><th scope="row">{escape(texts.day_of(day.day))}</th>{cells}</tr>\n'
    yield "</tbody></table></details>\n</figure>\n"


def axis(most: int) -> list[int]:
    """The labels of an axis up to at least `most`: steps of 1, 2, 5, 10, 20, 50 …, of which the last is not too far.

    >>> axis(1), axis(7), axis(202)
    ([0, 1], [0, 2, 4, 6, 8], [0, 50, 100, 150, 200, 250])
    """
    step, power = 1, 1
    while step * _STEPS < most:
        step = next((factor * power for factor in (1, 2, 5, 10) if factor * power * _STEPS >= most), 10 * power)
        power *= 10
    return list(range(0, -(-most // step) * step + 1, step))
