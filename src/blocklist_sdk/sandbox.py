"""A whole exchange on this machine, to develop against (extra ``exchange``): server, keys, accounts, generated data.

It is the real reference exchange, with the accounts of two operators and a messaging provider, and with work that waits
for its two officers. In a folder of its own it goes on where it was left. All numbers are generated.
"""

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.demo.generated import ACCOUNTS, RECIPIENTS, REGION, generate_reports, screenshot
from blocklist_sdk.demo.story import new_passphrase, write_settings
from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import NewAppeal, NewDecision
from blocklist_sdk.locks import file_lock
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.numbers import format_e164
from blocklist_sdk.places import absolute, temporary_directory
from blocklist_sdk.recipient.blocklist import Blocklist

if TYPE_CHECKING:
    from blocklist_sdk.exchange_server.exchange import Exchange

__all__ = ["ACCOUNTS", "CASES", "RECIPIENTS", "Sandbox", "sandbox", "screenshot"]

CASES: Final = 300
"""How many numbers are listed from the start: enough for a delta to be smaller than a snapshot."""

_RECORD: Final = "sandbox.json"
_FORMAT: Final = 1
_LOCK: Final = "lock"
_PASSPHRASE, _OFFLINE_PASSPHRASE = "passphrase", "offline-passphrase"
_WAITING: Final = 5
"""How many reported numbers wait in the queue: two to be decided, one without evidence, and one for each officer to
confirm."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running exchange.

    Attributes:
        url: its base URL.
        directory: the folder of everything: the exchange, and a folder with a ``blocklist.toml`` for each account.
        secrets: the secret of each account, by the account's name.
        root: the root metadata that recipients pin.
        resumed: whether the folder had it already, with all that happened there.
    """

    url: str
    directory: Path
    secrets: dict[str, str]
    root: Path
    resumed: bool = False

    def auth(self, name: str) -> ClientCredentials:
        """An account's credentials."""
        return ClientCredentials.for_exchange(self.url, name, self.secrets[name])

    def client(self, name: str) -> ExchangeClient:
        """A client that uses an account."""
        return ExchangeClient(self.url, auth=self.auth(name))

    def blocklist(self, name: str) -> Blocklist:
        """A recipient's list, with its cache in the recipient's folder."""
        return Blocklist.open(
            f"{self.url}/repository",
            feed=RECIPIENTS[name],
            root=self.root,
            region=REGION,
            cache_dir=self.directory / name / "cache",
            auth=self.auth(name),
        )


