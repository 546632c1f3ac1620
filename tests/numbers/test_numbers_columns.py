"""A column says, row for row, what the scalar reader says."""

import csv
import gzip
import random
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import Form, columns, normalize_column, normalizer
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.either_form import either_normalizer
from support.scale import scaled

REGIONS = ["ID", "US", "GB", "DE", "IT", "BR", "RU", "AG"]

WRITTEN = st.one_of(
    st.none(),
    st.just(""),
    st.text(max_size=8),
    st.text(alphabet="0123456789", max_size=22),
    st.text(alphabet="0123456789+ -().*x", max_size=24),
    st.from_regex(r"(\+|00|0|\+62|62|\+62 \(0\)|\+1|1|0044|44)[0-9]{3}[ -]?[0-9]{3,5}[ -]?[0-9]{0,5}", fullmatch=True),
    st.sampled_from(
        [
            "nan",
            "*****",
            "GoPay",
            "+" * 20,
            "9" * 300,
            "?" * 64,
            "0812" + " " * 60 + "34567890",
            "(+62) 8123456789",
            "6281234567890.0",
            "81234567890.00 ",
            "0812.3456.00",
        ]
    ),
    st.sampled_from(
        ["\u0660\u0668\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "\u200e+62812345678", "+62+812345678"]
    ),
)


def expected(
    rows: list[Any], region: str | None, *, strict: bool = False, form: Form | None = "national"
) -> list[int | None]:
    read = either_normalizer(region, strict) if form is None else normalizer(region, strict, form)
    answers: list[int | None] = []
    for row in rows:
        try:
            answers.append(None if row is None else read(str(row)))
        except InvalidNumber:
            answers.append(None)
    return answers


def checked(column: Any, region: str | None, form: Form | None = "national") -> list[int | None]:
    found = read_column(column, region=region, form=form)
    found.validate(full=True)
    assert found.type == pa.int64()
    answers: list[int | None] = found.to_pylist()
    return answers


@given(st.lists(WRITTEN, max_size=40), st.sampled_from(REGIONS), st.data())
@settings(max_examples=200)
def test_any_column_and_any_slice_of_it(rows: list[str | None], region: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]))
    column = pa.array(rows, type=kind)
    assert checked(column, region) == expected(rows, region)
    assert checked(column, region, "international") == expected(rows, region, form="international")
    assert checked(column, region, None) == expected(rows, region, form=None)
    assert checked(column, None, "international") == expected(rows, None, form="international")
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows)))
    assert checked(column.slice(start, length), region) == expected(rows[start : start + length], region)
    assert checked(pa.chunked_array([column, column.slice(start)]), region) == expected(rows + rows[start:], region)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**15)), max_size=40))
def test_any_column_of_integers(rows: list[int | None]) -> None:
    for region in ("ID", "US"):
        sensible = [None if row is not None and row < 0 else row for row in rows]
        assert checked(pa.array(rows, type=pa.int64()), region) == expected(sensible, region)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64(), pa.int64()])
def test_integers_of_every_width(kind: Any) -> None:
    rows = [0, 1, 112, None] if kind.bit_width < 32 else [0, 112, 212345678, None]
    assert checked(pa.array(rows, type=kind), "ID") == expected(rows, "ID")


def test_integers_are_msisdns_or_national_numbers() -> None:
    rows = [6281234567890, 81234567890, 62811811234, -81234567890, 10**18]
    assert checked(pa.array(rows), "ID") == [6281234567890, 6281234567890, 62811811234, None, None]
    assert checked(pa.array([2**64 - 1, 6281234567890], type=pa.uint64()), "ID") == [None, 6281234567890]
    assert checked(pa.array(rows), None) == [None] * 5


def test_dictionaries_are_read_once_and_spread() -> None:
    rows = ["0812-3456-7890", None, "GoPay", "0812-3456-7890", "+6281234567891"]
    column = pa.array(rows).dictionary_encode()
    assert checked(column, "ID") == expected(rows, "ID")
    assert checked(column.slice(2), "ID") == expected(rows[2:], "ID")


