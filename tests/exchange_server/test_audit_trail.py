"""The audit trail: a line for everything that changes, and nothing personal in any of them."""

import hashlib
import json
import logging
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text, update

from blocklist_sdk.exchange_server.alarms import ALARMS
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.log_in_lines import LINES_MAX, LogInLines
from blocklist_sdk.exchange_server.http.routes import appeal_routes, case_routes, feed_routes, report_routes
from blocklist_sdk.exchange_server.store import audited, trail
from blocklist_sdk.exchange_server.store.audited import AUDITED, NOT_AUDITED
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    AppealRow,
    Base,
    CaseRow,
    EvidenceRow,
    ReportRow,
)
from blocklist_sdk.exchange_server.store.trail import Act, TrailLine
from support.command_line import run
from support.evidence_files import png_of
from support.talking import PASSPHRASE, Talk, good, refused

TEXT = "a text that nobody else may read"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lines_of(talk: Talk, after: int = 0) -> list[TrailLine]:
    with talk.exchange.database.reading() as session:
        return list(trail.lines(session, after))


def length(talk: Talk) -> int:
    return talk.exchange.audit_head().length


def test_everything_that_changes_has_a_line_that_says_who_did_it(talk: Talk) -> None:
    case = talk.live(TEXT)
    every = lines_of(talk)
    assert list(talk.exchange.damage()) == []
    assert [line.sequence for line in every] == list(range(1, len(every) + 1))
    before = ""
    for line in every:
        assert line.hash == line.expected_hash(before)
        before = line.hash
    assert talk.exchange.audit_head() == trail.TrailEnd(len(every), before)
    events = [(line.actor, line.event) for line in every]
    wanted = [
        ("web", "report"),
        ("web", "attach to report"),
        ("bank", "report"),
        ("anna", "start verification"),
        ("anna", "decide"),
        ("exchange", "release prepared"),
        ("exchange", "release settled"),
        ("telkomsel", "submit receipts"),
        ("web", "submit appeal"),
        ("anna", "answer appeal"),
    ]
    steps = iter(events)
    assert all(each in steps for each in wanted), events
    decision = next(line for line in every if line.event == "decide")
    tables = {change[0]: change for change in decision.changes}
    assert tables["decisions"][3].items() >= {"officer": "anna", "kind": "block", "case_id": case}.items()
    assert {"listings", "cases", "decisions"} <= tables.keys()
    assert "number" in tables["listings"][3]
    assert TEXT not in json.dumps(decision.as_json())


def test_a_batch_of_receipts_is_one_line_and_a_repeated_request_is_none(talk: Talk) -> None:
    entries = [talk.entry(talk.listed()) for _ in range(3)]
    before = length(talk)
    receipts = {"receipts": [talk.receipt(entry, serial=entry) for entry in entries]}
    talk.make("telkomsel", "/v1/receipts", receipts, key="again")
    (line,) = lines_of(talk, before)
    assert [change[0] for change in line.changes].count("receipts") == 3
    talk.make("telkomsel", "/v1/receipts", receipts, key="again")
    talk.answer_for("telkomsel", *receipts["receipts"])  # with another key, and all of them known
    assert length(talk) == before + 1


