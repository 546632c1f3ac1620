"""The digest of a release: equal digests mean equal lists.

It is SHA-256 over the entries, so that it depends on nothing else: not on compression, row groups, dictionary order,
language or byte order of the machine. ``docs/reference/protocol.md`` specifies it byte by byte and
``docs/protocol/vectors/`` holds test vectors. The one over columns, which was signed before, is made to read what was
kept under it (``docs/adr/0006-digest-by-column.md``).
"""

import hashlib
import struct

import numpy as np

from blocklist_sdk.release.digest_kinds import DigestKind
from blocklist_sdk.release.rows import Int64s, Rows, Texts, range_rows

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
    at = range_rows(rows)
    return _integers(np.column_stack((at, rows.last[at])).ravel())


def _texts(column: Texts) -> bytes:
    hashed = hashlib.sha256(struct.pack("<I", len(column.values)))
    for value in column.values:
        text = value.encode()
        hashed.update(struct.pack("<I", len(text)) + text)
    hashed.update(np.ascontiguousarray(column.codes, column.codes.dtype.newbyteorder("<")).data)
    return hashed.digest()
