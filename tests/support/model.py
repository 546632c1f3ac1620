"""A publisher, a recipient and overrides as plain dictionaries: slow, obvious, and without a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from blocklist_sdk import Guard
from support.reference import Answer, Decided, Listing, answer

Key = tuple[int, int]
"""The first and the last number that an entry covers."""

Release = Mapping[Key, Listing]


@dataclass
class PublishedFeed:
    """What a publisher has of one feed.

    Attributes:
        listed: the list as it should be from the next release on; entry ids and starts do not matter there.
        releases: every release by serial; there is none of serial 0.
        moments: when each was published.
        last_entry: the highest entry id ever given out.
    """

    listed: dict[Key, Listing] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=lambda: [{}])
    moments: list[datetime | None] = field(default_factory=lambda: [None])
    last_entry: int = 0

    @property
    def serial(self) -> int:
        return len(self.releases) - 1

    def publishable(self, protected: frozenset[int], at: datetime) -> dict[Key, Listing]:
        """What is neither protected nor over before it began: an entry without one begins with the release."""
        before = self.releases[-1]

        def begins(key: Key) -> datetime:
            return before[key].since if key in before else at

        return {
            key: each
            for key, each in sorted(self.listed.items())
            if not any(map(each.covers, protected)) and (each.until is None or each.until > min(begins(key), at))
        }

    def publish(self, protected: frozenset[int], at: datetime) -> None:
        """Entries that stay keep their id and their start; others get the next ids, in the order of their numbers."""
        before, release = self.releases[-1], {}
        for key, each in self.publishable(protected, at).items():
            if key in before:
                release[key] = replace(each, entry=before[key].entry, since=before[key].since)
            else:
                self.last_entry += 1
                release[key] = replace(each, entry=self.last_entry, since=at)
        self.releases.append(release)
        self.moments.append(at)


@dataclass
class HeldFeed:
    """What a recipient has of one feed.

    Attributes:
        published: the feed.
        answers: serial of the release that answers, None before the first.
        on_disk: serial of the release in force on the disk; none after it was wiped, though the open one still answers.
        generations: serials of all releases on the disk.
        protected: what the authority protects, as of the last sync, refused or not.
        protected_on_disk: the same; none after the disk was wiped, though the open one still knows them.
        overrides: local decisions by the first and the last number, in the order in which they were made; also those
            that have ended.
        holds: serials that are held, by name.
        is_on: whether it is asked.
        refused: the last refusal: of which release, on which, beside which protected numbers, and when.
    """

    published: PublishedFeed
    answers: int | None = None
    on_disk: int | None = None
    generations: set[int] = field(default_factory=set)
    protected: frozenset[int] = frozenset()
    protected_on_disk: frozenset[int] = frozenset()
    overrides: dict[Key, Decided] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    is_on: bool = True
    refused: tuple[tuple[int, int | None, frozenset[int]], datetime] | None = None

    @property
    def release(self) -> Release:
        assert self.answers is not None
        return self.published.releases[self.answers]

    def answer(self, number: int, at: datetime, scope: str | None = None) -> Answer:
        return answer(
            self.release.values(),
            number,
            at,
            scope=scope,
            override=self.deciding(number, at),
            is_protected=number in self.protected,
        )

    def decide(self, key: Key, decided: Decided) -> None:
        self.overrides.pop(key, None)
        self.overrides[key] = decided

    def deciding(self, number: int, at: datetime) -> Decided | None:
        """Of the decisions in force that cover a number the narrowest, then the latest."""
        found = [
            (last - first, -made, decided)
            for made, ((first, last), decided) in enumerate(self.overrides.items())
            if first <= number <= last and (decided.until is None or at < decided.until)
        ]
        return min(found, key=lambda each: each[:2])[2] if found else None

    def deciding_on(self, first: int, last: int, at: datetime) -> set[Key]:
        """The decisions that decide on some of the numbers of an entry."""
        found = (self.deciding(n, at) for n in range(first, last + 1) if n not in self.protected)
        return {key for decided in found if decided for key, each in self.overrides.items() if each is decided}

    def covering(self, number: int) -> list[int]:
        return sorted(each.entry for each in self.release.values() if each.covers(number))

    def would_refuse(self, guard: Guard | None, protected: frozenset[int], at: datetime) -> bool:
        """Whether the guard keeps the current release out of force; what it has refused it refuses for an hour."""
        serial, moments = self.published.serial, self.published.moments
        if guard is None or serial == self.on_disk:
            return False
        asked = serial, self.on_disk, protected
        if self.refused is not None and self.refused[0] == asked and at - self.refused[1] < timedelta(hours=1):
            return True
        published = moments[serial]
        assert published is not None
        before = moments[self.on_disk or 0] or published
        old, new = self.published.releases[self.on_disk or 0], self.published.releases[serial]
        is_refusal = is_refused(guard, old, new, protected, at, moments=(before, published))
        if is_refusal:
            self.refused = asked, at
        return is_refusal

    def synced(self) -> None:
        serial = self.published.serial
        self.refused = None
        if serial != self.on_disk:
            before = set() if self.on_disk is None else {self.on_disk}
            self.generations = {serial} | before | (self.generations & set(self.holds.values()))
        self.answers = self.on_disk = serial

    def wiped(self) -> None:
        self.on_disk, self.generations, self.protected_on_disk = None, set(), frozenset()

    def reopened(self) -> None:
        self.answers, self.protected = self.on_disk, self.protected_on_disk

    def changes(self, since: int) -> list[tuple[str, int, int | None]]:
        """Kind, entry id, and the earlier one's for what was changed: removed, changed, added, each by number."""
        old, new = self.published.releases[since], self.release
        before = {each.entry: each for each in old.values()}
        after = {each.entry: each for each in new.values()}

        def ordered(entries: Mapping[int, Listing]) -> list[int]:
            return sorted(entries, key=lambda entry: (entries[entry].number, entries[entry].last, entry))

        removed = [("removed", entry, None) for entry in ordered(before) if entry not in after]
        changed = [("changed", e, e) for e in ordered(after) if e in before and before[e] != after[e]]
        added = [("added", entry, None) for entry in ordered(after) if entry not in before]
        return [*removed, *changed, *added]


