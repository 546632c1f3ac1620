"""Which of a number's entries decides, and the verdict that follows. Pure."""

from collections.abc import Iterable
from datetime import datetime

from blocklist_sdk.records import Entry, Level, Reason


def deciding(entries: Iterable[Entry], at: datetime, *, published: datetime) -> Entry | None:
    """The entry that decides at a moment; None if none is in force.

    An entry that begins no later than its release was published has begun, whatever this machine's clock says.

    One that blocks goes before all others, then the one that has been in force longest, then the lower id. For speed
    the rule is also written in `cache/classify.py`, `cache/kinds.py`, `cache/covering.py` and `screening/columns.py`;
    `tests/recipient/test_deciding_entry.py` holds all five together.
    """
    begun = max(at, published)
    in_force = (e for e in entries if e.since <= begun and (e.until is None or at < e.until))
    return min(in_force, key=lambda entry: (entry.level != "block", entry.since, entry.entry), default=None)


def decide(entries: list[Entry], at: datetime, *, published: datetime) -> tuple[Level | None, Reason]:
    """The level in force and the reason, from the entries that cover a number; see `deciding`."""
    found = deciding(entries, at, published=published)
    if found is not None:
        # An unknown level of a later protocol never blocks.
        return ("block", "listed") if found.level == "block" else ("advisory", "advisory")
    if any(entry.until is not None and entry.until <= at for entry in entries):
        return None, "expired"
    return None, "not-yet" if entries else "not-listed"
