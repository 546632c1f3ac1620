"""What the guard refuses, what it lets through, and how a person decides about a refused release."""

import json
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Blocklist, Guard, InvalidInput, Refused
from blocklist_sdk.publisher import serving
from blocklist_sdk.recipient.guard import listed_protected
from blocklist_sdk.release.merge import difference
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows
from support.strategies import DAY_MS, Row, plain_rows, to_rows
from support.world import FEED, FIRST, LISTED, OTHER_FEED, World, make_world

NOBODY = np.empty(0, np.int64)


def listed(
    numbers: list[int],
    *,
    level: str = "block",
    until: int = FOREVER_MS,
    last: dict[int, int] | None = None,
    first_entry: int = 1,
) -> Rows:
    rows = [
        Row(n, (last or {}).get(n, n), i + first_entry, level, "fraud", "komdigi", "sms", 0, until)
        for i, n in enumerate(numbers)
    ]
    return to_rows(rows)


def refusals(old: Rows, new: Rows, guard: Guard | None = None, protected: Int64s = NOBODY) -> tuple[str, ...]:
    return (guard or Guard()).refuses(old, new, protected, now_ms=10 * DAY_MS)


MANY = list(range(6_281_200_000_000, 6_281_200_001_000))


@pytest.mark.parametrize(
    ("new", "word"),
    [
        (listed(MANY[:749]), "unblock 251 numbers, 25 % of the 1,000 that are blocked; the guard lets 250 pass"),
        (listed([]), "is empty"),
        (listed([*MANY, *(n + 5000 for n in MANY), 6_281_300_000_000]), "begin to block 1,001 numbers"),
        (listed(MANY, level="advisory"), "unblock 1,000 numbers"),
        (listed(MANY, until=9 * DAY_MS), "unblock 1,000 numbers"),
        (listed(MANY, level="advisory", first_entry=5000), "unblock 1,000 numbers"),
        (listed(MANY, until=9 * DAY_MS, first_entry=5000), "unblock 1,000 numbers"),
        (listed([*MANY, 6_281_300_000_000], last={6_281_300_000_000: 6_281_300_999_999}), "block 1,000,000 numbers"),
    ],
    ids=[
        "a quarter gone",
        "empty",
        "doubled",
        "advisories only",
        "all ended",
        "all anew as advisories",
        "all anew and ended",
        "one wide range",
    ],
)
def test_what_is_refused(new: Rows, word: str) -> None:
    (reason, *_) = refusals(listed(MANY), new)
    assert word in reason


@pytest.mark.parametrize(
    "new",
    [
        listed(MANY),
        listed(MANY, first_entry=5000),
        listed(MANY[:750]),
        listed([*MANY, *(n + 5000 for n in MANY)]),
    ],
    ids=["the same", "the same under new ids", "a quarter less", "twice as many"],
)
def test_what_passes(new: Rows) -> None:
    assert refusals(listed(MANY), new) == ()


def under_new_ids(rows: Rows, **values: Any) -> Rows:
    return replace(rows, entry=rows.entry + 100_000, **values)


def test_a_number_under_a_new_entry_counts_as_a_change_only_if_it_no_longer_blocks() -> None:
    old = listed(MANY)
    assert refusals(old, under_new_ids(old)) == ()
    advisory = listed(MANY, level="advisory")
    assert "unblock 1,000 numbers" in refusals(old, under_new_ids(old, level=advisory.level))[0]
    ended = np.full(len(old), 9 * DAY_MS)
    assert "unblock 1,000 numbers" in refusals(old, under_new_ids(old, until=ended))[0]


def test_a_range_that_is_cut_otherwise_covers_what_it_covered() -> None:
    first = 6_281_300_000_000
    whole = {first: first + 99_999}
    halves = {first: first + 49_999, first + 50_000: first + 99_999}
    wider = {first: first + 100_009}
    old = listed([*MANY, first], last=whole)
    for last in (halves, wider):
        new = under_new_ids(listed([*MANY, *last], last=last))
        assert refusals(old, new) == ()
    assert "unblock 100,000 numbers" in refusals(old, listed(MANY))[0]


