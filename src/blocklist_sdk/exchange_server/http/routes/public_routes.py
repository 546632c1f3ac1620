"""Tokens themselves, number look-up, health and metrics; most need no token."""

import base64
import binascii
import logging
from functools import partial
from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk import __version__
from blocklist_sdk.errors import without_numbers
from blocklist_sdk.exchange.models import Account, Health, NumberAnswer, NumberStatus, Token
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import (
    NAME_CHARS_MAX,
    Caller,
    RefusedCredentials,
    is_account_name,
    renewal_time,
    subject_of,
    verify_assertion,
    verify_secret,
)
from blocklist_sdk.exchange_server.casework.intake import read_number
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import (
    TOKEN_PATH,
    CurrentExchange,
    CurrentState,
    claims_of,
    needs,
)
from blocklist_sdk.exchange_server.http.metrics import METRICS_TYPE, metrics_text
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.quotas import LOOKUPS
from blocklist_sdk.exchange_server.http.rates import address_of
from blocklist_sdk.exchange_server.http.readiness import reason_not_ready
from blocklist_sdk.exchange_server.store.tables import AccountRow, CaseRow, ListingRow
from blocklist_sdk.net.addresses import is_loopback
from blocklist_sdk.net.oauth import token_url_of

log: logging.Logger = logging.getLogger(__name__)

router: APIRouter = APIRouter()

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ADDRESS_UNKNOWN: Final = "without the setting `url`, the exchange takes signed assertions on its own machine only"

_CLIENTS_FACTOR: Final = 10
"""All clients at one address together may request this many times as many tokens as one of them."""

_FieldText = Annotated[str | None, Form(max_length=10_000)]


@router.get("/healthz", response_model=Health, tags=["health"])
async def healthz() -> Health:
    """Whether the process responds."""
    return Health(status="ok", version=__version__)


@router.get("/readyz", response_model=Health, tags=["health"])
def readyz(state: CurrentState) -> Health:
    """Whether the database, the repository and the disk can be used as well, and publishing works."""
    reason = reason_not_ready(state.exchange, state.floors)
    if reason is not None:
        raise HttpRefusal("unavailable", f"not ready: {reason}", headers={"Retry-After": "5"})
    return Health(status="ok", version=__version__)


@router.get("/metrics", response_class=PlainTextResponse, tags=["health"])
def get_metrics(
    exchange: CurrentExchange, caller: Annotated[Caller, Depends(needs("officer", "publish"))]
) -> PlainTextResponse:
    """Metrics for Prometheus: what waits on each feed until an officer accepts it."""
    waiting = {each.feed: each for each in exchange.waiting()}
    text = metrics_text({feed: waiting.get(feed) for feed in sorted({*exchange.routing.feeds, *waiting})})
    return PlainTextResponse(text, media_type=METRICS_TYPE)


@router.get("/v1/numbers/{number}", response_model=NumberStatus, tags=["look-up"])
def get_number_status(
    request: Request, state: CurrentState, number: Annotated[str, Path(min_length=1, max_length=64)]
) -> NumberStatus:
    """The public status of a number; nothing about reports.

    Look-ups are counted by address, or by IPv6 network of 48 bits, and with a token by account as well.
    """
    exchange = state.exchange
    wanted = read_number(number, region=exchange.settings.region, field="path.number")
    claims = claims_of(request, request.headers.get("Authorization"))
    if claims is not None:
        state.quotas.spend(LOOKUPS, f"account {claims.name}")
    state.quotas.spend(LOOKUPS, address_of(request))
    with exchange.database.reading() as session:
        return NumberStatus(number=wanted, status=_status(session, wanted, exchange))


def _status(session: Session, number: int, exchange: Exchange) -> NumberAnswer:
    levels = set(
        session.scalars(
            select(ListingRow.level)
            .join(CaseRow, CaseRow.id == ListingRow.case_id)
            .where(
                ListingRow.number == number,
                ListingRow.listed_at.is_not(None),
                ListingRow.retracted_at.is_(None),
                ListingRow.until.is_(None) | (ListingRow.until > exchange.clock()),
                CaseRow.state.in_(cases.LISTED),
            )
        )
    )
    return "listed" if "block" in levels else "advisory" if levels else "not-known"


@router.get("/v1/account", response_model=Account, tags=["accounts"])
def get_account(caller: Annotated[Caller, Depends(needs())]) -> Account:
    """The account that the token is for, and its scopes."""
    return Account(name=caller.name, scopes=tuple(sorted(caller.oauth_scopes)))


