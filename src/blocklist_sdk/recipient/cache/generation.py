"""One release as it is, verified, on the recipient's disk: written once, then only mapped into memory.

A generation is a base, which deltas leave as it is, and an overlay of what they changed since. The generation of the
next release has the same files of the base, linked, and an overlay of its own.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, sync_directory, sync_files
from blocklist_sdk.errors import BlocklistError, Malformed
from blocklist_sdk.recipient.cache.covering import CoveringRows
from blocklist_sdk.recipient.cache.lookup import ANSWER_FILES, CHANGED_ANSWER_FILES, NumberLookup, write_answers
from blocklist_sdk.recipient.cache.pieces import is_piece_as_written, piece_hashes, sha256_of
from blocklist_sdk.recipient.cache.ranges import range_table
from blocklist_sdk.recipient.cache.release_answers import DAMAGE as DAMAGE
from blocklist_sdk.recipient.cache.release_answers import About as About
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.release.arrow_files import describe, map_table, rows_from_table, write_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import kind_of
from blocklist_sdk.release.layers import LayeredRows, Overlay
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.release_id import BEFORE_ALL, FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import TEXT_COLUMNS, Int64s, Positions, Rows, range_rows
from blocklist_sdk.release.stored import (
    BASE_FILES,
    OVERLAY_FILES,
    ROWS,
    StoredList,
    link_files,
    open_list,
    overlay_rows_max,
    write_base,
    write_overlay,
)
from blocklist_sdk.release.tallies import count_by
from blocklist_sdk.release.tree import Tree, are_leaves_right, are_nodes_right

_FORMAT = 3
"""1: without secrets in the table of numbers (`cells.Homes`); 2: without a tree and overlays. Both are read, and made
anew at the next release."""

_ABOUT, _RANGES, _CHANGED_RANGES = "about.json", "ranges.arrow", "changed-ranges.arrow"

_RANGES_DIGEST: Final = b"digest"
"""The digest of the base's ranges, in the facts of their file: they decide about numbers far from their rows."""

_CHANGED_FILES: Final = frozenset({*OVERLAY_FILES, *CHANGED_ANSWER_FILES, _CHANGED_RANGES})
"""The files of an overlay; all others are those of a base."""

_BY_TREE: Final = frozenset(BASE_FILES) - {"texts.arrow"}
"""Files whose damage the tree's hashes show, so that they need no others."""

OVERLAY_SHARE_MAX: Final = 0.1
"""With more, the base is made anew at once: nobody folds here, or much has changed at a time."""

_CHECKED_ROWS: Final = 80_000
"""A piece of the rows has about so many: four megabytes, as a piece of other files."""


@dataclass(frozen=True, slots=True)
class NextList:
    """The list of a verified release, as it is put in force.

    Attributes:
        layers: its rows. If they have the base of the generation in force, only an overlay is written.
        tree: its digest tree.
        changes: how it differs from the list in force, or from that of `base`; not looked at where a base is written.
        base: a generation that was written with its base but is not in force: its files are linked. None if the
            generation in force may have that base.
    """

    layers: LayeredRows
    tree: Tree
    changes: Difference
    base: "Generation | None" = None

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """A list that is all base."""
        return cls(LayeredRows.of(rows), Tree.of(rows), Difference.none())


