"""Counting what differs between two lists. Pure."""

from collections import Counter

import numpy as np

from blocklist_sdk.records import Tally
from blocklist_sdk.release.rows import Texts


def count_by(texts: Texts) -> Counter[str]:
    """How many of the rows have each text."""
    count = np.bincount(texts.codes, minlength=len(texts.values)).tolist()
    return Counter({value: n for value, n in zip(texts.values, count, strict=False) if n})


def tallies(added: Counter[str], removed: Counter[str], changed: Counter[str]) -> dict[str, Tally]:
    """What was added, removed and changed, by name.

    >>> tallies(Counter(fraud=2), Counter(), Counter(spam=1))["spam"]
    Tally(added=0, removed=0, changed=1)
    """
    names = sorted({*added, *removed, *changed})
    return {name: Tally(added[name], removed[name], changed[name]) for name in names}
