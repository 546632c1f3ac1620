"""Files of the numbers that block: each is read back by a reader of its own, and says exactly what `check` says."""

import csv
import io
import json
import re
import stat
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import numpy as np
import pytest

from blocklist_sdk import Blocklist, InvalidInput, NotSynced
from blocklist_sdk.cli import export
from blocklist_sdk.recipient import ExportFormat, export_file
from blocklist_sdk.recipient.exports import phone_book, warning_list
from blocklist_sdk.recipient.exports.remarks import remarks_on
from blocklist_sdk.records import Scope
from blocklist_sdk.release.spans import Spans
from support.clock import Clock
from support.command_line import assert_fails, run
from support.world import FEED, World, make_world

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

SERIAL = 2
ENDS = datetime(2099, 1, 1, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"number": "+6281200000001"},
    {"number": "+6281200000002", "until": "2099-01-01", "scope": "voice"},
    {"number": "+6281200000003", "level": "advisory"},
    {"number": "+6281200000004", "since": "2098-01-01"},
    {"number": "+628120000001#", "scope": "sms"},
    {"number": "+62812000002##", "scope": "sms"},
    {"number": "+62811811234"},
    {"number": "+6281200000991", "scope": "messaging+sms+voice+data"},
]
"""Generated; they are nobody's."""

SINGLES = {6281200000001, 6281200000002, 62811811234, 6281200000991}
RANGES = {*range(6281200000010, 6281200000020), *range(6281200000200, 6281200000300)}
ALLOWED = {6281200000013, *range(6281200000280, 6281200000290)}
OWN = 6281299990000
BLOCKED = (SINGLES | RANGES | {OWN}) - ALLOWED
EVERY = SINGLES | RANGES | {OWN, 6281200000003, 6281200000004, *range(6281200000000, 6281200000400)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    source = world.directory / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    world.publisher.release(FEED, source)
    with world.recipient() as recipient:
        recipient.sync()
        recipient.overrides.allow("+6281200000013", reason="generated")
        recipient.overrides.allow("+628120000028#", reason="generated")
        recipient.overrides.block(f"+{OWN}", reason="generated", until=ENDS - timedelta(days=1))
    return world


@pytest.fixture
def blocklist(world: World) -> Any:
    with world.recipient() as recipient:
        yield recipient


def from_lines(path: Path) -> list[int]:
    return [int(line.removeprefix("+")) for line in path.read_text().splitlines() if line[0] == "+"]


def from_prefixes(path: Path) -> list[int]:
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    found: list[int] = []
    for row in rows:
        free = 10 ** (int(row["digits"]) - len(row["prefix"]))
        found += range(int(row["prefix"]) * free, (int(row["prefix"]) + 1) * free)
    return found


def from_integers(path: Path) -> list[int]:
    return [number for (number,) in struct.iter_unpack("<q", path.read_bytes())]


def from_phone_book(path: Path) -> list[int]:
    books = ElementTree.parse(path).getroot()  # our own file
    (book,) = books
    assert (books.tag, book.tag, book.get("name")) == ("phonebooks", "phonebook", FEED)
    names = [contact.findtext("person/realName") for contact in book]
    assert names == [f"{FEED} {place}" for place in range(1, len(names) + 1)]
    found: list[int] = []
    for contact in book:
        numbers = contact.findall("telephony/number")
        assert 1 <= len(numbers) <= 9
        assert [number.get("id") for number in numbers] == [str(place) for place in range(len(numbers))]
        assert [number.get("prio") for number in numbers] == ["1", *["0"] * (len(numbers) - 1)]
        found += [int((number.text or "").removeprefix("+")) for number in numbers]
    return found


WARNING_LIST = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "version", "description", "list", "type", "category", "matching_attributes"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        "description": {"type": "string", "minLength": 1},
        "type": {"enum": ["string", "substring", "hostname", "cidr", "regex"]},
        "category": {"enum": ["false_positive", "known"]},
        "matching_attributes": {"type": "array", "uniqueItems": True, "items": {"enum": ["phone-number"]}},
        "list": {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": "^[+][0-9]{6,15}$"}},
    },
}
"""What MISP requires of a list (schema.json of misp-warninglists, and its model), and what we promise beyond it."""


