"""Commands that read tables: columns by meaning, standard input, and exit codes where rows were rejected."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Blocklist, Publisher
from support.command_line import Ran, assert_fails, run
from support.sheets import MINISTRY, write_xlsx
from support.world import FEED, FIRST, World, make_world

ENV = {"BLOCKLIST_PASSPHRASE": "generated for a test"}

MAPS = (
    "--map",
    "number=nomor hp",
    "--map",
    "category=Jenis",
    "--map",
    "category:penipuan=fraud",
    "--map",
    "category:JUDI=gambling",
    "--map",
    "since=Tanggal",
    "--date-format",
    "dd/mm/yyyy",
)

MAP_FILE = """
[columns]
number = "Nomor HP"
category = "Jenis"
since = "Tanggal"

[values.category]
penipuan = "fraud"
judi = "gambling"

[dates]
format = "dd/mm/yyyy"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "authority"
    assert run("publish", "init", directory, "--feed", "id-all", "--region", "ID", env=ENV).code == 0
    return directory


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def env(world: World, tmp_path: Path) -> dict[str, str]:
    settings = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
    }
    assert run("sync", env=settings).code == 0
    return settings


def release(folder: Path, source: str | Path, *options: str | Path, stdin: bytes = b"") -> Ran:
    return run("publish", "release", folder, "--feed", "id-all", "--from", source, *options, env=ENV, stdin=stdin)


def listed(folder: Path) -> list[tuple[int, str, str]]:
    """Number, category and the day from which on it is listed, of what recipients get."""
    publisher = Publisher.open(folder, passphrase=None)
    with Blocklist.open(
        publisher.repository.as_uri(),
        feed="id-all",
        root=publisher.root,
        region="ID",
        cache_dir=folder.parent / "cache",
    ) as blocklist:
        blocklist.sync()
        return [
            (row["number"], row["category"], row["since"].date().isoformat())
            for row in blocklist.to_arrow().to_pylist()
        ]


@pytest.mark.parametrize("by_file", [False, True])
def test_the_ministrys_spreadsheet_in_one_command(folder: Path, tmp_path: Path, by_file: bool) -> None:
    source = write_xlsx(tmp_path / "daftar.xlsx", {"Data": MINISTRY, "Sheet2": []})
    (tmp_path / "maps.toml").write_text(MAP_FILE)
    ran = release(folder, source, *(("--map-file", tmp_path / "maps.toml") if by_file else MAPS))
    assert ran.code == 0, ran.err
    said = ran.err.splitlines()
    assert said[0].startswith("blocklist: skipped 2 lines above the header in line 3: DAFTAR NOMOR PENIPUAN")
    assert said[1] == "blocklist: ignored columns: 'No.', 'Keterangan'"
    assert listed(folder) == [
        (6281234567890, "fraud", "2026-11-20"),
        (6281234567891, "gambling", "2026-11-21"),
        (6281234567892, "fraud", "2026-11-21"),
    ]


def test_strict_publishing_says_that_rows_were_rejected(folder: Path) -> None:
    text = b"number\n" + b"0812-3456-7890\n" * 20 + b"GoPay\n"
    assert release(folder, "-", stdin=text).code == 0
    ran = release(folder, "-", "--strict", stdin=text)
    assert (ran.code, "release 2" in ran.out) == (7, True)


def test_a_date_that_needs_a_format_is_rejected_with_a_hint(folder: Path) -> None:
    ran = release(folder, "-", stdin=b"number,until\n0812-3456-7890,31/12/2099\n")
    assert_fails(ran, 2, "line 2", "--date-format dd/mm/yyyy")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--map", "number"), "must be NAME=COLUMN"),
        (("--map", "category:=x"), "must be NAME=COLUMN"),
        (("--map", "nomor=Nomor HP"), "'nomor' is not a column that is read"),
        (("--map-file", "nowhere.toml"), "cannot read the map file"),
        (("--date-format", "soon"), "not a format of dates"),
    ],
)
def test_a_mapping_that_cannot_be_used(folder: Path, options: tuple[str, ...], words: str) -> None:
    assert_fails(release(folder, "-", *options, stdin=b"number\n0812-3456-7890\n"), 2, words)


@pytest.mark.parametrize(
    "text", ["[column]\n", "[dates]\nform = 'x'\n", "columns = 5\n", "[", "[columns]\nnumber = 5\n"]
)
def test_a_file_of_maps_that_cannot_be_used(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "maps.toml").write_text(text)
    ran = release(folder, "-", "--map-file", tmp_path / "maps.toml", stdin=b"number\n0812-3456-7890\n")
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_screening_from_standard_input_to_standard_output(env: dict[str, str], tmp_path: Path) -> None:
    text = f"name;msisdn\nA;{FIRST[0]}\n\nB;GoPay\n".encode("utf-16")
    ran = run("screen", "-", "-o", "-", "--column", "msisdn", env=env, stdin=text)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("\ufeff")  # as the input has one
    rows = list(csv.reader(io.StringIO(ran.out[1:]), delimiter=";"))
    assert [row[:2] for row in rows] == [["name", "msisdn"], ["A", FIRST[0]], ["", ""], ["B", "GoPay"]]
    assert "3 rows: 1 blocked" in ran.err
    out = tmp_path / "out"
    assert (
        run("screen", "-", "-o", out, "--output-format", "parquet", env=env, stdin=f"{FIRST[0]}\n".encode()).code == 0
    )
    assert pq.read_table(out).num_rows == 1
    assert_fails(run("screen", "-", "-o", "-", "--json", env=env, stdin=text), 2, "--json and -o -")


