"""The exchange's guard: which listings of a feed's next release wait for an officer, and what is published meanwhile.

Pure. What a listing blocks is judged as every guard does, now and a day ahead (`release.blocking`). Only what begins to
block can wait. Everything else, above all what ceases to block, is published whatever the guard says.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.impact import surprising_changes
from blocklist_sdk.publisher.results import SurprisingChange
from blocklist_sdk.release.arrow import SCHEMA, from_table
from blocklist_sdk.release.blocking import DAY_MS, blocking_change
from blocklist_sdk.release.merge import difference
from blocklist_sdk.release.rows import FOREVER_MS, Rows

_DAY: Final = timedelta(milliseconds=DAY_MS)


class Content(NamedTuple):
    """What a release shows of a listing. `scope` is as in a release, such as ``sms+voice``."""

    level: str
    category: str
    scope: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class NextEntry:
    """A listing as it would be on the next release.

    Attributes:
        listing: the listing's ID in the database.
        case: its case.
        number: the number, as an E.164 integer.
        entry: its entry ID; a free one if it has none yet.
        urgent: whether it does not wait for the cycle.
        wished: what the decisions say.
        published: what the current release shows; None if it does not have it.
    """

    listing: int
    case: int
    number: int
    entry: int
    urgent: bool
    wished: Content
    published: Content | None

    def begins(self, now: datetime) -> bool:
        """Whether it begins to block its number in a scope, now or a day ahead; an end that is put off is no beginning.

        So does the judge of every guard: `blocklist_sdk.release.blocking.blocking_change`.
        """
        until_then: frozenset[str] = frozenset()
        for at in (now, now + _DAY):
            if self.published is not None:
                until_then |= _blocked(self.published, at)
            if _blocked(self.wished, at) - until_then:
                return True
        return False

    def without_gain(self) -> Content | None:
        """What is published while its gain waits: where both contents block; None if it is not published at all.

        Where they have nothing in common it is the new content as an advisory, which blocks nobody. The entry stays, so
        that its ID does: an ID that has left the list cannot come back.
        """
        was, will = self.published, self.wished
        if was is None:
            return None
        common = sorted({*was.scope.split("+")} & {*will.scope.split("+")})
        since = max(was.since, will.since)
        until = min((end for end in (was.until, will.until) if end is not None), default=None)
        if "block" == was.level == will.level and common and (until is None or since < until):
            return Content("block", will.category, "+".join(common), since, until)
        return will._replace(level="advisory")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard says about a feed's next release.

    Attributes:
        held: IDs of the listings that wait for an officer; empty if nothing does.
        digest: a hash of what waits, so that an officer can accept this and nothing else.
        reasons: why it waits.
        added: how many numbers it would begin to block.
        blocked: how many numbers the current release blocks.
        examples: the twenty most surprising of what waits.
    """

    held: frozenset[int] = frozenset()
    digest: str = ""
    reasons: tuple[str, ...] = ()
    added: int = 0
    blocked: int = 0
    examples: tuple[SurprisingChange, ...] = ()


def judge(
    current: Rows, wished: Sequence[NextEntry], *, guard: PublisherGuard, feed: str, region: str, now: datetime
) -> Verdict:
    """Judge a feed's next release.

    If the guard refuses the whole of it and would let through what is urgent alone, only the routine part waits.

    Args:
        current: the current release; empty if there is none.
        wished: the listings of the next release.
        guard: its limits.
        feed: the feed's name.
        region: the exchange's region.
        now: this moment.
    """
    gains = {each.listing: each for each in wished if each.begins(now)}
    reasons, added, blocked = _refusals(current, wished, (), guard=guard, now=now)
    if not reasons:
        return Verdict()
    routine = frozenset(listing for listing, each in gains.items() if not each.urgent)
    is_enough = 0 < len(routine) < len(gains) and not _refusals(current, wished, routine, guard=guard, now=now)[0]
    held = routine if is_enough else frozenset(gains)
    if is_enough:
        added = _begun(publishable(wished, held), publishable(wished, ()), now=now)
    return Verdict(
        held=held,
        digest=digest_of(gains[listing] for listing in held),
        reasons=reasons,
        added=added,
        blocked=blocked,
        examples=_examples(wished, held, feed=feed, region=region, now=now),
    )


