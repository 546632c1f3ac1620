"""A messaging provider's worker: account actions go through a queue, several at a time, and each has its receipt.

`enforce` runs in a thread of its own and hands batches to asynchronous workers; their outcomes become receipts. The
example runs against a sandbox, which is a real exchange on this machine. All numbers are generated.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from blocklist_sdk import AsyncBlocklist, Blocklist
from blocklist_sdk.enforcement import Batch, Outcome, SinkChange, enforce
from blocklist_sdk.sandbox import RECIPIENTS, Sandbox, sandbox

WORKERS = 8
Job = tuple[SinkChange, "asyncio.Future[Outcome]"]


class Accounts:
    """The provider's account service, in memory."""

    def __init__(self) -> None:
        self.suspended: set[int] = set()

    async def act(self, change: SinkChange) -> Outcome:
        """Suspend an account, or restore it."""
        await asyncio.sleep(0.001)  # in production, a call to the service
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
        """Whether nothing is suspended, so that a new ledger may begin; in production, a call to the service."""
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
        except Exception as error:  # noqa: BLE001 -- one account must not hold up the others
            future.set_result(Outcome("failed", type(error).__name__))


async def main(box: Sandbox, blocklist: Blocklist) -> None:
    """Sync and enforce once; in production, again and again."""
    accounts = Accounts()
    queue: asyncio.Queue[Job] = asyncio.Queue(maxsize=1000)
    workers = [asyncio.create_task(work(queue, accounts)) for _ in range(WORKERS)]
    result = await AsyncBlocklist(blocklist).sync()
    sink = QueueSink(queue, asyncio.get_running_loop(), accounts)
    with box.client("chat") as exchange:
        done = await asyncio.to_thread(partial(enforce, blocklist, sink, name="accounts", receipts=exchange))
    assert done.receipts is not None
    print(
        f"release {result.after}: {done.outcomes}, {done.receipts.sent} receipts, {len(accounts.suspended)} suspended"
    )
    for worker in workers:
        worker.cancel()


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox(Path(name, "box"), cases=60) as running,
        running.blocklist("chat") as mine,
    ):
        assert mine.feed == RECIPIENTS["chat"]
        asyncio.run(main(running, mine))