def write_generation(
    directory: Path,
    listed: NextList,
    about: About,
    *,
    signed: Mapping[str, bytes] = MappingProxyType({}),
    before: "Generation | None" = None,
    folded_from: str | None = None,
) -> None:
    """Write a generation into an empty directory, durably.

    Args:
        directory: the empty directory.
        listed: the list.
        about: its release.
        signed: signed metadata that later proves that the release is the authority's, by file name.
        before: the generation in force.
        folded_from: as in `Generation`; for a list with an overlay.
    """
    if listed.base is not None and not len(listed.layers.overlay):
        write_generation_again(directory, listed.base, about, signed)
        return
    before = before if listed.base is None else listed.base
    published_ms, from_ms = _moments(about)
    changed = None if before is None else _changed_answers(before, listed, published_ms, from_ms)
    if before is None or changed is None:
        pieces = _write_base(directory, listed, published_ms, from_ms)
        files: dict[str, dict[str, Any]] = {}
        fresh = [path.name for path in directory.iterdir()]
        flushed: list[str] = []
    else:
        link_files(before.directory, directory, before.base_files)
        files = {name: before.files[name] for name in before.base_files}
        pieces = {name: before.pieces_of_files[name] for name in before.base_files if name in before.pieces_of_files}
        write_overlay(directory, listed.layers, listed.tree, is_flushed=False)
        if listed.layers.overlay.puts.has_ranges:
            changed[_CHANGED_RANGES] = range_table(listed.layers.overlay.puts)
        for name, table in changed.items():
            write_table(table, directory / name, is_flushed=False)
        flushed = fresh = [*OVERLAY_FILES, *changed]
    files |= {name: describe(directory / name) for name in fresh}
    pieces |= {name: piece_hashes(directory / name) for name in fresh if name not in {*_BY_TREE, *pieces}}
    _write_documents(directory, about, files, pieces, signed, unflushed=flushed, folded_from=folded_from)


def _moments(about: About) -> tuple[int, int]:
    """When a release was published, and from when on answers have to be right, in milliseconds since 1970 UTC."""
    published_ms = times.to_ms(about.published_at)
    # A release may have been published ahead of this clock, and is asked from now on.
    return published_ms, min(published_ms, times.to_ms(times.now()))


def write_base_generation(
    directory: Path,
    about: About,
    read: Callable[[Callable[[Rows], None]], object],
    *,
    signed: Mapping[str, bytes] = MappingProxyType({}),
    folded_from: str | None = None,
) -> "Generation":
    """Write a generation that is all base into an empty directory, durably, while its rows are read; and open it.

    Args:
        directory: the empty directory.
        about: its release.
        read: writes a base into the directory, and calls what it is given with the rows, once they are mapped.
        signed: signed metadata, as for `write_generation`.
        folded_from: as in `Generation`.
    """
    published_ms, from_ms = _moments(about)
    pieces: dict[str, list[str]] = {}
    read(lambda rows: pieces.update(_write_answers(directory, rows, published_ms, from_ms)))
    files = {path.name: describe(path) for path in directory.iterdir()}
    pieces |= {name: piece_hashes(directory / name) for name in files.keys() - pieces.keys() - _BY_TREE}
    _write_documents(directory, about, files, pieces, signed, unflushed=(), folded_from=folded_from)
    return Generation.open(directory)


def write_generation_again(
    directory: Path, generation: "Generation", about: About, signed: Mapping[str, bytes]
) -> None:
    """Write the list of a generation as another release into an empty directory, durably; big files are shared."""
    if generation.is_of_earlier_format:
        write_generation(
            directory, NextList(generation.layers, generation.tree, Difference.none()), about, signed=signed
        )
        return
    link_files(generation.directory, directory, tuple(generation.files))
    _write_documents(directory, about, generation.files, generation.pieces_of_files, signed, unflushed=())


def _changed_answers(
    before: "Generation", listed: NextList, published_ms: int, from_ms: int
) -> dict[str, pa.Table] | None:
    """The answers of the next overlay; None if a base has to be written."""
    layers = listed.layers
    if before.is_of_earlier_format or before.layers.facts.base_id != layers.facts.base_id:
        return None
    largest = overlay_rows_max(layers, share=OVERLAY_SHARE_MAX)
    more_rows = len(listed.changes.added) - len(listed.changes.removed)
    # If the numbers of rows do not fit, what is in force is not what the changes start from.
    if len(layers.overlay) > largest or len(before.layers) + more_rows != len(layers):
        return None
    return before.answers.changed_tables(
        layers, listed.changes, published_ms=published_ms, from_ms=from_ms, numbers_max=2 * largest
    )


