"""Many processes ask while one syncs releases that alternate: no answer is of anything but one whole release."""

import contextlib
import queue
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from blocklist_sdk import Blocklist, Publisher
from support.quick_processes import quick_processes
from support.scale import Tally, scaled
from support.world import LISTED, World, make_world, sync_accepting

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

READERS = scaled(2, long=8)
CHECKS = scaled(2000, long=50_000)
GENERATIONS_MIN = scaled(3, long=25)
"""Number of releases that every reader sees at least, however fast it is."""

PATIENCE_S = 300

TAILS = random.Random(51).sample(range(10**6), 4000)
ODD = [LISTED, *(f"+6281277{tail:06}" for tail in TAILS[:3000])]
EVEN = [LISTED, *(f"+6281277{tail:06}" for tail in TAILS[1000:])]
"""Generated; what the releases with odd and with even serials list. A thousand numbers are on one of them only."""

ASKED = sorted({*ODD[:1500], *EVEN[-1500:]})
ANSWERS = {remainder: [number in listed for number in ASKED] for remainder, listed in enumerate((set(EVEN), set(ODD)))}
"""What the whole of each release says, by what is left of its serial when divided by two."""

BATCH = 50


@dataclass
class Seen:
    """What a reader saw.

    Attributes:
        checks: numbers it asked about.
        serials: releases that answered.
        wrong: what was wrong.
    """

    checks: int
    serials: set[int]
    wrong: list[str]


class Reader:
    """Asks in every way, and compares with what the release that answers must say."""

    def __init__(self, blocklist: Blocklist, seed: int) -> None:
        self.blocklist = blocklist
        self.chance = random.Random(seed)
        self.seen = Seen(0, set(), [])
        self.column = pa.array(ASKED)

    def look(self) -> None:
        places = [self.chance.randrange(len(ASKED)) for _ in range(BATCH)]
        before = self.check_each(places)
        found = [ASKED[place] in self.blocklist for place in places]
        after = self.check_each(places)
        if not before <= after:
            self.seen.wrong.append(f"from release {before} back to {after}")
        if not self.is_from_whole_releases(found, places, before, after):
            self.seen.wrong.append(f"between release {before} and {after}: {found}")
        self.screen()
        self.seen.checks += 3 * BATCH

    def is_wanted(self) -> bool:
        return self.seen.checks < CHECKS or len(self.seen.serials) < GENERATIONS_MIN

    def check_each(self, places: list[int]) -> int:
        """Verdicts say which release they are of; the serial of the last one."""
        serial = 0
        for place in places:
            verdict = self.blocklist.check(ASKED[place])
            if verdict.blocked is not ANSWERS[verdict.serial % 2][place] or verdict.serial < serial:
                self.seen.wrong.append(f"release {verdict.serial} after {serial} says {verdict.blocked}")
            serial = verdict.serial
            self.seen.serials.add(serial)
        return serial

    @staticmethod
    def is_from_whole_releases(found: list[bool], places: list[int], before: int, after: int) -> bool:
        """Whether going over to the next release, no more often than there were releases, explains every answer."""
        serial = before
        for said, place in zip(found, places, strict=True):
            serial += said is not ANSWERS[serial % 2][place]
        return serial <= after

    def screen(self) -> None:
        """A whole column is of one release, whichever that is."""
        if self.blocklist.screen(self.column).column("blocked").to_pylist() not in ANSWERS.values():
            self.seen.wrong.append("a column of more than one release")


def read(world: World, seed: int, results: "Queue[Seen]") -> None:
    with world.recipient() as recipient:
        reader, until = Reader(recipient, seed), time.monotonic() + PATIENCE_S
        while reader.is_wanted() and time.monotonic() < until:
            reader.look()
    results.put(reader.seen)


def test_readers_of_alternating_releases(tmp_path: Path, tally: Tally) -> None:
    world = make_world(tmp_path)
    writer = world.recipient()
    world.release(EVEN)
    serial = writer.sync().after
    context = quick_processes()
    results: Queue[Seen] = context.Queue()
    # Keys that were opened stay in this process.
    theirs = replace(world, publisher=Publisher.open(world.publisher.directory, passphrase=None))
    readers = [context.Process(target=read, args=(theirs, seed, results), daemon=True) for seed in range(READERS)]
    for reader in readers:
        reader.start()
    seen: list[Seen] = []
    try:
        while len(seen) < READERS and any(reader.is_alive() for reader in readers):
            serial = world.release(EVEN if serial % 2 else ODD).serial
            assert sync_accepting(writer).after == serial
            with contextlib.suppress(queue.Empty):
                while True:
                    seen.append(results.get(timeout=0.05))
    finally:
        for reader in readers:
            reader.join(10)
            reader.kill()
    assert [wrong for each in seen for wrong in each.wrong] == []
    assert len(seen) == READERS
    assert all(each.checks >= CHECKS and len(each.serials) >= GENERATIONS_MIN for each in seen)
    tally(readers=READERS, answers=sum(each.checks for each in seen), syncs=serial - 1)
