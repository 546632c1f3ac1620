"""A publisher, a recipient and overrides as plain dictionaries: slow, obvious, and without a file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

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

    def publishable(self, protected: frozenset[int]) -> dict[Key, Listing]:
        return {key: each for key, each in sorted(self.listed.items()) if not any(map(each.covers, protected))}

    def publish(self, protected: frozenset[int], at: datetime) -> None:
        """Entries that stay keep their id and their start; others get the next ids, in the order of their numbers."""
        before, release = self.releases[-1], {}
        for key, each in self.publishable(protected).items():
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

    def would_refuse(self, guard: Guard | None, protected: frozenset[int]) -> bool:
        """Whether the guard keeps the current release out of force."""
        serial = self.published.serial
        if guard is None or serial == self.on_disk:
            return False
        old = self.published.releases[self.on_disk or 0]
        moment = self.published.moments[serial]
        assert moment is not None
        return is_refused(guard, old, self.published.releases[serial], protected, moment)

    def synced(self) -> None:
        serial = self.published.serial
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


def is_refused(guard: Guard, old: Release, new: Release, protected: frozenset[int], published_at: datetime) -> bool:
    """The guard's rules, number by number."""
    if any(each.level == "block" and any(map(each.covers, protected)) for each in new.values()):
        return True
    if not old or not new:
        return bool(old)

    before, after = ({each.entry: each for each in release.values()} for release in (old, new))

    def blocks(each: Listing) -> bool:
        return each.level == "block" and not each.is_over(published_at)

    gone = [e for e in before.values() if e.entry not in after or (blocks(e) and not blocks(after[e.entry]))]
    come = [e for e in after.values() if e.entry not in before or (blocks(e) and not blocks(before[e.entry]))]
    # What is listed anew, and blocks as before, has neither gone nor come.
    gone_keys, gone_blocks = keys_of(gone), keys_of(filter(blocks, gone))
    come_keys, come_blocks = keys_of(come), keys_of(filter(blocks, come))
    whole = covered(old)
    return any(
        len(changed) > max(share * len(of), guard.min_changes)
        for changed, of, share in (
            (gone_keys - come_blocks, old, guard.max_removed),
            (come_keys - gone_blocks, old, guard.max_added),
            (covered(gone_keys) - covered(come_blocks), whole, guard.max_removed),
            (covered(come_keys) - covered(gone_blocks), whole, guard.max_added),
        )
    )


def keys_of(entries: Iterable[Listing]) -> set[Key]:
    return {(each.number, each.last) for each in entries}


def covered(keys: Iterable[Key]) -> set[int]:
    """The numbers that some entries cover, each once."""
    return {number for first, last in keys for number in range(first, last + 1)}
