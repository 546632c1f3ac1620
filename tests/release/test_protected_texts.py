"""Files of numbers to protect: plain text as people write it, and every table that a list may be.

All numbers are generated.
"""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import InvalidInput
from blocklist_sdk.release.protected_texts import numbers_of, read_lines
from support.sheets import Cell, write_xlsx

ONE, FIRST = 6_281_234_567_000, 622_115_000_000
EXPECTED = {ONE, *range(FIRST, FIRST + 100)}

PLAIN = "nomor\n# banks, and the ministry\n021-1500-00##   # Bank A, its call centre; asked\n\n0812-3456-7000\n"
CSV = 'Nama,number\n# a comment\n"Bank A, Jakarta",021-1500-00##\nB,0812-3456-7000 # hotline\n'
RANGE = "number;last;note\n+622115000000;+622115000099;A\n0812-3456-7000;;B\n"
JSONL = '{"number": "021-1500-00##", "who": "A"}\n{"number": "0812-3456-7000"}\n'
JSON = '[{"number": "021-1500-00##"}, {"number": "0812-3456-7000"}]'


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"who": ["A", "B"], "number": ["021-1500-00##", "0812-3456-7000"]}), out)
    return out.getvalue()


def read(source: Path | io.BytesIO) -> set[int]:
    return set().union(*numbers_of(read_lines(source), region="ID"))


FILES = {
    "plain.txt": PLAIN.encode(),
    "marked.txt": PLAIN.encode("utf-8-sig"),
    "table.csv": CSV.encode(),
    "tabs.tsv": CSV.replace('"Bank A, Jakarta"', "Bank A").replace(",", "\t").encode(),
    "utf16.txt": CSV.encode("utf-16"),
    "packed.csv.gz": gzip.compress(CSV.encode()),
    "range.csv": RANGE.encode(),
    "lines.jsonl": JSONL.encode(),
    "document.json": JSON.encode(),
    "columns.parquet": parquet(),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_a_list_may_be_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert read(path) == EXPECTED
    assert read(io.BytesIO(FILES[name])) == EXPECTED, "standard input"


def test_a_spreadsheet_is_read_and_its_rows_are_named(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [
        ["Banks"],
        ["who", "number", "last"],
        ["A", "021-1500-0000", "021-1500-0099"],
        ["B", ONE, None],
    ]
    path = write_xlsx(tmp_path / "banks.xlsx", {"Sheet1": rows})
    assert read(path) == EXPECTED
    rows.append(["C", "GoPay", None])
    with pytest.raises(InvalidInput, match=r"banks\.xlsx, line 5: .*letters"):
        read(write_xlsx(path, {"Sheet1": rows}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("number,who\n,Bank A\n", "line 2: the row has no number"),
        ("number,who\n0812-3456-7000,A\n110,police\n", "line 3: '110' is a short code"),
        ("phone,who\n0812-3456-7000,A\n", "no single column with the numbers"),
        ("0812-3456-7000,0812-3456-7001\n", "no header line"),
        ('number,who\n0812-3456-7000,"A\n', "line 2"),
        ("<html><body>Sign in; please</body></html>", "an HTML page"),
    ],
)
def test_one_row_that_cannot_be_protected_refuses_the_file(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=reason) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "--column" not in str(error.value), "there is no such option here"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read the protected numbers in .*nowhere\.csv"):
        read_lines(tmp_path / "nowhere.csv")