def _write_base(directory: Path, listed: NextList, published_ms: int, from_ms: int) -> dict[str, list[str]]:
    """Write the files of a base, durably; returns what `_write_answers` does."""
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    rows = listed.layers.whole()
    # A tree that deltas changed may keep nodes that nothing leads to any more.
    tree = None if len(listed.tree.patch) else listed.tree
    with ThreadPoolExecutor(1) as pool:
        # The largest file goes to the disk while the answers are worked out.
        written = pool.submit(write_base, directory, rows, tree=tree)
        pieces = _write_answers(directory, rows, published_ms, from_ms)
        written.result()
    return pieces


def _write_answers(directory: Path, rows: Rows, published_ms: int, from_ms: int) -> dict[str, list[str]]:
    """Write the files that are worked out from a base, durably; returns the hashes of their pieces, by name."""
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    names = _RANGES, *ANSWER_FILES
    about_ranges = {_RANGES_DIGEST: _digest_of_ranges(rows, range_rows(rows))}
    write_table(range_table(rows).replace_schema_metadata(about_ranges), directory / _RANGES, is_flushed=False)
    write_answers(directory, rows, published_ms=published_ms, from_ms=from_ms)
    with ThreadPoolExecutor(1) as pool:
        # The disk writes them while they are hashed.
        flushed = pool.submit(sync_files, [directory / name for name in names])
        pieces = {name: piece_hashes(directory / name) for name in names}
        flushed.result()
    return pieces


def _digest_of_ranges(rows: Rows, positions: Positions) -> str:
    return Tree.of(rows.take(positions)).digest


def _write_documents(
    directory: Path,
    about: About,
    files: Mapping[str, Mapping[str, Any]],
    pieces: Mapping[str, list[str]],
    signed: Mapping[str, bytes],
    *,
    unflushed: Sequence[str],
    folded_from: str | None = None,
) -> None:
    document = {
        "format": _FORMAT,
        **asdict(about),
        "published_at": about.published_at.isoformat(),
        "files": dict(files),
        "pieces": dict(pieces),
        "folded_from": folded_from,
    }
    documents = {_ABOUT: json.dumps(document, indent=1).encode(), **signed}
    for name, data in documents.items():
        (directory / name).write_bytes(data)
    sync_files([directory / name for name in (*unflushed, *documents)])
    sync_directory(directory)


