"""The publisher's guard: what it refuses, what it never holds up, and how a person lets a list through."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import InvalidInput, Publisher, Refused
from blocklist_sdk.publisher import PublisherGuard, Timing

PASSPHRASE = "generated for a test"
FEED = "id-all"


def numbers(count: int, start: int = 0) -> pa.Table:
    return pa.table({"number": pa.array(range(6281200000000 + start, 6281200000000 + start + count), pa.int64())})


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def publisher(tmp_path: Path, clock: Clock) -> Publisher:
    return Publisher.init(
        tmp_path / "authority", feeds=[FEED], passphrase=PASSPHRASE, region="ID", timing=Timing(clock=clock)
    )


@pytest.mark.parametrize(
    ("size", "removed", "is_refused"),
    [
        (5, 4, False),
        (30, 20, False),
        (30, 21, True),
        (200, 20, False),
        (200, 21, True),
        (500, 50, False),
        (500, 51, True),
        (100_000, 10_000, False),
        (100_000, 10_001, True),
    ],
)
def test_a_tenth_and_at_least_twenty_may_be_removed(
    publisher: Publisher, size: int, removed: int, is_refused: bool
) -> None:
    publisher.release(FEED, numbers(size))
    left = numbers(size - removed, start=removed)
    assert bool(publisher.dry_run(FEED, left).refusals) is is_refused
    if is_refused:
        with pytest.raises(Refused, match=rf"unblock {removed:,} numbers, \d+ % of the {size:,}") as caught:
            publisher.release(FEED, left)
        assert caught.value.serial is None
        assert publisher.status().feeds[0].serial == 1
    else:
        assert publisher.release(FEED, left).removed == removed


@pytest.mark.parametrize(
    ("size", "added", "is_refused"),
    [
        (5, 1_000, False),
        (5, 1_001, True),
        (30, 1_000, False),
        (30, 1_001, True),
        (500, 1_000, False),
        (500, 1_001, True),
        (2_000, 2_000, False),
        (2_000, 2_001, True),
        (100_000, 100_000, False),
        (100_000, 100_001, True),
    ],
)
def test_a_list_may_double_and_at_least_a_thousand_may_be_added(
    publisher: Publisher, size: int, added: int, is_refused: bool
) -> None:
    publisher.release(FEED, numbers(size))
    if is_refused:
        with pytest.raises(Refused, match=f"begin to block {added:,} numbers"):
            publisher.release(FEED, numbers(size + added))
    else:
        assert publisher.release(FEED, numbers(size + added)).added == added


def test_the_first_release_is_free(publisher: Publisher) -> None:
    assert publisher.release(FEED, numbers(100_000)).rows == 100_000


def test_the_new_numbers_of_a_month_are_not_the_whole_list(publisher: Publisher) -> None:
    """What happened before: 30 added, 499 removed, and nobody asked."""
    publisher.release(FEED, numbers(499))
    with pytest.raises(Refused, match=r"Publisher\.add, or blocklist publish add") as caught:
        publisher.release(FEED, numbers(30, start=1_000))
    details = "\n".join(caught.value.details)
    assert "blocked numbers 499 → 30: 30 begin to be blocked, 499 cease to be" in details
    assert "category fraud          30 added         499 removed           0 changed" in details
    assert details.count("entry ") == 20
    assert "6281200000" not in details  # numbers are masked


@pytest.mark.parametrize(
    "weaken",
    [
        lambda clock: {"level": "advisory"},
        lambda clock: {"until": clock.now + timedelta(hours=1)},
        lambda clock: {"since": clock.now + timedelta(days=3)},
        lambda clock: {"scope": "sms"},
    ],
)
def test_weakened_blocks_are_removed_ones(
    publisher: Publisher, clock: Clock, weaken: Callable[[Clock], dict[str, object]]
) -> None:
    publisher.release(FEED, numbers(100))
    clock.now += timedelta(days=1)
    table = numbers(100)
    for name, value in weaken(clock).items():
        table = table.append_column(name, pa.array([value] * 100))
    with pytest.raises(Refused, match="unblock 100 numbers, 100 %"):
        publisher.release(FEED, table)


def test_advisories_pad_nothing(publisher: Publisher) -> None:
    levels = pa.array(["block"] * 100 + ["advisory"] * 10_000)
    publisher.release(FEED, numbers(10_100).append_column("level", levels))
    with pytest.raises(Refused, match="unblock 30 numbers, 30 % of the 100"):
        publisher.release(FEED, numbers(10_070, start=30).append_column("level", levels[30:]))


def test_advisories_that_come_and_go_are_free(publisher: Publisher) -> None:
    def advisories(count: int, start: int) -> pa.Table:
        return numbers(count, start).append_column("level", pa.array(["advisory"] * count))

    publisher.release(FEED, advisories(5_000, 0))
    assert publisher.release(FEED, advisories(20_000, 5_000)).removed == 5_000


def test_ranges_count_by_the_numbers_that_they_cover(publisher: Publisher) -> None:
    table = pa.table({"number": [*map(str, numbers(500)["number"].to_pylist()), "+62813000####"]})
    publisher.release(FEED, table)
    with pytest.raises(Refused, match="unblock 10,000 numbers, 95 %"):
        publisher.release(FEED, table.slice(0, 500))
    cut = pa.table(
        {
            "number": [
                *table["number"].to_pylist()[:500],
                "+628130000###",
                *(f"+62813000{digit}###" for digit in range(1, 10)),
            ]
        }
    )
    assert publisher.release(FEED, cut).removed == 1


def test_a_year_of_months_with_ends_never_waits(publisher: Publisher, clock: Clock) -> None:
    """Each month a sixth of the list ends by itself, a sixth is new, some are unblocked early; nothing is refused."""
    listed: dict[int, datetime] = {}
    lifted: set[int] = set()
    for month in range(12):
        listed = {number: until for number, until in listed.items() if until > clock.now}
        # Every list of an authority comes some hours before or after the ends of half a year ago.
        until = clock.now + timedelta(days=180)
        fresh = 500 if month == 0 else 300
        listed |= {6281200000000 + month * 10_000 + i: until for i in range(fresh)}
        early = sorted(listed)[10 : 10 + len(listed) // 20]
        for number in early if month else []:
            del listed[number]
            lifted.add(number)
        table = pa.table({"number": pa.array(listed, pa.int64()), "until": pa.array(listed.values())})
        result = publisher.release(FEED, table)
        assert (result.serial, result.rows) == (2 * month + 1, len(listed))
        # In between somebody is unblocked at once.
        clock.now += timedelta(days=15, hours=month % 3)
        unlucky = min(number for number, end in listed.items() if end > clock.now)
        del listed[unlucky]
        assert publisher.remove(FEED, [f"+{unlucky}"]).removed == 1
        clock.now += timedelta(days=15)
    assert not lifted & set(listed)


def test_what_ends_within_the_day_may_be_left_out(publisher: Publisher, clock: Clock) -> None:
    until = pa.array([clock.now + timedelta(days=30)] * 400 + [None] * 600)
    publisher.release(FEED, numbers(1_000).append_column("until", until))
    clock.now += timedelta(days=29, hours=8)
    assert publisher.release(FEED, numbers(600, start=400)).removed == 400


def test_accept_is_taken_after_a_refusal_of_the_same_content_only(publisher: Publisher, clock: Clock) -> None:
    publisher.release(FEED, numbers(100))
    small = numbers(10)
    with pytest.raises(InvalidInput, match="nothing was refused on this feed"):
        publisher.release(FEED, small, accept=True)
    publisher.dry_run(FEED, small)
    with pytest.raises(InvalidInput, match="nothing was refused on this feed"):
        publisher.release(FEED, small, accept=True)
    with pytest.raises(Refused, match="--accept"):
        publisher.release(FEED, small)
    for other in (numbers(11), numbers(99), small.append_column("category", pa.array(["spam"] * 10))):
        with pytest.raises(InvalidInput, match="was another one"):
            publisher.release(FEED, other, accept=True)
    clock.now += timedelta(days=2)
    again = Publisher.open(publisher.directory, passphrase=PASSPHRASE, timing=Timing(clock=clock))
    assert again.release(FEED, small.take([*range(9, -1, -1)]), accept=True).removed == 90
    assert again.release(FEED, small).removed == 0


def test_accept_is_not_taken_after_another_release(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    with pytest.raises(Refused):
        publisher.release(FEED, numbers(10))
    publisher.release(FEED, numbers(101))
    with pytest.raises(InvalidInput, match="a release has been published since"):
        publisher.release(FEED, numbers(10), accept=True)


def test_accept_is_not_for_every_day(publisher: Publisher) -> None:
    with pytest.raises(InvalidInput, match="accept is taken only after"):
        publisher.release(FEED, numbers(100), accept=True)
    publisher.release(FEED, numbers(100))
    with pytest.raises(InvalidInput, match="accept is taken only after"):
        publisher.release(FEED, numbers(100), accept=True)


def test_an_empty_list_needs_its_own_word_and_no_other(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    with pytest.raises(InvalidInput, match="has no rows"):
        publisher.release(FEED, numbers(0))
    assert publisher.release(FEED, numbers(0), allow_empty=True).removed == 100
    assert publisher.release(FEED, numbers(5_000)).added == 5_000


def test_limits_are_settings(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    strict = Publisher.open(publisher.directory, passphrase=PASSPHRASE, guard=PublisherGuard(min_removed=0))
    with pytest.raises(Refused, match="unblock 11 numbers"):
        strict.release(FEED, numbers(89))
    assert strict.release(FEED, numbers(89), guard=PublisherGuard.off()).removed == 11
    for wrong in ({"max_removed": 1.1}, {"max_removed": -0.1}, {"max_added": float("nan")}, {"min_added": -1}):
        with pytest.raises(InvalidInput, match="limits"):
            PublisherGuard(**wrong)


def test_a_dry_run_writes_and_signs_nothing(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    before = {path: path.read_bytes() for path in publisher.directory.rglob("*") if path.is_file()}
    without_keys = Publisher.open(publisher.directory, passphrase=None)
    impact = without_keys.dry_run(
        FEED, pa.table({"number": ["0812-0000-0001", "not a number", "0899-1234-5678"]}), max_rejects=1
    )
    assert {path: path.read_bytes() for path in publisher.directory.rglob("*") if path.is_file()} == before
    assert (impact.before, impact.after, impact.rows_before, impact.rows_after) == (1, 2, 100, 2)
    assert (impact.blocked_before, impact.blocked_after, impact.unblocked, impact.newly_blocked) == (100, 2, 99, 1)
    assert impact.invalid == 1
    assert len(impact.refusals) == 1


def test_the_most_surprising_changes_take_turns(publisher: Publisher, clock: Clock) -> None:
    columns = {
        "number": ["+6281200000001", "+6281200000002", "+628130000####", *(f"+62814000{i:05}" for i in range(40))],
        "since": [clock.now - timedelta(days=900), None, *[clock.now - timedelta(days=i) for i in range(41)]],
    }
    publisher.release(FEED, pa.table(columns))
    new = {
        "number": ["+6281200000002", "+62815000####", *(f"+62816000{i:05}" for i in range(50)), "+33612345678"],
        "level": ["advisory", *["block"] * 52],
    }
    impact = publisher.dry_run(FEED, pa.table(new))
    found = [(each.why, each.kind, each.entry.number) for each in impact.surprising]
    assert len(found) == 20
    assert found[:3] == [
        ("wide", "removed", 6281300000000),
        ("wide", "added", 628150000000),
        ("level", "changed", 6281200000002),
    ]
    assert found[3] == ("unblocked", "removed", 6281200000001)
    assert found[4] == ("unblocked", "removed", 6281400000039)
    assert ("foreign", "added", 33612345678) in found
    assert {why for why, _, _ in found} == {"wide", "level", "unblocked", "foreign", "other"}
