"""A recipient's own decisions take effect at once and everywhere, until their end, and are never lost."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, InvalidNumber, Malformed, Override, times
from support.clock import Clock
from support.waiting import until
from support.world import FEED, FIRST, LISTED, SECOND, World, make_world

FREE = "+6281299999999"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def recipient(world: World) -> Blocklist:
    recipient = world.recipient()
    recipient.sync()
    return recipient


def reasons(recipient: Blocklist, *numbers: str) -> list[str]:
    screened: list[str] = recipient.screen(pa.array(numbers)).column("reason").to_pylist()
    assert screened == [recipient.check(number).reason for number in numbers]
    assert recipient.screen(pa.array(numbers)).column("blocked").to_pylist() == [n in recipient for n in numbers]
    return screened


def test_overrides_go_before_the_feed_at_once_and_everywhere(recipient: Blocklist) -> None:
    assert reasons(recipient, LISTED, FREE) == ["listed", "not-listed"]
    allowed = recipient.overrides.allow("0812 0000 0001", reason="appeal 17", author="ayu")
    recipient.overrides.block(FREE, reason="our own case")
    assert reasons(recipient, LISTED, FREE) == ["override-allow", "override-block"]
    verdict = recipient.check(LISTED)
    assert (verdict.override, verdict.level, len(verdict.entries)) == (allowed, None, 1)
    assert recipient.check(FREE, scope="data").blocked
    assert (allowed.number, allowed.decision, allowed.reason, allowed.author) == (
        6281200000001,
        "allow",
        "appeal 17",
        "ayu",
    )
    assert recipient.overrides.remove(LISTED)
    assert not recipient.overrides.remove(LISTED)
    assert reasons(recipient, LISTED, FREE) == ["listed", "override-block"]


def test_they_survive_every_sync_and_a_wiped_cache(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(LISTED, reason="appeal 17")
    world.release(SECOND)
    recipient.sync()
    assert LISTED not in recipient
    import shutil

    shutil.rmtree(world.directory / "cache")
    again = world.recipient()
    again.sync()
    assert LISTED not in again


def test_an_override_ends_by_itself(recipient: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(datetime.now(UTC))
    clock.install(monkeypatch)
    recipient.overrides.allow(LISTED, reason="for now", until=clock.now + timedelta(seconds=1))
    assert LISTED not in recipient
    clock.at_s += 1
    assert reasons(recipient, LISTED) == ["listed"]
    assert len(recipient.overrides) == 1
    assert recipient.status().overrides == 0


@pytest.mark.timing
def test_another_process_sees_them_within_a_second(world: World, recipient: Blocklist) -> None:
    other = world.recipient()
    assert LISTED in other
    decide = (
        "import sys; from blocklist_sdk import Blocklist\n"
        "with Blocklist.open(sys.argv[1], feed=sys.argv[2], root=sys.argv[3], region='ID', cache_dir=sys.argv[4],\n"
        "                    state_dir=sys.argv[5]) as bl: bl.overrides.allow(sys.argv[6], reason='appeal')\n"
    )
    arguments = [
        world.url,
        FEED,
        world.directory / "publisher" / "root.json",
        world.directory / "cache",
        world.directory / "cache-state",
        LISTED,
    ]
    subprocess.run([sys.executable, "-c", decide, *map(str, arguments)], check=True, timeout=60)
    until(lambda: LISTED not in other)


@pytest.mark.parametrize(
    ("number", "options", "words"),
    [
        ("GoPay", {"reason": "x"}, "letters"),
        ("0812-3456-XXXX", {"reason": "x"}, "X hides a digit"),
        (LISTED, {"reason": "  "}, "reason"),
        (LISTED, {"reason": "x", "until": datetime(2026, 1, 1, tzinfo=UTC)}, "must be in the future"),
        (LISTED, {"reason": "x", "until": datetime(2099, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
    ids=["no number", "a masked number", "no reason", "an end in the past", "an end without a zone"],
)
def test_invalid_overrides(recipient: Blocklist, number: str, options: dict[str, object], words: str) -> None:
    for decide in (recipient.overrides.allow, recipient.overrides.block):
        with pytest.raises(InvalidInput, match=words):
            decide(number, **options)  # type: ignore[arg-type]
    assert list(recipient.overrides) == []
    assert LISTED in recipient


def test_in_and_out_as_csv(recipient: Blocklist, tmp_path: Path) -> None:
    until = datetime(2099, 5, 1, tzinfo=UTC)
    recipient.overrides.allow(LISTED, reason='a, "quoted" reason', until=until, author="ayu")
    recipient.overrides.block(FREE, reason="our own")
    file = tmp_path / "overrides.csv"
    assert recipient.overrides.export_csv(file) == 2
    before = [(o.number, o.decision, o.reason, o.author, o.until) for o in recipient.overrides]
    for override in list(recipient.overrides):
        recipient.overrides.remove(override.number)
    found = recipient.overrides.import_file(file)
    assert (found.rows, found.rejects) == (2, ())
    assert [(o.number, o.decision, o.reason, o.author, o.until) for o in recipient.overrides] == before


@pytest.mark.parametrize("reason", ["=1+1", "\uff1d1+1", "|calc", "'=1", "\u200b@x", "- see above", "'tis"])
def test_a_reason_that_looks_like_a_formula_comes_back(recipient: Blocklist, tmp_path: Path, reason: str) -> None:
    recipient.overrides.allow(LISTED, reason=reason, author=reason)
    file = tmp_path / "overrides.csv"
    recipient.overrides.export_csv(file)
    assert reason == "'tis" or f",'{reason}," in file.read_text(encoding="utf-8")
    recipient.overrides.remove(LISTED)
    recipient.overrides.import_file(file)
    assert [(o.reason, o.author) for o in recipient.overrides] == [(reason, reason)]


def test_bad_lines_are_rejected_one_by_one(recipient: Blocklist, tmp_path: Path) -> None:
    file = tmp_path / "overrides.csv"
    file.write_text(
        f"number,decision,reason,until\n{LISTED},allow,good,\nGoPay,allow,x,\n{FREE},maybe,x,\n{FREE},block,,\n"
        f"{FREE},block,x,yesterday\n"
    )
    found = recipient.overrides.import_file(file, author="import")
    assert found.rows == 1
    assert [reject.line for reject in found.rejects] == [3, 4, 5, 6]
    assert [o.author for o in recipient.overrides] == ["import"]
    file.write_text("number,why\n")
    with pytest.raises(InvalidInput, match="decision, reason"):
        recipient.overrides.import_file(file)
    with pytest.raises(InvalidInput, match="cannot read"):
        recipient.overrides.import_file(tmp_path / "nowhere.csv")


def test_a_damaged_file_is_loud_and_loses_nothing_that_is_open(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(LISTED, reason="appeal 17")
    file = world.directory / "cache-state" / FEED / "recipient.sqlite"
    file.write_bytes(b"\0" * 100 + b"no database" * 1000)
    # An open list goes on with the overrides that it has read; one that opens now does not answer without them.
    assert LISTED not in recipient
    with pytest.raises(Malformed, match="overrides"):
        world.recipient().check(LISTED)
    with pytest.raises(Malformed):
        recipient.overrides.block(FREE, reason="x")


def test_a_file_of_a_newer_version(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(LISTED, reason="appeal 17")
    file = world.directory / "cache-state" / FEED / "recipient.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(InvalidInput, match="newer"):
        world.recipient().check(LISTED)
    with pytest.raises(InvalidInput, match="newer"):
        recipient.overrides.remove(LISTED)
    assert file.read_bytes() == before


def test_nothing_is_written_where_nothing_was_decided(world: World, recipient: Blocklist) -> None:
    assert list(recipient.overrides) == []
    assert recipient.overrides.get(LISTED) is None
    assert not (world.directory / "cache-state" / FEED / "recipient.sqlite").exists()


def test_a_first_decision_that_was_cut_short_leaves_nothing_behind(world: World, recipient: Blocklist) -> None:
    """SQLite makes the file before it writes into it; a killed process, or a full disk, leaves it empty."""
    file = world.directory / "cache-state" / FEED / "recipient.sqlite"
    file.touch()
    for each in (recipient, world.recipient()):
        assert LISTED in each
        assert list(each.overrides) == []
        assert each.status().held == {}
        assert not each.overrides.remove(LISTED)
    recipient.overrides.allow(LISTED, reason="appeal 17")
    assert LISTED not in world.recipient()


def test_changes_say_what_was_decided(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(FIRST[50], reason="appeal 17")
    recipient.hold("sink", 1)
    world.release(SECOND)
    recipient.sync()
    found = {change.entry.number: change for change in recipient.changes(since=1)}
    override = found[int(FIRST[50][1:])].override
    assert isinstance(override, Override)
    assert override.reason == "appeal 17"
    assert found[int(FIRST[51][1:])].override is None


def test_an_invalid_number_raises_invalid_number(recipient: Blocklist) -> None:
    with pytest.raises(InvalidNumber):
        recipient.overrides.remove("nan")


def test_what_a_killed_writer_left_is_not_taken_for_a_later_change(
    recipient: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its half-written change has the stamp that the next whole one will have, until a reader undoes it."""
    recipient.overrides.allow(LISTED, reason="appeal 17")
    stamp = recipient.overrides.stamp()
    assert stamp is not None
    half_written = (*stamp[:2], b"half")
    stamps = [half_written, stamp, stamp]
    monkeypatch.setattr(recipient.overrides, "stamp", lambda: stamps.pop(0))
    found, seen = recipient.overrides.load_stamped()
    assert ([override.number for override in found], seen) == ([int(LISTED[1:])], stamp)


