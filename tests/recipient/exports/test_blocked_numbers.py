"""The numbers that block at a moment, found in windows, against going through entries one by one."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.recipient.exports.blocked import Blocked
from blocklist_sdk.recipient.exports.prefixes import fewest_prefixes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override, Scope
from blocklist_sdk.release.layers import LayeredRows, Overlay
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.release.spans import Spans
from support.reference import Decided, Listing, answer
from support.strategies import DAY_MS, Row, plain_rows, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCOPES: list[Scope | None] = [None, "sms", "voice", "data"]

NEAR = st.sampled_from([999_999, 1_000_000, 1_000_001, 1_000_004, 1_000_050, 62_811_000_000])


@st.composite
def overrides(draw: st.DrawFn) -> list[Override]:
    """Decisions on single numbers, one each, and on ranges."""
    found: dict[tuple[int, int | None], Override] = {}
    for order in range(draw(st.integers(0, 4))):
        number = draw(NEAR)
        last = draw(st.sampled_from([None, None, number + 2, number + 70_000]))
        found[number, last] = Override(
            number=number,
            decision=draw(st.sampled_from(["allow", "block"])),
            reason="generated",
            author="test",
            created=EPOCH + timedelta(seconds=order),
            until=draw(st.sampled_from([None, EPOCH + timedelta(days=2)])),
            last=last,
        )
    return list(found.values())


def listing(row: Row) -> Listing:
    until = None if row.until == FOREVER_MS else EPOCH + timedelta(milliseconds=row.until)
    since = EPOCH + timedelta(milliseconds=row.since)
    return Listing(row.number, row.last, row.level, row.scope, since, until, row.entry)


def blocks(plain: list[Row], rules: Rules, number: int, at: datetime, scope: Scope | None) -> bool:
    rule = rules.of(number, at)
    override = None if rule is None or rule[1] is None else Decided(rule[1].decision, rule[1].until)
    is_protected = number in rules.protected
    listings = map(listing, plain)
    return answer(listings, number, at, scope=scope, override=override, is_protected=is_protected)[0]


def layered(plain: list[Row], drop: int) -> LayeredRows:
    """The rows, of which some came with deltas."""
    base, later = [row for row in plain if row.entry % 3], [row for row in plain if not row.entry % 3]
    gone = Row(1_000_003, 1_000_009, 10_000 + drop, "block", "fraud", "ojk", "sms", 0, FOREVER_MS)
    base = sorted([*base, gone], key=lambda row: (row.number, row.last, row.entry))
    dropped = np.array([base.index(gone)], np.intp)
    layers = LayeredRows.of(to_rows(base))
    return LayeredRows(layers.base, Overlay(dropped, to_rows(later)), layers.facts)


@given(
    plain_rows(max_size=12),
    overrides(),
    st.sets(NEAR, max_size=2),
    st.integers(0, 10),
    st.sampled_from(SCOPES),
    st.sampled_from([1, 2, 5, 1 << 18]),
)
def test_what_blocks_is_what_a_question_answers(
    plain: list[Row],
    decisions: list[Override],
    protected: set[int],
    half_days: int,
    scope: Scope | None,
    window_rows: int,
) -> None:
    at = EPOCH + timedelta(milliseconds=half_days * DAY_MS // 2)
    rules = Rules.made_of(frozenset(protected), decisions)
    blocked = Blocked(layered(plain, half_days), rules, at, EPOCH, scope, window_rows)
    parts = list(blocked.spans())
    first, last = (
        np.concatenate([getattr(part, name) for part in parts] or [np.empty(0, np.int64)]) for name in ("first", "last")
    )
    assert (last >= first).all()
    assert (first[1:] > last[:-1] + 1).all(), "no span touches another"
    ends = {edge for row in plain for edge in (row.number, row.last + 1)} | {
        edge for each in decisions for edge in (each.number, (each.number if each.last is None else each.last) + 1)
    }
    points = sorted(ends | protected | {number + 1 for number in protected} | {1})
    expected = 0
    for point, following in zip(points, [*points[1:], points[-1] + 1], strict=True):
        does = blocks(plain, rules, point, at, scope)
        expected += (following - point) * does
        for number in {point, following - 1}:
            place = int(np.searchsorted(first, number, "right")) - 1
            assert bool(place >= 0 and last[place] >= number) is does, number
    counts = blocked.counts()
    assert counts.numbers == expected == sum(part.count() for part in parts)
    scoped = [row for row in plain if scope is None or scope in row.scope.split("+")]
    in_force = [row for row in scoped if row.since <= half_days * DAY_MS // 2 < row.until]
    blocking = [row for row in in_force if row.level == "block"]
    assert counts.ranges == sum(row.last > row.number for row in blocking)
    assert counts.ending == sum(row.until != FOREVER_MS for row in blocking)
    assert counts.some_scopes == len(blocking)  # none of them has all
    assert counts.advisories == len(in_force) - len(blocking)
    own = {row.number for row in blocking if row.last == row.number}
    own |= {each.number for each in decisions if each.last is None and each.decision == "block" and each.in_force(at)}
    named = sum(blocks(plain, rules, number, at, scope) for number in own)
    assert counts.range_numbers == expected - named


@given(plain_rows(max_size=8), overrides(), st.integers(0, 6))
def test_nothing_changes_before_the_moment_that_is_said(
    plain: list[Row], decisions: list[Override], half_days: int
) -> None:
    """An export that is written again by then is never out of date."""
    at = EPOCH + timedelta(milliseconds=half_days * DAY_MS // 2)
    rules = Rules.made_of(frozenset(), decisions)

    def found(moment: datetime) -> list[tuple[list[int], list[int]]]:
        return [
            (part.first.tolist(), part.last.tolist())
            for part in Blocked(layered(plain, 0), rules, moment, EPOCH).spans()
        ]

    changes_ms = Blocked(layered(plain, 0), rules, at, EPOCH).counts().changes_ms
    later = min(changes_ms, 30 * DAY_MS) - 1
    if later > half_days * DAY_MS // 2:
        assert found(EPOCH + timedelta(milliseconds=later)) == found(at)


def spans_of(runs: list[tuple[int, int]]) -> Spans:
    first = np.array([start for start, _ in runs], np.int64)
    return Spans.of(first, np.array([start + more for start, more in runs], np.int64)) if runs else Spans.none()


def fewest(numbers: set[int], prefix: str, digits: int) -> int:
    """How many prefixes it takes, by trying each: one where all numbers under it are meant, else those of ten more."""
    under = {number for number in numbers if len(str(number)) == digits and str(number).startswith(prefix)}
    if not under:
        return 0
    if prefix and len(under) == 10 ** (digits - len(prefix)):
        return 1
    return sum(fewest(under, f"{prefix}{digit}", digits) for digit in range(10))


@given(st.lists(st.tuples(st.integers(1, 12_000), st.sampled_from([0, 0, 1, 9, 10, 99, 123, 2_000])), max_size=8))
def test_a_number_has_a_prefix_of_its_length_exactly_if_it_is_meant(runs: list[tuple[int, int]]) -> None:
    spans = spans_of(runs)
    prefix, digits = fewest_prefixes(spans)
    table = list(zip(map(str, prefix.tolist()), digits.tolist(), strict=True))
    meant = set(spans.numbers().tolist())
    matched = [
        number
        for text, length in table
        for number in range(int(text) * 10 ** (length - len(text)), (int(text) + 1) * 10 ** (length - len(text)))
    ]
    assert matched == sorted(meant), "each number has one prefix, and they are in the order of the numbers"
    assert len(table) == sum(fewest(meant, "", length) for length in range(1, 6))
