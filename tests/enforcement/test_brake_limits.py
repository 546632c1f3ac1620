"""The brake's row in the table of guards: both sides of each limit, what is explained and what is not, and a year.

All numbers are generated.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.enforcement import Batch, EnforcementSettings, Outcome, all_done, enforce
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.publisher import Lifetimes, Timing
from support.clock import Clock
from support.lost_overrides import lose
from support.memory_sink import MemorySink
from support.scale import scaled
from support.world import FEED, PASSPHRASE, World, copy_world, make_world

TELKOMSEL, INDOSAT = 6_281_200_100_000, 6_281_500_100_000
TELKOMSEL_ONLY = EnforcementSettings(only_operator="telkomsel")
INDOSAT_ONLY = EnforcementSettings(only_operator="indosat")
ALL = EnforcementSettings()
HELD, MANY, FEW = 100, 40, 20
"""A ledger of a hundred items; forty of them are more than the limit, and twenty are not."""


class FastSink:
    """Holds first numbers, and looks at nothing else."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        changed = batch.items.number.tolist()
        self.numbers = self.numbers - {*changed} if batch.operation == "unblock" else self.numbers | {*changed}
        return all_done(batch)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@contextmanager
def opened(world: World, protected: Sequence[int] = ()) -> Iterator[Blocklist]:
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "state",
        protected=protected,
        guard=None,
    ) as blocklist:
        blocklist.sync()
        yield blocklist


def put(world: World, numbers: Sequence[int], until: Sequence[datetime | None] | None = None) -> None:
    table = pa.table({"number": pa.array(numbers, pa.int64())})
    if until is not None:
        table = table.append_column("until", pa.array(until, pa.timestamp("s", "UTC")))
    world.publisher.release(FEED, table, allow_empty=True)


def some(count: int, start: int = 0, first: int = TELKOMSEL) -> list[int]:
    """Numbers with gaps between them, so that none of them become one range."""
    return [first + 2 * place for place in range(start, start + count)]


def soon(hours: float) -> Callable[[], datetime]:
    """A clock some hours ahead."""
    return lambda: datetime.now(UTC) + timedelta(hours=hours)


# The limits


LIMITS: Final = [(5, 20), (30, 20), (500, 50), (100_000, 10_000)]
"""Sizes of ledgers, and the limit that follows: a tenth, and at least twenty."""


@pytest.mark.parametrize(
    ("size", "count", "waits"),
    [
        (5, 5, False),
        *((size, limit + more, bool(more)) for size, limit in LIMITS[1:] for more in (0, 1)),
    ],
)
def test_a_tenth_and_at_least_twenty_may_be_lifted_unexplained(
    world: World, size: int, count: int, waits: bool
) -> None:
    put(world, some(size - count) + some(count, first=INDOSAT))
    sink = FastSink()
    with opened(world) as blocklist:
        assert enforce(blocklist, sink).waiting is None
        assert len(sink.numbers) == size
        result = enforce(blocklist, sink, settings=TELKOMSEL_ONLY)
    assert (result.waiting is not None, len(sink.numbers)) == (waits, size if waits else size - count)
    if result.waiting is not None:
        assert (result.waiting.removed, result.waiting.added, result.waiting.held) == (count, 0, size)


@pytest.mark.parametrize(
    ("size", "count", "waits"), [(size, limit + more, bool(more)) for size, limit in LIMITS for more in (0, 1)]
)
def test_a_tenth_and_at_least_twenty_may_be_added_unexplained(world: World, size: int, count: int, waits: bool) -> None:
    put(world, some(size) + some(count, first=INDOSAT))
    sink = FastSink()
    with opened(world) as blocklist:
        assert enforce(blocklist, sink, settings=TELKOMSEL_ONLY).waiting is None
        assert len(sink.numbers) == size
        result = enforce(blocklist, sink)
    assert (result.waiting is not None, len(sink.numbers)) == (waits, size if waits else size + count)
    if result.waiting is not None:
        assert (result.waiting.removed, result.waiting.added, result.waiting.held) == (0, count, size)