DAY = timedelta(days=1)


def is_refused(
    guard: Guard,
    old: Release,
    new: Release,
    protected: frozenset[int],
    at: datetime,
    *,
    moments: tuple[datetime, datetime],
) -> bool:
    """The guard's rules, number by number; the moments are those of the two releases' publication."""
    if any(each.level == "block" and any(map(each.covers, protected)) for each in new.values()):
        return True
    if not old:
        return False
    was, will = (
        [Blocked.of(release, at + ahead, published) for ahead in (timedelta(0), DAY)]
        for release, published in zip((old, new), moments, strict=True)
    )
    removed = (was[1] - will[1]) | ((was[0] & was[1]) - will[0])
    added = (will[0] - was[0]) | (will[1] - was[1] - was[0])
    if not new:
        return bool(removed)
    gone, come, before = ({number for number, _ in some} for some in (removed, added, was[0] | was[1]))
    own_before, own_after = own_blocks(old, at, moments[0]), own_blocks(new, at, moments[1])
    return any(
        len(changed) > max(int(share * len(of) * (1 + 1e-12)), least)
        for changed, of, share, least in (
            (gone, before, guard.max_removed, guard.min_removed),
            (gone & own_before, own_before, guard.max_removed, guard.min_removed),
            (come, before, guard.max_added, guard.min_added),
            (come & own_after, own_before, guard.max_added, guard.min_added),
        )
    )


class Blocked(frozenset[tuple[int, str]]):
    """Numbers, and each scope in which they are blocked."""

    @classmethod
    def of(cls, release: Release, at: datetime, published: datetime) -> "Blocked":
        return cls(
            (number, scope)
            for each in release.values()
            if stands(each, at, published)
            for number in range(each.number, each.last + 1)
            for scope in each.scope.split("+")
        )


def stands(each: Listing, at: datetime, published: datetime) -> bool:
    return each.level == "block" and each.since <= max(at, published) and not each.is_over(at)


def own_blocks(release: Release, at: datetime, published: datetime) -> set[int]:
    """Numbers that an entry of their own blocks, now or a day ahead."""
    return {
        each.number
        for each in release.values()
        if each.number == each.last and any(stands(each, at + ahead, published) for ahead in (timedelta(0), DAY))
    }
