"""`AsyncOverrides`: a recipient's own decisions, in a program that runs on asyncio or trio."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn

from anyio import to_thread

from blocklist_sdk.errors import not_pickled
from blocklist_sdk.numbers.reach import MAX_COVER
from blocklist_sdk.recipient.cache.overrides import ImportResult, Overrides
from blocklist_sdk.records import Override

if TYPE_CHECKING:
    from blocklist_sdk.tables.options import TableOptions


class AsyncOverrides:
    """The overrides of one feed, for asynchronous programs; use `AsyncBlocklist.overrides`.

    Every call works in a thread, since it reads or writes a file and may wait for another process. One that writes goes
    on to its end if its task is cancelled, so that a decision is never made unnoticed.
    """

    def __init__(self, overrides: Overrides) -> None:
        """For `AsyncBlocklist`; not for users."""
        self._overrides = overrides

    def __reduce__(self) -> NoReturn:
        raise not_pickled("an AsyncOverrides", "take those of a list that each process opens")

    async def allow(
        self,
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> Override:
        """Never block a number or a range: see `Overrides.allow`."""
        allow = partial(self._overrides.allow, number, reason=reason, until=until, author=author, max_cover=max_cover)
        return await to_thread.run_sync(allow)

    async def block(
        self,
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> Override:
        """Block a number or a range for every scope: see `Overrides.block`."""
        block = partial(self._overrides.block, number, reason=reason, until=until, author=author, max_cover=max_cover)
        return await to_thread.run_sync(block)

    async def decide(
        self,
        decision: Literal["allow", "block"],
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> tuple[Override, ...]:
        """Allow or block, and return a decision for each range of a pattern: see `Overrides.decide`."""
        decide = partial(
            self._overrides.decide, decision, number, reason=reason, until=until, author=author, max_cover=max_cover
        )
        return await to_thread.run_sync(decide)

    async def remove(self, number: str | int) -> bool:
        """Remove the decision on exactly a number, range or pattern: see `Overrides.remove`."""
        return await to_thread.run_sync(partial(self._overrides.remove, number))

    async def removals(self) -> dict[tuple[int, int], datetime]:
        """The decisions that somebody removed in the last 400 days: see `Overrides.removals`."""
        return await to_thread.run_sync(self._overrides.removals, abandon_on_cancel=True)

    async def get(self, number: str | int) -> Override | None:
        """The decision on exactly a number or range: see `Overrides.get`."""
        return await to_thread.run_sync(partial(self._overrides.get, number), abandon_on_cancel=True)

    async def load(self) -> list[Override]:
        """All decisions, by number: see `Overrides.load`."""
        return await to_thread.run_sync(self._overrides.load, abandon_on_cancel=True)

    async def export_csv(self, path: str | Path) -> int:
        """Write all decisions as CSV: see `Overrides.export_csv`."""
        return await to_thread.run_sync(partial(self._overrides.export_csv, path))

    async def import_file(
        self,
        source: Path | str | BinaryIO,
        *,
        author: str | None = None,
        options: "TableOptions | None" = None,
        notify: Callable[[str], None] | None = None,
        max_cover: int = MAX_COVER,
    ) -> ImportResult:
        """Import decisions from a table: see `Overrides.import_file`. `notify` is called in the worker thread."""
        import_file = partial(
            self._overrides.import_file, source, author=author, options=options, notify=notify, max_cover=max_cover
        )
        return await to_thread.run_sync(import_file)
