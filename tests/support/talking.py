"""An exchange for tests: a folder made once and served over HTTP on loopback, with an account for each role.

All numbers are generated, none is anybody's.
"""

import itertools
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from joserfc.jwk import OKPKey

import support.quick_secrets  # noqa: F401
from blocklist_sdk.exchange_server.casework.accounts import add_account, check_oauth_scopes, disable_account
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.state import AppState, set_state
from blocklist_sdk.exchange_server.serving import server_of
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import ReportRow
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.publisher.keys import is_offline
from support.evidence_files import png_of

PASSPHRASE: Final = "generated for a test"
OFFLINE_PASSPHRASE: Final = "of root and targets, in a test"
START: Final = datetime(2026, 11, 2, 8, tzinfo=UTC)
"""A Monday. The first cycle of the month is due by then."""

TELKOMSEL: Final = 6281234500000
"""Numbers from here on are Telkomsel's."""
INDOSAT: Final = 6281412300000

SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "web": ("report",),
    "bank": ("report",),
    "anna": ("officer",),
    "budi": ("officer",),
    "press": ("publish",),
    "telkomsel": ("receipt", "feed:id-telkomsel"),
    "indosat": ("receipt", "feed:id-indosat"),
    "messenger": ("receipt", "feed:id-messaging"),
    "mirror": ("feed:id-all",),
    "care": ("report", "feed:id-telkomsel"),
    "gone": ("report", "officer", "publish", "receipt", "feed:id-all"),
}
"""Who there is; `gone` is disabled."""

ALL_SCOPES: Final = ("report", "officer", "publish", "receipt", "feed:id-psn")

SECRETIVE: Final = "clerk"
"""Authenticates with a secret, the others with a key."""


