"""What somebody changes in the database itself, and how `verify` names it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from blocklist_sdk.exchange_server.casework.verification import findings
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.database import Database
from support.command_line import run
from support.postgres import database_url, run_sql
from support.talking import OFFLINE_PASSPHRASE, PASSPHRASE, Talk

TRIGGERS = [f"DROP TRIGGER {table}_no_{verb}" for table in ("history", "audit_trail") for verb in ("update", "delete")]

LISTING = (
    "INSERT INTO listings (id, case_id, feed, entry, number, level, category, scope, since, urgent, waiting, ended, "
    "salt) VALUES (99, 1, 'id-indosat', 999, 6281400000001, 'block', 'fraud', 'sms', '2026-11-02 08:00:00', {yes}, "
    "{yes}, {no}, '00')"
)

TAMPERED: dict[str, tuple[str, ...]] = {
    # what is done, and each of what is found
    "UPDATE decisions SET officer = 'budi' WHERE id = 1": ("decision 1: officer is 'budi', and the trail says 'anna'",),
    "UPDATE decisions SET scope = 'sms' WHERE id = 1": ("decision 1: scope is 'sms', and the trail says 'data+",),
    "UPDATE decisions SET until = NULL WHERE id = 1": ("decision 1: until is empty, and the trail says '2027-",),
    "UPDATE decisions SET decided_at = '2026-11-01 00:00:00' WHERE id = 1": ("decision 1: decided_at is '2026-11-01T",),
    "UPDATE decisions SET reason = 'another' WHERE id = 1": ("decision 1: reason is not what the trail says",),
    "UPDATE reports SET text = 'another' WHERE id = 1": ("report 1: text is not what the trail says",),
    "UPDATE reports SET reporter = 'another' WHERE id = 1": ("report 1: reporter is not what the trail says",),
    "UPDATE reports SET category = 'other' WHERE id = 1": (
        "report 1: category is 'other', and the trail says 'fraud'",
    ),
    "UPDATE reports SET number = number + 1 WHERE id = 1": ("report 1: number is not what the trail says",),
    "UPDATE reports SET salt = '00' WHERE id = 1": ("report 1: number is not", "report 1: text is not"),
    "UPDATE receipts SET at = '2026-11-01 00:00:00'": ("receipt (account_id ", ": at is '2026-11-01T00:00:00+00:00'"),
    "UPDATE receipts SET outcome = 'refused'": ("is in no line of the audit trail", "is missing"),
    "UPDATE receipts SET account_id = 1": ("is in no line of the audit trail", "is missing"),
    "UPDATE receipts SET detail = 'another'": ("detail is not what the trail says",),
    "DELETE FROM receipts": ("outcome enforced) is missing",),
    "UPDATE appeals SET grounds = 'another'": ("appeal 1: grounds is not what the trail says",),
    "UPDATE appeals SET answered_by = 'budi'": ("appeal 1: answered_by is 'budi', and the trail says 'anna'",),
    "UPDATE appeals SET state = 'granted'": ("appeal 1: state is 'granted', and the trail says 'dismissed'",),
    "DELETE FROM evidence WHERE id = 1": ("evidence 1 is missing",),
    "UPDATE evidence SET report_id = 2 WHERE id = 1": ("evidence 1: report_id is 2, and the trail says 1",),
    "UPDATE cases SET state = 'rejected' WHERE id = 1": ("case 1: state is 'rejected', and the trail says '",),
    "UPDATE cases SET closed_at = '2026-11-01 00:00:00' WHERE id = 1": ("case 1: closed_at is '2026-11-01T",),
    "DELETE FROM history WHERE case_id = 1; DELETE FROM decisions WHERE case_id = 1; DELETE FROM cases WHERE id = 1": (
        "case 1 is missing",
        "decision 1 is missing",
    ),
    "DELETE FROM history WHERE case_id = 1": ("the history of case 1 was changed at line 1",),
    "UPDATE history SET actor = 'budi' WHERE case_id = 1 AND sequence = 2": (
        "the history of case 1 was changed at line 2",
    ),
    "UPDATE history SET at = 'never' WHERE case_id = 1 AND sequence = 2": ("the history of case ",),
    LISTING.format(yes=1, no=0): ("listing 99 is in no line of the audit trail",),
    "UPDATE listings SET number = number + 1 WHERE id = 1": ("listing 1: number is not what the trail says",),
    "UPDATE listings SET until = '2036-01-01 00:00:00' WHERE id = 1": ("listing 1: until is '2036-",),
    "DELETE FROM listings WHERE id = 1": ("listing 1 is missing",),
    "UPDATE accounts SET scopes = 'officer publish' WHERE name = 'web'": ("account ", "and the trail says 'report'"),
    "UPDATE accounts SET key = NULL, secret_hash = 'mine' WHERE name = 'web'": ("secret_hash is not what the trail",),
    "UPDATE accounts SET disabled_at = NULL WHERE name = 'gone'": ("disabled_at is empty, and the trail says '2026",),
    "INSERT INTO accounts (name, scopes, created_at) VALUES ('me', 'officer', '2026-11-01 00:00:00')": (
        "is in no line of the audit trail",
    ),
    "UPDATE feeds SET last_entry = 0 WHERE name = 'id-telkomsel'": (
        "feed id-telkomsel: last_entry is 0, and the trail",
    ),
    "DELETE FROM cycles": ("cycle 2026-11 is missing",),
    "UPDATE audit_trail SET actor = 'budi' WHERE sequence = 20": ("line 20 of the audit trail was changed",),
    "UPDATE audit_trail SET detail = '{\"a\":1}' WHERE sequence = 20": ("line 20 of the audit trail was changed",),
    "UPDATE audit_trail SET hash = 'x' WHERE sequence = 20": ("line 20 of the", "line 21 of the"),
    "UPDATE audit_trail SET changes = '[[1]]' WHERE sequence = 20": ("line 20 of the audit trail does not say",),
    "UPDATE audit_trail SET changes = 'no JSON' WHERE sequence = 20": ("line 20 of the audit trail cannot be read",),
    "DELETE FROM audit_trail WHERE sequence = 20": ("has no line 20: line 21 follows 19", "line 21 of the audit trail"),
    "DELETE FROM audit_trail WHERE sequence = (SELECT max(sequence) FROM audit_trail)": ("and its head names line ",),
    "UPDATE audit_head SET hash = 'x'": ("the head of the audit trail is not the hash of its last line",),
    "DELETE FROM audit_head": ("and its head names line 0",),
    "UPDATE decisions SET decided_at = 'never' WHERE id = 1": ("a row of the table decisions cannot be read",),
}

KEYS = {"BLOCKLIST_PASSPHRASE": PASSPHRASE, "BLOCKLIST_OFFLINE_PASSPHRASE": OFFLINE_PASSPHRASE}


def found(url: str, exchange: Exchange) -> list[str]:
    database = Database(url, directory=exchange.directory)
    try:
        with database.snapshot() as session:
            return [each.text for each in findings(session, exchange.evidence) if each.is_damage]
    finally:
        database.close()


def test_whatever_is_changed_in_the_database_is_named(lite: Talk) -> None:
    lite.live()
    lite.publish(everything=True)
    original = lite.exchange.directory / "exchange.sqlite"
    copy = original.with_name("copy.sqlite")
    for statement, expected in TAMPERED.items():
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.executescript(";".join([*TRIGGERS, statement]))
            target.commit()
        problems = found("sqlite:///copy.sqlite", lite.exchange)
        assert problems, statement
        for text in expected:
            assert any(text in problem for problem in problems), (statement, problems)
    assert list(lite.exchange.damage()) == []
    shutil.rmtree(next(lite.exchange.evidence.directory.glob("??")))
    assert "is missing or damaged" in "".join(lite.exchange.damage())


def rewritten(talk: Talk, execute: Callable[[str], Any]) -> None:
    """A history with another decider, chained anew, as somebody would who knows how the hashes are made."""
    from datetime import datetime

    from blocklist_sdk.exchange_server.casework.cases import line_hash

    head = ""
    for line in talk.history(1):
        actor = "budi" if line["actor"] == "anna" else line["actor"]
        at = datetime.fromisoformat(line["at"])
        head = line_hash(head, 1, line["sequence"], at, actor, line["event"], line["detail"])
        where = f"WHERE case_id = 1 AND sequence = {line['sequence']}"
        execute(f"UPDATE history SET actor = '{actor}', hash = '{head}' {where}")
    execute(f"UPDATE cases SET head = '{head}' WHERE id = 1")


def test_postgresql_names_it_too(start: Any, new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    talk = start(url)
    talk.live()
    assert list(talk.exchange.damage()) == []

    def execute(statement: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
            connection.execute(statement.encode())

    expected = []
    for statement, problem in (
        (
            "UPDATE decisions SET officer = 'budi' WHERE id = 1",
            "decision 1: officer is 'budi', and the trail says 'anna'",
        ),
        (LISTING.format(yes="true", no="false"), "listing 99 is in no line of the audit trail"),
        ("DELETE FROM appeals WHERE id = 1", "appeal 1 is missing"),
        ("UPDATE reports SET text = 'another' WHERE id = 1", "report 1: text is not what the trail says"),
    ):
        execute(statement)
        expected.append(problem)
        assert sorted(talk.exchange.damage()) == sorted(expected)
    rewritten(talk, execute)
    problems = set(talk.exchange.damage()) - set(expected)
    assert len(problems) == 1
    assert problems.pop().startswith("case 1: head is '")


def test_a_history_that_is_chained_anew_is_named(lite: Talk) -> None:
    lite.live()
    with closing(sqlite3.connect(lite.exchange.directory / "exchange.sqlite")) as connection:
        for statement in TRIGGERS:
            connection.execute(statement)
        rewritten(lite, connection.execute)
        connection.commit()
    (problem,) = lite.exchange.damage()
    assert problem.startswith("case 1: head is '")


FORBIDDEN = (
    "UPDATE audit_trail SET actor = 'me'",
    "DELETE FROM audit_trail",
    "TRUNCATE audit_trail",
    "ALTER TABLE audit_trail DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_trail_is_kept ON audit_trail",
    "CREATE OR REPLACE FUNCTION audit_trail_is_kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP TABLE audit_trail",
    "UPDATE history SET actor = 'me'",
    "DELETE FROM history",
    "ALTER TABLE history DISABLE TRIGGER ALL",
    "SET session_replication_role = replica",
    "CREATE TABLE mine (id int)",
)


def test_the_role_that_serves_on_postgresql_cannot_alter_the_trail(postgres: str, tmp_path: Path) -> None:
    run_sql(postgres, "CREATE ROLE trail_owner LOGIN")
    run_sql(postgres, "CREATE ROLE trail_service LOGIN")
    run_sql(postgres, "CREATE DATABASE apart OWNER trail_owner")
    place = database_url(postgres, "apart").partition("@")[2]
    owner, service = (f"postgresql://trail_{role}@{place}" for role in ("owner", "service"))
    directory = tmp_path / "exchange"

    def init(*options: str) -> Any:
        return run("exchange", "init", directory, *options, env=KEYS)

    for role in (service, "postgresql:///apart", "sqlite:///x.sqlite", f"postgresql://trail_service@{place}x"):
        assert init("--database", role, "--database-owner", service).code == 2
    for role, why in (
        (database_url(postgres, "apart"), "may act as the owner"),
        (f"postgresql://nobody@{place}", "'nobody'"),
    ):
        not_made = init("--database", role, "--database-owner", owner)
        assert not_made.code == 2
        assert why in not_made.err
    assert not directory.exists()
    made = init("--database", service, "--database-owner", owner)
    assert made.code == 0, made.err
    assert "warning" not in made.err
    with Exchange.open(directory, passphrase=PASSPHRASE) as exchange:
        assert not exchange.database.may_alter_trail()
        exchange.add_account("web", ["report"])
        exchange.publish(everything=True)
        exchange.forget()
        head = exchange.audit_head()
        assert head.length >= 3
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.Error), psycopg.connect(service) as connection:
                connection.execute(statement.encode())
        with psycopg.connect(service) as connection:
            connection.execute("GRANT ALL ON audit_trail TO CURRENT_USER")  # which PostgreSQL answers with a warning
            asked = "SELECT has_table_privilege('audit_trail', 'UPDATE, DELETE, TRUNCATE, TRIGGER')"
            assert connection.execute(asked).fetchone() == (False,)
        assert (exchange.audit_head(), list(exchange.damage())) == (head, [])
    with psycopg.connect(owner) as connection:
        assert connection.execute("SELECT count(*) FROM audit_trail").fetchone() == (head.length,)
    assert "owner" not in (directory / "exchange.toml").read_text()


def test_an_exchange_whose_role_owns_the_trail_says_so(postgres: str, tmp_path: Path) -> None:
    run_sql(postgres, "CREATE DATABASE together")
    url = database_url(postgres, "together")
    settings = ExchangeSettings(database=url)
    with Exchange.init(
        tmp_path / "exchange", passphrase=PASSPHRASE, offline_passphrase=OFFLINE_PASSPHRASE, settings=settings
    ) as exchange:
        assert exchange.database.may_alter_trail()


def test_a_head_that_is_gone_stops_no_change(lite: Talk) -> None:
    case = lite.listed()
    with closing(sqlite3.connect(lite.exchange.directory / "exchange.sqlite")) as connection:
        connection.execute("DELETE FROM audit_head")
        connection.commit()
    lite.decide(case, "retract")
    assert lite.publish()
    assert list(lite.exchange.damage()) == []
    assert list(lite.exchange.doubts()) == []


def test_a_foreign_line_beyond_the_head_is_named_and_holds_up_nothing(lite: Talk) -> None:
    case = lite.complete()
    reached = lite.exchange.audit_head().length
    with closing(sqlite3.connect(lite.exchange.directory / "exchange.sqlite")) as connection:
        connection.execute(
            "INSERT INTO audit_trail (sequence, at, actor, event, detail, changes, hash) "
            f"SELECT {reached + 1}, at, actor, event, detail, changes, hash FROM audit_trail WHERE sequence = 1"
        )
        connection.commit()
    lite.decide(case, urgent=True)
    assert any(f"line {reached + 1}" in each for each in lite.exchange.damage())
