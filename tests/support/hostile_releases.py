"""Releases that are validly signed, and written by somebody who wishes the recipient ill. All numbers are generated."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tuf.api.metadata import TargetFile

from blocklist_sdk.release.arrow import MOMENT, SCHEMA, to_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import DELTA_SCHEMA
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.thrift import I64, nested, struct
from support.world import FEED, Forger

FIRST_NUMBER = 6_281_200_000_000
_NO_DIGEST = "0" * 64
_ROWS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class HostileFile:
    """A release file.

    Attributes:
        name: what it does.
        data: its bytes.
        rows: the rows of the release, as the index says.
        digest: its digest, as the index says; of a list that is valid the right one.
        is_delta: whether it is a delta, and not a snapshot.
        may_pass: whether it may come into force: it is within all limits.
    """

    name: str
    data: bytes
    rows: int
    digest: str = _NO_DIGEST
    is_delta: bool = False
    may_pass: bool = False


def offer(forger: Forger, file: HostileFile, *, serial: int = 2, signed_length: int | None = None) -> None:
    """Sign a release of one file as the publisher would, and make it the feed's newest.

    Args:
        forger: who signs, with the publisher's keys.
        file: the release's file.
        serial: the release's serial.
        signed_length: the length that the feed's role signs; that of the file if None.
    """
    kind = "delta" if file.is_delta else "snapshot"
    path = f"{FEED}/{serial}.{kind}.parquet"
    target = forger.store(path, file.data)
    if signed_length is not None:
        target = TargetFile(signed_length, target.hashes, path)
    moment = datetime.now(UTC).replace(microsecond=0).isoformat()

    def change(index: Any) -> None:
        release = {"serial": serial, "published_at": moment, "rows": file.rows, "digest": file.digest}
        index["releases"] = [each for each in index["releases"] if each["serial"] < serial]
        index["releases"].append({**release, kind: {"path": path, "length": len(file.data)}})
        index.update(release, last_entry=2**52)

    forger.forge(FEED, lambda signed: signed.targets.__setitem__(path, target), relink=False)
    forger.forge_index(change)


def list_of(count: int, **columns: Any) -> Rows:
    """A valid list of numbers that follow each other, with other columns where they are given."""
    number = FIRST_NUMBER + np.arange(count, dtype=np.int64)
    given: dict[str, Any] = {
        "number": number,
        "entry": 1_000_000 + np.arange(count, dtype=np.int64),
        "level": Texts.repeat("block", count),
        "category": Texts.repeat("fraud", count),
        "issuer": Texts.repeat("komdigi", count),
        "scope": Texts.repeat("sms+voice", count),
        "since": np.zeros(count, np.int64),
        "until": np.full(count, FOREVER_MS),
    } | columns
    return Rows(**{"last": given["number"], **given})


def texts(values: Sequence[str], count: int) -> Texts:
    """A text column that takes its values in turn."""
    return Texts.encode(np.arange(count) % len(values), list(values))


def parquet(tables: Iterator[pa.Table] | Sequence[pa.Table], path: Path, **options: Any) -> bytes:
    """The bytes of a Parquet file of some tables, packed as small as it can be; each is a row group or several."""
    writer: pq.ParquetWriter | None = None
    options = {"compression": "zstd", "compression_level": 19, "row_group_size": 1 << 30, **options}
    size = options.pop("row_group_size")
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, write_statistics=False, **options)
        writer.write_table(table, row_group_size=size)
    assert writer is not None
    writer.close()
    return path.read_bytes()


def equal_rows(count: int, path: Path, *, is_delta: bool = False, packed: bool = True) -> bytes:
    """A file of rows that are all the same, in as few bytes as can be."""
    part = min(count, _ROWS_AT_A_TIME * 8)
    schema = DELTA_SCHEMA if is_delta else SCHEMA
    values: dict[str, Any] = {
        "number": pa.array(np.full(part, FIRST_NUMBER)),
        "last": pa.nulls(part, pa.int64()),
        "entry": pa.array(np.ones(part, np.int64)),
        "since": pa.array(np.zeros(part, np.int64)).cast(MOMENT),
        "until": pa.nulls(part, MOMENT),
        **{name: repeated(name, part) for name in ("level", "category", "issuer", "scope")},
        "op": repeated("put", part),
    }
    table = pa.Table.from_arrays([values[name] for name in schema.names], schema=schema)
    tables = (table.slice(0, min(part, count - start)) for start in range(0, count, part))
    return parquet(tables, path, use_dictionary=packed)


def repeated(value: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value], pa.string()))


def snapshot_of(rows: Rows, path: Path, **options: Any) -> bytes:
    """The bytes of a snapshot of rows."""
    return parquet([to_table(rows)], path, **options)


def valid(name: str, rows: Rows, path: Path, *, may_pass: bool = True, **options: Any) -> HostileFile:
    """A snapshot of a list whose rows, digest and count are all as they should be.

    Packed quickly, unlike those that are to be small: to pack a million rows as small as can be takes twelve seconds.
    """
    return HostileFile(
        name, snapshot_of(rows, path, **{"compression_level": 3, **options}), len(rows), digest(rows), may_pass=may_pass
    )


def made(kind: str, size: int, folder: Path) -> HostileFile:
    """A hostile release of a kind; `size` from 1 to 100 makes it larger."""
    return KINDS[kind](size, folder / "hostile.parquet")


def _equal_rows(size: int, path: Path) -> HostileFile:
    count = 700_000 * size
    return HostileFile("equal rows", equal_rows(count, path), count)


def _equal_puts(size: int, path: Path) -> HostileFile:
    count = 350_000 * size
    return HostileFile("equal puts", equal_rows(count, path, is_delta=True), count, is_delta=True)


def _undeclared_rows(size: int, path: Path) -> HostileFile:
    return HostileFile("more rows than the index says", equal_rows(700_000 * size, path), 10)


def _undeclared_puts(size: int, path: Path) -> HostileFile:
    count = 350_000 * size
    return HostileFile("more puts than the index allows", equal_rows(count, path, is_delta=True), 10, is_delta=True)


def _long_text(size: int, path: Path) -> HostileFile:
    text = "x" * (1_000_000 * size)
    return valid("one long text", list_of(2, issuer=Texts.repeat(text, 2)), path, may_pass=False)


def _long_plain_text(size: int, path: Path) -> HostileFile:
    rows = list_of(20, category=Texts.repeat("y" * (100_000 * size), 20))
    return valid("a long text in each row", rows, path, may_pass=False, use_dictionary=False)


def _prefixes(size: int, path: Path) -> HostileFile:
    """Each text is the one before, which takes a byte in this encoding and a megabyte in memory."""
    count = 2_000
    table = to_table(list_of(count)).drop_columns(["issuer"])
    text = pa.array(["z" * (10_000 * size)] * count)
    table = table.append_column(pa.field("issuer", pa.string(), nullable=False), text)
    encoding = {"issuer": "DELTA_BYTE_ARRAY"}
    data = parquet([table], path, use_dictionary=False, column_encoding=encoding, store_schema=False)
    return HostileFile("texts as prefixes", data, count)


def _many_texts(size: int, path: Path) -> HostileFile:
    count = 65_537 + 2_000 * size
    issuers = texts([f"{i:x}" for i in range(count)], count)
    return valid("many texts", list_of(count, issuer=issuers), path, may_pass=False)


def _many_texts_in_groups(size: int, path: Path) -> HostileFile:
    """No dictionary has too many, and all of them together do."""
    count = 66_000 + 1_000 * size
    rows = list_of(count, category=texts([f"{i:x}" for i in range(count)], count))
    return valid("many texts in several groups", rows, path, may_pass=False, row_group_size=20_000)


def _large_dictionary(size: int, path: Path) -> HostileFile:
    """One row, and a dictionary of which it uses one text."""
    values = ["w" * 10_000 + str(i) for i in range(20 * size)]
    table = to_table(list_of(1))
    column = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(values))
    table = table.set_column(table.schema.get_field_index("scope"), table.schema.field("scope"), column)
    return HostileFile("a large dictionary", parquet([table], path), 1)


def _many_groups(size: int, path: Path) -> HostileFile:
    rows = list_of(30 * size + 101)
    return valid("a group for each row", rows, path, may_pass=False, row_group_size=1)


def _empty_groups(size: int, path: Path) -> HostileFile:
    schema = [nested([(4, "schema"), (5, 1)]), nested([(1, 2), (3, 0), (4, "number")])]
    group = nested([(1, []), (2, I64(0)), (3, I64(0))])
    return HostileFile(
        "empty groups", _with_footer(struct([(1, 2), (2, schema), (3, I64(0)), (4, [group] * 9_000)])), 0
    )


def _deep_schema(size: int, path: Path) -> HostileFile:
    schema = [nested([(4, "schema"), (5, 1)])]
    schema += [nested([(3, 0), (4, "number"), (5, 1)])] * (50 * size)
    schema += [nested([(1, 2), (3, 0), (4, "number")])]
    return HostileFile("a deep schema", _with_footer(struct([(1, 2), (2, schema), (3, I64(0)), (4, [])])), 0)


def _wide_schema(size: int, path: Path) -> HostileFile:
    columns = {f"c{i}": pa.array([1]) for i in range(95 * size)}
    table = pa.table({**dict(zip(SCHEMA.names, to_table(list_of(1)).columns, strict=True)), **columns})
    return HostileFile("many columns", parquet([table], path), 1)


def _long_footer(size: int, path: Path) -> HostileFile:
    table = to_table(list_of(1)).replace_schema_metadata({"note": "n" * (9_000 * size + 70_000)})
    return HostileFile("a long footer", parquet([table], path), 1)


def _nested_column(size: int, path: Path) -> HostileFile:
    table = to_table(list_of(2)).drop_columns(["number"])
    nested_column = pa.array([[FIRST_NUMBER] * (1_000 * size), []], pa.list_(pa.int64()))
    return HostileFile("a nested column", parquet([table.append_column("number", nested_column)], path), 2)


def _other_type(size: int, path: Path) -> HostileFile:
    table = to_table(list_of(2)).drop_columns(["entry"])
    column = pa.array([b"e" * (1_000 * size), b""], pa.binary())
    return HostileFile("a column of another type", parquet([table.append_column("entry", column)], path), 2)


def _page_that_lies(size: int, path: Path) -> HostileFile:
    """A page whose header claims gigabytes, in a file whose footer claims bytes."""
    claimed = 20_000_000 * size
    body = b"\x28\xb5\x2f\xfd" + bytes(12)
    about = nested([(1, 10), (2, 0), (3, 3), (4, 3)])
    page = struct([(1, 0), (2, claimed), (3, len(body)), (5, about)]) + body
    names = SCHEMA.names
    types = [6 if name in ("level", "category", "issuer", "scope") else 2 for name in names]
    schema = [nested([(4, "schema"), (5, len(names))])]
    schema += [nested([(1, kind), (3, 0), (4, name)]) for kind, name in zip(types, names, strict=True)]
    chunks = []
    for kind, name in zip(types, names, strict=True):
        lengths = [(5, I64(10)), (6, I64(80)), (7, I64(len(page))), (9, I64(4))]
        about_chunk = nested([(1, kind), (2, [0, 3]), (3, [name]), (4, 6), *lengths])
        chunks.append(nested([(2, I64(0)), (3, about_chunk)]))
    group = nested([(1, chunks), (2, I64(80)), (3, I64(10))])
    footer = struct([(1, 2), (2, schema), (3, I64(10)), (4, [group])])
    return HostileFile("a page that lies", _with_footer(footer, page), 10)


def _wrong_order_at_the_end(size: int, path: Path) -> HostileFile:
    rows = list_of(10_000 * size)
    rows.number[-1] = FIRST_NUMBER
    return HostileFile("the last row is out of order", snapshot_of(rows, path), len(rows), digest(rows))


def _wrong_digest(size: int, path: Path) -> HostileFile:
    rows = list_of(5_000 * size)
    return HostileFile("another digest", snapshot_of(rows, path), len(rows))


def _dense_list(size: int, path: Path) -> HostileFile:
    return valid("a list of numbers that follow each other", list_of(10_000 * size), path)


def _most_texts(size: int, path: Path) -> HostileFile:
    """As many issuers as may be, each as long as may be."""
    issuers = [f"{i:x}".rjust(256, "i") for i in range(65_536)]
    count = len(issuers) + 1_000 * size
    return valid("the most texts", list_of(count, issuer=texts(issuers, count)), path)


def _most_entries(size: int, path: Path) -> HostileFile:
    """As many entries of each number as may be."""
    number = FIRST_NUMBER + np.repeat(np.arange(2 * size, dtype=np.int64), 1_000)
    return valid("the most entries of a number", list_of(len(number), number=number), path)


def _deepest_ranges(size: int, path: Path) -> HostileFile:
    """As many ranges over each number as may be."""
    centre = FIRST_NUMBER + 1_000 * np.repeat(np.arange(30 * size, dtype=np.int64), 64)
    reach = np.tile(np.arange(64, 0, -1), 30 * size)
    rows = list_of(len(centre), number=centre - reach).with_last(centre + reach)
    return valid("the deepest ranges", rows, path)


def _as_many_kinds(size: int, path: Path) -> HostileFile:
    """Each entry has moments, a scope and a category of its own, as far as there are any."""
    count = 2_000 * size
    at = np.arange(count, dtype=np.int64)
    scopes = ["data", "messaging", "sms", "voice", "sms+voice", "data+sms", "data+messaging+sms+voice", "unknown"]
    own = {"since": 1_000 * at, "until": 4_000_000_000_000 + 1_000 * at}
    categories = texts([f"{i:x}" for i in range(60_000)], count)
    return valid("as many kinds", list_of(count, **own, scope=texts(scopes, count), category=categories), path)


def _ends_before_it_begins(size: int, path: Path) -> HostileFile:
    rows = list_of(1_000 * size)
    rows.until[:] = 0
    return valid("entries that end before they begin", rows, path, may_pass=False)


def _with_footer(footer: bytes, pages: bytes = b"") -> bytes:
    return b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


KINDS: dict[str, Callable[[int, Path], HostileFile]] = {
    function.__name__.strip("_"): function
    for function in (
        _equal_rows,
        _equal_puts,
        _undeclared_rows,
        _undeclared_puts,
        _long_text,
        _long_plain_text,
        _prefixes,
        _many_texts,
        _many_texts_in_groups,
        _large_dictionary,
        _many_groups,
        _empty_groups,
        _deep_schema,
        _wide_schema,
        _long_footer,
        _nested_column,
        _other_type,
        _page_that_lies,
        _wrong_order_at_the_end,
        _wrong_digest,
        _dense_list,
        _most_texts,
        _most_entries,
        _deepest_ranges,
        _as_many_kinds,
        _ends_before_it_begins,
    )
}
"""What makes each kind of hostile release, of a size from 1 to 100."""
