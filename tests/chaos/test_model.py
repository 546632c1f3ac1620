"""Any sequence of releases, syncs, decisions, wipes and days: the answers are those of a few plain dictionaries."""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from blocklist_sdk import (
    Blocklist,
    Blocklists,
    Guard,
    InvalidInput,
    NotSynced,
    Override,
    Publisher,
    Refused,
    SyncResult,
)
from blocklist_sdk.publisher import Lifetimes, Timing
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.store import Store
from support.clock import Clock
from support.model import HeldFeed, Key, PublishedFeed
from support.reference import Decided, Listing
from support.scale import LONG, Tally, scaled
from support.world import FEED, OTHER_FEED, PASSPHRASE, unguarded

FEEDS = (FEED, OTHER_FEED)
NUMBERS = [6_281_266_600_000 + i for i in range(10)]
"""Generated. Small enough a world that everything meets everything."""

KEYS: list[Key] = [*((number, number) for number in NUMBERS[:9]), (NUMBERS[2], NUMBERS[4])]
DECIDED: list[Key] = [
    *((number, number) for number in NUMBERS),
    (NUMBERS[0], NUMBERS[5]),
    (NUMBERS[2], NUMBERS[3]),
    (NUMBERS[2], NUMBERS[4]),
    (NUMBERS[4], NUMBERS[9]),
]
"""What a recipient decides on: numbers, and ranges that overlap, are nested, and touch the listed one."""

BULK: dict[Key, str] = {
    (number, number): sha512(str(number).encode()).hexdigest() for number in range(NUMBERS[0] + 1000, NUMBERS[0] + 1150)
}
"""Numbers that never change, with categories that no file makes small: without them snapshots would be smaller than
deltas, and nobody would take a delta. They block nothing, so that guards count as if they were not there."""

SCOPES = ("sms", "sms+voice", "messaging")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEARS = timedelta(days=3650)

