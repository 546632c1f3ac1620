"""How many numbers the patterns and ranges of a list cover, and which are too wide. Pure.

A typing error in a pattern blocks a whole operator: ``08*`` is every mobile number of Indonesia. The whole list is
judged each time, also what the current release has already, so that the answer depends on the list alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from blocklist_sdk.errors import Refused
from blocklist_sdk.numbers.reach import MAX_ENTRY_COVER, covered, range_text
from blocklist_sdk.numbers.text import to_ascii
from blocklist_sdk.publisher.next_release import ListRows
from blocklist_sdk.publisher.results import ListedRange

SPAN_MAX: Final = 10_000_000
"""Of a range that spans more, every number counts, assigned or not: numbering plans change, and a range that covers
nobody today may cover a city tomorrow."""

_SHOWN: Final = 3
"""How many patterns a message names."""


@dataclass(frozen=True, slots=True)
class Widths:
    """The patterns and ranges of a list.

    Attributes:
        widest: those that cover most numbers, the widest first; three at most.
        too_wide: how many cover more than they may.
    """

    widest: tuple[ListedRange, ...]
    too_wide: int


def measure(rows: ListRows, *, text: Callable[[int], str], max_cover: int) -> Widths:
    """Measure the patterns and ranges of a list.

    Args:
        rows: the rows of the list; a pattern may have become several.
        text: says how the pattern or range in a line is written.
        max_cover: how many numbers one pattern or range may cover.
    """
    wide = rows.take(np.flatnonzero(rows.last > rows.number))
    lines, pattern = np.unique(wide.line, return_inverse=True)
    reach = np.zeros(len(lines), np.int64)
    spans = wide.last - wide.number + 1
    np.add.at(reach, pattern, np.where(spans > SPAN_MAX, spans, covered(wide.number, wide.last)))
    order = np.argsort(-reach, kind="stable")[:_SHOWN]
    widest = tuple(
        ListedRange(line=at, pattern=_shown(text(at), wide.take(wide.line == at)), reach=count)
        for at, count in zip(lines[order].tolist(), reach[order].tolist(), strict=True)
    )
    return Widths(widest, int((reach > max_cover).sum()))


def refuse_too_wide(widths: Widths, *, max_cover: int) -> None:
    """Refuse a list with a pattern or range that covers more than it may.

    Raises:
        Refused: it has one.
    """
    if not widths.too_wide:
        return
    named = tuple(
        f"line {each.line}, {each.pattern}, covers {each.reach:,} numbers"
        for each in widths.widest
        if each.reach > max_cover
    )
    more = widths.too_wide - len(named)
    widest = widths.widest[0].reach
    remedy = (
        f"recipients refuse an entry of more than {MAX_ENTRY_COVER:,} until a person accepts it, so write fewer"
        if widest > MAX_ENTRY_COVER
        else f"if the list is right, allow so many: --max-cover {widest} (max_cover=)"
    )
    raise Refused(
        f"{'; '.join(named)}{f'; and {more:,} more are as wide' if more else ''}. One pattern or range may cover "
        f"{max_cover:,} numbers. Nothing was published. Correct the list; {remedy}.",
        reasons=named,
    )


def _shown(text: str, ranges: ListRows) -> str:
    """A pattern as it is written, since it is nobody's number."""
    written = to_ascii(text).strip()
    if re.fullmatch(r"[0-9+()/# _.*%\[\]-]*[#_.*%\]]", written):
        return written
    return range_text(int(ranges.number[0]), int(ranges.last[-1]))
