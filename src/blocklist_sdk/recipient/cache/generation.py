"""One release as it stands, verified, on the recipient's disk: written once, then only mapped into memory."""

import contextlib
import hashlib
import json
import os
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, sync_directory, sync_file
from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.cache.lookup import ANSWER_FILES, CELLS, NumberLookup, Patch, Touched, answer_tables
from blocklist_sdk.recipient.cache.ranges import RangeIndex, range_table
from blocklist_sdk.records import Entry
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.rows import FOREVER_MS, NUMERIC_COLUMNS, TEXT_COLUMNS, Rows, Texts

_FORMAT = 1
_ABOUT, _ROWS, _RANGES = "about.json", "rows.arrow", "ranges.arrow"

_END_BYTES = 1 << 16
"""Arrow's own words are a few kilobytes at the beginning and the end of a file, where dictionaries are small."""


@dataclass(frozen=True, slots=True)
class About:
    """What a generation is of.

    Attributes:
        feed: the feed's name.
        serial: the release.
        digest: of its canonical rows, as the authority signed it.
        rows: how many.
        published_at: when the authority published it.
        signers: ids of the keys that signed the feed's role.
    """

    feed: str
    serial: int
    digest: str
    rows: int
    published_at: datetime
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeltaStep:
    """The way from a generation to the next release, where verified deltas led there.

    Attributes:
        before: the generation.
        touched: the numbers of every entry that they put or remove.
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
    """Write a generation into an empty directory, durably.

    Args:
        directory: empty.
        rows: the release.
        about: what it is.
        signed: what shows later that it is the authority's, by file name.
        step: what spares making the answers anew, if there is anything.

    Raises:
        OSError: the disk refused.
    """
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(1) as pool:
        # The largest file goes to the disk while the answers are worked out.
        written = pool.submit(_write, _rows_table(rows), directory / _ROWS)
        _write(range_table(rows), directory / _RANGES)
        _write_answers(directory, rows, times.to_ms(about.published_at), step)
        hashes = {name: _hash(directory / name) for name in (_RANGES, *ANSWER_FILES)}
        written.result()
    document = {
        "format": _FORMAT,
        **asdict(about),
        "published_at": about.published_at.isoformat(),
        "files": {name: _describe(directory / name) for name in (_ROWS, *hashes)},
        # The rows have the release's own digest.
        "hashes": hashes,
    }
    for name, data in {_ABOUT: json.dumps(document, indent=1).encode(), **signed}.items():
        (directory / name).write_bytes(data)
        sync_file(directory / name)
    sync_directory(directory)


def _write_answers(directory: Path, rows: Rows, published_ms: int, step: DeltaStep | None) -> None:
    patch = None
    if step is not None and step.before.are_answers_whole():
        patch = step.before.answers.patch(rows, step.touched, published_ms=published_ms)
    if patch is not None and step is not None:
        step.before.copy_cells(directory / CELLS, patch)
    tables = answer_tables(rows, published_ms=published_ms) if patch is None else patch.tables
    for name, table in tables.items():
        _write(table, directory / name)


def _rows_table(rows: Rows) -> pa.Table:
    names = [name for name in NUMERIC_COLUMNS if name != "last" or rows.has_ranges]
    columns = [pa.array(getattr(rows, name)) for name in names]
    columns += [
        pa.DictionaryArray.from_arrays(pa.array(texts.codes), pa.array(texts.values, pa.string()))
        for texts in (getattr(rows, name) for name in TEXT_COLUMNS)
    ]
    return pa.table(columns, names=[*names, *TEXT_COLUMNS])


class Generation:
    """A release on disk, mapped into memory and shared by every process that opens it.

    Attributes:
        name: its directory's name.
        about: what it is of.
        bytes: its size on disk.
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
        self.name = directory.name
        self._directory = directory
        self._hashes = hashes
        self.about = about
        self.bytes = size
        self.answers = answers
        self._rows = rows
        self._ranges = ranges
        self._number = rows.number.data
        self._since = rows.since.data
        self._until = rows.until.data
        self._level = rows.level.codes.data
        self._block = rows.level.values.index("block") if "block" in rows.level.values else -1

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Map a generation; takes about a millisecond whatever its size.

        Raises:
            Malformed: it is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        document = read_json(directory / _ABOUT, format_version=_FORMAT)
        if document is None:
            raise Malformed(f"{directory} holds no generation")
        try:
            about = About(
                feed=document["feed"],
                serial=document["serial"],
                digest=document["digest"],
                rows=document["rows"],
                published_at=datetime.fromisoformat(document["published_at"]),
                signers=tuple(document["signers"]),
            )
            files: dict[str, dict[str, Any]] = document["files"]
            for name, described in files.items():
                # A file that is shorter than it was, or says that it is longer, would kill the process once that part
                # is read.
                if _describe(directory / name) != described:
                    raise Malformed(f"the generation in {directory} is damaged: {name} is not what was written")
            tables = {name: _map(directory / name) for name in files}
            rows = _open_rows(tables[_ROWS])
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

    def signed(self, name: str) -> bytes | None:
        """A file of what shows that the release is the authority's; None where there is none."""
        path = self._directory / name
        return path.read_bytes() if path.is_file() else None

    @property
    def rows(self) -> Rows:
        """All rows, as arrays over the mapped file."""
        return self._rows

    def is_whole(self) -> bool:
        """Whether every byte is as it was written; reads them all."""
        try:
            return digest(self._rows) == self.about.digest and self.are_answers_whole()
        except ValueError:
            return False

    def are_answers_whole(self) -> bool:
        """The same of the files that are worked out from the rows; the digest tells nothing of them."""
        try:
            return all(_hash(self._directory / name) == written for name, written in self._hashes.items())
        except OSError:
            return False

    def copy_cells(self, path: Path, patch: Patch) -> None:
        """Write the table of numbers with some cells changed, durably; the file is copied without a way through memory.

        Raises:
            OSError: the disk refused.
        """
        shutil.copyfile(self._directory / CELLS, path)
        with pa.memory_map(str(path)) as source:
            begin: int = source.read_buffer().address
            source.seek(0)
            begin = pa.ipc.open_file(source).read_all().column(0).chunk(0).buffers()[1].address - begin
        with path.open("r+b", buffering=0) as file:
            for at, cell in zip(patch.at.tolist(), patch.cells, strict=True):
                os.pwrite(file.fileno(), cell, begin + cell.nbytes * at)
        sync_file(path)

    def blocks(self, number: int, now_ms: int) -> bool:
        """Whether an entry of level block covers the number at a moment, by its rows; milliseconds since 1970 UTC."""
        with self._damage():
            return any(
                self._level[row] == self._block and self._since[row] <= now_ms < self._until[row]
                for row in self._covering_rows(number)
            )

    def covering(self, number: int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id."""
        with self._damage():
            return sorted((self.entry(row) for row in self._covering_rows(number)), key=lambda entry: entry.entry)

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """What a flipped bit in a mapped file may lead to."""
        try:
            yield
        except (IndexError, OverflowError) as error:
            raise Malformed(f"the generation in {self._directory} is damaged: run a sync, which mends it") from error

    def _covering_rows(self, number: int) -> Iterator[int]:
        row = bisect_left(self._number, number)
        while row < len(self._number) and self._number[row] == number:
            yield row
            row += 1
        if self._ranges is not None:
            yield from self._ranges.covering(number)

    def entry(self, row: int) -> Entry:
        """The entry in a row."""
        rows = self._rows
        number, last, until = int(rows.number[row]), int(rows.last[row]), self._until[row]
        return Entry(
            number=number,
            last=last if last != number else None,
            entry=int(rows.entry[row]),
            level=_text(rows.level, row),
            category=_text(rows.category, row),
            issuer=_text(rows.issuer, row),
            scope=frozenset(_text(rows.scope, row).split("+")),
            since=times.from_ms(self._since[row]),
            until=None if until == FOREVER_MS else times.from_ms(until),
            feed=self.about.feed,
        )


def _text(column: Texts, row: int) -> str:
    return column.values[int(column.codes[row])]


def _describe(path: Path) -> dict[str, Any]:
    """What tells at once whether a file can be mapped: its length, and a hash of its ends, with Arrow's own words."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashed = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        hashed.update(file.read(_END_BYTES))
    return {"bytes": size, "ends": hashed.hexdigest()}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _map(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _write(table: pa.Table, path: Path) -> None:
    """Write a table, durably."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    sync_file(path)


def _open_rows(table: pa.Table) -> Rows:
    if not len(table):
        return Rows.empty()
    numbers = {
        name: table.column(name).chunk(0).to_numpy(zero_copy_only=True)
        for name in NUMERIC_COLUMNS
        if name in table.schema.names
    }
    return Rows(
        number=numbers["number"],
        last=numbers.get("last", numbers["number"]),
        entry=numbers["entry"],
        level=_open_texts(table, "level"),
        category=_open_texts(table, "category"),
        issuer=_open_texts(table, "issuer"),
        scope=_open_texts(table, "scope"),
        since=numbers["since"],
        until=numbers["until"],
    )


def _open_texts(table: pa.Table, name: str) -> Texts:
    column = table.column(name).chunk(0)
    return Texts(np.asarray(column.indices), tuple(column.dictionary.to_pylist()))