def test_huge_ranges_do_not_wrap_around() -> None:
    singles = list(range(100_000_000_000_000, 100_000_000_030_000))
    last = {200_000_000_000_000 + i: 999_000_000_000_000 + i for i in range(29_000)}
    assert "begin to block" in refusals(listed(singles), listed([*singles, *last], last=last))[-1]


def test_short_lists_may_change_as_they_like_but_not_vanish() -> None:
    assert refusals(listed(MANY[:90]), listed(MANY[500:590])) == ()
    assert "empty" in refusals(listed(MANY[:90]), listed([]))[0]


def test_the_first_release_is_checked_for_what_can_be_checked() -> None:
    nothing = Rows.empty()
    assert refusals(nothing, listed(MANY)) == ()
    assert refusals(nothing, nothing) == ()
    assert "+628…003" in refusals(nothing, listed(MANY), protected=np.array([MANY[3]]))[0]


MILLION = 6_281_300_000_000, 6_281_300_999_999
WIDE = 6_281_300_000_000, 6_281_301_999_999


def with_range(first: int, last: int, **values: Any) -> Rows:
    return listed([*MANY, first], last={first: last}, **values)


def test_an_entry_may_cover_a_million_numbers_and_no_more() -> None:
    nothing = Rows.empty()
    assert refusals(nothing, with_range(*MILLION)) == ()
    assert refusals(nothing, with_range(*WIDE)) == (
        "it blocks the range +628130[0-1]######, which covers 2,000,000 numbers, more than the 1,000,000 that one "
        "entry may",
    )
    everyone = refusals(nothing, with_range(628_000_000_000, 628_999_999_999))
    assert "the range +628#########, which covers 831,000,000 numbers" in everyone[0]
    assert "its ranges cover 831,000,000 numbers, more than the 20,000,000" in everyone[1]
    assert refusals(nothing, with_range(*WIDE), Guard(max_cover=2_000_000)) == ()


def test_only_what_blocks_and_did_not_before_is_too_wide() -> None:
    wide = with_range(*WIDE)
    assert refusals(wide, wide) == ()
    assert refusals(wide, under_new_ids(wide)) == ()
    assert refusals(Rows.empty(), with_range(*WIDE, level="advisory")) == ()
    assert refusals(Rows.empty(), with_range(*WIDE, until=9 * DAY_MS)) == ()
    assert "2,000,000" in refusals(with_range(*WIDE, level="advisory"), wide)[0]
    assert "2,000,000" in refusals(listed(MANY), wide)[0]
    assert "2,000,001" in refusals(wide, with_range(WIDE[0], WIDE[1] + 1))[0]


def test_numbers_that_nobody_can_have_do_not_count() -> None:
    # Seven digits after the country code: no Indonesian mobile number has so few.
    assert refusals(Rows.empty(), with_range(628_000_000_0, 628_999_999_9)) == ()


def test_the_ranges_of_a_first_release_have_a_limit_in_all() -> None:
    starts = [6_281_300_000_000 + i * 1_000_000 for i in range(21)]
    ranges = {start: start + 999_999 for start in starts}
    assert refusals(Rows.empty(), listed(starts[:20], last=ranges)) == ()
    assert "its ranges cover 21,000,000 numbers" in refusals(Rows.empty(), listed(starts, last=ranges))[0]
    twice = listed([*starts[:20], *starts[:20]], last=ranges)
    assert refusals(Rows.empty(), twice) == (), "a number counts once"
    assert refusals(Rows.empty(), listed(starts, last=ranges), Guard(max_first_cover=21_000_000)) == ()


def test_only_the_widest_ranges_are_named() -> None:
    starts = [6_281_300_000_000 + i * 10_000_000 for i in range(6)]
    wide = listed(starts, last={start: start + 9_999_999 for start in starts})
    reasons = refusals(listed(MANY), wide)
    assert [reason for reason in reasons if "the range" in reason] == list(reasons[:3])
    assert reasons[3] == "3 more of its ranges are too wide"


