"""The answers of several feeds about one column, merged row for row."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk.recipient.screening.columns import SCHEMA

_Ranks = NDArray[np.int8]


def first_of(
    screened: Mapping[str, pa.Table],
    precedence: Sequence[str],
    *,
    authorities: Sequence[int],
    protect_all: Sequence[bool],
    own_protected: frozenset[int],
) -> pa.Table:
    """For each row the answer that decides, and its feed; `Blocklists.check` does the same for one number.

    Args:
        screened: each feed's answers about the same column; see `SCHEMA`.
        precedence: the reasons, in the order in which they decide.
        authorities: for each feed, whose it is.
        protect_all: for each feed, whether what its authority protects is lifted on all feeds, not only on its own.
        own_protected: numbers that the recipient itself protects.

    Returns:
        The columns of `SCHEMA`, and ``feed``, which is null if the row is not a number for any feed.
    """
    feeds, tables = list(screened), list(screened.values())
    ranks = np.stack([_ranks(table, precedence) for table in tables])
    _limit_protection(ranks, tables, precedence, authorities, protect_all, own_protected)
    chosen = ranks.argmin(axis=0)
    # The feeds' rows follow one another, so one `take` picks from all of them.
    rows = chosen * ranks.shape[1] + np.arange(ranks.shape[1])
    found = pa.concat_tables(tables).unify_dictionaries().take(rows).combine_chunks()
    is_number = pc.is_valid(found.column("number")).combine_chunks()
    feed = pa.DictionaryArray.from_arrays(
        pa.array(chosen.astype(np.int16), mask=~is_number.to_numpy(zero_copy_only=False)), pa.array(feeds, pa.string())
    )
    return pa.table([*(found.column(name) for name in SCHEMA.names), feed], names=[*SCHEMA.names, "feed"])


_STEP: Final = 2
"""From one reason's rank to the next, so that one fits in between."""


def _limit_protection(
    ranks: _Ranks,
    tables: Sequence[pa.Table],
    precedence: Sequence[str],
    authorities: Sequence[int],
    protect_all: Sequence[bool],
    own_protected: frozenset[int],
) -> None:
    """Let what an authority protects decide on its own feeds only; changes the ranks."""
    protected = precedence.index("protected") * _STEP
    limited = (ranks == protected) & ~np.array(protect_all, np.bool_)[:, None]
    if not limited.any():
        return
    own = np.array(sorted(own_protected), np.int64)
    for at, table in enumerate(tables):
        rows = np.flatnonzero(limited[at])
        numbers = table.column("number").take(pa.array(rows)).to_numpy()
        limited[at, rows[np.isin(numbers, own)]] = False
    for authority in set(authorities):
        of_it = np.array([each == authority for each in authorities])
        lifted = limited[of_it].any(axis=0)
        is_lifted = of_it[:, None] & lifted & (ranks != protected) & (ranks < len(precedence) * _STEP)
        ranks[is_lifted] = len(precedence) * _STEP
    # Before what is no block by itself.
    ranks[limited] = precedence.index("listed") * _STEP + 1


def _ranks(table: pa.Table, precedence: Sequence[str]) -> _Ranks:
    """The rank of each row's reason; a row that is not a number ranks last."""
    places = pc.index_in(table.column("reason").cast(pa.string()), pa.array(precedence, pa.string()))
    ranks: _Ranks = pc.fill_null(places, len(precedence) + 1).to_numpy().astype(np.int8) * np.int8(_STEP)
    return ranks
