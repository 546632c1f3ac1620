"""Quiet commands, limits, tables that fit, what waits for whom, completion, prompts."""

import contextlib
import getpass
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.case_queue import CLOSED, next_step, queue
from blocklist_sdk.cli.passphrase import PassphraseSource
from blocklist_sdk.cli.quiet import QUIET
from blocklist_sdk.cli.text_tables import limited, table_lines
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange import Account, Case
from blocklist_sdk.exchange.models import CaseState
from blocklist_sdk.publisher.keys import PASSPHRASE_CHARS_MIN
from support.command_line import assert_fails, run
from support.exchanges import RECEIPT, appeal, case, decision, exchanging, page, report, routes
from support.world import ADDED, FEED, LISTED, World, make_world

ME = Account(name="officer-a", scopes=("officer",))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def env(world: World) -> dict[str, str]:
    found = {"URL": world.url, "FEED": FEED, "ROOT": str(world.publisher.root), "REGION": "ID"}
    return {f"BLOCKLIST_{name}": value for name, value in found.items()} | {
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache-of-commands")
    }


# Quiet


def test_quiet_leaves_out_what_a_command_did_and_keeps_its_exit_code(env: dict[str, str]) -> None:
    for arguments, code in ((("sync",), 0), (("verify",), 0), (("check", LISTED), 1), (("check", "0899-1111-2222"), 0)):
        loud, quiet = run(*arguments, env=env), run(*arguments, "-q", env=env)
        assert (quiet.code, quiet.out, quiet.err) == (code, "", "")
        assert (loud.code, bool(loud.out)) == (code, True)


def test_quiet_keeps_failures_and_warnings(env: dict[str, str]) -> None:
    assert_fails(run("sync", "--quiet", env=env | {"BLOCKLIST_FEED": "nothing-here"}), 2, "nothing-here")
    assert "not a telephone number" in run("check", "GoPay", "-q", env=env).err


def test_quiet_and_json_exclude_each_other(env: dict[str, str]) -> None:
    assert_fails(run("sync", "-q", "--json", env=env), 2, "--quiet", "--json")


def test_quiet_keeps_a_file_that_goes_to_standard_output(env: dict[str, str]) -> None:
    run("sync", env=env)
    table = f"number\n{LISTED}\n".encode()
    loud = run("screen", "-", "-o", "-", env=env, stdin=table)
    quiet = run("screen", "-", "-o", "-", "-q", env=env, stdin=table)
    assert quiet.out == loud.out
    assert "listed" in quiet.out


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from leaves(each, (*path, name))
        else:
            yield " ".join((*path, name)), each


def test_just_the_commands_that_do_something_take_quiet() -> None:
    """All others are there for what they write, or say what they did on standard error alone."""
    commands = dict(leaves(command_line()))
    assert commands.keys() >= QUIET
    for name, command in commands.items():
        assert any("-q" in each.opts for each in command.params) == (name in QUIET), name


# Limits


@pytest.mark.parametrize(
    ("command", "path", "item"),
    [
        (("report", "list"), "/v1/reports", report),
        (("appeal", "list"), "/v1/appeals", lambda number: appeal(id=number)),
        (("case", "list"), "/v1/cases", case),
        (("receipts", "list"), "/v1/receipts", lambda number: {**RECEIPT, "entry": number}),
    ],
)
def test_a_limit_shows_the_first_and_says_that_there_are_more(command: Any, path: str, item: Any) -> None:
    table = {f"GET {path}": {"items": [item(at) for at in (1, 2, 3)], "next": None}, "GET /v1/account": account()}
    table[f"GET {path}"] = page(*(item(at) for at in (1, 2, 3)))
    with exchanging(routes(table)) as (url, _):
        env = {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "a", "BLOCKLIST_CLIENT_SECRET": "s3cret"}
        some = run(*command, "--limit", "2", "--json", env=env)
        every = run(*command, "--limit", "3", "--json", env=env)
        shown = run(*command, "--limit", "2", env=env)
    assert (len(some.documents), some.err.count("only the first 2")) == (2, 1)
    assert (len(every.documents), every.err) == (3, "")
    assert "only the first 2 are shown" in shown.err
    assert_fails(run(*command, "--limit", "0"), 2, "--limit")


