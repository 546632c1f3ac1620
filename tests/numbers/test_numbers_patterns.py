"""Ranges and wildcard patterns."""

import random
import re
from itertools import pairwise, product

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
        ("+6281234567[0-9]", "ID", 62812345670, 62812345679),
        ("0812[3-5]######", "ID", 628123000000, 628125999999),
        ("62812[1-3]####", "ID", 6281210000, 6281239999),
        ("0812 345 [3-5]##", "ID", 62812345300, 62812345599),
        ("08123456789\uff3b1-2\uff3d", "ID", 628123456789 * 10 + 1, 628123456789 * 10 + 2),
        ("08123456****", "ID", 6281234560000, 6281234569999),
        ("0812-34**-****", "ID", 6281234000000, 6281234999999),
        ("08123**#", "ID", 628123000, 628123999),
        ("336123*****", "FR", 33612300000, 33612399999),
        ("336123%%%%%", "FR", 33612300000, 33612399999),
        ("336*", "FR", 33600000000, 33699999999),
        ("+62[0]812345678", None, 62812345678, 62812345678),
    ],
)
def test_one_range(text: str, region: str | None, first: int, last: int) -> None:
    assert ends(text, region) == [(first, last)]


def test_any_rest_is_one_range_for_each_length_of_the_country() -> None:
    assert ends("+3803224625%") == [(380322462500, 380322462599), (3803224625000, 3803224625999)]
    assert ends("+49800*")[0] == (498000, 498009), "from six digits, the shortest number there is"
    assert ends("+49800*")[-1] == (498000000000000, 498009999999999)
    assert ends("0800*", "DE") == ends("+49800%") == ends("49800*", "DE")
    assert ends("+49800[0-9]*") == ends("+49800#%") == ends("+49800*")
    assert ends("+49800##%") == [pair for pair in ends("+49800*") if pair[0] >= 10**6]


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("08[12]34567890", "ID", [(628134567890, 628134567890), (628234567890, 628234567890)]),
        ("0812345678[0-35]", "ID", [(628123456780, 628123456783), (628123456785, 628123456785)]),
        (
            "+6281#[35]###",
            None,
            [(62810_0000 + 10_000 * i + n, 62810_0000 + 10_000 * i + n + 999) for i in range(10) for n in (3000, 5000)],
        ),
        ("+6281[23][09]####", None, [(6281200000, 6281209999), (6281290000, 6281309999), (6281390000, 6281399999)]),
    ],
)
def test_a_class_is_one_digit_of_those_that_it_names(
    text: str, region: str | None, expected: list[tuple[int, int]]
) -> None:
    assert ends(text, region) == expected


