"""Thrift's compact protocol, as far as it takes to write Parquet footers and page headers that no library writes."""

from collections.abc import Sequence
from typing import Any


class I64(int):
    """An integer that is written as one of 64 bits."""


def struct(fields: Sequence[tuple[int, Any]]) -> bytes:
    """A structure of fields, ascending: integers, texts, bytes, lists of structures, and structures as `bytearray`."""
    written = bytearray()
    before = 0
    for field, value in fields:
        kind, data = _value(value)
        step = field - before
        written += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + _integer(field)
        written += data
        before = field
    return bytes(written) + b"\0"


def nested(fields: Sequence[tuple[int, Any]]) -> bytearray:
    """A structure as the value of a field."""
    return bytearray(struct(fields))


def varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes(written) + bytes([value])


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return (1 if value else 2), b""
    if isinstance(value, I64):
        return 6, _integer(value)
    if isinstance(value, int):
        return 5, _integer(value)
    if isinstance(value, bytearray):
        return 12, bytes(value)
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return 8, varint(len(data)) + data
    kinds = {_value(each)[0] for each in value} or {12}
    assert len(kinds) == 1
    head = bytes([len(value) << 4 | kinds.pop()]) if len(value) < 15 else None
    kind = next(iter({_value(each)[0] for each in value} or {12}))
    return 9, (head or bytes([0xF0 | kind]) + varint(len(value))) + b"".join(_value(each)[1] for each in value)


def _integer(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)
