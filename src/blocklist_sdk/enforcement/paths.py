"""The directories of a list's ledgers."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_NAME_CHARS_MAX: Final = 64

SHADOW_SUFFIX: Final = ".shadow"
"""The end of a shadow's name, and of no other sink's: nothing in its ledger has happened."""


def ledger_path(blocklist: "Blocklist", name: str) -> Path:
    """The directory of a sink's ledger, in the list's state directory.

    Args:
        blocklist: the list that is enforced.
        name: the sink's name.

    Raises:
        InvalidInput: `name` cannot name a sink.
    """
    from blocklist_sdk.recipient.blocklist import internals_of

    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS_MAX:
        raise InvalidInput(
            f"{name!r} cannot name a sink: use lower-case words and digits joined by . _ or -, of at most "
            f"{_NAME_CHARS_MAX} characters"
        )
    return internals_of(blocklist).state_file.parent / "sinks" / name


def ledger_id(blocklist: "Blocklist", name: str, *, wait_s: float = 10.0) -> str:
    """The id of a sink's ledger, for `open_sink`; begins the ledger if there is none yet.

    Raises:
        InvalidInput: `name` cannot name a sink.
        Locked: another process enforces into the sink.
        Malformed, StorageFailed: the ledger is damaged, or the disk refused.
    """
    from blocklist_sdk.enforcement.ledger import Ledger

    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        return ledger.id


def known_ledger_id(blocklist: "Blocklist", name: str, *, wait_s: float = 10.0) -> str | None:
    """The id of a sink's ledger; None if there is no ledger yet, which is not begun.

    Raises:
        InvalidInput, Locked, Malformed, StorageFailed: as for `ledger_id`.
    """
    from blocklist_sdk.enforcement.ledger import Ledger

    return ledger_id(blocklist, name, wait_s=wait_s) if Ledger.exists(ledger_path(blocklist, name)) else None


def is_shadow(name: str) -> bool:
    """Whether a sink of that name only takes notes.

    >>> is_shadow("hlr.shadow"), is_shadow("hlr")
    (True, False)
    """
    return name.endswith(SHADOW_SUFFIX)
