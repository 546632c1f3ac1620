"""One release as it is, verified, on the recipient's disk: written once, then only mapped into memory."""

import contextlib
import hashlib
import json
import os
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, sync_directory, sync_file
from blocklist_sdk.errors import BlocklistError, Malformed
from blocklist_sdk.recipient.cache.lookup import ANSWER_FILES, CELLS, NumberLookup, Touched, answer_tables
from blocklist_sdk.recipient.cache.ranges import RangeIndex, range_table
from blocklist_sdk.records import Entry, Scope
from blocklist_sdk.release.arrow_files import (
    copy_with_cells,
    describe,
    map_table,
    rows_from_table,
    rows_to_table,
    write_table,
)
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.release_id import BEFORE_ALL, FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import Rows, Texts, entry_at

_FORMAT = 2
"""1: without secrets in the table of numbers (`cells.Homes`), and read as well."""

_ABOUT, _ROWS, _RANGES = "about.json", "rows.arrow", "ranges.arrow"

RARE: Final = 0.1
"""If a smaller share of the entries has a scope, that is logged: one entry must not hide that the others lack it."""

_COUNTED_AT_A_TIME: Final = 1 << 20
"""So that counting takes a few megabytes, however long the list is."""


@dataclass(frozen=True, slots=True)
class About:
    """The release that a generation holds.

    Attributes:
        feed: the feed's name.
        serial: the release's serial.
        digest: the digest of its rows, as the authority signed it.
        rows: the number of its rows.
        published_at: when the authority published it, UTC.
        signers: ids of the keys that signed the feed's role.
        era: the feed's era at that time.
    """

    feed: str
    serial: int
    digest: str
    rows: int
    published_at: datetime
    signers: tuple[str, ...] = ()
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """Its era and serial."""
        return ReleaseId(self.era, self.serial)


@dataclass(frozen=True, slots=True)
class DeltaStep:
    """The verified deltas that lead from one generation to the next release.

    Attributes:
        before: the generation.
        touched: the numbers of every entry that the deltas put or remove.
    """

    before: "Generation"
    touched: Touched


def write_generation(
    directory: Path,
    rows: Rows,
    about: About,
    *,
    signed: Mapping[str, bytes] = MappingProxyType({}),
    step: DeltaStep | None = None,
) -> None:
    """Write a generation into an empty directory, durably; arguments are as for `Store.commit`."""
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(1) as pool:
        # The largest file goes to the disk while the answers are worked out.
        written = pool.submit(write_table, rows_to_table(rows), directory / _ROWS)
        write_table(range_table(rows), directory / _RANGES)
        # A release may have been published ahead of this clock, and is asked from now on.
        published_ms = times.to_ms(about.published_at)
        _write_answers(directory, rows, published_ms, min(published_ms, times.to_ms(times.now())), step)
        hashes = {name: _sha256_of(directory / name) for name in (_RANGES, *ANSWER_FILES)}
        written.result()
    _write_documents(directory, about, hashes, signed)


def write_generation_again(
    directory: Path, generation: "Generation", about: About, signed: Mapping[str, bytes]
) -> None:
    """Write the list of a generation as another release into an empty directory, durably; big files are shared."""
    for name in (_ROWS, _RANGES, *ANSWER_FILES):
        try:
            os.link(generation.directory / name, directory / name)
        except OSError:
            # Not every file system can link.
            shutil.copyfile(generation.directory / name, directory / name)
            sync_file(directory / name)
    _write_documents(directory, about, generation.hashes, signed)


def _write_documents(directory: Path, about: About, hashes: Mapping[str, str], signed: Mapping[str, bytes]) -> None:
    document = {
        "format": _FORMAT,
        **asdict(about),
        "published_at": about.published_at.isoformat(),
        "files": {name: describe(directory / name) for name in (_ROWS, *hashes)},
        # The rows have the release's own digest.
        "hashes": dict(hashes),
    }
    for name, data in {_ABOUT: json.dumps(document, indent=1).encode(), **signed}.items():
        (directory / name).write_bytes(data)
        sync_file(directory / name)
    sync_directory(directory)


