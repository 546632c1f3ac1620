"""Spreadsheets: what is stored counts, whatever is shown; no digit is lost without a word."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables import TableOptions
from blocklist_sdk.tables.table import open_table
from support.sheets import MINISTRY, Cell, write_ods, write_xlsx


def rows_of(path: Path, **options: Any) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    how = TableOptions(**{key: options.pop(key) for key in ("sheet", "header_row") if key in options})
    with open_table(path, options=how, **options) as table:
        rows = []
        for batch in table.batches:
            assert not batch.rejects
            cells = [column.to_pylist() for column in batch.rows.columns]
            rows += list(zip(batch.lines.tolist(), map(list, zip(*cells, strict=True)), strict=True))
        return table.names, rows


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_titles_are_skipped_and_cells_are_what_is_stored(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "list", {"Data": MINISTRY, "Kosong": []})
    names, rows = rows_of(path, column="nomor hp ")
    assert names == ["No.", "Nomor HP", "Jenis", "Tanggal", "Keterangan"]
    assert rows == [
        (4, ["1", "0812-3456-7890", "penipuan", "2026-11-20", "x"]),
        (5, ["2", "81234567891", "judi", "2026-11-21", "0.5"]),
        (6, ["3", "81234567892", None, "21/11/2026", None]),
    ]
    with open_table(path, column="Nomor HP") as table:
        assert table.notes == (
            "skipped 2 lines above the header in line 3: DAFTAR NOMOR PENIPUAN; per 20 November 2026",
        )
        assert table.ignored == ("No.", "Jenis", "Tanggal", "Keterangan")


def test_lines_are_rows_of_the_sheet_though_the_first_are_empty(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"A": [["number"], ["081234567890"], [], ["081234567891"]]}, first_row=4)
    assert rows_of(path)[1] == [(5, ["081234567890"]), (6, [None]), (7, ["081234567891"])]


@pytest.mark.parametrize("value", [6281234567890.5, 6.2e16, -6281234567890])
def test_a_number_whose_digits_are_gone_is_no_telephone_number(tmp_path: Path, value: float) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"A": [["number"], [value]]})
    ((_, (cell,)),) = rows_of(path)[1]
    assert "E+" in cell


def test_a_date_in_the_column_of_numbers_is_no_number(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"A": [["number"], [datetime.date(2026, 11, 20)]]})
    assert rows_of(path)[1] == [(2, ["2026-11-20T00:00:00"])]


def test_a_merged_cell_counts_for_its_first_row(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["number", "category"], ["0812", "fraud"], ["0813", None]]
    path = write_xlsx(tmp_path / "list.xlsx", {"A": rows}, merged=["B2:B3"])
    assert [cells for _, cells in rows_of(path)[1]] == [["0812", "fraud"], ["0813", None]]


def test_one_sheet_has_to_be_named_where_there_are_several(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"Lama": [["number"], ["0812"]], "Baru": [["number"], ["0813"]]})
    assert rows_of(path, sheet="Baru")[1] == [(2, ["0813"])]
    with pytest.raises(InvalidInput, match=r"several sheets: Lama, Baru\. Name one with --sheet"):
        rows_of(path)
    with pytest.raises(InvalidInput, match="no sheet 'Data'; its sheets are: Lama, Baru"):
        rows_of(path, sheet="Data")
    plain = tmp_path / "list.csv"
    plain.write_text("number\n0812\n")
    with pytest.raises(InvalidInput, match="not a spreadsheet"):
        rows_of(plain, sheet="Data")


def test_the_header_may_be_named_by_its_row(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"A": [["number"], ["Nomor"], ["0812"]]})
    assert rows_of(path, header_row=2) == (["Nomor"], [(3, ["0812"])])
    with pytest.raises(InvalidInput, match="line 9 is empty"):
        rows_of(path, header_row=9)


def test_a_damaged_spreadsheet_is_an_error(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", {"A": [["number"]]})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidInput, match="damaged spreadsheet"):
        rows_of(path)


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_a_sheet_without_an_end_is_an_error_and_not_a_wait(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "list", {"A": [["number"], ["0812"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace(b"</table:table>", b"").replace(b"</sheetData>", b""))
    with pytest.raises(InvalidInput, match="damaged spreadsheet"):
        rows_of(path)


@pytest.mark.parametrize(
    ("write", "old", "new", "place"),
    [
        (write_xlsx, b'r="B3"', b'r="XFD1048576"', "XFD1048576"),
        (
            write_ods,
            b"</table:table>",
            b'<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
            b'<table:table-row><table:table-cell table:number-columns-repeated="16000"/>'
            b'<table:table-cell office:value-type="float" office:value="1"/></table:table-row></table:table>',
            "row 1,048,004, column 16,001",
        ),
    ],
)
def test_a_sheet_that_is_huge_because_of_one_cell_is_refused(
    tmp_path: Path, write: Any, old: bytes, new: bytes, place: str
) -> None:
    path = write(tmp_path / "list", {"A": [["number", "x"], ["0812", "a"], ["0813", "b"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace(old, new))
    with pytest.raises(InvalidInput, match=rf"cells large because of a cell in {place}, more than 20,000,000: delete"):
        rows_of(path)
