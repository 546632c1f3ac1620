"""Where the ledgers of a list's sinks are: beside the list's state, one folder each."""

import os
import re
from pathlib import Path
from typing import Final

from blocklist_sdk.blocklist import Blocklist
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput

_SINKS: Final = "sinks"
_NAME: Final = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_NAME_CHARS_MAX: Final = 64

SHADOW: Final = ".shadow"
"""What the folder of a shadow's ledger ends with; no sink can be called so."""


def sink_name(name: str) -> str:
    """Check what a recipient calls one of its sinks.

    Raises:
        InvalidInput: it is not lower-case words joined by hyphens or underscores.

    >>> sink_name("hlr-jakarta")
    'hlr-jakarta'
    """
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS_MAX:
        raise InvalidInput(f"{name!r} is no name for a sink: use lower-case words and digits joined by hyphens, as hlr")
    return name


def ledger_path(blocklist: Blocklist, name: str, *, shadow: bool = False) -> Path:
    """The folder of a sink's ledger, whether or not there is one yet.

    Args:
        blocklist: the list that is enforced.
        name: what the recipient calls the sink.
        shadow: the one of its `Shadow`, which is apart.

    Raises:
        InvalidInput: that is no name for a sink.
    """
    return blocklist._state_file.parent / _SINKS / (sink_name(name) + (SHADOW if shadow else ""))


def sink_names(blocklist: Blocklist) -> list[str]:
    """The sinks that a list has been enforced into, without shadows.

    Raises:
        StorageFailed: the disk refused.
    """
    folder = blocklist._state_file.parent / _SINKS
    with storage(folder):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
    return sorted(name for name in names if _NAME.fullmatch(name))


def is_shadow(directory: Path) -> bool:
    """Whether a ledger is a shadow's, so that nothing in it has happened.

    >>> is_shadow(Path("sinks/hlr.shadow"))
    True
    """
    return directory.name.endswith(SHADOW)
