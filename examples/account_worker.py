"""A messaging provider's worker: account actions go through a queue, several at a time, and each has its receipt.

`enforce` runs in a thread of its own and hands batches to asynchronous workers; their outcomes become receipts. It
syncs and enforces again and again, waits longer after each failure, and ends on SIGTERM or SIGINT after the batch
that is on its way.

Settings come from the environment: BLOCKLIST_URL, BLOCKLIST_FEED, BLOCKLIST_ROOT, BLOCKLIST_REGION,
BLOCKLIST_CACHE_DIR, BLOCKLIST_STATE_DIR, BLOCKLIST_EXCHANGE, BLOCKLIST_CLIENT_ID, BLOCKLIST_CLIENT_SECRET_FILE;
optional is EVERY_S, the seconds between syncs.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from blocklist_sdk import AsyncBlocklist, Blocklist, BlocklistError, ClientCredentials, ExchangeClient
from blocklist_sdk.enforcement import Batch, EnforcementResult, Outcome, SinkChange, enforce

WORKERS = 8
LAST_RETRY_S = 3600.0
Job = tuple[SinkChange, "asyncio.Future[Outcome]"]

log = logging.getLogger("accounts")


class Accounts:
    """The provider's account service: put calls to yours in place of these. This one keeps everything in memory."""

    def __init__(self) -> None:
        self.suspended: set[int] = set()

    async def act(self, change: SinkChange) -> Outcome:
        """Suspend an account, or restore it."""
        await asyncio.sleep(0.001)
        if change.operation == "unblock":
            self.suspended.discard(change.number)
            return Outcome("reversed")
        if change.number % 10 == 3:
            return Outcome("not-ours", "no account has this number")
        self.suspended.add(change.number)
        return Outcome("enforced")


class QueueSink:
    """A sink that puts changes into a queue, and waits until each has been acted on."""

    def __init__(self, queue: "asyncio.Queue[Job]", loop: asyncio.AbstractEventLoop, accounts: Accounts) -> None:
        self._queue = queue
        self._loop = loop
        self._accounts = accounts

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Hand a batch to the workers; called in the thread of `enforce`."""
        return asyncio.run_coroutine_threadsafe(self._act(batch), self._loop).result()

    def is_empty(self) -> bool:
        """Whether nothing is suspended, so that a new ledger may begin, and one that lost all is filled again."""
        return not self._accounts.suspended

    def close(self) -> None:
        """There are no connections to release."""

    async def _act(self, batch: Batch) -> list[Outcome]:
        jobs: list[Job] = [(change, self._loop.create_future()) for change in batch]
        for job in jobs:
            await self._queue.put(job)
        return await asyncio.gather(*(future for _, future in jobs))


async def work(queue: "asyncio.Queue[Job]", accounts: Accounts) -> None:
    """Act on one change after the other."""
    while True:
        change, future = await queue.get()
        try:
            future.set_result(await accounts.act(change))
        except Exception as error:
            log.exception("one account could not be acted on")  # and must not hold up the others
            future.set_result(Outcome("failed", type(error).__name__))


async def run(blocklist: Blocklist, exchange: ExchangeClient, every: float, stopping: asyncio.Event) -> None:
    """Sync and enforce until `stopping` is set."""
    accounts = Accounts()
    queue: asyncio.Queue[Job] = asyncio.Queue(maxsize=1000)
    workers = [asyncio.create_task(work(queue, accounts)) for _ in range(WORKERS)]
    sink = QueueSink(queue, asyncio.get_running_loop(), accounts)
    failures = 0
    while not stopping.is_set():
        wait = every
        try:
            await once(blocklist, partial(enforce, blocklist, sink, name="accounts", receipts=exchange))
            failures = 0
        except BlocklistError as error:
            failures += 1
            wait = min(every * 2.0 ** min(failures, 20), max(every, LAST_RETRY_S)) * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("%s; the next try is in %.0f s", error, wait)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), wait)
    for worker in workers:
        worker.cancel()


async def once(blocklist: Blocklist, enforce_once: "partial[EnforcementResult]") -> None:
    """Sync, and then enforce whether or not that succeeded: what ends must be lifted without the network, too."""
    try:
        result = await AsyncBlocklist(blocklist).sync()
        log.info("release %s is in force", result.after)
    except BlocklistError as error:
        log.warning("the list was not synced, so the one in force is enforced: %s", error)
    done = await asyncio.to_thread(enforce_once)
    log.info("%s, %s receipts sent", dict(done.outcomes) or "nothing to do", done.receipts and done.receipts.sent)
    if done.waiting is not None:
        log.warning("%s changes wait until a person accepts them: blocklist enforce --accept", done.waiting.changes)


async def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every request
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        blocklist, exchange = open_exchange()
        with blocklist, exchange:
            await run(blocklist, exchange, float(os.environ.get("EVERY_S", "900")), stopping)
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
    sys.exit(asyncio.run(main()))
