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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import sync_file
from blocklist_sdk.release.arrow_files import map_table, rows_from_table, rows_to_table, write_table
from blocklist_sdk.release.layers import BaseFacts, LayeredRows, Overlay
from blocklist_sdk.release.rows import TEXT_COLUMNS, Rows
from blocklist_sdk.release.tree import HASH_BYTES, SLOTS, Nodes, Tree

ROWS: Final = "rows.arrow"
_NODES, _TEXTS = "nodes.arrow", "texts.arrow"
_PUTS, _DROPPED = "puts.arrow", "dropped.arrow"
_CHANGED_NODES, _CHANGED_TEXTS = "changed-nodes.arrow", "changed-texts.arrow"

BASE_FILES: Final = ROWS, _NODES, _TEXTS
OVERLAY_FILES: Final = _PUTS, _DROPPED, _CHANGED_NODES, _CHANGED_TEXTS

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

    @cached_property
    def tree(self) -> Tree:
        """Its digest tree; mapped when it is first asked for.

        Raises:
            OSError, KeyError, ValueError, pyarrow.ArrowException: its files are damaged.
        """
        base = map_table(self.directory / _NODES)
        has_overlay = (self.directory / _PUTS).exists()
        changed = map_table(self.directory / _CHANGED_NODES) if has_overlay else None
        about: Mapping[bytes, bytes] = (base if changed is None else changed).schema.metadata
        return Tree(
            base=_nodes_from(base),
            patch=Nodes.none() if changed is None else _nodes_from(changed),
            texts=_texts_from(map_table(self.directory / (_CHANGED_TEXTS if has_overlay else _TEXTS))),
            rows=int(about[_COUNT]),
            root=bytes.fromhex(about[_ROOT].decode()),
        )


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
    with ThreadPoolExecutor(1) as pool:
        # The largest file goes to the disk while the tree is made.
        written = pool.submit(write_table, rows_to_table(rows), directory / ROWS)
        made = Tree.of(rows) if tree is None else tree
        facts = BaseFacts.of(rows, base_id=secrets.token_hex(8))
        about = _about(made) | {
            _BASE: facts.base_id,
            _HIGHEST: str(facts.highest_entry),
            _LATEST: str(facts.latest_since_ms),
        }
        write_table(_nodes_to(made.base.with_nodes(made.patch)).replace_schema_metadata(about), directory / _NODES)
        write_table(_texts_to(made.texts), directory / _TEXTS)
        written.result()
    return open_list(directory)


def write_overlay(directory: Path, layers: LayeredRows, tree: Tree) -> None:
    """Write the overlay of a list beside its base, durably.

    Args:
        directory: where the files of the base are, and none of an overlay.
        layers: the list.
        tree: its tree.

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
        write_table(table, directory / name)


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


def open_list(directory: Path) -> StoredList:
    """Map a list; takes about a millisecond whatever its size.

    Raises:
        OSError, KeyError, ValueError, pyarrow.ArrowException: its files are missing or damaged.
    """
    about: Mapping[bytes, bytes] = map_table(directory / _NODES).schema.metadata
    facts = BaseFacts(about[_BASE].decode(), int(about[_HIGHEST]), int(about[_LATEST]))
    base = rows_from_table(map_table(directory / ROWS))
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
