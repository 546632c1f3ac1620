"""What counts as a number, and what does not."""

import subprocess
import sys
import threading

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import check_e164, format_e164, normalize, normalize_column, normalizer
from blocklist_sdk.numbers.reference import number_of


def refused(text: str, region: str | None = "ID", *, strict: bool = False) -> str:
    """The reason, which the fast way and the reference must share."""
    with pytest.raises(InvalidNumber) as reference:
        number_of(text, region=region, strict=strict)
    with pytest.raises(InvalidNumber) as fast:
        normalize(text, region=region, strict=strict)
    assert fast.value.reason == reference.value.reason
    assert fast.value.text == text
    return fast.value.reason


def accepted(text: str, region: str | None = "ID", *, strict: bool = False) -> int:
    number = number_of(text, region=region, strict=strict)
    for _ in range(3):  # the first text of a shape is read by the reference, later ones by what was learnt
        assert normalize(text, region=region, strict=strict) == number
    return number


@pytest.mark.parametrize(
    "text",
    [
        *("+6281234567890", "081234567890", "6281234567890", "81234567890", "0812-3456-7890", "0812 3456 7890"),
        *("+62 812 3456 7890", "(0812) 3456.7890", "(0812)/3456-7890", "(+62) 812-3456-7890", "+62(0)812-3456-7890"),
        *(
            "+62 (0) 812 3456 7890",
            "62 0812 3456 7890",
            "tel:+62-812-3456-7890",
            "TEL:081234567890",
            " 081234567890\r\n",
        ),
        *("0812-3456-7890 ext. 12", "+6281234567890;ext=7", "081234567890 x12", "081234567890 extensión 3"),
        *("tel:812-3456-7890;phone-context=+62", "tel:0812-3456-7890;phone-context=+62;ext=1"),
    ],
)
def test_ways_to_write_one_number(text: str) -> None:
    assert accepted(text) == 6281234567890


@pytest.mark.parametrize(
    "text",
    [
        "\uff10\uff18\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10",  # fullwidth
        "\u0660\u0668\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660",  # Arabic-Indic
        "\u06f0\u06f8\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9\u06f0",  # Persian
        "\u0966\u096e\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e\u096f\u0966",  # Devanagari
        "\u202a+62\u00a0812\u202f3456\u20077890\u202c",  # embedding marks, three spaces that do not break
        "\u200e0812\u20113456\u20137890\u200f",  # direction marks, dashes
        "\uff0b62\u3000812\uff0d3456\uff0d7890",
        "\ufeff081234567890",
        "08\u00ad12\u200b3456\u20607890",
    ],
)
def test_digits_and_marks_of_other_scripts(text: str) -> None:
    assert accepted(text) == 6281234567890


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("62811811234", 62811811234),
        ("62838123456", 62838123456),
        ("62211234567", 62211234567),
        ("6221234567", 626221234567),  # 21234567 is not a valid Indonesian number, as in the reference
    ],
)
def test_country_code_without_plus(text: str, number: int) -> None:
    """phonenumbers reads 62811811234 as +6262811811234, which is valid as well."""
    assert accepted(text) == number


def test_country_code_without_plus_where_national_numbers_have_no_prefix() -> None:
    assert accepted("3906123456", "IT") == 393906123456  # a mobile number, as Italians write it
    assert accepted("390612345678", "IT") == 390612345678


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("006281234567890", "ID", 6281234567890),
        ("0016281234567890", "ID", 6281234567890),
        ("007 62 812 3456 7890", "ID", 6281234567890),
        ("0086281234567890", "ID", 6281234567890),
        ("00962811811234", "ID", 62811811234),
        ("0017 62 812 3456 7890", "ID", 6281234567890),
        ("01017 62 812 3456 7890", "ID", 6281234567890),
        ("00442079460958", "ID", 442079460958),
        ("00 62 812 3456 7890", "US", 6281234567890),
        ("011 62 812 3456 7890", "US", 6281234567890),
        ("0011 62 812 3456 7890", "AU", 6281234567890),
        ("00 62 812 3456 7890", "SG", 6281234567890),
        ("001 62 812 3456 7890", "SG", 6281234567890),
        ("00 49 30 123456", "DE", 4930123456),
        ("810 62 812 3456 7890", "RU", 6281234567890),
    ],
)
def test_international_prefixes_are_stripped(text: str, region: str, number: int) -> None:
    assert accepted(text, region) == number


