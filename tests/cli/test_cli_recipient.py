"""The recipient's commands against a repository that is really published and served."""

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Entry, Publisher, Verdict
from blocklist_sdk.publisher import serving
from blocklist_sdk.release.digest_kinds import is_digest
from support.command_line import Ran, assert_fails, run
from support.world import ADDED, FEED, FIRST, LISTED, SECOND, World, make_world

UNLISTED = "+6281299999999"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with serving(world.repository) as address:
        yield address


@pytest.fixture
def env(world: World, url: str, tmp_path: Path) -> dict[str, str]:
    """Settings of a recipient who has not synced yet."""
    return {
        "BLOCKLIST_URL": url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.fixture
def synced(env: dict[str, str]) -> dict[str, str]:
    assert run("sync", env=env).code == 0
    return env


def expire(env: dict[str, str]) -> None:
    """The settings of a recipient whose last sync is long ago."""
    pointer = Path(env["BLOCKLIST_CACHE_DIR"]) / FEED / "current.json"
    document = json.loads(pointer.read_text())
    pointer.write_text(json.dumps({**document, "expires": "2026-01-02T03:04:05+00:00"}))


def test_sync_says_what_it_did(env: dict[str, str]) -> None:
    first, again = run("sync", env=env), run("sync", env=env)
    assert (first.code, again.code) == (0, 0)
    assert f"{FEED}: release 1 by snapshot: {len(FIRST):,} added, 0 removed, 0 changed" in first.out
    assert "up to date at release 1" in again.out
    assert first.err == again.err == ""


def test_the_state_is_where_the_help_says(synced: dict[str, str]) -> None:
    cache = Path(synced["BLOCKLIST_CACHE_DIR"])
    assert (cache / ".state" / FEED / "state.json").is_file()
    assert "CACHE_DIR/.state" in " ".join(run("sync", "--help").out.replace("│", " ").split())


def test_sync_in_json(env: dict[str, str]) -> None:
    document = run("sync", "--json", env=env).document
    assert document.pop("bytes") > 0
    assert document.pop("seconds") > 0
    expected = {"before": None, "after": 1, "kind": "snapshot", "added": len(FIRST), "removed": 0, "changed": 0}
    assert document == {"feed": FEED, **expected, "era": 1, "before_era": None} | {
        "clock_behind_s": None,
        "audit_warning": None,
    }


def test_a_second_release_comes_as_a_delta(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    settings = (
        *("--feed", FEED, "--root", world.publisher.root),
        *("--region", "ID", "--cache-dir", tmp_path / "cache", "--state-dir", tmp_path / "state"),
    )
    with serving(world.repository) as url:
        assert run("sync", "--url", url, *settings).code == 0
        world.release(SECOND)
        document = run("sync", "--json", "--url", url, *settings).document
        assert (document["before"], document["after"]) == (1, 2)
        assert (document["added"], document["removed"]) == (
            len(set(SECOND) - set(FIRST)),
            len(set(FIRST) - set(SECOND)),
        )
        removed = min(set(FIRST) - set(SECOND))
        assert run("check", ADDED, "--url", url, *settings).code == 1
        assert run("check", removed, "--url", url, *settings).code == 0


def test_status(synced: dict[str, str]) -> None:
    ran = run("status", env=synced)
    assert ran.code == 0
    shown = dict(line.split("  ", 1) for line in ran.lines)
    assert shown["feed"].strip() == FEED
    assert shown["rows"].strip() == f"{len(FIRST):,}"
    assert shown["last error"].strip() == "none"


def test_status_in_json(synced: dict[str, str]) -> None:
    document = run("status", "--json", env=synced).document
    assert document["feed"] == FEED
    assert document["serial"] == 1
    assert document["rows"] == len(FIRST)
    assert document["stale"] is False
    assert document["expires"].endswith("Z")
    assert is_digest(document["digest"])


def test_status_before_the_first_sync(env: dict[str, str]) -> None:
    ran = run("status", "--json", env=env)
    assert ran.code == 0
    assert ran.document["serial"] is None
    assert "never synced" in run("status", env=env).out


def test_a_list_that_is_damaged_was_synced_all_the_same(synced: dict[str, str]) -> None:
    (path,) = Path(synced["BLOCKLIST_CACHE_DIR"]).glob("*/generations/*/rows.arrow")
    os.truncate(path, 1_000)
    assert "none (damaged: the next sync fetches the list again)" in run("status", env=synced).out
    for command in (("check", UNLISTED), ("doctor", "--offline")):
        ran = run(*command, env=synced)
        assert ran.code == (2 if command[0] == "check" else 4)
        assert "on this disk is damaged" in ran.out + ran.err
    assert run("sync", env=synced).code == 0
    assert run("check", UNLISTED, env=synced).code == 0


@pytest.mark.parametrize("command", [("status",), ("check", UNLISTED)])
def test_require_fresh(synced: dict[str, str], command: tuple[str, ...]) -> None:
    assert run(*command, "--require-fresh", env=synced).code == 0
    expire(synced)
    ran = run(*command, "--require-fresh", env=synced)
    assert ran.code == 5
    assert "past its signed expiry (2026-01-02T03:04:05Z)" in ran.err
    assert ran.err.count("\n") == 1


def test_require_fresh_before_the_first_sync(env: dict[str, str]) -> None:
    ran = run("status", "--require-fresh", env=env)
    assert ran.code == 5
    assert "never synced" in ran.err


def test_a_stale_list_still_answers_and_says_so(synced: dict[str, str]) -> None:
    expire(synced)
    ran = run("check", LISTED, env=synced)
    assert ran.code == 1
    assert ran.out.startswith("blocked")
    assert "past its signed expiry" in ran.err
    assert run("check", LISTED, "--json", env=synced).document["stale"] is True


def test_a_screened_file_says_how_old_the_list_is(synced: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text(f"number\n{LISTED}\n")
    command = ("screen", tmp_path / "numbers.csv", "-o", tmp_path / "out.csv", "--json")
    status = run("status", "--json", env=synced).document
    fresh = run(*command, "--require-fresh", env=synced).document
    assert [fresh[name] for name in ("as_of", "expires", "stale")] == [status["as_of"], status["expires"], False]
    (tmp_path / "out.csv").unlink()
    expire(synced)
    assert_fails(run(*command, "--require-fresh", env=synced), 5, "past its signed expiry (2026-01-02T03:04:05Z)")
    assert not (tmp_path / "out.csv").exists()
    stale = run(*command, env=synced)
    assert (stale.code, stale.document["stale"]) == (0, True)
    assert stale.document["expires"] == "2026-01-02T03:04:05Z"
    assert "past its signed expiry" in stale.err


def test_check_shows_one_line_for_each_number(synced: dict[str, str]) -> None:
    ran = run("check", "0812-0000-0001", UNLISTED, env=synced)
    assert ran.code == 1
    blocked, free = ran.lines
    assert blocked.split()[:3] == ["blocked", LISTED, "listed"]
    assert "fraud, authority, sms+voice" in blocked
    assert free.split() == ["free", UNLISTED, "not-listed"]
    assert free.index("+") == blocked.index("+")
    assert ran.err == ""


def test_check_in_json(synced: dict[str, str]) -> None:
    ran = run("check", "0812 0000 0001", UNLISTED, "GoPay", "--json", env=synced)
    blocked, free, invalid = ran.documents
    assert ran.code == 1
    entry = blocked.pop("entries")[0]
    assert blocked.pop("as_of").endswith("Z")
    assert blocked == {
        "input": "0812 0000 0001",
        "number": 6281200000001,
        "blocked": True,
        "level": "block",
        "reason": "listed",
        "feed": FEED,
        "serial": 1,
        "stale": False,
        "override": None,
        "scope_listed": None,
        "era": 1,
        "clock_behind_s": None,
    }
    assert entry.pop("since").endswith("Z")
    assert entry.pop("entry") >= 1
    assert entry == {
        "number": 6281200000001,
        "last": None,
        "level": "block",
        "category": "fraud",
        "issuer": "authority",
        "scope": "sms+voice",
        "until": None,
        "feed": FEED,
    }
    assert (free["blocked"], free["level"], free["reason"], free["entries"]) == (False, None, "not-listed", [])
    assert invalid["input"] == "GoPay"
    assert invalid["error"]["type"] == "InvalidNumber"
    assert "GoPay" not in invalid["error"]["message"]


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([UNLISTED], 0),
        ([LISTED], 1),
        ([UNLISTED, LISTED, UNLISTED], 1),
        (["GoPay"], 2),
        (["GoPay", UNLISTED], 2),
        (["GoPay", LISTED], 1),
        ([LISTED, "GoPay"], 1),
    ],
)
def test_check_says_blocked_before_invalid(synced: dict[str, str], numbers: list[str], code: int) -> None:
    assert run("check", *numbers, env=synced).code == code


def test_check_reads_standard_input_in_order(synced: dict[str, str]) -> None:
    text = f"{LISTED}\r\n\n0812-9999-9999\nGoPay\n".encode() + b"0812\xff\n" + UNLISTED.encode()
    ran = run("check", "-", "--json", stdin=text, env=synced)
    assert ran.code == 1
    assert [each["input"] for each in ran.documents] == [LISTED, "0812-9999-9999", "GoPay", "0812\ufffd", UNLISTED]
    assert [each.get("blocked") for each in ran.documents] == [True, False, None, None, False]
    spoken = run("check", "-", stdin=text, env=synced)
    assert len(spoken.lines) == 3
    assert ["line 4" in spoken.err, "line 5" in spoken.err] == [True, True]


def test_check_of_no_input(synced: dict[str, str]) -> None:
    assert run("check", "-", env=synced) == Ran(0, "", "")


def test_check_for_one_scope(synced: dict[str, str]) -> None:
    assert run("check", LISTED, "--scope", "sms", env=synced).code == 1
    assert run("check", LISTED, "--scope", "data", env=synced).code == 0


def test_a_scope_that_the_list_does_not_have_is_said(synced: dict[str, str], tmp_path: Path) -> None:
    words = "no entry on the list has the scope messaging"
    ran = run("check", LISTED, UNLISTED, "--scope", "messaging", env=synced)
    assert (ran.code, [words in line for line in ran.lines]) == (0, [True, True])
    assert ran.err.count("has the scope messaging, only sms, voice") == 1
    assert words in run("explain", LISTED, "--scope", "messaging", env=synced).out
    file = tmp_path / "users.csv"
    file.write_text(f"number\n{LISTED}\n")
    screen = ("screen", file, "-o", tmp_path / "out.csv", "--scope")
    assert words in run(*screen, "messaging", env=synced).out
    assert run(*screen, "messaging", "--json", env=synced).document["scope_listed"] is False
    assert run("check", LISTED, "--scope", "messaging", "--json", env=synced).document["scope_listed"] is False
    for found in (run("check", LISTED, "--scope", "sms", env=synced), run(*screen, "sms", env=synced)):
        assert "no entry on the list" not in found.out + found.err


QUESTIONS = [("check", LISTED), ("explain", LISTED), ("export",), ("verify",)]


@pytest.mark.parametrize("command", QUESTIONS)
def test_no_answer_before_the_first_sync(env: dict[str, str], command: tuple[str, ...]) -> None:
    ran = run(*command, env=env)
    assert_fails(ran, 2, "never synced", "run blocklist sync first")
    assert "sync()" not in ran.err


@pytest.mark.parametrize("command", QUESTIONS)
def test_after_a_first_sync_that_was_refused_no_answer_points_to_the_status(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    world = make_world(tmp_path)
    world.publisher.release(FEED, pa.table({"number": [*FIRST, "08123*"]}), max_cover=10**10)
    env = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
        "BLOCKLIST_REGION": "ID",
    }
    assert run("sync", env=env).code == 6
    assert_fails(run(*command, env=env), 2, "its last sync was refused", "blocklist status")


def test_after_a_first_sync_that_failed_no_answer_points_to_the_status(env: dict[str, str]) -> None:
    nowhere = {**env, "BLOCKLIST_URL": "file:///nowhere"}
    assert run("sync", env=nowhere).code != 0
    assert_fails(run("check", LISTED, env=nowhere), 2, "its last sync failed", "blocklist status")


def test_a_verdict_in_json_has_every_field_of_the_record(synced: dict[str, str], world: World) -> None:
    document = run("check", LISTED, "--json", env=synced).document
    (entry,) = document["entries"]
    assert list(document) == ["input", *(each.name for each in fields(Verdict))]
    assert list(entry) == [each.name for each in fields(Entry)]


def test_export_as_csv(synced: dict[str, str], tmp_path: Path) -> None:
    ran = run("export", env=synced)
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert ran.code == 0
    assert [row["number"] for row in rows] == sorted(number[1:] for number in FIRST)
    assert {row["category"] for row in rows} == {"fraud"}
    assert {row["until"] for row in rows} == {""}
    out = tmp_path / "list.csv"
    assert run("export", "-o", out, env=synced).out == ""
    assert out.read_text() == ran.out


def test_export_as_json_lines(synced: dict[str, str]) -> None:
    rows = run("export", "--format", "jsonl", env=synced).documents
    assert len(rows) == len(FIRST)
    first = rows[0]
    assert list(first) == ["number", "last", "entry", "level", "category", "issuer", "scope", "since", "until"]
    assert first["number"] == min(map(int, FIRST))
    assert first["last"] is None
    assert first["until"] is None
    assert first["scope"] == "sms+voice"


def test_export_as_parquet_is_a_snapshot(synced: dict[str, str], world: World, tmp_path: Path) -> None:
    out = tmp_path / "list.parquet"
    assert run("export", "--format", "parquet", "-o", out, env=synced).code == 0
    (snapshot,) = world.release_files("*.1.snapshot.parquet")
    assert pq.read_table(out).equals(pq.read_table(snapshot))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["list.parquet"]


def test_export_quotes_what_needs_it(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    source = tmp_path / "list.jsonl"
    source.write_text(json.dumps({"number": LISTED, "issuer": 'The "Authority", Ltd', "until": "2099-01-01"}) + "\n")
    world.publisher.release(FEED, source)
    with world.recipient() as recipient:
        recipient.sync()
    settings = (
        *("--url", world.url, "--feed", FEED, "--root", world.publisher.root),
        *("--cache-dir", tmp_path / "cache", "--state-dir", tmp_path / "cache-state"),
    )
    (row,) = csv.DictReader(io.StringIO(run("export", *settings).out))
    document = run("export", "--format", "jsonl", *settings).document
    assert row["issuer"] == document["issuer"] == 'The "Authority", Ltd'
    assert row["until"] == document["until"] == "2099-01-01T00:00:00Z"


def test_an_export_has_the_format_that_its_file_is_named_for(synced: dict[str, str], tmp_path: Path) -> None:
    for name, begins in (
        ("l.csv", b"number,"),
        ("l.jsonl", b'{"number"'),
        ("l.parquet", b"PAR1"),
    ):
        assert run("export", "-o", tmp_path / name, env=synced).code == 0
        assert (tmp_path / name).read_bytes().startswith(begins), name
    assert_fails(
        run("export", "-o", tmp_path / "l.xlsx", env=synced), 2, "csv, jsonl, parquet, txt", "named as something else"
    )
    assert_fails(run("export", "-o", tmp_path / "m.parquet", "--format", "csv", env=synced), 2, "contradict")
    assert not {*tmp_path.glob("l.xlsx"), *tmp_path.glob("m.*")}


@pytest.mark.parametrize("command", ["export", "screen"])
def test_the_lists_own_files_are_not_written_over(synced: dict[str, str], tmp_path: Path, command: str) -> None:
    cache = Path(synced["BLOCKLIST_CACHE_DIR"])
    (tmp_path / "numbers.csv").write_text(f"number\n{LISTED}\n")
    arguments: list[str | Path] = [command, *([tmp_path / "numbers.csv"] if command == "screen" else [])]
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    for name in (f"{FEED}/current.json", f"{FEED}/new.csv", f".state/{FEED}/state.json"):
        assert_fails(run(*arguments, "-o", cache / name, env=synced), 2, "own files")
    assert before == {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    # The cache may be in the working directory; only the list's own folders are forbidden.
    assert run(*arguments, "-o", cache / "new.csv", env=synced).code == 0


def test_parquet_needs_a_file(synced: dict[str, str]) -> None:
    assert_fails(run("export", "--format", "parquet", env=synced), 2, "-o FILE")


def test_how_many_entries_apply_to_a_scope_is_said(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase="generated for a test", region="ID")
    numbers = [f"0812-0000-00{i:02}" for i in range(40)]
    publisher.release("id-all", pa.table({"number": numbers, "scope": ["messaging", *["sms+voice"] * 39]}))
    env = {
        "BLOCKLIST_URL": publisher.repository.as_uri(),
        "BLOCKLIST_FEED": "id-all",
        "BLOCKLIST_ROOT": str(publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
    }
    assert run("sync", env=env).code == 0
    assert "messaging (1 of 40 entries), sms (39 of 40 entries), voice (39 of 40 entries)" in run("status", env=env).out
    file = tmp_path / "users.csv"
    file.write_text("number\n0812-0000-0001\n")
    screen = ["screen", str(file), "-o", str(tmp_path / "out.csv")]
    assert "; 1 of 40 entries applies to messaging" in run(*screen, "--scope", "messaging", env=env).out
    assert "; 39 of 40 entries apply to sms" in run(*screen, "--scope", "sms", env=env).out
    assert "of 40" not in run(*screen, env=env).out
