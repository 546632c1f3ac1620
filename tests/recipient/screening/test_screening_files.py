"""Files in, the same files with answers out: whole or not at all."""

import csv
import errno
import gzip
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Refused, StorageFailed
from blocklist_sdk.numbers import decide_form
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.next_release import EntryDefaults
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.recipient.screening import files
from blocklist_sdk.recipient.screening.files import ADDED, screen_file
from blocklist_sdk.tables import delimited, streams, table
from support.command_line import assert_fails, run
from support.world import FEED, FIRST, LISTED, World, make_world

BLOCKED = ["6281200000001", "true", "block", "fraud", "listed"]
FREE = ["6289900000001", "false", "", "", "not-listed"]
NO_NUMBER = [""] * 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def blocklist(world: World) -> Blocklist:
    recipient = world.recipient()
    recipient.sync()
    return recipient


def written(path: Path, delimiter: str = ",") -> list[list[str]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def screen(blocklist: Blocklist, source: Path, output: Path, **options: Any) -> files.ScreeningResult:
    return screen_file(blocklist.screening(), source, output, **options)


def test_a_messy_csv_file(blocklist: Blocklist, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(
        "\ufeffname;msisdn;note\r\n"
        "A;0812-0000-0001;x\r\n"
        'B;"0899 0000 0001";"a;b ""c"""\r\n'
        "\r\n"
        "C;nan;\r\n"
        "D;;0812\r\n"
        "E;1;2;3\r\n"
        "F;0812-0000\n-0001;\n".encode()
        + b"G;0812-0000-0001;caf\xe9\r\n"
        + b"H;\xff0812-0000-0001;\r\n"
    )
    summary = screen(blocklist, source, output, column="msisdn", max_rejects=0.5)
    nothing = ["", "", "", *NO_NUMBER]
    assert written(output, ";") == [
        ["name", "msisdn", "note", *ADDED],
        ["A", "0812-0000-0001", "x", *BLOCKED],
        ["B", "0899 0000 0001", 'a;b "c"', *FREE],
        nothing,
        ["C", "nan", "", *NO_NUMBER],
        ["D", "", "0812", *NO_NUMBER],
        nothing,
        nothing,
        nothing,
        ["G", "0812-0000-0001", "caf\ufffd", *BLOCKED],
        ["H", "\ufffd0812-0000-0001", "", *NO_NUMBER],
    ]
    assert (summary.rows, summary.blocked, summary.invalid, summary.empty) == (7, 2, 2, 2)
    # One line with four cells, and two halves of a line that was broken without quotation marks.
    assert (summary.unreadable, summary.written) == (3, 10)
    assert [reject.line for reject in summary.rejects] == [7, 8, 9]


def test_blank_lines_stay_bare_beside_quoted_cells(blocklist: Blocklist, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('number;note\n0812-0000-0001;"a;b"\n\n')
    screen(blocklist, source, output)
    assert output.read_text().splitlines()[2] == ";;;;;;"


@pytest.mark.parametrize(
    ("encoding", "has_mark"), [("utf-8", False), ("utf-8-sig", True), ("utf-16", True), ("utf-16-le", True)]
)
def test_the_output_has_a_mark_if_a_spreadsheet_wrote_the_input(
    blocklist: Blocklist, tmp_path: Path, encoding: str, has_mark: bool
) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes("number;name\n0812-0000-0001;Zoë\n".encode(encoding))
    screen(blocklist, source, output)
    assert output.read_bytes().startswith(b"\xef\xbb\xbf") == has_mark
    assert written(output, ";")[1] == ["0812-0000-0001", "Zoë", *BLOCKED]


def test_a_cell_with_a_line_break_stays_one(blocklist: Blocklist, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('number,note\n0812-0000-0001,"two\nlines"\n')
    screen(blocklist, source, output)
    assert written(output)[1] == ["0812-0000-0001", "two\nlines", *BLOCKED]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_plain_numbers_without_a_header(blocklist: Blocklist, tmp_path: Path, encoding: str, is_gzip: bool) -> None:
    data = "0812-0000-0001\n\uff10\uff18\uff19\uff19 0000 0001\n".encode(encoding)
    source = tmp_path / "in"
    source.write_bytes(gzip.compress(data) if is_gzip else data)
    output = tmp_path / "out.csv.gz"
    screen(blocklist, source, output)
    assert [row[1:] for row in written(output)] == [list(ADDED), BLOCKED, FREE]


def test_parquet_keeps_its_columns(blocklist: Blocklist, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int16()),
            "tags": pa.array([["a"], [], None]),
            "msisdn": pa.array([6281200000001, None, 6289900000001]),
        }
    )
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    summary = screen(blocklist, source, output, column="msisdn")
    found = pq.read_table(output)
    assert found.select(table.column_names).equals(table)
    assert found.column("blocklist_blocked").to_pylist() == [True, None, False]
    assert (summary.blocked, summary.empty, summary.invalid) == (1, 1, 0)
    with pytest.raises(InvalidInput, match=r"'tags'.*write Parquet"):
        screen(blocklist, source, tmp_path / "out.csv", column="msisdn")
    assert not (tmp_path / "out.csv").exists()


def test_only_hits(blocklist: Blocklist, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("number\n0899-0000-0001\n0812-0000-0001\nGoPay\n")
    summary = screen(blocklist, source, output, only_hits=True)
    assert [row[0] for row in written(output)] == ["number", "0812-0000-0001"]
    assert (summary.rows, summary.written) == (3, 1)


def test_a_screened_file_may_be_screened_again(blocklist: Blocklist, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("number\n0812-0000-0001\n")
    for _ in range(2):
        screen(blocklist, source, source)
    assert written(source) == [["number", *ADDED], ["0812-0000-0001", *BLOCKED]]


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_a_header_and_nothing_else(blocklist: Blocklist, tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text("number,note\n")
    assert screen(blocklist, source, tmp_path / name).rows == 0
    output = tmp_path / name
    names = pq.read_table(output).column_names if output.suffix == ".parquet" else written(output)[0]
    assert names == ["number", "note", *ADDED]


def test_files_of_many_blocks(blocklist: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(streams, "HEAD_BYTES", 4096)
    monkeypatch.setattr(table, "PARQUET_ROWS", 100)
    numbers = FIRST * 3
    source = tmp_path / "in.csv"
    source.write_text("number\n" + "".join(f"{number}\n" for number in numbers))
    told: list[tuple[int, int]] = []
    summary = screen(
        blocklist, source, tmp_path / "out.parquet", progress=lambda done, total: told.append((done, total))
    )
    assert (summary.rows, summary.blocked) == (len(numbers), len(numbers))
    again = screen(blocklist, tmp_path / "out.parquet", tmp_path / "again.csv")
    assert [row[0] for row in written(tmp_path / "again.csv")[1:]] == numbers
    assert again.blocked == len(numbers)
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1][0] <= told[-1][1] == source.stat().st_size


@pytest.mark.parametrize("held", [0, 1 << 30])
@pytest.mark.parametrize("is_stdin", [False, True])
def test_the_whole_column_decides_the_form_and_not_its_beginning(
    blocklist: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, is_stdin: bool
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(streams, "HEAD_BYTES", 4096)
    monkeypatch.setattr(files, "_HELD_BYTES_MAX", held)
    # The first rows alone would be read as Cambodian numbers.
    rows = ["85512345678", "85251234567", "14155550100"] * 200 + [f"0{LISTED[3:]}"] * 60_000
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("number,note\n" + "".join(f"{row},x\n" for row in rows))
    given: Any = io.BytesIO(source.read_bytes()) if is_stdin else source
    summary = screen(blocklist, given, output)
    cells = read_cells(source).columns["number"]
    assert (summary.form.form, decide_form(cells, region="ID").form) == ("national", "national")
    assert (summary.rows, summary.blocked) == (len(rows), 60_000)
    assert [row[0] for row in written(output)[1:]] == rows


@pytest.mark.parametrize("national", [38_001, 37_999])
def test_a_recipient_decides_at_the_threshold_as_a_publisher_does(
    blocklist: Blocklist, tmp_path: Path, national: int
) -> None:
    """95 % decide. Blank and unreadable rows, all at the beginning, are no rows of the sample for either."""
    chance = random.Random(national)
    rows = [f"0{LISTED[3:]}"] * national + ["14155550100"] * (40_000 - national)
    chance.shuffle(rows)
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    beginning = ["", "  ,x", ",", "6.28E+12,x", "0812-0000-0009,x,too,many", '"\u00a0",x'] * 5_000
    source.write_text("number,note\n" + "".join(f"{line}\n" for line in [*beginning, *(f"{row},x" for row in rows)]))
    summary = screen(blocklist, source, output, max_rejects=0.5)
    _, _, published = read_rows(read_cells(source), region="ID", defaults=EntryDefaults("block", "fraud", "a", "sms"))
    assert summary.form == published
    assert summary.form.texts == 20_000 or summary.form.texts == 10_000


def test_a_screening_stays_as_it_is_when_a_column_decides(blocklist: Blocklist) -> None:
    screening = blocklist.screening()
    column = pa.array(["85512345678", "85251234567", "14155550100"])
    decided, decision = screening.with_form_of(column)
    assert decision.form == "international"
    assert decided.batch(column)["number"].to_pylist() == [85512345678, 85251234567, 14155550100]
    assert screening.batch(column)["number"][0].as_py() == 6285512345678
    assert screening.needs_column


def test_a_header_that_is_not_utf8(blocklist: Blocklist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"n\xfamero,msisdn\nx,0812-0000-0001\n")
    for name in ("out.csv", "out.parquet"):
        assert screen(blocklist, source, tmp_path / name, column="msisdn").blocked == 1
    assert written(tmp_path / "out.csv")[0][:2] == ["n\ufffdmero", "msisdn"]


def test_a_quotation_mark_that_is_never_closed_is_an_error_that_names_its_line(
    blocklist: Blocklist, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text('number,note\n0812-0000-0001,a\n"0812-0000-0001,b\n0812-0000-0001,c\n0812-0000-0001,d\n')
    with pytest.raises(InvalidInput, match="line 3: the quotation mark"):
        screen(blocklist, source, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [source]


def test_rows_keep_their_places(blocklist: Blocklist, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("0812-0000-0001\n\n0899-0000-0001\n\n0812-0000-0001\n")
    summary = screen(blocklist, source, output)
    assert [row[0] for row in written(output)[1:]] == source.read_text().split("\n")[:-1]
    assert (summary.rows, summary.blocked, summary.empty, summary.written) == (5, 2, 2, 5)


def test_a_file_without_any_number_is_refused_with_a_hint(blocklist: Blocklist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("name,number\nA,GoPay\nB,x\n")
    with pytest.raises(InvalidInput, match=r"not one of the 2 rows.*--column.*--region.*--form"):
        screen(blocklist, source, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [source]


def test_too_many_rows_that_cannot_be_read_are_refused(blocklist: Blocklist, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("number,x\n" + "0812-0000-0001,1\n" * 8 + "0812-0000-0001,1,2\n")
    with pytest.raises(Refused, match=r"1 of 9 rows .* cannot be read.*line 10: the line has more cells \(3\)"):
        screen(blocklist, source, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [source]
    assert screen(blocklist, source, tmp_path / "out.csv", max_rejects=0.2).unreadable == 1


def test_a_file_name_that_is_not_utf8(blocklist: Blocklist, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    odd.write_text("number\n0812-0000-0001\n")
    with pytest.raises(InvalidInput, match="not UTF-8: rename"):
        screen(blocklist, odd, tmp_path / "out.csv")


BAD = {
    "missing": (None, "in.csv"),
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty"),
    "no such column": (b"number,b\n1,2\n", "no column 'msisdn'"),
    "cut gzip": (gzip.compress(b"msisdn\n" + os.urandom(5000).hex().encode())[:-2000], "in.csv"),
    "garbage Parquet": (b"PAR1" + bytes(100), "in.csv"),
    "one endless cell": (b'"number\n' + b"0812-0000-0001\n" * 20_000, "in.csv"),
    "no line like the first": (b"msisdn\n1,\n2,\n", "no line of"),
    "half of UTF-16": ("msisdn\n0812\n".encode("utf-16")[:-1], "in.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_writes_nothing(blocklist: Blocklist, tmp_path: Path, case: str) -> None:
    data, words = BAD[case]
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    if data is not None:
        source.write_bytes(data)
    output.write_text("what was there before")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidInput, match=words):
        screen(blocklist, source, output, column="msisdn")
    assert output.read_text() == "what was there before"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv.zst"])
def test_a_name_that_says_no_format(blocklist: Blocklist, tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text("number\n0812-0000-0001\n")
    with pytest.raises(InvalidInput, match="name must end with"):
        screen(blocklist, source, tmp_path / name)
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk(blocklist: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.csv"
    source.write_text("number\n0812-0000-0001\n")

    def full(*_: object) -> pa.Array:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_written", full)
    with pytest.raises(StorageFailed):
        screen(blocklist, source, tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [source]


def test_the_command(world: World, blocklist: Blocklist, tmp_path: Path) -> None:
    env = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
    }
    source = tmp_path / "in.csv"
    source.write_text(f"msisdn,age\n{LISTED},1\nGoPay,2\n,3\n1,2,3\n")
    options = ("--column", "msisdn", "--max-rejects", "0.3")
    ran = run("screen", source, *options, "-o", tmp_path / "out.csv", env=env)
    assert ran.code == 0
    assert "4 rows: 1 blocked, 0 advisory, 1 not a number, 1 empty, 1 unreadable; 4 written to" in ran.out
    assert "1 row cannot be read, with more or fewer cells than the header: not screened, and" in ran.err
    assert "are not in the output: line 5" in ran.err
    assert run("screen", source, *options, "--strict", "-o", tmp_path / "out.csv", env=env).code == 7
    assert_fails(
        run("screen", source, "--column", "msisdn", "-o", tmp_path / "o.csv", env=env), 6, "1 of 4 rows", "line 5"
    )
    document = run("screen", source, *options, "-o", tmp_path / "out.csv", "--json", env=env).document
    assert (document["rows"], document["blocked"], document["unreadable"]) == (3, 1, 1)
    assert json.dumps(document)
    assert_fails(run("screen", source, "--column", "b", "-o", tmp_path / "o.csv", env=env), 2, "'b'", "msisdn, age")
    assert "--map" not in run("screen", source, "--column", "b", "-o", tmp_path / "o.csv", env=env).err
    assert_fails(run("screen", tmp_path / "no.csv", "-o", tmp_path / "o.csv", env=env), 2, "no.csv")
    assert_fails(run("screen", source, env=env), 2, "--output")
