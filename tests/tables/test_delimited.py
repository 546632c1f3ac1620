"""Text with delimiters: what a strict reader finds, in every dialect, with true lines, and no row is lost silently."""

import csv
import gzip
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.tables import Reject, TableOptions, delimited, streams
from blocklist_sdk.tables.table import open_table
from support.scale import scaled

Rows = list[tuple[int, list[str]]]

NAMES = ["number", "note", "x"]

CELLS = st.text(st.sampled_from("ab1 2,;|\t'é\u3000") | st.sampled_from('"\n\r#='), max_size=6)


def read(source: Path | bytes, **options: Any) -> tuple[list[str], Rows, list[Reject]]:
    """All rows, those that could not be cut with empty cells."""
    given_source = io.BytesIO(source) if isinstance(source, bytes) else source
    rows: Rows = []
    rejects: list[Reject] = []
    with open_table(given_source, **options) as table:
        for batch in table.batches:
            cells = zip(*(column.to_pylist() for column in batch.rows.columns), strict=True)
            rows += zip(batch.lines.tolist(), map(list, cells), strict=True)
            rejects += batch.rejects
            assert [reject.line for reject in batch.rejects] == batch.lines[batch.unread].tolist()
        return table.names, rows, rejects


def test_an_unclosed_mark_names_the_line_in_which_it_stands() -> None:
    rows = [f"0812345{i:05},x\n" for i in range(3000)]
    for at in (0, 15, 2999):
        damaged = [*rows]
        damaged[at] = f'0812345{at:05},"x\n'
        with pytest.raises(InvalidInput, match=f"line {at + 2}: the quotation mark"):
            read(("number,note\n" + "".join(damaged)).encode())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('number,note\n1,a\n2,5" pipe\n3,"x"\n', 3),
        ('number,note\n1,"a" b\n', 2),
        ('number,note\n1,"a\n2,"b"\n', 2),
        ('number,note\n1,"a""\n2,b\n', 2),
        ('number,note\n1,a\n2,"b""c\n3,"d"\n', 3),
        ('number,note\r1,a\r2,"b\r', 3),
        ('number,note\r\n1,"two\r\nlines"\r\n2,"b\r\n', 4),
        ('num"ber,note\n1,a\n', 1),
        ('number,note\n081234567890,"a\n081234567891,b"\n', 2),
        ('number,"note\n081234567890,a"\n', 1),
        ('x\nnumber;"note\n081234567890;a"\n081234567891;b\n', 2),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_mark_out_of_place_is_an_error_with_its_line(text: str, line: int, encoding: str) -> None:
    with pytest.raises(InvalidInput, match=rf"standard input: line {line}: (the|a) quotation mark"):
        read(text.encode(encoding))


def test_marks_are_checked_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    monkeypatch.setattr(streams, "HEAD_BYTES", 64)
    rows = [(f"{i}", "two\nlines" if i % 3 else f'"{i}"') for i in range(200)]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([("number", "note"), *rows])
    names, found, rejects = read(out.getvalue().encode())
    assert (names, [tuple(cells) for _, cells in found], rejects) == (["number", "note"], rows, [])
    text = out.getvalue()
    at = text.index("\n151,") + len("\n151,")
    line = 1 + text[:at].count("\n")
    with pytest.raises(InvalidInput, match=f"line {line}:"):
        read((text[:at] + '"' + text[at:]).encode())


def test_rows_of_another_width_and_blank_lines_keep_their_places() -> None:
    _, rows, rejects = read(b"number,note\n1,a\n\n2\n  \n3,b,c\n# old, list, x\n4,d\n")
    assert rows == [(2, ["1", "a"]), *((line, ["", ""]) for line in (3, 4, 5, 6, 7)), (8, ["4", "d"])]
    assert [(reject.line, reject.text) for reject in rejects] == [(4, "2"), (6, "3,b,c")]
    assert rejects[1].reason == "the line has more cells (3) than the header (2)"