def test_any_rest_may_follow_a_class() -> None:
    assert ends("+62812[345]*") == ends("+62812[3-5]%")
    assert ends("+62812[345]*")[:2] == [(628123000, 628125999), (6281230000, 6281259999)]
    assert ends("01802[1-5]%", "DE")[:2] == [(4918021, 4918025), (49180210, 49180259)]


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
        ("+62812345####ext5", "wildcard"),
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
        ("+62812345678[0-5]-+6281234567890", "one end"),
        ("0812[^1]####", "leaves digits out"),
        ("0812[5-3]####", "ends before"),
        ("0812[]####", "class without digits"),
        ("0812[a-z]####", "single digits"),
        ("0812[1,2]####", "single digits"),
        ("0812[-3]####", "single digits"),
        ("0812[33]####", "ascend"),
        ("0812[34####", "counterpart"),
        ("0812]34####", "counterpart"),
        ("0812[[3]]####", "counterpart"),
        ("0812.[34]5678901", "full stop beside a class"),
        ("0812[34]567....", "full stop beside a class"),
        ("0812[1-9][1-9][1-9][1-9]4567", "1,000 ranges"),
        ("081#####[13]#", "1,000 ranges"),
        ("0812[34]567890 ext. 5", "letters"),
        ("[021] 5551234", "area code"),
        ("[24] 5551234", "area code"),
        ("+62 [21] 5551234", "area code"),
        ("+62[24]5551234", "area code"),
        ("62[24]5551234", "area code"),
        ("+62 (0)[24]5551234", "area code"),
        ("021-[25]-51234", "area code"),
        ("0812-3456-7890 [12]", "area code"),
        ("0812|0813", "regular expression"),
        ("(0812|0813)12345", "regular expression"),
        ("{0812,0813}12345", "regular expression"),
        ("0812{4}", "regular expression"),
        (r"0812\d\d\d\d\d", "regular expression"),
        (r"\+62812\d{4}", "regular expression"),
        ("^0812345####$", "regular expression"),
        ("0812.*", "regular expression"),
        ("0812.+", "regular expression"),
        ("0812[0-9]+", "regular expression"),
        ("(0812)+", "regular expression"),
        ("081234567?", "regular expression"),
        ("(?:0812)345####", "regular expression"),
        ("08123*#", "very end"),
        ("0812*[345]", "very end"),
        ("08123**%", "several ways"),
        ("08123**#*", "several ways"),
        ("08123%*", "very end"),
        ("6#########", "several ways"),
        ("0#########", "several ways"),
        ("0812-3456-XXXX", "write # for each X"),
        ("0812xxxx7890", "write # for each X"),
        ("0812****7890", "end"),
        ("+336*****", "count them, or write one [*] for any rest"),
        ("+3361#####", "count them$"),
        ("+628123456" + "#" * 300, "longer than"),
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


NOTATION = "0123456789+#_.%*- ()[]{}|\\?^$"
TOKENS = st.sampled_from([*NOTATION, "+62", "0812", "3456", "78", "[12]", "[0-9]", "##", "**", "1", "5"])


@given(st.lists(TOKENS, max_size=12).map("".join), st.sampled_from([None, "ID", "FR", "IT", "US"]))
def test_a_text_is_the_numbers_that_it_shows_or_none(text: str, region: str | None) -> None:
    try:
        found = parse_pattern(text, region=region)
    except InvalidNumber:
        return
    assert not set(text) & set("{}|\\?^$")
    numbers = sum(one.last - one.first + 1 for one in found)
    if text.rstrip(" -*%") != text and numbers == 1:
        # Any rest, where the digits are as many as the country has.
        assert found[0].first == normalize(text.rstrip(" -*%").replace("[", "").replace("]", ""), region=region)
    elif set(text) & set("#_%*"):
        assert numbers > 1, "a wildcard is not one number"
    elif re.search(r"[0-9].*(\.\.|\+).*[0-9]", text):
        pass  # a range by its ends, which may be equal
    elif not text.rstrip(" -").endswith("."):
        pieces = re.split(r"(\[[^]]*\])", text)
        shown = product(*(re.findall(piece, "0123456789") if piece[:1] == "[" else [piece] for piece in pieces))
        expected = {normalize("".join(choice), region=region) for choice in shown}
        assert {number for one in found for number in range(one.first, one.last + 1)} == expected


