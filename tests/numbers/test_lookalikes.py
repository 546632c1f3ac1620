"""Texts that only look like a number, and numbers that look like something else."""

import ipaddress
import itertools
from datetime import date, datetime

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.numbers import normalize
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.reference import number_of
from blocklist_sdk.numbers.text import LOOKALIKES, SEVERAL, lookalike

FREE_PLANS = ["ID", "DE", "SG", "AT", "NO", "DK", "US"]
"""Countries in which numbers have many lengths, or eight digits."""


def reason(text: str, region: str = "ID") -> str:
    """Why a text is not a number; a column has to agree."""
    with pytest.raises(InvalidNumber) as caught:
        normalize(text, region=region)
    with pytest.raises(InvalidNumber):
        number_of(text, region=region)
    assert read_column(pa.array([text]), region=region, form="national").to_pylist() == [None]
    return caught.value.reason


def why_not(text: str, region: str) -> str | None:
    try:
        number_of(text, region=region)
    except InvalidNumber as error:
        return error.reason
    return None


def accepted(text: str, region: str = "ID") -> int:
    number = number_of(text, region=region)
    for _ in range(2):
        assert normalize(text, region=region) == number
    assert read_column(pa.array([text]), region=region, form="national").to_pylist() == [number]
    return number


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *[(text, "a date") for text in ("2026-11-20", "21/11/2026", "20.11.2026", "20.11.2026 10:15", "2026/11/20")],
        *[(text, "a date") for text in ("20-11-2026", "1.2.2026", "2026-1-2", "20 11 2026", "20.11.26", "11/21/2026")],
        *[(text, "a date") for text in ("2026-11-20T10:15:00Z", "2026-11-20 10.15", "2026-11-20 101500", "20/11/26")],
        *[(text, "a time") for text in ("10:15", "23:59:59", "10.15", "9:05 pm", "10.45.30")],
        *[(text, "an IP address") for text in ("192.168.100.200", "10.0.0.1", "81.234.56.78", "10.0.0.0/8")],
        *[
            (text, "an amount")
            for text in ("1.500.000", "Rp 1.500.000", "Rp1.500.000,00", "1,500,000", "12,50", "IDR 5")
        ],
        *[(text, "coordinates") for text in ("-6.2088, 106.8456", "6.208763,106.845599", "-6.2088 106.8456")],
        *[(text, "a decimal") for text in ("106.845599", "6281234567890.0", "81234567.5", "0.812345678")],
        *[(text, "a negative") for text in ("-6.208763", "-6281234567890", "-1500000")],
        *[(text, "exponent") for text in ("6.28E+12", "6,28146E+12", "6.28e12")],
    ],
)
def test_what_it_is_instead(text: str, what: str) -> None:
    assert what in reason(text)


@pytest.mark.parametrize("region", FREE_PLANS)
@pytest.mark.parametrize(
    "text",
    [
        *("20-11-2026 ", "2026-11-20 ", "20 11 2026  ", "20. 11. 2026", "20.11.2026.", "(20.11.2026)", "- 20.11.2026"),
        *("20 - 11 - 2026", "20.11-2026", "20 (11) 2026", "20.11.2026 ext 5", "20.-25.11.2026", "20-25.11.2026"),
        *("2026-11", "1/2026", "08.30-17.00", "2026-11-20 12-30", "192.168.0.1.", "(192.168.1.100)"),
        *("192.168.1.1 (1)", "192.168.0.1-20", "010.000.000.001", "10.0.0.1-10.0.0.254", "(30.123.456)"),
        *("30.123.456-", "12.345.678.", "500.000-750.000", "0812345678.50", "812345678.00-", "6.2088-106.8456"),
    ],
)
def test_punctuation_hides_nothing(text: str, region: str) -> None:
    assert lookalike(text.strip()) or "ext" in text
    assert reason(text, region)


