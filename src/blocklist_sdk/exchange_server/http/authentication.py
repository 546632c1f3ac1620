"""Who is asking, and whether that one may: what nearly every route needs first."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.security import OAuth2

from blocklist_sdk.exchange_server.casework.accounts import PERMISSIONS, Caller, Claims
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.state import AppState, state_of

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105

_bearer = OAuth2(
    flows={
        "clientCredentials": {
            "tokenUrl": TOKEN_PATH,
            "scopes": dict.fromkeys(PERMISSIONS, "") | {"feed:NAME": "the feed's files, and receipts for it"},
        }
    },
    auto_error=False,
)


# Coroutines, since other dependencies wait for a thread.
async def _the_state(request: Request) -> AppState:
    return state_of(request.app)


async def _the_exchange(request: Request) -> Exchange:
    return state_of(request.app).exchange


TheState = Annotated[AppState, Depends(_the_state)]
TheExchange = Annotated[Exchange, Depends(_the_exchange)]
TheToken = Annotated[str | None, Depends(_bearer)]


def token_of(exchange: Exchange, header: str | None) -> Claims | None:
    """What the token in a request's header says, if one is there that holds."""
    kind, _, value = (header or "").partition(" ")
    return exchange.tokens.read(value.strip(), exchange.clock().timestamp()) if kind.lower() == "bearer" else None


async def caller_of(request: Request, token: str | None) -> Caller:
    """Who a token stands for.

    Raises:
        Refusal: there is no token, or it does not hold.
    """
    state = state_of(request.app)
    claims = token_of(state.exchange, token)
    row = await state.accounts.find(claims) if claims else None
    if claims is None or row is None:
        error = ' error="invalid_token"' if token else ""
        raise HttpRefusal(
            "unauthenticated",
            f"get a token at {TOKEN_PATH} and send it as `Authorization: Bearer …`",
            headers={"WWW-Authenticate": f"Bearer{error}"},
        )
    request.state.account = row.name
    state.limits.check(state.exchange.settings.account_rate, row.name)
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
