"""What is signed is what the audit trail accounts for; what SQL has changed is not, and no unblock waits for that."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from blocklist_sdk import Blocklist, InvalidInput
from blocklist_sdk.exchange_server.alarms import ALARMS
from blocklist_sdk.exchange_server.casework import trail_book
from blocklist_sdk.exchange_server.casework.accounted import image_after, is_no_more_than
from blocklist_sdk.exchange_server.casework.alarming_lines import raise_alarms
from blocklist_sdk.exchange_server.casework.release_guard import Content
from blocklist_sdk.exchange_server.store.trail import lines
from blocklist_sdk.release.audit import AuditHead
from support.command_line import run
from support.talking import START, TELKOMSEL, Talk

FEED = "id-telkomsel"
STRANGER = TELKOMSEL + 77_777
"""A number that nobody reported."""


@pytest.fixture(autouse=True)
def _alarms(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger=ALARMS)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The alarms since the last look."""
    found = [record.getMessage() for record in caplog.records if record.name == ALARMS]
    caplog.clear()
    return found


def sql(talk: Talk, *statements: str, **values: Any) -> None:
    """Change the database as somebody does who has its password, and not the exchange."""
    with talk.exchange.database.writing() as session:
        for statement in statements:
            session.connection().execute(text(statement), values)


def published(talk: Talk, feed: str = FEED) -> dict[int, dict[str, Any]]:
    """What the signed release of a feed has, by number."""
    return {row["number"]: row for row in talk.exchange.publisher.entries(feed).to_pylist()}


def signed_head(talk: Talk, feed: str = FEED) -> AuditHead:
    head = next(each.audit for each in talk.exchange.publisher.status().feeds if each.feed == feed)
    assert head is not None
    return head


