"""``blocklist report|case|appeal|receipts``, and `sync` with an account: on an exchange on loopback."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.command_line import Ran, assert_fails, run
from support.exchanges import (
    EVENT,
    EVIDENCE,
    MOMENT,
    NUMBER,
    RECEIPT,
    RECYCLED,
    RECYCLED_ANSWER,
    STATISTICS,
    Asked,
    Told,
    appeal,
    case,
    decision,
    exchanging,
    page,
    problem,
    report,
    routes,
)
from support.world import FEED, World, make_world

SECRET = "s3cret"
REPORT = ("--category", "fraud", "--channel", "sms", "--text", "You have won", "--reporter", "customer-17")
WHEN = ("--happened-at", "2026-11-24T15:00:00+07:00")
DATA = b"a picture"
FILE = {**EVIDENCE, "bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest(), "name": "../../a b.png"}

CSV = """\
number,category,channel,app,text,happened_at,reporter
0812-3456-7890,fraud,sms,,You have won,2026-11-24T08:00:00Z,customer-17
0812-3456-7891,fraud,fax,,You have won,2026-11-24T08:00:00Z,customer-17
0812-3456-7892,fraud,messaging,WhatsApp,"You, too",2026-11-24T08:00:00Z,customer-18
nonsense,fraud,sms,,x,2026-11-24T08:00:00Z,customer-18
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def account(url: str) -> dict[str, str]:
    return {"BLOCKLIST_EXCHANGE": url, "BLOCKLIST_CLIENT_ID": "gopay", "BLOCKLIST_CLIENT_SECRET": SECRET}


def asked_for(table: dict[str, Any], *arguments: str | Path) -> tuple[Ran, list[Asked]]:
    """Run a command on an exchange: its result, and the requests but for tokens."""
    with exchanging(routes(table)) as (url, asked):
        ran = run(*arguments, env=account(url))
    assert all(each.headers["Authorization"] == "Bearer token-1" for each in asked if each.path != "/oauth/token")
    return ran, [each for each in asked if each.path != "/oauth/token"]


@pytest.mark.parametrize("word", [(), ("send",)])
def test_a_number_is_reported(word: tuple[str, ...]) -> None:
    ran, (only,) = asked_for(
        {"POST /v1/reports": Told(report(), 201)}, "report", *word, "0812-3456-7890", *REPORT, *WHEN
    )
    assert ran.code == 0, ran.err
    assert only.document == {
        "number": "0812-3456-7890",
        "category": "fraud",
        "channel": "sms",
        "app": None,
        "text": "You have won",
        "happened_at": MOMENT,
        "reporter": "customer-17",
    }
    assert ran.out.startswith(f"report 1  +{NUMBER}  fraud by sms, {MOMENT}, by customer-17")
    assert "case 7: incomplete, missing evidence" in ran.out
    assert ran.err == ""


def test_options_may_stand_before_the_number() -> None:
    ran, asked = asked_for({"POST /v1/reports": Told(report(), 201)}, "report", *REPORT, *WHEN, "0812", "--json")
    assert ran.document["id"] == 1
    assert len(asked) == 1


def test_a_report_comes_with_its_evidence() -> None:
    Path("a.png").write_bytes(DATA)
    Path("b.txt").write_bytes(b"text")
    table = {
        "POST /v1/reports": Told(report(), 201),
        "POST /v1/reports/1/evidence": Told(EVIDENCE, 201),
        "GET /v1/reports/1": report(case_state="received", missing=[]),
    }
    files = ("--evidence", "a.png", "--evidence", "b.txt")
    ran, asked = asked_for(table, "report", "0812", *REPORT, *WHEN, *files, "--idempotency-key", "t17", "--json")
    assert ran.document["case_state"] == "received"
    assert [each.query.get("name") for each in asked] == [None, "a.png", "b.txt", None]
    assert [each.headers.get("Idempotency-Key") for each in asked] == ["t17", "t17-evidence-0", "t17-evidence-1", None]
    assert asked[1].body == DATA


def test_evidence_that_is_not_there_is_found_before_anything_is_sent() -> None:
    ran, asked = asked_for({}, "report", "0812", *REPORT, *WHEN, "--evidence", "nowhere.png")
    assert_fails(ran, 2, "nowhere.png")
    assert asked == []


