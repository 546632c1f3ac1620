"""A list on disk: the files of a base, and those of an overlay beside them.

::

    rows.arrow            the base's rows
    nodes.arrow           the nodes of its tree
    texts.arrow           its texts, and how many rows have each
    puts.arrow            the overlay's rows        (these four only where there is an overlay)
    dropped.arrow         positions of base rows that are gone or replaced
    changed-nodes.arrow   the nodes of the tree that are other than the base's
    changed-texts.arrow   the texts, and how many rows have each, with the overlay

A base is written once. Whoever changes the list links its files and writes an overlay. Nothing here says which list it
is, or whether its files are as they were written: whoever keeps a list keeps lengths and digest as well.
"""

import os
import secrets
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import sync_file
from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.arrow_files import (
    ColumnFile,
    map_table,
    rows_from_table,
    rows_to_table,
    text_column,
    write_table,
)
from blocklist_sdk.release.layers import BaseFacts, LayeredRows, Overlay
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, JoinedTexts, Rows
from blocklist_sdk.release.tree import HASH_BYTES, SLOTS, Nodes, Tree, TreeMaker

if TYPE_CHECKING:
    from concurrent.futures import Future

ROWS: Final = "rows.arrow"
_NODES, _TEXTS = "nodes.arrow", "texts.arrow"
_PUTS, _DROPPED = "puts.arrow", "dropped.arrow"
_CHANGED_NODES, _CHANGED_TEXTS = "changed-nodes.arrow", "changed-texts.arrow"

BASE_FILES: Final = ROWS, _NODES, _TEXTS
OVERLAY_FILES: Final = _PUTS, _DROPPED, _CHANGED_NODES, _CHANGED_TEXTS

OVERLAY_ROWS_MIN: Final = 10_000
"""An overlay of so few rows is neither folded nor too large: it takes less than two megabytes."""

FOLD_SHARE: Final = 0.03
"""With more of the base's rows in the overlay, the base is made anew. Writing an overlay costs by its size at each
release, and making a base costs once: with 3 % the two are about the same over the deltas that lead there."""

_IN_PLACE: Final = "number", "entry", "since", "until", "last"
"""The integers, in the order in which they stand in the file; the last one only if there are ranges."""

_ROWS_AT_A_TIME: Final = 1 << 17
"""Of so many rows a few columns fit in a processor's cache."""

_UNHASHED_MAX: Final = 2
"""So many parts wait to be hashed, at most."""

_COUNTS_BYTES: Final = 4 * SLOTS
_BASE, _HIGHEST, _LATEST, _ROOT, _COUNT = b"base", b"highest", b"latest", b"root", b"rows"


@dataclass(frozen=True)
class StoredList:
    """A list on disk, mapped into memory.

    Attributes:
        directory: where it is.
        layers: its rows.
    """

    directory: Path
    layers: LayeredRows

    @property
    def has_overlay(self) -> bool:
        """Whether there are files of an overlay."""
        return (self.directory / _PUTS).exists()

    @cached_property
    def texts(self) -> dict[str, dict[str, int]]:
        """For each text column, how many rows have each text.

        Raises:
            OSError, KeyError, ValueError, pyarrow.ArrowException: its file is damaged.
        """
        return _texts_from(map_table(self.directory / (_CHANGED_TEXTS if self.has_overlay else _TEXTS)))

    @cached_property
    def base_tree(self) -> Tree:
        """The digest tree of its base; mapped when it is first asked for.

        Raises:
            OSError, KeyError, ValueError, pyarrow.ArrowException: its files are damaged.
        """
        nodes = map_table(self.directory / _NODES)
        texts = _texts_from(map_table(self.directory / _TEXTS))
        return Tree(base=_nodes_from(nodes), patch=Nodes.none(), texts=texts, **_from_about(nodes))

    @cached_property
    def tree(self) -> Tree:
        """Its digest tree; mapped when it is first asked for.

        Raises:
            OSError, KeyError, ValueError, pyarrow.ArrowException: its files are damaged.
        """
        if not self.has_overlay:
            return self.base_tree
        changed = map_table(self.directory / _CHANGED_NODES)
        patch = _nodes_from(changed)
        return Tree(base=self.base_tree.base, patch=patch, texts=self.texts, **_from_about(changed))


def write_base(directory: Path, rows: Rows, *, tree: Tree | None = None) -> StoredList:
    """Write a list as a base, durably.

    Args:
        directory: an empty directory, or one without these files.
        rows: the list.
        tree: its tree, if it is known.

    Raises:
        Malformed: as for `Tree.of`.
        OSError: the disk refused.
    """
    with BaseWriter(directory, len(rows), tree=tree) as writer:
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            writer.add(rows.part(slice(start, start + _ROWS_AT_A_TIME)))
        return writer.finish()


