"""`Blocklists`: several feeds, asked as one."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self, Unpack, cast, get_args

from blocklist_sdk.errors import BlocklistError, InvalidInput, NotSynced, not_pickled, unexpected
from blocklist_sdk.recipient.blocklist import Blocklist, asked_internals_of, screening_of, verdict_of
from blocklist_sdk.records import Entry, Reason, Scope, SyncResult, Verdict

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable
    from blocklist_sdk.recipient.from_settings import ListArguments
    from blocklist_sdk.release.audit import AuditRecord

log: logging.Logger = logging.getLogger(__name__)

_PRECEDENCE: Final[tuple[Reason, ...]] = get_args(Reason)
"""The order in which reasons decide, also between feeds: a number that you protect or allow on one feed is not blocked
by any of them. What an authority protects is lifted on its own feeds, and does not decide for others that list it."""


class Blocklists:
    """Several feeds, say a national one and a bank association's, asked as one.

    Each feed keeps its entries, its overrides and its cursor; what one feed retracts never lifts an entry of another.
    A feed may be disabled and enabled again. May be shared by threads.
    """

    def __init__(self, blocklists: Iterable[Blocklist], *, protects: Iterable[str] = ()) -> None:
        """Combine open lists. Close them yourself, or use this in a ``with`` block.

        Args:
            blocklists: lists of feeds with different names, of one authority or of several. Open them with the same
                region, or some of them cannot read numbers in national form.
            protects: names of feeds whose authorities' protected numbers no feed may block. By default those of an
                authority are lifted on its own feeds only: those of the same URL or root.

        Raises:
            InvalidInput: `blocklists` is empty, two feeds have the same name, or `protects` names another one.
        """
        given = list(blocklists)
        self._all = {blocklist.feed: blocklist for blocklist in given}
        if not given or len(self._all) < len(given):
            raise InvalidInput("give at least one feed, and each feed once: verdicts are told apart by the feed's name")
        self._off: frozenset[str] = frozenset()
        self._protects = frozenset((protects,) if isinstance(protects, str) else protects)
        for feed in sorted(self._protects):
            self[feed]
        self._authority = _authorities(given)

    @classmethod
    def from_settings(
        cls,
        *paths: str | Path,
        feeds: Iterable[str] = (),
        protects: Iterable[str] = (),
        **given: "Unpack[ListArguments]",
    ) -> Self:
        """Open several feeds that settings name; each as `Blocklist.from_settings` opens it.

        Args:
            paths: settings files, one for each authority; by default the one that the commands read.
            feeds: the feeds of each file; by default the one that the file names. A file names a single feed, since the
                commands are about one.
            protects: as for `Blocklists`.
            given: arguments of `Blocklist.open` for all of them; they go before the settings.

        Raises:
            InvalidInput: as for `Blocklist.from_settings` and `Blocklists`.
        """
        names = [feeds] if isinstance(feeds, str) else list(feeds)
        each: list[ListArguments] = [cast("ListArguments", {**given, "feed": name}) for name in names] or [given]
        return cls(
            [Blocklist.from_settings(path, **arguments) for path in paths or (None,) for arguments in each],
            protects=protects,
        )

    def __reduce__(self) -> NoReturn:
        raise not_pickled(
            "a Blocklists", "open its feeds in each process, with the same arguments or from the same settings"
        )

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
        """The names of all feeds, disabled ones included."""
        return tuple(self._all)

    def __getitem__(self, feed: str) -> Blocklist:
        """One feed, enabled or not.

        Raises:
            InvalidInput: no feed has that name.
        """
        try:
            return self._all[feed]
        except KeyError as error:
            raise InvalidInput(f"no feed is named {feed!r}; the feeds are: {', '.join(self._all)}") from error

    def switch(self, feed: str, *, on: bool) -> None:
        """Leave a feed out of every answer, or include it again. It is synced in either case.

        Raises:
            InvalidInput: no feed has that name.
        """
        self[feed]
        self._off = self._off - {feed} if on else self._off | {feed}

    def is_on(self, feed: str) -> bool:
        """Whether a feed is enabled.

        Raises:
            InvalidInput: no feed has that name.
        """
        self[feed]
        return feed not in self._off

    def sync(self, *, wait_s: float = 60.0) -> dict[str, SyncResult | BlocklistError]:
        """Bring every feed up to date; if one fails, the others are still synced.

        Args:
            wait_s: how long to wait, in seconds, while another process syncs the same feed.

        Returns:
            For each feed its result, or the error that `Blocklist.sync` raised. An exception that is none of this
            library's is the cause of a `BlocklistError`.
        """
        outcome: dict[str, SyncResult | BlocklistError] = {}
        for feed, blocklist in self._all.items():
            try:
                outcome[feed] = blocklist.sync(wait_s=wait_s)
            except BlocklistError as error:
                outcome[feed] = error
            except Exception as error:  # noqa: BLE001 -- whatever it is, the other feeds must be synced
                outcome[feed] = unexpected(error)
        return outcome

    def audit_record(self) -> "AuditRecord":
        """The audit heads that were seen of every feed, see `Blocklist.audit_record`.

        Of feeds with the same URL, heads of equal length must be equal as well.

        Raises:
            StorageFailed: a record cannot be read.
        """
        from blocklist_sdk.recipient.audit import record_of

        return record_of(file for each in self._all.values() for file in asked_internals_of(each).seen_audit_heads())

    def __contains__(self, number: str | int) -> bool:
        """Whether the number is blocked now by any enabled feed, for any scope.

        Raises:
            InvalidNumber: `number` is not a telephone number.
            NotSynced: none of the feeds was ever synced.
        """
        # If one feed blocks it, another may protect it, or you may allow it there.
        return any(number in blocklist for blocklist in self._asked()) and self.check(number).blocked

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """What to do about a number, now, and why: the verdict of the feed that decides, with the entries of all.

        Arguments are as for `Blocklist.check`.

        Raises:
            InvalidNumber, InvalidInput: as for `Blocklist.check`.
            NotSynced: none of the feeds was ever synced.
        """
        verdicts = self.verdicts(number, scope=scope)
        first = self._deciding(verdicts)
        scope_listed = self._scope_listed(scope, [verdict.scope_listed for verdict in verdicts.values()])
        entries = tuple(entry for verdict in verdicts.values() for entry in verdict.entries)
        # The clock is the machine's, whichever feed proves that it is behind.
        behind = [verdict.clock_behind_s for verdict in verdicts.values() if verdict.clock_behind_s is not None]
        return replace(first, entries=entries, scope_listed=scope_listed, clock_behind_s=max(behind, default=None))

    def verdicts(self, number: str | int, *, scope: Scope | None = None) -> dict[str, Verdict]:
        """The verdict of each enabled feed by itself.

        Raises:
            InvalidNumber, InvalidInput, NotSynced: as for `check`.
        """
        return {blocklist.feed: verdict_of(blocklist, number, scope=scope) for blocklist in self._asked()}

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry on any enabled feed that covers the number, in force or not.

        Raises:
            InvalidNumber, NotSynced: as for `check`.
        """
        return [entry for blocklist in self._asked() for entry in blocklist.entries(number)]

    def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """Answer for a whole column, row for row, as `Blocklist.screen` does; ``feed`` is the feed that decides.

        Raises:
            InvalidInput, NotSynced: as for `Blocklist.screen`.
        """
        from blocklist_sdk.recipient.screening.columns import arrow_column
        from blocklist_sdk.recipient.screening.several import first_of

        numbers = arrow_column(column)
        screenings = {blocklist.feed: screening_of(blocklist, scope=scope) for blocklist in self._asked()}
        self._scope_listed(scope, [screening.scope_listed for screening in screenings.values()])
        answers = {feed: screening.table(numbers) for feed, screening in screenings.items()}
        asked = [self._all[feed] for feed in answers]
        table: ArrowTable = first_of(
            answers,
            _PRECEDENCE,
            authorities=[self._authority[feed] for feed in answers],
            protect_all=[feed in self._protects for feed in answers],
            own_protected=frozenset().union(*(_own_protected(blocklist) for blocklist in asked)),
        )
        return table

    def _deciding(self, verdicts: dict[str, Verdict]) -> Verdict:
        """The verdict that decides; `first_of` in `screening/several.py` does the same for columns."""
        limited = {
            feed
            for feed, verdict in verdicts.items()
            if verdict.reason == "protected"
            and feed not in self._protects
            and not any(verdict.number in _own_protected(self._all[each]) for each in verdicts)
        }
        lifted = {self._authority[feed] for feed in limited}

        def rank(feed: str) -> float:
            if feed in limited:
                # Before what is no block by itself.
                return _PRECEDENCE.index("listed") + 0.5
            if verdicts[feed].reason != "protected" and self._authority[feed] in lifted:
                return len(_PRECEDENCE)
            return _PRECEDENCE.index(verdicts[feed].reason)

        return verdicts[min(verdicts, key=rank)]

    def _scope_listed(self, scope: Scope | None, answers: Sequence[bool | None]) -> bool | None:
        """Whether any enabled feed lists a scope, from each feed's own answer; if none does, that is logged."""
        if scope is None or True in answers or False not in answers:
            return True if True in answers else None
        for blocklist in self._asked():
            asked_internals_of(blocklist).current.warn_of_scope(scope)
        return False

    def _asked(self) -> Iterator[Blocklist]:
        """The enabled feeds that were ever synced; a warning names those that were not.

        Raises:
            NotSynced: none of them was.
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
            raise NotSynced("no feed is enabled, so nothing can be looked up")
        if not found:
            raise NotSynced(f"none of the feeds {', '.join(silent)} was ever synced on this machine")
        if silent:
            log.warning("feeds that were never synced are left out of the answers: %s", ", ".join(silent))


def _own_protected(blocklist: Blocklist) -> frozenset[int]:
    """The numbers that the recipient itself protects."""
    return asked_internals_of(blocklist).current.rules().own_protected


def _authorities(blocklists: Iterable[Blocklist]) -> dict[str, int]:
    """For each feed a number that feeds of the same authority share: those with the same URL, or the same root."""
    found: dict[str, int] = {}
    known: dict[str | bytes, int] = {}
    for place, blocklist in enumerate(blocklists):
        names: tuple[str | bytes, ...] = (blocklist.url, asked_internals_of(blocklist).root)
        same = sorted({known[name] for name in names if name in known})
        authority = same[0] if same else place
        # A feed may be what shows that two others belong together.
        found = {feed: authority if each in same else each for feed, each in found.items()}
        known = {name: authority if each in same else each for name, each in known.items()}
        known |= dict.fromkeys(names, authority)
        found[blocklist.feed] = authority
    return found
