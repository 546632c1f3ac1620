"""Accounts in memory, so that a request rarely waits for the database to learn whose it is."""

import asyncio
import time
from typing import Final

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from blocklist_sdk.exchange_server.casework.accounts import Claims, renewal_time
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import AccountRow

_ACCOUNT_S: Final = 1.0
"""How long a closed account, or one with fewer scopes or a new secret, may go on as before, seconds."""


class AccountCache:
    """Accounts by name, as they were at most a second ago."""

    def __init__(self, database: Database) -> None:
        """Reads nothing yet."""
        self._database = database
        self._known: dict[str, tuple[float, AccountRow | None]] = {}
        self._being_read: dict[str, asyncio.Task[AccountRow | None]] = {}

    async def find(self, claims: Claims) -> AccountRow | None:
        """The account of a token, if it is open and its secret has not been renewed since."""
        name = claims.name
        until, row = self._known.get(name, (0.0, None))
        if time.monotonic() > until:
            # Nearly always the account is known, and no thread is needed. Where it is not, one request reads for all.
            if name not in self._being_read:
                self._being_read[name] = asyncio.create_task(self._read(name))
                self._being_read[name].add_done_callback(lambda _: self._being_read.pop(name))
            row = await asyncio.shield(self._being_read[name])
        if row is not None and renewal_time(row) < claims.renewal_time:
            row = await self._read(name)
        return row if row is not None and renewal_time(row) == claims.renewal_time else None

    async def _read(self, name: str) -> AccountRow | None:
        def read() -> AccountRow | None:
            open_one = select(AccountRow).where(AccountRow.name == name, AccountRow.disabled_at.is_(None))
            with self._database.reading() as session:
                return session.scalar(open_one)

        began = time.monotonic()
        row = await run_in_threadpool(read)
        self._known[name] = began + _ACCOUNT_S, row
        return row
