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
from blocklist_sdk.release.spans import places_of

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

_NO_NUMBERS: Final = np.empty(0, np.int64)

_LEAVES_AT_A_TIME: Final = 1 << 14
"""Their rows take about 50 MB."""

_LEAVES_CHECKED_AT_A_TIME: Final = 1 << 9
"""So many are checked by one thread at a time."""

_WORKERS: Final = 2
"""numpy and hashlib release the interpreter lock."""

_FEW: Final = 8
"""So few codes are counted one by one, which is quicker than all at once."""

_EXPONENT_AT: Final = 52
_EXPONENT_OF_HALF: Final = 1022
"""The exponent of a 64-bit float is above its lowest 52 bits (IEEE 754), and that of 1 is 1023: its first bit."""

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
        return places_of(key, self.key)

    def hash_of(self, at: int) -> bytes:
        """The hash of a node."""
        return hashlib.sha256(_NODE + self.hashes[int(self.begin[at]) : int(self.begin[at + 1])].tobytes()).digest()

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
    def of(cls, rows: Rows) -> "Tree":
        """The tree of a whole list.

        Raises:
            Malformed: two texts of a column have the same word, which nobody meets by chance.
        """
        maker = TreeMaker()
        maker.add(rows)
        return maker.made()

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
    return {value: number for value, number in zip(texts.values, _counts(texts), strict=True) if number}


def _counts(texts: Texts) -> list[int]:
    """How many rows have each text."""
    codes = texts.codes
    if len(texts.values) == 1:
        return [len(codes)]
    if len(texts.values) <= _FEW:
        return [int(np.count_nonzero(codes == code)) for code in range(len(texts.values))]
    count = np.zeros(len(texts.values), np.int64)
    for start in range(0, len(codes), 1 << 20):
        count += np.bincount(codes[start : start + (1 << 20)], minlength=len(count))
    return count.tolist()


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
    found: list[bytes] = []
    words = words_of(rows)
    at = 0
    while at < len(begin):
        # Whole leaves, as many as fit, at least one.
        upto = max(at + 1, int(np.searchsorted(end, begin[at] + _ROWS_AT_A_TIME, "right")))
        start, stop = int(begin[at]), int(end[upto - 1])
        records = np.empty((stop - start, _WORDS), "<u8")
        _fill_records(records, rows, slice(start, stop), words)
        found.append(_hashes(records, begin[at:upto] - start, end[at:upto] - start))
        at = upto
    return _as_hashes(found)


def words_of(rows: Rows) -> dict[str, NDArray[np.uint64]]:
    """What stands for each text of each column."""
    return {name: np.array([word(text) for text in getattr(rows, name).values], np.uint64) for name in TEXT_COLUMNS}


def _fill_records(records: NDArray[Any], rows: Rows, part: slice, words: Mapping[str, NDArray[np.uint64]]) -> None:
    """Rows as records of nine little-endian words.

    Raises:
        IndexError: a code stands for no text, as after a flipped bit.
    """
    for i, name in enumerate(NUMERIC_COLUMNS):
        records[:, i] = getattr(rows, name)[part]
    for i, name in enumerate(TEXT_COLUMNS):
        texts: Texts = getattr(rows, name)
        codes = texts.codes[part]
        if len(texts.values) == 1 and not codes.any():
            records[:, 5 + i] = words[name][0]
        else:
            records[:, 5 + i] = words[name][codes]


def _hashes(records: NDArray[Any], begin: Positions, end: Positions) -> bytes:
    """The hashes of leaves, from their records."""
    sha256, data = hashlib.sha256, records.data.cast("B")
    bounds = zip((begin * _RECORD_BYTES).tolist(), (end * _RECORD_BYTES).tolist(), strict=True)
    return b"".join([sha256(data[low:high]).digest() for low, high in bounds])


def _as_hashes(found: Sequence[bytes]) -> Hashes:
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, HASH_BYTES)


# Whole lists