def test_evidence_that_is_refused_says_how_to_send_it_again() -> None:
    Path("a.png").write_bytes(DATA)
    table: dict[str, Any] = {
        "POST /v1/reports": Told(report(), 201),
        "POST /v1/reports/1/evidence": problem(413, "too large"),
    }
    ran, _ = asked_for(table, "report", "0812", *REPORT, *WHEN, "--evidence", "a.png")
    assert (ran.code, ran.out) == (2, "")
    assert "blocklist report attach 1 a.png" in ran.err
    assert "too large" in ran.err
    table = {"POST /v1/reports/1/evidence": Told(EVIDENCE, 201), "GET /v1/reports/1": report()}
    ran, asked = asked_for(table, "report", "attach", "1", "a.png")
    assert ran.code == 0, ran.err
    assert any(each.method == "POST" for each in asked)


def bulk(asked: Asked) -> Any:
    refused = {
        "type": "x",
        "title": "x",
        "status": 422,
        "detail": "no number",
        "errors": [{"field": "number", "reason": "it contains letters"}],
    }
    return {
        "items": [
            {"index": at, "problem": refused}
            if each["number"] == "nonsense"
            else {"index": at, "report": report(at + 1)}
            for at, each in enumerate(asked.document["reports"])
        ]
    }


def test_a_file_of_reports() -> None:
    Path("reports.csv").write_text(CSV)
    ran, (only,) = asked_for({"POST /v1/reports/bulk": bulk}, "report", "bulk", "reports.csv")
    assert ran.code == 7
    assert [each["number"][-1] for each in only.document["reports"]] == ["0", "2", "e"]
    assert [line.partition(":")[0] for line in ran.lines] == ["line 2", "line 4", "2 reported, 2 refused"]
    assert "line 3: channel" in ran.err
    assert "line 5: no number (number: it contains letters)" in ran.err


def test_a_file_of_reports_as_json_lines() -> None:
    row = {"number": "0812", "category": "fraud", "channel": "sms", "text": "x", "happened_at": MOMENT, "reporter": "r"}
    lines = [json.dumps({**row, "app": None}), "", "[1]", "nonsense", json.dumps({**row, "number": "nonsense"})]
    Path("reports.jsonl").write_text("\n".join(lines))
    ran, _ = asked_for({"POST /v1/reports/bulk": bulk}, "report", "bulk", "reports.jsonl", "--json")
    assert (ran.code, ran.err) == (7, "")
    found = {each["line"]: each for each in ran.documents}
    assert found[1]["report"]["id"] == 1
    assert found[3]["error"] == {"type": "InvalidInput", "message": "not a JSON object"}
    assert found[4]["error"]["message"].startswith("not JSON: ")
    assert found[5]["error"]["type"] == "ExchangeError"


def test_a_file_without_rejects_exits_with_0() -> None:
    Path("reports.csv").write_text("\n".join(CSV.splitlines()[:2]))
    ran, _ = asked_for({"POST /v1/reports/bulk": bulk}, "report", "bulk", "reports.csv", "--idempotency-key", "k")
    assert (ran.code, ran.lines[-1]) == (0, "1 reported, 0 refused")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"colour,size\nx,y\n", "none of the columns number, category"),
        (b"number,text,number\n08123456780,x,08123456781\n", "'number' twice"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'number,text\n"a,b\n', "line"),
        (b"number\n" + b"1" * 20_000_000, "line 2 is longer than"),
    ],
)
def test_a_file_that_cannot_be_used(data: bytes, words: str) -> None:
    Path("reports.csv").write_bytes(data)
    ran, asked = asked_for({}, "report", "bulk", "reports.csv")
    assert_fails(ran, 2, "reports.csv", words)
    assert asked == []


def test_a_file_that_is_not_there() -> None:
    assert_fails(asked_for({}, "report", "bulk", "nowhere.csv")[0], 2, "nowhere.csv")
    assert_fails(asked_for({}, "receipts", "send", "nowhere.csv")[0], 2, "nowhere.csv")


