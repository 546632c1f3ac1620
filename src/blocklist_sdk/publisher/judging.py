"""What the publisher's guard is asked: which moments count, and whether the clock may be wrong."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Self

from blocklist_sdk import times
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.guard import HORIZONS_MS, MONTH_MS, PublisherGuard
from blocklist_sdk.publisher.plans import Plan
from blocklist_sdk.release.blocking import BlockingChange, blocking_change, ended_between
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.published import AHEAD_MAX, seconds_behind
from blocklist_sdk.release.windows import ending_between, growing
from blocklist_sdk.texts import counted


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of a release that is drafted.

    Attributes:
        published: its own.
        since_ms: when its new entries begin, milliseconds since 1970 UTC. If the clock was ahead once, releases stay at
            that moment until it has come; entries begin at once.
        judged_ms: this moment, as the guard takes it: never before the current release, so that a clock that is slow
            does not turn the guard off.
        notice: what a person should know if the release has a moment that this machine's clock has not reached.
    """

    published: datetime
    since_ms: int
    judged_ms: int
    notice: str | None

    @classmethod
    def of(cls, folder: PublisherFolder, published_at: datetime | None, index: FeedIndex | None) -> Self:
        """Look at the clock.

        Raises:
            InvalidInput: as for `PublisherFolder.moment`.
        """
        published = folder.moment(published_at, index)
        clock = folder.timing.clock().replace(microsecond=0)
        judged = clock if index is None else max(clock, index.published_at)
        notice = (
            _said_of(published, published - clock)
            if index is not None and seconds_behind(published, clock) is not None
            else None
        )
        return cls(published, times.to_ms(min(published, clock)), times.to_ms(judged), notice)


def _said_of(published: datetime, ahead: timedelta) -> str:
    """What a person should know of a release that has to keep a moment to come."""
    said = (
        f"the current release is of {times.iso(published)}, {ahead} later than now by this machine's clock, and the "
        "next one keeps that moment: set the clock right"
    )
    if ahead <= AHEAD_MAX:
        return said
    return (
        f"{said}. If it is right, the clock was ahead before: until then recipients refuse each release, unblocks "
        "included, unless a person there has accepted one of that moment. Tell them, or begin the serials anew: "
        "blocklist publish keys rotate --role feed.NAME --restart-serials"
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard says about a draft.

    Attributes:
        change: what it would change of what is blocked.
        refusals: why the guard refuses it; empty if it does not.
        ended: how many blocks have ended since the current release was published, by this machine's clock.
        notice: what a person should know of those; None if they are few.
    """

    change: BlockingChange
    refusals: tuple[str, ...]
    ended: int
    notice: str | None


def judge(
    plan: Plan, index: FeedIndex | None, moments: Moments, *, guard: PublisherGuard, exactly: bool = False
) -> Judgement:
    """Judge a release that is planned.

    What it changes is judged by the rows that decide about that. How much is blocked in all is counted no further than
    it takes to let the release pass.

    Ends that have passed are no removals: a sixth of a list may end each month. If the clock is wrong, they have not
    passed, and whoever compares lists cannot see it. So many of them are said; and where none of the blocks is left,
    more than a month after the release, there is nothing to compare with, and a person has to look at the clock.

    Args:
        plan: the release.
        index: that of the current release; None before the first.
        moments: its moments.
        guard: the limits.
        exactly: whether what is blocked in all is counted to the end, for people; so it is where the guard refuses.
    """
    published_ms = None if index is None else times.to_ms(index.published_at)
    compare = partial(
        blocking_change,
        now_ms=moments.judged_ms,
        horizons_ms=HORIZONS_MS,
        old_published_ms=published_ms,
        new_published_ms=times.to_ms(moments.published),
    )
    # Until the moment of a release has come, a row that is in both may have begun in one of them alone.
    if times.to_ms(moments.published) > moments.judged_ms:
        change = compare(plan.lawful.whole(), plan.after.whole())
    else:
        change = compare(plan.lawful_old, plan.new)
        for part in () if plan.is_whole else growing(plan.lawful):
            if not exactly and not guard.refusals(change):
                break
            change = _of_all(change, compare(part, part))
    refusals = guard.refusals(change)
    if index is None or published_ms is None:
        return Judgement(change, refusals, 0, None)
    ended, blocked = _ended(plan.lawful, since_ms=published_ms, now_ms=moments.judged_ms, guard=guard)
    notice = None
    if guard.is_too_much_removed(ended, blocked):
        now = times.iso(times.from_ms(moments.judged_ms))
        notice = (
            f"{ended:,} of {counted(blocked, 'block')} of release {index.serial} have ended by now, {now} by this "
            "machine's clock: if that is not so, set the clock right"
        )
        is_left = change.before > 0 or any(compare(part, part).before for part in growing(plan.lawful))
        if not is_left and moments.judged_ms - published_ms > MONTH_MS:
            refusals = (*refusals, f"{notice}; nothing that the release blocked is left to compare the list with")
            notice = None
    return Judgement(change, refusals, ended, notice)


def _of_all(change: BlockingChange, counts: BlockingChange) -> BlockingChange:
    """A change of a part of a list, with what more of the list blocks."""
    return replace(
        change,
        before=counts.before,
        after=counts.before + change.after - change.before,
        single_before=counts.single_before,
    )


def _ended(lawful: LayeredRows, *, since_ms: int, now_ms: int, guard: PublisherGuard) -> tuple[int, int]:
    """How many blocks of one moment have ended by another, and how many there were.

    The latter are counted no further than it takes to find the former few.
    """
    ended, blocked = ended_between(
        ending_between(lawful, after_ms=since_ms, until_ms=now_ms), since_ms=since_ms, now_ms=now_ms
    )
    for part in growing(lawful):
        if not guard.is_too_much_removed(ended, blocked):
            break
        _, blocked = ended_between(part, since_ms=since_ms, now_ms=now_ms)
    return ended, blocked