def from_warning_list(path: Path) -> list[int]:
    document = json.loads(path.read_bytes())
    jsonschema_rs.validate(WARNING_LIST, document)
    assert (document["type"], document["category"]) == ("string", "known")
    return [int(number) for number in document["list"]]


READERS: dict[ExportFormat, Callable[[Path], list[int]]] = {
    "txt": from_lines,
    "prefixes": from_prefixes,
    "ios": from_integers,
    "fritzbox": from_phone_book,
    "misp": from_warning_list,
}


EXPECTED: dict[Scope | None, set[int]] = {
    None: BLOCKED,
    "voice": {6281200000001, 6281200000002, 62811811234, 6281200000991, OWN},
    "data": {6281200000991, OWN},
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_says_what_a_question_answers(blocklist: Blocklist, tmp_path: Path, form: ExportFormat) -> None:
    out = tmp_path / "file"
    for scope, expected in EXPECTED.items():
        result = export_file(blocklist, out, output_format=form, scope=scope)
        assert READERS[form](out) == sorted(expected)
        assert all(blocklist.check(number, scope=scope).blocked for number in expected)
        assert not any(blocklist.check(number, scope=scope).blocked for number in EVERY - expected)
        assert result.numbers == len(expected)
        assert form == "prefixes" or result.lines == result.numbers
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is left half-written"


def test_what_a_format_cannot_say_is_counted(blocklist: Blocklist, tmp_path: Path) -> None:
    result = export_file(blocklist, tmp_path / "file", output_format="txt")
    assert (result.ranges, result.range_numbers) == (2, len(RANGES - ALLOWED))
    assert (result.ending, result.changes_at) == (1, datetime(2098, 1, 1, tzinfo=UTC))
    assert (result.advisories, result.not_begun, result.ended) == (1, 1, 0)
    assert (result.allowed, result.own_blocks) == (len(ALLOWED), 1)
    # Those without a scope of their own have the feed's.
    assert result.some_scopes == 5
    said, when, left_out = result.remarks
    assert "1 entry will end" in said
    assert "99 numbers come from 2 ranges" in said
    assert "2098-01-01T00:00:00Z" in when
    assert left_out.endswith(
        "1 advisory; 1 entry that has not begun; 11 numbers that are protected or that an override allows"
    )


def test_no_numbers_are_a_whole_file(tmp_path: Path) -> None:
    none = {
        "fritzbox": phone_book.document([], name="a<b&\"'\x01"),
        "misp": warning_list.document([], name='a"b', description="c\\d", version=7),
    }
    for name, parts in none.items():
        (tmp_path / name).write_bytes(b"".join(bytes(part.data) for part in parts))
    (book,) = ElementTree.parse(tmp_path / "fritzbox").getroot()
    assert (book.get("name"), len(book)) == ("a<b&\"'�", 0)
    assert from_warning_list(tmp_path / "misp") == []


def test_ranges_of_too_many_numbers_are_refused_before_anything_is_written(
    blocklist: Blocklist, tmp_path: Path
) -> None:
    for form in FORMATS:
        if form != "prefixes":
            with pytest.raises(InvalidInput, match=f"ranges block 99 numbers.*{form}.*--max-expanded 99"):
                export_file(blocklist, tmp_path / "file", output_format=form, max_expanded=98)
        assert not list(tmp_path.iterdir())
        assert export_file(blocklist, tmp_path / form, output_format=form, max_expanded=99).numbers == len(BLOCKED)
        (tmp_path / form).unlink()


@pytest.mark.parametrize("part", [1, 2, 7])
def test_wide_ranges_are_written_in_parts(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """Ranges take no more memory than single numbers, and what is between two numbers is written between two parts."""
    monkeypatch.setattr("blocklist_sdk.recipient.exports.texts._NUMBERS_AT_A_TIME", part)
    spans = Spans.of(np.array([100_001, 100_030, 100_070]), np.array([100_011, 100_030, 100_073]))
    whole = b"".join(bytes(each.data) for each in phone_book.document([spans], name="x"))
    numbers = [int(number.text or "") for number in ElementTree.fromstring(whole).iter("number")]
    assert numbers == spans.numbers().tolist()
    data = b"".join(bytes(each.data) for each in warning_list.document([spans], name="x", description="y", version=1))
    assert list(map(int, json.loads(data)["list"])) == numbers


def test_readers_with_limits_are_told_of_them(blocklist: Blocklist, tmp_path: Path) -> None:
    result = export_file(blocklist, tmp_path / "file", output_format="ios")
    assert not any("refused whole" in each for each in remarks_on(replace(result, numbers=1_999_999)))
    assert "refused whole" in remarks_on(replace(result, numbers=2_000_000))[-1]
    result = replace(result, output_format="fritzbox")
    assert not any("2,000" in each for each in remarks_on(replace(result, numbers=18_000)))
    assert "2,001 contacts" in remarks_on(replace(result, numbers=18_001))[-1]
    assert "false_positive" in remarks_on(replace(result, output_format="misp"))[-1]


def test_what_cannot_be_exported(world: World, blocklist: Blocklist, tmp_path: Path) -> None:
    for arguments, words in (
        ({"output_format": "csv"}, "txt, prefixes"),
        ({"output_format": "txt", "scope": "fax"}, "fax"),
        ({"output_format": "txt", "max_expanded": -1}, "max_expanded"),
        ({"output_format": "txt", "file_mode": "0777"}, "mode"),
    ):
        with pytest.raises(InvalidInput, match=words):
            export_file(blocklist, tmp_path / "file", **arguments)
    with world.recipient(cache="never") as never, pytest.raises(NotSynced):
        export_file(never, tmp_path / "file", output_format="txt")
    assert not list(tmp_path.iterdir())


def test_a_result_says_how_old_the_list_is(
    world: World, blocklist: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = blocklist.status()
    assert status.expires is not None
    assert status.as_of is not None
    clock = Clock(status.expires - timedelta(seconds=1))
    clock.install(monkeypatch)
    for seconds, is_stale in ((0, False), (1, True)):
        clock.at_s += seconds
        result = export_file(blocklist, tmp_path / "file", output_format="txt")
        assert (result.as_of, result.expires, result.stale) == (status.as_of, status.expires, is_stale)
        assert result.clock_behind_s is None
    clock.at_s = (status.as_of - timedelta(hours=1)).timestamp()
    result = export_file(blocklist, tmp_path / "file", output_format="txt")
    assert result.clock_behind_s is not None
    assert (result.stale, 3600 <= result.clock_behind_s < 3660) == (False, True)


# The command


@pytest.fixture
def env(world: World) -> dict[str, str]:
    cache = world.directory / "cache"
    return {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(cache),
        "BLOCKLIST_STATE_DIR": f"{cache}-state",
    }


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_writes_a_file(env: dict[str, str], tmp_path: Path, form: ExportFormat) -> None:
    out = tmp_path / "list"
    ran = run("export", "--format", form, "-o", out, env=env)
    assert (ran.code, ran.out) == (0, "")
    assert READERS[form](out) == sorted(BLOCKED)
    assert f"{len(BLOCKED)} numbers to {out} ({FEED}, release {SERIAL})" in ran.err
    assert ran.err.count("cannot say") == 1
    document = run("export", "--format", form, "-o", out, "--json", env=env).document
    assert (document["output"], document["numbers"]) == (str(out), len(BLOCKED))
    assert document["changes_at"] == "2098-01-01T00:00:00Z"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", *FORMATS])
def test_the_command_says_that_a_list_is_stale_or_writes_nothing(
    world: World, env: dict[str, str], tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "list"
    with world.recipient() as recipient:
        status = recipient.status()
    assert status.expires is not None
    command = ("export", "--format", form, "-o", out, "--json")
    document = run(*command, "--require-fresh", env=env).document
    assert (document["serial"], document["era"], document["stale"]) == (SERIAL, 1, False)
    assert datetime.fromisoformat(document["as_of"]) == status.as_of
    assert datetime.fromisoformat(document["expires"]) == status.expires
    out.unlink()
    Clock(status.expires).install(monkeypatch)
    assert_fails(run(*command, "--require-fresh", env=env), 5, "past its signed expiry")
    assert not list(tmp_path.iterdir())
    ran = run(*command, env=env)
    assert (ran.code, ran.document["stale"]) == (0, True)
    assert "past its signed expiry" in ran.err
    assert out.exists()


def test_the_command_writes_to_standard_output(env: dict[str, str], tmp_path: Path) -> None:
    ran = run("export", "--format", "txt", "--scope", "data", "-o", "-", env=env)
    assert ran.out == f"+6281200000991\n+{OWN}\n"
    assert "wrote 2 numbers to standard output" in ran.err
    assert_fails(run("export", "--format", "ios", env=env), 2, "-o FILE")
    assert_fails(run("export", "--format", "txt", "--json", env=env), 2, "--json", "-o FILE")


def test_the_command_says_what_does_not_go_together(env: dict[str, str], tmp_path: Path) -> None:
    for arguments, words in (
        (["--format", "csv", "--scope", "sms"], "--scope"),
        (["--max-expanded", "7"], "--max-expanded"),
        (["--format", "prefixes", "--max-expanded", "7"], "leave --max-expanded out"),
        (["--format", "txt", "-o", tmp_path / "l.json"], "misp"),
        (["-o", tmp_path / "l.json"], "--format"),
        (["-o", tmp_path / "l.xml"], "fritzbox"),
        (["-o", tmp_path / "l.gz"], "named as something else"),
        (["-o", tmp_path / "l.txt"], "does not say the format of the export: give it with --format"),
        (["--format", "txt", "--max-expanded", "98"], "--max-expanded 99"),
    ):
        assert_fails(run("export", *arguments, env=env), 2, words)
    assert not list(tmp_path.iterdir())
    assert run("export", "--format", "prefixes", "-o", tmp_path / "l.csv", env=env).code == 0
    document = run("export", "-o", tmp_path / "whole.csv", "--json", env=env).document
    assert document["rows"] == len(ROWS)


@pytest.mark.parametrize("form", [None, *get_args(export.Format)])
def test_what_a_refusal_of_an_ending_says_to_do_works(form: export.Format | None) -> None:
    for ending in export._ENDINGS:
        file = Path(f"l{ending}")
        try:
            assert export._format_of(file, form) in (form, export._BY_ENDING.get(ending))
        except InvalidInput as error:
            names, formats = advice(str(error), ending)
            assert names or formats
            for name in names:
                assert export._format_of(Path(f"l{name}"), form) == (form or export._BY_ENDING[name])
            for other in formats:
                assert export._format_of(file, other) == other


def advice(message: str, ending: str) -> tuple[list[str], list[Any]]:
    """The endings and the formats that a refusal names; no ending is an empty text."""
    names = re.search(r"name it (.*?)(?:, or give|$)", message)
    formats = re.search(r"(?:give --format|may be) ([a-z, ]*)$", message)
    endings = re.findall(r"\.\w+", names[1]) if names else [""] if f"leave {ending} out" in message else []
    return endings, re.split(", | or ", formats[1]) if formats else []


@pytest.mark.parametrize("ending", ["gz", "zip", "zst", "bz2", "xz", "tsv", "xlsx", "ZST"])
def test_no_csv_is_named_as_something_else(env: dict[str, str], tmp_path: Path, ending: str) -> None:
    for options in ((), ("--format", "csv"), ("--format", "misp")):
        assert_fails(run("export", *options, "-o", tmp_path / f"l.csv.{ending}", env=env), 2, f"l.csv.{ending}")
    assert not list(tmp_path.iterdir())


def test_the_help_names_every_format_and_ending() -> None:
    shown = " ".join(run("export", "--help", env={"COLUMNS": "400"}).out.split())
    for word in (*get_args(export.Format), *(each for each, formats in export._ENDINGS.items() if formats)):
        assert word in shown


def test_a_scope_that_few_entries_have_is_logged(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert run("export", "--format", "txt", "--scope", "sms", env=env).code == 0
    assert not caplog.messages
    assert run("export", "--format", "txt", "--scope", "messaging", env=env).code == 0
    assert not caplog.messages, "one of eight is more than a tenth"
