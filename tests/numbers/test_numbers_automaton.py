"""The automaton gives the same answers as ``re`` for all strings at once."""

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.numbers.automaton import DigitPattern, Fate, PrefixPattern

PATTERNS = [
    *(r"\d{3}", r"8[1-35-9]\d{0,2}", r"(?:[1-36]|8\d{2})\d", r"00[89]", r"0|80?", r"1(?:2|[3-5]{2})?6{1,2}"),
    *(r"(11|2(?:2|3))?15", r"[4-689]", r"1{0}2", r"0?(?:(1[12]|2)15)?"),
]

PREFIXES = [("0|180020", False), ("([457]\\d{2})$|1", True), ("0?(?:(11|2[13])15)?", True), ("0(1\\d)?", False)]


def strings(lead: str, length: int) -> list[str]:
    rest = length - len(lead)
    return [lead + f"{number:0{rest}}"[:rest] for number in range(10**rest)] if rest else [lead]


@given(st.sampled_from(PATTERNS), st.text("0123456789", max_size=4), st.integers(0, 4))
def test_fate_is_what_becomes_of_every_string(pattern: str, lead: str, rest: int) -> None:
    matched = {bool(re.fullmatch(pattern, string)) for string in strings(lead, len(lead) + rest)}
    expected = Fate.SOME if len(matched) == 2 else Fate.ALL if matched == {True} else Fate.NONE
    assert DigitPattern(pattern).fate(lead, len(lead) + rest) is expected


@given(st.sampled_from([*PATTERNS, "(?=1)2"]), st.text("0123456789", max_size=6))
def test_the_table_matches_what_re_matches(pattern: str, text: str) -> None:
    steps, is_final = DigitPattern(pattern).table()
    state = 0
    for digit in text:
        state = steps[state][int(digit)]
    assert is_final[state] == (pattern == "(?=1)2" or re.fullmatch(pattern, text) is not None)


@given(st.sampled_from(PREFIXES), st.text("0123456789", min_size=1, max_size=4), st.integers(0, 3))
def test_a_prefix_takes_as_many_digits_of_every_string(prefix: tuple[str, bool], lead: str, rest: int) -> None:
    pattern, rewrites = prefix
    taken = PrefixPattern(pattern, rewrites=rewrites).length_in(lead, len(lead) + rest)
    if taken is None:
        return
    for string in strings(lead, len(lead) + rest):
        found = re.match(pattern, string)
        assert (found.end() if found else 0) == taken
        assert not (rewrites and found and found.groups()[-1] is not None)


@pytest.mark.parametrize("pattern", [None, ""])
def test_an_absent_pattern_matches_nothing(pattern: str | None) -> None:
    assert DigitPattern(pattern).fate("1", 3) is Fate.NONE
    assert PrefixPattern(pattern).length_in("123", 5) == 0


@pytest.mark.parametrize("pattern", ["a", r"\w", "1+", "1*", "(?=1)2", "[^1]", "(1", "1)", "[1", ".", "1{2", "1{,2}"])
def test_what_it_cannot_read_it_leaves_open(pattern: str) -> None:
    assert not DigitPattern(pattern).is_read
    assert DigitPattern(pattern).fate("1", 3) is Fate.SOME


def test_a_prefix_that_it_cannot_read_is_left_open() -> None:
    assert PrefixPattern("(?=1)12").length_in("123", 5) is None


def test_every_pattern_of_every_plan_is_read() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        assert metadata is not None
        kinds = [kind for kind in vars(metadata).values() if isinstance(kind, phonenumbers.PhoneNumberDesc)]
        patterns = [kind.national_number_pattern for kind in kinds]
        for pattern in (*patterns, metadata.national_prefix_for_parsing, metadata.international_prefix):
            assert DigitPattern(pattern).is_read, (region, pattern)
