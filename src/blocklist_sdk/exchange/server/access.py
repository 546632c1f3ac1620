"""Who is asking, how often, and whether the same was asked before: what every route needs first."""

import hashlib
import ipaddress
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response
from fastapi.security import OAuth2
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel
from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from blocklist_sdk.exchange.models import KEY_CHARS_MAX, PAGE_MAX
from blocklist_sdk.exchange.server.accounts import PERMISSIONS, Caller, Claims, renewed
from blocklist_sdk.exchange.server.database import add_if_new
from blocklist_sdk.exchange.server.exchange import Exchange
from blocklist_sdk.exchange.server.problems import Refusal, invalid
from blocklist_sdk.exchange.server.tables import AccountRow, AnswerRow

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105
REPLAYED: Final = "Idempotent-Replayed"

_ACCOUNT_S: Final = 1.0
"""How long a closed account, or one with fewer scopes or a new secret, may go on as before."""

_KEY = r"^[!-~]+$"

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


# How often


class Limits:
    """Counts requests in this process, over a moving window."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._parsed: dict[str, RateLimitItem] = {}

    def check(self, rate: str, *who: str) -> None:
        """Count one more.

        Raises:
            Refusal: it is one too many.
        """
        item = self._parsed.setdefault(rate, parse(rate))
        if not self._limiter.hit(item, *who):
            wait = max(1, round(self._limiter.get_window_stats(item, *who).reset_time - time.time() + 0.5))
            raise Refusal("too-many", f"more than {rate}: wait {wait} s", headers={"Retry-After": str(wait)})


def limit(request: Request, rate: str, *who: str) -> None:
    """Count one more request of somebody.

    Raises:
        Refusal: it is one too many.
    """
    limits: Limits = request.app.state.limits
    limits.check(rate, *who)


def address_of(request: Request) -> str:
    """Where a request comes from; behind a proxy that is trusted, where it says.

    Of IPv6 the network, since whoever has one address has 2^64 (RFC 6177).
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))


# Who


