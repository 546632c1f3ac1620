"""Lists as people keep them: what is read, what is rejected and with which line, what is refused as a whole."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.next_release import EntryDefaults, ListRows
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.tables.rejects import Reject

DEFAULTS = EntryDefaults(level="block", category="fraud", issuer="authority", scope="sms+voice")
A, B, C = 6281234567890, 6281234567891, 6281234567892


def read(source: Any, *, column: str | None = None, region: str | None = "ID") -> tuple[ListRows, list[Reject]]:
    rows, rejects, _ = read_rows(read_cells(source, column=column), region=region, defaults=DEFAULTS)
    return rows, rejects


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "list.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def numbers(found: tuple[ListRows, list[Reject]]) -> list[tuple[int, int]]:
    return list(zip(found[0].line.tolist(), found[0].number.tolist(), strict=True))


def rejects(found: tuple[ListRows, list[Reject]]) -> list[tuple[int, str]]:
    return [(reject.line, reject.text) for reject in found[1]]


@pytest.mark.parametrize(
    "text",
    [
        "number\n0812-3456-7890\n+62 812 3456 7891\n",
        "number\r\n0812-3456-7890\r\n+62 812 3456 7891\r\n",
        "number\r0812-3456-7890\r+62 812 3456 7891",
        "﻿Number\n0812-3456-7890\n+62 812 3456 7891",
        "pattern\n0812-3456-7890\n6281234567891",
        'number;category\n0812-3456-7890;fraud\n"+62 812 3456 7891";fraud\n',
        "category\tmsisdn\nfraud\t0812-3456-7890\nfraud\t0812-3456-7891\n",
    ],
)
def test_lists_with_a_header_are_read_as_they_come(write: Any, text: str) -> None:
    found = read(write(text))
    assert numbers(found) == [(2, A), (3, B)]
    assert found[1] == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list"])
def test_a_plain_list_needs_no_header(write: Any, name: str, packed: bool) -> None:
    text = b"081234567890\n\n  \n081234567891\n"
    found = read(write(gzip.compress(text) if packed else text, name))
    assert numbers(found) == [(1, A), (4, B)]
    assert found[1] == []


def test_utf_16_as_spreadsheets_write_it(write: Any) -> None:
    assert numbers(read(write("number\tcategory\r\n081234567890\tfraud\r\n".encode("utf-16")))) == [(2, A)]


def test_every_row_that_is_not_a_number_is_rejected_by_its_line(write: Any) -> None:
    bad = ["nan", "*****", "112", "GoPay", "0812-3456-7890 # scam", "0812 3456 789O", "7", "0" * 20, "-", '""']
    found = read(write("number\n" + "081234567890\n".join(f"{text}\n" for text in bad)))
    assert rejects(found) == [(2 + 2 * i, text.strip('"')) for i, text in enumerate(bad) if text != '""']
    assert len(found[0]) == len(bad) - 1
    assert all(reject.reason for reject in found[1])


def test_several_numbers_in_a_line_are_rejected_and_not_guessed_at(write: Any) -> None:
    found = read(write("number\n081234567890,081234567891\n081234567892\n081234567890/081234567891\n"))
    assert numbers(found) == [(3, C)]
    assert rejects(found) == [(2, "081234567890,081234567891"), (4, "081234567890/081234567891")]


def test_rows_of_another_width_are_rejected(write: Any) -> None:
    found = read(write("number,category\n081234567890,fraud\n081234567891\n,,\n081234567892,fraud,,\n"))
    assert numbers(found) == [(2, A)]
    assert rejects(found) == [(3, "081234567891"), (5, "081234567892,fraud,,")]


def test_lines_are_those_of_the_file_even_after_cells_of_several_lines(write: Any) -> None:
    found = read(write('number,note\n081234567890,"one\ntwo\n\nfour"\nbad,x\n081234567891,y\n'))
    assert numbers(found) == [(2, A), (7, B)]
    assert rejects(found) == [(6, "bad")]


def test_bytes_that_are_not_utf_8_reject_only_their_line(write: Any) -> None:
    found = read(write(b"number,category\n081234567890,fraud\n081234567891,b\xfcro\n081234567892,fraud\n"))
    assert numbers(found) == [(2, A), (4, C)]
    assert [(reject.line, reject.reason) for reject in found[1]] == [(3, "not UTF-8")]


def test_patterns_and_ranges_are_read_as_ranges(write: Any) -> None:
    text = "number\n+3316200____\n+6281200000000-+6281200009999\n0812 3456 78##\n+33162*\n081234567890\n+6281234567..\n"
    candidate, invalid = read(write(text))
    spans = list(zip(candidate.line.tolist(), candidate.number.tolist(), candidate.last.tolist(), strict=True))
    assert spans[:3] == [
        (2, 33162000000, 33162009999),
        (3, 6281200000000, 6281200009999),
        (4, 6281234567800, 6281234567899),
    ]
    assert [(first, last) for line, first, last in spans if line == 5] == [(33162000000, 33162999999)]
    assert spans[-2:] == [(6, A, A), (7, 628123456700, 628123456799)]
    assert invalid == []


def test_classes_of_digits_are_never_read_as_separators(write: Any) -> None:
    text = "number\n+6281234567[0-9]\n0812[3-5]######\n08[12]34567890\n+62[24]5551234\n0812［3-5］######\n"
    candidate, invalid = read(write(text))
    assert list(zip(candidate.line.tolist(), candidate.number.tolist(), candidate.last.tolist(), strict=True)) == [
        (2, 62812345670, 62812345679),
        (3, 628123000000, 628125999999),
        (4, 628134567890, 628134567890),
        (4, 628234567890, 628234567890),
        (6, 628123000000, 628125999999),
    ]
    assert [reject.line for reject in invalid] == [5]


def test_a_range_may_have_its_end_in_a_column(write: Any) -> None:
    text = (
        "number,last\n081234567800,081234567899\n081234567890,\n081234567899,081234567800\n"
        "081234567800,nan\n,081234567899\n081234567800,08123456789012\n"
    )
    candidate, invalid = read(write(text))
    assert candidate.number.tolist() == [6281234567800, A]
    assert candidate.last.tolist() == [6281234567899, A]
    assert [reject.line for reject in invalid] == [4, 5, 6, 7]


def test_optional_columns_are_read_and_empty_cells_mean_the_default(write: Any) -> None:
    text = (
        "number,entry,level,category,issuer,scope,since,until,officer\n"
        '081234567890,7,advisory,phishing,ojk,"voice, sms",2025-01-31,2025-06-30T12:00:00+07:00,x\n'
        "081234567891,8,,,,,,,\n"
    )
    candidate, invalid = read(write(text))
    assert invalid == []
    assert candidate.entry is not None
    assert candidate.entry.tolist() == [7, 8]
    texts = {name: getattr(candidate, name).tolist() for name in ("level", "category", "issuer", "scope")}
    assert texts == {
        "level": ["advisory", "block"],
        "category": ["phishing", "fraud"],
        "issuer": ["ojk", "authority"],
        "scope": ["sms+voice", "sms+voice"],
    }
    assert candidate.since is not None
    assert candidate.until is not None
    assert candidate.since[0] == datetime(2025, 1, 31, tzinfo=UTC).timestamp() * 1000
    assert candidate.until.tolist() == [datetime(2025, 6, 30, 5, tzinfo=UTC).timestamp() * 1000, FOREVER_MS]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("level", "blocked", "level must be block or advisory, not 'blocked'"),
        ("scope", "fax", "scope must be data, messaging"),
        ("since", "31.01.2025", "since must be a moment such as 2025-01-31T12:00:00Z, not '31.01.2025'"),
        ("until", "soon", "until must be a moment such as 2025-01-31T12:00:00Z, not 'soon'"),
        ("entry", "0", "entry must be a whole number"),
        ("entry", "x", "entry must be a whole number"),
    ],
)
def test_a_cell_that_cannot_be_read_rejects_its_row(write: Any, column: str, cell: str, reason: str) -> None:
    good = {"level": "block", "scope": "sms", "since": "2025-01-01", "until": "", "entry": "1"}[column]
    found = read(write(f"number,{column}\n081234567890,{good}\n081234567891,{cell}\n"))
    assert numbers(found) == [(2, A)]
    (reject,) = found[1]
    assert reject.line == 3
    assert reason in reject.reason


def test_an_end_before_the_beginning_is_rejected(write: Any) -> None:
    found = read(write("number,since,until\n081234567890,2025-02-01,2025-01-01\n081234567891,2025-01-01,2025-02-01"))
    assert [reject.line for reject in found[1]] == [2]


def test_json_lines(write: Any) -> None:
    rows: list[Any] = [
        {"number": "0812-3456-7890", "scope": ["voice", "sms"], "x": {}},
        {"number": 6281234567891, "category": "phishing"},
        {"number": 6.2e12},
        {"category": "spam"},
        ["0812-3456-7892"],
    ]
    text = "\n".join(map(json.dumps, rows)) + "\n\nnot json\n"
    found = read(write(text, "list.jsonl"))
    assert numbers(found) == [(1, A), (2, B)]
    assert [reject.line for reject in found[1]] == [3, 4, 5, 7]
    assert found[0].scope is not None
    assert found[0].scope.tolist() == ["sms+voice", "sms+voice"]


def test_tables_of_any_library_and_parquet(tmp_path: Path) -> None:
    import polars

    table = pa.table(
        {
            "number": pa.array(["0812-3456-7890", None, "x"]).dictionary_encode(),
            "since": pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "Asia/Jakarta")),
            "scope": [["voice", "sms"], None, None],
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    for source in (table, polars.from_arrow(table), tmp_path / "list.parquet"):
        found = read(source)
        assert numbers(found) == [(1, A)]
        assert rejects(found) == [(2, ""), (3, "x")]
        assert found[0].since is not None
        assert found[0].since.tolist() == [datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000]


@pytest.mark.parametrize("region", ["ID", None])
def test_integers_may_be_e164_numbers(region: str | None) -> None:
    found = read(pa.table({"number": [A, B, 112]}), region=region)
    assert numbers(found) == [(1, A), (2, B)]
    assert [reject.line for reject in found[1]] == [3]


def test_national_numbers_need_a_region(write: Any) -> None:
    found = read(write("number\n081234567890\n+6281234567891\n"), region=None)
    assert numbers(found) == [(3, B)]
    assert rejects(found) == [(2, "081234567890")]


@pytest.mark.parametrize(
    ("text", "name", "column", "message"),
    [
        (b"", "list.csv", None, "is empty"),
        (b"\n \n", "list.csv", None, "is empty"),
        (b"number\n0812\n", "list.csv", "msisdn", "no column 'msisdn'; its columns are: number"),
        (b"081234567890\n", "list.csv", "number", r"no header line: line 1 is data already, 0812…890"),
        (b"081234567890\n", "list.csv", "081234567890", r"no header line"),
        (b"phone,other\n0812,x\n", "list.csv", None, "its columns are: phone, other"),
        (b"number,number\n1,2\n", "list.csv", None, "no single column"),
        (b"0812,0813\n", "list.csv", None, "no header line"),
        (b'number\n"0812\n0813\n', "list.csv", None, "line 2"),
        (b'number\n"0812"x\n', "list.csv", None, "line 2"),
        (gzip.compress(b"number\n081234567890\n" * 99, mtime=0)[:-9], "list.csv.gz", None, "incomplete"),
        (b"\x1f\x8bnot gzip at all", "list.csv.gz", None, "cannot read|cut off"),
        (b"PAR1 is not enough", "list.parquet", None, "not a readable Parquet file"),
        (b"[1]\n", "list.jsonl", None, "no JSON object"),
        (b"\xff\xfe\x00\xd8\x00\x00", "list.csv", None, "encoding"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(
    write: Any, text: bytes, name: str, column: str | None, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(write(text, name), column=column)


def test_what_is_not_a_list_is_refused(tmp_path: Path) -> None:
    for source, message in (
        (tmp_path / "absent.csv", "cannot read"),
        (tmp_path, "not a regular file"),
        (["0812"], "not a list"),
        (pa.table({"number": [1.5]}), "double"),
        (pa.table({"number": ["0812"], "level": [1]}), "'level' must be text, not int64"),
    ):
        with pytest.raises(InvalidInput, match=message):
            read(source)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"'), max_size=8), max_size=20))
def test_no_line_is_ever_lost(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    """Every line is a row, a reject or blank."""
    path = tmp_path_factory.mktemp("lists") / "list.csv"
    text = "number,x\n" + "".join(f"{cell},x\n" for cell in cells)
    path.write_text(text, newline="", encoding="utf-8")
    cells_read = read_cells(path)
    _, invalid, _ = read_rows(cells_read, region="ID", defaults=DEFAULTS)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:-1]
    found = {*cells_read.line.tolist(), *(reject.line for reject in invalid)}
    blank = [line for line in lines if not line.strip()]
    assert len(found) + cells_read.blank == len(lines)
    assert cells_read.blank >= len(blank)


def test_json_lines_that_python_cannot_read_cost_themselves_only(write: Any) -> None:
    deep = [f'{{"number": {"[" * depth}{"]" * depth}}}' for depth in (10, 900, 960, 980, 990, 100_000)]
    lines = [
        '{"number": "0812-3456-7890"}',
        "[" * 100_000,
        '{"number": "\\ud800"}',
        '{"number": "0812-3456-7891", "category": "\\udc80\\ud800"}',
        '{"number": -6281234567890}',
        '{"number": "0812-3456-7890", "last": -1}',
        '{"number": ' + "9" * 5000 + "}",
        *deep,
        '{"number": 6281234567891, "\\ud800": 1}',
    ]
    found = read(write("\n".join(lines), "list.jsonl"))
    assert numbers(found) == [(1, A), (len(lines), B)]
    assert [reject.line for reject in found[1]] == list(range(2, len(lines)))
    reasons = {reject.line: reject.reason for reject in found[1]}
    assert reasons[2].startswith("not JSON")
    assert reasons[3] == "its 'number' is not UTF-8"
    assert reasons[5] == reasons[6] == "a negative integer is not a telephone number"
    assert all(reject.text.encode() is not None for reject in found[1])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("column", ["number", "category"])
def test_texts_in_tables_that_are_not_utf_8_reject_only_their_row(
    tmp_path: Path, kind: pa.DataType, column: str
) -> None:
    raw: dict[str, list[bytes | None]] = {
        "number": [b"0812-3456-7890", b"0812-3456-7891", b"0812-3456-7892"],
        "category": [b"fraud", b"x", None],
    }
    raw[column][1] = b"b\xfcro"
    table = pa.table({name: of_bytes(cells, kind) for name, cells in raw.items()})
    pq.write_table(table, tmp_path / "list.parquet")
    for source in (table, tmp_path / "list.parquet"):
        found = read(source)
        assert numbers(found) == [(1, A), (3, C)]
        assert [(reject.line, reject.reason) for reject in found[1]] == [(2, "not UTF-8")]
        assert found[1][0].text == ("b\\xfcro" if column == "number" else "0812-3456-7891")


def of_bytes(cells: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """A column of texts as a writer makes it that does not look at them."""
    plain = pa.array(cells, pa.binary())
    offsets = plain.buffers()[1:]
    texts = pa.Array.from_buffers(pa.string(), len(cells), [plain.buffers()[0], *offsets])
    if pa.types.is_dictionary(kind):
        return texts.dictionary_encode()
    if pa.types.is_string_view(kind):
        views = pa.array(cells, pa.binary_view())
        return pa.Array.from_buffers(kind, len(cells), views.buffers())
    return texts.cast(kind)


def test_a_list_of_scopes_that_is_not_utf_8_is_refused() -> None:
    scopes = pa.ListArray.from_arrays([0, 1, 2], of_bytes([b"sms", b"\xff"], pa.string()))
    with pytest.raises(InvalidInput, match="'scope' is damaged"):
        read(pa.table({"number": ["0812-3456-7890", "0812-3456-7891"], "scope": scopes}))


@pytest.mark.parametrize("region", ["ID", None])
@pytest.mark.parametrize("column", ["number", "last", "entry"])
def test_integers_beyond_64_bits_cost_their_own_row_only(region: str | None, column: str) -> None:
    columns = {"number": [A, B], "last": [A, B], "entry": [1, 2]}
    columns[column][1] = 2**63
    found = read(pa.table({name: pa.array(cells, pa.uint64()) for name, cells in columns.items()}), region=region)
    assert numbers(found) == [(1, A)]
    assert [reject.line for reject in found[1]] == [2]


@pytest.mark.parametrize("region", ["ID", None])
@pytest.mark.parametrize("column", ["number", "last"])
def test_negative_integers_are_not_numbers(region: str | None, column: str) -> None:
    columns = {"number": [A, B], "last": [A, B]}
    columns[column][1] = -B
    found = read(pa.table(columns), region=region)
    assert numbers(found) == [(1, A)]
    assert [(reject.line, reject.reason) for reject in found[1]] == [
        (2, "a negative integer is not a telephone number")
    ]


@pytest.mark.parametrize("entry", [2**53, 10**18 - 1, 2**63 - 1])
@pytest.mark.parametrize("as_text", [True, False])
def test_entry_ids_have_a_bound(entry: int, as_text: bool) -> None:
    """One near the end of 64 bits would leave no id for any later entry of the feed."""
    ids = [2**53 - 1, entry]
    found = read(pa.table({"number": [A, B], "entry": [str(each) for each in ids] if as_text else ids}))
    assert numbers(found) == [(1, A)]
    (reject,) = found[1]
    assert "from 1 to 9007199254740991" in reject.reason


def test_a_long_cell_costs_itself_only(write: Any) -> None:
    found = read(write("number\n081234567890\n" + "0" * 200_000 + "\n"))
    assert numbers(found) == [(2, A)]
    assert [(reject.line, len(reject.text)) for reject in found[1]] == [(3, 200_000)]


def test_a_line_that_does_not_end_is_not_a_list(write: Any) -> None:
    with pytest.raises(InvalidInput, match=r"line 3 is longer than 8,388,608 bytes"):
        read(write("number\n081234567890\n" + "0" * 20_000_000 + "\n"))


@pytest.mark.parametrize("name", ["list.csv", "list.parquet", "list.jsonl", "table"])
def test_white_space_around_column_names_makes_no_difference(tmp_path: Path, name: str) -> None:
    table = pa.table({"id": ["x"], " number ": ["0812-3456-7890"], "category ": ["phishing"]})
    path = tmp_path / name
    if name == "list.csv":
        path.write_text("id, number ,category \nx,0812-3456-7890,phishing\n")
    elif name == "list.jsonl":
        path.write_text('{"id": "x", " number ": "0812-3456-7890", "category ": "phishing"}\n')
    else:
        pq.write_table(table, path)
    for column in (None, "number", " number "):
        candidate, invalid = read(table if name == "table" else path, column=column)
        assert (candidate.number.tolist(), invalid) == ([A], [])
        assert candidate.category is not None
        assert candidate.category.tolist() == ["phishing"]


@pytest.mark.parametrize(
    ("text", "column"),
    [("GoPay\n081234567890\n", "GoPay"), ("number\n081234567890\n", "number"), ("081234567890\n081234567891\n", None)],
)
def test_the_text_taken_for_the_columns_name_is_returned(write: Any, text: str, column: str | None) -> None:
    assert read_cells(write(text)).column == column


def test_objects_that_only_look_like_tables() -> None:
    for source in (pa.array(["0812-3456-7890"]), "a\0b", Path("x" * 5000)):
        with pytest.raises(InvalidInput):
            read_cells(source)