def _write_answers(directory: Path, rows: Rows, published_ms: int, from_ms: int, step: DeltaStep | None) -> None:
    patch = None
    if step is not None and step.before.are_answers_whole():
        patch = step.before.answers.patch(rows, step.touched, published_ms=published_ms, from_ms=from_ms)
    if patch is not None and step is not None:
        copy_with_cells(step.before.directory / CELLS, directory / CELLS, patch.at, patch.cells)
    tables = answer_tables(rows, published_ms=published_ms, from_ms=from_ms) if patch is None else patch.tables
    for name, table in tables.items():
        write_table(table, directory / name)


class Generation:
    """A release on disk, mapped into memory and shared by every process that opens it.

    Attributes:
        directory: where it is.
        name: its directory's name.
        about: the release.
        bytes: its size on disk.
        hashes: SHA-256 of each file that is worked out from the rows, by name.
        rows: all rows, as arrays over the mapped file.
        answers: answers for most numbers without reading their rows.
    """

    def __init__(
        self,
        directory: Path,
        about: About,
        size: int,
        hashes: dict[str, str],
        rows: Rows,
        ranges: RangeIndex | None,
        answers: NumberLookup,
    ) -> None:
        """For `open`, which maps the files."""
        self.directory = directory
        self.name: str = directory.name
        self.hashes = hashes
        self.about = about
        self.bytes = size
        self.answers = answers
        self.rows = rows
        self._ranges = ranges
        self._number = rows.number.data
        self._since = rows.since.data
        self._until = rows.until.data
        self._level = rows.level.codes.data
        self._block = rows.level.values.index("block") if "block" in rows.level.values else -1
        self._published_ms = times.to_ms(about.published_at)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Map a generation; takes about a millisecond whatever its size.

        Raises:
            Malformed: it is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        document = read_json(directory / _ABOUT, format_version=_FORMAT)
        if document is None:
            raise Malformed(f"{directory} does not hold a generation")
        if any(path.is_symlink() for path in (directory, *directory.iterdir())):
            raise Malformed(f"{directory} is or holds a link, which is not followed")
        try:
            about = About(
                feed=document["feed"],
                serial=document["serial"],
                digest=document["digest"],
                rows=document["rows"],
                published_at=datetime.fromisoformat(document["published_at"]),
                signers=tuple(document["signers"]),
                era=_era(directory, document),
            )
            files: dict[str, dict[str, Any]] = document["files"]
            for name, described in files.items():
                # If a file is shorter than its metadata says, reading the missing part would kill the process.
                if describe(directory / name) != described:
                    raise Malformed(f"the generation in {directory} is damaged: {name} is not what was written")
            tables = {name: map_table(directory / name) for name in files}
            rows = rows_from_table(tables[_ROWS])
            ranges = tables[_RANGES]
            if len(rows) != about.rows:
                raise Malformed(f"the generation in {directory} is damaged: {len(rows)} rows instead of {about.rows}")
            return cls(
                directory,
                about,
                sum(described["bytes"] for described in files.values()),
                document["hashes"],
                rows,
                RangeIndex(ranges) if len(ranges) else None,
                NumberLookup(tables, published_ms=times.to_ms(about.published_at)),
            )
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise Malformed(f"the generation in {directory} is damaged: {error}") from error

    @cached_property
    def scope_entries(self) -> dict[str, int]:
        """How many entries have each scope, in force or not, by name; counted when it is first asked for."""
        scope = self.rows.scope
        found: dict[str, int] = {}
        for value, count in zip(scope.values, _counted_codes(scope), strict=True):
            for part in value.split("+"):
                found[part] = found.get(part, 0) + count
        return dict(sorted(found.items()))

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Every scope that an entry has, in force or not; worked out when it is first asked for."""
        return frozenset(part for text in self.rows.scope.values for part in text.split("+"))

    def lists_scope(self, scope: Scope | None) -> bool | None:
        """Whether an entry has a scope; None without a scope, and on an empty list."""
        return None if scope is None or not self.scopes else scope in self.scopes

    def is_scope_rare(self, scope: Scope | None) -> bool:
        """Whether so few entries have a scope that the feed may be the wrong one for it."""
        if scope is None or scope not in self.scopes:
            return False
        return self.scope_entries[scope] < RARE * len(self.rows)

    def signed(self, name: str) -> bytes | None:
        """A file of signed metadata that proves that the release is the authority's; None if it was not kept."""
        path = self.directory / name
        return path.read_bytes() if path.is_file() else None

    def is_whole(self) -> bool:
        """Whether every byte is as it was written; reads them all."""
        try:
            return digest(self.rows) == self.about.digest and self.are_answers_whole()
        except ValueError:
            return False

    def are_answers_whole(self) -> bool:
        """The same of the files that are worked out from the rows, which the digest does not cover."""
        try:
            return all(_sha256_of(self.directory / name) == written for name, written in self.hashes.items())
        except OSError:
            return False

    def blocks(self, number: int, now_ms: int) -> bool:
        """Whether the number's rows block it at a moment, in milliseconds since 1970 UTC; for any scope.

        A row that begins no later than its release was published has begun, whatever the clock says.

        Which entry decides is also written in `recipient/verdicts.py`, `cache/classify.py`, `cache/kinds.py` and
        `screening/columns.py`; `tests/recipient/test_deciding_entry.py` holds all five together.

        Raises:
            Malformed: the rows are damaged.
        """
        begun_ms = max(now_ms, self._published_ms)
        with self._damage():
            return any(
                self._level[row] == self._block and self._since[row] <= begun_ms and now_ms < self._until[row]
                for row in self._covering_rows(number)
            )

    def covering(self, number: int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id.

        Raises:
            Malformed: the rows are damaged.
        """
        with self._damage():
            return sorted((self.entry(row) for row in self._covering_rows(number)), key=lambda entry: entry.entry)

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """Turn what a flipped bit in a mapped file may lead to into `Malformed`."""
        try:
            yield
        except (IndexError, OverflowError) as error:
            raise Malformed(f"the generation in {self.directory} is damaged: run a sync, which repairs it") from error

    def _covering_rows(self, number: int) -> Iterator[int]:
        row = bisect_left(self._number, number)
        while row < len(self._number) and self._number[row] == number:
            yield row
            row += 1
        if self._ranges is not None:
            yield from self._ranges.covering(number)

    def entry(self, row: int) -> Entry:
        """The entry in a row."""
        return entry_at(self.rows, row, feed=self.about.feed)


def _counted_codes(column: Texts) -> list[int]:
    """How many rows have each of a column's texts."""
    if len(column.values) == 1:
        return [len(column.codes)]
    count = np.zeros(len(column.values), np.int64)
    for start in range(0, len(column.codes), _COUNTED_AT_A_TIME):
        count += np.bincount(column.codes[start : start + _COUNTED_AT_A_TIME], minlength=len(count))
    return count.tolist()


def release_in(directory: Path) -> ReleaseId:
    """The release that a directory of a generation is for; (1, 0) where that cannot be read."""
    with contextlib.suppress(BlocklistError, KeyError, TypeError, ValueError):
        document = read_json(directory / _ABOUT, format_version=_FORMAT) or {}
        return ReleaseId(_era(directory, document), int(document["serial"]))
    return BEFORE_ALL


def _era(directory: Path, document: Mapping[str, Any]) -> int:
    """The era of a generation; of one that was written before eras were known, from the signed metadata beside it."""
    era = document.get("era")
    if era is None:
        with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
            targets = json.loads((directory / "targets.json").read_bytes())
            roles = targets["signed"]["delegations"]["roles"]
            era = next((role.get("era") for role in roles if role["name"] == document["feed"]), None)
    return FIRST_ERA if era is None else int(era)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
