"""Lists that are validly signed and lift everything, or let too much in, by what a guard might not look at."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocklist_sdk import Malformed, Refused, Untrusted, times
from blocklist_sdk.recipient.guard import Guard
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_snapshot
from blocklist_sdk.release.rows import FOREVER_MS, Rows
from support.strategies import DAY_MS, Row, to_rows
from support.world import FEED, Forger, World, assert_still_answers, copy_world, half_a_second_later, make_world


def this_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def in_days(days: float) -> int:
    """A moment in milliseconds since 1970 UTC."""
    return times.to_ms(this_second() + timedelta(days=days))


YEAR_9999_MS = times.to_ms(datetime(9999, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def signed(world: World, rows: Rows, *, published_at: datetime | None = None, serial: int = 2) -> None:
    """The holder of the feed's key signs rows that no publisher would write."""
    published_at = published_at or this_second()
    path = f"{FEED}/{serial}.snapshot.parquet"
    file = world.directory / "forged.parquet"
    write_snapshot(rows, file)
    forger = Forger(world)
    target = forger.store(path, file.read_bytes())
    forger.forge(FEED, lambda role: role.targets.__setitem__(path, target))

    def change(index: dict[str, Any]) -> None:
        moment = published_at.isoformat()
        release = {
            "serial": serial,
            "published_at": moment,
            "rows": len(rows),
            "digest": digest(rows),
            "snapshot": {"path": path, "length": target.length},
            "delta": None,
        }
        index.update(serial=serial, published_at=moment, rows=len(rows), digest=digest(rows), releases=[release])
        index.update(last_entry=max(index["last_entry"], *rows.entry.tolist()))

    forger.forge_index(change)


def in_force(world: World) -> Rows:
    from blocklist_sdk.release.arrow import from_table

    return from_table(world.recipient().to_arrow())


def every(rows: Rows, name: str, value: int) -> Rows:
    columns: dict[str, Any] = {name: np.full(len(rows), value, np.int64)}
    return replace(rows, **columns)


def scoped(rows: Rows, scope: str) -> Rows:
    return replace(rows, scope=replace(rows.scope, values=(scope,)))


LIFTS: dict[str, Callable[[Rows], Rows]] = {
    "begins in 2062": lambda rows: every(rows, "since", times.to_ms(datetime(2062, 11, 1, tzinfo=UTC))),
    "ends in a second": lambda rows: every(rows, "until", in_days(0) + 1000),
    "ended in 1970": lambda rows: every(every(rows, "since", 0), "until", 1000),
    "ends before it begins": lambda rows: every(every(rows, "since", in_days(9)), "until", in_days(8)),
    "for data alone": lambda rows: scoped(rows, "data"),
    "for a scope that nobody knows": lambda rows: scoped(rows, "evil"),
}