def test_a_spreadsheet_is_screened(env: dict[str, str], tmp_path: Path) -> None:
    source = write_xlsx(
        tmp_path / "users.xlsx", {"A": [["name", "number"], ["x", int(FIRST[0][1:])], [], ["y", "GoPay"]]}
    )
    assert run("screen", source, "-o", tmp_path / "out.csv", env=env).code == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row[1] for row in rows] == ["number", FIRST[0][1:], "", "GoPay"]
    assert [row[3] for row in rows[1:]] == ["true", "", ""]


def test_an_export_to_standard_output_may_be_named(env: dict[str, str]) -> None:
    assert run("export", "-o", "-", env=env).out == run("export", env=env).out


OVERRIDES = (
    "Number; Decision ;REASON;until;team\n0899-1111-0001;allow;appeal; 17;;x\n"
    "0899-1111-0002;Allow;appeal, 18;2099-12-31;x\n0899-1111-0003;maybe;x;;x\n0899-1111-0004;block;x;31/12/2099;x\n"
)


def test_overrides_from_a_table_of_anybodys(env: dict[str, str], tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    ran = run("override", "import", "-", "--rejects", rejects, env=env, stdin=OVERRIDES.encode())
    assert (ran.code, ran.out) == (7, "1 imported, 3 rejected\n")
    places = [line.split(": ")[1] for line in ran.err.splitlines()[2:]]
    assert places == [f"standard input, line {number}" for number in (2, 4, 5)]
    assert "read as national" in ran.err
    assert "ignored column: 'team'" in ran.err
    assert "more cells (6) than the header (5)" in ran.err
    assert "--date-format" in ran.err
    rows = list(csv.DictReader(io.StringIO(rejects.read_text())))
    assert [row["line"] for row in rows] == ["2", "4", "5"]
    (found,) = run("override", "list", "--json", env=env).documents
    assert (found["number"], found["reason"], found["until"]) == (6289911110002, "appeal, 18", "2099-12-31T00:00:00Z")
    more = run("override", "import", "-", "--date-format", "dd/mm/yyyy", "--json", env=env, stdin=OVERRIDES.encode())
    assert (more.code, more.document["rows"], [each["line"] for each in more.document["rejects"]]) == (7, 2, [2, 4])


def test_messages_name_only_options_that_the_command_has(env: dict[str, str], folder: Path, tmp_path: Path) -> None:
    text = b"phone,decision,reason\n0899-1111-0001,allow,x\n"
    ran = run("override", "import", "-", env=env, stdin=text)
    assert_fails(ran, 2, "no column number", "with --map (")
    assert "--column" not in ran.err
    ran = run("screen", "-", "-o", tmp_path / "out.csv", env=env, stdin=b"a,b\n0899-1111-0001,x\n")
    assert_fails(ran, 2, "no single column", "with --column (")
    assert "--map" not in ran.err
    assert_fails(release(folder, "-", stdin=b"a,b\n0899-1111-0001,x\n"), 2, "--column or --map")


def test_overrides_say_which_words_the_mapping_does_not_know(env: dict[str, str]) -> None:
    text = b"number,decision,reason\n0899-1111-0001,izinkan,x\n0899-1111-0002,blokir,y\n"
    ran = run("override", "import", "-", "--map", "decision:Izinkan=allow", env=env, stdin=text)
    assert (ran.code, ran.out) == (7, "1 imported, 1 rejected\n")
    assert "decision: words without a mapping stay as they are: 'blokir' (1)" in ran.err


@pytest.mark.parametrize(
    ("column", "hint"),
    [("level", "block and advisory"), ("scope", "--map scope:WORD=VALUE"), ("until", "--date-format")],
)
def test_the_hint_for_a_list_without_a_usable_row_is_about_its_column(folder: Path, column: str, hint: str) -> None:
    ran = release(folder, "-", stdin=f"number,{column}\n0812-3456-7890,besok\n".encode())
    assert_fails(ran, 2, hint)
    assert "region" not in ran.err


def test_an_unclosed_mark_imports_nothing(env: dict[str, str]) -> None:
    text = b'number,decision,reason\n0899-1111-0001,allow,"x\n0899-1111-0002,allow,y\n'
    assert_fails(run("override", "import", "-", env=env, stdin=text), 2, "line 2: the quotation mark")
    assert run("override", "list", env=env).out == ""
