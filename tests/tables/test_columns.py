"""Columns by their meaning, words and dates of the table's own."""

import io
from typing import Any

import pyarrow as pa
import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.cells import Cells, read_cells
from blocklist_sdk.publisher.next_release import EntryDefaults
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.tables import TableOptions
from blocklist_sdk.tables.dates import date_reader

TEXT = "No;Nomor HP;JENIS ;Berlaku s/d\n1;0812-3456-7890;Penipuan;31/12/2026\n2;0812-3456-7891;judi;1/2/2027\n"
OPTIONS = TableOptions(
    columns={"number": "nomor hp", "category": "jenis", "until": "Berlaku S/D"},
    values={"category": {"penipuan": "fraud", "judi": "gambling"}},
    date_format="d/m/yyyy",
)


def cells_of(text: str, options: TableOptions = OPTIONS, **given: Any) -> Cells:
    return read_cells(io.BytesIO(text.encode()), options=options, **given)


def test_columns_words_and_dates_are_read_by_what_they_mean() -> None:
    said: list[str] = []
    cells = cells_of(TEXT, notify=said.append)
    assert {name: column.to_pylist() for name, column in cells.columns.items()} == {
        "number": ["0812-3456-7890", "0812-3456-7891"],
        "category": ["fraud", "gambling"],
        "until": ["2026-12-31", "2027-02-01"],
    }
    assert (cells.column, said) == ("Nomor HP", ["ignored column: 'No'"])


def test_a_date_without_a_declared_format_is_refused_with_a_hint() -> None:
    defaults = EntryDefaults(level="block", category="fraud", issuer="authority", scope="sms")
    cells = cells_of("number,until\n0812-3456-7890,31/12/2026\n", TableOptions())
    _, (reject,), _ = read_rows(cells, region="ID", defaults=defaults)
    assert "not '31/12/2026'" in reject.reason
    assert "--date-format dd/mm/yyyy" in reject.reason


def test_a_date_that_does_not_fit_the_declared_format_says_so() -> None:
    defaults = EntryDefaults(level="block", category="fraud", issuer="authority", scope="sms")
    cells = cells_of("number,until\n0812-3456-7890,14/11/2026\n", TableOptions(date_format="mm/dd/yyyy"))
    _, (reject,), _ = read_rows(cells, region="ID", defaults=defaults)
    assert "'14/11/2026' does not fit --date-format mm/dd/yyyy" in reject.reason
    assert "declared format" not in reject.reason


def test_words_that_do_not_fit_their_mapping_are_counted() -> None:
    said: list[str] = []
    words = ["PENIPUAN", "fraud", "", *["Judi Online", "pinjol", "judi online"] * 5]
    rows = "".join(f"0812-3456-{7000 + i};{word}\n" for i, word in enumerate(words))
    options = TableOptions(values={"category": {"penipuan": "fraud", "judi": "gambling"}})
    cells = cells_of("number;category\n" + rows, options, notify=said.append)
    expected = (
        "category: no cell says 'judi'; words without a mapping stay as they are: 'Judi Online' (10), 'pinjol' (5)"
    )
    assert said == [expected]
    table = pa.table({"number": cells.columns["number"], "category": words})
    read_cells(table, options=options, notify=said.append)
    assert said == [expected] * 2


def test_remarks_on_words_are_short_and_safe() -> None:
    said: list[str] = []
    rows = "".join(f"0812-3456-{7000 + i};word{'x' * i}\x07\n" for i in range(13)) + "0812-3456-7890;081234567890\n" * 2
    options = TableOptions(values={"category": {f"missing{'x' * i}": "fraud" for i in range(12)}})
    cells_of("number;category\n" + rows, options, notify=said.append)
    (remark,) = said
    assert "and 2 other words; " in remark
    assert remark.endswith("and others (4)")
    assert "'0812…890' (2)" in remark
    assert remark.isprintable()


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("dd/mm/yyyy", "31/12/2026", "2026-12-31"),
        ("dd/mm/yyyy", "1/12/2026", None),
        ("dd/mm/yyyy", "31/13/2026", None),
        ("dd/mm/yyyy", "31/02/2026", None),
        ("d.m.yy", "1.2.26", "2026-02-01"),
        ("mm-dd-yyyy", "12-31-2026", "2026-12-31"),
        ("yyyymmdd", "20261231", "2026-12-31"),
        ("dd/mm/yyyy hh:mm", "31/12/2026 8:05", "2026-12-31T08:05:00"),
        ("dd/mm/yyyy hh:mm:ss", "31/12/2026 08:05:09", "2026-12-31T08:05:09"),
        ("DD/MM/YYYY", "31/12/2026", "2026-12-31"),
    ],
)
def test_forms_of_dates(form: str, text: str, expected: str | None) -> None:
    assert date_reader(form)(text) == expected


@pytest.mark.parametrize("form", ["", "dd/mm", "dd/dd/yyyy", "dd mmm yyyy", "%d/%m/%Y", "day/mm/yyyy"])
def test_what_is_not_a_form_of_dates(form: str) -> None:
    with pytest.raises(InvalidInput, match="not a format of dates"):
        TableOptions(date_format=form)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": {"number": "Telepon"}}, "no column 'Telepon'; its columns are: No, Nomor HP, JENIS, Berlaku s/d"),
        ({"columns": {"nomor": "Nomor HP"}}, "'nomor' is not a column that is read: map one of number, last"),
        ({"columns": {"number": "Nomor HP"}, "values": {"level": {"x": "block"}}}, "no column 'level'"),
    ],
)
def test_a_mapping_that_does_not_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        cells_of(TEXT, TableOptions(**options))


def test_two_names_for_the_numbers() -> None:
    with pytest.raises(InvalidInput, match="two names"):
        cells_of(TEXT, column="JENIS")


def test_digits_in_columns_names_are_masked() -> None:
    with pytest.raises(InvalidInput) as caught:
        cells_of("a 081234567890,b\nx,y\n", TableOptions())
    assert "081234567890" not in str(caught.value)
    assert "--column or --map" in str(caught.value)


@pytest.mark.parametrize("number", ["6.28E+12", "6,28e+12", "6E12"])
def test_a_text_in_scientific_notation_is_refused_as_such(number: str) -> None:
    cells = cells_of(f"number;x\n{number};1\n0812-3456-7890;2\n", TableOptions())
    assert cells.line.tolist() == [3]
    assert [(reject.line, reject.text) for reject in cells.rejects] == [(2, number)]
    assert "digits are gone" in cells.rejects[0].reason


@pytest.mark.parametrize("given", [{"columns": ["number"]}, {"values": {"category": "x"}}, {"header_row": 0}])
def test_options_are_checked_when_they_are_made(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        TableOptions(**given)


@pytest.mark.parametrize("column", [None, "number"])
def test_rows_with_numbers_above_a_header_are_not_skipped(column: str | None) -> None:
    text = "nomor,x\n081234567890,1\n081234567891,2\nnumber,x\n081234567892,3\n"
    with pytest.raises(InvalidInput, match=r"line 2 has a number.*above the header in line 4.*--header-row"):
        cells_of(text, TableOptions(), column=column)
    assert cells_of(text, TableOptions(header_row=4)).line.tolist() == [5]
