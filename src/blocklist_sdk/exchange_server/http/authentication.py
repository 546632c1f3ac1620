"""Who is asking, and whether that one may: what nearly every route needs first."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.security import OAuth2
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from blocklist_sdk.exchange_server.casework.accounts import PERMISSIONS, Caller, Claims, renewed
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.rates import limit
from blocklist_sdk.exchange_server.store.tables import AccountRow

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105

_ACCOUNT_S: Final = 1.0
"""How long a closed account, or one with fewer scopes or a new secret, may go on as before."""

_bearer = OAuth2(
    flows={
        "clientCredentials": {
            "tokenUrl": TOKEN_PATH,
            "scopes": dict.fromkeys(PERMISSIONS, "") | {"feed:NAME": "the feed's files, and receipts for it"},
        }
    },
    auto_error=False,
)


def exchange_of(request: Request) -> Exchange:
    """The exchange that is served."""
    exchange: Exchange = request.app.state.exchange
    return exchange


async def _the_exchange(request: Request) -> Exchange:
    # As a coroutine, since everything else waits for a thread.
    return exchange_of(request)


TheExchange = Annotated[Exchange, Depends(_the_exchange)]
TheToken = Annotated[str | None, Depends(_bearer)]


class AccountCache:
    """Accounts by name, as they were a moment ago."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, AccountRow | None]] = {}
        self._being_read: dict[str, asyncio.Task[AccountRow | None]] = {}

    async def find(self, exchange: Exchange, claims: Claims) -> AccountRow | None:
        """The account of a token, if it is open and its secret has not been renewed since."""
        name = claims.name
        until, row = self._seen.get(name, (0.0, None))
        if time.monotonic() > until:
            # Nearly always it is known, and no thread has to be waited for; where it is not, one reads for all.
            if name not in self._being_read:
                self._being_read[name] = asyncio.create_task(self._read(exchange, name))
                self._being_read[name].add_done_callback(lambda _: self._being_read.pop(name))
            row = await asyncio.shield(self._being_read[name])
        if row is not None and renewed(row) < claims.renewed:
            row = await self._read(exchange, name)
        return row if row is not None and renewed(row) == claims.renewed else None

    async def _read(self, exchange: Exchange, name: str) -> AccountRow | None:
        def read() -> AccountRow | None:
            open_one = select(AccountRow).where(AccountRow.name == name, AccountRow.disabled_at.is_(None))
            with exchange.database.reading() as session:
                return session.scalar(open_one)

        began = time.monotonic()
        row = await run_in_threadpool(read)
        self._seen[name] = began + _ACCOUNT_S, row
        return row


def token_of(exchange: Exchange, header: str | None) -> Claims | None:
    """What the token in a request's header says, if one is there that holds."""
    kind, _, value = (header or "").partition(" ")
    return exchange.tokens.read(value.strip(), exchange.clock().timestamp()) if kind.lower() == "bearer" else None


async def caller_of(request: Request, token: str | None) -> Caller:
    """Who a token stands for.

    Raises:
        Refusal: there is no token, or it does not hold.
    """
    exchange = exchange_of(request)
    claims = token_of(exchange, token)
    accounts: AccountCache = request.app.state.accounts
    row = await accounts.find(exchange, claims) if claims else None
    if claims is None or row is None:
        error = ' error="invalid_token"' if token else ""
        raise HttpRefusal(
            "unauthenticated",
            f"get a token at {TOKEN_PATH} and send it as `Authorization: Bearer …`",
            headers={"WWW-Authenticate": f"Bearer{error}"},
        )
    request.state.account = row.name
    limit(request, exchange.settings.account_rate, row.name)
    return Caller(row.id, row.name, claims.scopes & frozenset(row.scopes.split()))


def needs(*permissions: str) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """A dependency that lets in who may do one of these; anyone with an account where none is named."""

    async def check(request: Request, token: TheToken) -> Caller:
        return await permitted(request, token, permissions)

    return check


async def permitted(request: Request, token: str | None, permissions: Sequence[str]) -> Caller:
    """Who a token stands for, if that one may do one of these.

    Raises:
        Refusal: there is no token, or it does not hold, or it does not allow any of these.
    """
    caller = await caller_of(request, token)
    if permissions and not caller.may(*permissions):
        wanted = " or ".join(permissions)
        raise HttpRefusal(
            "forbidden",
            f"the token does not have the scope {wanted}",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(permissions)}"'},
        )
    return caller
