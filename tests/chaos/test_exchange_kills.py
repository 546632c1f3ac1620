"""`kill -9` on an exchange at work: what it has acknowledged is there, once, and what it has not may be sent again."""

import math
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from blocklist_sdk import times
from blocklist_sdk.exchange_server.casework.cases import first_broken_line
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import serving_exchange
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import (
    CaseRow,
    DecisionRow,
    EvidenceRow,
    FeedRow,
    ListingRow,
    ReceiptRow,
    ReportRow,
)
from blocklist_sdk.exchange_server.store.trail import Act
from support.evidence_files import png_of
from support.killing import Moment, Say, nursery
from support.scale import Tally, scaled
from support.talking import PASSPHRASE, TELKOMSEL, Clock, copy_exchange

KILLS = scaled(3, long=50)
LISTED = 300
BATCH = 20


def serve(directory: Path, database: str, port: int, _: int, say: Say) -> None:
    with (
        Exchange.open(directory, passphrase=PASSPHRASE, database=database, two_person=True) as exchange,
        serving_exchange(exchange, port=port, publish=False),
    ):
        say("up")
        time.sleep(3600)


NOW = datetime.now(UTC).isoformat()


def batch(index: int) -> dict[str, Any]:
    """Receipts that no other batch has."""
    serial, start = divmod(index * BATCH, LISTED)
    receipt = {"feed": "id-telkomsel", "serial": serial + 1, "outcome": "enforced", "at": NOW}
    return {"receipts": [receipt | {"entry": start + each + 1} for each in range(BATCH)]}