def test_empty_columns_and_columns_of_nothing() -> None:
    assert checked(pa.array([], type=pa.string()), "ID") == []
    assert checked(pa.array([], type=pa.int64()), "ID") == []
    assert checked(pa.chunked_array([], type=pa.string()), "ID") == []
    assert checked(pa.nulls(3), "ID") == [None] * 3
    assert checked(pa.array([None, None], type=pa.string()), "ID") == [None] * 2
    assert checked(pa.array(["", ""]), "ID") == [None] * 2


def test_bytes_that_are_no_text_are_no_number() -> None:
    raw = pa.array([b"+6281234567890", b"08123\xff45678", b"\xd9", b"081234567890"], type=pa.binary())
    column = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    assert checked(column, "ID") == [6281234567890, None, None, 6281234567890]


@pytest.mark.parametrize("column", [pa.array([1.5]), pa.array([True]), pa.array([b"1"]), pa.array([["1"]])])
def test_other_types_are_refused(column: Any) -> None:
    with pytest.raises(InvalidInput, match="strings or integers"):
        normalize_column(column, region="ID")


def test_other_things_and_unknown_regions_are_refused() -> None:
    with pytest.raises(InvalidInput, match="Arrow"):
        normalize_column(["081234567890"], region="ID")
    with pytest.raises(InvalidInput, match="unknown region"):
        normalize_column(pa.array(["081234567890"]), region="UK")


def test_strict_columns() -> None:
    rows = ["+12125550123", "+10123456789", "0123", None]
    found = normalize_column(pa.array(rows), region="US", strict=True)
    assert found.to_pylist() == expected(rows, "US", strict=True) == [12125550123, None, None, None]


def mixed(count: int) -> list[str]:
    chance = random.Random(7)
    rows = []
    for _ in range(count):
        national = chance.choice(["811", "812", "857", "895", "21", "340"]) + str(chance.randrange(10**6, 10**9))
        head = chance.choice(["+62", "0", "62", "+62 ", "0062", "", "+62 (0)", "nan", "+1"])
        at = chance.randrange(len(national))
        rows.append(head + national[:at] + chance.choice(["", "-", " ", ".", ") "]) + national[at:])
    return rows


def test_blocks_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixed(3_000)
    whole = checked(pa.array(rows), "ID")
    assert whole == expected(rows, "ID")
    monkeypatch.setattr(columns, "_BLOCK_ROWS", 17)
    monkeypatch.setattr(columns, "_MAX_REMEMBERED", 5)
    assert checked(pa.array(rows), "ID") == whole


def test_threads_share_a_region() -> None:
    rows = mixed(20_000)
    column = pa.array(rows)
    whole = expected(rows, "ID")
    answers: list[list[int | None]] = []
    threads = [threading.Thread(target=lambda: answers.append(checked(column, "ID"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [whole] * 3


@pytest.mark.parametrize("region", ["ID", "US", "SG", "DE", "RU", "BR", "MX"])
def test_digits_in_either_form(region: str) -> None:
    chance = random.Random(region)
    heads = ["", "0", "00", "62", "65", "1", "7", "8", "49", "55", "52", "521", "855", "810"]
    rows = [chance.choice(heads) + str(chance.randrange(10**5, 10**11)) for _ in range(scaled(800, long=3_000))]
    assert checked(pa.array(rows), region, None) == expected(rows, region, form=None)
    assert checked(pa.array(rows), region, "international") == expected(rows, region, form="international")


def test_a_real_list(shared_data: Path) -> None:
    with gzip.open(shared_data / "ftc" / "ftc-2025-11-21.csv.gz", "rt", newline="") as file:
        rows = [row[0] for row in csv.reader(file) if row]
    assert checked(pa.array(rows), "US") == expected(rows, "US")
