"""A whole exchange on this machine, to develop against (extra ``exchange``): server, keys, accounts, generated data.

It is the real reference exchange, with the accounts of two operators and a messaging provider. All numbers are
generated.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.demo.generated import ACCOUNTS, RECIPIENTS, REGION, generate_reports, screenshot
from blocklist_sdk.demo.story import new_passphrase, story_folder, write_settings
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import NewDecision
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.recipient.blocklist import Blocklist

if TYPE_CHECKING:
    from blocklist_sdk.exchange_server.exchange import Exchange

__all__ = ["ACCOUNTS", "CASES", "RECIPIENTS", "Sandbox", "sandbox", "screenshot"]

CASES: Final = 300
"""How many numbers are listed from the start: enough for a delta to be smaller than a snapshot."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running exchange.

    Attributes:
        url: its base URL.
        directory: the folder of everything: the exchange, and a folder with a ``blocklist.toml`` for each account.
        secrets: the secret of each account, by the account's name.
        root: the root metadata that recipients pin.
    """

    url: str
    directory: Path
    secrets: dict[str, str]
    root: Path

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


@contextlib.contextmanager
def sandbox(
    directory: Path | None = None, *, host: str = "127.0.0.1", port: int = 0, cases: int = CASES
) -> Iterator[Sandbox]:
    """Run an exchange with accounts and generated data until the end of the block.

    Args:
        directory: a new or empty folder in which everything is kept; None to keep nothing.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        cases: how many generated numbers are listed from the start.

    Raises:
        InvalidInput: the folder is not empty, or the server cannot listen on the address.
        StorageFailed: the disk refused.

    Example:
        >>> with sandbox(cases=2) as box, box.client("officer") as officer:
        ...     [case.state.value for case in officer.cases()]
        ['published', 'published']
    """
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.serving import serving_exchange
    from blocklist_sdk.exchange_server.settings import ExchangeSettings

    with (
        story_folder(directory) as folder,
        Exchange.init(
            folder / "exchange",
            passphrase=new_passphrase(folder),
            settings=ExchangeSettings(two_person=False),  # its one officer decides alone
            offline_passphrase=new_passphrase(folder, "offline-passphrase"),
        ) as exchange,
    ):
        secrets = {name: exchange.add_account(name, scopes) or "" for name, scopes in ACCOUNTS.items()}
        exchange.skip_alarms()
        _list_generated(exchange, cases)
        with serving_exchange(exchange, host=host, port=port) as url:
            box = Sandbox(url=url, directory=folder, secrets=secrets, root=exchange.root)
            _write_settings(box)
            yield box


def _list_generated(exchange: "Exchange", count: int) -> None:
    """Put generated numbers on the feeds, and publish the first release of every feed."""
    from blocklist_sdk.exchange_server.casework import decisions, intake
    from blocklist_sdk.exchange_server.casework.accounts import caller_of, find_account
    from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE
    from blocklist_sdk.exchange_server.store.trail import Act

    at = exchange.clock()
    stored = exchange.evidence.receive([screenshot()], name="screenshot.png")
    with exchange.database.writing(by=Act(COMMAND_LINE, "generated")) as session:
        hotline, officer = (caller_of(find_account(session, name)) for name in ("hotline", "officer"))
        incoming = [
            intake.IncomingReport.read(hotline, report, region=exchange.settings.region, now=at)
            for report in generate_reports(count, happened_at=at - timedelta(days=1))
        ]
        for report, case in intake.receive_all(session, incoming):
            intake.attach_evidence(session, hotline, report, sha256=stored.sha256, evidence_file=stored, now=at)
            decisions.decide(
                session,
                case,
                officer,
                NewDecision(kind="block", reason="generated", version=case.events),
                now=at,
                settings=exchange.settings,
                protected=frozenset(),
                routing=exchange.routing,
            )
    exchange.publish(everything=True)
    exchange.begin()


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
