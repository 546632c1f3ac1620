"""The digest as a tree, so that a delta costs what it changes: only the hashes of what it touches are made anew.

The numbers from 0 to 2⁵² are halved, and each half again, until a part has few rows: that is a *leaf*, and its hash is
made of its rows. A *node* is a part of 16, 256, 4,096, … numbers that has too many rows for a leaf; its hash is made of
the hashes of the leaves and nodes that it consists of. The root is the node of all numbers. Where a leaf ends follows
from its own rows and its neighbours' alone, so a change reaches its leaf, now and then the leaf beside it, and the
nodes above them. ``docs/reference/protocol.md`` specifies the tree byte by byte.

Whoever picks the numbers of a list can make leaves small, but not many: a part is halved only where it has more rows
than a leaf, so that every leaf has a neighbour with which it is too large.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.digest_kinds import TREE_PREFIX
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Int64s, Positions, Rows, Texts

LEAF_ROWS: Final = 64
"""A leaf has at most so many rows, but for one of a single number. A change costs the hash of one leaf, 2 µs; smaller
leaves make the whole tree dearer, larger ones the change."""

NUMBER_BITS: Final = 52
"""Every number of 15 digits has fewer bits; a multiple of `_SLOT_BITS`."""

_SLOT_BITS: Final = 4
SLOTS: Final = 1 << _SLOT_BITS
"""A node consists of so many slots. With more of them more hashes are read for one that changes, with fewer there are
more levels."""

_TOP: Final = NUMBER_BITS - _SLOT_BITS
"""The bits of a slot of the root."""

HASH_BYTES: Final = 32
_WORDS: Final = 9
_RECORD_BYTES: Final = 8 * _WORDS
_NODE: Final = b"node"
"""Before the hashes of a node. What is hashed for a leaf has a multiple of 72 bytes, and for a node four more than a
multiple of 32, so that neither can pass for the other."""

_HEADER: Final = b"blocklist tree 1\n"

_ROWS_AT_A_TIME: Final = 1 << 13
"""Records of so many rows fit a processor's cache."""