class TreeMaker:
    """Makes the tree of a list whose rows come in parts, in one pass.

    In any 65 rows one after the other the first and the last differ in a highest bit. Halves of the number line that
    hold all of them have more bits than that, and too many rows. So the leaf of a row has as many bits as the least of
    those, over the 65 times 65 rows that the row is among, and is known as soon as 64 more rows are.
    """

    def __init__(self) -> None:
        """A list without rows, so far."""
        self._before: Int64s = _NO_NUMBERS
        self._open: NDArray[Any] = np.empty((0, _WORDS), "<u8")
        self._records: NDArray[Any] = np.empty((0, _WORDS), "<u8")
        self._leaves: list[tuple[Int64s, NDArray[np.int8]]] = []
        self._hashes: list[bytes] = []
        self._slots: list[tuple[Int64s, NDArray[np.int8], NDArray[np.uint32]]] = []
        self._words: dict[str, int] = {}
        self._texts: dict[str, dict[str, int]] = {name: {} for name in TEXT_COLUMNS}
        self._rows = 0

    def add(self, rows: Rows) -> None:
        """Add rows that follow those before, in canonical order."""
        for name, counts in self._texts.items():
            for text, count in _counted(getattr(rows, name)).items():
                counts[text] = counts.get(text, 0) + count
        words = {name: self._words_of(getattr(rows, name)) for name in TEXT_COLUMNS}
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = slice(start, min(start + _ROWS_AT_A_TIME, len(rows)))
            count = part.stop - part.start
            self._rows += count
            already = len(self._open)
            records = self._room(already + count)
            records[:already] = self._open
            _fill_records(records[already:], rows, part, words)
            self._close_leaves(records, rows.number[part], is_end=False)

    def _words_of(self, texts: Texts) -> NDArray[np.uint64]:
        """What stands for each text of a column; worked out once, since every part has the same."""
        for text in texts.values:
            if text not in self._words:
                self._words[text] = word(text)
        return np.array([self._words[text] for text in texts.values], np.uint64)

    def _room(self, count: int) -> NDArray[Any]:
        """Records to fill; the same memory again, since fresh memory costs more than filling it."""
        if len(self._records) < count:
            self._records = np.empty((count + _ROWS_AT_A_TIME, _WORDS), "<u8")
        return self._records[:count]

    def _close_leaves(self, records: NDArray[Any], fresh: Int64s, *, is_end: bool) -> None:
        """Hash the leaves that are sure to be whole.

        Args:
            records: those of the rows that are in no leaf yet, fresh ones included.
            fresh: the numbers of the fresh ones.
            is_end: whether no rows follow.
        """
        before = self._before
        known = np.concatenate((before, self._open[:, 0].view(np.int64), fresh))
        here = slice(len(before), len(before) + len(records))
        number, bits = known[here], _leaf_bits(known)[here]
        # The leaf of a row is sure once all the windows that the row is in are.
        sure = len(number) if is_end else len(number) - LEAF_ROWS
        if sure <= 0:
            self._open = records.copy()
            return
        number, bits = number[:sure], bits[:sure]
        wide = bits.astype(np.int64)
        first = number >> wide
        first <<= wide
        is_begin = np.ones(sure, np.bool_)
        np.not_equal(first[1:], first[:-1], out=is_begin[1:])
        begin = np.flatnonzero(is_begin)
        end = sure if is_end else int(begin[-1])
        begin = begin if is_end else begin[:-1]
        self._leaves.append((first[begin], bits[begin]))
        self._hashes.append(_hashes(records, begin, np.append(begin[1:], end)[: len(begin)]))
        self._count_slots(number[:end], wide[:end], is_begin[:end])
        self._open = records[end:].copy()
        self._before = np.concatenate((before, number[:end]))[-LEAF_ROWS:]

    def _count_slots(self, number: Int64s, bits: Int64s, is_begin: NDArray[np.bool_]) -> None:
        """Count the rows of leaves by slots of the nodes that the leaves are part of."""
        if not len(number):
            return
        shift = bits & -_SLOT_BITS
        np.minimum(shift, _TOP, out=shift)
        slot = number >> shift
        is_begin[1:] |= slot[1:] != slot[:-1]
        begin = np.flatnonzero(is_begin)
        count = np.diff(begin, append=len(number)).astype(np.uint32)
        shift = shift[begin]
        self._slots.append((slot[begin] << shift, (shift // _SLOT_BITS).astype(np.int8), count))

    def made(self) -> Tree:
        """Make the nodes above the leaves; nothing can be added any more.

        Raises:
            Malformed: two texts of a column have the same word, which nobody meets by chance.
        """
        texts = {name: dict(sorted(counts.items(), key=_by_bytes)) for name, counts in self._texts.items()}
        _check_words(texts)
        if len(self._open):
            self._close_leaves(self._open, _NO_NUMBERS, is_end=True)
        start, bits = _columns(self._leaves, 2)
        slot_start, slot_level, slot_count = _columns(self._slots, 3)
        nodes, root = _above(
            start, _level_of(bits.astype(np.int8)), _as_hashes(self._hashes), slot_start, slot_level, slot_count
        )
        return Tree(nodes, Nodes.none(), texts, self._rows, root)


def _by_bytes(item: tuple[str, int]) -> bytes:
    return item[0].encode()


def _columns(parts: list[Any], count: int) -> tuple[NDArray[Any], ...]:
    none = np.empty(0, np.int64)
    return tuple(np.concatenate([none, *(part[i] for part in parts)]) for i in range(count))


def _leaf_bits(number: Int64s) -> NDArray[np.int8]:
    """How many bits the leaf of each row has, as far as these rows show it.

    Args:
        number: the rows' numbers, ascending.
    """
    count = len(number)
    # Of windows that would begin before the first row or end after the last, nothing is known.
    windows = np.full(count + LEAF_ROWS, NUMBER_BITS + 1, np.int8)
    if count > LEAF_ROWS:
        differ = (number[:-LEAF_ROWS] ^ number[LEAF_ROWS:]).astype(np.float64)
        # A float's exponent is the place of its highest bit.
        windows[LEAF_ROWS:count] = np.maximum((differ.view(np.int64) >> _EXPONENT_AT) - _EXPONENT_OF_HALF, 0)
    width = 1
    while 2 * width <= LEAF_ROWS + 1:
        windows = np.minimum(windows[:-width], windows[width:])
        width *= 2
    least = np.minimum(windows[:count], windows[LEAF_ROWS + 1 - width :][:count])
    bits: NDArray[np.int8] = np.maximum(least - np.int8(1), 0).astype(np.int8)
    return bits


def _level_of(bits: NDArray[np.int8]) -> NDArray[np.int8]:
    """The level of the nodes that leaves of so many bits are part of."""
    level: NDArray[np.int8] = np.minimum(bits >> 2, _TOP // _SLOT_BITS).astype(np.int8)
    return level


def _above(
    leaf_start: Int64s,
    leaf_level: NDArray[np.int8],
    leaf_hash: Hashes,
    slot_start: Int64s,
    slot_level: NDArray[np.int8],
    slot_count: NDArray[Any],
) -> tuple[Nodes, bytes]:
    """The nodes above leaves, from the lowest level up, and the root's hash.

    Args:
        leaf_start: the first number of each leaf, ascending.
        leaf_level: the level of the nodes that it is part of.
        leaf_hash: its hash.
        slot_start: the first number of each slot of such nodes that leaves have rows in.
        slot_level: its level.
        slot_count: how many rows they are.
    """
    below = _MadeLevel.nothing()
    made: list[tuple[int, _MadeLevel]] = []
    for level in range(_TOP // _SLOT_BITS + 1):
        mine, slots = leaf_level == level, slot_level == level
        if not len(below.start) and not mine.any() and level < _TOP // _SLOT_BITS:
            continue
        below = _MadeLevel.of(
            level,
            np.concatenate((leaf_start[mine], below.start)),
            np.concatenate((leaf_hash[mine], below.hash)),
            np.concatenate((slot_start[slots], below.start)),
            np.concatenate((slot_count[slots].astype(np.int64), below.counts.sum(axis=1))),
        )
        made.append((level, below))
    nodes = _joined([(each.start + level, each.counts, each.size, each.parts) for level, each in made])
    return nodes, below.hash[0].tobytes()


@dataclass(frozen=True, slots=True)
class _MadeLevel:
    """The nodes of one level.

    Attributes:
        start: their first numbers, ascending.
        counts: the rows in each of their slots.
        size: how many parts each has.
        parts: the hashes of those.
        hash: their own hashes.
    """

    start: Int64s
    counts: NDArray[np.uint32]
    size: Int64s
    parts: Hashes
    hash: Hashes

    @classmethod
    def nothing(cls) -> Self:
        none = np.empty(0, np.int64)
        hashes = np.empty((0, HASH_BYTES), np.uint8)
        return cls(none, np.empty((0, SLOTS), np.uint32), none, hashes, hashes)

    @classmethod
    def of(cls, level: int, part: Int64s, hashes: Hashes, slot: Int64s, count: Int64s) -> Self:
        """The nodes that some parts and slots are in.

        Args:
            level: theirs.
            part: the first number of each part, in any order.
            hashes: its hash.
            slot: the first number of each slot with rows.
            count: how many.
        """
        order = np.argsort(part, kind="stable")
        part, hashes = part[order], hashes[order]
        bits = (level + 1) * _SLOT_BITS
        node = part >> bits << bits
        begin = np.flatnonzero(np.append(True, node[1:] != node[:-1])[: len(node)])
        start = node[begin] if len(node) else np.zeros(1, np.int64)
        size = np.diff(begin, append=len(node)) if len(node) else np.zeros(1, np.int64)
        counts = np.zeros((len(start), SLOTS), np.uint32)
        at = np.searchsorted(start, slot >> bits << bits)
        counts[at, (slot >> level * _SLOT_BITS) & (SLOTS - 1)] = count
        return cls(start, counts, size, hashes, _node_hashes(hashes, size))


def _node_hashes(parts: Hashes, size: Positions) -> Hashes:
    """The hash of each node, from the hashes of its parts and how many it has."""
    data, low, found = parts.tobytes(), 0, []
    for high in (np.cumsum(size) * HASH_BYTES).tolist():
        found.append(hashlib.sha256(_NODE + data[low:high]).digest())
        low = high
    return _as_hashes(found)


def _joined(levels: Sequence[tuple[Int64s, NDArray[Any], Int64s, Hashes]]) -> Nodes:
    """Nodes of several levels as one: their keys, counts, how many parts each has, and the parts' hashes."""
    key = np.concatenate([key for key, _, _, _ in levels])
    order = np.argsort(key, kind="stable")
    count = np.concatenate([size for _, _, size, _ in levels])
    source = np.cumsum(count) - count
    begin = np.append(0, np.cumsum(count[order]))
    at = np.repeat(source[order] - begin[:-1], count[order]) + np.arange(begin[-1])
    return Nodes(
        key[order],
        np.concatenate([counts for _, counts, _, _ in levels])[order].astype(np.uint32),
        begin,
        np.concatenate([parts for _, _, _, parts in levels])[at],
    )


# Changes


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
        counts[was] = self._known_nodes(start[was] + level)[0] + np.diff(at, axis=1)
        new = np.flatnonzero(~was)
        if len(new):
            near = self._after.near(start[new], start[new] + (1 << (level + 1) * _SLOT_BITS) - 1)
            counts[new] = _slot_counts(near.number, start[new], level)
        return counts

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
        found = [np.empty((0, HASH_BYTES), np.uint8)]
        # A part of them at a time: a leaf's rows take as much memory as a hundred of its hashes.
        for begin in range(0, len(start), _LEAVES_AT_A_TIME):
            low = start[begin : begin + _LEAVES_AT_A_TIME]
            high = low + (1 << bits[begin : begin + _LEAVES_AT_A_TIME])
            rows = self._after.near(low, high - 1)
            found.append(leaf_hashes(rows, np.searchsorted(rows.number, low), np.searchsorted(rows.number, high)))
        return np.concatenate(found)


_PART_KEYS: Final = 128
"""More than `_Parts.key` can be."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Parts with their rows and hashes, by the position of their node and their key in it; ascending."""

    key: Int64s
    count: Counts
    hashes: Hashes


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

    @property
    def sizes(self) -> Int64s:
        """How many parts each node has."""
        return np.bincount(self.parts.node, minlength=len(self.start))


def _made(source: _Changed) -> tuple[Nodes, bytes]:
    """Make the nodes of a list that have changed; returns them, and the root's hash."""
    levels = list(_levels(source))
    _hash_leaves(levels, source)
    below: tuple[Int64s, Hashes] | None = None
    for each in reversed(levels):
        if below is not None:
            at = np.flatnonzero(each.is_fresh & each.is_node)
            each.hashes[at] = below[1][np.searchsorted(below[0], each.part_start[at])]
        below = each.start, _node_hashes(each.hashes, each.sizes)
    assert below is not None
    nodes = _joined([(each.start + each.level, each.counts, each.sizes, each.hashes) for each in levels])
    return nodes, below[1][0].tobytes()


def _levels(source: _Changed) -> Iterator[_Level]:
    """From the root down, the nodes that have changed, and what they consist of now."""
    start, was = np.zeros(1, np.int64), np.ones(1, np.bool_)
    for level in range(_TOP // _SLOT_BITS, -1, -1):
        counts = source.counts(start, level, was)
        parts = _parts(counts)
        known = source.known(start + level, was)
        at, is_known = places_of(parts.node * _PART_KEYS + parts.key, known.key)
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


def _hash_leaves(levels: Sequence[_Level], source: _Changed) -> None:
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


# Checks


def are_leaves_right(tree: Tree, rows: LayeredRows, number: Int64s) -> bool:
    """Whether the rows beside some numbers still have the hashes that they had; takes time by the numbers.

    Args:
        tree: the tree of a base.
        rows: that base, as a list without an overlay.
        number: numbers that it lists, in any order, perhaps repeated.
    """
    found = _leaves_at(tree.base, np.unique(number))
    if found is None:
        return False
    start, bits, hashes = found

    def are_right(part: slice) -> bool:
        first, end = start[part], start[part] + (1 << bits[part])
        near = rows.near(first, end - 1)
        low, high = np.searchsorted(near.number, first), np.searchsorted(near.number, end)
        return bool((high > low).all()) and np.array_equal(leaf_hashes(near, low, high), hashes[part])

    parts = [slice(at, at + _LEAVES_CHECKED_AT_A_TIME) for at in range(0, len(start), _LEAVES_CHECKED_AT_A_TIME)]
    if len(parts) <= 1:
        return all(map(are_right, parts))
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        return all(pool.map(are_right, parts))


def are_nodes_right(tree: Tree, rows: Rows, part: slice) -> bool:
    """Whether some of a base's nodes, and the rows and nodes below them, have the hashes that are kept of them.

    If it is so for all nodes, every row is as it was.

    Args:
        tree: the tree of a base.
        rows: that base.
        part: which of its nodes.
    """
    nodes = tree.base
    key, begin = nodes.key[part], nodes.begin[part.start : part.stop + 1]
    level, start = key & (SLOTS - 1), key & -SLOTS
    parts = _parts(nodes.counts[part].astype(np.int64))
    hashes = nodes.hashes[int(begin[0]) : int(begin[-1])]
    if not np.array_equal(np.bincount(parts.node, minlength=len(key)), np.diff(begin)):
        return False
    part_level = level[parts.node]
    part_start = start[parts.node] + (parts.slot.astype(np.int64) << part_level * _SLOT_BITS)
    bits = (part_level + 1) * _SLOT_BITS - parts.halvings
    is_node = parts.is_large & (part_level > 0)
    leaf = np.flatnonzero(~is_node)
    leaf = leaf[np.argsort(part_start[leaf], kind="stable")]
    first = np.searchsorted(rows.number, part_start[leaf])
    end = np.searchsorted(rows.number, part_start[leaf] + (1 << bits[leaf]))
    if not np.array_equal(end - first, parts.count[leaf]):
        return False
    if not np.array_equal(leaf_hashes(rows, first, end), hashes[leaf]):
        return False
    below, is_there = nodes.place((part_start + part_level - 1)[is_node])
    if not is_there.all():
        return False
    found = b"".join(map(nodes.hash_of, below.tolist()))
    root = int(np.searchsorted(nodes.key, NUMBER_BITS // _SLOT_BITS - 1))
    is_root_here = part.start <= root < part.stop
    return found == hashes[is_node].tobytes() and (not is_root_here or nodes.hash_of(root) == tree.root)


def _leaves_at(nodes: Nodes, number: Int64s) -> tuple[Int64s, Int64s, Hashes] | None:
    """First numbers, bits and hashes of the leaves that hold some numbers, ascending; None if a number has none."""
    start = np.zeros(len(number), np.int64)
    found: list[tuple[Int64s, Int64s, Positions]] = []
    for level in range(_TOP // _SLOT_BITS, -1, -1):
        at, is_there = nodes.place(start + level)
        if not is_there.all():
            return None
        some, node = np.unique(at, return_inverse=True)
        parts = _parts(nodes.counts[some].astype(np.int64))
        slot = (number - start) >> level * _SLOT_BITS
        part = np.searchsorted(parts.node * SLOTS + parts.slot, node * SLOTS + slot, "right") - 1
        width = SLOTS >> parts.halvings[part]
        if bool(((part < 0) | (parts.node[part] != node) | (slot >= parts.slot[part] + width)).any()):
            return None
        is_leaf = ~parts.is_large[part] | (level == 0)
        leaf = np.unique(part[is_leaf])
        offset = leaf - np.searchsorted(parts.node, parts.node[leaf])
        of_node = (nodes.key[some] & -SLOTS)[parts.node[leaf]]
        found.append(
            (
                of_node + (parts.slot[leaf].astype(np.int64) << level * _SLOT_BITS),
                (level + 1) * _SLOT_BITS - parts.halvings[leaf].astype(np.int64),
                nodes.begin[some[parts.node[leaf]]] + offset,
            )
        )
        start = start[~is_leaf] + (slot[~is_leaf] << level * _SLOT_BITS)
        number = number[~is_leaf]
        if not len(number):
            break
    first, bits, place = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(first, kind="stable")
    return first[order], bits[order], nodes.hashes[place[order]]
