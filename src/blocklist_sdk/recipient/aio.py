"""`AsyncBlocklist`: a list in a program that runs on asyncio or trio.

Look-ups are ordinary calls, since they take microseconds; what takes longer runs in a worker thread.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, Unpack

from anyio import CancelScope, to_thread

from blocklist_sdk.errors import not_pickled
from blocklist_sdk.fetch.stopping import StopSignal
from blocklist_sdk.numbers import Form
from blocklist_sdk.recipient.aio_overrides import AsyncOverrides
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.recipient.current_list import WhenStale
from blocklist_sdk.recipient.sync_outcomes import Listener
from blocklist_sdk.records import (
    BundleResult,
    Entry,
    Explanation,
    Impact,
    RootReplacement,
    Scope,
    Status,
    SyncResult,
    UpkeepResult,
    Verdict,
    Verification,
)
from blocklist_sdk.release.limits import ROWS_MAX

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.fetch.transport import TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable
    from blocklist_sdk.recipient.background import BackgroundSync
    from blocklist_sdk.recipient.changes import Changes
    from blocklist_sdk.recipient.from_settings import ListArguments
    from blocklist_sdk.recipient.guard import Guard
    from blocklist_sdk.recipient.screening.columns import Screening
    from blocklist_sdk.release.audit import AuditRecord


class AsyncBlocklist:
    """One feed, as a recipient holds it, for asynchronous programs. Made by `AsyncBlocklist.open`.

    Use it like this::

        async with AsyncBlocklist.open(url, feed="id-messaging", root="root.json", region="ID") as blocklist:
            async with blocklist.keep_synced(every=3600):
                ...

    Look-ups are ordinary calls. What uses the network, writes, or reads the whole list works in a thread, and is
    awaited.

    Attributes:
        blocklist: the list itself, for code that is not asynchronous. Its slow methods block the event loop.
        overrides: your own decisions, which go before the feed's.
        url, feed, region, form: see `Blocklist`.
    """

    def __init__(self, blocklist: Blocklist) -> None:
        """Wrap a list that is open already."""
        self.blocklist: Blocklist = blocklist
        self.overrides: AsyncOverrides = AsyncOverrides(blocklist.overrides)
        self.url: str = blocklist.url
        self.feed: str = blocklist.feed
        self.region: str | None = blocklist.region
        self.form: Form = blocklist.form

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

    @classmethod
    async def open_bundle(
        cls,
        path: str | Path,
        *,
        root: str | Path | bytes,
        feed: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        protected: str | Path | Iterable[str | int] = (),
        overrides: bool = False,
        when_stale: WhenStale = "serve",
        min_release: int | str | None = None,
    ) -> Self:
        """Open a bundle, in a worker thread, since all of it is verified: see `Blocklist.open_bundle`."""
        opened = partial(
            Blocklist.open_bundle,
            path,
            root=root,
            feed=feed,
            region=region,
            form=form,
            protected=protected,
            overrides=overrides,
            when_stale=when_stale,
            min_release=min_release,
        )
        return cls(await to_thread.run_sync(opened, abandon_on_cancel=True))

    async def bundle(self, path: str | Path, *, overrides: bool = False) -> BundleResult:
        """Write the list in force into one file, in a worker thread: see `Blocklist.bundle`.

        It goes on to its end if the task is cancelled.
        """
        return await to_thread.run_sync(partial(self.blocklist.bundle, path, overrides=overrides))

    def __reduce__(self) -> NoReturn:
        raise not_pickled(
            "an AsyncBlocklist", "open it in each process, with the same arguments or from the same settings"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In a thread, since it may wait; also of a task that is cancelled, or what was begun would be left.
        with CancelScope(shield=True):
            await to_thread.run_sync(self.close)

    def close(self) -> None:
        """Close the list: see `Blocklist.close`. It may wait for an upkeep; the end of a block does so in a thread."""
        self.blocklist.close()

    @property
    def root_fingerprint(self) -> str:
        """The fingerprint of the pinned root: see `Blocklist.root_fingerprint`."""
        return self.blocklist.root_fingerprint

    @property
    def root_version(self) -> int | None:
        """The version of the pinned root: see `Blocklist.root_version`."""
        return self.blocklist.root_version

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

    async def upkeep(self) -> UpkeepResult:
        """Do what the list on this disk needs now and then, in a worker thread: see `Blocklist.upkeep`.

        It goes on to its end if the task is cancelled.
        """
        return await to_thread.run_sync(self.blocklist.upkeep)

    async def dry_run(self, *, wait_s: float = 60.0) -> Impact:
        """Say what a sync would change, in a worker thread: see `Blocklist.dry_run`.

        If the task is cancelled, the download is cut and the call returns at once.
        """
        stop = StopSignal()
        try:
            return await to_thread.run_sync(
                partial(self.blocklist.dry_run, wait_s=wait_s, stop=stop), abandon_on_cancel=True
            )
        finally:
            stop.set()

    async def replace_root(self, fingerprint: str, *, dry_run: bool = False, wait_s: float = 60.0) -> RootReplacement:
        """Pin another root for this feed, in a worker thread: see `Blocklist.replace_root`.

        It goes on to its end if the task is cancelled.
        """
        return await to_thread.run_sync(
            partial(self.blocklist.replace_root, fingerprint, dry_run=dry_run, wait_s=wait_s)
        )

    def add_listener(self, listener: Listener) -> None:
        """Call a function after every sync, in the thread that ran it: see `Blocklist.add_listener`.

        That is not the event loop's thread: pass work on with `anyio.from_thread.run_sync` or
        ``loop.call_soon_threadsafe``.
        """
        self.blocklist.add_listener(listener)

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

    def explain(self, number: str | int, *, scope: Scope | None = None) -> Explanation:
        """How a number is read, and everything that decides on it: see `Blocklist.explain`."""
        return self.blocklist.explain(number, scope=scope)

    def status(self) -> Status:
        """The state of the list: see `Blocklist.status`."""
        return self.blocklist.status()

    def is_synced(self) -> bool:
        """Whether there is a verified generation on this machine: see `Blocklist.is_synced`."""
        return self.blocklist.is_synced()

    def screening(self, *, scope: Scope | None = None) -> "Screening":
        """Keep the release in force as it is now: see `Blocklist.screening`.

        Its `table` takes long for a long column: call it in a worker thread.
        """
        return self.blocklist.screening(scope=scope)

    async def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """Answer for a whole column of numbers, row for row, in a worker thread: see `Blocklist.screen`."""
        return await to_thread.run_sync(partial(self.blocklist.screen, column, scope=scope), abandon_on_cancel=True)

    async def to_arrow(self) -> "ArrowTable":
        """The whole list as a `pyarrow.Table`, made in a worker thread: see `Blocklist.to_arrow`."""
        return await to_thread.run_sync(self.blocklist.to_arrow, abandon_on_cancel=True)

    async def changes(self, *, since: int | None, era: int | None = None) -> "Changes":
        """What differs between an earlier release and the one in force, found in a worker thread.

        See `Blocklist.changes`. Iterating over the result is an ordinary loop.
        """
        return await to_thread.run_sync(partial(self.blocklist.changes, since=since, era=era), abandon_on_cancel=True)

    async def hold(self, name: str, serial: int, *, era: int | None = None) -> None:
        """Keep a release on disk, so that `changes` can start from it: see `Blocklist.hold`."""
        await to_thread.run_sync(partial(self.blocklist.hold, name, serial, era=era))

    async def release_hold(self, name: str) -> bool:
        """End a hold; False if nothing was held under that name: see `Blocklist.release_hold`."""
        return await to_thread.run_sync(partial(self.blocklist.release_hold, name))

    async def audit_record(self) -> "AuditRecord":
        """Every audit head that was seen here, in a worker thread: see `Blocklist.audit_record`."""
        return await to_thread.run_sync(self.blocklist.audit_record, abandon_on_cancel=True)

    async def verify(self) -> Verification:
        """Check every byte, the digest and the signatures, in a worker thread: see `Blocklist.verify`."""
        return await to_thread.run_sync(self.blocklist.verify, abandon_on_cancel=True)