@st.composite
def patterns(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and the regular expression that says the same of E.164 text."""
    head = draw(st.sampled_from(["+62812", "+4930", "+1212555", "+33162", "+39061"]))
    text = plain = head
    for _ in range(draw(st.integers(0, 5))):
        low, high = sorted((draw(st.integers(0, 9)), draw(st.integers(0, 9))))
        digit = str(draw(st.integers(0, 9)))
        several = "".join(sorted(draw(st.sets(st.sampled_from("0123456789"), min_size=1))))
        sign, meaning = draw(
            st.sampled_from([(digit, digit), (f"[{low}-{high}]", f"[{low}-{high}]"), (f"[{several}]",) * 2])
        )
        text, plain = text + sign, plain + meaning
    for _ in range(draw(st.integers(0, 3))):
        sign, meaning = draw(
            st.sampled_from([("#", "[0-9]"), ("_", "[0-9]"), ("##", "[0-9]{2}"), ("[2-57]", "[2-57]")])
        )
        text, plain = text + sign, plain + meaning
    sign, meaning = draw(
        st.sampled_from([("", ""), ("*", "[0-9]*"), ("%", "[0-9]*"), ("****", "[0-9]{4}"), ("%%", "[0-9]{2}")])
    )
    return text + sign, re.escape(head) + (plain + meaning).removeprefix(head)


@given(patterns(), st.randoms(use_true_random=False))
def test_a_number_is_in_a_range_exactly_if_it_fits_the_pattern(pattern: tuple[str, str], chance: random.Random) -> None:
    text, meaning = pattern
    try:
        found = parse_pattern(text)
    except InvalidNumber:
        return
    edges = [number for one in found for number in (one.first - 1, one.first, one.last, one.last + 1)]
    near = [chance.randint(one.first - 1, one.last + 1) for one in found]
    for number in chance.sample(edges, min(40, len(edges))) + near:
        assert any(one.first <= number <= one.last for one in found) == (
            re.fullmatch(meaning, f"+{number}") is not None and is_possible(number)
        )
    assert all(before.last < after.first for before, after in pairwise(found))


def is_possible(number: int) -> bool:
    try:
        return normalize(f"+{number}") == number
    except InvalidNumber:
        return False


@given(st.text(alphabet=NOTATION, max_size=20))
def test_any_text_gives_ordered_ranges_of_possible_size_or_none(text: str) -> None:
    try:
        found = parse_pattern(text, region="ID")
    except InvalidNumber:
        return
    assert found
    assert found == sorted(found)
    assert all(10**5 <= one.first <= one.last < 10**15 for one in found)
    assert all(len(str(one.first)) == len(str(one.last)) for one in found)


def test_patterns_follow_the_form() -> None:
    assert parse_pattern("85512345###", region="ID", form="international") == [NumberRange(85512345000, 85512345999)]
    assert parse_pattern("85512345###", region="ID", form="national") == [NumberRange(6285512345000, 6285512345999)]
    assert parse_pattern("0812-3456-78##", region="ID", form="international") == [
        NumberRange(6281234567800, 6281234567899)
    ]
    assert parse_pattern("85512345678", form="international") == [NumberRange(85512345678, 85512345678)]
    with pytest.raises(InvalidNumber, match=r"it can be read as \+85512345678 and \+6285512345678"):
        parse_pattern("85512345678", region="ID", form=None)
    assert parse_pattern("14155550100", region="ID", form=None) == [NumberRange(14155550100, 14155550100)]


@pytest.mark.parametrize("text", ["2026-##-##", "2026-11-##", "192.168.1.***", "50%", "12,5 %", "100%"])
@pytest.mark.parametrize("region", ["ID", "DE"])
def test_dates_and_percentages_are_not_patterns(text: str, region: str) -> None:
    with pytest.raises(InvalidNumber):
        parse_pattern(text, region=region)


@pytest.mark.parametrize("text", ["0812-3456-7000 - 0812-3456-7009", "+62 812-3456-7000 - 0812-3456-7009"])
def test_a_range_between_national_numbers(text: str) -> None:
    assert parse_pattern(text, region="ID") == [NumberRange(6281234567000, 6281234567009)]


@pytest.mark.parametrize(
    "text", ["0812-3456-7009 - 0812-3456-7000", "0812-3456-7000 - 0813", "0812 - 3456 - 7000 - 7009"]
)
def test_what_is_no_range_between_national_numbers(text: str) -> None:
    with pytest.raises(InvalidNumber):
        parse_pattern(text, region="ID")


def test_dashes_with_spaces_inside_a_number_stay_separators() -> None:
    assert parse_pattern("0812 - 3456 - 7000", region="ID") == [NumberRange(6281234567000, 6281234567000)]