SHOWN: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]] = {
    "report show": (("report", "show", "1"), {"GET /v1/reports/1": report(evidence=[EVIDENCE])}, ("a.png", "You have")),
    "report list": (
        ("report", "list", "--since", "2026-01-01"),
        {"GET /v1/reports": page(report())},
        ("1       +6281234567890",),
    ),
    "case list": (
        ("case", "list", "--overdue"),
        {"GET /v1/cases": page(case()), "GET /v1/account": {"name": "officer-a", "scopes": ["officer"]}},
        ("7     +6281234567890", "overdue", "2 by 2"),
    ),
    "case show": (
        ("case", "show", "7"),
        {"GET /v1/cases/7": case(), "GET /v1/cases/7/reports": page(report())},
        ("case 7", "report 1", "decision 5", "as entry 11"),
    ),
    "case show, not published yet": (
        ("case", "show", "7"),
        {
            "GET /v1/cases/7": case(listings=[case()["listings"][0] | {"entry": None, "listed_serial": None}]),
            "GET /v1/cases/7/reports": page(report()),
        },
        ("on id-telkomsel: block, not published yet",),
    ),
    "case history": (("case", "history", "7"), {"GET /v1/cases/7/history": page(EVENT)}, ("taken-up by officer-a",)),
    "case start-verification": (
        ("case", "start-verification", "7"),
        {"POST /v1/cases/7/verification": case(state="verifying")},
        ("verifying",),
    ),
    "case decide": (
        ("case", "decide", "7", "block", "--version", "12", "--reason", "seen", "--scope", "sms+voice", "--urgent"),
        {"POST /v1/cases/7/decisions": decision()},
        ("decision 5 on case 7: block, proposed", "sms+voice"),
    ),
    "case confirm": (
        ("case", "confirm", "5", "--version", "13"),
        {"POST /v1/decisions/5/confirmation": decision(state="effective", confirmed_by="officer-b")},
        ("confirmed by officer-b",),
    ),
    "case recycled --confirm": (
        ("case", "recycled", "--confirm", "0" * 64, "--reason", "asked the operator"),
        {"POST /v1/receipts/recycled/answers": RECYCLED_ANSWER},
        ("retracted 59 of 60 numbers",),
    ),
    "case withdraw": (
        ("case", "withdraw", "5"),
        {"POST /v1/decisions/5/withdrawal": decision(state="withdrawn")},
        ("withdrawn",),
    ),
    "appeal": (
        ("appeal", "0812", "--grounds", "a new owner", "--appellant", "customer-18"),
        {"POST /v1/appeals": Told(appeal(), 201)},
        ("appeal 9", "open, lifted by 0 of 1"),
    ),
    "appeal by entry": (
        ("appeal", "--entry", "id-all:11", "--grounds", "a new owner", "--appellant", "customer-18"),
        {"POST /v1/appeals": Told(appeal(), 201)},
        ("appeal 9",),
    ),
    "appeal show": (
        ("appeal", "show", "9"),
        {"GET /v1/appeals/9": appeal(reason="granted", answered_at=MOMENT, evidence=[EVIDENCE])},
        ("a new owner", "not lifted yet", "granted", "a.png"),
    ),
    "appeal list": (
        ("appeal", "list", "--state", "open"),
        {"GET /v1/appeals": page(appeal())},
        ("9       +6281234567890",),
    ),
    "appeal answer": (
        ("appeal", "answer", "9", "--grant", "--reason", "a new owner"),
        {"POST /v1/appeals/9/answer": appeal(state="granted")},
        ("granted",),
    ),
    "receipts list": (
        ("receipts", "list", "--entry", "11"),
        {"GET /v1/receipts": page(RECEIPT)},
        ("entry 11", "enforced"),
    ),
    "receipts statistics": (
        ("receipts", "statistics", "2026-11"),
        {"GET /v1/statistics/2026-11": STATISTICS},
        ("decided to block: 1", "60 s in the median", "not measured yet"),
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_commands_show(name: str) -> None:
    arguments, table, words = SHOWN[name]
    ran, _ = asked_for(table, *arguments)
    assert (ran.code, ran.err) == (0, "")
    for word in words:
        assert word in ran.out
    ran, _ = asked_for(table, *arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    (told,) = [each for place, each in table.items() if not place.endswith(("/7/reports", "/account"))]
    answer = told.body if isinstance(told, Told) else told
    (answer,) = answer.get("items", [answer])
    shown = ran.document
    assert shown == {name: value for name, value in answer.items() if name in shown}


def test_an_appeal_comes_with_its_evidence() -> None:
    Path("a.png").write_bytes(DATA)
    table = {
        "POST /v1/appeals": Told(appeal(), 201),
        "POST /v1/appeals/9/evidence": Told(EVIDENCE, 201),
        "GET /v1/appeals/9": appeal(evidence=[EVIDENCE]),
    }
    flags = ("--grounds", "a new owner", "--appellant", "customer-18", "--evidence", "a.png", "--json")
    ran, asked = asked_for(table, "appeal", "0812", *flags)
    assert len(ran.document["evidence"]) == 1
    assert [each.body for each in asked if each.path.endswith("evidence")] == [DATA]
    ran, asked = asked_for(table, "appeal", "attach", "9", "a.png")
    assert ran.code == 0, ran.err


def test_batches_of_recycled_numbers_are_shown_with_the_command_that_answers_them() -> None:
    ran, _ = asked_for({"GET /v1/receipts/recycled": Told([RECYCLED])}, "case", "recycled")
    assert ran.code == 0
    for word in ("60 numbers recycled according to telkomsel, the home operator", f"--confirm {'0' * 64}"):
        assert word in ran.out


@pytest.mark.parametrize("whose", ["case", "appeal"])
def test_evidence_is_downloaded_under_safe_names(whose: str) -> None:
    table = {
        "GET /v1/cases/7/reports": page(report(evidence=[FILE])),
        "GET /v1/appeals/7": appeal(evidence=[FILE]),
        "GET /v1/evidence/3": Told(DATA, media_type="image/png"),
    }
    ran, _ = asked_for(table, whose, "evidence", "7", "--dir", "files/new", "--json")
    assert ran.document["path"] == "files/new/3-a_b.png"
    assert Path("files/new/3-a_b.png").read_bytes() == DATA
    assert asked_for(table, whose, "evidence", "7", "--dir", "files/new")[0].out.startswith(
        "files/new/3-a_b.png  image"
    )


def test_evidence_that_is_another_is_not_kept() -> None:
    table = {"GET /v1/cases/7/reports": page(report(evidence=[FILE])), "GET /v1/evidence/3": Told(DATA[::-1])}
    assert_fails(asked_for(table, "case", "evidence", "7", "--dir", "files")[0], 4, "evidence 3")
    assert list(Path("files").iterdir()) == []
    Path("text").write_text("")
    assert_fails(asked_for(table, "case", "evidence", "7", "--dir", "text/files")[0], 74, "text")


def test_receipts_are_sent() -> None:
    rows = ["feed,serial,entry,outcome,at,detail", f"id-all,4,11,enforced,{MOMENT},", f"id-all,4,12,eaten,{MOMENT},"]
    rows += [f"id-all,4,13,enforced,{MOMENT},", f"other,4,1,enforced,{MOMENT},in HLR 3"]
    Path("receipts.csv").write_text("\n".join(rows))
    items = [
        {"index": 0, "status": "accepted"},
        {"index": 1, "status": "repeated"},
        {"index": 2, "status": "refused", "reason": "not your feed"},
    ]
    ran, (only,) = asked_for({"POST /v1/receipts": {"items": items}}, "receipts", "send", "receipts.csv")
    assert (ran.code, ran.out) == (7, "1 accepted, 1 repeated, 2 refused\n")
    assert "line 3: outcome" in ran.err
    assert "line 5: not your feed" in ran.err
    assert [each["entry"] for each in only.document["receipts"]] == [11, 13, 1]
    ran, _ = asked_for({"POST /v1/receipts": {"items": items}}, "receipts", "send", "receipts.csv", "--json")
    assert [each.get("status", "error") for each in ran.documents] == ["error", "accepted", "repeated", "error"]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (problem(401, "who are you"), 77),
        (problem(403, "you may not"), 77),
        (problem(404, "no such report"), 2),
        (problem(422, "it cannot be used"), 2),
        (problem(429, "too many", headers={"Retry-After": "3600"}), 3),
        (problem(503, "away", headers={"Retry-After": "3600"}), 3),
        (Told(b"<html>", media_type="text/html"), 4),
        (Told(b"", 503, {"Retry-After": "3600"}, "text/html"), 3),
    ],
    ids=lambda value: None,
)
def test_exit_codes(told: Told, code: int) -> None:
    assert_fails(asked_for({"GET /v1/reports/1": told}, "report", "show", "1")[0], code)


def test_no_token_is_not_permitted() -> None:
    ran, asked = asked_for({"POST /oauth/token": Told({"error": "invalid_client"}, 401)}, "report", "show", "1")
    assert_fails(ran, 77, "invalid_client", "secret")
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "0812", *REPORT, "--happened-at", "yesterday"), "yesterday"),
        (("report", "0812", *REPORT), "--happened-at"),
        (("report", "show", "seventeen"), "ID"),
        (("report", "show", "0"), "report"),
        (("appeal", "--entry", "11", "--grounds", "x", "--appellant", "x"), "FEED:ENTRY"),
        (("appeal", "--entry", "id-all:x", "--grounds", "x", "--appellant", "x"), "FEED:ENTRY"),
        (("appeal", "--grounds", "x", "--appellant", "x"), "number"),
        (("appeal", "answer", "9", "--reason", "x"), "--grant"),
        (("appeal", "answer", "9", "--reason", "x", "--grant", "--dismiss"), "--grant"),
        (("appeal", "list", "--state", "shut"), "shut"),
        (("case", "decide", "7", "ban", "--reason", "x"), "kind"),
        (("case", "decide", "7", "block", "--version", "1", "--reason", "x", "--scope", "fax"), "scope"),
        (("case", "decide", "7", "block", "--version", "1", "--reason", "x", "--until", "soon"), "soon"),
        (("case", "decide", "7", "block", "--reason", "x"), "blocklist case show 7"),
        (("appeal", "answer", "9", "--reason", "x", "--dismiss"), "--version"),
        (("case", "recycled", "--confirm", "0" * 64), "--reason"),
        (("receipts", "statistics", "2026"), "month"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_sent(arguments: tuple[str, ...], words: str) -> None:
    ran, asked = asked_for({}, *arguments)
    assert_fails(ran, 2, words)
    assert asked == []


# Settings


def test_an_exchange_is_needed() -> None:
    assert_fails(run("report", "show", "1"), 2, "missing exchange", "BLOCKLIST_EXCHANGE")


def used(table: dict[str, Any] | None = None, *flags: str | Path, env: dict[str, str] | None = None) -> list[Asked]:
    """Ask for a report with these settings; `URL` in them is the exchange's address."""
    with exchanging(routes({"GET /v1/reports/1": report(), **(table or {})})) as (url, asked):
        for file in Path().glob("*.toml"):
            file.with_suffix(".config").write_text(file.read_text().replace("URL", url))
        given = {name: value.replace("URL", url) for name, value in (env or {}).items()}
        if Path("blocklist.config").exists():
            given["BLOCKLIST_CONFIG"] = "blocklist.config"
        ran = run("report", "show", "1", *(str(flag).replace("URL", url) for flag in flags), env=given)
    assert ran.code == 0, ran.err
    return asked


def basic(asked: Asked) -> bytes:
    return base64.b64decode(asked.headers["Authorization"].removeprefix("Basic "))


def test_without_an_account_no_token_is_asked_for() -> None:
    (only,) = used(None, "--exchange", "URL")
    assert "Authorization" not in only.headers


def test_a_secret_comes_from_a_file_the_environment_or_the_settings_file() -> None:
    Path("secret").write_text("from-file\n")
    Path("blocklist.toml").write_text('exchange = "URL"\nclient_id = "gopay"\nclient_secret = "from-settings"\n')
    assert basic(used()[0]) == b"gopay:from-settings"
    assert basic(used(env={"BLOCKLIST_CLIENT_SECRET": "from-env"})[0]) == b"gopay:from-env"
    both = {"BLOCKLIST_CLIENT_SECRET": "from-env"}
    assert basic(used(None, "--client-secret-file", "secret", env=both)[0]) == b"gopay:from-file"


def test_a_key_takes_the_place_of_a_secret() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    Path("key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    Path("blocklist.toml").write_text('exchange = "URL"\nclient_id = "gopay"\nclient_secret = "from-settings"\n')
    asked = used(None, "--client-key", "key.pem")
    assert b"client_assertion=" in asked[0].body
    assert "Authorization" not in asked[0].headers


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "none"),
        (
            {"BLOCKLIST_CLIENT_SECRET": "x", "BLOCKLIST_CLIENT_KEY": "key.pem"},
            "SECRET in the environment and BLOCK",
        ),
        ({"BLOCKLIST_CLIENT_SECRET_FILE": "nowhere"}, "nowhere"),
        ({"BLOCKLIST_CLIENT_SECRET_FILE": "empty"}, "empty"),
        ({"BLOCKLIST_CLIENT_KEY": "nowhere"}, "nowhere"),
        ({"BLOCKLIST_CLIENT_KEY": "empty"}, "private key"),
        ({"BLOCKLIST_CLIENT_KEY": "/dev/zero"}, "100,000 bytes"),
        ({"BLOCKLIST_CLIENT_SECRET": "x", "BLOCKLIST_CA": "empty"}, "empty"),
        ({"BLOCKLIST_CLIENT_SECRET": "x", "BLOCKLIST_CLIENT_CERT": "empty"}, "PEM"),
        ({"BLOCKLIST_CLIENT_SECRET": "x", "BLOCKLIST_EXCHANGE": "exchange.example"}, "https:"),
    ],
)
def test_an_account_that_cannot_be_used(env: dict[str, str], words: str) -> None:
    Path("empty").write_text("")
    Path("empty").chmod(0o600)
    given = {"BLOCKLIST_EXCHANGE": "http://127.0.0.1:9", "BLOCKLIST_CLIENT_ID": "gopay", **env}
    assert_fails(run("report", "show", "1", env=given), 2, words)


