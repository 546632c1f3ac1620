"""What lies on the disk is read again: all of a short list by every sync, of a long one what is due, once a day."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from blocklist_sdk import times
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.state import Scrub, load_state, save_state
from blocklist_sdk.recipient.sync.scrub import PASS_TIME, pieces_at_once, pieces_due, read_pieces
from support.world import FIRST, Recipient, World, copy_world, make_world

NOW = times.from_ms(1_800_000_000_000)
NUMBERS = [f"+62811{i:08}" for i in range(20_000)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.mark.parametrize(
    ("hours", "pieces", "due"), [(0, 0, 0), (1, 0, 5), (1, 3, 2), (1, 9, 0), (24, 50, 50), (99, 0, 100), (-1, 0, 0)]
)
def test_what_is_due(hours: int, pieces: int, due: int) -> None:
    scrub = Scrub(begun_at=NOW - timedelta(hours=hours), pieces=pieces)
    assert pieces_due(scrub, pieces=100, now=NOW) == due


def test_a_sync_reads_little_of_a_long_list_and_all_of_a_short_one() -> None:
    scrub = Scrub(begun_at=NOW - PASS_TIME, pieces=7)
    assert pieces_at_once(scrub, pieces=100, bytes=1 << 30, now=NOW) == 2
    assert pieces_at_once(replace(scrub, begun_at=NOW), pieces=100, bytes=1 << 30, now=NOW) == 0
    assert pieces_at_once(replace(scrub, begun_at=NOW), pieces=9, bytes=1 << 20, now=NOW) == 9


class Pieces:
    """A generation that says which pieces were read."""

    def __init__(self, pieces: int, damaged: int | None = None) -> None:
        self.name = "000000000001-1-0a0a0a0a"
        self.read: list[int] = []
        self._pieces, self._damaged = pieces, damaged

    def pieces(self) -> int:
        return self._pieces

    def is_piece_whole(self, piece: int) -> bool:
        self.read.append(piece)
        return piece != self._damaged


def read(found: Pieces, scrub: Scrub, count: int, now: datetime = NOW) -> Scrub:
    generation: Generation = found  # type: ignore[assignment]
    return read_pieces(generation, scrub, count=count, now=now)


def test_a_pass_reads_each_piece_once_and_then_begins_anew() -> None:
    found, scrub = Pieces(5), Scrub(begun_at=NOW - PASS_TIME)
    scrub = read(found, scrub, 2)
    assert (scrub.pieces, scrub.whole_at) == (2, None)
    scrub = read(found, scrub, 2)
    assert scrub == Scrub(begun_at=NOW - PASS_TIME, pieces=4)
    scrub = read(found, scrub, 2)
    assert scrub == Scrub(begun_at=NOW, whole_at=NOW)
    assert found.read == [0, 1, 2, 3, 4]
    # A list that became shorter, or all of it at once, is read from its beginning.
    assert read(Pieces(3), Scrub(begun_at=NOW, pieces=9), 1).pieces == 1
    whole = Pieces(3)
    assert read(whole, Scrub(begun_at=NOW, pieces=2), 3).whole_at == NOW
    assert whole.read == [0, 1, 2]


def test_a_damaged_piece_ends_the_reading_and_is_read_first_the_next_time() -> None:
    found = Pieces(5, damaged=1)
    scrub = read(found, Scrub(begun_at=NOW, whole_at=NOW), 4)
    assert scrub == Scrub(begun_at=NOW, pieces=1, whole_at=NOW, damaged=found.name)
    assert found.read == [0, 1]
    other = Pieces(5)
    other.name = "another"
    assert read(other, scrub, 2).damaged is None


def test_a_clock_that_was_set_back_delays_nothing() -> None:
    scrub = read(Pieces(5), Scrub(begun_at=NOW + PASS_TIME, pieces=1), 0)
    assert scrub == Scrub(begun_at=NOW, pieces=1)


def flip(recipient: Recipient, pattern: str) -> None:
    (path,) = sorted(internals_of(recipient).store.directory.glob(f"generations/*/{pattern}"))[-1:]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["rows.arrow", "nodes.arrow", "cells.arrow", "puts.arrow", "changed-cells.arrow"])
@pytest.mark.parametrize("is_new", [False, True], ids=["nothing new", "a delta"])
def test_a_flipped_bit_is_found_by_the_next_sync_and_healed(
    world: World, caplog: pytest.LogCaptureFixture, name: str, is_new: bool
) -> None:
    world.release(NUMBERS)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        others = [f"+62812{i:08}" for i in range(8_000)]
        world.release([*NUMBERS[10:], *others])
        recipient.sync()
        if name not in {path.name for path in internals_of(recipient).store.directory.glob("generations/*/*")}:
            pytest.skip("a file of another name has that")
        flip(recipient, name)
        if is_new:
            world.release([*NUMBERS[20:], *others])
        with caplog.at_level(logging.ERROR):
            assert recipient.sync().kind == "snapshot"
        assert "damaged" in caplog.text
        assert not recipient.verify().problems
        status = recipient.status()
        assert not status.damaged
        assert (NUMBERS[15] in recipient) is not is_new
        assert recipient.sync().kind == "none"
        assert recipient.status().whole_at is not None


def test_what_the_upkeep_found_is_shown_and_healed(world: World) -> None:
    with world.recipient() as recipient:
        recipient.sync()
        state_file = internals_of(recipient).state_file
        name = recipient.status().serial and internals_of(recipient).store.current()
        assert name
        state = load_state(state_file)
        save_state(state_file, replace(state, scrub=Scrub(begun_at=times.now(), damaged=name.generation)))
        assert recipient.status().damaged
        assert recipient.sync().kind == "snapshot"
        assert not recipient.status().damaged
        assert FIRST[1] in recipient
        assert recipient.sync().kind == "none"
