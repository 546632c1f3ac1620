"""An operator's cron script: sync, enforce, send receipts, and write last month's statement once a month is over.

Every step may fail: the next run continues there, and nothing is done or sent twice. The example runs against a
sandbox, which is a real exchange on this machine. All numbers are generated.
"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from blocklist_sdk import Blocklist, BlocklistError, ExchangeClient
from blocklist_sdk.disk import replaced
from blocklist_sdk.enforcement import (
    Batch,
    Ledger,
    Outcome,
    enforce,
    ledger_path,
    monthly_statement,
    send_receipts,
    statement_html,
)
from blocklist_sdk.sandbox import sandbox

SINK = "hlr"


class Hlr:
    """The subscriber database, simulated: returns the outcome of each change."""

    blocked: ClassVar[set[int]] = set()

    def apply(self, batch: Batch) -> list[Outcome]:
        """Enforce the changes of a batch."""
        return [self._one(change.number, lift=batch.operation == "unblock") for change in batch]

    def is_empty(self) -> bool:
        """Whether nothing is blocked, so that a new ledger may begin, and one that lost everything is filled again."""
        return not self.blocked

    def close(self) -> None:
        """Release connections."""

    def _one(self, number: int, *, lift: bool) -> Outcome:
        if number % 10 == 7:
            return Outcome("already-inactive", "returned last year")
        (self.blocked.discard if lift else self.blocked.add)(number)
        return Outcome("reversed" if lift else "enforced")


def main(blocklist: Blocklist, exchange: ExchangeClient, folder: Path, months: list[str]) -> int:
    """One run; returns the exit code, which cron mails about."""
    failed = 0
    for step in (sync, enforce_changes, send):
        try:
            step(blocklist, exchange, folder)
        except BlocklistError as error:  # the later steps still run
            print(f"{step.__name__}: {error}", file=sys.stderr)
            failed = 1
    for month in months:
        write_statement(blocklist, folder, month)
    return failed


def sync(blocklist: Blocklist, exchange: ExchangeClient, folder: Path) -> None:
    """Fetch what is new; whatever fails, the last verified list goes on serving."""
    result = blocklist.sync()
    print(f"synced release {result.after}: {result.added} added, {result.removed} removed")


def enforce_changes(blocklist: Blocklist, exchange: ExchangeClient, folder: Path) -> None:
    """Bring the sink to what is in force."""
    sink = Hlr()  # in production, such as open_sink("https://provisioning.example/blocks", feed=blocklist.feed)
    try:
        result = enforce(blocklist, sink, name=SINK)
    finally:
        sink.close()
    print("enforced:", dict(result.outcomes) or "nothing to do")


def send(blocklist: Blocklist, exchange: ExchangeClient, folder: Path) -> None:
    """Send what the exchange has not acknowledged yet."""
    with Ledger.outbox(ledger_path(blocklist, SINK), feed=blocklist.feed) as ledger:
        result = send_receipts(ledger, exchange)
    print(f"receipts: {result.sent} sent, {result.repeated} repeated, {result.refused} refused")


def write_statement(blocklist: Blocklist, folder: Path, month: str) -> None:
    """Write a month's statement, unless it is written already."""
    page = folder / f"{month}.html"
    if page.exists():
        return
    with Ledger.read(ledger_path(blocklist, SINK), feed=blocklist.feed) as ledger:
        statement = monthly_statement(ledger, month, now=datetime.now(UTC))
    with replaced(page) as temporary:
        temporary.write_text(statement_html(statement), encoding="utf-8")
    block = statement.operations["block"]
    print(f"statement: {block.received} blocks received, {block.enforced} enforced, {block.open} open")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox(Path(name, "box"), cases=30) as box,
        box.blocklist("telkomsel") as mine,
        box.client("telkomsel") as client,
    ):
        main(mine, client, Path(name), [])
        sys.exit(main(mine, client, Path(name), [f"{datetime.now(UTC):%Y-%m}"]))  # in production, the month before
