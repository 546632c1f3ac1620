"""The digest of a release: equal digests mean equal lists.

It is SHA-256 over the entries, so that it depends on nothing else: not on compression, row groups, dictionary order,
language or byte order of the machine. ``docs/reference/protocol.md`` specifies it byte by byte and
``docs/protocol/vectors/`` holds test vectors.

A digest names its kind: ``tree-`` and 64 hexadecimal digits for a `Tree`, which a delta updates; 64 digits alone for
the digest by columns, which publishers signed before there were trees. Digests of different kinds say nothing about
each other.
"""

import hashlib
import re
import struct
from typing import Final, Literal

import numpy as np

from blocklist_sdk.release.rows import Int64s, Rows, Texts

DigestKind = Literal["tree", "columns"]

TREE_PREFIX: Final = "tree-"

PATTERN: Final = rf"^({TREE_PREFIX})?[0-9a-f]{{64}}$"
"""A digest of any kind."""

_IS_DIGEST: Final = re.compile(PATTERN)

_HEADER = b"blocklist digest 1\n"
_WORKERS = 2
"""Columns are hashed side by side; hashlib releases the interpreter lock for large buffers."""


def digest(rows: Rows, kind: DigestKind = "tree") -> str:
    """The digest of canonical rows.

    >>> digest(Rows.empty())
    'tree-6149dcd133dd364f583541c867fcce6505e234693ebb38dd641ac6fbfdfae6a1'
    """
    from blocklist_sdk.release.tree import Tree  # here, since look-ups do without it

    return Tree.of(rows).digest if kind == "tree" else _by_columns(rows)


def is_digest(text: str) -> bool:
    """Whether a text is a digest of a kind that this version knows.

    >>> is_digest("tree-" + "0" * 64), is_digest("0" * 64), is_digest("leaf-" + "0" * 64)
    (True, True, False)
    """
    return _IS_DIGEST.fullmatch(text) is not None


def kind_of(text: str) -> DigestKind:
    """The kind of a digest.

    >>> kind_of("tree-" + "0" * 64), kind_of("0" * 64)
    ('tree', 'columns')
    """
    return "tree" if text.startswith(TREE_PREFIX) else "columns"


def differ(one: str, other: str) -> bool:
    """Whether two digests are of different lists; those of different kinds do not tell.

    >>> differ("tree-" + "0" * 64, "tree-" + "1" * 64), differ("tree-" + "0" * 64, "1" * 64)
    (True, False)
    """
    return one != other and kind_of(one) == kind_of(other)


def _by_columns(rows: Rows) -> str:
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        columns = [
            pool.submit(_integers, rows.number),
            pool.submit(_ranges, rows),
            pool.submit(_integers, rows.entry),
            pool.submit(_texts, rows.level),
            pool.submit(_texts, rows.category),
            pool.submit(_texts, rows.issuer),
            pool.submit(_texts, rows.scope),
            pool.submit(_integers, rows.since),
            pool.submit(_integers, rows.until),
        ]
        whole = hashlib.sha256(_HEADER + struct.pack("<Q", len(rows)))
        for column in columns:
            whole.update(column.result())
    return whole.hexdigest()


def _integers(values: Int64s) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values, "<i8").data).digest()


def _ranges(rows: Rows) -> bytes:
    """Only ranges are written, as (row, last), so that a list of single numbers pays nothing for them."""
    at = np.flatnonzero(rows.last != rows.number) if rows.has_ranges else np.empty(0, np.int64)
    return _integers(np.column_stack((at, rows.last[at])).ravel())


def _texts(column: Texts) -> bytes:
    hashed = hashlib.sha256(struct.pack("<I", len(column.values)))
    for value in column.values:
        text = value.encode()
        hashed.update(struct.pack("<I", len(text)) + text)
    hashed.update(np.ascontiguousarray(column.codes, column.codes.dtype.newbyteorder("<")).data)
    return hashed.digest()
