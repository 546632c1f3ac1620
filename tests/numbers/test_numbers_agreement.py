"""The fast ways give the same answers as the reference."""

import csv
import gzip
import os
import random
from pathlib import Path

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.numbers import normalize_column, normalizer
from blocklist_sdk.numbers.fast import plan_of
from blocklist_sdk.numbers.numbering_plan import LEAD_DIGITS, MAX_DIGITS, NumberingPlan
from blocklist_sdk.numbers.reference import number_of
from blocklist_sdk.numbers.text import read_text
from support.scale import scaled

REGIONS = ["ID", "US", "GB", "IN", "SG", "DE", "IT", "AR", "MX", "BR", "CI", "FR"]
ODD_REGIONS = ["AG", "AU", "BY", "CA", "CN", "GA", "GG", "HU", "JP", "KR", "KZ", "LU", "NF", "NO", "RU", "SM", "VA"]
"""Rewriting rules, several prefixes, shared country codes, prefixes that are not 0."""

TEXTS = int(os.environ.get("BLOCKLIST_TEXTS", "1500"))
"""Generated texts for each of `REGIONS`; ``make differential`` asks for half a million."""

KINDS = range(11)
"""phonenumbers.PhoneNumberType: all but UNKNOWN."""

SEPARATED = [" ", "-", ".", " (", ") ", "/", "  "]
NOISE = "xO*#%_+,;~a\u00a0\u200e\u0661\uff11\u00b2\t\n\u2013"


def examples(region: str) -> list[str]:
    """National numbers of every kind the region has."""
    found = [phonenumbers.example_number_for_type(region, kind) for kind in KINDS]
    return [phonenumbers.national_significant_number(number) for number in found if number]


class Texts:
    """Numbers as people write them, and texts that are not numbers."""

    def __init__(self, region: str, seed: int) -> None:
        self.random = random.Random(f"{region} {seed}")
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        assert metadata is not None
        self.code = str(metadata.country_code)
        self.trunk = metadata.national_prefix or ""
        self.examples = examples(region)
        self.prefixes = ["00", "001", "007", "008", "0017", "01017", "011", "810", metadata.international_prefix or ""]

    def digits(self, low: int, high: int) -> str:
        return "".join(self.random.choices("0123456789", k=self.random.randint(low, high)))

    def national(self) -> str:
        if self.random.random() < 0.3:
            return self.digits(1, 16)
        example = self.random.choice(self.examples)
        kept = self.random.randint(0, len(example))
        return example[:kept] + self.digits(0, len(example) - kept + 1)

    def text(self) -> str:
        national = self.national()
        head = self.random.choice(
            [
                *("+" + self.code, self.code, self.trunk, "", "+" + self.code + self.trunk),
                *(f"+{self.code} (0)", "+", self.code + self.trunk, "0", self.random.choice(self.prefixes)),
                self.random.choice(self.prefixes) + self.code,
            ]
        )
        text = head + national
        for _ in range(self.random.choice([0, 0, 1, 2, 3])):
            at = self.random.randint(0, len(text))
            text = text[:at] + self.random.choice(SEPARATED) + text[at:]
        if self.random.random() < 0.02:
            text += self.random.choice([".0", ".00", ".0 ", " ", ")"])
        if self.random.random() < 0.04:
            at = self.random.randint(0, len(text))
            text = text[:at] + self.random.choice(NOISE) + text[at:]
        return text


def outcome(text: str, region: str | None, *, strict: bool = False) -> int | None:
    try:
        return number_of(text, region=region, strict=strict)
    except InvalidNumber:
        return None


def read(text: str, region: str | None, *, strict: bool = False) -> int | None:
    try:
        return normalizer(region, strict)(text)
    except InvalidNumber:
        return None


def settled(plan: NumberingPlan, text: str) -> tuple[int | None] | None:
    """The answer of the plan alone: no answer, or a number or None."""
    try:
        written = read_text(text)
    except InvalidNumber:
        return None
    if written.looks_like or written.after_slash is not None:
        return None  # the digits alone do not decide
    digits, international = written.digits, written.international
    if not LEAD_DIGITS <= len(digits) <= MAX_DIGITS:
        return None
    answer = plan.settle(digits[:LEAD_DIGITS], len(digits), international=international)
    if answer is None:
        return None
    return (None if answer.add is None else int(digits) + answer.add,)


def check(text: str, region: str, *, strict: bool = False) -> bool:
    """Compare all three; return whether the plan had an answer. An E.164 number is read as itself in every region."""
    expected = outcome(text, region, strict=strict)
    if expected is not None:
        assert read(f"+{expected}", None) == read(f"+{expected}", region) == expected, text
    assert read(text, region, strict=strict) == expected, text
    by_plan = settled(plan_of(region, strict), text)
    assert by_plan is None or by_plan == (expected,), text
    return by_plan is not None


@pytest.mark.parametrize("region", REGIONS)
def test_generated_texts(region: str) -> None:
    texts = Texts(region, 1)
    known = sum(check(texts.text(), region) for _ in range(TEXTS))
    assert known > 0.35 * TEXTS, "the plan must know most shapes, or nothing is fast"


@pytest.mark.parametrize("region", ODD_REGIONS)
def test_generated_texts_of_odd_plans(region: str) -> None:
    texts = Texts(region, 2)
    for _ in range(scaled(400, long=1_500)):
        check(texts.text(), region)


@pytest.mark.parametrize("region", ["ID", "US", "GB", "DE", "IT"])
def test_generated_texts_when_strict(region: str) -> None:
    texts = Texts(region, 3)
    for _ in range(scaled(500, long=2_000)):
        check(texts.text(), region, strict=True)


def test_every_region_has_a_plan() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        texts = Texts(region, 4)
        for _ in range(30):
            check(texts.text(), region)


@given(
    st.text(alphabet=st.sampled_from("0123456789+ -().x#*\u200f\u0662\uff15"), max_size=24), st.sampled_from(REGIONS)
)
def test_any_text(text: str, region: str) -> None:
    check(text, region)
    assert read(text, None) == outcome(text, None)


@given(st.text(max_size=12))
def test_any_unicode(text: str) -> None:
    check(text, "ID")


def test_every_row_of_the_real_lists(shared_data: Path) -> None:
    """Every distinct row, one by one and as a column, against the reference; in the short form one in ten."""
    distinct: set[str] = set()
    for path in sorted((shared_data / "ftc").glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            distinct.update(row[0] for row in csv.reader(file) if row)
    rows = sorted(distinct)
    assert len(rows) > 236_000
    rows = rows[:: scaled(10, long=1)]
    expected = [outcome(row, "US") for row in rows]
    assert [read(row, "US") for row in rows] == expected
    assert normalize_column(pa.array(rows), region="US").to_pylist() == expected
