"""Generated rows for property tests. All numbers are generated, none is anybody's."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts

DAY_MS = 86_400_000


@dataclass(frozen=True, order=True)
class Row:
    """One row as plain values, for reference implementations that are slow and obvious."""

    number: int
    last: int
    entry: int
    level: str
    category: str
    issuer: str
    scope: str
    since: int
    until: int


@st.composite
def plain_rows(draw: st.DrawFn, *, max_size: int = 30, first_entry: int = 1) -> list[Row]:
    """Rows over a tiny universe of numbers, so that duplicates, overlaps and shared numbers are common."""
    size = draw(st.integers(0, max_size))
    entries = draw(st.permutations(range(first_entry, first_entry + size)))
    rows = []
    for entry in entries:
        number = draw(st.sampled_from([1_000_000, 1_000_001, 1_000_007, 62_811_000_000, 6_281_234_567_890]))
        span = draw(st.sampled_from([0, 0, 0, 1, 6, 100_000]))
        since = draw(st.integers(0, 4)) * DAY_MS
        rows.append(
            Row(
                number=number,
                last=number + span,
                entry=entry,
                level=draw(st.sampled_from(["block", "block", "advisory"])),
                category=draw(st.sampled_from(["fraud", "phishing", "übel"])),
                issuer=draw(st.sampled_from(["komdigi", "ojk"])),
                scope=draw(st.sampled_from(["sms", "sms+voice", "messaging"])),
                since=since,
                until=draw(st.sampled_from([FOREVER_MS, since + DAY_MS, since + 3 * DAY_MS])),
            )
        )
    return sorted(rows, key=lambda row: (row.number, row.last, row.entry))


def to_rows(plain: list[Row]) -> Rows:
    """Plain rows in the library's form."""

    def integers(name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([getattr(row, name) for row in plain], np.int64)

    def texts(name: str) -> Texts:
        values = [getattr(row, name) for row in plain]
        place = {value: i for i, value in enumerate(sorted(set(values), reverse=True))}
        return Texts.encode(np.array([place[value] for value in values], np.int32), list(place))

    number = integers("number")
    return Rows(
        number=number,
        last=number,
        entry=integers("entry"),
        level=texts("level"),
        category=texts("category"),
        issuer=texts("issuer"),
        scope=texts("scope"),
        since=integers("since"),
        until=integers("until"),
    ).with_last(integers("last"))


def to_plain(rows: Rows) -> list[Row]:
    """Back again."""
    columns = (
        rows.number.tolist(),
        rows.last.tolist(),
        rows.entry.tolist(),
        rows.level.tolist(),
        rows.category.tolist(),
        rows.issuer.tolist(),
        rows.scope.tolist(),
        rows.since.tolist(),
        rows.until.tolist(),
    )
    return [Row(*values) for values in zip(*columns, strict=True)]


@st.composite
def successive_rows(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """A release and the next: some entries gone, some changed, some new."""
    old = draw(plain_rows())
    new = []
    for row in old:
        fate = draw(st.sampled_from(["keep", "keep", "drop", "change"]))
        if fate == "keep":
            new.append(row)
        elif fate == "change":
            values = {name: getattr(row, name) for name in row.__dataclass_fields__}
            new.append(Row(**{**values, "category": "harassment", "until": row.since + 9 * DAY_MS}))
    new += draw(plain_rows(max_size=10, first_entry=1000))
    return old, sorted(new, key=lambda row: (row.number, row.last, row.entry))