class BaseWriter:
    """Writes a base whose rows come in parts: each goes straight into its place on the disk.

    ::

        with BaseWriter(directory, count) as writer:
            for part in parts:
                writer.add(part)
            rows = writer.rows()        # mapped, while the last parts are still hashed
            stored = writer.finish()

    Beside that, one thread makes the tree of the parts that have been added, and another has the disk write them.
    """

    def __init__(self, directory: Path, count: int, *, tree: Tree | None = None) -> None:
        """Begin a base.

        Args:
            directory: an empty directory, or one without the files of a base.
            count: how many rows there will be.
            tree: their tree, if it is known.

        Raises:
            OSError: the disk refused.
        """
        from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

        self._directory = directory
        self._count = count
        self._start = 0
        self._texts = {name: JoinedTexts(count) for name in TEXT_COLUMNS}
        self._has_ranges = False
        self._highest_entry = self._latest_since_ms = 0
        self._tree = tree
        self._maker = TreeMaker()
        self._file = ColumnFile(directory / ROWS, _IN_PLACE, count)
        self._hasher, self._disk = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._unhashed: deque[Future[None]] = deque()
        self._flushes: list[Future[None]] = []
        self._made: Future[Tree] | None = None
        self._rows: Rows | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.shutdown(cancel_futures=True)
        self._disk.shutdown(cancel_futures=True)
        self._file.close()

    def add(self, part: Rows) -> None:
        """Add rows that follow those before, in canonical order.

        Raises:
            Malformed: there are more than were announced.
            OSError: the disk refused.
        """
        start = self._start
        self._start += len(part)
        if self._start > self._count:
            raise self._not_as_many()
        if not len(part):
            return
        texts: dict[str, Any] = {name: column.put(start, getattr(part, name)) for name, column in self._texts.items()}
        if self._tree is None:
            self._unhashed.append(self._hasher.submit(self._maker.add, replace(part, **texts)))
        for name in NUMERIC_COLUMNS:
            if name != "last":
                self._file.write(name, start, getattr(part, name))
        if part.has_ranges and not self._has_ranges:
            self._has_ranges = True
            for at in range(0, start, _ROWS_AT_A_TIME):
                self._file.write("last", at, self._file.column("number")[at : min(at + _ROWS_AT_A_TIME, start)])
        if self._has_ranges:
            self._file.write("last", start, part.last)
        self._highest_entry = max(self._highest_entry, int(part.entry.max()))
        self._latest_since_ms = max(self._latest_since_ms, int(part.since.max()))
        while len(self._unhashed) > _UNHASHED_MAX:
            self._unhashed.popleft().result()
        if all(flush.done() for flush in self._flushes):
            self._flush()

    def _flush(self) -> None:
        self._flushes.append(self._disk.submit(self._file.flush))

    def _not_as_many(self) -> Malformed:
        return Malformed(f"the release does not have the {self._count} rows that it declares")

    def rows(self) -> Rows:
        """The rows, once all have been added, mapped; perhaps before their tree is made.

        Raises:
            Malformed: there are fewer than were announced.
            OSError: the disk refused.
        """
        if self._rows is None:
            if self._start != self._count:
                raise self._not_as_many()
            names = _IN_PLACE if self._has_ranges else _IN_PLACE[:-1]
            texts = {name: texts.texts() for name, texts in self._texts.items()}
            self._texts.clear()
            table = self._file.finish(names, {name: text_column(column) for name, column in texts.items()})
            self._rows = rows_from_table(table, {name: column.values for name, column in texts.items()})
            self._flush()
            if self._tree is None:
                self._made = self._hasher.submit(self._maker.made)
        return self._rows

    def finish(self) -> StoredList:
        """Write what is left, durably.

        Raises:
            Malformed: as `rows`; or as for `Tree.of`.
            OSError: the disk refused.
        """
        self.rows()
        for each in self._unhashed:
            each.result()
        tree = self._tree
        if tree is None:
            assert self._made is not None
            tree = self._made.result()
        about = _about(tree) | {
            _BASE: secrets.token_hex(8),
            _HIGHEST: str(self._highest_entry),
            _LATEST: str(self._latest_since_ms),
        }
        nodes = _nodes_to(tree.base.with_nodes(tree.patch) if len(tree.patch) else tree.base)
        write_table(nodes.replace_schema_metadata(about), self._directory / _NODES)
        write_table(_texts_to(tree.texts), self._directory / _TEXTS)
        # A system reports an error of the disk to one of them only.
        for flush in self._flushes:
            flush.result()
        return open_list(self._directory, rows=self.rows())


