"""The commands about policy: dry run, accept, override, explain, verify, changes."""

import csv
import io
import json
from pathlib import Path

import pytest

from support.command_line import assert_fails, run
from support.world import ADDED, FEED, FIRST, LISTED, World, make_world

UNLISTED = "+6281299999999"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def env(world: World) -> dict[str, str]:
    settings = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
    }
    assert run("sync", env=settings).code == 0
    return settings


def test_a_dry_run_accepts_nothing(env: dict[str, str]) -> None:
    assert_fails(run("sync", "--dry-run", "--accept", "2", env=env), 2, "leave --accept out")


def test_a_dry_run_shows_and_changes_nothing(world: World, env: dict[str, str]) -> None:
    run("override", "allow", FIRST[-1], "--reason", "appeal 17", env=env)
    published = world.release([*FIRST[:1500], ADDED])
    ran = run("sync", "--dry-run", env=env)
    assert ran.code == 6
    for words in (
        "release 1 → 2, 3,000 → 1,501 entries",
        "category fraud",
        "operator telkomsel",
        "appeal 17",
        "--accept 2",
    ):
        assert words in ran.out, words
    document = run("sync", "--dry-run", "--json", env=env).document
    assert (document["before"], document["after"], document["total"]["removed"]) == (1, 2, 1500)
    assert document["digest"] == published.digest
    assert f"  digest {published.digest}" in ran.lines
    assert run("status", "--json", env=env).document["serial"] == 1


def test_a_refused_release_is_accepted_by_hand(world: World, env: dict[str, str]) -> None:
    published = world.release(FIRST[:1500])
    assert_fails(run("sync", env=env), 6, "unblock 1,500 numbers", "--accept 2")
    status = run("status", env=env).out
    assert "refused           release 2: it would unblock" in status
    assert f"refused digest    {published.digest}" in status
    assert run("status", "--json", env=env).document["refused_digest"] == published.digest
    other = run("sync", "--accept", "3", env=env)
    assert other.code == 6
    assert "accept=3 is for another release than 2" in other.err
    accepted = run("sync", "--accept", "2", env=env)
    assert (accepted.code, accepted.err) == (0, "")
    assert run("status", "--json", env=env).document["refused_digest"] is None
    unused = run("sync", "--accept", "99", env=env)
    assert (unused.code, "--accept 99 was not used" in unused.err) == (0, True)
    assert run("check", FIRST[-1], env=env).code == 0


def test_overrides_from_the_shell(env: dict[str, str], tmp_path: Path) -> None:
    assert run("override", "allow", LISTED, "--reason", "appeal 17", "--until", "2099-01-31", env=env).code == 0
    assert (
        run("override", "block", UNLISTED, "--reason", "our own", "--author", "ayu", "--json", env=env).document[
            "author"
        ]
        == "ayu"
    )
    assert run("check", LISTED, env=env).code == 0
    ran = run("check", UNLISTED, "--json", env=env)
    assert (ran.code, ran.document["reason"], ran.document["override"]["reason"]) == (1, "override-block", "our own")
    listing = run("override", "list", env=env).out
    assert "allow     +6281200000001  2099-01-31T00:00:00Z  appeal 17" in listing
    file = tmp_path / "overrides.csv"
    assert run("override", "export", file, env=env).code == 0
    assert run("override", "remove", UNLISTED, env=env).code == 0
    assert_fails(run("override", "remove", UNLISTED, env=env), 2, "no override")
    assert "2 imported, 0 rejected" in run("override", "import", file, env=env).out
    assert len(run("override", "list", "--json", env=env).documents) == 2


