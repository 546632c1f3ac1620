"""What a sync writes down as it goes: each saving flushes the disk, so what may wait for the next one does."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.modes import Access
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state

log: logging.Logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Notes:
    """The state of a feed during one sync, under its lock.

    Attributes:
        before: as it was stored when the sync began.
    """

    before: SyncState
    _path: Path
    _access: Access
    _waiting: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, access: Access) -> Self:
        """Read the state in a file.

        Raises:
            InvalidInput, StorageFailed: as for `load_state`.
        """
        return cls(load_state(path), path, access)

    def later(self, **fields: Any) -> None:
        """Note what may be lost if the process ends now: it is saved with whatever is saved next."""
        self._waiting |= fields

    def save(self, **fields: Any) -> None:
        """Store fields durably.

        Raises:
            InvalidInput, StorageFailed: the state cannot be read or written.
        """
        # Read again: the highest serial may have risen meanwhile, and must never be lowered.
        save_state(self._path, replace(load_state(self._path), **(self._waiting | fields)), self._access)
        self._waiting = {}

    def save_if_other(self, **fields: Any) -> None:
        """Store fields durably, unless the stored ones are the same.

        Raises:
            InvalidInput, StorageFailed: as for `save`.
        """
        known = load_state(self._path)
        if replace(known, **fields) != known:
            self.save(**fields)

    def try_to_save(self, **fields: Any) -> None:
        """Store fields durably; if that fails, it is only logged: the caller needs the outcome of the sync."""
        try:
            self.save(**fields)
        except BlocklistError as error:
            log.error("%s", error)