@router.post(TOKEN_PATH, response_model=Token, tags=["accounts"], responses={400: {}, 401: {}})
async def issue_token(
    request: Request,
    state: CurrentState,
    grant_type: _FieldText = None,
    scope: _FieldText = None,
    client_id: _FieldText = None,
    client_secret: _FieldText = None,
    client_assertion_type: _FieldText = None,
    client_assertion: _FieldText = None,
) -> Response:
    """Exchange a secret, or a signed assertion (RFC 7523), for a short-lived token (RFC 6749)."""
    name, secret = _basic(request) or (client_id, client_secret)
    assertion = client_assertion if client_assertion_type == _ASSERTION else None
    client = (name or "") if assertion is None else subject_of(assertion)
    exchange, rate, address = state.exchange, state.exchange.settings.token_rate, address_of(request)
    state.limits.check(rate, "token", address, factor=_CLIENTS_FACTOR)
    state.limits.check(rate, "token", address, client[:NAME_CHARS_MAX])
    if grant_type != "client_credentials":
        return _refused("unsupported_grant_type", "the grant type must be client_credentials")
    if assertion is not None:
        if client_id not in (None, client):  # RFC 7521, 4.2
            _log_refused(address, client, "the assertion is for another client than `client_id`")
            return _refused("invalid_client", "the assertion is for another client", status=401)
        audiences = _audiences(request, exchange)
        if not audiences:
            _log_refused(address, client, _ADDRESS_UNKNOWN)
            return _refused("invalid_client", _ADDRESS_UNKNOWN, status=401)
        prove = partial(_find_by_assertion, exchange, assertion, audiences)
    else:
        prove = partial(_find_by_secret, exchange, name, secret)
    row = await anyio.to_thread.run_sync(prove, limiter=state.proofs)
    if not isinstance(row, RefusedCredentials) and row.disabled_at is not None:
        row = RefusedCredentials(row.name, "the account is closed")
    if isinstance(row, RefusedCredentials):
        _log_refused(address, row.account, row.cause)
        return _refused("invalid_client", row.answer or "the credentials are not valid", status=401)
    request.state.account = row.name
    allowed = row.scopes.split()
    wanted = (scope or "").split() or allowed
    if not set(wanted) <= set(allowed):
        return _refused("invalid_scope", f"the account has the scopes {row.scopes}")
    made = exchange.tokens.issue(row.name, wanted, exchange.clock().timestamp(), renewal_time=renewal_time(row))
    answer = Token(access_token=made, expires_in=exchange.tokens.lifetime_s, scope=" ".join(sorted(wanted)))
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})


def _log_refused(address: str, account: str | None, cause: str) -> None:
    """Log why no token was issued. The account is not verified, and its name may be a telephone number."""
    is_name = account is not None and is_account_name(account)
    shown = f"account {without_numbers(account or '')}" if is_name else "a request with no account name"
    log.warning("no token for %s at %s: %s", shown, address, cause)


def _audiences(request: Request, exchange: Exchange) -> tuple[str, ...]:
    """The audiences that an assertion may name: the exchange, or its token endpoint (RFC 7523, 3).

    Without the setting `url` this is the URL of the request, if that is this machine and the request comes from it.
    With any other, an assertion made out to another server could be used here.
    """
    url = exchange.settings.url
    if url is None:
        client = request.client.host if request.client else None
        if not (is_loopback(client) and is_loopback(request.base_url.hostname)):
            return ()
        url = str(request.base_url)
    token_url = token_url_of(url)
    origin = token_url.removesuffix(TOKEN_PATH)
    return token_url, origin, f"{origin}/"


def _find_by_assertion(
    exchange: Exchange, assertion: str, audiences: tuple[str, ...]
) -> AccountRow | RefusedCredentials:
    """The account that signed an assertion, or why it is not valid."""
    now = exchange.clock()
    return exchange.database.change(lambda session: verify_assertion(session, assertion, audiences=audiences, now=now))


def _find_by_secret(exchange: Exchange, name: str | None, secret: str | None) -> AccountRow | RefusedCredentials:
    """The account with a name and secret, or why they are not valid."""
    if name is None or secret is None:
        return RefusedCredentials(name, "no secret and no assertion was sent")
    with exchange.database.reading() as session:
        row = session.scalar(select(AccountRow).where(AccountRow.name == name)) if "\0" not in name else None
    if verify_secret(row, secret) and row is not None:
        return row
    if row is None:
        return RefusedCredentials(name, "no account has this name")
    wrong = "the secret is wrong" if row.key is None else "the account has a key, and a secret was sent"
    return RefusedCredentials(name, wrong)


def _basic(request: Request) -> tuple[str, str] | None:
    """Name and secret in the `Authorization` header, where they are percent-encoded (RFC 6749, 2.3.1)."""
    from urllib.parse import unquote_plus

    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


def _refused(error: str, description: str, *, status: int = 400) -> Response:
    headers: dict[str, Any] = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Basic"
    return JSONResponse({"error": error, "error_description": description}, status, headers)
