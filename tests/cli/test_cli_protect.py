"""``blocklist publish protect``, and the recipient's own file of protected numbers."""

import json
from pathlib import Path

import pytest

from blocklist_sdk import Publisher
from support.command_line import Ran, assert_fails, run

PASSPHRASE = "generated for a test"
ENV = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}
FIRST, SECOND = "+6281234567001", "+6281234567002"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "authority"
    Publisher.init(directory, feeds=["id-all"], passphrase=PASSPHRASE, region="ID")
    return directory


def protect(folder: Path, command: str, *arguments: str | Path, stdin: bytes = b"") -> Ran:
    return run("publish", "protect", command, folder, *arguments, env=ENV, stdin=stdin)


def test_numbers_are_added_listed_and_removed(folder: Path) -> None:
    assert protect(folder, "list").out == ""
    ran = protect(folder, "add", FIRST, "0812-3456-7002", "021-1500-00##")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        "102 numbers protected: 102 added, 0 removed",
        "  + +622115000000 - +622115000099",
        f"  + {FIRST} - {SECOND}",
    ]
    assert protect(folder, "list").lines[-2:] == [FIRST, SECOND]
    assert protect(folder, "list", "--json").document["numbers"][-1] == int(SECOND)
    document = protect(folder, "remove", "021-1500-00##", SECOND, "--json").document
    assert (document["protected"], len(document["removed"]), document["listed"]) == (1, 101, {})
    assert_fails(protect(folder, "remove", SECOND), 2, "is not protected")
    assert protect(folder, "list").lines == [FIRST]


def test_the_whole_list_is_set_from_a_file_or_standard_input(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"number\n{FIRST}\n{SECOND}   # a ministry\n")
    assert protect(folder, "set", "--from", file).code == 0
    assert protect(folder, "set", "--from", "-", stdin=FIRST.encode()).lines == [
        "1 number protected: 0 added, 1 removed",
        f"  - {SECOND}",
    ]
    file.write_text("# nothing\n")
    assert_fails(protect(folder, "set", "--from", file), 2, "--allow-empty")
    assert protect(folder, "list").lines == [FIRST]
    assert protect(folder, "set", "--allow-empty").code == 0
    assert protect(folder, "list").lines == []


def test_many_changes_are_counted_and_some_shown(folder: Path) -> None:
    ran = protect(folder, "add", *(f"+628123456{tail:04}" for tail in range(0, 60, 2)))
    assert len(ran.lines) == 22
    assert ran.lines[-1] == "  and 10 more"


@pytest.mark.parametrize("command", ["add", "remove", "set"])
def test_numbers_come_from_one_place(folder: Path, tmp_path: Path, command: str) -> None:
    assert_fails(protect(folder, command), 2, "give numbers, or --from FILE")
    assert_fails(protect(folder, command, FIRST, "--from", tmp_path / "list.txt"), 2, "give one of them")
    assert_fails(protect(folder, command, "--from", tmp_path / "nowhere.txt"), 2, "cannot read", "nowhere.txt")


