"""Rows of the vectors, their digest as the protocol's page has it, and release files of them."""

import hashlib
import io
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
"""A row as in the digest's vectors: the columns by name, moments as milliseconds since 1970."""

TEXTS: Final = ("level", "category", "issuer", "scope")
_WHOLE: Final = ("number", "last", "entry")


def row(entry: int, number: int, last: int | None = None, **others: Any) -> Row:
    """A row; what is not given is as in most of them."""
    return {
        "number": number,
        "last": last,
        "entry": entry,
        "level": "block",
        "category": "fraud",
        "issuer": "komdigi",
        "scope": "sms+voice",
        "since": ms("2026-01-01T00:00:00Z"),
        "until": None,
        **others,
    }


def ms(text: str) -> int:
    """A moment as milliseconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda each: (each["number"], each["last"] or each["number"], each["entry"]))


def digest_of(rows: Sequence[Row]) -> str:
    """The digest of rows in the order in which they are given, written from the page alone."""
    message = b"blocklist tree 1\n" + struct.pack("<Q", len(rows))
    for name in TEXTS:
        values = sorted({each[name].encode() for each in rows})
        message += struct.pack("<I", len(values))
        message += b"".join(struct.pack("<I", len(value)) + value for value in values)
    return "tree-" + _sha256(message + _sha256(b"node" + _part(rows, 0, 52, inside=True))).hex()


def _part(rows: Sequence[Row], first: int, bits: int, *, inside: bool = False) -> bytes:
    if not rows:
        return b""
    if len(rows) <= 64 or bits == 0:
        return _sha256(b"".join(map(_record, rows)))
    if bits % 4 == 0 and not inside:
        return _sha256(b"node" + _part(rows, first, bits, inside=True))
    middle = first + 2 ** (bits - 1)
    lower, upper = ([each for each in rows if (each["number"] < middle) is below] for below in (True, False))
    return _part(lower, first, bits - 1) + _part(upper, middle, bits - 1)


def _record(each: Row) -> bytes:
    last = each["number"] if each["last"] is None else each["last"]
    until = 2**63 - 1 if each["until"] is None else each["until"]
    integers = struct.pack("<5q", each["number"], last, each["entry"], each["since"], until)
    return integers + b"".join(_sha256(each[name].encode())[:8] for name in TEXTS)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def snapshot(rows: Sequence[Row], **settings: Any) -> bytes:
    """A snapshot of rows, in the order in which they are given."""
    return stable(table(rows), **settings)


def delta(puts: Sequence[Row] = (), removes: Sequence[Row] = (), **settings: Any) -> bytes:
    """A delta of rows to put and rows to remove, in canonical order."""
    gone = [{name: each[name] if name in _WHOLE else None for name in each} | {"op": "remove"} for each in removes]
    return delta_of(in_order([{**each, "op": "put"} for each in puts] + gone), **settings)


def delta_of(rows: Sequence[Row], **settings: Any) -> bytes:
    """A delta of rows that have their `op`, in the order in which they are given."""
    return stable(table(rows, names=(*_COLUMNS, "op")), **settings)


_MOMENT: Final = pa.timestamp("ms", "UTC")
_COLUMNS: Final = (*_WHOLE, *TEXTS, "since", "until")


def table(rows: Sequence[Row], *, names: Sequence[str] = _COLUMNS) -> pa.Table:
    columns, fields = [], []
    for name in names:
        values = [each[name] for each in rows]
        is_text = name in TEXTS or name == "op"
        kind = pa.string() if is_text else pa.int64() if name in _WHOLE else _MOMENT
        array = pa.array(values, kind)
        columns.append(array.dictionary_encode() if is_text else array)
        optional = name in ("last", "until") or None in values or ("op" in names and name not in ("number", "entry"))
        fields.append(pa.field(name, columns[-1].type, nullable=optional and name != "op"))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def by_names(content: pa.Table, **columns: Any) -> pa.Table:
    """A table with other columns in the place of some."""
    for name, column in columns.items():
        at = content.schema.get_field_index(name)
        content = content.set_column(at, pa.field(name, column.type), column)
    return content


def stable(content: pa.Table, **settings: Any) -> bytes:
    """A table as a file; the one that is committed where that is the same but for the program that wrote it."""
    data = parquet(content, **settings)
    return _COMMITTED.get(_shape(data), data)


def parquet(content: pa.Table, **settings: Any) -> bytes:
    """A table as a Parquet file, encoded as the protocol recommends it unless told otherwise."""
    packed = [name for name in content.schema.names if name in _WHOLE and content.schema.field(name).type == pa.int64()]
    options = {
        "compression": "zstd",
        "use_dictionary": [name for name in content.schema.names if name not in packed],
        "column_encoding": dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        "write_statistics": False,
        "store_schema": False,
        **settings,
    }
    sink = io.BytesIO()
    pq.write_table(content, sink, **options)
    return sink.getvalue()


def _shape(data: bytes) -> str:
    """What is in a Parquet file and how it is encoded, without the name of the program that wrote it."""
    with pq.ParquetFile(io.BytesIO(data)) as file:
        about = file.metadata
        groups = [about.row_group(at) for at in range(about.num_row_groups)]
        encodings = [
            (group.num_rows, [(column.compression, sorted(column.encodings)) for column in _columns(group)])
            for group in groups
        ]
        return repr((str(file.schema), about.format_version, encodings, file.read().to_pydict()))


def _columns(group: Any) -> list[Any]:
    return [group.column(at) for at in range(group.num_columns)]


VECTORS: Final = Path(__file__).parents[2] / "docs" / "protocol" / "vectors"


def _committed() -> dict[str, bytes]:
    found = {}
    for path in VECTORS.glob("repositories/**/*.parquet"):
        data = path.read_bytes()
        # Some are broken on purpose, after they were signed or before.
        if hashlib.sha256(data).hexdigest() in path.name and data[:4] == b"PAR1":
            found[_shape(data)] = data
    return found


_COMMITTED: Final = _committed()
"""Release files that are there already stay as they are, byte for byte, where another version of the Parquet library
would only write them differently."""
