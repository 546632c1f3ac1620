"""How a ledger's tables lie on the disk: Arrow files, each with a few words about itself."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from blocklist_sdk.disk import adopt, staged, storage
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.errors import Malformed

MENDING: Final = (
    "bring a copy of the whole ledger back, or move its directory away; then run blocklist enforce --reconcile --repair"
)
"""What to do about a file that is damaged or missing."""


def items_table(items: Items) -> pa.Table:
    """Items as columns."""
    return pa.table(
        {
            "number": items.number,
            "last": items.last,
            "scope": items.scope,
            "entry": items.entry,
            "until": items.until,
            "category": pa.DictionaryArray.from_arrays(
                pa.array(items.category), pa.array(items.categories or ("",), pa.string())
            ),
            "entries": _lists(items.more, len(items)),
            "lifted": _lists(items.lifted, len(items)),
        }
    )


def _lists(entries: Mapping[int, tuple[int, ...]], count: int) -> pa.Array:
    """Entries of a few places, as a column."""
    kind = pa.list_(pa.int64())
    return pa.array([entries.get(place) for place in range(count)], kind) if entries else pa.nulls(count, kind)


def _by_place(column: pa.ChunkedArray) -> dict[int, tuple[int, ...]]:
    """A column of entries, as what a few places have."""
    if column.null_count == len(column):
        return {}
    return {place: tuple(ids) for place, ids in enumerate(column.to_pylist()) if ids is not None}


def items_of(table: pa.Table) -> Items:
    """Items from their columns, which they look into."""
    if not len(table):
        return Items.empty()
    columns = {
        name: table.column(name).chunk(0).to_numpy(zero_copy_only=True)
        for name in ("number", "last", "scope", "entry", "until")
    }
    category = table.column("category").chunk(0)
    return Items(
        **columns,
        category=category.indices.to_numpy(zero_copy_only=True),
        categories=tuple(category.dictionary.to_pylist()),
        more=_by_place(table.column("entries")),
        lifted=_by_place(table.column("lifted")),
    )


def write_table(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a table, durably, whole or not at all."""
    document = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in about.items()}
    table = table.replace_schema_metadata({"about": json.dumps(document)})
    with staged(path.parent) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        adopt(temporary, path)


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """A table, and what is said about it.

    Raises:
        Malformed: it is damaged.
        StorageFailed: it cannot be read.
    """
    try:
        with storage(path), pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        return table.combine_chunks() if table.column(0).num_chunks > 1 else table, json.loads(
            table.schema.metadata[b"about"]
        )
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise Malformed(f"{path} is damaged ({error}): {MENDING}") from error