def account() -> dict[str, object]:
    return {"name": ME.name, "scopes": list(ME.scopes)}


def test_lists_of_the_recipient_have_limits(env: dict[str, str]) -> None:
    run("sync", env=env)
    for number in (LISTED, ADDED):
        run("override", "allow", number, "--reason", "ours", env=env)
    assert len(run("override", "list", "--limit", "1", "--json", env=env).documents) == 1
    table = run("override", "list", env=env)
    assert [line.split()[0] for line in table.lines] == ["decision", "allow", "allow"]
    for flags in ((), ("--json",), ("--format", "jsonl")):
        found = run("changes", "--since", "0", "--limit", "5", *flags, env=env)
        assert len(found.lines) == 5 + (not flags)
        assert "only the first 5" in found.err


@given(st.lists(st.integers(), max_size=5), st.integers(1, 6))
def test_limited_takes_the_first(items: list[int], limit: int) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert list(limited(items, limit)) == items[:limit]
    assert bool(said.getvalue()) == (len(items) > limit)


# Tables

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=5), st.integers(10, 130))
def test_tables_fit_and_lose_nothing_where_there_is_room(rows: list[list[str]], width: int) -> None:
    header = ("number", "state", "why")
    lines = list(table_lines(header, rows, whole=1, width=width))
    assert len(lines) == len(rows) + 1
    assert all(line.startswith(row[0].rstrip()) for row, line in zip(rows, lines[1:], strict=True))
    assert all(len(line) <= max(width, len("number"), *(len(row[0]) for row in rows)) for line in lines)
    whole = list(table_lines(header, rows, whole=1, width=None))
    if max(map(len, whole)) <= width:
        assert lines == whole
    for row, line in zip(rows, whole[1:], strict=True):
        assert all(cell.strip() in line for cell in row)


def test_a_table_of_a_stranger_s_texts_obeys_no_control_characters() -> None:
    (_, line) = table_lines(("why",), [["a\x1b[31m\nb"]], whole=1, width=None)
    assert line.isprintable()


def test_case_list_fits_the_terminal() -> None:
    with exchanging(routes({"GET /v1/cases": page(case()), "GET /v1/account": account()})) as (url, _):
        env = {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "a", "BLOCKLIST_CLIENT_SECRET": "s3cret"}
        narrow = run("case", "list", env=env | {"COLUMNS": "80"})
        wide = run("case", "list", env=env)
    assert max(map(len, narrow.lines)) <= 80
    assert narrow.lines[1].startswith("7     +6281234567890  received, overdue  another officer confirms 5")
    assert "opened" not in narrow.out
    assert "2026-11-24T08:00:00Z" in wide.out


# What waits for whom


def a_case(number: int, state: str, *, officer: str | None = None, proposed_by: str | None = None) -> Case:
    decisions = [] if proposed_by is None else [decision(id=number, state="proposed", officer=proposed_by)]
    return Case.model_validate(case(number, state=state, officer=officer, decisions=decisions, listings=[]))


def test_what_waits_for_this_officer_comes_first() -> None:
    cases = [
        a_case(1, "published"),
        a_case(2, "incomplete"),
        a_case(3, "decided"),
        a_case(4, "verifying", officer="officer-a", proposed_by="officer-a"),
        a_case(5, "verifying", officer="officer-b"),
        a_case(6, "received"),
        a_case(7, "verifying", officer="officer-a"),
        a_case(8, "appealed"),
        a_case(9, "verifying", officer="officer-b", proposed_by="officer-b"),
        a_case(10, "published", proposed_by="officer-b"),
        a_case(11, "rejected"),
    ]
    assert [each.case.id for each in queue(cases, ME, closed=False)] == [9, 10, 8, 7, 6, 5, 4, 3, 2]
    assert [each.case.id for each in queue(cases, ME, closed=True)][-2:] == [1, 11]
    assert next_step(cases[8], ME).step == "confirm 9"
    assert next_step(cases[3], ME).step == "another officer confirms 4"


