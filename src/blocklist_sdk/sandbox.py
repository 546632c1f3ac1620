"""A whole exchange on this machine, to develop against (extra ``exchange``): server, keys, accounts, generated data.

Nothing in it is a stand-in: it is the reference exchange, with an operator's, another operator's and a messaging
provider's accounts. All numbers are generated, none is anybody's.
"""

import contextlib
import random
import secrets
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import Case, NewDecision, NewReceipt, NewReport, ReceiptOutcome
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.numbers import format_e164
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.records import SyncResult

if TYPE_CHECKING:
    from blocklist_sdk.exchange_server.exchange import Exchange

ACCOUNTS: Final[dict[str, tuple[str, ...]]] = {
    "hotline": ("report",),
    "officer": ("officer",),
    "second-officer": ("officer",),
    "publisher": ("publish",),
    "telkomsel": ("report", "receipt", "feed:id-telkomsel"),
    "indosat": ("report", "receipt", "feed:id-indosat"),
    "chat": ("report", "receipt", "feed:id-messaging"),
}
"""Who takes part: where the public complains, two officers, the publisher, two operators and a messaging provider."""

RECIPIENTS: Final = {"telkomsel": "id-telkomsel", "indosat": "id-indosat", "chat": "id-messaging"}
"""The recipients, and the feed of each."""

CASES: Final = 300
"""How many numbers are listed from the start: enough for a delta to be smaller than a snapshot."""

_PREFIXES: Final = (62812, 62813, 62815)
_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An exchange that runs.

    Attributes:
        url: its base URL.
        directory: where everything is: the exchange, and a folder with a ``blocklist.toml`` for each account.
        secrets: each account's, by name.
        root: what recipients pin.
    """

    url: str
    directory: Path
    secrets: dict[str, str]
    root: Path

    def auth(self, name: str) -> ClientCredentials:
        """An account's credentials."""
        return ClientCredentials.for_exchange(self.url, name, self.secrets[name])

    def client(self, name: str) -> ExchangeClient:
        """The exchange, as an account sees it."""
        return ExchangeClient(self.url, auth=self.auth(name))

    def blocklist(self, name: str) -> Blocklist:
        """A recipient's list, with its cache in the recipient's folder."""
        return Blocklist.open(
            f"{self.url}/repository",
            feed=RECIPIENTS[name],
            root=self.root,
            region="ID",
            cache_dir=self.directory / name / "cache",
            auth=self.auth(name),
        )


