"""The answers of several feeds about one column, merged row for row."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.recipient.screening.columns import SCHEMA


def first_of(screened: Mapping[str, pa.Table], precedence: Sequence[str]) -> pa.Table:
    """For each row the answer that decides, and its feed.

    Args:
        screened: each feed's answers about the same column; see `SCHEMA`.
        precedence: the reasons, in the order in which they decide.

    Returns:
        The columns of `SCHEMA`, and ``feed``, which is null if the row is not a number for any feed.
    """
    feeds, tables = list(screened), list(screened.values())
    ranks = np.stack([_ranks(table, precedence) for table in tables])
    chosen = ranks.argmin(axis=0)
    # The feeds' rows follow one another, so one `take` picks from all of them.
    rows = chosen * ranks.shape[1] + np.arange(ranks.shape[1])
    found = pa.concat_tables(tables).unify_dictionaries().take(rows).combine_chunks()
    is_number = pc.is_valid(found.column("number")).combine_chunks()
    feed = pa.DictionaryArray.from_arrays(
        pa.array(chosen.astype(np.int16), mask=~is_number.to_numpy(zero_copy_only=False)), pa.array(feeds, pa.string())
    )
    return pa.table([*(found.column(name) for name in SCHEMA.names), feed], names=[*SCHEMA.names, "feed"])


def _ranks(table: pa.Table, precedence: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """The rank of each row's reason; a row that is not a number ranks last."""
    places = pc.index_in(table.column("reason").cast(pa.string()), pa.array(precedence, pa.string()))
    ranks: np.ndarray[tuple[int], np.dtype[np.int8]] = pc.fill_null(places, len(precedence)).to_numpy().astype(np.int8)
    return ranks