@pytest.mark.parametrize("text", ["00012345678", "0000000000", "00", "007 62 21 555123"])
def test_an_unclear_text_after_a_double_zero_is_not_a_number(text: str) -> None:
    assert "international prefix" in refused(text)


def test_free_phone_numbers_that_begin_with_double_zero_are_none() -> None:
    assert "inside its country" in refused("001-803-016-123")


@given(st.text("0123456789", min_size=1, max_size=16), st.sampled_from(["ID", "GB", "IN", "DE", "US", "FR"]))
def test_double_zero_never_stays_in_a_number(rest: str, region: str) -> None:
    code = {"ID": "62", "GB": "44", "IN": "91", "DE": "49", "US": "1", "FR": "33"}[region]
    try:
        number = normalize("00" + rest, region=region)
    except InvalidNumber:
        return
    assert not str(number).startswith(code + "00")
    assert rest.endswith(str(number)[4:])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+62812345678*", "wildcard"),
        ("+3316200____", "wildcard"),
        ("+3803224625%", "wildcard"),
        ("33162######", "wildcard"),
        ("*****", "wildcard"),
        ("0812-3456-789O", "letters"),
        ("GoPay", "letters"),
        ("nan", "letters"),
        ("1-800-FLOWERS", "letters"),
        ("081234567890 (spam)", "letters"),
        ("call 081234567890", "letters"),
        ("sip:+6281234567890@example.org", "user=phone"),
        ("tel:7042;phone-context=example.com", "own network"),
        ("081234567890,081234567891", "neither"),
        ("081234567890;081234567891", "neither"),
        ("081234567890, 12345678", "neither"),
        ("0812~345678", "neither"),
        ("0812\t345678", "neither"),
        ("0812\n345678", "neither"),
        ("'081234567890", "neither"),
        ("08123456789\u00b2", "neither"),
        ("\ud800081234567890", "neither"),
        ("081234567890\x00", "neither"),
        ("++6281234567890", "plus"),
        ("62+81234567890", "plus"),
        ("", "no digit"),
        ("   ", "no digit"),
        ("+", "no digit"),
        ("tel:", "no digit"),
        ("ext. 12", "no digit"),
        ("0" * 300, "250"),
        ("081234567890/081234567891", "slash"),
        ("12345678901234567890", "too long"),
        ("+999123456789", "country"),
        ("+081234567890", "country"),
        ("+6281234567890123", "15"),
    ],
)
def test_everything_else_is_not_a_number(text: str, reason: str) -> None:
    assert reason in refused(text)


@pytest.mark.parametrize("text", ["112", "110", "119", "159", "14045", "1500123", "+62112", "+6214045", "621500123"])
def test_short_codes_are_no_numbers(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(("text", "region"), [("911", "US"), ("999", "GB"), ("116117", "DE"), ("116000", "IT")])
def test_short_codes_of_other_countries(text: str, region: str) -> None:
    refused(text, region)


@pytest.mark.parametrize(
    ("text", "region"), [("555-0123", "US"), ("7946 0958", "GB"), ("+1 555 0123", "US"), ("12345", "ID")]
)
def test_numbers_without_their_area_code_are_none(text: str, region: str) -> None:
    assert "area code" in refused(text, region)


@pytest.mark.parametrize(("text", "region"), [("0123456", "ID"), ("0123456", "GB"), ("+62 0123456", "ID")])
def test_a_trunk_zero_that_cannot_be_stripped_makes_no_number(text: str, region: str) -> None:
    assert "trunk" in refused(text, region)


def test_a_zero_that_belongs_to_the_number_stays() -> None:
    assert accepted("06 1234 5678", "IT") == accepted("+39 (0)6 1234 5678", None) == 390612345678
    assert accepted("01 23 45 67 89", "CI") == 2250123456789


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("(212) 555-0123", "US", 12125550123),
        ("1-212-555-0123", "US", 12125550123),
        ("+44 (0)20 7946 0958", None, 442079460958),
        ("020 7946 0958", "GB", 442079460958),
        ("098765 43210", "IN", 919876543210),
        ("9123 4567", "SG", 6591234567),
        ("011 15-2345-6789", "AR", 5491123456789),
        ("0 15 11 2345-6789", "BR", 551123456789),
        ("8 (495) 123-45-67", "RU", 74951234567),
        ("010-1234-5678", "KR", 821012345678),
    ],
)
def test_other_countries(text: str, region: str | None, number: int) -> None:
    assert accepted(text, region) == number