def test_each_of_many_reports_is_a_line_of_its_account(talk: Talk) -> None:
    number = talk.number()
    before = length(talk)
    sent = [("web" if index % 2 else "bank", talk.new_report(number, reporter=f"r{index}")) for index in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for answer in threads.map(lambda each: talk.post(each[0], "/v1/reports", each[1]), sent):
            good(answer)
    talk.make("web", "/v1/reports/bulk", {"reports": [talk.new_report(number, reporter="x"), talk.new_report()]})
    written = lines_of(talk, before)
    assert [line.event for line in written] == ["report"] * 10
    assert sorted(line.actor for line in written[:8]) == ["bank"] * 4 + ["web"] * 4
    assert all([change[0] for change in line.changes].count("reports") == 1 for line in written)
    opened = [line for line in written if ["cases", "insert"] in [[change[0], change[2]] for change in line.changes]]
    assert len(opened) == 2
    assert list(talk.exchange.damage()) == []


def test_no_line_has_anything_personal_or_what_opens_a_commitment(talk: Talk, tmp_path: Path) -> None:
    talk.live(TEXT)
    file = tmp_path / "trail.jsonl"
    exported = talk.exchange.export_trail(file)
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_text()
    with talk.exchange.database.reading() as session:
        for each in AUDITED:
            for row in session.execute(select(each.table)).mappings():
                salts = [audited.SALT] if each.personal else []
                for value in [row[name] for name in (*each.personal, *each.hashed, *salts)]:
                    shown = value.isoformat() if hasattr(value, "isoformat") else str(value)
                    assert value in (None, "", []) or (f'"{shown}"' not in content and f":{shown}," not in content)
    before = ""
    for text_line in content.splitlines():  # as an auditor computes it, without this library
        line = json.loads(text_line)
        said = [before, *(line[name] for name in ("sequence", "at", "actor", "event", "detail", "changes"))]
        before = hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        assert line["hash"] == before
    assert exported == trail.TrailEnd(len(content.splitlines()), before)


def test_every_table_is_in_the_trail_or_has_a_reason_why_not() -> None:
    tables = {mapper.class_ for mapper in Base.registry.mappers}
    assert {each.row for each in AUDITED} | set(NOT_AUDITED) == tables
    for each in AUDITED:
        named = {*each.key, *each.personal, *each.hashed, *each.left_out}
        assert named <= set(each.table.columns.keys())
        assert (audited.SALT in each.table.columns) == each.is_personal, each.noun


def test_what_the_trail_holds_as_it_is() -> None:
    """A new column enters the trail as it is. If it is personal it has to be named in `audited`."""
    assert {each.table.name: set(each.plain) for each in AUDITED if each.personal} == {
        "cases": {"state", "officer", "opened_at", "complete_at", "verifying_at", "decided_at", "published_at"}
        | {"enforced_at", "closed_at", "events", "head"},
        "reports": {"case_id", "account_id", "category", "channel", "received_at", "repeats"},
        "appeals": {"case_id", "account_id", "state", "by_itself", "received_at", "answered_by", "answered_at"}
        | {"decision_id"},
        "evidence": {"account_id", "report_id", "appeal_id", "sha256", "media_type", "bytes", "received_at"},
        "decisions": {"case_id", "kind", "category", "scope", "until", "urgent", "officer", "decided_at", "state"}
        | {"confirmed_by", "confirmed_at"},
        "listings": {"case_id", "feed", "entry", "level", "category", "scope", "since", "until", "urgent", "waiting"}
        | {"listed_serial", "listed_at", "retracted_at", "ended", "lifted_serial", "lifted_at"},
        "waiting_releases": {"digest", "refused_at", "judged_at", "listings", "added", "blocked", "reasons"}
        | {"routine", "last_listing", "limits", "state", "is_known", "accepted_by", "accepted_at"},
        "receipts": {"at", "received_at"},
        "recycled": {"account_id", "feed", "case_id", "entry", "received_at", "state", "answered_by", "answered_at"},
    }
    for part in (report_routes, case_routes, appeal_routes, feed_routes):
        assert all(len(route.name) <= 32 for route in part.router.routes), "an event has 32 characters"


def test_a_change_that_nobody_answers_for_is_not_made(talk: Talk) -> None:
    database, case = talk.exchange.database, talk.complete()
    head = talk.exchange.audit_head()

    def take_over(session: Any) -> None:
        session.get_one(CaseRow, case).officer = "nobody"

    with pytest.raises(RuntimeError, match="does not say who does it"):
        database.change(take_over)
    with pytest.raises(RuntimeError, match="does not say who does it"), database.writing() as session:
        add_all(session, AccountRow, [{"name": "x", "scopes": "report", "created_at": talk.clock()}])
    with pytest.raises(RuntimeError, match="would not be in the audit trail"):
        database.change(lambda session: session.execute(update(CaseRow).values(officer="x")), by=Act("x", "x"))
    database.change(lambda session: setattr(session.get_one(CaseRow, case), "officer", None), by=Act("x", "x"))
    assert talk.exchange.audit_head() == head, "nothing has changed"
    database.change(take_over, by=Act("nobody", "takes over"))
    (line,) = lines_of(talk, head.length)
    assert line.changes == [["cases", [case], "update", {"officer": "nobody"}]]
    assert list(talk.exchange.damage()) == []


def test_a_change_of_very_many_rows_is_several_lines(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_CHANGES_MAX", 4)
    at = lite.clock()
    before = length(lite)
    with lite.exchange.database.writing(by=Act("test", "cases", {"why": "a test"})) as session:
        add_all(session, CaseRow, [{"number": lite.number(), "state": "incomplete", "opened_at": at} for _ in range(9)])
    written = lines_of(lite, before)
    assert [len(line.changes) for line in written] == [4, 4, 1]
    assert [line.detail for line in written] == [{"why": "a test"} | more for more in ({}, {"part": 2}, {"part": 3})]
    assert list(lite.exchange.damage()) == []


def test_who_reads_evidence_is_written_before_a_byte_goes_out(talk: Talk) -> None:
    report = talk.report()
    made = talk.attach(report["id"])
    assert talk.get("anna", f"/v1/evidence/{made['id']}?original=true").content == png_of(200)
    line = lines_of(talk)[-1]
    assert (line.actor, line.event) == ("anna", "evidence read")
    assert line.detail == {"evidence": made["id"], "sha256": made["sha256"], "original": True}
    talk.get("anna", f"/v1/evidence/{made['id']}").raise_for_status()
    assert lines_of(talk)[-1].detail["original"] is False
    with talk.exchange.database.writing() as session:
        session.execute(text("ALTER TABLE audit_trail RENAME TO elsewhere"))
    refused(talk.get("anna", f"/v1/evidence/{made['id']}"), 503, "unavailable")


def test_refused_log_ins_are_a_line_for_each_account_address_and_minute(lite: Talk) -> None:
    def ask(name: str) -> None:
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": "wrong"}
        assert lite.request("POST", "/oauth/token", data=form).status_code == 401

    while True:
        before, minute = length(lite), time.monotonic() // 60
        for name in ("clerk", "nobody", "clerk", "+6281234567890", "no-one"):
            ask(name)
        if time.monotonic() // 60 == minute:
            break
    written = lines_of(lite, before)
    assert [line.event for line in written] == ["log-in refused"] * 2
    assert [line.detail for line in written] == [{"account": name, "address": "127.0.0.1"} for name in ("clerk", "")]


def test_no_flood_of_guesses_fills_the_trail(lite: Talk) -> None:
    now = [0.0]
    logins = LogInLines(lite.exchange.database, clock=lambda: now[0])
    before = length(lite)

    def guess() -> None:
        for index in range(LINES_MAX * 2):
            logins.note("clerk", f"address {index}")

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines_of(lite, before)
    assert [line.event for line in written] == ["log-in refused"] * LINES_MAX + ["log-ins refused"]
    now[0] += 60
    logins.note("clerk", "address 1")
    assert lines_of(lite, before + LINES_MAX + 1)[0].detail == {"account": "clerk", "address": "address 1"}


def test_changed_settings_and_commands_raise_an_alarm_in_whatever_serves(
    lite: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    directory = lite.exchange.directory

    def alarms() -> list[str]:
        caplog.clear()
        lite.exchange.raise_alarms()
        return [each.getMessage() for each in caplog.records if (each.name, each.levelno) == (ALARMS, logging.ERROR)]

    lite.exchange.note_configuration()
    assert alarms() == [], "what a new exchange is made with is no alarm"
    before = length(lite)
    done = run("exchange", "user", "add", directory, "new-officer", "--scope", "officer")
    assert done.code == 0, done.err
    assert run("exchange", "user", "disable", directory, "anna").code == 0
    first, second = alarms()
    assert "account added by command line" in first
    assert '"account":"new-officer"' in first
    assert "account closed by command line" in second
    assert alarms() == [], "each raises one"
    routing = directory / "routing.toml"
    routing.write_text(f"{routing.read_text()}\n# changed\n")
    with Exchange.open(directory, passphrase=None, two_person=True) as changed:
        changed.note_configuration()
        changed.note_configuration()
    (message,) = alarms()
    assert "settings.two_person was False and is True" in message
    assert "routing was " in message
    line = lines_of(lite, before)[-1]
    assert line.detail["settings"]["database"] == "sqlite:///exchange.sqlite"
    assert set(line.detail["keys"]) >= {"root", "targets", "id-telkomsel"}


def test_the_password_of_the_database_is_in_no_line(lite: Talk) -> None:
    from blocklist_sdk.exchange_server.casework.configuration import configuration_of

    settings = lite.exchange.settings.model_copy(update={"database": "postgresql://me:hunter2@db.example:5/exchange"})
    document = configuration_of(settings, b"", lite.exchange.publisher)
    assert document["settings"]["database"] == "postgresql://db.example/exchange"
    assert "hunter2" not in json.dumps(document)


def test_erased_content_leaves_lines_that_can_be_named(talk: Talk) -> None:
    talk.live(TEXT)
    nothing: dict[Any, dict[str, Any]] = {
        ReportRow: {
            "text": "",
            "reporter": "",
            "app": None,
            "number": 0,
            "happened_at": EPOCH,
        },
        EvidenceRow: {"name": ""},
        AppealRow: {"number": None, "grounds": "", "appellant": "", "reason": None},
    }

    def erase(session: Any) -> None:
        for kind, empty in nothing.items():
            for row in session.scalars(select(kind)):
                for name, value in {**empty, audited.SALT: ""}.items():
                    setattr(row, name, value)

    talk.exchange.database.change(erase, by=Act("command line", "erased"))
    found = list(talk.exchange.findings())
    assert [each.text for each in found if each.is_damage] == []
    assert {"report 1 was erased", "report 2 was erased", "appeal 1 was erased"} <= {each.text for each in found}
    erased = lines_of(talk)[-1]
    assert {change[2] for change in erased.changes} == {"erased"}
    assert all(not change[3] for change in erased.changes)
    with talk.exchange.database.writing() as session:
        session.execute(text("UPDATE reports SET text = 'invented' WHERE id = 1"))
    assert list(talk.exchange.damage()) == ["report 1: text is there, and the trail says that it was erased"]


def test_verify_exports_what_an_auditor_can_read(lite: Talk, tmp_path: Path) -> None:
    lite.live(TEXT)
    file = tmp_path / "trail.jsonl"
    done = run("exchange", "verify", lite.exchange.directory, "--export", file, "--json")
    assert done.code == 0, done.err
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert done.document == {"problems": [], "erased": [], "lines": len(exported), "head": exported[-1]["hash"]}
    plain = run("exchange", "verify", lite.exchange.directory)
    assert f"as the {len(exported)} lines of the audit trail say" in plain.err
    with lite.exchange.database.writing() as session:
        session.execute(text("UPDATE decisions SET officer = 'budi' WHERE id = 1"))
    bad = run("exchange", "verify", lite.exchange.directory)
    assert (bad.code, bad.lines) == (1, ["decision 1: officer is 'budi', and the trail says 'anna'"])


def test_publishing_by_a_timer_writes_what_it_runs_with(lite: Talk) -> None:
    before = length(lite)
    done = run("exchange", "publish", lite.exchange.directory, env={"BLOCKLIST_PASSPHRASE": PASSPHRASE})
    assert done.code == 0, done.err
    assert not [line for line in lines_of(lite, before) if line.event == "configuration"], "as it was made"


def test_no_request_and_no_look_for_alarms_reads_the_whole_trail(lite: Talk) -> None:
    asked: list[tuple[str, Any]] = []
    engine = lite.exchange.database._engine

    @event.listens_for(engine, "before_cursor_execute")
    def ask(connection: Any, cursor: Any, statement: str, parameters: Any, *others: Any) -> None:
        if "audit_trail" in statement and statement.startswith("SELECT"):
            asked.append((statement, parameters))

    lite.live()
    lite.exchange.note_configuration()
    lite.exchange.raise_alarms()
    assert asked
    with closing(sqlite3.connect(lite.exchange.directory / "exchange.sqlite")) as connection:
        for statement, parameters in asked:
            plan = " ".join(row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
            assert "USING INDEX alarming_lines" in plan or "USING INTEGER PRIMARY KEY (" in plan, statement