def publishable(wished: Iterable[NextEntry], held: Collection[int]) -> list[tuple[NextEntry, Content]]:
    """What a release shows while some of its listings wait."""
    shown = ((each, each.without_gain() if each.listing in held else each.wished) for each in wished)
    return [(each, content) for each, content in shown if content is not None]


def digest_of(waiting: Iterable[NextEntry]) -> str:
    """A hash of what waits, whatever else is on the list: SHA-256, hexadecimal. Entry IDs are left out."""
    lines = sorted((each.listing, each.number, *map(_plain, each.wished)) for each in waiting)
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def table_of(shown: Sequence[tuple[NextEntry, Content]], *, issuer: str) -> pa.Table:
    """Listings in the columns of a release, which the publisher takes as they are."""
    columns: dict[str, list[object]] = {
        "number": [each.number for each, _ in shown],
        "last": [None] * len(shown),
        "entry": [each.entry for each, _ in shown],
        "issuer": [issuer] * len(shown),
    }
    for name in Content._fields:
        columns[name] = [getattr(content, name) for _, content in shown]
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def published_contents(current: Rows, entries: Sequence[int]) -> Mapping[int, Content]:
    """What the current release shows of those of the entries that it has."""
    by_entry = np.argsort(current.entry, kind="stable")
    wanted = np.array(entries, np.int64)
    place = np.searchsorted(current.entry[by_entry], wanted)
    found: dict[int, Content] = {}
    for entry, position in zip(entries, place.tolist(), strict=True):
        if position < len(by_entry) and int(current.entry[by_entry[position]]) == entry:
            found[entry] = _content_at(current, int(by_entry[position]))
    return found


def signed_contents(rows: Rows) -> dict[int, tuple[int, Content]]:
    """The number and the content of each entry."""
    numbers, entries = rows.number.tolist(), rows.entry.tolist()
    return {
        entry: (number, _content_at(rows, at)) for at, (entry, number) in enumerate(zip(entries, numbers, strict=True))
    }


def _content_at(rows: Rows, at: int) -> Content:
    level, category, scope = (texts.values[texts.codes[at]] for texts in (rows.level, rows.category, rows.scope))
    until = int(rows.until[at])
    return Content(
        level,
        category,
        scope,
        times.from_ms(int(rows.since[at])),
        None if until == FOREVER_MS else times.from_ms(until),
    )


def _blocked(content: Content, at: datetime) -> frozenset[str]:
    """The scopes in which a listing blocks at a moment."""
    is_in_force = content.since <= at and (content.until is None or at < content.until)
    return frozenset(content.scope.split("+")) if content.level == "block" and is_in_force else frozenset()


def _refusals(
    current: Rows, wished: Sequence[NextEntry], held: Collection[int], *, guard: PublisherGuard, now: datetime
) -> tuple[tuple[str, ...], int, int]:
    """Why the guard refuses a release, how many numbers it begins to block, and how many are blocked now."""
    change = blocking_change(current, _rows(publishable(wished, held)), now_ms=times.to_ms(now))
    return guard.refusals(change), change.added, change.before


def _begun(
    before: Sequence[tuple[NextEntry, Content]], after: Sequence[tuple[NextEntry, Content]], *, now: datetime
) -> int:
    return blocking_change(_rows(before), _rows(after), now_ms=times.to_ms(now)).added


def _examples(
    wished: Sequence[NextEntry], held: Collection[int], *, feed: str, region: str, now: datetime
) -> tuple[SurprisingChange, ...]:
    old, new = _rows(publishable(wished, held)), _rows(publishable(wished, ()))
    change = blocking_change(old, new, now_ms=times.to_ms(now))
    return surprising_changes(difference(old, new), change, feed=feed, region=region)


def _rows(shown: Iterable[tuple[NextEntry, Content]]) -> Rows:
    """The same in canonical order."""
    return from_table(table_of(sorted(shown, key=lambda each: (each[0].number, each[0].entry)), issuer=""))


def _plain(value: object) -> str | None:
    return times.iso(value) if isinstance(value, datetime) else None if value is None else str(value)