class Generation(ReleaseAnswers):
    """A release on disk, mapped into memory and shared by every process that opens it.

    Attributes:
        directory: where it is.
        name: its directory's name.
        about: the release.
        files: length and ends of each file, by name.
        pieces_of_files: SHA-256 of each piece of the files that have such hashes, by name.
        folded_from: the id of the base that the same release had here before a fold, with an overlay that was whole
            then; None if the base came from a snapshot, or another release has come since the fold.
        is_of_earlier_format: whether an earlier version wrote it, without a tree; the next release is a base.
        bytes: its size on disk, with the files that it shares with others.
        answers: answers for most numbers without reading their rows.
    """

    def __init__(self, directory: Path, about: About, document: Mapping[str, Any]) -> None:
        """For `open`, which says what it may raise."""
        self.directory = directory
        self.name: str = directory.name
        self.about: About = about
        self.files: dict[str, dict[str, Any]] = document["files"]
        self.folded_from: str | None = document.get("folded_from")
        self.is_of_earlier_format: bool = document["format"] < _FORMAT
        self.pieces_of_files: dict[str, list[str]] = {} if self.is_of_earlier_format else document["pieces"]
        self.bytes: int = sum(described["bytes"] for described in self.files.values())
        self._hashes: dict[str, str] = document.get("hashes", {})
        for name, described in self.files.items():
            # If a file is shorter than its metadata says, reading the missing part would kill the process.
            if describe(directory / name) != described:
                raise Malformed(f"the generation in {directory} is damaged: {name} is not what was written")
        tables = {name: map_table(directory / name) for name in self.files if name not in (*BASE_FILES, *OVERLAY_FILES)}
        published_ms = times.to_ms(about.published_at)
        self.answers: NumberLookup = NumberLookup(tables, published_ms=published_ms)
        self._published_ms = published_ms
        self._covering: tuple[CoveringRows, ...]
        self._stored: StoredList | None = None if self.is_of_earlier_format else open_list(directory)
        if self._stored is None:
            self._covering = (CoveringRows(rows_from_table(map_table(directory / ROWS)), tables[_RANGES]),)
            count = len(self._covering[0].rows)
        else:
            ranges = tables[_RANGES].column("row")
            positions = ranges.chunk(0).to_numpy(zero_copy_only=True) if len(ranges) else np.empty(0, np.intp)
            layers = self._stored.layers.with_base_ranges(positions)
            self._stored = replace(self._stored, layers=layers)
            base, puts = CoveringRows(layers.base, tables[_RANGES], layers.overlay.dropped), layers.overlay.puts
            changed = CoveringRows(puts, tables.get(_CHANGED_RANGES))
            self._covering = (base, changed) if len(puts) else (base,)
            count = len(layers)
        if count != about.rows:
            raise Malformed(f"the generation in {directory} is damaged: {count} rows instead of {about.rows}")

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Map a generation; takes a few milliseconds whatever its size.

        Lengths and ends of its files are compared with what was written; `is_whole` reads the rest.

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
            return cls(directory, about, document)
        except (AttributeError, KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise Malformed(f"the generation in {directory} is damaged: {error}") from error

    def damaged(self) -> Malformed:
        """The error to raise where it turns out to be damaged."""
        return Malformed(f"the generation in {self.directory} is damaged: run a sync, which repairs it")

    # The list

    @cached_property
    def layers(self) -> LayeredRows:
        """Its rows as a base and an overlay."""
        return LayeredRows.of(self._covering[0].rows) if self._stored is None else self._stored.layers

    @property
    def rows(self) -> Rows:
        """All rows, for those who need all: an overlay is merged into them when they are first asked for."""
        return self._covering[0].rows if self._stored is None else self.layers.whole()

    @cached_property
    def tree(self) -> Tree:
        """Its digest tree; of a generation of an earlier format it is made from all rows.

        Raises:
            Malformed: it is damaged.
        """
        with self._damage():
            return Tree.of(self.rows) if self._stored is None else self._stored.tree

    def shares_base(self, other: "Generation") -> bool:
        """Whether another generation has the same base, so that only overlays tell the two apart."""
        if self.is_of_earlier_format or other.is_of_earlier_format:
            return False
        return self.layers.facts.base_id == other.layers.facts.base_id

    @property
    def is_to_be_folded(self) -> bool:
        """Whether the overlay is so large that a base should be made of it; see `overlay_rows_max`."""
        if self._stored is None:
            return False
        layers = self._stored.layers
        return len(layers.overlay) > overlay_rows_max(layers)

    @property
    def base_files(self) -> tuple[str, ...]:
        """The names of the files of its base, which the next release shares."""
        return tuple(name for name in self.files if name not in _CHANGED_FILES)

    @cached_property
    def texts(self) -> Mapping[str, Mapping[str, int]]:
        """For each text column, how many rows have each text; read when it is first asked for.

        Raises:
            Malformed: it is damaged.
        """
        with self._damage():
            if self._stored is not None:
                return self._stored.texts
            return {name: dict(count_by(getattr(self.rows, name))) for name in TEXT_COLUMNS}

    def signed(self, name: str) -> bytes | None:
        """A file of signed metadata that proves that the release is the authority's; None if it was not kept."""
        path = self.directory / name
        return path.read_bytes() if path.is_file() else None

    def all_signed(self) -> dict[str, bytes]:
        """All files of signed metadata, by name."""
        names = {path.name for path in self.directory.iterdir()} - {_ABOUT, *self.files}
        return {name: (self.directory / name).read_bytes() for name in sorted(names)}

    # Damage

    def is_whole(self) -> bool:
        """Whether every byte is as it was written; reads them all."""
        return all(self.is_piece_whole(at) for at in range(self.pieces()))

    def pieces(self) -> int:
        """In how many pieces, of at most about four megabytes, it is checked; 1 if that cannot be told any more.

        A generation of an earlier format has one for its rows and one for each other file, whatever their size.
        """
        try:
            return 1 + self._row_pieces() + len(self._file_pieces)
        except Malformed:
            return 1

    def is_piece_whole(self, at: int) -> bool:
        """Whether a piece is as it was written. The first is the digest, then come those of the rows, then the files.

        Args:
            at: which piece, from 0 on.
        """
        try:
            with self._damage():
                return self._is_piece_whole(at)
        except Malformed:
            return False

    def _is_piece_whole(self, at: int) -> bool:
        if at == 0:
            kind = kind_of(self.about.digest)
            found = self.tree.digest if kind == "tree" else digest(self.rows, kind)
            return found == self.about.digest
        at -= 1
        if at < self._row_pieces():
            assert self._stored is not None
            tree = self._stored.base_tree
            step = self._nodes_per_piece
            return are_nodes_right(tree, self.layers.base, slice(at * step, min((at + 1) * step, len(tree.base))))
        name, piece, written = self._file_pieces[at - self._row_pieces()]
        if piece is None:
            return sha256_of(self.directory / name) == written
        return is_piece_as_written(self.directory / name, piece, written)

    def _row_pieces(self) -> int:
        with self._damage():
            return 0 if self._stored is None else -(-len(self._stored.base_tree.base) // self._nodes_per_piece)

    @cached_property
    def _nodes_per_piece(self) -> int:
        assert self._stored is not None
        return max(1, len(self._stored.base_tree.base) * _CHECKED_ROWS // max(_CHECKED_ROWS, len(self.layers.base)))

    @cached_property
    def _file_pieces(self) -> list[tuple[str, int | None, str]]:
        """Each piece with a hash: its file, which piece of it, and the hash; without the piece for a whole file."""
        if self._stored is None:
            return [(name, None, written) for name, written in self._hashes.items()]
        return [(name, at, each) for name, hashes in self.pieces_of_files.items() for at, each in enumerate(hashes)]

    def is_overlay_whole(self) -> bool:
        """Whether every byte of the overlay is as it was written."""
        return self._are_files_whole(_CHANGED_FILES)

    def are_ranges_whole(self) -> bool:
        """Whether it is known as it was written which rows of the base are ranges, and these rows are as they were."""
        if not self._are_files_whole({_RANGES}):
            return False
        if self._stored is None:
            return True
        try:
            with self._damage():
                table = map_table(self.directory / _RANGES)
                found = _digest_of_ranges(self.layers.base, table.column("row").to_numpy())
                return bool(table.schema.metadata[_RANGES_DIGEST].decode() == found)
        except Malformed:
            return False

    def _are_files_whole(self, names: Set[str]) -> bool:
        try:
            return all(
                at is not None and is_piece_as_written(self.directory / name, at, written)
                for name, at, written in self._file_pieces
                if name in names
            )
        except OSError:
            return False

    def is_readable(self) -> bool:
        """Whether its rows can be compared with others, damaged or not; reads them all."""
        try:
            with self._damage():
                Tree.of(self.rows)
        except Malformed:
            return False
        return True

    def is_base_whole_beside(self, number: Int64s) -> bool:
        """Whether the base's rows of some numbers, and their neighbours, are as they were written.

        Args:
            number: numbers that the base lists, in any order, perhaps repeated.
        """
        if self._stored is None:
            return self.is_whole()
        if not len(number):
            return True
        try:
            with self._damage():
                base = LayeredRows(self.layers.base, Overlay.none(), self.layers.facts)
                return are_leaves_right(self._stored.base_tree, base, number)
        except Malformed:
            return False


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
