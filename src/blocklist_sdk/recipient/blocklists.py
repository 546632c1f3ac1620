"""`Blocklists`: several feeds, asked as one."""

import logging
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, get_args

from blocklist_sdk.errors import BlocklistError, InvalidInput, NotSynced
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.records import Entry, Reason, Scope, SyncResult, Verdict

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable

log = logging.getLogger(__name__)

_PRECEDENCE: Final[tuple[Reason, ...]] = get_args(Reason)
"""What goes before what, also between feeds: a number that one feed's authority protects, or that you allow on one, is
blocked by none of them."""


class Blocklists:
    """Several feeds, say a national one and a bank association's, asked as one.

    Each feed keeps its entries, its overrides and its cursor; what one retracts never lifts what another lists. A feed
    may be switched off and on again. May be shared by threads.
    """

    def __init__(self, blocklists: Iterable[Blocklist]) -> None:
        """Ask these as one; they stay yours to close, or leave it to a ``with`` block around this.

        Args:
            blocklists: each of another feed's name, of one authority or of several. Open them with the same region, or
                a number in national form is one for some of them only.

        Raises:
            InvalidInput: there are none, or two are of the same name.
        """
        given = list(blocklists)
        self._all = {blocklist.feed: blocklist for blocklist in given}
        if not given or len(self._all) < len(given):
            raise InvalidInput("give at least one feed, and none twice: their names tell verdicts apart")
        self._off: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all feeds."""
        for blocklist in self._all.values():
            blocklist.close()

    @property
    def feeds(self) -> tuple[str, ...]:
        """The names of all feeds, also of those that are off."""
        return tuple(self._all)

    def __getitem__(self, feed: str) -> Blocklist:
        """One feed, on or off.

        Raises:
            InvalidInput: there is none of that name.
        """
        try:
            return self._all[feed]
        except KeyError as error:
            raise InvalidInput(f"there is no feed {feed!r} here, only: {', '.join(self._all)}") from error

    def switch(self, feed: str, *, on: bool) -> None:
        """Leave a feed out of every answer, or take it in again. It goes on syncing.

        Raises:
            InvalidInput: there is none of that name.
        """
        self[feed]
        self._off = self._off - {feed} if on else self._off | {feed}

    def is_on(self, feed: str) -> bool:
        """Whether a feed is asked.

        Raises:
            InvalidInput: there is none of that name.
        """
        self[feed]
        return feed not in self._off

    def sync(self, *, wait_s: float = 60.0) -> dict[str, SyncResult | BlocklistError]:
        """Bring every feed up to date; one that fails keeps none of the others from it.

        Args:
            wait_s: how long to wait, in seconds, while another process syncs the same feed.

        Returns:
            For each feed what became of it: its result, or the error that `Blocklist.sync` raised.
        """
        outcome: dict[str, SyncResult | BlocklistError] = {}
        for feed, blocklist in self._all.items():
            try:
                outcome[feed] = blocklist.sync(wait_s=wait_s)
            except BlocklistError as error:
                outcome[feed] = error
        return outcome

    def __contains__(self, number: str | int) -> bool:
        """Whether the number is blocked now by any feed that is on, for any scope.

        Raises:
            InvalidNumber: it is no number.
            NotSynced: none of the feeds was ever synced.
        """
        # Where one blocks it, another may protect it, or you may allow it there.
        return any(number in blocklist for blocklist in self._asked()) and self.check(number).blocked

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """What to do about a number, now, and why: the verdict of the feed that decides, with the entries of all.

        Args:
            number: as for `Blocklist.check`.
            scope: as for `Blocklist.check`.

        Raises:
            InvalidNumber, InvalidInput: as for `Blocklist.check`.
            NotSynced: none of the feeds was ever synced.
        """
        verdicts = self.verdicts(number, scope=scope)
        first = min(verdicts.values(), key=lambda verdict: _PRECEDENCE.index(verdict.reason))
        return Verdict(
            number=first.number,
            blocked=first.blocked,
            level=first.level,
            reason=first.reason,
            entries=tuple(entry for verdict in verdicts.values() for entry in verdict.entries),
            feed=first.feed,
            serial=first.serial,
            as_of=first.as_of,
            stale=first.stale,
            override=first.override,
        )

    def verdicts(self, number: str | int, *, scope: Scope | None = None) -> dict[str, Verdict]:
        """What each feed that is on says by itself.

        Raises:
            InvalidNumber, InvalidInput, NotSynced: as for `check`.
        """
        return {blocklist.feed: blocklist.check(number, scope=scope) for blocklist in self._asked()}

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry that covers the number on any feed that is on, in force or not.

        Raises:
            InvalidNumber, NotSynced: as for `check`.
        """
        return [entry for blocklist in self._asked() for entry in blocklist.entries(number)]

    def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """Ask about a whole column, row for row, as `Blocklist.screen` does; ``feed`` says which one decides.

        Raises:
            InvalidInput, NotSynced: as for `Blocklist.screen`.
        """
        from blocklist_sdk.recipient.screening.columns import arrow_column
        from blocklist_sdk.recipient.screening.several import first_of

        numbers = arrow_column(column)
        answers = {blocklist.feed: blocklist.screen(numbers, scope=scope) for blocklist in self._asked()}
        table: ArrowTable = first_of(answers, _PRECEDENCE)
        return table

    def _asked(self) -> Iterator[Blocklist]:
        """The feeds that are on and were ever synced; one that was not says nothing, loudly.

        Raises:
            NotSynced: none was.
        """
        silent: list[str] = []
        found = False
        for feed, blocklist in self._all.items():
            if feed in self._off:
                continue
            if blocklist.is_synced():
                found = True
                yield blocklist
            else:
                silent.append(feed)
        if not found and not silent:
            raise NotSynced("every feed is switched off: nobody is asked")
        if not found:
            raise NotSynced(f"none of the feeds {', '.join(silent)} was ever synced on this machine")
        if silent:
            log.warning("feeds that were never synced say nothing: %s", ", ".join(silent))