def test_without_a_region_only_the_international_form_is_a_number() -> None:
    assert accepted("+6281234567890", None) == accepted("tel:+62-812-3456-7890", None) == 6281234567890
    for text in ("081234567890", "6281234567890", "006281234567890"):
        assert "without a region" in refused(text, None)


def test_strict_asks_for_a_valid_number() -> None:
    assert accepted("+1 212 555 0123", None, strict=True) == 12125550123
    assert accepted("+1 012 345 6789", None) == 10123456789  # spoofed, as real lists have them
    assert "valid" in refused("+1 012 345 6789", None, strict=True)


@pytest.mark.parametrize("region", ["UK", "", "IDN", "001", "ZZ", "62"])
def test_unknown_region(region: str) -> None:
    with pytest.raises(InvalidInput, match="unknown region"):
        normalize("+6281234567890", region=region)


def test_region_in_small_letters() -> None:
    assert normalize("081234567890", region="id") == 6281234567890


@pytest.mark.parametrize("given", [6281234567890, None, b"081234567890", 1.5, ["081234567890"]])
def test_only_text_is_read(given: object) -> None:
    with pytest.raises(InvalidInput, match="check_e164"):
        normalize(given, region="ID")  # type: ignore[arg-type]


def test_the_message_hides_the_number_and_the_error_has_it() -> None:
    with pytest.raises(InvalidNumber) as caught:
        normalize("0812-3456-7890x", region="ID")
    assert "3456" not in str(caught.value)
    assert caught.value.text == "0812-3456-7890x"


def test_format_and_check() -> None:
    assert format_e164(6281234567890) == "+6281234567890"
    assert check_e164(6281234567890) == 6281234567890


@pytest.mark.parametrize(
    "number", [0, -6281234567890, 112, 62112, 10**15, True, 6281234567890.0, "6281234567890", None]
)
def test_format_refuses_what_has_not_the_shape(number: object) -> None:
    for door in (format_e164, check_e164):
        with pytest.raises(InvalidNumber):
            door(number)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [999123456789, 621500123, 6214045, 62081234567, 15550123])
def test_check_refuses_what_no_country_has(number: int) -> None:
    with pytest.raises(InvalidNumber):
        check_e164(number)


@given(st.integers(10**5, 10**15 - 1))
def test_a_checked_number_survives_being_written_and_read(number: int) -> None:
    try:
        check_e164(number)
    except InvalidNumber:
        return
    for region in (None, "ID", "US"):
        assert normalize(format_e164(number), region=region) == number


def test_threads_share_a_reader() -> None:
    read = normalizer("DE")
    texts = [f"0{area}{tail:06}" for area in ("30", "40", "89", "151", "171", "2204") for tail in range(0, 10**6, 7919)]
    expected = [number_of(text, region="DE") for text in texts]
    answers: list[list[int]] = []
    threads = [threading.Thread(target=lambda: answers.append([read(text) for text in texts])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, blocklist_sdk.numbers as n; n.format_e164(6281234567890); n.operator_of(6281234567890);"
        "print(sorted({'phonenumbers', 'pyarrow', 'numpy'} & set(sys.modules)));"
        "n.normalize('+6281234567890'); print(sorted({'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    import blocklist_sdk.numbers

    with pytest.raises(AttributeError, match="no_such_name"):
        blocklist_sdk.numbers.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "text", ["6281234567890.0", "+6281234567890.00", "81234567890.0", " 6281234567890.0 ", "\u0660812345678.0"]
)
def test_a_decimal_number_is_not_a_telephone_number(text: str) -> None:
    """What pandas makes of a column of integers with one empty cell; its digits together are another number."""
    for read in (normalize, number_of):
        with pytest.raises(InvalidNumber, match="a decimal number"):
            read(text, region="ID")
    assert normalize_column(pa.array([text]), region="ID").to_pylist() == [None]


@pytest.mark.parametrize("text", ["01.23.45.67.00", "0123.45.67.00", "01 23 45 67.00"])
def test_dots_between_digits_are_separators(text: str) -> None:
    assert normalize(text, region="FR") == number_of(text, region="FR") == 33123456700
    assert normalize_column(pa.array([text]), region="FR").to_pylist() == [33123456700]