@given(plain_rows(), st.lists(st.sampled_from([1_000_000, 1_000_005, 62_811_000_000, 6_281_234_567_890]), unique=True))
def test_protected_numbers_are_found_as_a_scan_would(plain: list[Row], numbers: list[int]) -> None:
    expected = [n for n in sorted(numbers) if any(r.level == "block" and r.number <= n <= r.last for r in plain)]
    assert listed_protected(to_rows(plain), np.array(sorted(numbers), np.int64)).tolist() == expected


def test_ranges_over_protected_numbers_are_counted_not_paired() -> None:
    """Eighty thousand ranges that cover ten thousand protected numbers each: a minute of work as pairs, else none."""
    first = np.arange(80_000)
    rows = listed([MANY[0]] * len(first))
    rows = replace(rows, number=MANY[0] + first).with_last(MANY[0] + 500_000 - first)
    protected = MANY[0] + np.arange(200_000, 210_000)
    beside = np.array([MANY[0] - 1, MANY[0] + 500_001])
    began = time.process_time()
    found = listed_protected(rows, np.sort(np.concatenate((protected, beside))))
    assert time.process_time() - began < 5
    assert np.array_equal(found, protected)


@pytest.mark.parametrize("name", ["min_removed", "min_added", "max_cover", "max_first_cover"])
def test_a_negative_limit(name: str) -> None:
    with pytest.raises(InvalidInput):
        Guard(**{name: -1})


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_invalid_share(share: float) -> None:
    with pytest.raises(InvalidInput):
        Guard(max_removed=share)


MOMENTS = st.sampled_from([0, DAY_MS, 3 * DAY_MS, 9 * DAY_MS])


@given(plain_rows(), plain_rows(), MOMENTS, st.none() | MOMENTS, st.none() | MOMENTS, st.sampled_from([1, 2, 9]))
def test_to_look_where_the_lists_differ_is_to_look_at_all(
    old: list[Row],
    new: list[Row],
    now_ms: int,
    old_published_ms: int | None,
    new_published_ms: int | None,
    counted_first: int,
) -> None:
    strict = Guard(max_removed=0.3, min_removed=0, max_added=0.2, min_added=1)
    for single in (True, False):
        was, will = (to_rows([replace(row, last=row.number) if single else row for row in rows]) for rows in (old, new))
        refuses = partial(
            strict.refuses,
            was,
            will,
            NOBODY,
            now_ms=now_ms,
            old_published_ms=old_published_ms,
            new_published_ms=new_published_ms,
        )
        everywhere = refuses()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("blocklist_sdk.release.windows._COUNTED_FIRST", counted_first)
            assert refuses(changes=difference(was, will)) == everywhere


def test_a_moment_that_is_taken_back_is_judged_where_no_row_differs() -> None:
    """A list that was let in ahead of this clock, and then signed again, in a new era, as of today: it begins later."""
    later = replace(listed(MANY), since=np.full(len(MANY), 20 * DAY_MS))
    refuses = partial(Guard().refuses, later, later, NOBODY, now_ms=10 * DAY_MS, changes=difference(later, later))
    assert "unblock 1,000 numbers" in refuses(old_published_ms=30 * DAY_MS, new_published_ms=9 * DAY_MS)[0]
    assert refuses(old_published_ms=9 * DAY_MS, new_published_ms=9 * DAY_MS) == ()


# With a publisher and a recipient


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


HALF = FIRST[:1500]


