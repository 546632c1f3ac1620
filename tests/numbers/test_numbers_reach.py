"""How many numbers ranges cover, against counting them one by one."""

import numpy as np
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.numbers import parse_pattern
from blocklist_sdk.numbers.reach import covered, reach
from blocklist_sdk.numbers.reference import country_code_of


def arrays(ranges: list[tuple[int, int]]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    first, last = zip(*ranges, strict=True) if ranges else ((), ())
    return np.array(first, np.int64), np.array(last, np.int64)


def counted(text: str, region: str | None = None) -> int:
    return int(covered(*arrays([(each.first, each.last) for each in parse_pattern(text, region=region)])).sum())


def is_assigned(number: int) -> bool:
    code = country_code_of(str(number))
    if code is None:
        return False
    national = str(number).removeprefix(str(code))
    if national.startswith("0"):
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{number}"))
    return phonenumbers.is_valid_number(phonenumbers.PhoneNumber(country_code=code, national_number=int(national)))


@pytest.mark.parametrize(
    ("text", "region", "numbers"),
    [
        ("08123456****", "ID", 10_000),
        ("336123*****", "FR", 100_000),
        ("33162######", "FR", 1_000_000),
        ("+3803224625%", None, 100),
        ("+1212*", None, 8_000_000),
        # Nine to twelve digits after the country code: 6281234567, and so on.
        ("+62812345*", None, 1_111_000),
        # Eight digits, and no Indonesian mobile number has so few.
        ("62812[1-3]####", "ID", 0),
        ("0812-3456-7890", "ID", 1),
    ],
)
def test_a_pattern_covers_the_assigned_numbers(text: str, region: str | None, numbers: int) -> None:
    assert counted(text, region) == numbers


def test_a_whole_mobile_plan_is_counted_at_once() -> None:
    assert 80 * 10**9 < counted("08*", "ID") < 100 * 10**9


PLACES = st.sampled_from(
    [62_812_345_670, 6_281_234_567, 621_500_000, 14_155_550_100, 12_121_000_000, 390_612_345, 33_612_345_600]
)


@given(st.lists(st.tuples(PLACES, st.integers(-300, 300), st.sampled_from([0, 0, 1, 7, 120])), max_size=8))
def test_the_numbers_of_a_list_are_counted_once(parts: list[tuple[int, int, int]]) -> None:
    ranges = sorted((place + shift, place + shift + span) for place, shift, span in parts)
    first, last = arrays(ranges)
    for (low, high), count in zip(ranges, covered(first, last).tolist(), strict=True):
        assert count == (1 if low == high else sum(map(is_assigned, range(low, high + 1))))
    inside = {number for low, high in ranges if low < high for number in range(low, high + 1)}
    singles = {low for low, high in ranges if low == high} - inside
    assert reach(first, last) == len(singles) + sum(map(is_assigned, inside))


def test_a_range_across_countries_counts_whole() -> None:
    assert covered(*arrays([(200_000_000_000_000, 999_000_000_000_000)])).tolist() == [799_000_000_000_001]
    assert covered(*arrays([(999_000_000, 999_000_009)])).tolist() == [10], "no country has this code"


def test_no_ranges_cover_nothing() -> None:
    assert reach(*arrays([])) == 0
