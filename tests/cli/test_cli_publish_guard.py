"""``publish release``, ``add`` and ``remove`` in the monthly habit: what is refused, shown, accepted, rejected."""

from pathlib import Path

import pytest

from support.command_line import Ran, assert_fails, run

ENV = {"BLOCKLIST_PASSPHRASE": "generated for a test"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "authority"
    assert run("publish", "init", directory, "--feed", "id-all", "--region", "ID", env=ENV).code == 0
    november = write_list(tmp_path / "november.csv", *(f"0812-0000-{i:04}" for i in range(499)))
    assert publish("release", directory, "--from", november).code == 0
    return directory


def write_list(path: Path, *numbers: str) -> Path:
    path.write_text("number\n" + "".join(f"{number}\n" for number in numbers))
    return path


def publish(command: str, folder: Path, *options: str | Path, env: dict[str, str] = ENV, stdin: bytes = b"") -> Ran:
    return run("publish", command, folder, "--feed", "id-all", *options, env=env, stdin=stdin)


def test_a_months_numbers_are_not_the_whole_list(folder: Path, tmp_path: Path) -> None:
    december = write_list(tmp_path / "december.csv", *(f"0813-0000-{i:04}" for i in range(30)))
    assert_fails(publish("release", folder, "--from", december, "--accept"), 2, "only after the same list was refused")
    ran = publish("release", folder, "--from", december)
    assert (ran.code, ran.out) == (6, "")
    for words in ("unblock 499 numbers, 100 % of the 499", "blocklist publish add", "--accept"):
        assert words in ran.err.splitlines()[-1]
    assert "category fraud 30 added 499 removed" in ran.err
    assert ran.err.count("unblocked removed") + ran.err.count("other added") == 20
    assert "6281200000" not in ran.err
    ran = publish("add", folder, "--from", december, "--until", "2099-06-30")
    assert (ran.code, ran.err) == (0, "")
    assert "release 2 with 529 entries: 30 added, 0 removed" in ran.out


def test_what_was_refused_is_accepted_once(folder: Path, tmp_path: Path) -> None:
    small = write_list(tmp_path / "small.csv", "0812-0000-0001")
    assert publish("release", folder, "--from", small).code == 6
    other = write_list(tmp_path / "other.csv", "0812-0000-0002")
    assert_fails(publish("release", folder, "--from", other, "--accept"), 2, "was another one")
    ran = publish("release", folder, "--from", small, "--accept")
    assert ran.code == 0
    assert "498 removed" in ran.out
    assert_fails(publish("release", folder, "--from", small, "--accept"), 2, "a release has been published since")


def test_a_dry_run_needs_no_key_and_says_what_the_guard_says(folder: Path, tmp_path: Path) -> None:
    small = write_list(tmp_path / "small.csv", "0812-0000-0001", "GoPay is no number")
    ran = publish("release", folder, "--from", small, "--dry-run", "--max-rejects", "1", env={})
    assert ran.code == 6
    assert "id-all: release 1 → 2, 499 → 1 entry" in ran.out
    assert "blocked numbers 499 → 1: 0 begin to be blocked, 498 cease to be" in ran.out
    assert "the guard refuses it: it would unblock 498 numbers" in ran.out
    assert "+6281200000000" in ran.out
    assert "1 row cannot be published" in ran.err
    for words in ("blocklist publish add", "publish it without --dry-run", "--accept"):
        assert words in ran.err
    assert_fails(
        publish("release", folder, "--from", small, "--max-rejects", "1", "--accept"), 2, "A dry run is not a refusal"
    )
    document = publish("release", folder, "--from", small, "--dry-run", "--max-rejects", "1", "--json").document
    assert (document["unblocked"], len(document["surprising"]), len(document["refusals"])) == (498, 20, 1)
    ran = publish("add", folder, "0813-0000-0001", "--dry-run", "--json", env={})
    assert (ran.code, ran.document["total"]) == (0, {"added": 1, "removed": 0, "changed": 0})
    ran = publish("remove", folder, "0812-0000-0001", "--dry-run", env={})
    assert ran.code == 0
    assert "499 → 498 entries" in ran.out
    for options in (["--accept"], ["--rejects", "rejects.csv"]):
        assert_fails(publish("add", folder, "0813-0000-0001", "--dry-run", *options), 2, "--dry-run publishes and")
    assert not (folder / "refused.json").exists()


def test_numbers_are_added_and_removed_by_hand(folder: Path) -> None:
    ran = publish("add", folder, "0813-0000-0001", "+62 813-0000-0002", "0812-0000-0001", "--issuer", "authority")
    assert ran.code == 0
    assert "2 added, 0 removed" in ran.out
    assert "1 number listed by the same issuer before: nothing changed" in ran.err
    ran = publish("remove", folder, "0813-0000-0001", "0899-0000-0001", "--json")
    assert (ran.code, ran.document["removed"], ran.document["not_listed"]) == (0, 1, 1)
    assert "1 number to remove is not listed: line 2" in ran.err
    assert_fails(publish("remove", folder, "0899-0000-0001"), 2, "is not on the list")
    assert publish("add", folder, "0812-0000-0001", "--issuer", "ojk").code == 0
    assert_fails(publish("remove", folder, "0812-0000-0001"), 2, "several issuers", "name the issuer")
    assert publish("remove", folder, "0812-0000-0001", "--issuer", "ojk").code == 0


def test_rejects_end_with_7_after_the_others_are_published(folder: Path, tmp_path: Path) -> None:
    mixed = write_list(tmp_path / "mixed.csv", "0813-0000-0001", "GoPay")
    for command, word in (("add", "1 added"), ("remove", "1 removed")):
        ran = publish(command, folder, "--from", mixed)
        assert ran.code == 7
        assert word in ran.out
        assert "1 row cannot be published; see" in ran.err


def test_standard_input_is_a_file(folder: Path) -> None:
    assert "1 added" in publish("add", folder, "--from", "-", stdin=b"number\n0813-0000-0001\n").out
    assert "1 removed" in publish("remove", folder, "-", stdin=b"number\n0813-0000-0001\n").out


def test_a_short_code_has_one_reason_and_its_own_advice(folder: Path, tmp_path: Path) -> None:
    for code in ("110", "14045"):
        codes = write_list(tmp_path / "codes.csv", code)
        assert_fails(
            publish("add", folder, "--from", codes), 2, "too short", "short code", "Leave short codes such as 110"
        )
        env = {
            "BLOCKLIST_URL": (folder / "repository").as_uri(),
            "BLOCKLIST_FEED": "id-all",
            "BLOCKLIST_ROOT": str(folder / "root.json"),
            "BLOCKLIST_REGION": "ID",
            "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
        }
        ran = run("override", "allow", code, "--reason", "x", env=env)
        assert_fails(ran, 2, "too short: digits are missing, such as an area code, or it is a short code")


def test_numbers_or_a_file(folder: Path, tmp_path: Path) -> None:
    some = write_list(tmp_path / "some.csv", "0813-0000-0001")
    both: list[str | Path] = ["0813-0000-0001", "--from", some]
    for options in ([], both):
        assert_fails(publish("add", folder, *options), 2, "--from")


def test_a_dry_run_ends_as_the_run_would(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.csv"
    odd.write_text("number\n0812-0000-0001\nGoPay is no number\n")
    for command in ("add", "remove"):
        assert publish(command, folder, "--from", odd, "--dry-run").code == 7
        assert publish(command, folder, "--from", odd).code == 7
    whole = tmp_path / "whole.csv"
    whole.write_text("number\nGoPay is no number\n" + "".join(f"0812-0000-{i:04}\n" for i in range(499)))
    for options, code in ([], 0), (["--strict"], 7):
        assert publish("release", folder, "--from", whole, "--dry-run", *options).code == code
        assert publish("release", folder, "--from", whole, *options).code == code


def test_a_later_end_is_said_and_the_last_number_needs_a_word(folder: Path) -> None:
    end = ["--until", "2098-06-30"]
    assert publish("add", folder, "0813-0000-0001", *end).code == 0
    ran = publish("add", folder, "0813-0000-0001", "--until", "2099-06-30")
    assert (ran.code, ran.err) == (
        0,
        "blocklist: 1 number listed by the same issuer before: listed until the later end now\n",
    )
    assert "0 added, 0 removed, 1 changed" in ran.out
    assert run("publish", "add-feed", folder, "--feed", "id-new", env=ENV).code == 0
    one: list[str | Path] = ["publish", "remove", folder, "--feed", "id-new", "0812-0000-0001"]
    assert run("publish", "add", *one[2:], env=ENV).code == 0
    assert_fails(run(*one, env=ENV), 2, "no entry would be left", "--allow-empty")
    assert run(*one, "--allow-empty", env=ENV).code == 0