def test_a_row_put_into_listings_by_sql_is_not_published(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    listed, innocent, other, later = talk.listed(), talk.complete(), talk.complete(), talk.complete()
    assert not alarms(caplog)
    columns = "feed, level, category, scope, since, urgent, ended, salt"
    copied = f"{columns} FROM listings WHERE feed = '{FEED}' AND case_id = {listed}"
    sql(
        talk,
        f"INSERT INTO listings (id, case_id, number, entry, waiting, {columns}) "
        f"SELECT 9001, {innocent}, {STRANGER}, NULL, true, {copied}",
        # This one pretends to be published already, under the ID that the next listing gets.
        f"INSERT INTO listings (id, case_id, number, entry, waiting, {columns}) "
        f"SELECT 9002, {other}, {STRANGER + 1}, 2, false, {copied}",
    )
    talk.decide(later, urgent=True)
    talk.decide(listed, "retract")
    assert set(talk.publish()) == {FEED, "id-messaging", "id-all"}, "everything else is published"
    (alarm,) = alarms(caplog)
    assert "listing 9001" in alarm
    assert f"9002 (case {other})" in alarm
    assert [row["entry"] for row in published(talk).values()] == [2], "a new listing gets the ID"
    assert not {STRANGER, STRANGER + 1} & published(talk).keys()
    assert (talk.publish(), alarms(caplog)) == ({}, []), "it is said once an hour, and no release is made for it"
    assert "listing 9001" in (talk.exchange.publish().listings_held_why or ""), "and it is an exit code of its own"
    talk.clock.forward(days=31)
    talk.publish()
    assert not {STRANGER, STRANGER + 1} & published(talk).keys()
    assert [*talk.exchange.damage()], "and `exchange verify` names it"


def test_a_row_changed_by_sql_stays_as_it_is_signed(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    talk.listed(until="2026-12-24T00:00:00Z", scope=["sms"])
    ((number, before),) = published(talk).items()
    for change in (
        "until = NULL",
        f"number = {STRANGER}",
        "category = 'gambling'",
        "scope = 'data+messaging+sms+voice'",
        "entry = 7",
        "salt = ''",
    ):
        sql(talk, "UPDATE listings SET waiting = true, " + change + f" WHERE feed = '{FEED}'")
        assert talk.publish() == {}, change
        assert published(talk) == {number: before}, change
        caplog.clear()
        sql(
            talk,
            "UPDATE listings SET waiting = false, until = (SELECT until FROM listings WHERE feed = 'id-all'), number = "
            f"{number}, category = 'fraud', scope = 'sms', entry = 1 WHERE feed = '{FEED}'",
        )


def test_what_sql_weakens_or_removes_is_lifted_with_an_alarm(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = talk.listed(), talk.listed(), talk.listed()
    talk.publish()
    sql(talk, f"UPDATE listings SET until = since, waiting = true WHERE feed = '{FEED}' AND case_id = {first}")
    assert FEED in talk.publish(), "it has ended, by what the database says"
    assert len(published(talk)) == 2
    caplog.clear()
    sql(talk, f"UPDATE listings SET level = 'advisory', waiting = true WHERE feed = '{FEED}' AND case_id = {second}")
    assert talk.publish() == {FEED: 5}
    assert [row["level"] for row in published(talk).values()] == ["advisory", "block"]
    assert len(alarms(caplog)) == 1
    sql(talk, f"DELETE FROM listings WHERE feed = '{FEED}' AND case_id = {third}")
    talk.listed()
    assert len(published(talk)) == 2
    assert any("no line of the audit trail retracts entry 3," in each for each in alarms(caplog))


def test_what_the_lines_retract_is_lifted_whatever_sql_says(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    case = talk.listed()
    talk.decide(case, "retract")
    sql(talk, f"UPDATE listings SET retracted_at = NULL, waiting = false WHERE feed = '{FEED}'")
    talk.listed()
    assert len(published(talk)) == 1
    assert "is not what the audit trail says" in alarms(caplog)[0]


def test_a_retraction_that_sql_undoes_is_published_at_once(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    undone, removed = talk.listed(), talk.listed()
    for case, change in ((undone, "retracted_at = NULL, waiting = false"), (removed, "lifted_at = since")):
        talk.decide(case, "retract")
        sql(talk, f"UPDATE listings SET {change} WHERE case_id = {case}")
        assert FEED in talk.publish()
        assert talk.publish() == {}, "it is lifted, and no release follows another"
    assert not published(talk)
    assert f"(case {undone}) is not what the audit trail says" in alarms(caplog)[0]


def test_what_the_guard_holds_back_is_let_through_by_a_line_only(
    start: Callable[..., Talk], caplog: pytest.LogCaptureFixture
) -> None:
    talk = start(min_added=1, max_added=0.0)
    talk.listed()
    for case in [talk.complete() for _ in range(3)]:
        talk.decide(case, urgent=True)
    assert talk.publish() == {}
    sql(talk, "UPDATE waiting_releases SET accepted_by = 'anna', accepted_at = refused_at")
    assert talk.publish() == {}
    assert len(published(talk)) == 1
    assert "no line of the audit trail does" in alarms(caplog)[0]
    assert list(talk.exchange.damage()) == [], "and the row is as the lines say again"
    for waiting in talk.exchange.waiting():
        talk.exchange.accept(waiting.feed, waiting.digest, accepted_by="anna")
    talk.publish()
    assert len(published(talk)) == 4


def test_nobody_silences_the_alarms_to_come(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    raise_alarms(lite.exchange.database)
    caplog.clear()
    sql(lite, "UPDATE audit_head SET alarmed = 1000000")
    (problem,) = lite.exchange.damage()
    assert "marked as raised up to line 1000000" in problem
    raise_alarms(lite.exchange.database)
    assert "somebody has marked the alarms" in alarms(caplog)[0]
    assert list(lite.exchange.damage()) == []
    lite.exchange.add_account("later", ["report"])
    raise_alarms(lite.exchange.database)
    assert "account added" in alarms(caplog)[0]


def rewrite(talk: Talk, after: int) -> None:
    """Change a line, and every hash from there on, as nobody can find out who has the database alone."""
    from blocklist_sdk.exchange_server.store.trail_lines import hash_of

    trigger = "DROP TRIGGER audit_trail_no_update"
    with talk.exchange.database.writing() as session:
        session.connection().execute(text(trigger))
        found = [*lines(session)]
        before = found[after - 1].hash
        for line in found[after:]:
            detail = line.detail | {"rewritten": True}
            before = hash_of(before, line.sequence, line.at, line.actor, line.event, detail, line.changes)
            values = {"sequence": line.sequence, "detail": json.dumps(detail), "hash": before}
            statement = "UPDATE audit_trail SET detail = :detail, hash = :hash WHERE sequence = :sequence"
            session.connection().execute(text(statement), values)
        session.connection().execute(text("UPDATE audit_head SET hash = :hash"), {"hash": before})


def exported(talk: Talk, folder: Path) -> Path:
    """What a recipient has seen, after a sync."""
    flags = ["--url", talk.exchange.repository.as_uri(), "--feed", FEED, "--root", str(talk.exchange.root)]
    flags += ["--cache-dir", str(folder / "cache"), "--state-dir", str(folder / "state")]
    with Blocklist.open(
        flags[1], feed=FEED, root=talk.exchange.root, cache_dir=folder / "cache", state_dir=folder / "state", guard=None
    ) as recipient:
        recipient.sync()
    assert run("verify", "--audit", "--export", folder / "heads.jsonl", *flags).code == 0
    return folder / "heads.jsonl"


def test_recipients_heads_prove_the_trail(lite: Talk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = lite.listed()
    exported(lite, tmp_path)
    lite.listed()
    heads = exported(lite, tmp_path)
    assert len(heads.read_text().splitlines()) == 2
    good = run("exchange", "verify", lite.exchange.directory, "--heads", heads)
    assert (good.code, good.out) == (0, ""), good
    length, kept = signed_head(lite).length, signed_head(lite)
    rewrite(lite, after=length - 3)
    assert not [*lite.exchange.damage()], "whoever has the database alone finds nothing"
    bad = run("exchange", "verify", lite.exchange.directory, "--heads", heads)
    assert bad.code not in (0, 2)
    assert f"release 2 of {FEED} was signed with {length:,} lines" in bad.out
    assert "release 1" not in bad.out, "what was signed before the line that was changed is as it was"

    # The publisher has found out as well: nothing new is listed, retractions are published.
    caplog.clear()
    new = lite.complete()
    lite.decide(new, urgent=True)
    lite.decide(case, "retract")
    assert FEED in lite.publish()
    assert len(published(lite)) == 1
    assert lite.publish() == {}
    (alarm,) = alarms(caplog)
    assert "lines were changed or removed" in alarm
    assert signed_head(lite) == kept, "what was signed before goes on showing it"
    with pytest.raises(InvalidInput, match="no line"):
        lite.exchange.accept_trail("3:" + "0" * 64)
    lite.exchange.accept_trail(alarm.rpartition(" ")[2])
    assert FEED in lite.publish()
    assert len(published(lite)) == 2
    assert signed_head(lite).length > kept.length


def test_a_trail_that_was_cut_off_is_found_by_heads(lite: Talk, tmp_path: Path) -> None:
    database = lite.exchange.directory / "exchange.sqlite"
    lite.listed()
    lite.exchange.close()
    shutil.copy(database, tmp_path / "older")
    lite.listed()
    heads = exported(lite, tmp_path)
    lite.exchange.close()
    shutil.copy(tmp_path / "older", database)
    assert not [*lite.exchange.damage()]
    (problem,) = lite.exchange.unproved_heads([heads])
    assert "the trail has fewer lines here" in problem
    (tmp_path / "none").write_text("{}\n")
    assert run("exchange", "verify", lite.exchange.directory, "--heads", tmp_path / "none").code == 2


def test_the_book_is_written_again_and_the_signed_heads_still_bind(
    lite: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    lite.listed()
    book = lite.exchange.directory / "trail-book.sqlite"
    assert book.stat().st_mode & 0o777 == 0o600
    book.unlink()
    lite.listed()
    book.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    lite.listed()
    assert (len(published(lite)), alarms(caplog)) == (3, [])
    book.unlink()
    rewrite(lite, after=2)
    assert lite.publish() == {}
    lite.listed()
    assert len(published(lite)) == 3
    assert "a release was signed with" in alarms(caplog)[0]


def test_only_an_insertion_with_a_line_accounts_for_a_listing() -> None:
    assert image_after(None, "update", {"entry": 1}) is None
    assert image_after({"entry": None, "level": "block"}, "update", {"entry": 1}) == {"entry": 1, "level": "block"}
    assert image_after({"entry": 1}, "delete", {}) is None


def test_what_is_no_more_than_what_is_allowed() -> None:
    allowed = Content("block", "fraud", "sms+voice", START, START.replace(month=12))
    assert is_no_more_than(allowed, allowed)
    for weaker in (
        {"level": "advisory"},
        {"scope": "sms"},
        {"until": START.replace(day=9)},
        {"since": START.replace(day=3)},
    ):
        assert is_no_more_than(allowed._replace(**weaker), allowed), weaker
        assert not is_no_more_than(allowed, allowed._replace(**weaker)), weaker
    for other in ({"category": "spam"}, {"scope": "data"}, {"until": None}, {"since": START.replace(day=1)}):
        assert not is_no_more_than(allowed._replace(**other), allowed), other


def test_a_book_that_is_far_behind_holds_up_no_unblock(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a part of the lines in each run. Until it has read all, retractions are published and nothing new is."""
    wrong = talk.listed()
    assert published(talk)
    monkeypatch.setattr(trail_book, "LINES_AT_ONCE", 1)
    later = talk.complete()
    talk.decide(later, urgent=True)
    talk.decide(wrong, "retract")
    talk.exchange._publishing.book.path.unlink()
    monkeypatch.setattr(trail_book, "LINES_AT_ONCE", 2)
    assert FEED in talk.publish()
    assert published(talk) == {}
    for _ in range(100):
        if FEED in talk.publish():
            break
    assert [row["entry"] for row in published(talk).values()] == [2]


def test_a_line_that_cannot_be_read_holds_up_no_unblock(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    wrong, later = lite.listed(), lite.complete()
    lite.decide(later, urgent=True)
    lite.decide(wrong, "retract")
    lite.exchange.raise_alarms()
    alarms(caplog)
    columns = "sequence, at, actor, event, detail, changes, hash"
    line = "(100000, '2026-11-01 00:00:00.000000', 'x', 'configuration', 'no JSON', 'no JSON', 'x')"
    sql(lite, f"INSERT INTO audit_trail ({columns}) VALUES {line}")
    lite.exchange.raise_alarms()
    assert FEED in lite.publish()
    assert published(lite) == {}
    (alarm,) = alarms(caplog)
    assert "that cannot be read. Nothing new is listed; retractions are published." in alarm


def test_an_officer_whom_sql_has_made_lists_nothing(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    case, wrong = talk.complete(), talk.listed()
    before = published(talk).keys()
    sql(
        talk,
        "INSERT INTO accounts (id, name, scopes, secret_hash, key, certificates, created_at) "
        "SELECT 9001, 'stranger', 'officer', secret_hash, key, certificates, created_at "
        "FROM accounts WHERE name = 'anna'",
    )
    exchange = talk.exchange
    token = exchange.tokens.issue("stranger", ["officer"], exchange.clock().timestamp())
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k1"}
    body = {"kind": "block", "reason": "x", "urgent": True, "version": talk.version(case)}
    made = talk.request("POST", f"/v1/cases/{case}/decisions", json=body, headers=headers)
    assert made.status_code == 201
    talk.decide(wrong, "retract")
    assert FEED in talk.publish(), "an unblock waits for nothing"
    assert published(talk) == {}
    assert any("'stranger' is not what the audit trail says" in each for each in alarms(caplog))
    sql(talk, "DELETE FROM answers WHERE account_id = 9001", "DELETE FROM accounts WHERE id = 9001")
    talk.publish()
    assert published(talk) == {}, "its decisions account for nothing, also when it is gone"
    assert before