class Accounts:
    """Accounts by name, as they were a moment ago."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, AccountRow | None]] = {}

    async def find(self, exchange: Exchange, claims: Claims) -> AccountRow | None:
        """The account of a token, if it is open and its secret has not been renewed since."""
        moment, row = self._seen.get(claims.name, (0.0, None))
        if time.monotonic() > moment or (row is not None and renewed(row) < claims.renewed):
            # Nearly always it is known, and no thread has to be waited for.
            row = await run_in_threadpool(self._read, exchange, claims.name)
            self._seen[claims.name] = time.monotonic() + _ACCOUNT_S, row
        return row if row is not None and renewed(row) == claims.renewed else None

    def _read(self, exchange: Exchange, name: str) -> AccountRow | None:
        open_one = select(AccountRow).where(AccountRow.name == name, AccountRow.disabled_at.is_(None))
        with exchange.database.reading() as session:
            return session.scalar(open_one)


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
    accounts: Accounts = request.app.state.accounts
    row = await accounts.find(exchange, claims) if claims else None
    if claims is None or row is None:
        error = ' error="invalid_token"' if token else ""
        raise Refusal(
            "unauthenticated",
            f"get a token at {TOKEN_PATH} and send it as `Authorization: Bearer …`",
            headers={"WWW-Authenticate": f"Bearer{error}"},
        )
    limit(request, exchange.settings.account_rate, row.name)
    return Caller(row.id, row.name, claims.scopes & frozenset(row.scopes.split()))


def needs(*permissions: str) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """A dependency that lets in who may do one of these; anyone with an account where none is named."""

    async def check(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
        caller = await caller_of(request, token)
        if permissions and not caller.may(*permissions):
            wanted = " or ".join(permissions)
            raise Refusal(
                "forbidden",
                f"the token does not have the scope {wanted}",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(permissions)}"'},
            )
        return caller

    return check


# Whether before


@dataclass(frozen=True, slots=True)
class Posted:
    """A request that changes something, and is done once however often it comes.

    Attributes:
        exchange: where.
        caller: who.
        key: its idempotency key.
        at: when.
    """

    exchange: Exchange
    caller: Caller
    key: str
    at: datetime
    _about: str

    def once(self, body: BaseModel | str, act: Callable[[Session], BaseModel], *, status: int = 200) -> Response:
        """Do it and answer, or answer as before.

        The answer is stored in the same transaction as what was done. What is refused is not stored.

        Args:
            body: what was sent, or a hash of it.
            act: does it, within a transaction, and gives the answer.
            status: of the answer.

        Raises:
            Refusal: the key was used for another request, or `act` refuses.
        """
        request = self._fingerprint(body)

        def change(session: Session) -> Response:
            if not self._claim(session, request):
                row = session.get_one(AnswerRow, (self.caller.id, self.key))
                return self._replay(row, request)
            body = act(session).model_dump_json()
            session.connection().execute(
                _ANSWERED, {"of": self.caller.id, "its_key": self.key, "its_status": status, "its_body": body}
            )
            return _json(body, status)

        return self.exchange.database.change(change)

    def earlier(self, body: BaseModel | str) -> Response | None:
        """What was answered before, if anything.

        Raises:
            Refusal: the key was used for another request.
        """
        with self.exchange.database.reading() as session:
            row = session.get(AnswerRow, (self.caller.id, self.key))
            return None if row is None else self._replay(row, self._fingerprint(body))

    def is_used(self) -> bool:
        """Whether its key has been used before."""
        with self.exchange.database.reading() as session:
            return session.get(AnswerRow, (self.caller.id, self.key)) is not None

    def _claim(self, session: Session, request: str) -> bool:
        """Take the key; False where it has been taken before."""
        new = {
            "account_id": self.caller.id,
            "key": self.key,
            "request": request,
            "status": 0,
            "body": "",
            "at": self.at,
        }
        # Where another process has the same key at the same moment, this waits until it is done.
        return add_if_new(session, AnswerRow, new)

    def _replay(self, row: AnswerRow, request: str) -> Response:
        if row.request != request:
            raise Refusal("key-reused", "a new request needs a key of its own")
        return _json(row.body, row.status, replayed=True)

    def _fingerprint(self, body: BaseModel | str) -> str:
        text = body if isinstance(body, str) else body.model_dump_json()
        return hashlib.sha256(f"{self._about}\n{text}".encode()).hexdigest()


_ANSWERED: Final = (
    update(cast(Table, AnswerRow.__table__))
    .where(AnswerRow.account_id == bindparam("of"), AnswerRow.key == bindparam("its_key"))
    .values(status=bindparam("its_status"), body=bindparam("its_body"))
)


def posting(*permissions: str) -> Callable[..., Coroutine[Any, Any, Posted]]:
    """A dependency of routes that change something: who may, and with which key."""

    async def check(
        request: Request,
        caller: Annotated[Caller, Depends(needs(*permissions))],
        exchange: TheExchange,
        key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                description="Made anew for each request and kept when it is sent again.",
                max_length=KEY_CHARS_MAX,
                pattern=_KEY,
            ),
        ] = None,
    ) -> Posted:
        if key is None:
            raise Refusal("no-idempotency-key", "send an Idempotency-Key, made anew for each request")
        about = f"{request.method} {request.url.path}?{request.url.query}"
        return Posted(exchange, caller, key, exchange.clock(), about)

    return check


def _json(body: str, status: int, *, replayed: bool = False) -> Response:
    return Response(body, status, {REPLAYED: "true"} if replayed else None, "application/json")


# Pages


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is asked for.

    Attributes:
        limit: items on it, at most.
        after: the last item of the page before, as `next_of` had it; None for the first page.
    """

    limit: int
    after: tuple[Any, ...] | None


async def paging(
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Items on a page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> Paging:
    """A dependency of routes that answer with pages."""
    return Paging(limit, None if cursor is None else _read_cursor(cursor))


ThePage = Annotated[Paging, Depends(paging)]


def next_of(*place: Any) -> str:
    """A cursor behind the item that has this place in the order."""
    import base64

    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[Any, ...]:
    import base64

    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise invalid("query.cursor", "it is none that was given out") from error
    if not isinstance(place, list) or not all(type(part) is int and abs(part) < 1 << 63 for part in place):
        raise invalid("query.cursor", "it is none that was given out")
    return tuple(place)