@pytest.mark.parametrize("name", LIFTS)
def test_no_lift_passes(world: World, name: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    published = datetime(1, 1, 1, tzinfo=UTC) if "1970" in name else None
    signed(world, LIFTS[name](in_force(world)), published_at=published)
    with pytest.raises((Refused, Malformed, Untrusted)):
        recipient.sync()
    assert_still_answers(recipient)
    assert all(each.check("+6281200000001", scope="sms").blocked for each in (recipient, recipient.anew()))


def test_entries_that_would_have_ended_are_no_removals(world: World) -> None:
    """A list for half a year, whose entries end together, and the list of the next half-year."""
    recipient = world.recipient()
    recipient.sync()
    ends = every(in_force(world), "until", in_days(0) + 2000)
    signed(world, ends)
    recipient.sync(accept=f"2:{digest(ends)}")
    later = this_second() + timedelta(days=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "now", lambda: later)
        numbers = range(6_281_500_000_000, 6_281_500_000_900)
        rows = [Row(n, n, 9000 + i, "block", "fraud", "komdigi", "sms", 0, FOREVER_MS) for i, n in enumerate(numbers)]
        signed(world, to_rows(rows), published_at=later, serial=3)
        # The roles were signed a moment ago, so this machine's clock has to be let alone by them.
        assert recipient.sync().after == 3


PUBLISHED_MS = 400 * DAY_MS


def blocks(ranges: list[tuple[int, int]], **values: Any) -> Rows:
    row = {"level": "block", "since": 0, "until": FOREVER_MS, "scope": "sms", **values}
    return to_rows(
        [
            Row(first, last, i + 1, row["level"], "fraud", "komdigi", row["scope"], row["since"], row["until"])
            for i, (first, last) in enumerate(sorted(ranges))
        ]
    )


LISTED = [(number, number) for number in range(6_281_200_000_000, 6_281_200_002_000)]
PADDING = [(900_000_000_000_000, 999_999_999_999_999)]
HALF = LISTED[:1000]
COUNTRY = [(6_285_700_000_000, 6_285_700_899_999)]


def judged(old: Rows, new: Rows) -> tuple[str, ...]:
    return Guard().refuses(old, new, np.empty(0, np.int64), now_ms=PUBLISHED_MS)


def advisories(rows: Rows) -> Rows:
    """Advisories over everything, beside the blocks."""
    number = np.append(1, rows.number)
    level = np.append(1, np.zeros(len(rows), np.int64))
    return to_rows(
        [
            Row(
                int(n),
                int(n) if at else 999_999_999_999_999,
                at + 1,
                "advisory" if level[at] else "block",
                "fraud",
                "komdigi",
                "sms",
                0,
                FOREVER_MS,
            )
            for at, n in enumerate(number)
        ]
    )


def test_padding_buys_no_room() -> None:
    plain, half, country = blocks(LISTED), blocks(HALF), blocks([*LISTED, *COUNTRY])
    assert judged(plain, half)
    assert judged(plain, country)
    assert judged(advisories(plain), half), "advisories over everything"
    assert judged(advisories(plain), country)
    assert judged(blocks([*LISTED, *PADDING]), half), "a block of numbers that nobody can have"
    assert judged(blocks([*LISTED, *PADDING]), country)


def test_what_begins_later_is_judged_now() -> None:
    """No release has to come, and no guard is asked, when it begins."""
    more = blocks([*LISTED, *((n + 10_000, n + 10_000) for n, _ in LISTED), (6_281_300_000_000, 6_281_300_000_000)])
    later = replace(more, since=np.where(np.isin(more.number, [n for n, _ in LISTED]), 0, PUBLISHED_MS + 9 * DAY_MS))
    assert judged(blocks(LISTED), more)
    assert judged(blocks(LISTED), later)
    far = blocks(LISTED, since=PUBLISHED_MS + 9 * DAY_MS)
    assert judged(blocks(LISTED), far), "and what is put off is lifted"


# The moment of publication


@pytest.mark.parametrize(
    ("ahead", "is_said"), [(timedelta(minutes=4), False), (timedelta(minutes=7), True), (timedelta(hours=23), True)]
)
def test_a_release_of_the_near_future_comes_into_force_and_is_said(
    world: World, ahead: timedelta, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = in_force(world)
    published = this_second() + ahead
    signed(world, every(rows, "since", times.to_ms(published)), published_at=published)
    result = recipient.sync()
    assert (result.clock_behind_s is not None) is is_said
    assert (recipient.status().clock_behind_s is not None) is is_said
    assert ("clock is" in caplog.text) is is_said
    # Its entries begin with it, whatever this clock says.
    for each in (recipient, recipient.anew()):
        half_a_second_later(each)
        assert "+6281200000001" in each
        assert each.check("+6281200000001").reason == "listed"
        import pyarrow as pa

        assert each.screen(pa.array(["+6281200000001"])).column("blocked").to_pylist() == [True]


def test_a_release_of_the_far_future_is_refused_with_both_causes(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = in_force(world)
    signed(world, rows, published_at=this_second() + timedelta(days=2, hours=3))
    with pytest.raises(
        Refused, match=r"2 days and [23] hours? from now: .*publisher's clock is ahead.*machine's is beh"
    ):
        recipient.sync()
    assert_still_answers(recipient)


def test_a_far_future_that_a_person_lets_in_slows_no_look_up(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = in_force(world)
    signed(world, rows, published_at=datetime(9999, 1, 1, tzinfo=UTC))
    recipient.sync(accept=f"2:{digest(rows)}")
    for each in (recipient, recipient.anew()):
        assert "+6281200000001" in each
        fast = each._current.fast_path
        assert fast.start <= times.now().timestamp() < fast.stop, "answers come from the kinds, not from the rows"
        assert fast.is_blocked(6281200000001) is True


def test_what_follows_a_moment_that_was_let_in_does_not_wait_for_it(world: World) -> None:
    """A publisher whose clock was ahead once stays at that moment; its unblocks must arrive all the same."""
    recipient = world.recipient()
    recipient.sync()
    rows, ahead = in_force(world), this_second() + timedelta(days=300)
    signed(world, rows, published_at=ahead)
    recipient.sync(accept=f"2:{digest(rows)}")
    fewer = rows.take(np.arange(1, len(rows)))
    signed(world, fewer, published_at=ahead, serial=3)
    assert (recipient.sync().after, recipient.check("+6281200000001").blocked) == (3, False)
    signed(world, fewer, published_at=ahead + timedelta(hours=1), serial=4)
    with pytest.raises(Refused, match="from now"):
        recipient.sync()
    assert recipient.status().serial == 3


def test_the_moment_of_publication_never_goes_back(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = in_force(world)
    signed(world, rows, published_at=this_second() - timedelta(days=30))
    with pytest.raises(Untrusted, match="which is before release 1"):
        recipient.sync()
    assert_still_answers(recipient)