Counts = NDArray[np.int64]
Hashes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of a tree, by key.

    Attributes:
        key: the first number of each, with its level in the last four bits: slots of 16^level numbers. Ascending.
        counts: the rows in each of its 16 slots.
        begin: where its hashes begin in `hashes`; one more than there are nodes.
        hashes: the hashes of the leaves and nodes that each consists of, in order, 32 bytes each.
    """

    key: Int64s
    counts: NDArray[np.uint32]
    begin: Int64s
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def none(cls) -> Self:
        """No nodes."""
        return cls(
            np.empty(0, np.int64),
            np.empty((0, SLOTS), np.uint32),
            np.zeros(1, np.int64),
            np.empty((0, HASH_BYTES), np.uint8),
        )

    def place(self, key: Int64s) -> tuple[Positions, NDArray[np.bool_]]:
        """Where nodes are, and whether they are there."""
        if not len(self.key):
            return np.zeros(len(key), np.intp), np.zeros(len(key), np.bool_)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return at, self.key[at] == key

    def with_nodes(self, others: "Nodes") -> "Nodes":
        """These and others; of nodes with the same key the others'."""
        _, is_other = others.place(self.key)
        mine = np.flatnonzero(~is_other)
        order = np.argsort(np.concatenate((self.key[mine], others.key)), kind="stable")
        count = np.concatenate((np.diff(self.begin)[mine], np.diff(others.begin)))[order]
        begin = np.append(0, np.cumsum(count))
        source = np.concatenate((self.begin[mine], len(self.hashes) + others.begin[:-1]))[order]
        at = np.repeat(source - begin[:-1], count) + np.arange(begin[-1])
        return Nodes(
            np.concatenate((self.key[mine], others.key))[order],
            np.concatenate((self.counts[mine], others.counts))[order],
            begin,
            np.concatenate((self.hashes, others.hashes))[at],
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """The digest tree of a list, as the tree of its base and the nodes that changed since.

    Attributes:
        base: the nodes of the base.
        patch: nodes that are new or other than in the base. What the base has and nothing leads to does not count.
        texts: for each text column, how many rows have each text.
        rows: how many rows the list has.
        root: the root's hash.
    """

    base: Nodes
    patch: Nodes
    texts: Mapping[str, Mapping[str, int]]
    rows: int
    root: bytes

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """The tree of a whole list.

        Raises:
            Malformed: two texts of a column have the same word, which nobody meets by chance.
        """
        texts = {name: _counted(getattr(rows, name)) for name in TEXT_COLUMNS}
        _check_words(texts)
        nodes, root = _made(_Whole(rows))
        return cls(nodes, Nodes.none(), texts, len(rows), root)

    def updated(self, after: LayeredRows, changes: Difference) -> "Tree":
        """The tree of the list that changes lead to; takes time by the changes.

        Args:
            after: that list.
            changes: how it differs from this tree's.

        Raises:
            Malformed: as for `of`.
        """
        texts = {
            name: _recounted(
                self.texts[name],
                gone=[getattr(part, name) for part in (changes.removed, changes.changed_old)],
                come=[getattr(part, name) for part in (changes.added, changes.changed_new)],
            )
            for name in TEXT_COLUMNS
        }
        _check_words(texts)
        if not len(changes):
            return Tree(self.base, self.patch, texts, len(after), self.root)
        fresh, root = _made(_Changed(self, after, changes))
        return Tree(self.base, self.patch.with_nodes(fresh), texts, len(after), root)

    @property
    def digest(self) -> str:
        """The list's digest: SHA-256 of the header, the number of rows, the texts, and the root's hash."""
        whole = hashlib.sha256(_HEADER + struct.pack("<Q", self.rows))
        for name in TEXT_COLUMNS:
            values = sorted(text.encode() for text in self.texts[name])
            whole.update(struct.pack("<I", len(values)))
            for value in values:
                whole.update(struct.pack("<I", len(value)) + value)
        whole.update(self.root)
        return TREE_PREFIX + whole.hexdigest()


# Texts


def word(text: str) -> int:
    """What stands for a text in a record: the first eight bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _check_words(texts: Mapping[str, Mapping[str, int]]) -> None:
    """Each word stands for one text, so that records can be told apart by their words.

    Raises:
        Malformed: one stands for two.
    """
    for name, counts in texts.items():
        if len({word(text) for text in counts}) < len(counts):
            raise Malformed(f"two texts of the column {name!r} have the same first eight bytes of SHA-256")


def _counted(texts: Texts) -> dict[str, int]:
    count = np.zeros(len(texts.values), np.int64)
    for start in range(0, len(texts.codes), 1 << 20):
        count += np.bincount(texts.codes[start : start + (1 << 20)], minlength=len(count))
    return {value: number for value, number in zip(texts.values, count.tolist(), strict=True) if number}


def _recounted(counts: Mapping[str, int], *, gone: Sequence[Texts], come: Sequence[Texts]) -> dict[str, int]:
    after = dict(counts)
    for part in come:
        for text, number in _counted(part).items():
            after[text] = after.get(text, 0) + number
    for part in gone:
        for text, number in _counted(part).items():
            after[text] -= number
    return {text: number for text, number in after.items() if number}


# Records


def leaf_hashes(rows: Rows, begin: Positions, end: Positions) -> Hashes:
    """The hash of each leaf.

    Args:
        rows: rows, with those of each leaf one after the other.
        begin: where the rows of each leaf begin, ascending.
        end: where they end.
    """
    sha256 = hashlib.sha256
    found: list[bytes] = []
    words = {name: np.array([word(text) for text in getattr(rows, name).values], np.uint64) for name in TEXT_COLUMNS}
    at = 0
    while at < len(begin):
        # Whole leaves, as many as fit, at least one.
        upto = max(at + 1, int(np.searchsorted(end, begin[at] + _ROWS_AT_A_TIME, "right")))
        start, stop = int(begin[at]), int(end[upto - 1])
        data = _records(rows, slice(start, stop), words).data.cast("B")
        bounds = zip(
            ((begin[at:upto] - start) * _RECORD_BYTES).tolist(),
            ((end[at:upto] - start) * _RECORD_BYTES).tolist(),
            strict=True,
        )
        found += [sha256(data[low:high]).digest() for low, high in bounds]
        at = upto
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, HASH_BYTES)


def _records(rows: Rows, part: slice, words: Mapping[str, NDArray[np.uint64]]) -> NDArray[Any]:
    """Rows as records of nine little-endian words."""
    records = np.empty((part.stop - part.start, _WORDS), "<u8")
    for i, name in enumerate(NUMERIC_COLUMNS):
        records[:, i] = getattr(rows, name)[part]
    for i, name in enumerate(TEXT_COLUMNS):
        texts: Texts = getattr(rows, name)
        records[:, 5 + i] = words[name][0] if len(texts.values) == 1 else words[name][texts.codes[part]]
    return records


# Nodes


class _Whole:
    """A list of which nothing is hashed yet."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def touched(self, start: Int64s, bits: Int64s) -> NDArray[np.bool_]:
        """Which parts have changed: all."""
        return np.ones(len(start), np.bool_)

    def counts(self, start: Int64s, level: int, was: NDArray[np.bool_]) -> Counts:
        """The rows in each slot of nodes."""
        return _slot_counts(self._rows.number, start, level)

    def known(self, key: Int64s, was: NDArray[np.bool_]) -> "_Known":
        """What is known of nodes: nothing."""
        return _Known.nothing()

    def hashes(self, start: Int64s, bits: Int64s) -> Hashes:
        """The hashes of leaves, which ascend."""
        begin = np.searchsorted(self._rows.number, start)
        end = np.searchsorted(self._rows.number, start + (1 << bits))
        return leaf_hashes(self._rows, begin, end)


class _Changed:
    """A list of which only what changes touch is hashed anew."""

    def __init__(self, tree: Tree, after: LayeredRows, changes: Difference) -> None:
        self._tree, self._after = tree, after
        # How many rows more or fewer each number has; of a row that changed, neither.
        number = np.concatenate((changes.added.number, changes.removed.number, changes.changed_new.number))
        more = np.repeat([1, -1, 0], [len(changes.added), len(changes.removed), len(changes.changed_new)])
        order = np.argsort(number, kind="stable")
        self._number, self._more = number[order], np.append(0, np.cumsum(more[order]))

    def touched(self, start: Int64s, bits: Int64s) -> NDArray[np.bool_]:
        """Which parts have changed."""
        at = np.searchsorted(self._number, start)
        found: NDArray[np.bool_] = np.searchsorted(self._number, start + (1 << bits)) > at
        return found

    def counts(self, start: Int64s, level: int, was: NDArray[np.bool_]) -> Counts:
        """The rows in each slot of nodes: as before and those that came and went, or counted where there was none."""
        counts = np.empty((len(start), SLOTS), np.int64)
        bounds = _bounds(start[was], level)
        at = self._more[np.searchsorted(self._number, bounds)]
        counts[was] = self._known_counts(start[was] + level) + np.diff(at, axis=1)
        new = np.flatnonzero(~was)
        if len(new):
            near = self._after.near(start[new], start[new] + (1 << (level + 1) * _SLOT_BITS) - 1)
            counts[new] = _slot_counts(near.number, start[new], level)
        return counts

    def _known_counts(self, key: Int64s) -> Counts:
        return self._known_nodes(key)[0]

    def _known_nodes(self, key: Int64s) -> tuple[Counts, list[tuple[Nodes, Positions, Positions]]]:
        """The counts of nodes as they were, and where they are: in the patch or else in the base."""
        tree = self._tree
        counts = np.empty((len(key), SLOTS), np.int64)
        at, is_patched = tree.patch.place(key)
        here = np.flatnonzero(is_patched)
        counts[here] = tree.patch.counts[at[here]]
        there = np.flatnonzero(~is_patched)
        found, _ = tree.base.place(key[there])
        counts[there] = tree.base.counts[found]
        return counts, [(tree.patch, here, at[here]), (tree.base, there, found)]

    def known(self, key: Int64s, was: NDArray[np.bool_]) -> "_Known":
        """The parts of nodes as they were, with their hashes."""
        there = np.flatnonzero(was)
        counts, sources = self._known_nodes(key[there])
        parts = _parts(counts)
        hashes = np.empty((len(parts.node), HASH_BYTES), np.uint8)
        count = np.bincount(parts.node, minlength=len(there))
        begin = np.cumsum(count) - count
        for nodes, mine, its in sources:
            size = count[mine]
            offset = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
            hashes[np.repeat(begin[mine], size) + offset] = nodes.hashes[np.repeat(nodes.begin[its], size) + offset]
        return _Known(there[parts.node] * _PART_KEYS + parts.key, parts.count, hashes)

    def hashes(self, start: Int64s, bits: Int64s) -> Hashes:
        """The hashes of leaves, which ascend."""
        rows = self._after.near(start, start + (1 << bits) - 1)
        return leaf_hashes(rows, np.searchsorted(rows.number, start), np.searchsorted(rows.number, start + (1 << bits)))


_PART_KEYS: Final = 128
"""More than `_Parts.key` can be."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Parts with their rows and hashes, by the position of their node and their key in it; ascending."""

    key: Int64s
    count: Counts
    hashes: Hashes

    @classmethod
    def nothing(cls) -> Self:
        none = np.empty(0, np.int64)
        return cls(none, none, np.empty((0, HASH_BYTES), np.uint8))

    def find(self, key: Int64s) -> tuple[Positions, NDArray[np.bool_]]:
        """Where parts are, and whether they are there."""
        if not len(self.key):
            return np.zeros(len(key), np.intp), np.zeros(len(key), np.bool_)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return at, self.key[at] == key


@dataclass(frozen=True, slots=True)
class _Parts:
    """What nodes consist of: leaves, and nodes of one slot; in order.

    Attributes:
        node: the position of each part's node.
        slot: its first slot.
        halvings: how often the node was halved for it; four times for a single slot.
        count: its rows.
    """

    node: Positions
    slot: Positions
    halvings: Positions
    count: Counts

    @property
    def key(self) -> Int64s:
        """Tells the parts of one node apart; ascending."""
        return (self.slot << 3 | self.halvings).astype(np.int64)

    @property
    def is_large(self) -> NDArray[np.bool_]:
        """Which have too many rows for a leaf; these are single slots."""
        large: NDArray[np.bool_] = self.count > LEAF_ROWS
        return large


def _parts(counts: Counts) -> _Parts:
    """Halve nodes, by the rows in each slot, until every part has few rows or is a single slot."""
    halvings = np.full(counts.shape, -1, np.int8)
    whole = np.zeros(counts.shape, np.int64)
    is_open = np.ones((len(counts), 1), np.bool_)
    for times in range(_SLOT_BITS + 1):
        width = SLOTS >> times
        sums = counts.reshape(len(counts), 1 << times, width).sum(axis=2)
        ends = is_open & (sums > 0)
        if width > 1:
            ends &= sums <= LEAF_ROWS
        halvings[:, ::width][ends] = times
        whole[:, ::width][ends] = sums[ends]
        is_open = np.repeat(is_open & ~ends, 2, axis=1) if width > 1 else is_open
    node, slot = np.nonzero(halvings >= 0)
    return _Parts(node, slot, halvings[node, slot].astype(np.intp), whole[node, slot])


def _bounds(start: Int64s, level: int) -> Int64s:
    """Where the slots of nodes begin, and where the last one ends."""
    return start[:, None] + (np.arange(SLOTS + 1, dtype=np.int64) << level * _SLOT_BITS)


def _slot_counts(number: Int64s, start: Int64s, level: int) -> Counts:
    return np.diff(np.searchsorted(number, _bounds(start, level).ravel()).reshape(-1, SLOTS + 1), axis=1)


@dataclass(frozen=True, slots=True)
class _Level:
    """The nodes of one level that are made anew.

    Attributes:
        level: a slot has 16^level numbers.
        start: their first numbers, ascending.
        counts: the rows in each slot.
        parts: what they consist of.
        hashes: the hash of each part; those of fresh ones are filled in later.
        is_fresh: which parts have changed, or are new.
        is_node: which parts are nodes.
    """

    level: int
    start: Int64s
    counts: Counts
    parts: _Parts
    hashes: Hashes
    is_fresh: NDArray[np.bool_]
    is_node: NDArray[np.bool_]

    @property
    def part_start(self) -> Int64s:
        """The first number of each part."""
        return self.start[self.parts.node] + (self.parts.slot.astype(np.int64) << self.level * _SLOT_BITS)

    @property
    def part_bits(self) -> Int64s:
        """Each part has 2 to the power of so many numbers."""
        return (self.level + 1) * _SLOT_BITS - self.parts.halvings.astype(np.int64)

    def node_hashes(self) -> Hashes:
        """The hash of each node."""
        end = np.cumsum(np.bincount(self.parts.node, minlength=len(self.start))) * HASH_BYTES
        data, low, found = self.hashes.tobytes(), 0, []
        for high in end.tolist():
            found.append(hashlib.sha256(_NODE + data[low:high]).digest())
            low = high
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, HASH_BYTES)


