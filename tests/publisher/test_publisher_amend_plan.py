"""What is removed from the current list, against a reference that compares every row with every entry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import InvalidInput
from blocklist_sdk.publisher.amendments import ANY_ISSUER, without
from blocklist_sdk.publisher.next_release import ListRows
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.strategies import Row, to_plain, to_rows

NUMBERS = st.integers(6_281_200_000_000, 6_281_200_000_012)
NOW_MS = 1_700_000_000_000
SPANS = st.sampled_from([0, 0, 0, 1, 3, 9])
ISSUERS = ("ojk", "komdigi", "authority")


@st.composite
def current_lists(draw: st.DrawFn) -> list[Row]:
    rows = []
    for entry in range(1, draw(st.integers(1, 12)) + 1):
        number = draw(NUMBERS)
        rows.append(
            Row(
                number=number,
                last=number + draw(SPANS),
                entry=entry,
                level=draw(st.sampled_from(["block", "block", "advisory"])),
                category="fraud",
                issuer=draw(st.sampled_from(ISSUERS)),
                scope="sms",
                since=0,
                until=draw(st.sampled_from([FOREVER_MS, FOREVER_MS, NOW_MS, NOW_MS + 1000])),
            )
        )
    return sorted(rows)


Asked = tuple[int, int, str]

lists_to_remove = st.lists(
    st.tuples(NUMBERS, SPANS, st.sampled_from([*ISSUERS, "nobody", ANY_ISSUER])).map(
        lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    min_size=1,
    max_size=6,
    unique=True,
)


def list_rows(asked: list[Asked]) -> ListRows:
    number, last, issuer = zip(*asked, strict=True)
    values = sorted(set(issuer))
    return ListRows(
        line=np.arange(1, len(asked) + 1),
        number=np.array(number, np.int64),
        last=np.array(last, np.int64),
        issuer=Texts.encode(np.array([values.index(each) for each in issuer]), values),
    )


def is_meant(entry: Row, issuer: str) -> bool:
    return issuer in (ANY_ISSUER, entry.issuer)


def blocks(entry: Row) -> bool:
    return entry.level == "block" and entry.until > NOW_MS


def is_inside(entry: Row, number: int, last: int) -> bool:
    return entry.number <= number and last <= entry.last and (entry.number, entry.last) != (number, last)


@given(current_lists(), lists_to_remove)
def test_what_is_removed_is_what_a_comparison_of_each_with_each_finds(current: list[Row], asked: list[Asked]) -> None:
    found = {
        ask: [entry for entry in current if (entry.number, entry.last) == ask[:2] and is_meant(entry, ask[2])]
        for ask in asked
    }
    several = [ask for ask in asked if ask[2] == ANY_ISSUER and len({entry.issuer for entry in found[ask]}) > 1]
    inside = [
        ask for ask in asked if any(is_inside(e, *ask[:2]) and is_meant(e, ask[2]) and blocks(e) for e in current)
    ]
    advised = [
        ask
        for ask in asked
        if any(is_inside(e, *ask[:2]) and is_meant(e, ask[2]) and e.until > NOW_MS for e in current)
    ]
    try:
        amended = without(to_rows(current), list_rows(asked), now_ms=NOW_MS, last_entry=len(current), allow_empty=True)
    except InvalidInput as error:
        message = str(error)
        assert ("has entries of several issuers" in message) <= bool(several)
        assert ("lies inside a range" in message) <= bool(inside or advised)
        count = len(several) + len(inside)
        if count:
            assert message.count(": name the issuer") + message.count(": remove the range") == min(count, 3)
            assert (f"and {count - 3} more" in message) is (count > 3)
        else:
            assert not any(found.values())
            assert (
                "lies inside a range" if advised else "is not on the list" if len(asked) == 1 else "none of"
            ) in message
        return
    assert not several
    assert not inside
    gone = {entry.entry for entries in found.values() for entry in entries}
    assert to_plain(amended.following.rows) == [entry for entry in current if entry.entry not in gone]
    assert amended.not_listed == tuple(line for line, ask in enumerate(asked, 1) if not found[ask])


def test_many_numbers_among_many_ranges() -> None:
    """Fifty thousand of each, which compared each with each would be 2,500,000,000 comparisons."""
    count = 50_000
    first = 6_281_000_000_000 + 100 * np.arange(count)
    number = np.sort(np.concatenate((first, first + 50)))
    is_range = number % 100 == 0
    issuer = Texts.repeat("authority", len(number))
    current = Rows(
        number=number,
        last=number,
        entry=np.arange(1, len(number) + 1),
        level=Texts.repeat("block", len(number)),
        category=Texts.repeat("fraud", len(number)),
        issuer=issuer,
        scope=Texts.repeat("sms", len(number)),
        since=np.zeros(len(number), np.int64),
        until=np.full(len(number), FOREVER_MS),
    ).with_last(np.where(is_range, number + 40, number))
    numbers = ListRows(line=np.arange(1, count + 1), number=first + 50, last=first + 50)
    amended = without(current, numbers, now_ms=NOW_MS, last_entry=len(number))
    assert len(amended.following.rows) == count
    numbers = ListRows(line=np.arange(1, count + 1), number=first + 7, last=first + 7)
    with pytest.raises(InvalidInput, match=r"inside a range .*; and 49,997 more"):
        without(current, numbers, now_ms=NOW_MS, last_entry=len(number))