def test_overrides_of_ranges_from_the_shell(env: dict[str, str], tmp_path: Path) -> None:
    allowed = run("override", "allow", "0812-0000-00##", "--reason", "our own block", "--json", env=env)
    assert (allowed.document["number"], allowed.document["last"]) == (6281200000000, 6281200000099)
    assert run("check", LISTED, env=env).code == 0
    explained = run("explain", LISTED, env=env).out
    assert "override: allow of +6281200000000-+6281200000099, by" in explained
    assert run("override", "block", "0812-555[13]-00##", "--reason", "x", "--json", env=env).code == 0
    _, *listing = run("override", "list", env=env).lines
    assert [line.split()[1] for line in listing] == [
        "+6281200000000-+6281200000099",
        "+6281255510000-+6281255510099",
        "+6281255530000-+6281255530099",
    ]
    assert_fails(run("override", "allow", "0812-55##-####", "--reason", "x", env=env), 6, "--max-cover 1000000")
    wide = ("override", "allow", "0812-55##-####", "--reason", "x", "--max-cover", "1000000")
    assert run(*wide, env=env).code == 0
    file = tmp_path / "overrides.csv"
    assert run("override", "export", file, env=env).code == 0
    assert_fails(run("override", "remove", LISTED, env=env), 2, "no override of its own")
    assert run("override", "remove", "+6281200000000-+6281200000099", env=env).code == 0
    assert run("check", LISTED, env=env).code == 1
    assert run("override", "import", file, env=env).code == 7
    assert "4 imported, 0 rejected" in run("override", "import", file, "--max-cover", "1000000", env=env).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("allow", "GoPay", "--reason", "x"), "letters"),
        (("allow", LISTED, "--reason", " "), "reason"),
        (("allow", LISTED, "--reason", "x", "--until", "2020-01-01"), "in the future"),
        (("allow", LISTED, "--reason", "x", "--until", "soon"), "not a date or time"),
        (("allow", LISTED), "--reason"),
        (("import", "nowhere.csv"), "cannot read"),
    ],
)
def test_invalid_overrides(env: dict[str, str], arguments: tuple[str, ...], words: str) -> None:
    assert_fails(run("override", *arguments, env=env), 2, words)
    assert run("override", "list", env=env).out == ""


def test_protected_numbers_of_ones_own(world: World, env: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text(f"{LISTED}\n")
    env["BLOCKLIST_PROTECTED"] = str(own)
    assert "protected" in run("check", LISTED, env=env).out
    world.release([*FIRST, ADDED])
    assert_fails(run("sync", env=env), 6, "no feed may list")


def test_explain_says_it_in_plain_words(env: dict[str, str]) -> None:
    ran = run("explain", "0812-0000-0001", env=env)
    assert ran.code == 1
    for words in (
        "0812-0000-0001 is +6281200000001, read in region ID; valid",
        "operator: telkomsel",
        "blocked, because an entry that blocks is in force",
        "release 1 of",
        "signed by",
        "entry 1: block, fraud, by authority, sms+voice",
    ):
        assert words in ran.out, words
    assert "no entry covers it" in run("explain", UNLISTED, env=env).out
    run("override", "allow", LISTED, "--reason", "appeal 17", env=env)
    ran = run("explain", LISTED, "--json", env=env)
    assert ran.code == 0
    document = ran.document
    assert (document["reason"], document["operator"], len(document["entries"])) == ("override-allow", "telkomsel", 1)
    assert_fails(run("explain", "GoPay", env=env), 2, "letters")


def test_verify(world: World, env: dict[str, str]) -> None:
    assert "as it was signed" in run("verify", env=env).out
    assert run("verify", "--json", env=env).document["ok"]
    (index,) = (world.directory / "cache").glob("*/generations/*/index.json")
    index.write_bytes(index.read_bytes().replace(b'"rows": 3000', b'"rows": 3001'))
    ran = run("verify", env=env)
    assert (ran.code, ran.out) == (4, "")
    assert "authority signed" in ran.err


def test_changes(world: World, env: dict[str, str]) -> None:
    run("override", "allow", FIRST[3], "--reason", "appeal 17", env=env)
    world.release([*FIRST[:3], *FIRST[4:], ADDED])
    run("sync", env=env)
    rows = list(csv.DictReader(io.StringIO(run("changes", "--since", "1", env=env).out)))
    assert [(row["change"], "+" + row["number"]) for row in rows] == [("removed", FIRST[3]), ("added", ADDED)]
    documents = run("changes", "--since", "1", "--json", env=env).documents
    assert [(d["change"], d["override"], d["before"]) for d in documents] == [
        ("removed", "allow", None),
        ("added", None, None),
    ]
    lines = run("changes", "--since", "0", "--format", "jsonl", env=env).lines
    assert len(lines) == len(FIRST)
    assert json.loads(lines[0])["change"] == "added"
    assert_fails(run("changes", "--since", "7", env=env), 2, "not on this disk")


def test_changes_of_a_range_name_every_decision_on_it(world: World, env: dict[str, str]) -> None:
    first = 6_281_277_770_000
    run("override", "allow", f"+{first + 5}-+{first + 9}", "--reason", "our own lines", env=env)
    run("override", "block", f"+{first + 7}", "--reason", "but this one", env=env)
    run("override", "block", f"+{first + 90}", "--reason", "elsewhere", env=env)
    world.release([*FIRST, f"+{first}-+{first + 49}"])
    run("sync", env=env)
    (document,) = run("changes", "--since", "1", "--json", env=env).documents
    assert (document["number"], document["last"], document["override"]) == (first, first + 49, None)
    assert [(each["number"], each["last"], each["decision"]) for each in document["overrides"]] == [
        (first + 5, first + 9, "allow"),
        (first + 7, None, "block"),
    ]
    assert document["protected"] is False
