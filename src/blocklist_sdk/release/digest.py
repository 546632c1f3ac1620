"""The digest of a release: equal digests mean equal lists.

It is SHA-256 over the canonical rows, column by column, so that it depends on nothing but the entries: not on
compression, row groups, dictionary order, language or byte order of the machine. ``docs/reference/protocol.md``
specifies it byte by byte and ``docs/protocol/vectors/`` holds test vectors.
"""

import hashlib
import struct

import numpy as np

from blocklist_sdk.release.rows import Int64s, Rows, Texts

_HEADER = b"blocklist digest 1\n"
_WORKERS = 2
"""Columns are hashed side by side; hashlib releases the interpreter lock for large buffers."""


def digest(rows: Rows) -> str:
    """SHA-256 of the canonical rows, as 64 lower-case hexadecimal digits.

    >>> digest(Rows.empty())
    '758f18a25f8ae3f098138b9d5939b33b3fa27e0852ca99c76d65160803a364cb'
    """
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
