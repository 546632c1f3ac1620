"""In which form a column is written, and what its rows then are."""

import csv
import gzip
import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import check_e164, decide_form, normalize, normalize_column
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.form_sample import SAMPLE_ROWS, FormSample
from blocklist_sdk.numbers.forms import FormDecision, other_reading

INTERNATIONAL = ["85512345678", "85251234567", "819012345678", "14155550100"]
"""Cambodia, Hong Kong, Japan and the United States; the first three are valid in Indonesia as well."""


def lost_zeros(prefixes: list[str], count: int) -> list[str]:
    """Indonesian mobile numbers as a spreadsheet writes them."""
    chance = random.Random(5)
    return [chance.choice(prefixes) + str(chance.randrange(10**8)).zfill(8) for _ in range(count)]


def read(texts: list[str], region: str | None = "ID", form: str = "auto") -> list[int | None]:
    numbers: list[int | None] = normalize_column(pa.array(texts), region=region, form=form).to_pylist()  # type: ignore[arg-type]
    return numbers


def test_a_list_of_international_numbers_without_plus() -> None:
    decision = decide_form(pa.array(INTERNATIONAL), region="ID")
    assert (decision.form, decision.texts, decision.national, decision.international) == ("international", 4, 3, 4)
    assert read(INTERNATIONAL) == [int(text) for text in INTERNATIONAL]


@pytest.mark.parametrize("prefixes", [["811", "812", "821", "852", "855", "878", "895"], ["812"], ["852"], ["855"]])
def test_a_list_of_national_numbers_without_their_zeros(prefixes: list[str]) -> None:
    texts = lost_zeros(prefixes, 300)
    assert decide_form(pa.array(texts), region="ID").form == "national"
    assert read(texts) == [int(f"62{text}") for text in texts]


def test_own_and_foreign_country_codes() -> None:
    texts = ["6281234567890", "6591234567", "60123456789", "6281234567891"]
    assert decide_form(pa.array(texts), region="ID").form == "international"
    assert read(texts) == [int(text) for text in texts]


def test_trunk_prefixes_decide_for_their_column() -> None:
    texts = ["0812-3456-7890", "0813-3456-7890", "85512345678"]
    assert read(texts) == [6281234567890, 6281334567890, 6285512345678]


def test_international_prefixes_decide_for_their_column() -> None:
    texts = ["006281234567890", "006591234567", "85512345678"]
    assert read(texts) == [6281234567890, 6591234567, 85512345678]


def test_where_nothing_decides_a_text_that_is_valid_both_ways_is_not_a_number() -> None:
    assert decide_form(pa.array(["85512345678"]), region="ID") == FormDecision(
        None, texts=1, national=1, international=1, ambiguous=1
    )
    assert read(["85512345678"]) == [None]
    mixed = ["85512345678", "0812-3456-7890", "0813-3456-7890", "60123456789", "14155550100"]
    assert read(mixed) == [None, 6281234567890, 6281334567890, 60123456789, 14155550100]


def test_texts_with_a_plus_decide_nothing() -> None:
    texts = ["+6281234567890", "+6591234567", "+14155550100"]
    assert decide_form(pa.array(texts), region="ID").texts == 0
    assert read(texts) == [6281234567890, 6591234567, 14155550100]


def test_a_declared_form_is_taken() -> None:
    assert read(["85512345678"], form="international") == [85512345678]
    assert read(["85512345678"], form="national") == [6285512345678]
    assert read(["85512345678", "0812-3456-7890"], region=None, form="international") == [85512345678, None]
    assert read(["006281234567890"], region=None, form="international") == [6281234567890]
    for reader in (decide_form, normalize_column):
        with pytest.raises(InvalidInput, match="unknown region"):
            reader(pa.array(["1"]), region="UK")
    with pytest.raises(InvalidInput, match="form must be auto, international or national, not 'e164'"):
        read(["1"], form="e164")


