"""Many rows in one statement: they are what row by row would have made, and the audit trail has them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from blocklist_sdk.errors import StorageFailed
from blocklist_sdk.exchange_server.store.bulk import one_of
from blocklist_sdk.exchange_server.store.database import add_all, change_all
from blocklist_sdk.exchange_server.store.tables import CaseRow, HistoryRow, new_salts
from blocklist_sdk.exchange_server.store.trail import Act, lines
from support.talking import Talk

ACT = Act("command line", "test")
AT = datetime(2026, 11, 25, 7, tzinfo=UTC)


def add_cases(talk: Talk, count: int, **columns: Any) -> list[int]:
    case = {"state": "published", "opened_at": AT, "events": 0, "head": ""} | columns
    numbers = [talk.number() for _ in range(count)]
    with talk.exchange.database.writing(by=ACT) as session:
        add_all(session, CaseRow, [{"number": number} | case for number in numbers])
        return list(session.scalars(select(CaseRow.id).where(CaseRow.number.in_(numbers)).order_by(CaseRow.id)))


def columns_of(talk: Talk, ids: list[int]) -> list[dict[str, Any]]:
    with talk.exchange.database.reading() as session:
        wanted = select(CaseRow.id, CaseRow.state, CaseRow.enforced_at, CaseRow.events, CaseRow.head)
        rows = session.execute(wanted.where(one_of(session, CaseRow.id, ids)).order_by(CaseRow.id))
        return [dict(row._mapping) for row in rows]


def test_values_of_every_kind_come_back_as_they_were(talk: Talk) -> None:
    (case,) = add_cases(talk, 1)
    details: list[dict[str, Any]] = [{}, {"text": "“'\"\\%s{}\n\N{PILE OF POO}", "none": None, "count": 2**62}]
    history = {"case_id": case, "actor": "anna", "event": "tried", "hash": "0" * 64}
    moments = [AT, AT.astimezone(datetime.now(UTC).astimezone().tzinfo) + timedelta(hours=1)]
    rows = [
        history | {"sequence": sequence, "at": at, "detail": detail}
        for sequence, (at, detail) in enumerate(zip(moments, details, strict=True), 1)
    ]
    with talk.exchange.database.writing() as session:
        add_all(session, HistoryRow, rows)
    with talk.exchange.database.reading() as session:
        found = session.scalars(select(HistoryRow).order_by(HistoryRow.sequence)).all()
        assert [(row.at, row.detail) for row in found] == list(zip(moments, details, strict=True))


def test_changes_are_written_and_noted_as_row_by_row(talk: Talk) -> None:
    ids = add_cases(talk, 3)
    before = columns_of(talk, ids)
    after = [dict(each) for each in before]
    after[0] |= {"state": "enforced", "enforced_at": AT}
    after[2] |= {"state": "appealed"}
    with talk.exchange.database.writing(by=ACT) as session:
        change_all(session, CaseRow, before, after)
    assert columns_of(talk, ids) == after
    with talk.exchange.database.reading() as session:
        *_, last = lines(session)
        assert last.changes == [
            ["cases", [ids[0]], "update", {"enforced_at": "2026-11-25T07:00:00+00:00", "state": "enforced"}],
            ["cases", [ids[2]], "update", {"state": "appealed"}],
        ]
    assert list(talk.exchange.damage()) == []


def test_nothing_is_written_where_nothing_differs(talk: Talk) -> None:
    ids = add_cases(talk, 2)
    before = columns_of(talk, ids)
    with talk.exchange.database.reading() as session:
        trail = len(list(lines(session)))
    with talk.exchange.database.writing(by=ACT) as session:
        change_all(session, CaseRow, before, before)
    with talk.exchange.database.reading() as session:
        assert len(list(lines(session))) == trail


def test_a_row_that_is_gone_undoes_all(talk: Talk) -> None:
    ids = add_cases(talk, 2)
    before = columns_of(talk, ids)
    after = [each | {"events": 1} for each in before]
    gone = {"id": max(ids) + 1}
    with (
        pytest.raises(RuntimeError, match="3 rows of cases were to be changed, and 2 were"),
        talk.exchange.database.writing(by=ACT) as session,
    ):
        change_all(session, CaseRow, [*before, before[0] | gone], [*after, after[0] | gone])
    assert columns_of(talk, ids) == before


def test_what_the_trail_hides_is_not_changed_in_bulk(lite: Talk) -> None:
    (case,) = add_cases(lite, 1)
    before = {"id": case, "number": 6281200000001}
    with (
        pytest.raises(RuntimeError, match="the audit trail hides columns of cases"),
        lite.exchange.database.writing(by=ACT) as session,
    ):
        change_all(session, CaseRow, [before], [before | {"number": 6281200000002}])


def test_a_text_that_is_too_long_is_refused_and_not_cut_off(start: Callable[..., Talk], new_postgres: Any) -> None:
    talk = start(database=new_postgres())
    (case,) = add_cases(talk, 1)
    row = {"case_id": case, "sequence": 1, "at": AT, "actor": "x" * 65, "event": "tried", "detail": {}, "hash": ""}
    with pytest.raises(StorageFailed), talk.exchange.database.writing() as session:
        add_all(session, HistoryRow, [row])


def test_salts_differ() -> None:
    salts = new_salts(1000)
    assert len({*salts}) == 1000
    assert {len(salt) for salt in salts} == {32}
