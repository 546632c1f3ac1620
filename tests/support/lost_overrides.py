"""Overrides that get lost, as from a copy that is restored or a hand that slips: nobody removed them."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path


def lose(state: Path, named: Iterable[int | tuple[int, int]]) -> int:
    """Delete overrides, by their numbers or first and last ones, from the files below a state directory.

    Returns:
        How many there were.
    """
    count = 0
    spans = [each if isinstance(each, tuple) else (each, each) for each in named]
    for path in state.rglob("recipient.sqlite"):
        database = sqlite3.connect(path)
        with database:
            for span in spans:
                count += database.execute("DELETE FROM overrides WHERE number = ? AND last = ?", span).rowcount
        database.close()
    return count
