"""Where a list's ledgers are."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.blocklist import Blocklist

_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


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


def ledgers_path(blocklist: "Blocklist") -> Path:
    """The directory with the ledgers of all sinks of a list."""
    return blocklist.state_directory / "sinks"