def _made(source: _Whole | _Changed) -> tuple[Nodes, bytes]:
    """Make the nodes of a list that have changed; returns them, and the root's hash."""
    levels = list(_levels(source))
    _hash_leaves(levels, source)
    below: tuple[Int64s, Hashes] | None = None
    for each in reversed(levels):
        if below is not None:
            at = np.flatnonzero(each.is_fresh & each.is_node)
            each.hashes[at] = below[1][np.searchsorted(below[0], each.part_start[at])]
        below = each.start, each.node_hashes()
    assert below is not None
    return _nodes(levels), below[1][0].tobytes()


def _levels(source: _Whole | _Changed) -> Iterator[_Level]:
    """From the root down, the nodes that have changed, and what they consist of now."""
    start, was = np.zeros(1, np.int64), np.ones(1, np.bool_)
    for level in range(_TOP // _SLOT_BITS, -1, -1):
        counts = source.counts(start, level, was)
        parts = _parts(counts)
        known = source.known(start + level, was)
        at, is_known = known.find(parts.node * _PART_KEYS + parts.key)
        hashes = np.zeros((len(at), HASH_BYTES), np.uint8)
        hashes[is_known] = known.hashes[at[is_known]]
        is_node = parts.is_large if level else np.zeros(len(at), np.bool_)
        made = _Level(level, start, counts, parts, hashes, np.ones(len(at), np.bool_), is_node)
        made.is_fresh[is_known] = source.touched(made.part_start[is_known], made.part_bits[is_known])
        yield made
        below = np.flatnonzero(made.is_fresh & is_node)
        if not len(below):
            return
        # A part that had few rows was a leaf.
        was = is_known[below]
        was[was] = known.count[at[below][was]] > LEAF_ROWS
        start = made.part_start[below]


def _hash_leaves(levels: Sequence[_Level], source: _Whole | _Changed) -> None:
    """Fill in the hashes of the leaves that have changed, on all levels."""
    at = [np.flatnonzero(each.is_fresh & ~each.is_node) for each in levels]
    start = np.concatenate([each.part_start[some] for each, some in zip(levels, at, strict=True)])
    bits = np.concatenate([each.part_bits[some] for each, some in zip(levels, at, strict=True)])
    order = np.argsort(start, kind="stable")
    hashes = np.empty((len(start), HASH_BYTES), np.uint8)
    hashes[order] = source.hashes(start[order], bits[order])
    done = 0
    for each, some in zip(levels, at, strict=True):
        each.hashes[some] = hashes[done : done + len(some)]
        done += len(some)


def _nodes(levels: Sequence[_Level]) -> Nodes:
    key = np.concatenate([each.start + each.level for each in levels])
    order = np.argsort(key, kind="stable")
    count = np.concatenate([np.bincount(each.parts.node, minlength=len(each.start)) for each in levels])
    source = np.cumsum(count) - count
    begin = np.append(0, np.cumsum(count[order]))
    at = np.repeat(source[order] - begin[:-1], count[order]) + np.arange(begin[-1])
    return Nodes(
        key[order],
        np.concatenate([each.counts for each in levels])[order].astype(np.uint32),
        begin,
        np.concatenate([each.hashes for each in levels])[at],
    )
