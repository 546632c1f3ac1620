"""Ends that wait until a person says that the clock is right.

A listing that has ended is closed for good, so a clock that is wrong for a moment must not end them. While the exchange
runs, `exchange_server.clock` sees to that. After a stop nobody has counted the seconds in between: then a clock that is
behind the last moment known, and a run that would end very many listings, wait. Nobody stays blocked by this, since
recipients honour the end of each entry by themselves; and nothing else waits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk import times
from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.store.tables import ClockRow, ListingRow
from blocklist_sdk.texts import counted

_BEHIND: Final = timedelta(minutes=5)
"""Clocks may differ by so much everywhere in this project."""

_NOTED: Final = timedelta(minutes=1)
"""How old the last moment known may become."""

_REMINDED: Final = timedelta(days=1)
_ROW: Final = 1

ALLOWS: Final = "If the clock is right: blocklist exchange publish DIR --accept-clock"


@dataclass(frozen=True, slots=True)
class Ends:
    """Which ends take effect in a run.

    Attributes:
        until: listings that end at this moment or earlier, end.
        held: number of listings that have ended by the clock and stay.
        why: why they stay; None if none have to.
    """

    until: datetime
    held: int = 0
    why: str | None = None


def why_held(*, due: int, listed: int, now: datetime, seen_at: datetime | None, share: float, least: int) -> str | None:
    """Why ends wait for a person; None if they do not.

    Args:
        due: number of listings that would end.
        listed: number of listings.
        now: this moment.
        seen_at: the last moment known; None if there is none.
        share: the share of the listings that may end.
        least: so many may always end.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    >>> why_held(due=20, listed=30, now=now, seen_at=now, share=0.1, least=20)
    >>> why_held(due=21, listed=30, now=now, seen_at=now, share=0.1, least=20)
    '21 of 30 listings would end at once, and at most 20 may'
    >>> why_held(due=0, listed=30, now=now, seen_at=now + timedelta(hours=1), share=0.1, least=20)
    'the clock shows 2026-11-02T12:00:00Z, and the exchange has seen 2026-11-02T13:00:00Z'
    """
    if seen_at is not None and now < seen_at - _BEHIND:
        return f"the clock shows {times.iso(now)}, and the exchange has seen {times.iso(seen_at)}"
    most = max(least, int(listed * share))
    if due > most:
        return f"{due:,} of {counted(listed, 'listing')} would end at once, and at most {most:,} may"
    return None


def judge_ends(session: Session, now: datetime, *, share: float, least: int) -> Ends:
    """Which ends take effect now.

    Args:
        session: one that reads.
        now: this moment.
        share: the share of the listings that may end.
        least: so many may always end.
    """
    clock = session.get(ClockRow, _ROW)
    allowed = times.EPOCH if clock is None or clock.accepted_at is None else min(clock.accepted_at, now)
    active = ListingRow.retracted_at.is_(None) & ListingRow.lifted_at.is_(None)
    count = select(func.count()).select_from(ListingRow).where(active)
    due = session.scalar(count.where(ListingRow.until > allowed, ListingRow.until <= now)) or 0
    listed = (session.scalar(count) or 0) if due > least else due
    seen_at = None if clock is None else clock.seen_at
    why = why_held(due=due, listed=listed, now=now, seen_at=seen_at, share=share, least=least)
    return Ends(now) if why is None else Ends(allowed, due, why)


def is_to_be_noted(session: Session, ends: Ends, now: datetime) -> bool:
    """Whether `note` has something to store."""
    clock = session.get(ClockRow, _ROW)
    if clock is None:
        return True
    if ends.why is not None:
        return clock.alarmed_at is None or abs(now - clock.alarmed_at) >= _REMINDED
    return clock.alarmed_at is not None or now - clock.seen_at >= _NOTED


def note(session: Session, ends: Ends, now: datetime) -> None:
    """Store the last moment known, or raise the alarm, once a day, that ends are held."""
    clock = session.get(ClockRow, _ROW, with_for_update=True)
    if clock is None:
        clock = ClockRow(id=_ROW, seen_at=now, acceptances=0)
        session.add(clock)
    if ends.why is None:
        # What was held while the clock was ahead is not what the exchange has seen.
        clock.seen_at, clock.alarmed_at = max(clock.seen_at, now), None
    elif clock.alarmed_at is None or abs(now - clock.alarmed_at) >= _REMINDED:
        clock.alarmed_at = now
        alarm(
            "ends are held, %s by now: %s. Retractions are published. %s",
            *(counted(ends.held, "listing"), ends.why, ALLOWS),
        )


def accept_clock(session: Session, now: datetime) -> None:
    """Let through every end up to now, and go by the clock as it is: a person has said that it is right."""
    clock = session.get(ClockRow, _ROW, with_for_update=True)
    if clock is None:
        clock = ClockRow(id=_ROW, acceptances=0)
        session.add(clock)
    clock.seen_at = clock.accepted_at = now
    clock.acceptances += 1
    clock.alarmed_at = None


def acceptances(session: Session) -> int:
    """How often a person has said that the clock is right."""
    clock = session.get(ClockRow, _ROW)
    return 0 if clock is None else clock.acceptances