@pytest.mark.parametrize("mark", list(",;\t|"))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@settings(max_examples=scaled(4, long=12))
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_every_dialect_gives_back_exactly_its_cells(mark: str, encoding: str, end: str, rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    # Python's writer quotes the line ends of its own dialect only.
    is_odd = any(end in cell for row in rows for cell in row for end in "\r\n")
    writer = csv.writer(out, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_ALL if is_odd else csv.QUOTE_MINIMAL)
    expected: Rows = []
    for row in [NAMES, *rows]:
        line = 1 + len(re.findall("\r\n|\r|\n", out.getvalue()))
        expected.append((line, row))
        writer.writerow(row)
    data = out.getvalue().encode(encoding)
    for source in (data, gzip.compress(data)):
        names, found, rejects = read(source)
        assert (names, rejects) == (NAMES, [])
        assert found == expected[1:]


@settings(max_examples=150)
@given(
    rows=st.lists(
        st.tuples(st.integers(10**11, 10**12 - 1), st.sampled_from(["a", "b c", "d,e", "f\ng", ""])), min_size=1
    ),
    at=st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
)
def test_damaged_quoting_never_loses_rows_silently(rows: list[tuple[int, str]], at: list[int]) -> None:
    """Either it is an error, or every line belongs to a row, a reject or a blank line."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([("number", "note"), *rows])
    text = out.getvalue()
    for place in at:
        place %= len(text)
        text = text[:place] + '"' + text[place + (place % 2) :]
    try:
        _, found, rejects = read(text.encode())
    except InvalidInput:
        return
    covered = {line for line, _ in found}
    for reject in rejects:
        covered |= set(range(reject.line, reject.line + 1 + reject.text.count("\n")))
    for line, cells in found:
        covered |= set(range(line, line + 1 + sum(cell.count("\n") for cell in cells)))
    lines = len(text.split("\n")) - text.endswith("\n")
    assert set(range(2, lines + 1)) <= covered
    numbers = {str(number) for number, _ in rows}
    inside = re.findall(r"\d{12}", "".join(cell for _, cells in found for cell in cells[1:] if "\n" in cell))
    assert not numbers & set(inside)


@given(st.lists(st.sampled_from(["0812-3456-7890", "", "  ", "x,y", "# note", "GoPay", '"a"']), min_size=1))
def test_every_line_of_a_plain_list_is_accounted_for(lines: list[str]) -> None:
    text = "number\n" + "".join(f"{line}\n" for line in lines)
    cells = read_cells(io.BytesIO(text.encode()))
    assert len(cells.line) + len(cells.rejects) + cells.blank == len(lines)


def test_a_list_may_say_its_delimiter_and_have_comments_and_titles() -> None:
    assert read(b"sep=;\nnumber;x,y\n1;a\n")[:2] == (["number", "x,y"], [(3, ["1", "a"])])
    names, rows, _ = read(
        b"# made by hand\n\nDaftar, per 20 November\nNo;Nomor HP\n1;0812-3456-7890\n", column="Nomor HP"
    )
    assert (names, rows) == (["No", "Nomor HP"], [(5, ["1", "0812-3456-7890"])])


def test_several_numbers_in_a_line_are_entries_of_that_line() -> None:
    for mark in ",;\t":
        text = f"0812-3456-7890{mark}0812-3456-7891\n0812-3456-7892\n\n0812-3456-7893{mark}\n"
        cells = read_cells(io.BytesIO(text.encode()))
        assert cells.line.tolist() == [1, 1, 2, 4]
        assert cells.blank == 1
        with pytest.raises(InvalidInput, match="2 columns and no header line: line 1 is data"):
            read(text.encode())


@pytest.mark.parametrize("second", ["fraud", "2026-11-20", "21/11/2026", "12950"])
def test_a_table_without_a_header_is_refused(second: str) -> None:
    with pytest.raises(InvalidInput, match="no header line: line 1 is data already, 0812…890, "):
        read_cells(io.BytesIO(f"0812-3456-7890,{second}\n0812-3456-7891,{second}\n".encode()))


@pytest.mark.parametrize("text", ["(0812|0813)345####", "{0812,0813}345####", "0812[3,5]######"])
@pytest.mark.parametrize("first", ["", "0812-3456-7890\n0812-3456-7891\n"])
def test_alternatives_in_brackets_are_one_cell(first: str, text: str) -> None:
    cells = read_cells(io.BytesIO(f"{first}{text}\n".encode()))
    assert (cells.columns["number"].to_pylist()[-1], cells.rejects) == (text, [])


@pytest.mark.parametrize("text", ["081234567890\n081234567891\n", "081234567890;Budi\n081234567891;Ayu\n"])
def test_the_first_row_is_never_taken_for_a_header_by_its_number(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"line 1 is data already, 0812…890.*name no column") as caught:
        read_cells(io.BytesIO(text.encode()), column="081234567890")
    assert "081234567890" not in str(caught.value)


def test_control_characters_reach_no_message() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(b"name\x1b[31m,b\x07ox\n1,2\n")
    assert str(caught.value).isprintable()
    assert "�[31m" in str(caught.value)


def test_the_header_may_be_named_by_its_line() -> None:
    options = TableOptions(header_row=3)
    assert read(b"number,x\n1,2\nphone,y\n3,4\n", options=options, column="phone")[:2] == (
        ["phone", "y"],
        [(4, ["3", "4"])],
    )


@pytest.mark.parametrize("mark", ['"', "a", "0", " "])
def test_a_delimiter_that_a_file_names_has_to_be_one(mark: str) -> None:
    with pytest.raises(InvalidInput, match=r"line 1 names .* as the delimiter, which is not read"):
        read(f"sep={mark}\nnumber{mark}x\n0812{mark}1\n".encode())
