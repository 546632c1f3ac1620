"""The items of a batch as columns of text, for sinks that write text.

Whole columns at once: a Python loop over the changes would take longer than the sink itself.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.enforcement.items import EVERYWHERE, OWN_ENTRY, Batch, Items, scopes_of, until_text
from blocklist_sdk.release.release_id import FIRST_ERA
from blocklist_sdk.release.rows import FOREVER_MS

TextColumn = Any
"""A `pyarrow.StringArray`; pyarrow ships no types."""


def numbers(column: Any) -> TextColumn:
    """Integers as decimal digits.

    >>> numbers(np.array([6281234567890])).to_pylist()
    ['6281234567890']
    """
    return pc.cast(pa.array(column), pa.string())


def untils(items: Items) -> TextColumn:
    """The end of each item, as `until_text` writes it; null if it has none."""
    ends = pa.array(items.until).dictionary_encode()
    return pa.array([until_text(end) for end in ends.dictionary.to_pylist()], pa.string()).take(ends.indices)


def scopes(items: Items, *, opening: str, quote: str, closing: str) -> TextColumn:
    """The scopes of each item, each in quotes, with commas between."""
    texts = [
        opening + ",".join(f"{quote}{scope}{quote}" for scope in scopes_of(mask)) + closing
        for mask in range(EVERYWHERE + 1)
    ]
    return pa.array(texts).take(pa.array(items.scope))


def entries(items: Items, *, opening: str = "", separator: str = ",", closing: str = "") -> TextColumn:
    """The entries of each item between brackets, which are empty where an override alone blocks it."""
    ids = numbers(items.entry)
    is_own = items.entry == OWN_ENTRY
    if is_own.any():
        ids = pc.if_else(pa.array(is_own), "", ids)
    if items.entry_lists:
        has_several = np.zeros(len(items), np.bool_)
        has_several[list(items.entry_lists)] = True
        several = [separator.join(map(str, items.entry_lists[index])) for index in sorted(items.entry_lists)]
        ids = pc.replace_with_mask(ids, pa.array(has_several), pa.array(several, pa.string()))
    return _joined(opening, ids, closing) if opening or closing else ids


def categories(items: Items, *, written: Callable[[str], str]) -> TextColumn:
    """The category of each item, as `written` writes it."""
    return pa.array([written(name) for name in items.categories], pa.string()).take(pa.array(items.category))


def keys(batch: Batch) -> TextColumn:
    """The `key` of each change."""
    items = batch.items
    what: TextColumn | str = ""
    if batch.operation != "unblock":
        texts = ["+".join(scopes_of(mask)) for mask in range(EVERYWHERE + 1)]
        what = pa.array(texts).take(pa.array(items.scope))
    has_no_end = pa.array((items.until == FOREVER_MS) | (items.until == 0))
    until = pc.if_else(has_no_end, "", numbers(items.until))
    ids = entries(items, separator=".")
    return _joined(f"{batch.feed}:", numbers(items.number), "-", numbers(items.last), ":", what, ":", until, ":", ids)


def documents(batch: Batch, *, with_number: bool) -> TextColumn:
    """Each item as a JSON object: `last`, `scope`, `category`, `entries`, `until`, `serial`, and `era` if it is not 1.

    Args:
        batch: the batch.
        with_number: begin with `feed` and `number`, for sinks that do not keep these beside the object.
    """
    items = batch.items
    until = pc.fill_null(_joined('"', untils(items), '"'), "null")
    era = "" if batch.era == FIRST_ERA else f',"era":{batch.era}'
    head: tuple[TextColumn | str, ...] = ('{"last":',)
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
        f',"serial":{batch.serial}{era}}}',
    )


def _joined(*parts: TextColumn | str) -> TextColumn:
    return pc.binary_join_element_wise(*parts, "")
