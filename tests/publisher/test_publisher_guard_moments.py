"""What the publisher's guard is not fooled by: ends that are moved, wrong clocks, numbers that are protected since.

What a wrong clock or a protected number changes is no decision of whoever publishes a list.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Malformed, Publisher, Refused
from blocklist_sdk.publisher import Timing

PASSPHRASE = "generated for a test"
FEED = "id-all"
FIRST_NUMBER = 6_281_200_000_000


def numbers(count: int, start: int = 0) -> pa.Table:
    return pa.table({"number": pa.array(range(FIRST_NUMBER + start, FIRST_NUMBER + start + count), pa.int64())})


def texts(count: int, start: int = 0) -> list[str]:
    return [f"+{FIRST_NUMBER + start + i}" for i in range(count)]


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


# Ends and beginnings that are moved


@pytest.mark.parametrize(
    ("ahead", "is_refused"),
    [
        (timedelta(hours=1), True),
        (timedelta(hours=26), True),
        (timedelta(days=31), True),
        (timedelta(days=31, seconds=1), False),
    ],
)
def test_a_list_that_ends_within_the_month_is_lifted(
    publisher: Publisher, clock: Clock, ahead: timedelta, is_refused: bool
) -> None:
    publisher.release(FEED, numbers(500))
    ending = numbers(500).append_column("until", pa.array([clock.now + ahead] * 500))
    assert bool(publisher.dry_run(FEED, ending).refusals) is is_refused
    if is_refused:
        with pytest.raises(Refused, match="unblock 500 numbers, 100 %"):
            publisher.release(FEED, ending)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=26), timedelta(days=30)])
def test_numbers_that_begin_within_the_month_are_added(publisher: Publisher, clock: Clock, ahead: timedelta) -> None:
    publisher.release(FEED, numbers(500))
    since = pa.array([None] * 500 + [clock.now + ahead] * 5_000)
    with pytest.raises(Refused, match="begin to block 5,000 numbers"):
        publisher.release(FEED, numbers(5_500).append_column("since", since))


def test_a_list_whose_ends_are_put_off_does_not_begin_to_block(publisher: Publisher, clock: Clock) -> None:
    until = pa.array([clock.now + timedelta(days=40)] * 3_000)
    publisher.release(FEED, numbers(3_000).append_column("until", until))
    clock.now += timedelta(days=30)
    later = pa.array([clock.now + timedelta(days=200)] * 6_000)
    assert publisher.release(FEED, numbers(6_000).append_column("until", later)).added == 3_000


def test_a_range_does_not_hide_that_every_single_number_is_gone(publisher: Publisher) -> None:
    wide = pa.table({"number": ["0813555#####"]})
    publisher.release(FEED, pa.table({"number": ["0813555#####", *texts(5_000)]}))
    with pytest.raises(Refused, match="unblock 5,000 single numbers, 100 % of the 5,000"):
        publisher.release(FEED, wide)
    with pytest.raises(Refused, match="begin to block 6,000 single numbers, 120 % of the 5,000"):
        publisher.add(FEED, texts(6_000, start=5_000))


@pytest.mark.parametrize(
    ("gone", "come", "is_refused"), [(50, 0, False), (51, 0, True), (0, 1_000, False), (0, 1_001, True)]
)
def test_beside_a_range_single_numbers_have_the_limits_of_a_list_without_it(
    publisher: Publisher, gone: int, come: int, is_refused: bool
) -> None:
    publisher.release(FEED, pa.table({"number": ["0813555#####", *texts(500)]}))
    changed = pa.table({"number": ["0813555#####", *texts(500 - gone + come, start=gone)]})
    assert bool(publisher.dry_run(FEED, changed).refusals) is is_refused


@pytest.mark.parametrize("padding", ["advisories", "nobody's numbers"])
def test_padding_buys_no_room(publisher: Publisher, padding: str) -> None:
    """Ten thousand entries over numbers that nobody can have, or that block nobody, and a hundred that do."""
    pad = {
        "advisories": (["0813555#####"], "advisory"),
        "nobody's numbers": ([f"+99912{i:03}####" for i in range(500)], "block"),
    }
    patterns, level = pad[padding]
    columns = {"number": [*texts(100), *patterns], "level": [*["block"] * 100, *[level] * len(patterns)]}
    table = pa.table(columns)
    publisher.release(FEED, table, max_rejects=1)
    assert bool(publisher.dry_run(FEED, table.slice(20), max_rejects=1).refusals) is False
    assert bool(publisher.dry_run(FEED, table.slice(21), max_rejects=1).refusals) is True


# Clocks that are wrong


def test_a_slow_clock_does_not_turn_the_guard_off(publisher: Publisher, clock: Clock) -> None:
    publisher.release(FEED, numbers(500))
    clock.now -= timedelta(days=2)
    with pytest.raises(Refused, match="unblock 470 numbers"):
        publisher.release(FEED, numbers(30))
    assert publisher.dry_run(FEED, numbers(30)).blocked_before == 500
    assert publisher.remove(FEED, texts(1)).removed == 1


def test_a_clock_that_was_ahead_once_does_not_put_later_numbers_off(publisher: Publisher, clock: Clock) -> None:
    right = clock.now
    clock.now += timedelta(days=400)
    publisher.release(FEED, numbers(500))
    clock.now = right + timedelta(hours=1)
    publisher.add(FEED, texts(1, start=1_000))
    feed = publisher.status().feeds[0]
    assert feed.published_at == right + timedelta(days=400)
    impact = publisher.dry_run(FEED, texts(1, start=1_000), edit="remove")
    assert [each.entry.since for each in impact.surprising] == [clock.now]
    assert impact.unblocked == 1


def test_blocks_that_ended_by_the_clock_are_said(publisher: Publisher, clock: Clock) -> None:
    until = pa.array([clock.now + timedelta(days=10)] * 100 + [None] * 400)
    table = numbers(500).append_column("until", until)
    publisher.release(FEED, table)
    clock.now += timedelta(days=20)
    said: list[str] = []
    left = table.slice(100)
    assert publisher.dry_run(FEED, left, notify=said.append).ended == 100
    publisher.release(FEED, left, notify=said.append)
    assert said == [
        f"100 of 500 blocks of release 1 have ended by now, {clock.now:%Y-%m-%dT%H:%M:%SZ} by this machine's clock: if "
        "that is not so, set the clock right"
    ]


@pytest.mark.parametrize(("days", "is_refused"), [(31, False), (32, True)])
def test_a_clock_beyond_every_end_needs_a_look_after_a_month(
    publisher: Publisher, clock: Clock, days: int, is_refused: bool
) -> None:
    until = pa.array([clock.now + timedelta(days=10)] * 500)
    publisher.release(FEED, numbers(500).append_column("until", until))
    clock.now += timedelta(days=days)
    few = numbers(30, start=1_000)
    if is_refused:
        with pytest.raises(
            Refused, match=r"500 of 500 blocks of release 1 have ended .* nothing .* is left to compare"
        ):
            publisher.release(FEED, few)
    assert publisher.release(FEED, few, accept=is_refused).rows == 30


# Numbers that are protected since


def test_what_protection_lifts_is_no_removal_and_no_mistake_of_the_list(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    publisher.protect(texts(60))
    said: list[str] = []
    result = publisher.release(FEED, numbers(100), notify=said.append)
    assert (result.removed, result.invalid, result.rows) == (60, 60, 40)
    assert "60 entries of the current list on numbers that are protected now" in said[0]
    assert publisher.remove(FEED, texts(1, start=60)).removed == 1


def test_a_range_is_cut_around_a_protected_number(publisher: Publisher, tmp_path: Path) -> None:
    columns = {"number": ["+628130000####"], "category": ["phishing"]}
    publisher.release(FEED, pa.table({**columns, "until": ["2099-01-01"], "level": ["block"]}))
    before = publisher.dry_run(FEED, ["+628130000####"], edit="remove").surprising[0].entry
    publisher.protect(["+6281300000500"])
    result = publisher.release(FEED, pa.table(columns))
    assert (result.removed, result.added, result.invalid, result.reach) == (1, 2, 0, 9_999)
    recipient = Blocklist.open(
        publisher.repository.as_uri(), feed=FEED, root=publisher.root, region="ID", cache_dir=tmp_path / "cache"
    )
    recipient.sync()
    assert "+6281300000499" in recipient
    assert "+6281300000500" not in recipient
    assert "+6281300000501" in recipient
    entries = [*recipient.entries("+6281300000499"), *recipient.entries("+6281300000501")]
    assert [(each.number, each.last) for each in entries] == [
        (6281300000000, 6281300000499),
        (6281300000501, 6281300009999),
    ]
    for each in entries:
        assert (each.category, each.since, each.until, each.issuer) == (
            "phishing",
            before.since,
            before.until,
            before.issuer,
        )
    assert {each.entry for each in entries} == {2, 3}
    # From then on the pieces are what the list says.
    again = publisher.release(FEED, pa.table(columns))
    assert (again.removed, again.added, again.changed) == (0, 0, 0)


@pytest.mark.parametrize("edit", ["add", "remove"])
def test_a_part_that_is_published_cuts_ranges_as_well(publisher: Publisher, edit: str) -> None:
    publisher.release(FEED, pa.table({"number": ["+628130000####", *texts(2)]}))
    publisher.protect(["+6281300000000"])
    result = publisher.add(FEED, texts(1, start=9)) if edit == "add" else publisher.remove(FEED, texts(1))
    assert result.reach == 9_999 + (3 if edit == "add" else 1)
    assert publisher.status().feeds[0].last_entry == (5 if edit == "add" else 4)


# What is accepted is what was refused


@pytest.mark.parametrize("between", ["scope", "protection"])
def test_accept_is_for_a_result_and_not_for_a_file(publisher: Publisher, between: str) -> None:
    publisher.release(FEED, numbers(100))
    large = numbers(5_000)
    with pytest.raises(Refused):
        publisher.release(FEED, large)
    if between == "scope":
        publisher.set_scope(FEED, "messaging")
    else:
        publisher.protect(texts(1, start=500))
    with pytest.raises(InvalidInput, match="the feed's scope or the protected numbers were different"):
        publisher.release(FEED, large, accept=True)
    with pytest.raises(Refused):
        publisher.release(FEED, large)
    assert publisher.release(FEED, large, accept=True).serial == 2


def test_accept_is_not_taken_on_a_later_release_with_the_same_contents(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    with pytest.raises(Refused):
        publisher.release(FEED, numbers(10))
    publisher.release(FEED, numbers(101))
    publisher.release(FEED, numbers(100))
    with pytest.raises(InvalidInput, match="a release has been published since"):
        publisher.release(FEED, numbers(10), accept=True)


@pytest.mark.parametrize("edit", ["add", "remove"])
def test_a_part_may_be_accepted_the_next_day(publisher: Publisher, clock: Clock, edit: str) -> None:
    publisher.release(FEED, numbers(100))
    part = texts(50) if edit == "remove" else texts(2_000, start=1_000)
    publish = publisher.remove if edit == "remove" else publisher.add
    with pytest.raises(Refused) as caught:
        publish(FEED, part)
    assert "Publisher.add" not in str(caught.value)
    assert f"the numbers to {edit}" in str(caught.value)
    clock.now += timedelta(days=1)
    assert publish(FEED, part, accept=True).serial == 2


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "feeds": 7}',
        b'{"format": 1, "feeds": {"id-all": []}}',
        b'{"format": 1, "feeds": {"id-all": {"digest": "0", "list": "0"}}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_memory_of_refusals_counts_as_none(publisher: Publisher, damaged: bytes) -> None:
    publisher.release(FEED, numbers(100))
    memory = publisher.directory / "refused.json"
    memory.write_bytes(damaged)
    with pytest.raises(InvalidInput, match="nothing was refused on this feed"):
        publisher.release(FEED, numbers(10), accept=True)
    with pytest.raises(Refused, match="unblock 90 numbers"):
        publisher.release(FEED, numbers(10))
    assert publisher.release(FEED, numbers(10), accept=True).removed == 90


def test_a_refusal_that_cannot_be_stored_is_a_refusal(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100))
    os.mkdir(publisher.directory / "refused.json")
    with pytest.raises(Refused, match=r"unblock 90 numbers.* cannot be accepted until this is mended"):
        publisher.release(FEED, numbers(10))


@pytest.mark.parametrize("settings", [b'{"format": 1, "scopes": []}', b'{"format": 1, "scopes": {"id-all": 3}}'])
def test_damaged_settings_are_said(publisher: Publisher, settings: bytes) -> None:
    (publisher.directory / "publisher.json").write_bytes(settings)
    with pytest.raises(Malformed, match=r"publisher\.json is damaged: scopes"):
        publisher.release(FEED, numbers(1), region="ID")


# Another issuer


def test_entries_that_get_new_ids_for_another_issuer_are_said(publisher: Publisher) -> None:
    publisher.release(FEED, numbers(100), issuer="authority")
    said: list[str] = []
    result = publisher.release(FEED, numbers(100), issuer="ministry", notify=said.append)
    assert (result.added, result.removed) == (100, 100)
    assert said == [
        "100 entries with a new id, because the list names another issuer for the number than the current release: "
        "recipients see one entry end and another begin. If that is not meant, name the same issuer: --issuer "
        "(issuer=), or the list's column"
    ]
    said.clear()
    publisher.release(FEED, numbers(101), issuer="ministry", notify=said.append)
    assert said == []
