"""Ranges and wildcard patterns."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import NumberRange, normalize, parse_pattern


def ends(text: str, region: str | None = None) -> list[tuple[int, int]]:
    return [(found.first, found.last) for found in parse_pattern(text, region=region)]


@pytest.mark.parametrize(
    ("text", "region", "first", "last"),
    [
        ("33162######", "FR", 33162000000, 33162999999),
        ("+33162######", None, 33162000000, 33162999999),
        ("+33162......", None, 33162000000, 33162999999),
        ("+3316200____", None, 33162000000, 33162009999),
        ("+33 1 62 ## ## ##", None, 33162000000, 33162999999),
        ("01 62 ## ## ##", "FR", 33162000000, 33162999999),
        ("+3316200000.", None, 33162000000, 33162000009),
        ("0812345####", "ID", 628123450000, 628123459999),
        ("62811811###", "ID", 62811811000, 62811811999),
        ("+62 (0)812-345-#####", None, 6281234500000, 6281234599999),
        ("\uff0b33162\uff03\uff03\uff03\uff03\uff03\uff03", None, 33162000000, 33162999999),
        ("+6281200000000-+6281200009999", None, 6281200000000, 6281200009999),
        ("+62 812-0000-0000 - +62 812-0000-9999", None, 6281200000000, 6281200009999),
        ("+6281200000000..+6281200009999", None, 6281200000000, 6281200009999),
        ("6281200000000-6281200009999", "ID", 6281200000000, 6281200009999),
        ("081200000000..081200009999", "ID", 6281200000000, 6281200009999),
    ],
)
def test_one_range(text: str, region: str | None, first: int, last: int) -> None:
    assert ends(text, region) == [(first, last)]


def test_any_rest_is_one_range_for_each_length() -> None:
    assert ends("+3803224625%") == [
        (3803224625, 3803224625),
        (38032246250, 38032246259),
        (380322462500, 380322462599),
        (3803224625000, 3803224625999),
        (38032246250000, 38032246259999),
        (380322462500000, 380322462599999),
    ]
    assert ends("+49800*")[0] == (498000, 498009), "from six digits, the shortest number there is"
    assert ends("+49800*")[-1] == (498000000000000, 498009999999999)
    assert ends("0800*", "DE") == ends("+49800%") == ends("49800*", "DE")
    assert ends("+49800##%") == [pair for pair in ends("+49800*") if pair[0] >= 10**6]


@pytest.mark.parametrize("text", ["0812-3456-7890", "0812.3456.7890", "+6281234567890", "0812-3456-7890 ext. 12"])
def test_a_text_without_wildcards_is_a_number(text: str) -> None:
    assert parse_pattern(text, region="ID") == [NumberRange(6281234567890, 6281234567890)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no digit"),
        ("GoPay", "letters"),
        ("*****", "end"),
        ("####", "end"),
        ("+####", "end"),
        ("+33*162", "end"),
        ("+33#62000000", "end"),
        ("#6281234567", "end"),
        ("+62812345####ext5", "end"),
        ("+49800%#", "end"),
        ("+33#########", "whole country"),
        ("+39*", "whole country"),
        ("+4*", "whole country"),
        ("+336200######", "digits for its wildcards"),
        ("+999123####", "digits for its wildcards"),
        ("+999123%", "no number begins"),
        ("081234567.", "full stop"),
        ("+6281200009999-+6281200000000", "ends before"),
        ("+62812345678-+6281234567", "same"),
        ("+62812345678-+63812345678", "same"),
        ("+6281234567890-+62", "one end"),
        ("+628123456####-+628123457####", "one end"),
    ],
)
def test_invalid_patterns(text: str, reason: str) -> None:
    with pytest.raises(InvalidNumber, match=reason) as caught:
        parse_pattern(text, region="ID")
    assert caught.value.text == text


def test_an_open_pattern_with_two_readings_is_refused() -> None:
    with pytest.raises(InvalidNumber, match="several ways"):
        parse_pattern("3912%", region="IT")


def test_national_patterns_need_a_region() -> None:
    with pytest.raises(InvalidNumber):
        parse_pattern("0812345####", region=None)
    with pytest.raises(InvalidInput, match="unknown region"):
        parse_pattern("0812345####", region="UK")
    with pytest.raises(InvalidInput, match="text"):
        parse_pattern(33162, region="FR")  # type: ignore[arg-type]


def test_a_range_knows_its_order() -> None:
    with pytest.raises(InvalidInput, match="before it begins"):
        NumberRange(2, 1)
    assert sorted([NumberRange(3, 4), NumberRange(1, 9)]) == [NumberRange(1, 9), NumberRange(3, 4)]


@given(
    st.sampled_from(["+62812", "+4930", "+1212555", "+33162"]),
    st.integers(1, 8),
    st.sampled_from("#_."),
    st.integers(0, 2**32),
)
def test_a_number_is_in_the_range_when_its_digits_fit_the_pattern(head: str, some: int, sign: str, seed: int) -> None:
    try:
        [found] = parse_pattern(head + sign * some)
    except InvalidNumber:
        return
    rest = "".join(random.Random(seed).choices("0123456789", k=some))
    assert found.first <= normalize(head + rest) <= found.last
    assert found.last - found.first == 10**some - 1


@given(st.text(alphabet="0123456789+#_.%*- ()", max_size=20))
def test_any_text_gives_ordered_ranges_of_possible_size_or_none(text: str) -> None:
    try:
        found = parse_pattern(text, region="ID")
    except InvalidNumber:
        return
    assert found
    assert found == sorted(found)
    assert all(10**5 <= one.first <= one.last < 10**15 for one in found)
    assert all(len(str(one.first)) == len(str(one.last)) for one in found)
