"""Authentication: the account that sends a request, and whether it may. Nearly every route needs this first."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final, TypeVar

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import OAuth2

from blocklist_sdk.exchange_server.casework.accounts import PERMISSIONS, Caller, Claims
from blocklist_sdk.exchange_server.casework.certificates import confirmation, why_not_shown
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.client_certificates import certificate_of
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.rates import address_of
from blocklist_sdk.exchange_server.http.state import AppState, state_of

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105

_CLAIMS: Final = "claims"

_bearer = OAuth2(
    flows={
        "clientCredentials": {
            "tokenUrl": TOKEN_PATH,
            "scopes": dict.fromkeys(PERMISSIONS, "") | {"feed:NAME": "read the feed, and send receipts for it"},
        }
    },
    auto_error=False,
)


# Coroutines, since other functions would wait for a thread.
async def _the_state(request: Request) -> AppState:
    return state_of(request.app)


async def _the_exchange(request: Request) -> Exchange:
    return state_of(request.app).exchange


CurrentState = Annotated[AppState, Depends(_the_state)]
CurrentExchange = Annotated[Exchange, Depends(_the_exchange)]
BearerToken = Annotated[str | None, Depends(_bearer)]


def token_of(exchange: Exchange, header: str | None) -> Claims | None:
    """The content of the token in an `Authorization` header; None if there is no valid one."""
    kind, _, value = (header or "").partition(" ")
    return exchange.tokens.read(value.strip(), exchange.clock().timestamp()) if kind.lower() == "bearer" else None


async def refused_log_in(state: AppState, account: str | None, address: str, cause: str) -> None:
    """Note that credentials were refused, in the log and in the audit trail. Every refusal comes here.

    Args:
        state: what requests share.
        account: whom the client says it is; None if it says nothing.
        address: where the request came from.
        cause: why.
    """
    state.refused_log_ins.add(account, address, cause)
    await anyio.to_thread.run_sync(state.log_in_lines.note, account, address, limiter=state.log_ins)


def claims_of(request: Request, header: str | None) -> Claims | None:
    """The content of a request's token, which is verified once; None if there is no valid one."""
    known = getattr(request.state, _CLAIMS, None)
    if known is None or known[0] != header:
        known = header, token_of(state_of(request.app).exchange, header)
        setattr(request.state, _CLAIMS, known)
    claims: Claims | None = known[1]
    return claims


async def caller_of(request: Request, token: str | None) -> Caller:
    """The account that a token is for; a request that is asked about twice is counted once.

    Raises:
        Refusal: the token is missing or not valid.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    state = state_of(request.app)
    claims = claims_of(request, token)
    row = await state.accounts.find(claims) if claims else None
    if claims is None or row is None:
        error = ' error="invalid_token"' if token else ""
        raise HttpRefusal(
            "unauthenticated",
            f"get a token at {TOKEN_PATH} and send it as `Authorization: Bearer …`",
            headers={"WWW-Authenticate": f"Bearer{error}"},
        )
    shown = certificate_of(request)
    cause = why_not_shown(row.certificates, shown, unbound_accounts=state.exchange.settings.unbound_accounts)
    if claims.confirmation is not None and (shown is None or confirmation(shown) != claims.confirmation):
        cause = "the token is bound to another client certificate than the one shown"
    if cause is not None:
        await refused_log_in(state, row.name, address_of(request), cause)
        raise HttpRefusal("unauthenticated", cause, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    request.state.account = row.name
    state.limits.check(state.exchange.settings.account_rate, row.name)
    caller = Caller(row.id, row.name, claims.oauth_scopes & frozenset(row.scopes.split()))
    request.state.caller = caller
    return caller


def needs(*permissions: str) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """A dependency that requires one of these permissions; without any, an account."""

    async def check(request: Request, token: BearerToken) -> Caller:
        return await permitted(request, token, permissions)

    return declare(check, permissions)


F = TypeVar("F", bound=Callable[..., Any])

_PERMISSIONS: Final[dict[object, tuple[str, ...]]] = {}


def declare(dependency: F, permissions: tuple[str, ...]) -> F:
    """Note which permissions a dependency requires, and return it.

    They are checked before a body is read, and docs/reference/permissions.md has them.
    """
    _PERMISSIONS[dependency] = permissions
    return dependency


def permissions_of(dependency: object) -> tuple[str, ...] | None:
    """The permissions of which a dependency requires one; empty for any account, None if it requires no account."""
    return _PERMISSIONS.get(dependency)


def required_by(route: Dependant) -> tuple[str, ...] | None:
    """The permissions of which a route requires one; empty for any account, None if it requires no account."""
    pending = list(route.dependencies)
    while pending:
        each = pending.pop()
        permissions = permissions_of(each.call)
        if permissions is not None:
            return permissions
        pending += each.dependencies
    return None


async def permitted(request: Request, token: str | None, permissions: Sequence[str]) -> Caller:
    """The account that a token is for, if it has one of these permissions.

    Raises:
        Refusal: the token is missing or not valid, or has none of the permissions.
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
