"""Counters of all workers, in memory that they share: whichever worker is asked for figures has those of all.

A row belongs to one process, which alone writes it, so nothing is locked. The parent has a row as well.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Literal

from blocklist_sdk.lookup_server.problems import TITLES
from blocklist_sdk.recipient.sync_outcomes import OUTCOMES, SyncOutcome

Door = Literal["http", "unix", "redis"]
"""One way in."""

Answer = Literal["block", "advisory", "free", "invalid", "refused"]
"""What a question got: ``free`` if nothing is against the number, ``invalid`` if it is no number, ``refused`` if there
was no answer, as before the first sync."""

DOORS: Final[tuple[Door, ...]] = ("http", "unix", "redis")
ANSWERS: Final[tuple[Answer, ...]] = ("block", "advisory", "free", "invalid", "refused")
STATUSES: Final = (200, *sorted({status for status, _ in TITLES.values()}))
"""The statuses of HTTP answers."""

BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
"""The upper bounds of the buckets of the time that an answer took, seconds; the last bucket has none."""

_NANOSECONDS: Final = 1_000_000_000
_BYTES: Final = 8

_NUMBERS: Final = 0
_REQUESTS: Final = _NUMBERS + len(DOORS) * len(ANSWERS)
_OPEN: Final = _REQUESTS + len(DOORS) * len(STATUSES)
_REFUSED: Final = _OPEN + len(DOORS)
_SECONDS: Final = _REFUSED + len(DOORS)
_BUCKETS: Final = _SECONDS + len(DOORS)
_SYNCS: Final = _BUCKETS + len(DOORS) * (len(BUCKETS_S) + 1)
_LAST_SYNC: Final = _SYNCS + len(OUTCOMES)
_WIDTH: Final = _LAST_SYNC + 4

_DOOR: Final = {door: i for i, door in enumerate(DOORS)}
_ANSWER: Final = {answer: i for i, answer in enumerate(ANSWERS)}
_STATUS: Final = {status: i for i, status in enumerate(STATUSES)}


class DoorCounters:
    """The counters of one door in one process."""

    __slots__ = ("_bucket", "_cells", "_number", "_open", "_refused", "_request", "_seconds")

    def __init__(self, cells: memoryview, door: Door) -> None:
        """For `Counters.of`."""
        place = _DOOR[door]
        self._cells = cells
        self._number = {answer: _NUMBERS + place * len(ANSWERS) + i for answer, i in _ANSWER.items()}
        self._request = {status: _REQUESTS + place * len(STATUSES) + i for status, i in _STATUS.items()}
        self._open = _OPEN + place
        self._refused = _REFUSED + place
        self._seconds = _SECONDS + place
        self._bucket = _BUCKETS + place * (len(BUCKETS_S) + 1)

    def numbers(self, answer: Answer, count: int = 1) -> None:
        """Count numbers that were asked about, by what they got."""
        self._cells[self._number[answer]] += count

    def request(self, status: int) -> None:
        """Count an HTTP answer."""
        self._cells[self._request[status]] += 1

    def took(self, nanoseconds: int) -> None:
        """Count the time that a request took from its last byte to its answer."""
        cells = self._cells
        cells[self._seconds] += nanoseconds
        cells[self._bucket + bisect_left(BUCKETS_S, nanoseconds / _NANOSECONDS)] += 1

    def connections(self, change: int) -> None:
        """Count a connection that was opened (1) or closed (-1)."""
        self._cells[self._open] += change

    def connection_refused(self) -> None:
        """Count a connection that was refused, since as many were open as may be, and none could give way."""
        self._cells[self._refused] += 1


class Counters:
    """The counters of a service.

    >>> counters = Counters(workers=2)
    >>> counters.of(0, "redis").numbers("block"); counters.of(1, "redis").numbers("block", 2)
    >>> [(door, answer, count) for door, answer, count in counters.answered() if count]
    [('redis', 'block', 3)]
    """

    def __init__(self, *, workers: int) -> None:
        """All are 0. To be made before the workers are forked.

        Args:
            workers: how many there are; their rows are 0 and on, and the parent's is the last.
        """
        self.workers: int = workers
        self._memory = mmap.mmap(-1, (workers + 1) * _WIDTH * _BYTES)
        self._cells = memoryview(self._memory).cast("q")

    def _row(self, process: int) -> memoryview:
        return self._cells[process * _WIDTH : (process + 1) * _WIDTH]

    def of(self, worker: int, door: Door) -> DoorCounters:
        """The counters of one door in one worker."""
        return DoorCounters(self._row(worker), door)

    def is_ahead(self, worker: int, door: Door) -> bool:
        """Whether a worker has more connections at a door than another one."""
        place = _OPEN + _DOOR[door]
        return any(self._cells[worker * _WIDTH + place] > self._cells[i * _WIDTH + place] for i in range(self.workers))

    def note_sync(self, outcome: SyncOutcome) -> None:
        """Count a sync of the parent process."""
        row = self._row(self.workers)
        row[_SYNCS + OUTCOMES.index(outcome.name)] += 1
        row[_LAST_SYNC] = outcome.error is None
        row[_LAST_SYNC + 1] = outcome.bytes
        row[_LAST_SYNC + 2] = int(outcome.seconds * _NANOSECONDS)
        row[_LAST_SYNC + 3] = 1

    def _sum(self, place: int) -> int:
        return sum(self._cells[place + process * _WIDTH] for process in range(self.workers))

    def answered(self) -> Iterator[tuple[Door, Answer, int]]:
        """How many numbers got which answer at which door."""
        for door, d in _DOOR.items():
            for answer, a in _ANSWER.items():
                yield door, answer, self._sum(_NUMBERS + d * len(ANSWERS) + a)

    def requests(self) -> Iterator[tuple[Door, int, int]]:
        """How many HTTP answers had which status at which door."""
        for door, d in _DOOR.items():
            for status, s in _STATUS.items():
                yield door, status, self._sum(_REQUESTS + d * len(STATUSES) + s)

    def open_connections(self) -> Iterator[tuple[Door, int]]:
        """How many connections are open at which door."""
        for door, d in _DOOR.items():
            yield door, self._sum(_OPEN + d)

    def refused_connections(self) -> Iterator[tuple[Door, int]]:
        """How many connections were refused at which door, since as many were open as may be."""
        for door, d in _DOOR.items():
            yield door, self._sum(_REFUSED + d)

    def times(self) -> Iterator[tuple[Door, float, list[int]]]:
        """The seconds that all answers of a door took, and how many fall in which of `BUCKETS_S`, the rest last."""
        for door, d in _DOOR.items():
            first = _BUCKETS + d * (len(BUCKETS_S) + 1)
            buckets = [self._sum(first + i) for i in range(len(BUCKETS_S) + 1)]
            yield door, self._sum(_SECONDS + d) / _NANOSECONDS, buckets

    def syncs(self) -> dict[tuple[str, str | None], float]:
        """What the parent's syncs came to, as `recipient.metrics.render` takes it; empty before the first."""
        row = self._row(self.workers)
        if not row[_LAST_SYNC + 3]:
            return {}
        found: dict[tuple[str, str | None], float] = {
            ("syncs_total", name): float(row[_SYNCS + i]) for i, name in enumerate(OUTCOMES)
        }
        found["last_sync_success", None] = float(row[_LAST_SYNC])
        found["last_sync_bytes", None] = float(row[_LAST_SYNC + 1])
        found["last_sync_duration_seconds", None] = row[_LAST_SYNC + 2] / _NANOSECONDS
        return found
