"""`AsyncBlocklist`: a list in a program that runs on asyncio or trio.

Look-ups are ordinary calls, since they take microseconds; what takes longer runs in a worker thread.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack

from anyio import CancelScope, to_thread

from blocklist_sdk.fetch.stopping import StopSignal
from blocklist_sdk.numbers import Form
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.recipient.current_list import WhenStale
from blocklist_sdk.records import Entry, Scope, Status, SyncResult, Verdict
from blocklist_sdk.release.limits import ROWS_MAX

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.fetch.transport import TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable
    from blocklist_sdk.recipient.background import BackgroundSync
    from blocklist_sdk.recipient.from_settings import ListArguments
    from blocklist_sdk.recipient.guard import Guard


class AsyncBlocklist:
    """One feed, as a recipient holds it, for asynchronous programs. Made by `AsyncBlocklist.open`.

    Use it like this::

        async with AsyncBlocklist.open(url, feed="id-messaging", root="root.json", region="ID") as blocklist:
            async with blocklist.keep_synced(every=3600):
                ...

    Attributes:
        blocklist: the list itself, for methods that this class lacks. They block the event loop.
    """

    def __init__(self, blocklist: Blocklist) -> None:
        """Wrap a list that is open already."""
        self.blocklist = blocklist

    @classmethod
    def open(
        cls,
        url: str,
        *,
        feed: str,
        root: str | Path | bytes,
        region: str | None = None,
        form: Form = "auto",
        cache_dir: str | Path | None = None,
        state_dir: str | Path | None = None,
        protected: str | Path | Iterable[str | int] = (),
        guard: "Guard | Literal['default'] | None" = "default",
        max_rows: int = ROWS_MAX,
        when_stale: WhenStale = "serve",
        auth: "httpx.Auth | None" = None,
        tls: "ssl.SSLContext | None" = None,
        transport: "TransportSettings | None" = None,
        group: str | int | None = None,
        file_mode: str | int | None = None,
    ) -> Self:
        """Open a feed: see `Blocklist.open`."""
        return cls(
            Blocklist.open(
                url,
                feed=feed,
                root=root,
                region=region,
                form=form,
                cache_dir=cache_dir,
                state_dir=state_dir,
                protected=protected,
                guard=guard,
                max_rows=max_rows,
                when_stale=when_stale,
                auth=auth,
                tls=tls,
                transport=transport,
                group=group,
                file_mode=file_mode,
            )
        )

    @classmethod
    def from_settings(cls, path: str | Path | None = None, **given: "Unpack[ListArguments]") -> Self:
        """Open the feed that the settings name: see `Blocklist.from_settings`."""
        return cls(Blocklist.from_settings(path, **given))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the list: see `Blocklist.close`."""
        self.blocklist.close()

    async def sync(self, *, wait_s: float = 60.0, accept: int | str | None = None) -> SyncResult:
        """Bring the feed up to date, in a worker thread: see `Blocklist.sync`.

        If the task is cancelled, the download is cut and the call returns at once. What cannot be cut ends soon after,
        and either puts a whole verified release in force or changes nothing.
        """
        stop = StopSignal()
        try:
            return await to_thread.run_sync(
                partial(self.blocklist.sync, wait_s=wait_s, accept=accept, stop=stop), abandon_on_cancel=True
            )
        finally:
            stop.set()

    @contextlib.asynccontextmanager
    async def keep_synced(self, every: float | timedelta = 3600.0) -> AsyncIterator["BackgroundSync"]:
        """Sync again and again during an ``async with`` block, in its own thread: see `Blocklist.keep_synced`."""
        background = self.blocklist.keep_synced(every)
        try:
            yield background
        finally:
            # Not even cancellation leaves it running; it takes a second at most.
            with CancelScope(shield=True):
                await to_thread.run_sync(background.stop)

    def __contains__(self, number: str | int) -> bool:
        """Whether the number is blocked now, for any scope: see `Blocklist.__contains__`."""
        return number in self.blocklist

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """What to do about a number, now, and why: see `Blocklist.check`."""
        return self.blocklist.check(number, scope=scope)

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry that covers the number, in force or not: see `Blocklist.entries`."""
        return self.blocklist.entries(number)

    def status(self) -> Status:
        """The state of the list: see `Blocklist.status`."""
        return self.blocklist.status()

    async def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """Answer for a whole column of numbers, row for row, in a worker thread: see `Blocklist.screen`."""
        return await to_thread.run_sync(partial(self.blocklist.screen, column, scope=scope), abandon_on_cancel=True)