@dataclass(frozen=True, slots=True)
class _Record:
    """What a sandbox's folder remembers for the next time: the port, and the secret of each account."""

    port: int
    secrets: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "_Record | None":
        """The record of a folder; None if it has none."""
        path = folder / _RECORD
        document = read_json(path, format_version=_FORMAT)
        if document is None:
            return None
        try:
            return cls(int(document["port"]), {str(name): str(each) for name, each in document["secrets"].items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{path} is damaged: give a new folder") from error

    def write(self, folder: Path) -> None:
        """Write the record, for the owner alone."""
        path = folder / _RECORD
        with storage(path):
            write_json(path, {"format": _FORMAT, "port": self.port, "secrets": self.secrets}, PRIVATE)


@contextlib.contextmanager
def sandbox(
    directory: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    cases: int = CASES,
    two_person: bool = True,
) -> Iterator[Sandbox]:
    """Run an exchange with accounts and generated data until the end of the block.

    Args:
        directory: the folder in which everything is kept: a new or empty one, or one where a sandbox was before, which
            then goes on with the same keys, secrets and data, and at the same port if that is free; None to keep
            nothing.
        host: address to listen on.
        port: port to listen on; 0 takes the port of before, or a free one.
        cases: how many generated numbers are listed from the start; of no effect on a sandbox that goes on.
        two_person: whether a second officer has to confirm decisions that list a number, as at a real exchange; of no
            effect on a sandbox that goes on.

    Raises:
        InvalidInput: the folder is not empty and has no sandbox, or the server cannot listen on the address.
        Locked: a sandbox runs in the folder.
        StorageFailed: the disk refused.

    Example:
        >>> with sandbox(cases=2) as box, box.client("officer") as officer:
        ...     sorted(case.state.value for case in officer.cases())
        ['appealed', 'incomplete', 'published', 'received', 'received', 'verifying', 'verifying']
    """
    from blocklist_sdk.exchange_server.serving import serving_exchange

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_folder(directory))
        before = _Record.read(folder)
        if before is None:
            exchange = stack.enter_context(_made(folder, two_person=two_person))
            secrets = {name: exchange.add_account(name, scopes) or "" for name, scopes in ACCOUNTS.items()}
            exchange.skip_alarms()
            _fill(exchange, cases)
        else:
            exchange, secrets = stack.enter_context(_opened(folder)), before.secrets
        chosen = port or (_port_of_before(host, before.port) if before else 0)
        url = stack.enter_context(serving_exchange(exchange, host=host, port=chosen))
        box = Sandbox(url=url, directory=folder, secrets=secrets, root=exchange.root, resumed=before is not None)
        _Record(int(url.rpartition(":")[2]), secrets).write(folder)
        _write_settings(box)
        yield box


@contextlib.contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """The folder, which nobody else uses meanwhile; or a temporary one, which is deleted at the end.

    Raises:
        InvalidInput: it has something else in it.
        Locked: a sandbox runs there.
    """
    if directory is None:
        with temporary_directory(prefix="blocklist-") as temporary:
            yield temporary
        return
    with storage(directory):
        PRIVATE.make(directory)
        names = {path.name for path in directory.iterdir()}
    if names - {_LOCK} and _RECORD not in names:
        raise InvalidInput(f"{directory} is not empty, and has no sandbox that could go on: give a new folder")
    folder = absolute(directory)
    with file_lock(folder / _LOCK, wait_s=0, busy=f"a sandbox runs in {folder}"):
        yield folder


def _made(folder: Path, *, two_person: bool) -> "Exchange":
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.settings import ExchangeSettings

    return Exchange.init(
        folder / "exchange",
        passphrase=new_passphrase(folder, _PASSPHRASE),
        settings=ExchangeSettings(two_person=two_person),
        offline_passphrase=new_passphrase(folder, _OFFLINE_PASSPHRASE),
    )


def _opened(folder: Path) -> "Exchange":
    from blocklist_sdk.exchange_server.exchange import Exchange

    path = folder / _PASSPHRASE
    for needed in (path, folder / "exchange"):
        if not needed.exists():
            raise InvalidInput(f"the sandbox in {folder} cannot go on, since {needed} is missing: give a new folder")
    with storage(path):
        passphrase = path.read_text(encoding="utf-8").strip()
    return Exchange.open(folder / "exchange", passphrase=passphrase)


def _port_of_before(host: str, port: int) -> int:
    """The port if it is free, and otherwise 0, which is any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does: what the sandbox's last connections leave behind is not in its way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            log.warning("port %d, where the sandbox was before, is in use: it has another one now", port)
            return 0
    return port


def _fill(exchange: "Exchange", count: int) -> None:
    """Put generated numbers on the feeds, publish the first release of every feed, and leave work for the officers.

    What is listed was decided by one officer, as before two were needed: so the other one may dismiss an appeal.
    """
    from blocklist_sdk.exchange_server.casework import appeals, decisions, intake
    from blocklist_sdk.exchange_server.casework.accounts import caller_of, find_account
    from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE
    from blocklist_sdk.exchange_server.store.trail import Act

    at = exchange.clock()
    stored = exchange.evidence.receive([screenshot()], name="screenshot.png")
    reports = generate_reports(count + _WAITING, happened_at=at - timedelta(days=1))
    alone = exchange.settings.model_copy(update={"two_person": False})
    with exchange.database.writing(by=Act(COMMAND_LINE, "generated")) as session:
        hotline, officer, second = (
            caller_of(find_account(session, name)) for name in ("hotline", "officer", "second-officer")
        )
        incoming = [
            intake.IncomingReport.read(hotline, report, region=exchange.settings.region, now=at) for report in reports
        ]
        received = intake.receive_all(session, incoming)
        waiting = received[count:]
        decided_by = {count + 3: officer, count + 4: second} if exchange.settings.two_person else {}
        for place, (report, case) in enumerate(received):
            if (report, case) == waiting[2]:
                continue  # its evidence is still missing
            intake.attach_evidence(session, hotline, report, sha256=stored.sha256, evidence_file=stored, now=at)
            is_listed = place < count
            if is_listed or place in decided_by:
                decisions.decide(
                    session,
                    case,
                    officer if is_listed else decided_by[place],
                    NewDecision(kind="block", reason="generated", version=case.events),
                    now=at,
                    settings=alone if is_listed else exchange.settings,
                    protected=frozenset(),
                    routing=exchange.routing,
                )
    exchange.publish(everything=True)
    exchange.begin()
    if not count:
        return
    listed = format_e164(incoming[0].number)
    with exchange.database.writing(by=Act(COMMAND_LINE, "generated")) as session:
        hotline = caller_of(find_account(session, "hotline"))
        appeal = NewAppeal(number=listed, grounds="The number is mine since last week.", appellant="owner-0")
        appeals.open_appeal(session, hotline, appeal, settings=exchange.settings, now=at)


def _write_settings(box: Sandbox) -> None:
    """Write a ``blocklist.toml`` into a folder for each account, and the first operator's into the top folder too."""
    for name, secret in box.secrets.items():
        folder = box.directory / name
        settings = {"exchange": box.url, "client_id": name, "client_secret": secret, "region": REGION}
        if name in RECIPIENTS:
            settings |= {
                "url": f"{box.url}/repository",
                "feed": RECIPIENTS[name],
                "root": str(box.root),
                "cache_dir": str(folder / "cache"),
            }
        write_settings(folder, settings)
        if name == next(iter(RECIPIENTS)):
            write_settings(box.directory, settings)