def test_the_secret_itself_has_no_flag() -> None:
    assert_fails(run("report", "show", "1", "--client-secret", SECRET), 2, "--client-secret")


# Lists behind an account


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


@pytest.fixture
def guarded(world: World) -> Iterator[tuple[str, list[Asked]]]:
    """A repository that asks for a token, as an exchange serves it."""

    def answer(asked: Asked, _: Any) -> Told:
        if asked.path == "/oauth/token":
            return Told({"access_token": "token-1", "token_type": "Bearer", "expires_in": 300, "scope": "feed:x"})
        if asked.headers.get("Authorization") != "Bearer token-1":
            return problem(401, "who are you")
        file = world.repository / asked.path.removeprefix("/repository/")
        return Told(file.read_bytes(), media_type="x") if file.is_file() else problem(404, "no such file")

    with exchanging(answer) as found:
        yield found


def test_sync_and_mirror_ask_with_the_account(guarded: tuple[str, list[Asked]], world: World) -> None:
    url, asked = guarded
    settings = ("--url", f"{url}/repository", "--root", world.publisher.root)
    env = {"BLOCKLIST_CLIENT_ID": "gopay", "BLOCKLIST_CLIENT_SECRET": SECRET}
    assert_fails(run("sync", *settings, "--feed", FEED, "--cache-dir", "cache"), 77, "401")
    ran = run("sync", *settings, "--feed", FEED, "--cache-dir", "cache", env=env)
    assert ran.code == 0, ran.err
    ran = run("mirror", "copy", *settings, env={**env, "BLOCKLIST_EXCHANGE": url})
    assert ran.code == 0, ran.err
    assert [each.path for each in asked].count("/oauth/token") == 2
    ran = run("status", *settings, "--feed", FEED, "--cache-dir", "cache", env={"BLOCKLIST_CLIENT_ID": "gopay"})
    assert ran.code == 0, "asking what is on the disk needs no secret"


def test_a_list_on_this_machine_needs_no_token(world: World) -> None:
    env = {"BLOCKLIST_CLIENT_ID": "gopay", "BLOCKLIST_CLIENT_SECRET": SECRET}
    settings = ("--url", world.repository.as_uri(), "--root", world.publisher.root, "--feed", FEED)
    assert run("sync", *settings, "--cache-dir", "cache", env=env).code == 0