def test_a_release_that_drops_half_is_refused_and_then_accepted_by_hand(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(HALF)
    for _ in range(2):
        with pytest.raises(Refused, match="--accept 2") as caught:
            recipient.sync()
        assert (caught.value.serial, len(caught.value.reasons)) == (2, 2 - 1)
        assert FIRST[-1] in recipient
        status = recipient.status()
        assert (status.serial, status.refused, bool(status.refusals)) == (1, 2, True)
        assert status.last_error is not None
        assert status.last_error.startswith("Refused")
    with pytest.raises(Refused):
        recipient.sync(accept=3)
    assert recipient.sync(accept=2).after == 2
    assert FIRST[-1] not in recipient
    assert recipient.status().refused is None


def test_a_refused_release_is_not_fetched_again(world: World) -> None:
    with serving(world.repository) as url:
        recipient = world.recipient(url=url)
        recipient.sync()
        world.release(HALF)
        with pytest.raises(Refused):
            recipient.sync()
        for file in world.release_files("*.2.delta.parquet"):
            file.unlink()
        with pytest.raises(Refused):
            recipient.sync()


def test_the_release_after_a_bad_one_passes_by_itself(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(HALF)
    with pytest.raises(Refused):
        recipient.sync()
    world.release(FIRST[:-3])
    assert recipient.sync().after == 3
    assert FIRST[-1] not in recipient


def test_a_wide_range_is_refused_and_then_accepted_by_hand(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.publisher.release(FEED, pa.table({"number": [*FIRST, "08123*"]}), max_cover=10**11)
    with pytest.raises(Refused, match="which covers 100,000,000 numbers, more than"):
        recipient.sync()
    assert recipient.sync(accept=2).after == 2
    world.publisher.release(FEED, pa.table({"number": [*FIRST[:-1], "08123*"]}), max_cover=10**11)
    assert recipient.sync().after == 3, "a range that is in force is not refused again"


def test_a_new_recipient_refuses_every_mobile_number(world: World) -> None:
    world.publisher.release(FEED, pa.table({"number": ["08*"]}), max_cover=10**13)
    with pytest.raises(Refused, match=r"the range \+628#{9}, which covers 831,000,000 numbers"):
        world.recipient().sync()


def test_a_guard_with_other_settings_is_asked_again(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(HALF)
    with pytest.raises(Refused):
        recipient.sync()
    easy = reopened(world, guard=Guard(max_removed=0.6))
    assert easy.sync().after == 2


def reopened(world: World, **options: object) -> Blocklist:
    return Blocklist.open(
        world.url,
        feed=FEED,
        root=world.directory / "publisher" / "root.json",
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
        **options,  # type: ignore[arg-type]
    )


def test_without_a_guard_everything_passes(world: World) -> None:
    recipient = reopened(world, guard=None)
    recipient.sync()
    world.release(HALF)
    assert recipient.sync().after == 2


def test_a_protected_number_of_the_authority_is_never_blocked(world: World) -> None:
    """Also if it was listed before it was protected, and if a thief with the keys lists it."""
    recipient = world.recipient()
    recipient.sync()
    assert LISTED in recipient
    world.publisher.protect([LISTED])
    recipient.sync()
    assert LISTED not in recipient
    verdict = recipient.check(LISTED)
    assert (verdict.blocked, verdict.level, verdict.reason) == (False, None, "protected")
    assert len(verdict.entries) == 1
    assert recipient.screen(column_of(LISTED)).to_pylist()[0]["reason"] == "protected"
    with pytest.raises(InvalidInput, match="protected"):
        recipient.overrides.block(LISTED, reason="no")


def test_what_is_protected_from_now_on_does_not_wait_for_a_refused_release(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.publisher.protect([LISTED])
    world.release(HALF)
    with pytest.raises(Refused):
        recipient.sync()
    assert world.recipient().check(LISTED).reason == "protected"
    assert world.recipient().status().serial == 1


def test_what_is_protected_stays_so_while_the_cache_is_wiped(world: World) -> None:
    world.publisher.protect([LISTED])
    recipient = world.recipient()
    with pytest.raises(Refused):
        recipient.sync()
    recipient.sync(accept=1)
    shutil.rmtree(world.directory / "cache")
    recipient.overrides.allow(FIRST[3], reason="appeal 17")
    assert recipient.check(FIRST[4]).blocked
    assert recipient.check(LISTED).reason == "protected"
    assert LISTED not in recipient


def column_of(*texts: str) -> Any:
    import pyarrow as pa

    return pa.array(texts)


def test_a_release_with_a_protected_number_of_ones_own_is_refused(world: World) -> None:
    own = world.directory / "own.txt"
    own.write_text(f"# our own lines\n{FIRST[7]}\n")
    recipient = reopened(world, protected=own)
    with pytest.raises(Refused, match="no feed may list"):
        recipient.sync()
    impact = recipient.dry_run()
    assert impact.protected == (int(FIRST[7][1:]),)
    recipient.sync(accept=1)
    assert FIRST[7] not in recipient
    assert FIRST[8] in recipient


def test_protected_numbers_that_cannot_be_read(world: World) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        reopened(world, protected=world.directory / "nowhere.txt")
    with pytest.raises(InvalidInput):
        reopened(world, protected=["GoPay"])


def test_a_preview_shows_everything_and_changes_nothing(world: World) -> None:
    recipient = world.recipient()
    first = recipient.dry_run()
    assert (first.before, first.after, first.rows_after, first.refusals) == (None, 1, len(FIRST), ())
    assert recipient.status().serial is None
    recipient.sync()
    recipient.overrides.allow(FIRST[-1], reason="appeal 17")
    world.release([*HALF, "+6281200009777", "+628111234567"])
    before = everything(world.directory / "cache" / FEED / "generations"), recipient.status().serial
    impact = recipient.dry_run()
    assert (everything(world.directory / "cache" / FEED / "generations"), recipient.status().serial) == before
    assert (impact.total.added, impact.total.removed, impact.total.changed) == (2, 1500, 0)
    assert impact.by_category["fraud"].removed == 1500
    assert impact.by_operator["telkomsel"].added == 2
    assert [override.reason for override in impact.overrides] == ["appeal 17"]
    assert "unblock 1,500 numbers" in impact.refusals[0]
    recipient.sync(accept=f"2:{impact.digest}")
    assert recipient.dry_run().total.added == 0


def test_a_preview_counts_a_range_under_the_operator_that_has_all_of_it(world: World) -> None:
    ranges = ["0812345678##", "0812345679##", "0857123456##", "+6281399990000-+6281400009999"]
    world.release([*FIRST, *ranges])
    recipient = world.recipient()
    operators = recipient.dry_run().by_operator
    assert {name: tally.added for name, tally in operators.items()} == {
        "": 1,
        "indosat": 1,
        "telkomsel": len(FIRST) + 2,
    }


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_state_file_of_before_is_still_read(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    path = world.directory / "cache-state" / FEED / "state.json"
    document = json.loads(path.read_text())
    del document["refused"]
    path.write_text(json.dumps(document))
    assert recipient.status().refused is None
    assert recipient.sync().kind == "none"


def test_feeds_are_guarded_one_by_one(world: World) -> None:
    one, other = world.recipient(), world.recipient(feed=OTHER_FEED)
    one.sync(), other.sync()
    world.release(HALF)
    with pytest.raises(Refused):
        one.sync()
    assert other.sync().kind == "none"


def test_past_its_expiry_a_list_serves_or_raises_as_the_policy_says(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    from blocklist_sdk import Stale

    world.recipient().sync()
    pointer = world.directory / "cache" / FEED / "current.json"
    document = json.loads(pointer.read_text())
    past = datetime.now(UTC) - timedelta(minutes=1)
    pointer.write_text(json.dumps({**document, "expires": past.isoformat()}))
    serving_on = reopened(world)
    assert LISTED in serving_on
    assert serving_on.check(LISTED).stale
    assert caplog.text.count("past its signed expiry") == 1
    strict = reopened(world, when_stale="raise")
    for ask in (lambda: LISTED in strict, lambda: strict.check(LISTED), lambda: strict.screen(column_of(LISTED))):
        with pytest.raises(Stale):
            ask()
    with pytest.raises(InvalidInput):
        reopened(world, when_stale="sometimes")