@dataclass
class Load:
    """Reports with evidence, decisions and receipts, sent until they are acknowledged; then the next ones.

    Attributes:
        url: where.
        tokens: what reporters and recipients show.
        sign: a file that is there once something has been acknowledged.
        acknowledged: answers, by key.
        patient_until: when the exchange has to be back, once it is killed no more.
    """

    url: str
    tokens: dict[str, str]
    sign: Path
    acknowledged: dict[str, tuple[int, Any]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    sent_again: int = 0
    patient_until: float = math.inf

    def post(self, client: httpx.Client, who: str, key: str, path: str, **body: Any) -> Any:
        """Send it as often as it takes, under one key."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}", "Idempotency-Key": key}
        while True:
            try:
                answer = client.post(path, headers=headers, **body)
            except httpx.TransportError:
                assert time.monotonic() < self.patient_until, "the exchange does not come back"
                self.sent_again += 1
                time.sleep(0.05)
                continue
            assert answer.is_success, answer.text
            self.acknowledged[key] = answer.status_code, answer.json()
            self.sign.touch()
            return answer.json()

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(verify=False)
        with httpx.Client(base_url=self.url, transport=transport, timeout=10) as client:
            yield client

    def report(self, worker: int) -> None:
        chance = random.Random(worker)
        with self.client() as client:
            for index in range(100_000):
                if self.stopped.is_set():
                    return
                name = f"{worker}-{index}"
                body = {
                    "number": f"+{TELKOMSEL + 50_000 + chance.randrange(20)}",
                    "category": "fraud",
                    "channel": "sms",
                    "text": name,
                    "happened_at": "2026-11-01T10:00:00Z",
                    "reporter": name,
                }
                made = self.post(client, "web", f"report-{name}", "/v1/reports", json=body)
                path = f"/v1/reports/{made['id']}/evidence?name=a.png"
                content = png_of(200 + chance.randrange(50_000))
                self.post(client, "web", f"file-{name}", path, content=content)

    def decide(self) -> None:
        """One officer proposes to list a number that only this thread reports, and the other one confirms."""
        with self.client() as client:
            for index in range(100_000):
                if self.stopped.is_set():
                    return
                report = {
                    "number": f"+{TELKOMSEL + 60_000 + index}",
                    "category": "fraud",
                    "channel": "sms",
                    "text": f"decided-{index}",
                    "happened_at": "2026-11-01T10:00:00Z",
                    "reporter": f"decided-{index}",
                }
                made = self.post(client, "web", f"report-decided-{index}", "/v1/reports", json=report)
                path = f"/v1/reports/{made['id']}/evidence?name=a.png"
                self.post(client, "web", f"file-decided-{index}", path, content=png_of(200))
                case = self.read(client, f"/v1/reports/{made['id']}")["case"]
                version = self.read(client, f"/v1/cases/{case}")["version"]
                new = {"kind": "block", "reason": "proved", "urgent": True, "version": version}
                decided = self.post(client, "anna", f"decision-{index}", f"/v1/cases/{case}/decisions", json=new)
                version = self.read(client, f"/v1/cases/{case}")["version"]
                path = f"/v1/decisions/{decided['id']}/confirmation"
                self.post(client, "budi", f"confirmation-{index}", path, json={"version": version})

    def read(self, client: httpx.Client, path: str) -> Any:
        """Ask for it as an officer until it is answered."""
        while True:
            try:
                answer = client.get(path, headers={"Authorization": f"Bearer {self.tokens['anna']}"})
            except httpx.TransportError:
                assert time.monotonic() < self.patient_until, "the exchange does not come back"
                time.sleep(0.05)
                continue
            assert answer.is_success, answer.text
            return answer.json()

    def answer_for(self) -> None:
        with self.client() as client:
            for index in range(100_000):
                if self.stopped.is_set():
                    return
                self.post(client, "telkomsel", f"receipts-{index}", "/v1/receipts", json=batch(index))


def listed(exchange: Exchange) -> None:
    """Entries that receipts are for; decided long before the receipts, which this module dates when it is loaded."""
    at = times.this_second() - timedelta(days=1)
    with exchange.database.writing(by=Act("command line", "prepared")) as session:
        case = {"state": "published", "opened_at": at, "published_at": at, "events": 0, "head": ""}
        add_all(session, CaseRow, [{"number": TELKOMSEL + index} | case for index in range(LISTED)])
        listing = {"feed": "id-telkomsel", "level": "block", "category": "fraud", "scope": "sms", "since": at}
        listing |= {"urgent": True, "waiting": False, "listed_serial": 1, "listed_at": at}
        rows = session.execute(select(CaseRow.id, CaseRow.number).order_by(CaseRow.id)).all()
        values = [{"case_id": row.id, "number": row.number, "entry": index} for index, row in enumerate(rows, 1)]
        add_all(session, ListingRow, [each | listing for each in values])
        session.add(FeedRow(name="id-telkomsel", last_entry=LISTED, begun=100_000, serial=100_000, rows=LISTED))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.timing
def test_an_exchange_that_is_killed_at_work(template: Path, database: str, tmp_path: Path, tally: Tally) -> None:
    directory = tmp_path / "exchange"
    with copy_exchange(template, directory, Clock(), database=database) as exchange:
        listed(exchange)
        at = times.this_second().timestamp()
        tokens = {
            "web": exchange.tokens.issue("web", ["report"], at),
            "telkomsel": exchange.tokens.issue("telkomsel", ["receipt", "feed:id-telkomsel"], at),
            **{name: exchange.tokens.issue(name, ["officer"], at) for name in ("anna", "budi")},
        }
    port = free_port()
    load = Load(f"http://127.0.0.1:{port}", tokens, tmp_path / "acknowledged")
    chance = random.Random(13)
    with ThreadPoolExecutor(4) as pool:
        work = (partial(load.report, 1), partial(load.report, 2), load.answer_for, load.decide)
        workers = [pool.submit(each) for each in work]
        with nursery(partial(serve, directory, database, port)) as children:
            for _ in range(KILLS):
                load.sign.unlink(missing_ok=True)
                assert children.run(0, Moment(chance.uniform(0.0, 0.5), load.sign.name, tmp_path)).was_killed
                with Exchange.open(directory, passphrase=None, database=database) as exchange:
                    assert list(exchange.damage()) == []
        load.stopped.set()
        load.patient_until = time.monotonic() + 120
        with (
            Exchange.open(directory, passphrase=PASSPHRASE, database=database, two_person=True) as exchange,
            serving_exchange(exchange, port=port, publish=False),
        ):
            for each in workers:
                each.result()
            replayed(load)
            look_through(exchange, load)
            assert list(exchange.damage()) == []
    assert load.sent_again > 0
    tally(kills=KILLS, acknowledged=len(load.acknowledged), sent_again=load.sent_again)


def replayed(load: Load) -> None:
    """What was acknowledged last is answered alike when it is sent again."""
    with load.client() as client:
        for key in [key for key in load.acknowledged if key.startswith("receipts-")][-5:]:
            index = int(key.partition("-")[2])
            before = load.acknowledged[key]
            load.post(client, "telkomsel", key, "/v1/receipts", json=batch(index))
            assert load.acknowledged[key] == before


def look_through(exchange: Exchange, load: Load) -> None:
    """Nothing that was acknowledged is lost, nothing is there twice, and all chains are whole."""
    with exchange.database.reading() as session:
        reports = {row.id: row for row in session.scalars(select(ReportRow))}
        evidence = {row.id: row for row in session.scalars(select(EvidenceRow))}
        decisions = {row.id: row for row in session.scalars(select(DecisionRow))}
        names = [row.reporter for row in reports.values()]
        assert len(set(names)) == len(names)
        for key, (status, body) in load.acknowledged.items():
            if key.startswith("report-"):
                assert status == 201
                assert reports[body["id"]].text == key.removeprefix("report-")
            elif key.startswith("file-"):
                assert evidence[body["id"]].sha256 == body["sha256"]
                assert reports[evidence[body["id"]].report_id or 0].text == key.removeprefix("file-")
            elif key.startswith("decision-"):
                assert (decisions[body["id"]].officer, decisions[body["id"]].kind) == ("anna", "block")
            elif key.startswith("confirmation-"):
                assert (decisions[body["id"]].state, decisions[body["id"]].confirmed_by) == ("effective", "budi")
            else:
                assert {each["status"] for each in body["items"]} == {"accepted"}
        batches = sum(key.startswith("receipts-") for key in load.acknowledged)
        assert session.scalar(select(func.count()).select_from(ReceiptRow)) == batches * BATCH
        assert sum(key.startswith("report-") for key in load.acknowledged) == len(reports)
        assert sum(key.startswith("file-") for key in load.acknowledged) == len(evidence)
        assert sum(key.startswith("decision-") for key in load.acknowledged) == len(decisions)
        for row in evidence.values():
            assert exchange.evidence.verify(row.sha256)
        for case in session.scalars(select(CaseRow)):
            assert first_broken_line(session, case) is None
    left = [path for path in exchange.evidence.directory.iterdir() if path.name.startswith(".")]
    assert left == []
