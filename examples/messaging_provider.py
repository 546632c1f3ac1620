"""A messaging provider's two programs: report a number, and act on the list.

    messaging_provider.py report +6281355501234 conversation.png     when your people find a number
    messaging_provider.py act                                        from a timer, every hour

`act` syncs, suspends and restores accounts, and sends a receipt for each. If it is killed or something fails, the next
run continues there.

Settings come from the environment: BLOCKLIST_URL, BLOCKLIST_FEED, BLOCKLIST_ROOT, BLOCKLIST_REGION,
BLOCKLIST_CACHE_DIR, BLOCKLIST_STATE_DIR, BLOCKLIST_EXCHANGE, BLOCKLIST_CLIENT_ID, BLOCKLIST_CLIENT_SECRET_FILE, and
ACCOUNTS_DIR, a folder that stands for your account service here.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from blocklist_sdk import Blocklist, BlocklistError, ClientCredentials, ExchangeClient
from blocklist_sdk.enforcement import Batch, Outcome, SinkChange, enforce

log = logging.getLogger("provider")


class Accounts:
    """A sink that suspends accounts: put calls to your service in place of the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def apply(self, batch: Batch) -> list[Outcome]:
        """Act on a batch; the outcome of each change becomes its receipt."""
        return [self._one(change) for change in batch]

    def is_empty(self) -> bool:
        """Whether nothing is suspended, so that a new ledger may begin, and one that lost all is filled again."""
        return not any(self._folder.iterdir())

    def close(self) -> None:
        """There are no connections to release."""

    def _one(self, change: SinkChange) -> Outcome:
        account = self._folder / str(change.number)
        if change.operation == "unblock":
            account.unlink(missing_ok=True)
            return Outcome("reversed")
        account.touch(mode=0o600)
        return Outcome("enforced")


def report(exchange: ExchangeClient, number: str, conversation: Path) -> None:
    """Report a number, with the evidence."""
    sent = exchange.submit_report(
        number,
        category="account-takeover",
        channel="messaging",
        app="chat",
        text="Asks new users for the code that they have just got.",
        happened_at=datetime.now(UTC),
        reporter="user-4711",  # your own reference, always the same for the same person
    )
    exchange.attach_evidence(sent.id, conversation.read_bytes(), name=conversation.name)
    print(f"report {sent.id}")


def act(blocklist: Blocklist, exchange: ExchangeClient, accounts: Accounts) -> None:
    """Sync, act on what differs, and send the receipts."""
    try:
        blocklist.sync()
    except BlocklistError as error:  # what ends must be lifted without the network, too
        log.error("the list was not synced, so the one in force is acted on: %s", error)
    done = enforce(blocklist, accounts, name="accounts", receipts=exchange)
    print(f"release {done.serial}: {dict(done.outcomes) or 'nothing to do'}")
    if done.waiting is not None:
        log.error("%s changes wait until a person accepts them", done.waiting.changes)


def main(arguments: list[str]) -> int:
    """One run; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        blocklist, exchange = open_exchange()
        with blocklist, exchange:
            match arguments:
                case ["report", number, conversation]:
                    report(exchange, number, Path(conversation))
                case ["act"]:
                    act(blocklist, exchange, Accounts(Path(os.environ["ACCOUNTS_DIR"])))
                case _:
                    log.error("usage: messaging_provider.py report NUMBER FILE | act")
                    return 2
    except KeyError as error:
        log.error("set %s in the environment", error)
        return 2
    except (BlocklistError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


def open_exchange() -> tuple[Blocklist, ExchangeClient]:
    """Open the list and the exchange that the environment names.

    Raises:
        KeyError: a variable is missing.
        InvalidInput: one cannot be used.
        OSError: the file with the secret cannot be read.
    """
    exchange = os.environ["BLOCKLIST_EXCHANGE"]
    secret = Path(os.environ["BLOCKLIST_CLIENT_SECRET_FILE"]).read_text(encoding="utf-8").strip()
    auth = ClientCredentials.for_exchange(exchange, os.environ["BLOCKLIST_CLIENT_ID"], secret)
    blocklist = Blocklist.open(
        os.environ["BLOCKLIST_URL"],
        feed=os.environ["BLOCKLIST_FEED"],
        root=os.environ["BLOCKLIST_ROOT"],
        region=os.environ["BLOCKLIST_REGION"],
        cache_dir=os.environ["BLOCKLIST_CACHE_DIR"],
        state_dir=os.environ["BLOCKLIST_STATE_DIR"],
        auth=auth,
    )
    return blocklist, ExchangeClient(exchange, auth=auth)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
