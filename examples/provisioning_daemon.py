"""An operator's provisioning daemon: syncs in the background, and carries every block and unblock into a sink.

It enforces after every sync with changes, when an entry begins or ends by itself, and every quarter of an hour for
decisions of your own. If the sink or the exchange is unavailable, it waits longer after each failure, and nothing is
lost. SIGTERM and SIGINT end it after the batch that is on its way; systemd should give it the time (TimeoutStopSec=).

Settings come from the environment: BLOCKLIST_URL, BLOCKLIST_FEED, BLOCKLIST_ROOT, BLOCKLIST_REGION,
BLOCKLIST_CACHE_DIR, BLOCKLIST_STATE_DIR, BLOCKLIST_SINK, BLOCKLIST_EXCHANGE, BLOCKLIST_CLIENT_ID,
BLOCKLIST_CLIENT_SECRET_FILE; optional is EVERY_S, the seconds between syncs.
"""

import logging
import os
import random
import signal
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

from blocklist_sdk import Blocklist, BlocklistError, ClientCredentials, ExchangeClient
from blocklist_sdk.enforcement import Sink, enforce, open_sink
from blocklist_sdk.recipient import SyncOutcome

SINK = "hlr"
LONGEST_WAIT_S = 900.0
FIRST_RETRY_S, LAST_RETRY_S = 15.0, 3600.0

log = logging.getLogger("provisioning")


class Daemon:
    """Enforces until `stop` is called."""

    def __init__(self, blocklist: Blocklist, sink: Sink, exchange: ExchangeClient) -> None:
        self._blocklist = blocklist
        self._sink = sink
        self._exchange = exchange
        self._failures = 0
        # What wakes it: True to go on, False to end. This queue allows that a signal interrupts it at any point.
        self._wake: SimpleQueue[bool] = SimpleQueue()

    def run(self, every: float) -> None:
        """Sync every `every` seconds, and enforce."""
        self._blocklist.add_listener(self._on_sync)
        with self._blocklist.keep_synced(every=every):
            while self._goes_on(after=self._once()):
                pass

    def stop(self) -> None:
        """End after the current round."""
        self._wake.put(False)

    def _on_sync(self, outcome: SyncOutcome) -> None:
        if outcome.result is not None and outcome.result.kind != "none":
            log.info("release %s is in force", outcome.result.after)
            self._wake.put(True)

    def _goes_on(self, *, after: float) -> bool:
        """Wait, and say whether there is another round."""
        try:
            is_going_on = self._wake.get(timeout=after)
            while is_going_on:  # several syncs need one round
                is_going_on = self._wake.get_nowait()
        except Empty:
            return True
        return False

    def _once(self) -> float:
        """One round; returns how long to wait then at most, seconds."""
        if not self._blocklist.is_synced():
            return LONGEST_WAIT_S
        try:
            done = enforce(self._blocklist, self._sink, name=SINK, receipts=self._exchange)
        except BlocklistError as error:
            self._failures += 1
            wait = min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 20), LAST_RETRY_S) * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("%s; the next try is in %.0f s", error, wait)
            return wait
        self._failures = 0
        if done.outcomes:
            log.info("release %s: %s", done.serial, dict(done.outcomes))
        if done.waiting is not None:
            log.warning("%s changes wait until a person accepts them: blocklist enforce --accept", done.waiting.changes)
        if done.set_aside:
            log.warning("%d items are set aside: look at them", done.set_aside)
        if done.next_change is None:
            return LONGEST_WAIT_S
        return min(LONGEST_WAIT_S, max(0.0, (done.next_change - datetime.now(UTC)).total_seconds()))


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
    try:
        blocklist, exchange = open_exchange()
        with blocklist, exchange, closing(open_sink(os.environ["BLOCKLIST_SINK"], feed=blocklist.feed)) as sink:
            daemon = Daemon(blocklist, sink, exchange)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: daemon.stop())
            daemon.run(float(os.environ.get("EVERY_S", "900")))
    except KeyError as error:
        log.error("set %s in the environment", error)
        return 2
    except (BlocklistError, OSError) as error:  # a setting is wrong: another start would not correct it
        log.error("%s", error)
        return 2
    log.info("ended")
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
    sys.exit(main())