class Clock:
    """Shows what it is set to."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **span: float) -> datetime:
        self.moment += timedelta(**span)
        return self.moment


class Server:
    """One HTTP server, behind which the exchange changes from test to test."""

    def __init__(self, exchange: Exchange) -> None:
        urls: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._server = server_of(exchange, host="127.0.0.1", port=0, on_started=urls.put)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        self.url = urls.get(timeout=30)
        self.client = httpx.Client(base_url=self.url, transport=httpx.HTTPTransport(verify=False), timeout=60)

    @property
    def app(self) -> Any:
        return self._config.app

    @property
    def _config(self) -> uvicorn.Config:
        return self._server.config

    @property
    def connections(self) -> set[Any]:
        """The connections that are open."""
        return set(self._server.server_state.connections)

    def serve(self, exchange: Exchange) -> None:
        """From now on, this one; nothing of the one before is remembered."""
        set_state(self.app, AppState.of(exchange))

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = self._server.force_exit = True  # whoever still holds a connection
        self._thread.join()


class Talk:
    """An exchange that is served, and everyone who talks to it.

    Attributes:
        exchange: it.
        clock: its clock.
        url: its address.
        server: what serves it.
    """

    def __init__(self, exchange: Exchange, clock: Clock, server: Server) -> None:
        self.exchange = exchange
        self.clock = clock
        self.url = server.url
        self.server = server
        self._client = server.client
        self._keys = itertools.count(1)
        self._numbers = itertools.count(TELKOMSEL)

    # Talking

    def token(self, who: str | None, *scopes: str) -> dict[str, str]:
        """The header with an account's token; empty for None."""
        if who is None:
            return {}
        wanted = scopes or SCOPES.get(who, ALL_SCOPES)
        made = self.exchange.tokens.issue(who, wanted, self.clock().timestamp())
        return {"Authorization": f"Bearer {made}"}

    def get(self, who: str | None, path: str, **kwargs: Any) -> httpx.Response:
        headers = self.token(who) | kwargs.pop("headers", {})
        return self._client.get(path, headers=headers, **kwargs)

    def post(
        self,
        who: str | None,
        path: str,
        json: Any = None,
        *,
        content: bytes | Iterator[bytes] | None = None,
        key: str | None = "",
        **kwargs: Any,
    ) -> httpx.Response:
        """Post, with a key of its own unless one is given; None sends none."""
        headers = self.token(who) | kwargs.pop("headers", {})
        if key is not None:
            headers["Idempotency-Key"] = key or f"key-{next(self._keys)}"
        return self._client.post(path, json=json, content=content, headers=headers, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return self._client.request(method, path, **kwargs)

    def read(self, who: str, path: str, **kwargs: Any) -> Any:
        """What a GET answers that has to succeed."""
        return good(self.get(who, path, **kwargs))

    def make(self, who: str, path: str, json: Any = None, **kwargs: Any) -> Any:
        """What a POST answers that has to succeed."""
        return good(self.post(who, path, json, **kwargs))

    # What happens often

    def number(self) -> int:
        """A number that was not used before."""
        return next(self._numbers)

    def new_report(self, number: int | None = None, **fields: Any) -> dict[str, Any]:
        return {
            "number": f"+{number or self.number()}",
            "category": "fraud",
            "channel": "sms",
            "text": "It said that I had won.",
            "happened_at": "2026-11-01T10:00:00Z",
            "reporter": "r1",
        } | fields

    def report(self, number: int | None = None, *, who: str = "web", **fields: Any) -> dict[str, Any]:
        """A new report, with its case, which its account is not told."""
        made: dict[str, Any] = self.make(who, "/v1/reports", self.new_report(number, **fields))
        return made | {"case": self.case_of(made)}

    def case_of(self, report: dict[str, Any]) -> int:
        """The case of a report."""
        with self.exchange.database.reading() as session:
            return session.get_one(ReportRow, report["id"]).case_id

    def attach(self, report: int, *, who: str = "web", content: bytes | None = None, name: str = "a.png") -> Any:
        path = f"/v1/reports/{report}/evidence?name={name}"
        return self.make(who, path, content=png_of(200) if content is None else content)

    def complete(self, number: int | None = None, **fields: Any) -> int:
        """A case that is complete: its id."""
        report = self.report(number, **fields)
        self.attach(report["id"], who=fields.get("who", "web"))
        case: int = report["case"]
        return case

    def decide(self, case: int, kind: str = "block", *, who: str = "anna", **fields: Any) -> Any:
        return good(self.try_to_decide(case, kind, who=who, **fields))

    def try_to_decide(self, case: int, kind: str = "block", *, who: str = "anna", **fields: Any) -> httpx.Response:
        """Decide on a case as it is now."""
        body = {"kind": kind, "reason": "proved"} | fields
        if kind != "retract":
            body = {"version": self.version(case)} | body
        return self.post(who, f"/v1/cases/{case}/decisions", body)

    def confirm(self, decision: Any, *, who: str = "budi") -> httpx.Response:
        """Confirm a decision on a case as it is now."""
        body = {"version": self.version(decision["case"])}
        return self.post(who, f"/v1/decisions/{decision['id']}/confirmation", body)

    def appeal(self, case: int, *, who: str = "web", **fields: Any) -> httpx.Response:
        body = {"number": f"+{self.case(case)['number']}", "grounds": "It is mine.", "appellant": "p1"} | fields
        return self.post(who, "/v1/appeals", body)

    def answer(self, appeal: Any, *, grant: bool, who: str = "anna", **fields: Any) -> httpx.Response:
        """Answer an appeal on a case as it is now."""
        case = good(self.get("anna", f"/v1/appeals/{appeal['id']}"))["case"]  # who appeals does not learn it
        body = {"grant": grant, "reason": "looked at", "version": self.version(case)} | fields
        return self.post(who, f"/v1/appeals/{appeal['id']}/answer", body)

    def version(self, case: int) -> int:
        return int(self.case(case)["version"])

    def publish(self, *, everything: bool = False) -> dict[str, Any]:
        """Publish; the serials by feed."""
        made = self.exchange.publish(everything=everything)
        return {feed.feed: feed.serial for feed in made.feeds}

    def listed(self, number: int | None = None, **fields: Any) -> int:
        """A case that is published at once: its id."""
        case = self.complete(number)
        self.decide(case, **({"urgent": True} | fields))
        self.publish()
        return case

    def case(self, case: int) -> Any:
        return self.read("anna", f"/v1/cases/{case}")

    def entry(self, case: int, feed: str = "id-telkomsel") -> int:
        """The entry that lists, or listed, a case on a feed."""
        entries = [each["entry"] for each in self.case(case)["listings"] if each["feed"] == feed]
        return int(entries[-1])

    def state(self, case: int) -> str:
        return str(self.case(case)["state"])

    def history(self, case: int) -> list[dict[str, Any]]:
        return list(self.read("anna", f"/v1/cases/{case}/history?limit=500")["items"])

    def receipt(self, entry: int = 1, **fields: Any) -> dict[str, Any]:
        at = self.clock().isoformat()
        return {"feed": "id-telkomsel", "serial": 1, "entry": entry, "outcome": "enforced", "at": at} | fields

    def answer_for(self, who: str, *receipts: dict[str, Any]) -> list[Any]:
        """Send receipts: their items."""
        return list(self.make(who, "/v1/receipts", {"receipts": receipts})["items"])

    def live(self, text: str = "a text") -> int:
        """Let everything happen once, with this text as every text: a case listed, enforced, appealed and upheld."""
        number = self.number()
        report = self.report(number, text=text, reporter="Budi", channel="messaging", app="Messages")
        self.attach(report["id"], name="secret.png")
        self.report(number, who="bank", text=text, reporter="Siti")
        case = int(report["case"])
        self.make("anna", f"/v1/cases/{case}/verification")
        self.decide(case, reason=text, urgent=True)
        self.publish()
        entry = self.entry(case)
        self.answer_for("telkomsel", self.receipt(entry, detail=text))
        appeal = self.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": text, "appellant": "Budi"})
        good(self.answer(appeal, grant=False, reason=text))
        self.listed()
        return case


def good(response: httpx.Response) -> Any:
    """What an answer says, if it is a success."""
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    assert response.headers["X-Request-Id"]
    return response.json()


def refused(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The problem document of an answer that has to be one."""
    assert response.status_code == status, f"{response.request.method} {response.request.url}: {response.text}"
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-Id"]
    if kind is not None:
        assert problem["type"] == f"urn:blocklist:problem:{kind}"
    return problem


def make_template(directory: Path) -> dict[str, str]:
    """An exchange's folder with an account for each role; the secrets and private keys by name."""
    exchange = Exchange.init(
        directory,
        passphrase=PASSPHRASE,
        offline_passphrase=OFFLINE_PASSPHRASE,
        settings=ExchangeSettings(two_person=False),
    )
    with exchange:
        return add_accounts(exchange)


def add_accounts(exchange: Exchange) -> dict[str, str]:
    kept: dict[str, str] = {}
    with exchange.database.writing(by=Act("command line", "prepared")) as session:
        for name, scopes in (SCOPES | {"everyone": ALL_SCOPES, SECRETIVE: ("report", "officer")}).items():
            private = None if name == SECRETIVE else OKPKey.generate_key("Ed25519")
            secret = add_account(
                session,
                name,
                check_oauth_scopes(scopes, feeds=exchange.routing.feeds),
                key=None if private is None else private.as_pem(private=False).decode(),
                now=START,
            )
            kept[name] = secret if private is None else private.as_pem(private=True).decode()  # type: ignore[assignment]
        disable_account(session, "gone", START)
    return kept


Opens = Callable[..., Exchange]


def every_passphrase(key: str) -> str:
    """Of every key: tests protect numbers and add feeds, where an exchange has only what publishing needs."""
    return OFFLINE_PASSPHRASE if is_offline(key) else PASSPHRASE


def copy_exchange(template: Path, directory: Path, clock: Clock, *, database: str, **settings: Any) -> Exchange:
    shutil.copytree(template, directory)
    return Exchange.open(directory, passphrase=every_passphrase, clock=clock, database=database, **settings)


@contextmanager
def serving(exchange: Exchange) -> Iterator[Server]:
    server = Server(exchange)
    try:
        yield server
    finally:
        server.close()