@pytest.mark.parametrize("accept", [False, True])
def test_accepting_lets_through_what_waits(world: World, accept: bool) -> None:
    put(world, some(HELD) + some(MANY, first=INDOSAT))
    sink = FastSink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
        assert enforce(blocklist, sink, settings=TELKOMSEL_ONLY).waiting is not None
        result = enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=accept)
    assert (result.waiting is None, len(sink.numbers)) == (accept, HELD + (0 if accept else MANY))


@pytest.mark.parametrize(("left", "waits"), [(80, False), (79, True)])
def test_a_range_that_shrinks_counts_by_the_numbers_that_it_loses(world: World, left: int, waits: bool) -> None:
    """One item changes, whose first number stays."""
    put(world, some(1))
    sink = MemorySink()
    with opened(world) as blocklist:
        wide = f"+{INDOSAT}-+{INDOSAT + 99}"
        narrow = f"+{INDOSAT}-+{INDOSAT + left - 1}"
        blocklist.overrides.block(wide, reason="own")
        enforce(blocklist, sink)
        blocklist.overrides.block(narrow, reason="own")
        assert enforce(blocklist, sink).waiting is None
        assert lose(world.directory / "state", [(INDOSAT, INDOSAT + 99)]) == 1
        result = enforce(blocklist, sink)
    assert (result.waiting is not None, len(sink.numbers)) == (waits, 101 if waits else 1 + left)


@pytest.mark.parametrize(("wide", "waits"), [(21, False), (22, True), (100_000, True)])
def test_a_range_that_grows_counts_by_the_numbers_that_it_gains(world: World, wide: int, waits: bool) -> None:
    """One item changes; what lets through all but its first number is lost."""
    put(world, some(1))
    sink = MemorySink()
    with opened(world) as blocklist:
        blocklist.overrides.block(f"+{INDOSAT}-+{INDOSAT + wide - 1}", reason="own")
        blocklist.overrides.allow(f"+{INDOSAT + 1}-+{INDOSAT + wide - 1}", reason="own")
        enforce(blocklist, sink)
        assert len(sink.numbers) == 2
        assert lose(world.directory / "state", [(INDOSAT + 1, INDOSAT + wide - 1)]) == 1
        result = enforce(blocklist, sink)
    assert (result.waiting is not None, len(sink.numbers)) == (waits, 2 if waits else 1 + wide)


def test_a_range_that_loses_a_scope_counts_by_its_numbers(world: World) -> None:
    put(world, some(1))
    sink = MemorySink()
    with opened(world) as blocklist:
        blocklist.overrides.block(f"+{INDOSAT}-+{INDOSAT + 999}", reason="own")
        enforce(blocklist, sink)
        result = enforce(blocklist, sink, settings=EnforcementSettings(scopes=("sms",)))
    assert result.waiting is not None
    assert sink.scopes(INDOSAT) == {"sms", "voice", "data", "messaging"}


@pytest.mark.parametrize("count", [HELD, 30])
def test_only_what_the_sink_holds_counts(world: World, count: int) -> None:
    """It refuses three quarters; of the rest, more than a tenth is no longer a few of all."""
    put(world, some(4 * count - 30) + some(30, first=INDOSAT))
    refused = {*some(3 * count)}
    sink = MemorySink(lambda change: Outcome("refused", "no") if change.number in refused else None)
    with opened(world) as blocklist:
        assert enforce(blocklist, sink).waiting is None
        result = enforce(blocklist, sink, settings=TELKOMSEL_ONLY)
    assert result.waiting is not None
    assert (result.waiting.held, result.waiting.removed) == (count, 30)


# The first run


def test_the_first_run_is_free(world: World) -> None:
    put(world, some(HELD))
    sink = FastSink()
    with opened(world) as blocklist:
        assert enforce(blocklist, sink, settings=TELKOMSEL_ONLY, dry_run=True).waiting is None
        assert enforce(blocklist, sink).waiting is None
    assert len(sink.numbers) == HELD