def write_overlay(directory: Path, layers: LayeredRows, tree: Tree, *, is_flushed: bool = True) -> None:
    """Write the overlay of a list beside its base; durably, unless the caller flushes the files later.

    Args:
        directory: where the files of the base are, and none of an overlay.
        layers: the list.
        tree: its tree.
        is_flushed: whether the files are flushed here, one after the other.

    Raises:
        OSError: the disk refused.
    """
    tables = {
        _PUTS: rows_to_table(layers.overlay.puts),
        _DROPPED: pa.table({"row": layers.overlay.dropped.astype(np.int64)}),
        _CHANGED_NODES: _nodes_to(tree.patch).replace_schema_metadata(_about(tree)),
        _CHANGED_TEXTS: _texts_to(tree.texts),
    }
    for name, table in tables.items():
        write_table(table, directory / name, is_flushed=is_flushed)


def overlay_rows_max(layers: LayeredRows, *, share: float | None = None) -> int:
    """How many rows an overlay of a list's base may have.

    Args:
        layers: the list.
        share: of the base's rows; None for those with which it is not yet to be folded.
    """
    return max(OVERLAY_ROWS_MIN, int((FOLD_SHARE if share is None else share) * len(layers.base)))


def link_files(source: Path, directory: Path, names: tuple[str, ...]) -> None:
    """Give a directory the same files, which are never altered; copied where they cannot be linked.

    Raises:
        OSError: the disk refused, or a file is not there.
    """
    for name in names:
        try:
            os.link(source / name, directory / name)
        except OSError:
            # Not every file system can link.
            shutil.copyfile(source / name, directory / name)
            sync_file(directory / name)


def open_list(directory: Path, *, rows: Rows | None = None) -> StoredList:
    """Map a list; takes about a millisecond whatever its size.

    Args:
        directory: where it is.
        rows: the rows of its base, if they are mapped already.

    Raises:
        OSError, KeyError, ValueError, pyarrow.ArrowException: its files are missing or damaged.
    """
    about: Mapping[bytes, bytes] = map_table(directory / _NODES).schema.metadata
    facts = BaseFacts(about[_BASE].decode(), int(about[_HIGHEST]), int(about[_LATEST]))
    base = rows_from_table(map_table(directory / ROWS)) if rows is None else rows
    overlay = Overlay.none()
    if (directory / _PUTS).exists():
        dropped = map_table(directory / _DROPPED)
        positions = dropped.column("row").chunk(0).to_numpy(zero_copy_only=True) if len(dropped) else None
        overlay = Overlay(
            overlay.dropped if positions is None else positions, rows_from_table(map_table(directory / _PUTS))
        )
    return StoredList(directory, LayeredRows(base, overlay, facts))


def _about(tree: Tree) -> dict[bytes, str]:
    return {_ROOT: tree.root.hex(), _COUNT: str(tree.rows)}


def _from_about(nodes: pa.Table) -> dict[str, Any]:
    about: Mapping[bytes, bytes] = nodes.schema.metadata
    return {"rows": int(about[_COUNT]), "root": bytes.fromhex(about[_ROOT].decode())}


def _nodes_to(nodes: Nodes) -> pa.Table:
    count = len(nodes)
    counts = np.ascontiguousarray(nodes.counts, "<u4")
    hashes = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), count, [None, pa.py_buffer(nodes.begin * HASH_BYTES), pa.py_buffer(nodes.hashes)]
    )
    counted = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_COUNTS_BYTES), count, [None, pa.py_buffer(counts)])
    return pa.table({"key": nodes.key, "counts": counted, "hashes": hashes})


def _nodes_from(table: pa.Table) -> Nodes:
    if not len(table):
        return Nodes.none()
    counts, hashes = table.column("counts").chunk(0), table.column("hashes").chunk(0)
    _, offsets, data = hashes.buffers()
    begin = np.frombuffer(offsets, np.int64, len(table) + 1) // HASH_BYTES
    return Nodes(
        table.column("key").chunk(0).to_numpy(zero_copy_only=True),
        np.frombuffer(counts.buffers()[1], "<u4", len(table) * SLOTS).reshape(-1, SLOTS),
        begin,
        np.frombuffer(data, np.uint8, int(begin[-1]) * HASH_BYTES).reshape(-1, HASH_BYTES),
    )


def _texts_to(texts: Mapping[str, Mapping[str, int]]) -> pa.Table:
    rows = [(name, text, count) for name, counts in texts.items() for text, count in counts.items()]
    columns: dict[str, Any] = {
        "column": pa.array([name for name, _, _ in rows], pa.string()),
        "text": pa.array([text for _, text, _ in rows], pa.string()),
        "rows": pa.array([count for _, _, count in rows], pa.int64()),
    }
    return pa.table(columns)


def _texts_from(table: pa.Table) -> dict[str, dict[str, int]]:
    texts: dict[str, dict[str, int]] = {name: {} for name in TEXT_COLUMNS}
    for name, text, count in zip(*(table.column(i).to_pylist() for i in range(3)), strict=True):
        texts[name][text] = count
    return texts
