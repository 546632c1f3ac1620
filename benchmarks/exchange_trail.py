"""How long an urgent unblock takes at an exchange whose audit trail has a million lines.

::

    python -m benchmarks.exchange_trail --lines 1000000 --listed 20000 [--database URL]

The trail is written with the hashes that it would have; most of its lines are of reports, as at an exchange. Then the
book is written for the first time, and a service lists and retracts numbers. What counts is the time from the request
that retracts a number until the signed feed is without it. Numbers are generated, none is anybody's.
"""

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx

from benchmarks.results import quantity

if TYPE_CHECKING:
    from blocklist_sdk.exchange_server.exchange import Exchange

_PASSPHRASE = "generated for a benchmark"
_FEED = "id-telkomsel"
_NUMBERS = 6281200000000
_UNBLOCKS = 5
_WAIT_S = 60.0
_BATCH = 10_000


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines in the trail")
    parser.add_argument("--listed", type=int, default=20_000, help="numbers on the feed")
    parser.add_argument("--database", default=None, help="URL of an empty PostgreSQL database; by default SQLite")
    given = parser.parse_args()
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.serving import serving_exchange
    from blocklist_sdk.exchange_server.settings import ExchangeSettings

    settings = ExchangeSettings(two_person=False, max_added=1000, min_added=10_000_000)
    if given.database is not None:
        settings = settings.model_copy(update={"database": given.database})
    with (
        tempfile.TemporaryDirectory() as folder,
        Exchange.init(
            Path(folder) / "exchange", passphrase=_PASSPHRASE, offline_passphrase=f"{_PASSPHRASE} 2", settings=settings
        ) as exchange,
    ):
        exchange.begin()
        cases = _list(exchange, given.listed)
        _fill(exchange, given.lines)
        started = time.perf_counter()
        while exchange.publish().listings_held_why is not None:
            pass  # each run reads a part of the lines
        first_s = time.perf_counter() - started
        started = time.perf_counter()
        exchange.publish()
        idle_s = time.perf_counter() - started
        token = exchange.tokens.issue("anna", ("officer",), exchange.clock().timestamp())
        with serving_exchange(exchange, publish=True) as url:
            times = [_unblock(exchange, url, token, case) for case in cases[:_UNBLOCKS]]
        length = exchange.audit_head().length
    print(
        f"{length:,} lines, {given.listed:,} numbers on the feed, {'SQLite' if not given.database else 'PostgreSQL'}\n"
    )
    print("| what | took |\n|---|---:|")
    print(f"| the first runs, which read every line once | {quantity(first_s, 's')} |")
    print(f"| a run with nothing new | {quantity(idle_s, 's')} |")
    print(f"| an urgent unblock, from the request to the signed feed, median of {_UNBLOCKS} | ", end="")
    print(f"{quantity(statistics.median(times), 's')} |")
    print(f"| the slowest of them | {quantity(max(times), 's')} |")


def _list(exchange: "Exchange", count: int) -> list[int]:
    """Cases whose numbers wait to be published at once, with their lines: their IDs."""
    from sqlalchemy import select

    from blocklist_sdk.exchange_server.casework.accounts import add_account
    from blocklist_sdk.exchange_server.store.database import add_all
    from blocklist_sdk.exchange_server.store.tables import CaseRow, ListingRow
    from blocklist_sdk.exchange_server.store.trail import Act

    at = exchange.clock()
    with exchange.database.writing(by=Act("command line", "prepared")) as session:
        add_account(session, "anna", "officer", key=None, now=at)
        case = {"state": "decided", "opened_at": at, "decided_at": at, "events": 0, "head": ""}
        add_all(session, CaseRow, [{"number": _NUMBERS + index} | case for index in range(count)])
        rows = session.execute(select(CaseRow.id, CaseRow.number).order_by(CaseRow.id)).all()
        listing = {"feed": _FEED, "level": "block", "category": "fraud", "scope": "data+sms+voice", "since": at}
        listing |= {"urgent": True, "waiting": True, "ended": False}
        add_all(session, ListingRow, [{"case_id": row.id, "number": row.number} | listing for row in rows])
    return [row.id for row in rows]


def _fill(exchange: "Exchange", wanted: int) -> None:
    """Add lines of reports up to a length."""
    from sqlalchemy import Table, insert, update

    from blocklist_sdk.exchange_server.store.tables import AuditHeadRow, AuditRow
    from blocklist_sdk.exchange_server.store.trail_lines import hash_of

    end, at = exchange.audit_head(), exchange.clock()
    length, before = end.length, end.hash
    while length < wanted:
        lines: list[dict[str, Any]] = []
        for sequence in range(length + 1, min(length + _BATCH, wanted) + 1):
            line = _report_line(sequence, at)
            before = hash_of(before, sequence, at, line["actor"], line["event"], line["detail"], line["changes"])
            lines.append(line | {"sequence": sequence, "at": at, "hash": before})
        length += len(lines)
        with exchange.database.writing() as session:
            session.connection().execute(insert(cast(Table, AuditRow.__table__)), lines)
            session.connection().execute(update(cast(Table, AuditHeadRow.__table__)).values(length=length, hash=before))


def _report_line(number: int, at: datetime) -> dict[str, Any]:
    """A line as a report makes it."""
    commitment = f"{number:064x}"
    report = {"account_id": 1, "case_id": number, "category": "fraud", "channel": "sms", "received_at": at.isoformat()}
    report |= dict.fromkeys(("number", "text", "happened_at", "reporter"), commitment)
    case = {"state": "new", "opened_at": at.isoformat(), "number": commitment, "events": 1, "head": commitment}
    changes = [["cases", [number], "insert", case], ["reports", [number], "insert", report]]
    return {"actor": "web", "event": "report", "detail": {}, "changes": changes}


def _unblock(exchange: "Exchange", url: str, token: str, case: int) -> float:
    """Retract a case by a request, and wait until the signed feed has one row less: seconds."""
    rows = _rows(exchange)
    started = time.perf_counter()
    response = httpx.post(
        f"{url}/v1/cases/{case}/decisions",
        json={"kind": "retract", "reason": "a mistake"},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"retract-{case}"},
        timeout=_WAIT_S,
    )
    response.raise_for_status()
    while time.perf_counter() - started < _WAIT_S:
        if _rows(exchange) < rows:
            return time.perf_counter() - started
        time.sleep(0.02)
    raise SystemExit(f"case {case} was not lifted within {_WAIT_S:.0f} s")


def _rows(exchange: "Exchange") -> int:
    return next(feed.rows or 0 for feed in exchange.publisher.status().feeds if feed.feed == _FEED)


if __name__ == "__main__":
    main()
