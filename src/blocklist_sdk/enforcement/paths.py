"""Where a list's ledgers are."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")

SHADOW: Final = ".shadow"
"""What the name of a shadow ends with, and no other sink's: nothing in its ledger has happened."""


def ledger_path(blocklist: "Blocklist", name: str) -> Path:
    """The directory of a sink's ledger, beside the list's other state.

    Args:
        blocklist: whose changes are enforced.
        name: the sink's.

    Raises:
        InvalidInput: the name is none.
    """
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise InvalidInput(f"{name!r} is no name of a sink: use lower-case words and digits joined by . _ or -")
    return ledgers_path(blocklist) / name


def ledger_id(blocklist: "Blocklist", name: str, *, wait_s: float = 10.0) -> str:
    """What tells the ledger of a sink from every other, for `open_sink`; a ledger is begun where there is none.

    Raises:
        InvalidInput: the name is none.
        Locked: another process enforces into the sink.
        Malformed, StorageFailed: the ledger is damaged, or the disk refused.
    """
    from blocklist_sdk.enforcement.ledger import Ledger

    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        return ledger.id


def ledgers_path(blocklist: "Blocklist") -> Path:
    """The directory with the ledgers of all sinks of a list."""
    from blocklist_sdk.recipient.internals import internals_of

    return internals_of(blocklist).state_file.parent / "sinks"


def sink_names(blocklist: "Blocklist") -> list[str]:
    """The sinks that a list has been enforced into, shadows among them.

    Raises:
        StorageFailed: the disk refused.
    """
    folder = ledgers_path(blocklist)
    with storage(folder):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
    return sorted(filter(_NAME.fullmatch, names))


def is_shadow(name: str) -> bool:
    """Whether a sink of that name only takes notes.

    >>> is_shadow("hlr.shadow"), is_shadow("hlr")
    (True, False)
    """
    return name.endswith(SHADOW)
