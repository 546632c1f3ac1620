"""Texts in CSV: no spreadsheet takes one for a formula, and ours reads each again as it was."""

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocklist_sdk.cli.export import write_table
from blocklist_sdk.enforcement.sink import Outcome, plain
from blocklist_sdk.enforcement.sinks.drop_files import read_drop_response, write_drop_response
from blocklist_sdk.enforcement.statement import _cell
from blocklist_sdk.publisher.rows import _own_text
from blocklist_sdk.tables.rejects import Reject, write_rejects
from blocklist_sdk.texts import displayable, from_spreadsheet_cell, spreadsheet_cell

SIGNS = "=+-@|\uff1d\uff0b\uff0d\uff20\uff5c\ufe62\ufe63\ufe66\ufe6b\u2212"
SKIPPED = " '\t\r\n\x0b\x00\x1f\xa0\u200b\u200e\u202e\u2066\u2028\u3000\ufeff\u2060"

TEXTS = st.text(max_size=8) | st.builds(
    str.__add__, st.text(SKIPPED, max_size=4), st.builds(str.__add__, st.sampled_from(SIGNS), st.text(max_size=4))
)


def is_safe(cell: str) -> bool:
    """Whether a cell shows no sign before something visible, by another rule than the code's."""
    return cell.startswith("'") or not cell.lstrip(SKIPPED.replace("'", "")).startswith(tuple(SIGNS))


@settings(max_examples=500)
@given(TEXTS)
@example("'=1")
@example("''")
@example("\t1")
def test_a_cell_is_safe_and_is_read_as_it_was(text: str) -> None:
    cell = spreadsheet_cell(text)
    assert cell == "+62811811234" or is_safe(cell)
    assert from_spreadsheet_cell(cell) == text
    assert from_spreadsheet_cell(spreadsheet_cell(cell)) == cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "\uff1d1+1", "|calc", "\u202e=1", "\u200b=1", "\ufeff=1", " \xa0=1", "\t=1", "\r=1", "\x01=1"],
)  # fmt: skip
def test_what_begins_a_formula_is_guarded(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


def test_numbers_and_words_stay() -> None:
    for text in ("+6281234567890", "fraud", "penipuan - OTP", "", "'tis", "1=1", "a|b"):
        assert spreadsheet_cell(text) == text


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_every_writer_guards(texts: list[str]) -> None:
    """Rejects, exports, statements and responses of drop directories."""
    with tempfile.TemporaryDirectory() as folder:
        rejects = Path(folder) / "rejects.csv"
        write_rejects([Reject(1, text, text) for text in texts], rejects)
        with rejects.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        assert all(is_safe(cell) for row in rows for cell in row[1:])
        response = Path(folder) / "a.response.csv"
        details = {62811811000 + at: plain(text) for at, text in enumerate(texts)}
        write_drop_response(response, {number: Outcome("enforced", text) for number, text in details.items()})
        with response.open(newline="", encoding="utf-8") as file:
            assert all(is_safe(row[2]) for row in csv.reader(file) if len(row) > 2)
        assert {number: each.detail for number, each in read_drop_response(response).outcomes.items()} == details
    out = io.BytesIO()
    write_table(pa.table({"category": pa.array(texts).dictionary_encode()}), "csv", out)
    cells = [row[0] for row in csv.reader(io.StringIO(out.getvalue().decode(), newline="")) if row][1:]
    assert all(map(is_safe, cells))
    assert all(is_safe(_cell(text)) for text in texts)


@settings(max_examples=60)
@given(TEXTS)
def test_an_exported_category_is_published_as_it_was(text: str) -> None:
    text = displayable(text).strip()
    if text:
        assert _own_text("category", spreadsheet_cell(text)) == text
