"""Text of strangers is shown as theirs: no terminal obeys it, and no message of the command line can be mistaken."""

import io
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocklist_sdk.cli.messages import DEBUG_VARIABLE, say, say_bug
from blocklist_sdk.cli.output import indented, write_json, write_line
from support.command_line import Ran, run
from support.exchanges import (
    EVENT,
    EVIDENCE,
    MOMENT,
    RECEIPT,
    STATISTICS,
    appeal,
    case,
    exchanging,
    page,
    problem,
    report,
    routes,
)
from support.world import FEED, make_world

EVIL = "x\x1b]0;title\x07\x1b[2J\x9b1A\r\n+62 free\u202e\u2066y\u2028z\x00"
"""A title, a cleared screen, a line that looks like one of ours, and two changes of direction."""

NUMBER = "+6281234567890"

FREE_TEXT = {
    *("actor", "app", "appellant", "category", "detail", "event", "field", "grounds", "kind", "level", "media_type"),
    *("name", "officer", "operator", "outcome", "reason", "recipient", "reporter", "state", "text", "title"),
}
"""Fields of the exchange's documents with words of people, or words that a hostile exchange may make up."""


def hostile(document: Any, name: str = "") -> Any:
    """The document, with hostile words in every field that takes them."""
    if isinstance(document, dict):
        return {key: hostile(value, key) for key, value in document.items()}
    if isinstance(document, list):
        return [hostile(each, name) for each in document]
    return f"{document}{EVIL}" if isinstance(document, str) and name in FREE_TEXT else document


def assert_harmless(text: str) -> None:
    """Nothing in what was written is obeyed by a terminal."""
    categories = {character: unicodedata.category(character) for character in set(text) - {"\n"}}
    assert [character for character, kind in categories.items() if kind in ("Cc", "Cf", "Zl", "Zp")] == []
    assert not any(line.startswith("+62 free") for line in text.splitlines())


def test_no_line_of_a_complaint_looks_like_one_of_the_command() -> None:
    for end in ("\r\n", "\r", "\n", "\n\n"):
        lines = indented(f"won{end}case 5: decided\u202e\u2066\x1b[1A", "    ")
        assert all(line.startswith("    ") for line in lines)
        assert not set("".join(lines)) & set("\r\n\u202e\u2066\x1b")


def test_nothing_that_is_written_for_people_is_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    say(EVIL)
    write_line(EVIL)
    try:
        raise ValueError(EVIL.replace("\r\n", " "))
    except ValueError as error:
        say_bug(error)
    written = capsys.readouterr()
    assert_harmless(written.out + written.err)
    assert "+62 free" in written.out
    assert written.err.count("+62 free") == 2


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_json_says_the_same_and_is_not_obeyed_either(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", out)
    write_json({"text": EVIL + "é\x7f"})
    out.flush()
    line = out.buffer.getvalue().decode(encoding)
    assert json.loads(line) == {"text": EVIL + "é\x7f"}
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for character in line.rstrip("\n"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "show", "1"),
        ("report", "list"),
        ("case", "show", "7"),
        ("case", "list"),
        ("case", "history", "7"),
        ("appeal", "show", "9"),
        ("appeal", "list"),
        ("receipts", "list"),
        ("receipts", "statistics", "2026-11"),
        ("report", "show", "2"),
        ("report", "bulk", "reports.jsonl"),
    ],
)
def test_an_exchange_cannot_reach_the_terminal(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"number": NUMBER, "category": "fraud", "channel": "sms", "text": "x", "reporter": "c", "happened_at": MOMENT}
    Path("reports.jsonl").write_text(json.dumps(row) + "\n")
    a_report = hostile(report(evidence=[EVIDENCE]))
    a_case = hostile(case()) | {"state": "received"}
    a_case["decisions"] = [each | {"kind": "block", "state": "proposed"} for each in a_case["decisions"]]
    a_case["listings"] = [each | {"level": "block"} for each in a_case["listings"]]
    refused = problem(422, EVIL, title=EVIL, errors=[{"field": EVIL, "reason": EVIL}], request_id=EVIL)
    body = {"index": 0, "problem": refused.body}
    table = {
        "GET /v1/reports/1": a_report,
        "GET /v1/reports/2": refused,
        "GET /v1/reports": page(a_report),
        "POST /v1/reports/bulk": {"items": [body]},
        "GET /v1/cases/7": a_case,
        "GET /v1/account": {"name": "officer-a", "scopes": ["officer"]},
        "GET /v1/cases": page(a_case),
        "GET /v1/cases/7/reports": page(a_report),
        "GET /v1/cases/7/history": page(hostile(EVENT)),
        "GET /v1/appeals/9": hostile(appeal(reason="no", evidence=[EVIDENCE])) | {"state": "open"},
        "GET /v1/appeals": page(hostile(appeal()) | {"state": "open"}),
        "GET /v1/receipts": page(hostile(RECEIPT) | {"outcome": "enforced"}),
        "GET /v1/statistics/2026-11": hostile(STATISTICS),
    }
    with exchanging(routes(table)) as (url, _):
        ran = run(*arguments, env={"BLOCKLIST_EXCHANGE": url, "COLUMNS": "500"})
    assert "\N{REPLACEMENT CHARACTER}" in ran.out + ran.err, ran
    assert_harmless(ran.out + ran.err)


def test_a_server_of_tokens_cannot_reach_the_terminal() -> None:
    answer = problem(400, "", error=EVIL, error_description=EVIL)
    with exchanging(routes({"POST /oauth/token": answer})) as (url, _):
        env = {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "gopay", "BLOCKLIST_CLIENT_SECRET": "s3cret"}
        ran = run("report", "list", env=env)
    assert "\N{REPLACEMENT CHARACTER}" in ran.err, ran
    assert_harmless(ran.err)


def test_a_list_cannot_reach_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path)
    with monkeypatch.context() as careless:
        careless.setattr("blocklist_sdk.publisher.arguments.is_displayable", lambda text: True)
        world.publisher.release(FEED, pa.table({"number": [NUMBER], "category": [EVIL], "issuer": [EVIL]}))
    env = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
    }

    def ask(*arguments: str) -> Ran:
        ran = run(*arguments, env=env)
        assert ran.code < 2, ran
        assert_harmless(ran.out + ran.err)
        return ran

    assert "\N{REPLACEMENT CHARACTER}" in ask("sync", "--dry-run").out
    ask("sync")
    assert "\N{REPLACEMENT CHARACTER}" in ask("check", NUMBER).out
    assert "\N{REPLACEMENT CHARACTER}" in ask("explain", NUMBER).out
    # One entry is one line, and one number's answer too.
    assert len(ask("export").out.splitlines()) == 2
    assert json.loads(ask("export", "--format", "jsonl").out)["issuer"] == EVIL
    (tmp_path / "numbers.csv").write_text(f"number\n{NUMBER}\n")
    ask("screen", str(tmp_path / "numbers.csv"), "-o", str(tmp_path / "answers.csv"))
    answers = (tmp_path / "answers.csv").read_text()
    assert len(answers.splitlines()) == 2
    assert_harmless(answers)
    ask("changes", "--since", "0")
    ask("override", "allow", NUMBER, "--reason", "x\x1b[2J\u202e", "--author", "y\x1b[2J")
    assert "\N{REPLACEMENT CHARACTER}" in ask("override", "list").out
    ask("explain", NUMBER)
    ask("status")