def test_an_end_beyond_the_last_moment(recipient: Blocklist, tmp_path: Path) -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(InvalidInput, match="after the last date"):
        recipient.overrides.allow(LISTED, reason="x", until=last)
    file = tmp_path / "overrides.csv"
    file.write_text(f"number,decision,reason,until\n{LISTED},allow,x,{last.isoformat()}\n{FREE},block,x,\n")
    found = recipient.overrides.import_file(file)
    assert (found.rows, [reject.line for reject in found.rejects]) == (1, [2])


@pytest.mark.parametrize("reason", [5, None, "a \udcff"], ids=str)
def test_a_reason_that_is_not_text(recipient: Blocklist, reason: object) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        recipient.overrides.allow(LISTED, reason=reason)  # type: ignore[arg-type]


def test_syncs_go_on_where_the_overrides_are_damaged(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(FREE, reason="x")
    (world.directory / "cache-state" / FEED / "recipient.sqlite").write_bytes(b"no database" * 1000)
    world.release(SECOND)
    assert recipient.sync().after == 2


def test_a_removal_is_remembered_and_a_loss_is_none(world: World, recipient: Blocklist) -> None:
    assert recipient.overrides.removals() == {}
    before = times.now()
    for number in (LISTED, FREE):
        recipient.overrides.block(number, reason="own")
    assert recipient.overrides.remove(FREE)
    assert not recipient.overrides.remove(FREE)
    ((named, at),) = world.recipient().overrides.removals().items()
    assert named == (recipient.check(FREE).number,) * 2
    assert before <= at <= times.now()
    file = world.directory / "cache-state" / FEED / "recipient.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM overrides")
        connection.execute("UPDATE removals SET at = '2020-01-01T00:00:00+00:00'")
    connection.close()
    assert len(world.recipient().overrides.removals()) == 1
    recipient.overrides.block(FREE, reason="own")
    assert recipient.overrides.remove(FREE)
    assert all(at >= before for at in recipient.overrides.removals().values())


def test_a_file_of_an_earlier_version_has_no_removals(world: World, recipient: Blocklist) -> None:
    recipient.overrides.block(FREE, reason="own")
    file = world.directory / "cache-state" / FEED / "recipient.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE removals")
    connection.close()
    assert recipient.overrides.removals() == {}
    assert recipient.overrides.remove(FREE)
    assert len(recipient.overrides.removals()) == 1
