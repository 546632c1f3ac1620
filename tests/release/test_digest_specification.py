"""The digest once more, written from ``docs/reference/protocol.md`` with nothing but the standard library."""

import hashlib
import struct

from hypothesis import given

from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.rows import FOREVER_MS
from support.strategies import Row, plain_rows, to_rows


def specified_digest(rows: list[Row]) -> str:
    def integers(values: list[int]) -> bytes:
        return hashlib.sha256(b"".join(struct.pack("<q", value) for value in values)).digest()

    def texts(values: list[str]) -> bytes:
        distinct = sorted({value.encode() for value in values})
        width = "<B" if len(distinct) <= 256 else "<H" if len(distinct) <= 65536 else "<I"
        data = struct.pack("<I", len(distinct))
        data += b"".join(struct.pack("<I", len(value)) + value for value in distinct)
        data += b"".join(struct.pack(width, distinct.index(value.encode())) for value in values)
        return hashlib.sha256(data).digest()

    ranges = [(i, row.last) for i, row in enumerate(rows) if row.last != row.number]
    return hashlib.sha256(
        b"blocklist digest 1\n"
        + struct.pack("<Q", len(rows))
        + integers([row.number for row in rows])
        + integers([value for pair in ranges for value in pair])
        + integers([row.entry for row in rows])
        + texts([row.level for row in rows])
        + texts([row.category for row in rows])
        + texts([row.issuer for row in rows])
        + texts([row.scope for row in rows])
        + integers([row.since for row in rows])
        + integers([row.until for row in rows])
    ).hexdigest()


@given(plain_rows())
def test_the_digest_is_as_specified(plain: list[Row]) -> None:
    assert digest(to_rows(plain)) == specified_digest(plain)


def test_wide_codes_are_as_specified() -> None:
    plain = [
        Row(6_281_200_000_000 + i, 6_281_200_000_000 + i, i + 1, "block", "fraud", f"{i:03d}", "sms", 0, FOREVER_MS)
        for i in range(300)
    ]
    assert digest(to_rows(plain)) == specified_digest(plain)