@given(
    st.sampled_from(["20.11.2026", "2026-11-20", "192.168.100.20", "30.123.456", "106.845599", "08.30-17.00"]),
    st.text(" .-", max_size=2),
    st.text(" .-", max_size=2),
    st.sampled_from(["ID", "DE", "AT"]),
)
def test_nothing_around_it_makes_it_a_number(text: str, before: str, after: str, region: str) -> None:
    assert reason(f"{before}{text}{after}", region)


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from("-/."), st.sampled_from(FREE_PLANS))
def test_no_date_is_a_number_unless_its_country_writes_it_so(day: date, separator: str, region: str) -> None:
    for parts in (f"{day:%Y %m %d}", f"{day:%d %m %Y}", f"{day:%m %d %Y}", f"{day.day} {day.month} {day.year}"):
        text = parts.replace(" ", separator)
        assert lookalike(text) == "date"
        try:
            number = normalize(text, region=region)
        except InvalidNumber:
            continue
        written = phonenumbers.format_number(phonenumbers.parse(f"+{number}"), phonenumbers.PhoneNumberFormat.NATIONAL)
        assert [*filter(str.isdigit, written)] == [*filter(str.isdigit, text)]


@given(
    st.datetimes(datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2099-12-31")),
    st.sampled_from(FREE_PLANS),
)
def test_no_moment_is_a_number(moment: datetime, region: str) -> None:
    for shape in ("%Y-%m-%d %H:%M", "%d.%m.%Y %H.%M", "%Y-%m-%d %H%M%S", "%d/%m/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"):
        assert reason(moment.strftime(shape), region)


@given(st.ip_addresses(v=4), st.sampled_from(["ID", "DE", "SG", "AT", "US"]))
def test_no_address_is_a_number(address: ipaddress.IPv4Address, region: str) -> None:
    assert reason(str(address), region)


@given(st.floats(-180, 180).map(lambda place: f"{place:.6f}"), st.sampled_from(["ID", "DE", "AT"]))
def test_no_coordinate_is_a_number(text: str, region: str) -> None:
    assert reason(text, region)


@given(st.integers(1_000, 10**12), st.sampled_from(["ID", "DE", "US"]))
def test_no_grouped_amount_is_a_number(amount: int, region: str) -> None:
    for text in (f"{amount:,}", f"{amount:,}".replace(",", "."), f"Rp {amount:,}".replace(",", ".")):
        assume(lookalike(text) == "amount")
        assert reason(text, region)


@given(st.integers(0, 10**14), st.sampled_from(FREE_PLANS))
def test_plain_digits_are_never_something_else(number: int, region: str) -> None:
    assert lookalike(str(number)) is None


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_country_s_own_way_to_write_its_numbers(region: str) -> None:
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in range(11)]
    for number in filter(None, examples):
        if not phonenumbers.is_valid_number_for_region(number, region):
            continue
        expected = int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])
        for form in (
            phonenumbers.PhoneNumberFormat.NATIONAL,
            phonenumbers.PhoneNumberFormat.INTERNATIONAL,
            phonenumbers.PhoneNumberFormat.E164,
            phonenumbers.PhoneNumberFormat.RFC3966,
        ):
            text = phonenumbers.format_number(number, form)
            try:
                old = int(phonenumbers.format_number(phonenumbers.parse(text, region), 0)[1:])
            except phonenumbers.NumberParseException:
                continue
            if old != expected:
                continue
            assert why_not(text, region) not in {*LOOKALIKES.values(), SEVERAL}, text


@given(
    st.sampled_from([("NO", 47, 4), ("DK", 45, 2), ("SG", 65, 8), ("FR", 33, 6), ("PL", 48, 5)]),
    st.integers(0, 10**7 - 1),
)
def test_a_valid_number_as_its_country_writes_it(country: tuple[str, int, int], digits: int) -> None:
    region, code, first = country
    more = 10 if region in ("FR", "PL") else 1
    number = phonenumbers.PhoneNumber(country_code=code, national_number=(first * 10**7 + digits) * more)
    assume(phonenumbers.is_valid_number(number))
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    expected = int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])
    assert accepted(text, region) == accepted(text.replace(" ", "."), region) == expected


# Signs that lists and regular expressions write


@pytest.mark.parametrize(
    "text",
    [
        *("+6281234567[0-9]", "0812[3-5]######", "62812[1-3]####", "08[12]34567890", "[0812]34567890"),
        *("0812{3}4567890", "0812(3|4)567890", r"0812\d{8}", "^0812.*$", "08123456789[", "0812(34567890"),
        *("0812)34567890(", "0812()34567890", "((0812)34567890)", "0812(3(4)567890)", ")081234567890"),
    ],
)
def test_signs_of_a_pattern_are_no_separators(text: str) -> None:
    assert reason(text)


