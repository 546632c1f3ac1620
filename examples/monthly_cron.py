"""An operator's cron script: sync, enforce, send receipts, and write a month's statement once the month is over.

Every step may fail: the next run continues there, and nothing is done or sent twice. What went wrong is on standard
error, which cron mails, and makes the exit code 1; the log of what was done is there as well with VERBOSE=1.

    17 * * * *  lists  /opt/blocklist/bin/python /srv/lists/monthly_cron.py

Settings come from the environment: BLOCKLIST_URL, BLOCKLIST_FEED, BLOCKLIST_ROOT, BLOCKLIST_REGION,
BLOCKLIST_CACHE_DIR, BLOCKLIST_STATE_DIR, BLOCKLIST_SINK, BLOCKLIST_EXCHANGE, BLOCKLIST_CLIENT_ID,
BLOCKLIST_CLIENT_SECRET_FILE, and STATEMENTS_DIR, the folder of the statements. An argument such as 2026-10 names
another month than the one before.
"""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocklist_sdk import Blocklist, BlocklistError, ClientCredentials, ExchangeClient
from blocklist_sdk.enforcement import (
    Ledger,
    enforce,
    ledger_path,
    monthly_statement,
    open_sink,
    send_receipts,
    statement_html,
)

SINK = "hlr"

log = logging.getLogger("monthly-cron")


def main(arguments: list[str]) -> int:
    """One run; returns the exit code."""
    level = logging.INFO if os.environ.get("VERBOSE") else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
    try:
        folder = Path(os.environ["STATEMENTS_DIR"])
        sink = os.environ["BLOCKLIST_SINK"]
        blocklist, exchange = open_exchange()
    except KeyError as error:
        log.error("set %s in the environment", error)
        return 2
    except (BlocklistError, OSError) as error:
        log.error("%s", error)
        return 2
    now = datetime.now(UTC)
    month = arguments[0] if arguments else f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"
    with blocklist, exchange:
        steps: dict[str, Callable[[], None]] = {
            "the sync": lambda: sync(blocklist),
            "enforcement": lambda: enforce_changes(blocklist, sink),
            "the receipts": lambda: send(blocklist, exchange),
            "the statement": lambda: write_statement(blocklist, folder, month, now),
        }
        failed = 0
        for name, step in steps.items():
            try:
                step()
            except (BlocklistError, OSError) as error:  # the later steps still run
                log.error("%s failed: %s", name, error)
                failed = 1
    return failed


def sync(blocklist: Blocklist) -> None:
    """Fetch what is new; whatever fails, the last verified list goes on serving."""
    result = blocklist.sync()
    log.info("synced release %s: %d added, %d removed", result.after, result.added, result.removed)


def enforce_changes(blocklist: Blocklist, url: str) -> None:
    """Bring the sink to what is in force."""
    with closing(open_sink(url, feed=blocklist.feed)) as sink:
        result = enforce(blocklist, sink, name=SINK)
    log.info("enforced: %s", dict(result.outcomes) or "nothing to do")
    if result.waiting is not None or result.newly_set_aside:
        log.error("a part waits for a person: run blocklist enforce --name %s", SINK)


def send(blocklist: Blocklist, exchange: ExchangeClient) -> None:
    """Send what the exchange has not acknowledged yet."""
    with Ledger.outbox(ledger_path(blocklist, SINK), feed=blocklist.feed) as ledger:
        result = send_receipts(ledger, exchange)
    log.info("receipts: %d sent, %d repeated, %d refused", result.sent, result.repeated, result.refused)


def write_statement(blocklist: Blocklist, folder: Path, month: str, now: datetime) -> None:
    """Write a month's statement, unless it is written already, or the ledger is younger than the month."""
    page = folder / f"{month}.html"
    if page.exists():
        return
    with Ledger.read(ledger_path(blocklist, SINK), feed=blocklist.feed) as ledger:
        try:
            statement = monthly_statement(ledger, month, now=now)
        except BlocklistError as error:
            log.info("no statement of %s: %s", month, error)
            return
    part = page.with_suffix(".part")
    part.write_text(statement_html(statement), encoding="utf-8")
    part.replace(page)
    block = statement.operations["block"]
    log.info("statement: %d blocks received, %d enforced, %d open", block.received, block.enforced, block.open)


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
