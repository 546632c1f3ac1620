"""The tables of a ledger on disk: Arrow files, each with a few facts about itself."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import adopt, staged, storage
from blocklist_sdk.enforcement.items import EntryLists, Items
from blocklist_sdk.errors import BlocklistError, Malformed

REPAIR_ADVICE: Final = (
    "restore the whole ledger from a copy, or move its directory away; then run blocklist enforce --reconcile --repair"
)
"""What to do about a file that is damaged or missing."""


@contextlib.contextmanager
def reading(path: Path, *, advice: str = REPAIR_ADVICE) -> Iterator[None]:
    """Translate every error that the content of a damaged file may cause into `Malformed`.

    Args:
        path: the file.
        advice: what to do about it.
    """
    try:
        yield
    except BlocklistError:
        raise
    except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise Malformed(f"{path} is damaged ({what}): {advice}") from error


def moment_in(document: Mapping[str, Any], name: str) -> datetime:
    """A moment in a document, with its time zone.

    Raises:
        KeyError, TypeError, ValueError: it is missing, or is not a moment.
    """
    moment = datetime.fromisoformat(document[name])
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return moment


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
            "entries": _lists(items.entry_lists, len(items)),
            "lifted": _lists(items.lifted_entries, len(items)),
        }
    )


def _lists(entries: Mapping[int, tuple[int, ...]], count: int) -> pa.Array:
    """Lists of entries as a column, null where an item has none."""
    if not entries:
        return pa.nulls(count, pa.list_(pa.int64()))
    indexes = sorted(entries)
    lists = [entries[index] for index in indexes]
    has_none = np.ones(count, np.bool_)
    has_none[indexes] = False
    offsets = np.zeros(count + 1, np.int32)
    offsets[np.array(indexes, np.intp) + 1] = [len(each) for each in lists]
    values = pa.array(list(itertools.chain.from_iterable(lists)), pa.int64())
    return pa.ListArray.from_arrays(pa.array(np.cumsum(offsets, dtype=np.int32)), values, mask=pa.array(has_none))


def _lists_in(column: pa.ChunkedArray) -> Mapping[int, tuple[int, ...]]:
    """The lists of a column, none of which is empty, by index; each is read when it is asked for."""
    if column.null_count == len(column):
        return {}
    lists = column.chunk(0)
    return EntryLists(lists.offsets.to_numpy(), lists.values.to_numpy())


def _by_index(column: pa.ChunkedArray) -> dict[int, tuple[int, ...]]:
    """The lists of a column that are not null, by index."""
    if column.null_count == len(column):
        return {}
    indexes = np.flatnonzero(column.is_valid().to_numpy())
    return dict(zip(indexes.tolist(), map(tuple, column.drop_null().to_pylist()), strict=True))


def items_of(table: pa.Table) -> Items:
    """Items from their columns, without a copy."""
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
        entry_lists=_lists_in(table.column("entries")),
        lifted_entries=_by_index(table.column("lifted")),
    )


def write_table(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a table and facts about it: durably, and whole or not at all."""
    document = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in about.items()}
    table = table.replace_schema_metadata({"about": json.dumps(document)})
    with staged(path.parent) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        adopt(temporary, path)


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Read a table and the facts about it.

    Raises:
        Malformed: the file is damaged.
        StorageFailed: the file cannot be read.
    """
    with reading(path):
        with storage(path), pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source.read_buffer()).read_all()  # as in `map_table`
        about = json.loads(table.schema.metadata[b"about"])
        return table.combine_chunks() if table.column(0).num_chunks > 1 else table, about