def test_a_declared_form_that_the_column_contradicts_is_doubtful() -> None:
    for form, texts, doubtful in (
        ("national", INTERNATIONAL, True),
        ("international", INTERNATIONAL, False),
        ("international", ["0812-3456-7890", "81234567890"], True),
        ("national", ["85512345678"], False),
        ("national", ["+6281234567890"], False),
    ):
        decision = decide_form(pa.array(texts), region="ID", form=form)  # type: ignore[arg-type]
        assert (decision.form, decision.by, decision.is_doubtful) == (form, "declaration", doubtful)
    assert not decide_form(pa.array(INTERNATIONAL), region="ID").is_doubtful


def test_integers_follow_their_column() -> None:
    assert normalize_column(pa.array([85512345678, 14155550100]), region="ID").to_pylist() == [85512345678, 14155550100]
    assert normalize_column(pa.array([85512345678, 89534567890]), region="ID").to_pylist() == [
        6285512345678,
        6289534567890,
    ]
    assert normalize_column(pa.array([6281234567890, 112]), region=None).to_pylist() == [6281234567890, None]


def test_a_single_text_is_read_as_dialled_unless_it_is_declared() -> None:
    assert normalize("85512345678", region="ID") == normalize("85512345678", region="ID", form="national")
    assert normalize("85512345678", region="ID", form="international") == 85512345678
    assert normalize("0812-3456-7890", region="ID", form="international") == 6281234567890
    with pytest.raises(InvalidNumber, match="give the region"):
        normalize("0812-3456-7890", form="international")
    assert other_reading("85512345678", region="ID") == 85512345678
    assert other_reading("85512345678", region="ID", form="international") == 6285512345678
    assert other_reading("0812-3456-7890", region="ID") is None
    assert other_reading(85512345678, region="ID") is None


def test_a_long_column_is_decided_by_rows_from_all_of_it() -> None:
    texts = lost_zeros(["812"], 30_000) + INTERNATIONAL * 7_500
    decision = decide_form(pa.array(texts), region="ID")
    assert decision.form is None
    assert 0.95 * SAMPLE_ROWS / 2 < decision.texts <= SAMPLE_ROWS


NO_TELEPHONE_NUMBERS = [None, "", " ", "\t ", "\u00a0", "\u2003\u00a0", "6.28123E+12", " 1e9 ", "-6,2e+11"]


@given(
    st.lists(
        st.sampled_from([*NO_TELEPHONE_NUMBERS, "081234567890", " 85512345678", "mobile", "é", "1e"]), max_size=40
    ),
    st.lists(st.integers(0, 40), max_size=5),
    st.booleans(),
)
def test_a_sample_is_the_same_in_whatever_pieces_a_column_comes(
    texts: list[str | None], cuts: list[int], is_encoded: bool
) -> None:
    expected = [text for text in texts if text not in NO_TELEPHONE_NUMBERS]
    bounds = [0, *sorted(cuts), len(texts)]
    whole: pa.Array = pa.array(texts, pa.string())
    column = whole.dictionary_encode() if is_encoded else whole
    sample = FormSample()
    for start, stop in itertools.pairwise(bounds):
        sample.add(column[start:stop])
    assert sample.column.to_pylist() == expected


def test_rows_that_hold_no_number_do_not_shift_a_sample() -> None:
    texts = [str(number) for number in range(10**6, 10**6 + 3 * SAMPLE_ROWS)]
    padded: list[str | None] = []
    for i, text in enumerate(texts):
        padded += [*NO_TELEPHONE_NUMBERS[: i % 4], text]
    samples = []
    for rows, piece in ((texts, 1 << 20), (padded, 1000)):
        sample = FormSample()
        for start in range(0, len(rows), piece):
            sample.add(pa.array(rows[start : start + piece], pa.string()))
        samples.append(sample.column.to_pylist())
    assert samples[0] == samples[1]
    assert 0.45 * SAMPLE_ROWS < len(samples[0]) <= SAMPLE_ROWS


@pytest.mark.parametrize("period", range(2, 9))
def test_a_list_with_a_period_is_seen_as_a_whole(period: int) -> None:
    rows = np.arange(200_000)
    sample = FormSample()
    sample.add(pa.array(rows % period))
    counts = np.bincount(sample.column.to_numpy(), minlength=period)
    assert counts.max() - counts.min() <= 0.01 * counts.sum()


