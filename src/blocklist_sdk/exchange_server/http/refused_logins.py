"""Log-ins that were refused, for the audit trail: a line for each account, address and minute, and not too many."""

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from blocklist_sdk.exchange_server.casework.accounts import is_account_name
from blocklist_sdk.exchange_server.casework.cases import SYSTEM
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import AccountRow
from blocklist_sdk.exchange_server.store.trail import Act

LINES_MAX: Final = 100
"""Most lines of one process in a minute, so that nobody fills the disk with guesses; one more says that they end."""

_ASKED_MAX: Final = 10_000
"""Most names and addresses that are remembered in a minute; others are not looked up."""

_MINUTE_S: Final = 60

UNKNOWN: Final = ""
"""Stands for every name that no account has."""


class RefusedLogIns:
    """Notes refused log-ins in the audit trail. One object for all threads of a process."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was noted yet.

        Args:
            database: has the accounts and the trail.
            clock: returns seconds; a minute is sixty of them.
        """
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._asked: set[tuple[str, str]] = set()
        self._noted: set[tuple[str, str]] = set()

    def note(self, name: str | None, address: str) -> None:
        """Note a refused log-in, unless this minute has a line of the same account and address, or too many lines.

        Args:
            name: the name that was given; None if none was.
            address: where the request came from.

        Raises:
            StorageFailed: the database failed.
        """
        asked = (name or UNKNOWN)[:_ASKED_MAX], address
        with self._lock:
            self._begin_minute()
            if asked in self._asked or len(self._asked) >= _ASKED_MAX or len(self._noted) > LINES_MAX:
                return
            self._asked.add(asked)
        noted = name if name is not None and self._is_account(name) else UNKNOWN, address
        with self._lock:
            self._begin_minute()
            if noted in self._noted or len(self._noted) > LINES_MAX:
                return
            self._noted.add(noted)
            count = len(self._noted)
        if count <= LINES_MAX:
            self._database.note(Act(SYSTEM, "log-in refused", {"account": noted[0], "address": address}))
        else:
            self._database.note(Act(SYSTEM, "log-ins refused", {"more_in_this_minute_than": LINES_MAX}))

    def _begin_minute(self) -> None:
        minute = int(self._clock() // _MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._asked.clear()
            self._noted.clear()

    def _is_account(self, name: str) -> bool:
        if not is_account_name(name):
            return False
        with self._database.reading() as session:
            return session.scalar(select(AccountRow.id).where(AccountRow.name == name)) is not None