@pytest.mark.parametrize(("count", "waits"), [(FEW, False), (FEW + 1, True)])
def test_a_ledger_from_which_everything_was_lifted_is_not_at_its_first_run(
    world: World, count: int, waits: bool
) -> None:
    put(world, some(HELD))
    sink = FastSink()
    with opened(world) as blocklist:
        enforce(blocklist, sink, settings=TELKOMSEL_ONLY)
        put(world, [])
        blocklist.sync()
        result = enforce(blocklist, sink, settings=TELKOMSEL_ONLY)
        assert (result.waiting, result.outcomes, len(sink.numbers)) == (None, {"reversed": HELD}, 0)
        put(world, some(HELD) + some(count, first=INDOSAT))
        blocklist.sync()
        expected = enforce(blocklist, sink, dry_run=True)
        result = enforce(blocklist, sink)
        assert expected.waiting == result.waiting
    # What the release brings back goes, and what only the filter had kept away waits.
    assert (result.waiting is not None, len(sink.numbers)) == (waits, HELD + (0 if waits else count))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_list_that_was_empty_at_the_first_run_is_judged_by_it(world: World, is_known: bool) -> None:
    put(world, [])
    sink = FastSink()
    with opened(world) as blocklist:
        enforce(blocklist, sink, settings=TELKOMSEL_ONLY)
        if not is_known:
            (ledger_path(blocklist, "default") / "basis.json").unlink()
        put(world, some(HELD) + some(MANY, first=INDOSAT))
        blocklist.sync()
        assert (enforce(blocklist, sink).waiting is None) is not is_known
    assert len(sink.numbers) == HELD + (0 if is_known else MANY)


# What is explained, and what is not


