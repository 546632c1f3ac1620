"""A batch as columns of text, for sinks that write text.

Whole columns at once: a loop over changes costs more than the sink itself.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import EVERYWHERE, OWN, Batch, Items, scopes_of
from blocklist_sdk.release.rows import FOREVER_MS, LATEST_MS

Texts = Any
"""A `pyarrow.StringArray`; pyarrow ships no types."""


def moment(milliseconds: int) -> str | None:
    """When an item ends, as text that sorts like time; None for never.

    >>> moment(1_798_761_600_000)
    '2027-01-01T00:00:00Z'
    """
    if milliseconds == FOREVER_MS:
        return None
    return times.iso(times.from_ms(min(milliseconds, LATEST_MS)))


def numbers(column: Any) -> Texts:
    """Integers in decimal.

    >>> numbers(np.array([6281234567890])).to_pylist()
    ['6281234567890']
    """
    return pc.cast(pa.array(column), pa.string())


def untils(items: Items) -> Texts:
    """When each ends, as `moment` says it; null for never."""
    ends = pa.array(items.until).dictionary_encode()
    return pa.array([moment(end) for end in ends.dictionary.to_pylist()], pa.string()).take(ends.indices)


def scopes(items: Items, *, opening: str, quote: str, closing: str) -> Texts:
    """Where each is blocked: the parts, each in quotes, with commas between."""
    texts = [
        opening + ",".join(f"{quote}{scope}{quote}" for scope in scopes_of(mask)) + closing
        for mask in range(EVERYWHERE + 1)
    ]
    return pa.array(texts).take(pa.array(items.scope))


def entries(items: Items, *, opening: str = "", separator: str = ",", closing: str = "") -> Texts:
    """The entries behind each; nothing between the brackets where an override alone blocks it."""
    ids = numbers(items.entry)
    own = items.entry == OWN
    if own.any():
        ids = pc.if_else(pa.array(own), "", ids)
    if items.more:
        places = np.zeros(len(items), np.bool_)
        places[list(items.more)] = True
        several = [separator.join(map(str, items.more[place])) for place in sorted(items.more)]
        ids = pc.replace_with_mask(ids, pa.array(places), pa.array(several, pa.string()))
    return _joined(opening, ids, closing) if opening or closing else ids


def categories(items: Items, *, written: Callable[[str], str]) -> Texts:
    """Why each is blocked, each category as `written` has it."""
    return pa.array([written(name) for name in items.categories], pa.string()).take(pa.array(items.category))


def keys(batch: Batch) -> Texts:
    """The `key` of each change."""
    items = batch.items
    what: Texts | str = ""
    if batch.operation != "unblock":
        texts = ["+".join(scopes_of(mask)) for mask in range(EVERYWHERE + 1)]
        what = pa.array(texts).take(pa.array(items.scope))
    forever = items.until == FOREVER_MS
    until = pc.if_else(pa.array(forever | (items.until == 0)), "", numbers(items.until))
    return _joined(
        f"{batch.feed}:",
        numbers(items.number),
        "-",
        numbers(items.last),
        ":",
        what,
        ":",
        until,
        ":",
        entries(items, separator="."),
    )


def documents(batch: Batch, *, with_number: bool) -> Texts:
    """Each item as a JSON object: `last`, `scope`, `category`, `entries`, `until`, `serial`.

    Args:
        batch: whose items.
        with_number: `feed` and `number` first, for where the object stands alone.
    """
    items = batch.items
    until = pc.fill_null(_joined('"', untils(items), '"'), "null")
    head: tuple[Texts | str, ...] = ('{"last":',)
    if with_number:
        head = (f'{{"feed":{json.dumps(batch.feed)},"number":', numbers(items.number), ',"last":')
    return _joined(
        *head,
        numbers(items.last),
        ',"scope":',
        scopes(items, opening="[", quote='"', closing="]"),
        ',"category":',
        categories(items, written=json.dumps),
        ',"entries":',
        entries(items, opening="[", closing="]"),
        ',"until":',
        until,
        f',"serial":{batch.serial}}}',
    )


def _joined(*parts: Texts | str) -> Texts:
    return pc.binary_join_element_wise(*parts, "")