@contextlib.contextmanager
def sandbox(
    directory: Path | None = None, *, host: str = "127.0.0.1", port: int = 0, cases: int = CASES
) -> Iterator[Sandbox]:
    """Run an exchange with accounts and generated data until the end of the block.

    Args:
        directory: a new or empty folder to keep everything in; None to keep nothing.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        cases: how many generated numbers are listed from the start.

    Raises:
        InvalidInput: the folder is not empty, or the address cannot be listened on.
        StorageFailed: the disk refused.

    Example:
        >>> with sandbox(cases=2) as box, box.client("officer") as officer:
        ...     [case.state.value for case in officer.cases()]
        ['published', 'published']
    """
    from blocklist_sdk.exchange_server.serving import serving_exchange

    with contextlib.ExitStack() as stack:
        if directory is None:
            folder = Path(tempfile.mkdtemp(prefix="blocklist-sandbox-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = _new_folder(directory)
        exchange = stack.enter_context(_exchange(folder))
        held = {name: exchange.add_account(name, scopes) or "" for name, scopes in ACCOUNTS.items()}
        _list_some(exchange, cases)
        url = stack.enter_context(serving_exchange(exchange, host=host, port=port))
        box = Sandbox(url=url, directory=folder, secrets=held, root=exchange.root)
        _write_settings(box)
        yield box


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of the story.

    Attributes:
        who: who acts.
        what: what came of it.
    """

    who: str
    what: str


def story(box: Sandbox) -> Iterator[Scene]:
    """One complaint, from the report to the receipts, and one appeal, back to the unblock.

    Raises:
        BlocklistError: something did not come out as it must.
    """
    number = _new_number(random.Random(secrets.randbits(64)), _PREFIXES[0])
    shown = format_e164(number)
    with contextlib.ExitStack() as stack:
        hotline, officer = (stack.enter_context(box.client(name)) for name in ("hotline", "officer"))
        clients = {name: stack.enter_context(box.client(name)) for name in RECIPIENTS}
        lists = {name: stack.enter_context(box.blocklist(name)) for name in RECIPIENTS}
        for held in lists.values():
            held.sync()

        report = hotline.submit_report(
            shown,
            category="fraud",
            channel="messaging",
            app="chat",
            text="You have won a prize: send the code that you have just got.",
            happened_at=times.now() - timedelta(hours=1),
            reporter="caller-1",
        )
        yield Scene("hotline", f"reports {shown}: case {report.case} is {report.case_state}, it lacks evidence")
        evidence = hotline.attach_evidence(report.id, screenshot(), name="screenshot.png")
        state = officer.get_case(report.case).state
        yield Scene("hotline", f"adds a screenshot of {evidence.bytes} bytes: the case is {state}")

        officer.start_verification(report.case)
        decision = officer.decide(report.case, "block", reason="The message asks for a one-time code.", urgent=True)
        yield Scene("officer", f"verifies and decides to block it, urgently, until {decision.until:%Y-%m-%d}")
        case = _until(officer, report.case, lambda case: all(each.listed_serial for each in case.listings))
        yield Scene("exchange", "publishes " + ", ".join(f"{e.feed} {e.listed_serial}" for e in case.listings))

        for name, held in lists.items():
            result = held.sync()
            yield Scene(name, f"syncs by {result.kind} in {result.bytes:,} bytes: {_answer(held, number)}")
        _expect({name: number in held for name, held in lists.items()}, telkomsel=True, indosat=False, chat=True)

        for name in ("telkomsel", "chat"):
            _send(clients[name], case, RECIPIENTS[name], "enforced", lists[name].sync())
            yield Scene(name, "sends its receipt: enforced")
        case = officer.get_case(report.case)
        if case.state != "enforced":
            raise BlocklistError(f"the case is {case.state}, not enforced")
        yield Scene("exchange", f"case {case.id} is {case.state}: every recipient concerned has answered")

        appeal = hotline.submit_appeal(number=shown, grounds="The number is mine since last week.", appellant="owner-1")
        yield Scene("hotline", f"passes on appeal {appeal.id}: the case is {officer.get_case(case.id).state}")
        officer.answer_appeal(appeal.id, grant=True, reason="The operator confirms the new owner.")
        case = _until(officer, case.id, lambda case: all(each.lifted_serial for each in case.listings))
        yield Scene(
            "officer", "grants it: " + ", ".join(f"{e.feed} {e.lifted_serial}" for e in case.listings) + " lift it"
        )
        for name in ("telkomsel", "chat"):
            result = lists[name].sync()
            _send(clients[name], case, RECIPIENTS[name], "reversed", result)
            yield Scene(name, f"syncs by {result.kind}: {_answer(lists[name], number)}; sends its receipt: reversed")
        _expect({name: number in held for name, held in lists.items()}, telkomsel=False, indosat=False, chat=False)
        proof = ", ".join(
            f"{each.recipient} {each.lifted_at:%H:%M:%S}" if each.lifted_at else f"{each.recipient} not yet"
            for each in hotline.get_appeal(appeal.id).lifted
        )
        yield Scene("hotline", f"learns who has lifted the block, and when: {proof}")
        month = officer.get_statistics(f"{times.now():%Y-%m}")
        yield Scene(
            "exchange",
            f"counts {month.month}: {month.reports} reported, {month.published} published, {month.enforced} enforced",
        )


def screenshot(seed: int = 0) -> bytes:
    """A small PNG, in place of a screenshot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = b"".join(b"\0" + random.Random(seed + row).randbytes(8) for row in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@contextlib.contextmanager
def _exchange(folder: Path) -> Iterator["Exchange"]:
    from blocklist_sdk.exchange_server.exchange import Exchange

    passphrase = secrets.token_urlsafe(24)
    with storage(folder):
        file = folder / "passphrase"
        file.touch(mode=0o600)
        file.write_text(passphrase + "\n", encoding="utf-8")
    with Exchange.init(folder / "exchange", passphrase=passphrase) as exchange:
        yield exchange


def _list_some(exchange: "Exchange", count: int) -> None:
    """Bring generated numbers all the way onto the feeds, and every feed to its first release."""
    from blocklist_sdk.exchange_server.casework import decisions, intake
    from blocklist_sdk.exchange_server.casework.accounts import Caller, find_account

    chance = random.Random(1)
    at = exchange.clock()
    stored = exchange.evidence.receive([screenshot()], name="screenshot.png")
    with exchange.database.writing() as session:
        row = find_account(session, "hotline")
        hotline = Caller(row.id, row.name, frozenset(row.scopes.split()))
        reports = [
            NewReport(
                number=format_e164(_new_number(chance, _PREFIXES[i % 3])),
                category=chance.choice(("fraud", "phishing", "impersonation")),
                channel="sms",
                text="generated",
                happened_at=at - timedelta(days=1),
                reporter=f"caller-{i}",
            )
            for i in range(count)
        ]
        region = exchange.settings.region
        incoming = [intake.IncomingReport.read(hotline, each, region=region, now=at) for each in reports]
        for report, case in intake.receive_all(session, incoming):
            intake.attach_evidence(session, hotline, report, sha256=stored.sha256, stored=stored, now=at)
            decisions.decide(
                session,
                case,
                "officer",
                NewDecision(kind="block", reason="generated"),
                now=at,
                default_listing=exchange.settings.listing,
                two_person=False,
                protected=frozenset(),
                routing=exchange.routing,
            )
    exchange.publish(everything=True)
    exchange.begin()


def _new_number(chance: random.Random, prefix: int) -> int:
    return prefix * 10**8 + chance.randrange(10**7, 10**8)


def _write_settings(box: Sandbox) -> None:
    """A ``blocklist.toml`` for each account, in a folder of its own; the first operator's is in the top one as well."""
    for name in ACCOUNTS:
        folder = box.directory / name
        with storage(folder):
            folder.mkdir()
            _write_one(box, name, folder, at=folder)
    with storage(box.directory):
        _write_one(box, next(iter(RECIPIENTS)), box.directory / next(iter(RECIPIENTS)), at=box.directory)


def _write_one(box: Sandbox, name: str, folder: Path, *, at: Path) -> None:
    settings = {"exchange": box.url, "client_id": name, "client_secret": box.secrets[name], "region": "ID"}
    if name in RECIPIENTS:
        settings |= {
            "url": f"{box.url}/repository",
            "feed": RECIPIENTS[name],
            "root": str(box.root),
            "cache_dir": str(folder / "cache"),
        }
    file = at / "blocklist.toml"
    file.touch(mode=0o600)
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in settings.items()), encoding="utf-8")


def _new_folder(directory: Path) -> Path:
    directory = directory.absolute()
    with storage(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty: name a new folder")
    return directory


def _until(officer: ExchangeClient, case: int, is_so: Callable[[Case], bool]) -> Case:
    """A case as it is once the publisher has been at work."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        found = officer.get_case(case)
        if is_so(found):
            return found
        time.sleep(0.1)
    raise BlocklistError(f"case {case} was not published within {_WAIT_S:g} s")


def _send(client: ExchangeClient, case: Case, feed: str, outcome: ReceiptOutcome, synced: SyncResult) -> None:
    entry = next(each.entry for each in case.listings if each.feed == feed and each.entry is not None)
    new = NewReceipt(feed=feed, serial=synced.after, entry=entry, outcome=outcome, at=times.now())
    for item in client.submit_receipts([new]):
        if item.status == "refused":
            raise BlocklistError(f"the exchange refuses the receipt: {item.reason}")


def _answer(held: Blocklist, number: int) -> str:
    verdict = held.check(number)
    return f"{'blocked' if verdict else 'not blocked'} ({verdict.reason})"


def _expect(found: dict[str, bool], **expected: bool) -> None:
    if found != expected:
        raise BlocklistError(f"blocked are {found}, which should be {expected}")