@dataclass
class Case:
    """A ledger of a hundred items, and what happens to forty numbers."""

    world: World
    sink: MemorySink = field(default_factory=MemorySink)

    def run(
        self, *, settings: EnforcementSettings = ALL, hours: float = 0.0, protected: Sequence[int] = (), begins: bool
    ) -> bool:
        """Enforce; returns whether something waits."""
        with opened(self.world, protected) as blocklist:
            result = enforce(blocklist, self.sink, settings=settings, clock=soon(hours))
        assert not begins or result.waiting is None
        return result.waiting is not None

    def decide(self, decision: str, numbers: Sequence[int], until: datetime | None = None) -> None:
        with opened(self.world) as blocklist:
            make = blocklist.overrides.allow if decision == "allow" else blocklist.overrides.block
            for number in numbers:
                make(f"+{number}", reason="own", until=until)

    def move_to(self, other: World) -> None:
        """Ask another repository, with nothing left that would tell a sync that this is no later release."""
        shutil.rmtree(self.world.directory / "cache")
        for state in (self.world.directory / "state").rglob("state.json"):
            state.unlink()
        self.world.url = other.url

    def lose(self, numbers: Sequence[int]) -> None:
        assert lose(self.world.directory / "state", numbers) == len(numbers)

    def undecide(self, numbers: Sequence[int]) -> None:
        with opened(self.world) as blocklist:
            for number in numbers:
                assert blocklist.overrides.remove(f"+{number}")

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore the overrides that there were, after what happens inside."""
        state, copy = self.world.directory / "state", self.world.directory / "copy"
        (database,) = [path for path in state.rglob("*.sqlite*") if path.suffix == ".sqlite"]
        shutil.copy(database, copy)
        yield
        shutil.copy(copy, database)


STAY, GO, OWN = some(HELD - MANY), some(MANY, start=HELD), some(MANY, first=INDOSAT)


def a_release_lifts(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.run(begins=True)
    put(case.world, STAY)
    return case.run(begins=False)


def a_filter_lifts(case: Case) -> bool:
    put(case.world, STAY + OWN)
    case.run(begins=True)
    return case.run(settings=TELKOMSEL_ONLY, begins=False)


def entries_end(case: Case) -> bool:
    end = datetime.now(UTC) + timedelta(hours=1)
    put(case.world, STAY + GO, [None] * len(STAY) + [end] * MANY)
    case.run(begins=True)
    return case.run(hours=2, begins=False)


def an_older_list_lacks_them(case: Case) -> bool:
    """The same serial with other content, as after a switch of the publisher."""
    other = copy_world(case.world, case.world.directory / "other")
    put(case.world, STAY + GO)
    put(other, STAY)
    case.run(begins=True)
    case.move_to(other)
    return case.run(begins=False)


def own_blocks_end(case: Case) -> bool:
    put(case.world, STAY)
    case.decide("block", OWN, until=datetime.now(UTC) + timedelta(hours=1))
    case.run(begins=True)
    return case.run(hours=2, begins=False)


def own_blocks_are_gone(case: Case) -> bool:
    put(case.world, STAY)
    case.decide("block", OWN, until=datetime.now(UTC) + timedelta(hours=1))
    case.run(begins=True)
    case.lose(OWN)
    return case.run(begins=False)


def own_blocks_are_removed(case: Case) -> bool:
    put(case.world, STAY)
    case.decide("block", OWN)
    case.run(begins=True)
    case.undecide(OWN)
    return case.run(begins=False)


def own_blocks_are_removed_while_a_filter_waits(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("block", OWN)
    case.run(begins=True)
    case.undecide(OWN)
    assert case.run(settings=INDOSAT_ONLY, begins=False)
    assert case.sink.numbers == {*STAY, *GO}
    return case.run(begins=False)


def own_blocks_are_removed_while_another_list_waits(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("block", OWN)
    case.run(begins=True)
    case.undecide(OWN)
    with opened(case.world) as blocklist:
        path = ledger_path(blocklist, "default") / "ledger.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"roots": "0", "root_keys": ["another"]}))
    put(case.world, STAY)
    assert case.run(begins=False)
    return case.sink.numbers != {*STAY, *GO}


def a_range_is_allowed_in_which_own_blocks_are_lost(case: Case) -> bool:
    """What is new goes before what is gone, in this run and in later ones."""
    put(case.world, STAY)
    case.decide("block", OWN)
    case.run(begins=True)
    case.lose(OWN)
    assert case.run(begins=False)
    with opened(case.world) as blocklist:
        blocklist.overrides.allow(f"+{OWN[0]}-+{OWN[-1]}", reason="appeal")
    case.run(begins=False)
    assert case.sink.numbers == {*STAY}
    return case.run(begins=False)


def numbers_are_allowed_after_the_clock_was_ahead(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.run(hours=1000, begins=True)
    case.decide("allow", GO)
    assert case.run(begins=False) is False
    case.decide("block", OWN)
    return case.run(begins=False)


def allowances_are_removed(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("allow", GO)
    case.run(begins=True)
    case.undecide(GO)
    return case.run(begins=False)


def numbers_are_allowed(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.run(begins=True)
    case.decide("allow", GO)
    return case.run(begins=False)


def an_old_file_allows_numbers(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("allow", GO)
    with case.restored():
        case.undecide(GO)
        case.run(hours=1, begins=True)
    return case.run(hours=2, begins=False)


def the_authority_protects(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.run(begins=True)
    case.world.publisher.protect([f"+{number}" for number in GO])
    return case.run(begins=False)


def a_release_adds(case: Case) -> bool:
    put(case.world, STAY)
    case.run(begins=True)
    put(case.world, STAY + GO)
    return case.run(begins=False)


def a_filter_adds(case: Case) -> bool:
    put(case.world, STAY + OWN)
    case.run(settings=TELKOMSEL_ONLY, begins=True)
    return case.run(begins=False)


def an_older_list_adds(case: Case) -> bool:
    other = copy_world(case.world, case.world.directory / "other")
    put(case.world, STAY)
    put(other, STAY + GO)
    case.run(begins=True)
    case.move_to(other)
    return case.run(begins=False)


def allowances_end(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("allow", GO, until=datetime.now(UTC) + timedelta(hours=1))
    case.run(begins=True)
    return case.run(hours=2, begins=False)


def allowances_are_gone(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.decide("allow", GO, until=datetime.now(UTC) + timedelta(hours=1))
    case.run(begins=True)
    case.lose(GO)
    return case.run(begins=False)


def the_authority_protects_no_longer(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.world.publisher.protect([f"+{number}" for number in GO])
    case.run(begins=True)
    case.world.publisher.protect([], accept=True, allow_empty=True)
    return case.run(begins=False)


def own_protected_numbers_are_lost(case: Case) -> bool:
    put(case.world, STAY + GO)
    case.run(protected=GO, begins=True)
    return case.run(begins=False)


def numbers_are_blocked(case: Case) -> bool:
    put(case.world, STAY)
    case.run(begins=True)
    case.decide("block", OWN)
    return case.run(begins=False)


def an_old_file_blocks_numbers(case: Case) -> bool:
    put(case.world, STAY)
    case.decide("block", OWN)
    with case.restored():
        case.undecide(OWN)
        case.run(hours=1, begins=True)
    return case.run(hours=2, begins=False)


def the_sink_lost_them(case: Case) -> bool:
    from blocklist_sdk.enforcement import reconcile

    put(case.world, STAY + GO)
    case.run(begins=True)
    for number in GO:
        del case.sink.held[number]
    with opened(case.world) as blocklist:
        assert reconcile(blocklist, case.sink, repair=True).missing == MANY
    return case.run(begins=False)


def the_sink_lost_them_and_a_filter_adds_others(case: Case) -> bool:
    from blocklist_sdk.enforcement import reconcile

    put(case.world, STAY + GO + OWN)
    case.run(settings=TELKOMSEL_ONLY, begins=True)
    for number in GO:
        del case.sink.held[number]
    with opened(case.world) as blocklist:
        assert reconcile(blocklist, case.sink, settings=TELKOMSEL_ONLY, repair=True).missing == MANY
    waits = case.run(begins=False)
    assert case.sink.numbers == {*STAY, *GO}, "what was lost is there again"
    return waits


@pytest.mark.parametrize(
    ("happens", "before", "after"),
    [
        (a_release_lifts, STAY + GO, STAY),
        (entries_end, STAY + GO, STAY),
        (own_blocks_end, STAY + OWN, STAY),
        (own_blocks_are_removed, STAY + OWN, STAY),
        (own_blocks_are_removed_while_a_filter_waits, STAY + GO + OWN, STAY + GO),
        (own_blocks_are_removed_while_another_list_waits, STAY + GO + OWN, STAY + GO),
        (a_range_is_allowed_in_which_own_blocks_are_lost, STAY + OWN, STAY),
        (numbers_are_allowed, STAY + GO, STAY),
        (numbers_are_allowed_after_the_clock_was_ahead, STAY + GO, STAY + OWN),
        (allowances_are_removed, STAY, STAY + GO),
        (the_authority_protects, STAY + GO, STAY),
        (a_release_adds, STAY, STAY + GO),
        (allowances_end, STAY, STAY + GO),
        (the_authority_protects_no_longer, STAY, STAY + GO),
        (numbers_are_blocked, STAY, STAY + OWN),
        (the_sink_lost_them, STAY + GO, STAY + GO),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_is_explained_goes(
    world: World, happens: Callable[[Case], bool], before: list[int], after: list[int]
) -> None:
    case = Case(world)
    assert happens(case) is False
    assert case.sink.numbers == {*after}
    assert {change.number for change in case.sink.seen} == {*before, *after}, "so it began as it should"


@pytest.mark.parametrize(
    ("happens", "held"),
    [
        (a_filter_lifts, STAY + OWN),
        (an_older_list_lacks_them, STAY + GO),
        (own_blocks_are_gone, STAY + OWN),
        (an_old_file_allows_numbers, STAY + GO),
        (a_filter_adds, STAY),
        (an_older_list_adds, STAY),
        (allowances_are_gone, STAY),
        (own_protected_numbers_are_lost, STAY),
        (an_old_file_blocks_numbers, STAY),
        (the_sink_lost_them_and_a_filter_adds_others, STAY + GO),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_its_unexplained_twin_waits(world: World, happens: Callable[[Case], bool], held: list[int]) -> None:
    case = Case(world)
    assert happens(case) is True
    assert case.sink.numbers == {*held}


# Unblocks


@pytest.mark.parametrize(("lifted", "waits"), [(FEW, False), (FEW + 1, True)])
def test_few_unblocks_do_not_wait_because_many_blocks_do(world: World, lifted: int, waits: bool) -> None:
    put(world, some(HELD) + GO)
    sink = MemorySink()
    with opened(world, protected=GO) as blocklist:
        for number in OWN:
            blocklist.overrides.block(f"+{number}", reason="own")
        enforce(blocklist, sink)
    assert sink.numbers == {*some(HELD), *OWN}
    with opened(world) as blocklist:
        assert lose(world.directory / "state", OWN[:lifted]) == lifted
        result = enforce(blocklist, sink)
        assert result.waiting is not None
        assert (result.waiting.removed, result.waiting.added) == (lifted if waits else 0, MANY)
        assert sink.numbers == {*some(HELD), *(OWN if waits else OWN[lifted:])}
        again = enforce(blocklist, sink)
        assert (again.outcomes, again.waiting and again.waiting.added) == ({}, MANY)


# A year

YEARS = timedelta(days=3650)
LASTING = Lifetimes(timestamp=YEARS, snapshot=YEARS, feed=YEARS, targets=YEARS, root=YEARS)


def test_a_year_of_months_with_ends_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list from publisher to sink, with every guard as it is by default, and a run every few days.

    In the short form half a year.

    Each month a part of the list ends by itself, a part is new, some are unblocked early, and the recipient allows and
    blocks some numbers itself, with ends. After each run the sink holds just what is in force.
    """
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    clock.install(monkeypatch)
    timing = Timing(lifetimes=LASTING, clock=lambda: clock.now)
    publisher = Publisher.init(tmp_path / "authority", feeds=[FEED], passphrase=PASSPHRASE, region="ID", timing=timing)
    listed: dict[int, datetime] = {}
    allowed: dict[int, datetime] = {}
    blocked: dict[int, datetime] = {}
    protected: set[int] = set()
    sink = FastSink()
    unblocked = 0

    def publish() -> None:
        table = pa.table({"number": pa.array(listed, pa.int64()), "until": pa.array(listed.values())})
        publisher.release(FEED, table)

    def in_force() -> set[int]:
        now = clock.now
        standing = {number for number, until in listed.items() if until > now} - protected
        own = {number for number, until in blocked.items() if until > now}
        return (standing | own) - {number for number, until in allowed.items() if until > now}

    for month in range(scaled(6, long=12)):
        listed = {number: until for number, until in listed.items() if until > clock.now}
        # The list is half a year old when it begins.
        for age in range(6) if month == 0 else [0]:
            fresh = some(60, start=1000 * (month + age + 20 * (month == 0 < age)))
            listed |= dict.fromkeys(fresh, clock.now + timedelta(days=180 - 30 * age, hours=1))
        for number in sorted(listed)[10 : 10 + len(listed) // 25] if month else []:
            del listed[number]
        if month in (4, 8):
            # A call centre moves in, and out again.
            protected = set(some(10, start=3000) if month == 4 else [])
            publisher.protect([f"+{number}" for number in protected], allow_empty=True)
        publish()
        if month == 0:
            blocklist = Blocklist.open(
                publisher.repository.as_uri(),
                feed=FEED,
                root=publisher.root,
                region="ID",
                cache_dir=tmp_path / "cache",
                state_dir=tmp_path / "state",
            )
        days = sorted({0, 3, 5, 15, 20, *range(0, 30, 4)})
        for day, following in zip(days, [*days[1:], 30], strict=True):
            if day == 3:
                for number in fresh[-3:]:
                    if number not in protected:
                        allowed[number] = clock.now + timedelta(days=60)
                        blocklist.overrides.allow(f"+{number}", reason="appeal", until=allowed[number])
            if day == 5:
                for number in some(2, start=10 * month, first=INDOSAT):
                    blocked[number] = clock.now + timedelta(days=180)
                    blocklist.overrides.block(f"+{number}", reason="own", until=blocked[number])
            if day == 15:
                del listed[min(number for number, end in listed.items() if end > clock.now and number not in protected)]
                publish()
            if day == 20 and month:
                # The recipient takes back a decision.
                number = some(1, start=10 * (month - 1), first=INDOSAT)[0]
                del blocked[number]
                assert blocklist.overrides.remove(f"+{number}")
            clock.at_s += 1
            if day in (0, 15):
                blocklist.sync()
            result = enforce(blocklist, sink, clock=lambda: clock.now)
            assert result.waiting is None, (month, day, result.waiting)
            assert sink.numbers == in_force(), (month, day)
            unblocked += result.outcomes.get("reversed", 0)
            clock.at_s += timedelta(days=following - day).total_seconds()
    blocklist.close()
    assert unblocked > scaled(200, long=500)
