"""Floors of disk space: what fills the disk is refused while there is room for what lifts blocks."""

import shutil
from pathlib import Path
from typing import Final, Literal

from blocklist_sdk.errors import StorageFailed
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.problems import HttpRefusal

Purpose = Literal["evidence", "report", "decision", "publishing"]

_NAMES: Final[dict[Purpose, str]] = {
    "evidence": "evidence",
    "report": "reports and appeals",
    "decision": "receipts and decisions other than retractions",
    "publishing": "requests",
}

_RETRY_S: Final = "60"
"""When to try again, seconds: somebody has to make room."""


class Floors:
    """What each purpose leaves free on the disks of an exchange: that of its folder, and that of SQLite's file."""

    def __init__(self, exchange: Exchange) -> None:
        """Nothing is looked at yet."""
        settings = exchange.settings
        self.floors: dict[Purpose, int] = {
            "evidence": settings.evidence_floor,
            "report": settings.report_floor,
            "decision": settings.decision_floor,
            "publishing": settings.publishing_floor,
        }
        self._folders: tuple[Path, ...] = (exchange.directory,)
        file = exchange.database.file
        if file is not None and file.parent != exchange.directory:
            self._folders += (file.parent,)

    def check(self, purpose: Purpose) -> None:
        """Refuse a request that would need more disk space than its purpose may have.

        Raises:
            Refusal: less space is left than the purpose leaves free.
        """
        free = self.free_bytes()
        if free < self.floors[purpose]:
            raise HttpRefusal(
                "unavailable",
                f"the exchange's disk has {free // 1_000_000:,} MB left, and {_NAMES[purpose]} leave "
                f"{self.floors[purpose] // 1_000_000:,} MB free: its operator has to make room",
                headers={"Retry-After": _RETRY_S},
            )

    def free_bytes(self) -> int:
        """Space that is left, bytes; of several disks, that with the least.

        Raises:
            StorageFailed: a folder cannot be read.
        """
        try:
            return min(shutil.disk_usage(folder).free for folder in self._folders)
        except OSError as error:
            raise StorageFailed(f"the disk cannot be read: {error.strerror}", path=self._folders[0]) from error
