"""A messaging provider's afternoon: report a number, get the list, act on it, say so, and lift what is retracted.

It runs against a sandbox, which is a real exchange on this machine; in earnest, the address and the account's
secret come from the exchange's operator. The numbers are generated; they are nobody's.
"""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocklist_sdk import Blocklist, ExchangeClient
from blocklist_sdk.exchange import NewReceipt, ReceiptOutcome
from blocklist_sdk.sandbox import Sandbox, sandbox, screenshot

FEED, NUMBER = "id-messaging", "+6281355501234"


def main(box: Sandbox) -> None:
    """Go through it once."""
    with box.client("chat") as exchange, box.blocklist("chat") as blocklist:
        blocklist.sync()
        report = exchange.submit_report(
            NUMBER,
            category="account-takeover",
            channel="messaging",
            app="chat",
            text="Asks new users for the code that they have just got.",
            happened_at=datetime.now(UTC) - timedelta(minutes=5),
            reporter="user-4711",  # your own reference, always the same for the same person
        )
        exchange.attach_evidence(report.id, screenshot(), name="conversation.png")
        print(f"reported {NUMBER}: case {report.case}")

        an_officer_blocks(box, report.case)
        act(exchange, blocklist, until_listed=True)
        an_officer_retracts(box, report.case)
        act(exchange, blocklist, until_listed=False)


def act(exchange: ExchangeClient, blocklist: Blocklist, *, until_listed: bool) -> None:
    """Sync until the number's listing has changed, act on what differs, and send the receipts."""
    before = blocklist.status().serial
    while (NUMBER in blocklist) is not until_listed:
        time.sleep(0.2)  # in earnest: blocklist.keep_synced(every=3600)
        blocklist.sync()
    after = blocklist.status().serial
    assert before is not None
    assert after is not None
    receipts = []
    for change in blocklist.changes(since=before):
        blocked = change.kind != "removed"
        print(f"{'suspend' if blocked else 'restore'} the account of {change.entry.number}")
        outcome: ReceiptOutcome = "enforced" if blocked else "reversed"
        receipts.append(
            NewReceipt(feed=FEED, serial=after, entry=change.entry.entry, outcome=outcome, at=datetime.now(UTC))
        )
    for item in exchange.submit_receipts(receipts):
        print(f"receipt {item.index}: {item.status}")


def an_officer_blocks(box: Sandbox, case: int) -> None:
    """What happens at the authority."""
    with box.client("officer") as officer:
        officer.start_verification(case)
        officer.decide(case, "block", reason="The conversation shows it.", urgent=True)


def an_officer_retracts(box: Sandbox, case: int) -> None:
    """It was the wrong number."""
    with box.client("officer") as officer:
        officer.decide(case, "retract", reason="Two digits were swapped.")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder), cases=3) as running:
        main(running)