def test_a_file_with_short_codes_names_file_and_line(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("110\n112\n")
    assert_fails(protect(folder, "add", "--from", file), 2, f"{file}, line 1: '110' is a short code")


def test_a_proposal_travels_to_the_targets_key(folder: Path, tmp_path: Path) -> None:
    key, proposal = folder / "keys" / "targets.pem", tmp_path / "proposal.json"
    protect(folder, "add", FIRST)
    key.rename(tmp_path / "targets.pem")
    assert_fails(protect(folder, "add", SECOND), 2, "--propose FILE")
    ran = protect(folder, "add", SECOND, "--propose", proposal)
    assert (ran.code, ran.lines[-1]) == (0, f"  + {SECOND}")
    assert "nothing was changed" in ran.out
    document = json.loads(proposal.read_text())
    made_on = document.pop("made_on")
    assert len(made_on) == 64
    assert document == {"format": 1, "add": [int(SECOND)], "remove": []}
    assert protect(folder, "apply", proposal, "--dry-run").lines == [
        "2 numbers would be protected: 1 added, 0 removed",
        f"  + {SECOND}",
    ]
    (tmp_path / "targets.pem").rename(key)
    assert protect(folder, "list").lines == [FIRST]
    assert protect(folder, "apply", proposal).lines[0] == "2 numbers protected: 1 added, 0 removed"
    assert protect(folder, "apply", proposal).lines == ["2 numbers protected: 0 added, 0 removed"]
    assert_fails(protect(folder, "add", FIRST, "--propose", folder / "p.json"), 2, "elsewhere")
    assert_fails(protect(folder, "apply", tmp_path / "nowhere.json"), 2, "cannot read the proposal")
    proposal.write_text("{}")
    assert_fails(protect(folder, "apply", proposal), 4, "not a proposal")


def test_what_a_feed_lists_is_said(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{FIRST}\n{SECOND}\n")
    assert run("publish", "release", folder, "--feed", "id-all", "--from", file, env=ENV).code == 0
    ran = protect(folder, "add", FIRST)
    assert ran.code == 0
    assert f"feed id-all lists 1 number that is protected now, such as {FIRST}: publish its next release" in ran.err
    assert "1 number that is protected no longer" in protect(folder, "remove", FIRST).err


def recipient(folder: Path, tmp_path: Path, own: str) -> dict[str, str]:
    file = tmp_path / "own.txt"
    file.write_text(own)
    return {
        "BLOCKLIST_URL": (folder / "repository").as_uri(),
        "BLOCKLIST_FEED": "id-all",
        "BLOCKLIST_ROOT": str(folder / "root.json"),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
        "BLOCKLIST_PROTECTED": str(file),
    }


def test_a_recipients_own_file_may_have_patterns_comments_and_a_header(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{SECOND}\n0812-3456-9999\n")
    assert run("publish", "release", folder, "--feed", "id-all", "--from", file, env=ENV).code == 0
    env = recipient(folder, tmp_path, "Nomor\n# ours\n0812-3456-78## # call centre\n")
    assert run("sync", env=env).code == 0
    assert "protected" in run("check", "0812-3456-7855", env=env).out
    assert "protected" not in run("check", SECOND, env=env).out


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("# ours\n110\n", "own.txt, line 2: '110' is a short code, which no feed can list"),
        (f"{FIRST}\nGoPay\n", "own.txt, line 2: 'G…y' is not a telephone number"),
        ("0812-345#-####\n", "own.txt, line 1: '0812…###' is not a telephone number: it stands for 100,000"),
    ],
)
def test_a_recipients_own_file_with_a_mistake_names_file_and_line(
    folder: Path, tmp_path: Path, own: str, words: str
) -> None:
    assert_fails(run("check", FIRST, env=recipient(folder, tmp_path, own)), 2, words)


def test_a_table_is_read_as_a_list_to_publish_is(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "banks.csv"
    table.write_text(f'number,who\n{FIRST},"Bank A, Jakarta"\n')
    assert protect(folder, "add", "--from", table).code == 0
    assert protect(folder, "list").lines == [FIRST]
    assert protect(folder, "remove", "--from", "-", stdin=table.read_bytes()).code == 0
    assert protect(folder, "list").lines == []


def test_a_list_that_drops_many_numbers_needs_a_word(folder: Path, tmp_path: Path) -> None:
    assert protect(folder, "add", "0812-3456-####").code == 0
    file, proposal = tmp_path / "one.txt", tmp_path / "proposal.json"
    file.write_text(f"{FIRST}\n")
    assert_fails(protect(folder, "set", "--from", file), 6, "9,999 of 10,000 numbers", "1,000 may be", "--accept")
    assert len(protect(folder, "list").lines) == 10_000
    ran = protect(folder, "set", "--from", file, "--propose", proposal)
    assert ran.code == 0
    assert "to apply it, --accept will be needed: 9,999 of 10,000 numbers" in ran.err
    ran = protect(folder, "apply", proposal, "--dry-run")
    assert (ran.code, ran.lines[0]) == (6, "1 number would be protected: 0 added, 9,999 removed")
    assert "it would be refused" in ran.err
    assert_fails(protect(folder, "apply", proposal, "--dry-run", "--accept"), 2, "leave --accept out")
    assert_fails(protect(folder, "apply", proposal), 6, "9,999 of 10,000 numbers")
    assert protect(folder, "apply", proposal, "--accept").code == 0
    assert protect(folder, "set", "--from", file, "--accept").code == 0
    assert protect(folder, "list").lines == [FIRST]


def test_a_stale_proposal_is_refused(folder: Path, tmp_path: Path) -> None:
    proposal = tmp_path / "proposal.json"
    assert protect(folder, "add", FIRST, "--propose", proposal).code == 0
    assert protect(folder, "add", SECOND).code == 0
    assert_fails(protect(folder, "apply", proposal), 6, "made on another list of protected numbers")
    ran = protect(folder, "apply", proposal, "--dry-run")
    assert (ran.code, "made on another list" in ran.err) == (6, True)
    assert protect(folder, "apply", proposal, "--accept").code == 0


def test_a_proposal_replaces_proposals_only(folder: Path, tmp_path: Path) -> None:
    file, proposal = tmp_path / "list.txt", tmp_path / "proposal.json"
    file.write_text(f"{FIRST}\n")
    assert_fails(protect(folder, "add", "--from", file, "--propose", file), 2, "exists, and is not a proposal")
    assert file.read_text() == f"{FIRST}\n"
    assert_fails(protect(folder, "add", FIRST, "--propose", tmp_path), 2, "not a regular file")
    for _ in range(2):
        assert protect(folder, "add", FIRST, "--propose", proposal).code == 0


def test_what_a_feed_lists_is_said_before_it_is_signed(folder: Path, tmp_path: Path) -> None:
    assert run("publish", "add", folder, "--feed", "id-all", FIRST, env=ENV).code == 0
    proposal = tmp_path / "proposal.json"
    words = f"feed id-all lists 1 number that would be protected, such as {FIRST}"
    assert words in protect(folder, "add", FIRST, "--propose", proposal).err
    assert words in protect(folder, "apply", proposal, "--dry-run").err
    document = protect(folder, "apply", proposal, "--dry-run", "--json").document
    assert (document["added"], document["listed"]) == ([int(FIRST)], {"id-all": [int(FIRST)]})


@pytest.mark.parametrize("command", ["add", "remove", "set"])
def test_an_empty_file_is_an_error(folder: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "empty.txt"
    file.write_text("# nothing\n\n")
    for source, stdin in ((file, b""), ("-", b"")):
        assert_fails(protect(folder, command, "--from", source, stdin=stdin), 2, "there is no number in")


def test_a_recipients_own_file_without_numbers_is_said(folder: Path, tmp_path: Path) -> None:
    assert run("publish", "add", folder, "--feed", "id-all", SECOND, env=ENV).code == 0
    env = recipient(folder, tmp_path, "# nothing\n")
    ran = run("sync", env=env)
    assert ran.code == 0
    assert "there is no number in" in ran.err