@given(st.text(alphabet="0123456789[]{}()|\\^$?*+-/. ", min_size=8, max_size=20), st.sampled_from(["ID", "DE", "US"]))
def test_whatever_is_read_has_the_digits_of_the_text(text: str, region: str) -> None:
    try:
        number = normalize(text, region=region)
    except InvalidNumber:
        return
    assert not set(text) & set("[]{}|\\^$?*")
    depth = list(itertools.accumulate({"(": 1, ")": -1}.get(character, 0) for character in text))
    assert set(depth) <= {0, 1}
    assert depth[-1] == 0
    assert "".join(filter(str.isdigit, text)).endswith(str(number)[-5:])


# Slashes


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("0234/123456", "DE", 49234123456),
        ("+49 234/123456", "DE", 49234123456),
        ("030 / 12345", "DE", 493012345),
        ("0664/1234567", "AT", 436641234567),
        ("02/555.12.12", "BE", 3225551212),
        ("0475/12.34.56", "BE", 32475123456),
        ("021/5551234", "ID", 62215551234),
    ],
)
def test_a_slash_behind_the_area_code(text: str, region: str, number: int) -> None:
    assert accepted(text, region) == number


@pytest.mark.parametrize(
    ("text", "region"),
    [
        *[(text, "ID") for text in ("021-5551234/35", "0811-234-567/568", "021-5551/5552", "021-5551234/5551235")],
        *[(text, "ID") for text in ("0812/3456/7890", "081234567890/", "/081234567890", "0811-234-567 / 568")],
        *[(text, "DE") for text in ("030 12345/12346", "0234/123456/7", "030 123456/57")],
        ("0812\u20443456789/1", "ID"),
    ],
)
def test_two_numbers_with_a_slash(text: str, region: str) -> None:
    assert "slash" in reason(text, region)


@given(
    st.sampled_from(["021-555", "0811-23", "0812 34", "+62 21 555"]),
    st.integers(1_000, 99_999),
    st.integers(10, 99_999),
)
def test_a_number_and_the_end_of_another_never_become_one(start: str, number: int, end: int) -> None:
    assert reason(f"{start}{number}/{end}")


# Other ways to write a number


@pytest.mark.parametrize(
    "text",
    [
        *("whatsapp:+6281234567890", "WhatsApp:+62 812-3456-7890", "sms:+6281234567890"),
        *("sip:+6281234567890@ims.example.com;user=phone", "sips:+62-812-3456-7890;npdi@192.0.2.1:5061;user=phone"),
        *("sip:%2B6281234567890@example.com;transport=tcp;user=phone", "sip:0812-3456-7890@example.com;user=phone"),
        *("6281234567890@s.whatsapp.net", "6281234567890:12@s.whatsapp.net", "6281234567890@c.us"),
        *("https://wa.me/6281234567890", "wa.me/6281234567890", "https://api.whatsapp.com/send?phone=6281234567890"),
        *("tel:+62-812-3456-7890;verstat=TN-Validation-Passed", "tel:+6281234567890;isub=1;postd=pp22;ext=7"),
        *("tel:0812-3456-7890;phone-context=+62;npdi;rn=+6281100", "TEL:+6281234567890;cic=+1-6789"),
    ],
)
def test_addresses_of_one_number(text: str) -> None:
    assert accepted(text) == 6281234567890


@pytest.mark.parametrize(
    "text",
    [
        *("081234567890@s.whatsapp.net", "120363025246125486@g.us", "tel:0812-3456-7890;phone-context=example.com"),
        *("sip:+6281234567890@example.com", "sip:alice@example.com;user=phone", "tel:081234567890;081234567891"),
        *("whatsapp:+6281234567890,+6281234567891", "mailto:081234567890@example.com", "tel:+62;812-3456-7890"),
    ],
)
def test_addresses_of_something_else(text: str) -> None:
    assert reason(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+52 1 55 1234 5678", 525512345678),
        ("5215512345678@s.whatsapp.net", 525512345678),
        ("+52 55 1234 5678", 525512345678),
        ("+55 11 9876-5432", 5511998765432),
        ("+55 11 99876-5432", 5511998765432),
        ("+55 11 3876-5432", 551138765432),  # a fixed line keeps eight digits
        ("+54 9 11 2345-6789", 5491123456789),
        ("+54 11 2345-6789", 541123456789),  # not known to be the same subscriber
    ],
)
def test_one_subscriber_one_number(text: str, number: int) -> None:
    assert accepted(text) == number
    assert accepted(f"+{number}") == number
