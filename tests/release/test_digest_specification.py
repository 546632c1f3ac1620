"""The digests once more, written from ``docs/reference/protocol.md`` with nothing but the standard library."""

import hashlib
import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.release import tree
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import differ, is_digest, kind_of
from blocklist_sdk.release.rows import FOREVER_MS
from support.strategies import Row, plain_rows, to_rows


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def specified_digest(rows: list[Row], leaf_rows: int = 64) -> str:
    def record(row: Row) -> bytes:
        integers = struct.pack("<5q", row.number, row.last, row.entry, row.since, row.until)
        texts = row.level, row.category, row.issuer, row.scope
        return integers + b"".join(sha256(text.encode())[:8] for text in texts)

    def part(rows: list[Row], low: int, bits: int, *, inside: bool = False) -> bytes:
        if not rows:
            return b""
        if len(rows) <= leaf_rows or bits == 0:
            return sha256(b"".join(record(row) for row in rows))
        if bits % 4 == 0 and not inside:
            return sha256(b"node" + part(rows, low, bits, inside=True))
        middle = low + 2 ** (bits - 1)
        lower, upper = ([row for row in rows if (row.number < middle) is below] for below in (True, False))
        return part(lower, low, bits - 1) + part(upper, middle, bits - 1)

    message = b"blocklist tree 1\n" + struct.pack("<Q", len(rows))
    for name in ("level", "category", "issuer", "scope"):
        texts = sorted({getattr(row, name).encode() for row in rows})
        message += struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return "tree-" + sha256(message + sha256(b"node" + part(rows, 0, 52, inside=True))).hex()


def specified_digest_by_columns(rows: list[Row]) -> str:
    def integers(values: list[int]) -> bytes:
        return sha256(b"".join(struct.pack("<q", value) for value in values))

    def texts(values: list[str]) -> bytes:
        distinct = sorted({value.encode() for value in values})
        width = "<B" if len(distinct) <= 256 else "<H" if len(distinct) <= 65536 else "<I"
        data = struct.pack("<I", len(distinct))
        data += b"".join(struct.pack("<I", len(value)) + value for value in distinct)
        data += b"".join(struct.pack(width, distinct.index(value.encode())) for value in values)
        return sha256(data)

    ranges = [(i, row.last) for i, row in enumerate(rows) if row.last != row.number]
    columns: list[Any] = [[getattr(row, name) for row in rows] for name in ("level", "category", "issuer", "scope")]
    return sha256(
        b"blocklist digest 1\n"
        + struct.pack("<Q", len(rows))
        + integers([row.number for row in rows])
        + integers([value for pair in ranges for value in pair])
        + integers([row.entry for row in rows])
        + b"".join(texts(column) for column in columns)
        + integers([row.since for row in rows])
        + integers([row.until for row in rows])
    ).hex()


@given(plain_rows(), st.sampled_from([1, 2, 3, 64]))
def test_the_digest_is_as_specified(plain: list[Row], leaf_rows: int) -> None:
    """Small leaves make tall trees of few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "LEAF_ROWS", leaf_rows)
        assert digest(to_rows(plain)) == specified_digest(plain, leaf_rows)


@given(plain_rows())
def test_the_digest_by_columns_is_as_specified(plain: list[Row]) -> None:
    assert digest(to_rows(plain), "columns") == specified_digest_by_columns(plain)


def listing(number: int, entry: int, issuer: str = "komdigi") -> Row:
    return Row(number, number, entry, "block", "fraud", issuer, "sms", 0, FOREVER_MS)


@pytest.mark.parametrize(
    "numbers",
    [
        [6_281_200_000_000 + i for i in range(1_000)],
        sorted(random.Random(1).sample(range(10**14, 10**15), 1_000)),
        # As unequal as halves can be: one number here and there, and a crowd beside each.
        sorted({2**50 - 2**k - 1 for k in range(49)} | {2**k + i for k in range(8, 48, 4) for i in range(70)}),
        [999_999_999_999_999 - i for i in range(65)][::-1],
    ],
    ids=["consecutive", "scattered", "unequal", "largest"],
)
def test_trees_of_many_levels_are_as_specified(numbers: list[int]) -> None:
    plain = [listing(number, i + 1) for i, number in enumerate(numbers)]
    assert digest(to_rows(plain)) == specified_digest(plain)


def test_a_number_with_many_entries_is_one_leaf() -> None:
    plain = [listing(6_281_200_000_000, i + 1) for i in range(500)]
    assert digest(to_rows(plain)) == specified_digest(plain)


def test_wide_codes_are_as_specified() -> None:
    plain = [listing(6_281_200_000_000 + i, i + 1, f"{i:03d}") for i in range(300)]
    assert digest(to_rows(plain)) == specified_digest(plain)
    assert digest(to_rows(plain), "columns") == specified_digest_by_columns(plain)


def test_a_digest_names_its_kind() -> None:
    rows = to_rows([listing(6_281_200_000_000, 1)])
    new, old = digest(rows), digest(rows, "columns")
    assert (kind_of(new), kind_of(old)) == ("tree", "columns")
    assert is_digest(new)
    assert is_digest(old)
    assert not differ(new, old)
    assert differ(new, digest(to_rows([])))
    assert not is_digest(new.upper())
    assert not is_digest("tree-")