SETTINGS = settings(
    max_examples=scaled(4, long=150),
    stateful_step_count=scaled(20, long=40),
    deadline=None,
    # A sequence that fails is made as short as can be under `make chaos` only: it takes minutes.
    phases=(Phase.reuse, Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)

feeds = st.sampled_from(FEEDS)
numbers = st.sampled_from(NUMBERS)
ends = st.sampled_from([None, None, HOUR, 2 * DAY, -HOUR])


@dataclass(frozen=True)
class Row:
    """What a list says about a key, from now on."""

    level: str
    scope: str
    ends_in: timedelta | None


rows = st.builds(Row, st.sampled_from(("block", "block", "advisory")), st.sampled_from(SCOPES), ends)

changed = st.dictionaries(st.sampled_from(KEYS), st.none() | rows, min_size=1, max_size=6)


class Exchange(RuleBasedStateMachine):
    """A publisher of two feeds and a recipient of both, beside their model.

    Attributes:
        template: a publisher's folder to start from.
        guard: the recipient's.
        done: how much was done, over all sequences.
    """

    template: Path
    guard: Guard | None
    done: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.done["sequences"] += 1
        self.directory = Path(tempfile.mkdtemp(prefix="blocklist-model-"))
        shutil.copytree(self.template, self.directory / "publisher")
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.patch = pytest.MonkeyPatch()
        self.clock.install(self.patch)
        timing = Timing(lifetimes=LASTING, clock=lambda: self.clock.now)
        self.publisher = unguarded(self.directory / "publisher", timing=timing)
        self.protected: frozenset[int] = frozenset()
        self.model = {feed: HeldFeed(PublishedFeed()) for feed in FEEDS}
        for feed in FEEDS:
            bulk = {key: self.listing(key, Row("advisory", "sms", None)) for key in BULK}
            self.model[feed].published.listed = bulk | {
                key: self.listing(key, Row("block", "sms", None)) for key in KEYS[:4]
            }
            self.release(feed)
        self.lists = self.opened()

    def teardown(self) -> None:
        self.lists.close()
        self.patch.undo()
        shutil.rmtree(self.directory)

    def opened(self) -> Blocklists:
        return Blocklists([self.open_one(feed) for feed in FEEDS])

    def open_one(self, feed: str) -> Blocklist:
        return Blocklist.open(
            self.publisher.repository.as_uri(),
            feed=feed,
            root=self.publisher.root,
            region="ID",
            cache_dir=self.directory / "cache",
            state_dir=self.directory / "state",
            guard=self.guard,
        )

    def listing(self, key: Key, row: Row) -> Listing:
        until = None if row.ends_in is None else self.clock.now + row.ends_in
        return Listing(*key, row.level, row.scope, self.clock.now, until)

    def release(self, feed: str) -> None:
        listing = self.model[feed].published.listed
        for key in [key for key in listing if key[0] < key[1] and any(map(listing[key].covers, self.protected))]:
            # The publisher would cut it around the protected number, and its pieces are no keys of this model.
            del listing[key]
        listed = listing.values()
        table = pa.table(
            {
                "number": pa.array([f"+{each.number}" for each in listed], pa.string()),
                "last": pa.array([None if e.last == e.number else f"+{e.last}" for e in listed], pa.string()),
                "category": pa.array([BULK.get((e.number, e.last), "spam") for e in listed], pa.string()),
                "level": pa.array([each.level for each in listed], pa.string()),
                "scope": pa.array([each.scope for each in listed], pa.string()),
                "until": pa.array([each.until for each in listed], pa.timestamp("s", "UTC")),
            }
        )
        published = self.model[feed].published
        if not published.publishable(self.protected, self.clock.now) and published.listed:
            with pytest.raises(InvalidInput):
                self.publisher.release(feed, table, max_rejects=1.0)
            return
        report = self.publisher.release(feed, table, allow_empty=True, max_rejects=1.0)
        published.publish(self.protected, self.clock.now)
        self.done["releases"] += 1
        assert (report.serial, report.rows) == (published.serial, len(published.releases[-1]))

    # Time

    def pass_a_second(self) -> None:
        """So that nothing answers from what was kept for the last half second."""
        self.clock.at_s += 1

    def begin_step(self) -> None:
        self.pass_a_second()
        self.done["steps"] += 1

    @rule(span=st.sampled_from([HOUR, DAY]))
    def time_passes(self, span: timedelta) -> None:
        self.begin_step()
        self.clock.at_s += span.total_seconds()

    # The publisher

    @rule(feed=feeds, changes=changed)
    def publish(self, feed: str, changes: dict[Key, Row | None]) -> None:
        """A list with some entries taken off, put on, or changed in level, scope or end."""
        self.begin_step()
        listed = self.model[feed].published.listed
        for key, row in changes.items():
            listed.pop(key, None)
            if row is not None:
                listed[key] = self.listing(key, row)
        self.release(feed)

    @rule(feed=feeds)
    def publish_nothing_new(self, feed: str) -> None:
        self.begin_step()
        self.release(feed)

    @rule(protected=st.frozensets(numbers, max_size=2))
    def protect(self, protected: frozenset[int]) -> None:
        self.begin_step()
        texts = [f"+{number}" for number in protected]
        assert self.publisher.protect(texts, accept=True, allow_empty=True) == len(protected)
        self.protected = protected

    # Syncs

    def expect(self, feed: str, *, accepted: bool) -> type[Refused] | None:
        """Take a sync over into the model; the error that it must raise."""
        held = self.model[feed]
        refuses = not accepted and held.would_refuse(self.guard, self.protected, self.clock.now)
        # What the authority protects does not wait for a person to look at the release.
        held.protected = held.protected_on_disk = self.protected
        self.done["refused_syncs" if refuses else "syncs"] += 1
        if refuses:
            return Refused
        held.synced()
        return None

    @rule(feed=feeds, folds=st.booleans())
    def sync(self, feed: str, folds: bool) -> None:
        self.begin_step()
        before, blocklist = self.model[feed].on_disk, self.lists[feed]
        if self.expect(feed, accepted=False):
            serial = self.model[feed].published.serial
            with pytest.raises(Refused):
                blocklist.sync()
            with pytest.raises(Refused):
                blocklist.sync(accept=serial + 1)
            assert blocklist.status().refused == serial
        else:
            result = blocklist.sync()
            assert (result.before, result.after) == (before, self.model[feed].published.serial)
            store = Store(self.directory / "cache" / feed)
            opened = store.open()
            assert opened is not None
            self.done["overlays"] += len(opened[0].layers.overlay) > 0
            if folds:
                self.fold(store, opened[0])
        self.pass_a_second()

    @rule(feed=feeds, changes=changed, twice=changed, folds=st.booleans())
    def two_days_pass(
        self, feed: str, changes: dict[Key, Row | None], twice: dict[Key, Row | None], folds: bool
    ) -> None:
        """What most days bring: two deltas, and now and then a new base in between."""
        self.publish(feed, changes)
        self.sync(feed, folds)
        self.publish(feed, twice)
        self.sync(feed, False)

    @rule(feed=feeds)
    def accept(self, feed: str) -> None:
        self.begin_step()
        published = self.model[feed].published
        assert self.expect(feed, accepted=True) is None
        digest = self.lists[feed].dry_run().digest
        assert self.lists[feed].sync(accept=f"{published.serial}:{digest}").after == published.serial

    @rule()
    def sync_all(self) -> None:
        self.begin_step()
        expected = {feed: self.expect(feed, accepted=False) or SyncResult for feed in FEEDS}
        assert {feed: type(outcome) for feed, outcome in self.lists.sync().items()} == expected
        self.pass_a_second()

    # Overrides

    @rule(feed=feeds, key=st.sampled_from(DECIDED), decision=st.sampled_from(("allow", "block")), ends_in=ends)
    def decide(self, feed: str, key: Key, decision: str, ends_in: timedelta | None) -> None:
        self.begin_step()
        held, overrides = self.model[feed], self.lists[feed].overrides
        until = None if ends_in is None else self.clock.now + ends_in
        make = overrides.allow if decision == "allow" else overrides.block
        is_single = key[0] == key[1]
        if (is_single and key[0] in held.protected) or (until is not None and until <= self.clock.now):
            with pytest.raises(InvalidInput):
                make(text_of(key), reason="generated", until=until)
        else:
            made = make(text_of(key), reason="generated", until=until)
            assert (made.number, made.last) == (key[0], None if is_single else key[1])
            held.decide(key, Decided(decision, until))

    @rule(feed=feeds, key=st.sampled_from(DECIDED))
    def undecide(self, feed: str, key: Key) -> None:
        self.begin_step()
        was_there = self.model[feed].overrides.pop(key, None) is not None
        assert self.lists[feed].overrides.remove(text_of(key)) is was_there

    # The recipient's disk

    @rule(feed=feeds)
    def wipe_the_cache(self, feed: str) -> None:
        self.begin_step()
        shutil.rmtree(self.directory / "cache" / feed, ignore_errors=True)
        self.model[feed].wiped()

    def fold(self, store: Store, generation: Generation) -> None:
        """A base is made anew of what is on the disk; every answer stays as it was."""
        self.done["folded_overlays"] += len(generation.layers.overlay) > 0
        assert generation.is_whole()
        assert store.fold(generation)
        folded = store.open()
        assert folded is not None
        assert (folded[0].about, len(folded[0].layers.overlay), folded[0].is_whole()) == (generation.about, 0, True)

    @rule()
    def open_anew(self) -> None:
        self.begin_step()
        self.lists.close()
        self.lists = self.opened()
        for feed in FEEDS:
            self.model[feed].reopened()
            self.lists.switch(feed, on=self.model[feed].is_on)

    @precondition(lambda self: any(held.answers for held in self.model.values()))
    @rule(feed=feeds, name=st.sampled_from(("sink", "audit")))
    def hold(self, feed: str, name: str) -> None:
        self.begin_step()
        serial = self.model[feed].answers
        # What is open goes on answering where the cache was wiped, but what is not on the disk cannot be held.
        if serial is not None and serial in self.lists[feed].status().generations:
            self.lists[feed].hold(name, serial)
            self.model[feed].holds[name] = serial

    @rule(feed=feeds, name=st.sampled_from(("sink", "audit")))
    def release_hold(self, feed: str, name: str) -> None:
        self.begin_step()
        assert self.lists[feed].release_hold(name) is (self.model[feed].holds.pop(name, None) is not None)

    @rule(feed=feeds)
    def switch(self, feed: str) -> None:
        self.begin_step()
        self.model[feed].is_on = not self.model[feed].is_on
        self.lists.switch(feed, on=self.model[feed].is_on)

    # What must hold after every step

    @invariant()
    def each_feed_answers_as_the_model_does(self) -> None:
        for feed, held in self.model.items():
            blocklist = self.lists[feed]
            if held.answers is None:
                with pytest.raises(NotSynced):
                    blocklist.check(NUMBERS[0])
                continue
            for scope in (None, "sms", "data"):
                wanted = [held.answer(number, self.clock.now, scope) for number in NUMBERS]
                verdicts = [blocklist.check(number, scope=scope) for number in NUMBERS]
                assert [(v.blocked, v.level, v.reason) for v in verdicts] == wanted
                found = blocklist.screen(pa.array(NUMBERS), scope=scope).to_pylist()
                assert [(row["blocked"], row["level"], row["reason"]) for row in found] == wanted
            assert [n in blocklist for n in NUMBERS] == [held.answer(n, self.clock.now)[0] for n in NUMBERS]
            for number in NUMBERS:
                assert [entry.entry for entry in blocklist.entries(number)] == held.covering(number)

    @invariant()
    def all_feeds_answer_as_the_model_does(self) -> None:
        asked = {feed: held for feed, held in self.model.items() if held.is_on and held.answers is not None}
        if not asked:
            with pytest.raises(NotSynced):
                self.lists.check(NUMBERS[0])
            return
        found = self.lists.screen(pa.array(NUMBERS)).to_pylist()
        for number, row in zip(NUMBERS, found, strict=True):
            answers = {feed: held.answer(number, self.clock.now) for feed, held in asked.items()}
            feed = min(answers, key=lambda each: PRECEDENCE.index(answers[each][2]))
            verdict = self.lists.check(number)
            assert (verdict.feed, verdict.blocked, verdict.level, verdict.reason) == (feed, *answers[feed])
            assert (row["feed"], row["blocked"], row["level"], row["reason"]) == (feed, *answers[feed])
            assert (number in self.lists) is answers[feed][0]
            assert len(verdict.entries) == sum(len(held.covering(number)) for held in asked.values())

    @invariant()
    def the_rest_is_as_in_the_model(self) -> None:
        for feed, held in self.model.items():
            blocklist = self.lists[feed]
            status = blocklist.status()
            assert (status.serial, set(status.generations)) == (held.answers, held.generations)
            assert status.held == held.holds
            assert {key_of(o): Decided(o.decision, o.until) for o in blocklist.overrides} == held.overrides
            if held.answers is not None:
                for serial in self.starts(held):
                    self.compare_changes(blocklist, held, serial)

    def starts(self, held: HeldFeed) -> Iterator[int]:
        yield from {*held.generations, *held.holds.values()}

    def compare_changes(self, blocklist: Blocklist, held: HeldFeed, since: int) -> None:
        if since != held.answers and since not in held.generations:
            with pytest.raises(InvalidInput):
                blocklist.changes(since=since)
            return
        found = list(blocklist.changes(since=since))
        said = [(change.kind, change.entry.entry, change.before and change.before.entry) for change in found]
        assert said == held.changes(since)
        for change in found:
            first, last = change.entry.number, change.entry.last or change.entry.number
            keys = [key_of(override) for override in change.overrides]
            assert keys == sorted(held.deciding_on(first, last, self.clock.now))
            assert change.override == (change.overrides[0] if keys and change.entry.last is None else None)
            assert change.protected is any(first <= number <= last for number in held.protected)


def text_of(key: Key) -> str:
    first, last = key
    return f"+{first}" if first == last else f"+{first}-+{last}"


def key_of(override: Override) -> Key:
    return override.number, override.last or override.number


PRECEDENCE = (
    "protected",
    "override-allow",
    "override-block",
    "listed",
    "advisory",
    "expired",
    "not-yet",
    "not-listed",
)

LASTING = Lifetimes(timestamp=YEARS, snapshot=YEARS, feed=YEARS, targets=YEARS, root=YEARS)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "publisher"
    Publisher.init(directory, feeds=FEEDS, passphrase=PASSPHRASE, region="ID", timing=Timing(lifetimes=LASTING))
    return directory


@pytest.mark.parametrize(
    "guard",
    [None, Guard(max_removed=0.3, max_added=0.5, min_removed=2, min_added=2)],
    ids=["everything passes", "a strict guard"],
)
def test_any_sequence_of_steps(
    template: Path, guard: Guard | None, caplog: pytest.LogCaptureFixture, tally: Tally
) -> None:
    caplog.set_level(logging.CRITICAL, logger="blocklist_sdk")
    done: Counter[str] = Counter()
    machine = type("Exchange", (Exchange,), {"template": template, "guard": guard, "done": done})
    run_state_machine_as_test(machine, settings=SETTINGS)
    tally(**done)