@pytest.mark.parametrize("state", CaseState)
def test_no_case_in_which_something_is_left_to_do_is_hidden(state: CaseState) -> None:
    assert bool(next_step(a_case(1, state), ME).step) == (state not in CLOSED)
    for officer in ("officer-a", "officer-b"):
        assert next_step(a_case(1, state, proposed_by=officer), ME).step


@pytest.mark.parametrize("flags", [("--all",), ("--state", "published"), ("--number", "0812"), ("--overdue",)])
def test_published_cases_are_shown_to_who_asks_for_them(flags: tuple[str, ...]) -> None:
    table = {"GET /v1/cases": page(case(state="published", decisions=[])), "GET /v1/account": account()}
    with exchanging(routes(table)) as (url, _):
        env = {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "a", "BLOCKLIST_CLIENT_SECRET": "s3cret"}
        for form in ((), ("--json",)):
            ran = run("case", "list", *form, env=env)
            assert (ran.code, ran.out) == (0, "")
            assert "nothing is left to do: 1 case. Give --all" in ran.err
        shown = run("case", "list", *flags, env=env)
        assert ("published" in shown.out, shown.err) == (True, "")


# Completion


def completed(words: str, env: dict[str, str] | None = None) -> list[str]:
    """What is offered for the last word, which may be empty."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), "_BLOCKLIST_COMPLETE": "complete_bash"}
    ran = run(env=(env or {}) | asked)
    assert (ran.code, ran.err) == (0, "")
    return ran.out.split()


def test_commands_and_options_are_completed() -> None:
    assert {"check", "changes"} == set(completed("blocklist ch"))
    assert {"release", "remove", "refresh"} == set(completed("blocklist publish re"))
    assert "--scope" in completed("blocklist check --sc")


def test_feeds_on_this_machine_are_completed(env: dict[str, str], tmp_path: Path) -> None:
    run("sync", env=env)
    elsewhere = env | {"BLOCKLIST_FEED": ""}
    assert completed("blocklist check --feed ", elsewhere) == [FEED]
    assert completed("blocklist check --feed x", elsewhere) == []
    (tmp_path / "blocklist.toml").write_text("broken")
    assert completed("blocklist check --feed ", {"BLOCKLIST_CONFIG": str(tmp_path / "blocklist.toml")}) == []


def test_file_names_are_left_to_the_shell() -> None:
    assert completed("blocklist screen ") == []
    assert completed("blocklist sync --root ro") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_is_one_that_bash_takes(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from blocklist_sdk.cli import main; main()", "--show-completion", "bash"]
    disabled = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(program, check=True, capture_output=True, text=True, env=os.environ | disabled).stdout
    assert "_BLOCKLIST_COMPLETE=complete_bash" in script.replace("_-C_", "_BLOCKLIST_")
    (tmp_path / "script").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True)


# Prompts


def test_the_prompt_for_a_new_passphrase_says_how_long_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers = iter(["short", "long enough to do", "long enough to do", "short"])

    def ask(prompt: str, stream: Any = None) -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr(getpass, "getpass", ask)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.delenv("BLOCKLIST_PASSPHRASE", raising=False)
    with pytest.raises(InvalidInput, match=f"at least {PASSPHRASE_CHARS_MIN} characters"):
        PassphraseSource(None, is_new=True)("root")
    assert len(asked) == 1, "what is too short is not asked for twice"
    assert PassphraseSource(None, is_new=True)("root") == "long enough to do"
    assert PassphraseSource(None)("root") == "short", "an old one is checked by the key"
    assert [f"at least {PASSPHRASE_CHARS_MIN} characters" in prompt for prompt in asked] == [True, True, False, False]