def test_text_that_is_not_utf8_does_not_count() -> None:
    texts = pa.array([b"0812-3456-7890", b"0812\xff", "\u0660812".encode()]).view(pa.string())
    sample = FormSample()
    sample.add(texts)
    assert len(sample.column) == 2


def test_the_real_lists_are_national(shared_data: Path) -> None:
    for path in sorted((shared_data / "ftc").glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            rows = [row[0] for row in csv.reader(file) if row][1:]
        assert decide_form(pa.array(rows), region="US").form == "national"
        assert read(rows, "US") == read(rows, "US", "national")


@given(st.lists(st.integers(10**6, 10**15 - 1), min_size=1, max_size=30), st.sampled_from(["ID", "US", "SG", "DE"]))
def test_what_is_declared_international_is_read_back(numbers: list[int], region: str) -> None:
    expected: list[int | None] = []
    for number in numbers:
        try:
            expected.append(check_e164(number))
        except InvalidNumber:
            expected.append(None)
    found = read([str(number) for number in numbers], region, "international")
    assert [number for number, wanted in zip(found, expected, strict=True) if wanted] == [n for n in expected if n]


def parts_of(column: pa.Array, sizes: list[int]) -> list[bytes]:
    """What processes send that gather from one part each."""
    packed, start = [], 0
    for size in sizes:
        sample = FormSample()
        sample.add(column[start : start + size])
        packed.append(sample.packed())
        start += size
    return packed


def test_parts_of_a_short_column_make_the_sample_of_the_whole() -> None:
    column = pa.array(["", None, *INTERNATIONAL, *lost_zeros(["812"], 994)])
    joined = FormSample()
    for packed in parts_of(column, [0, 1, 400, 599]):
        joined.add_packed(packed)
    assert joined.column.to_pylist() == column.to_pylist()[2:]


def test_of_each_part_of_a_long_column_the_same_share_decides() -> None:
    """A part with few rows has no more weight than its rows have, and the order of the parts does not matter."""
    column = pa.array([*lost_zeros(["812"], 90_000), *INTERNATIONAL * 250])
    packed = parts_of(column, [10_000, 80_000, 1_000])
    found = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        joined = FormSample()
        for i in order:
            joined.add_packed(packed[i])
        again = FormSample()
        again.add_packed(joined.packed())
        assert again.column.to_pylist() == joined.column.to_pylist()
        found.append(sorted(joined.column.to_pylist()))
    assert found[0] == found[1] == found[2]
    assert SAMPLE_ROWS / 2 * 0.9 < len(found[0]) <= SAMPLE_ROWS
    share = sum(text in INTERNATIONAL for text in found[0]) / len(found[0])
    assert share == pytest.approx(1 / 91, rel=0.1)


@pytest.mark.parametrize("region", ["ID", "US", "IT", "RU", "SG"])
def test_a_text_that_begins_with_a_plus_is_one_number_or_none_in_every_form(region: str) -> None:
    """So the column need not read it to decide."""
    chance, texts = random.Random(18), []
    for _ in range(3_000):
        text = "+" + chance.choice(["", "0", "00", "62", "620", "1", "(0)", "39", "8", "+62", " 62"])
        text += "".join(chance.choice("0123456789") for _ in range(chance.randrange(3, 14)))
        if chance.random() < 0.3:
            at = chance.randrange(1, len(text))
            text = text[:at] + chance.choice([" ", "-", "(", ")", ".", "/", "+", "x"]) + text[at:]
        texts.append(text)
    column = pa.array(texts)
    with_plus = read_column(column, region=None, strict=True, form="national")
    assert read_column(column, region=region, strict=True, form="national").equals(with_plus)
    assert read_column(column, region=None, strict=True, form="international").equals(with_plus)
    decision = decide_form(column, region=region)
    assert (decision.texts, decision.ambiguous) == (0, 0)
