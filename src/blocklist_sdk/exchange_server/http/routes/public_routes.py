"""Tokens themselves, number look-up, health and metrics; most need no token."""

import base64
import binascii
import logging
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk import __version__
from blocklist_sdk.errors import StorageFailed
from blocklist_sdk.exchange.models import Account, Health, NumberAnswer, NumberStatus, Token
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import (
    NAME_CHARS_MAX,
    Caller,
    RefusedCredentials,
    renewal_time,
)
from blocklist_sdk.exchange_server.casework.assertions import (
    ProvedAssertion,
    prove_assertion,
    read_assertion,
    subject_of,
    use_assertion,
)
from blocklist_sdk.exchange_server.casework.certificates import why_not_shown
from blocklist_sdk.exchange_server.casework.intake import read_number
from blocklist_sdk.exchange_server.casework.log_ins import UndecidedSecret, check_secret, replace_hash
from blocklist_sdk.exchange_server.casework.secret_hashes import matches_old
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import (
    TOKEN_PATH,
    CurrentExchange,
    CurrentState,
    claims_of,
    needs,
    refused_log_in,
)
from blocklist_sdk.exchange_server.http.bodies import BodyRoute
from blocklist_sdk.exchange_server.http.client_certificates import certificate_of
from blocklist_sdk.exchange_server.http.metrics import METRICS_TYPE, metrics_text
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.proofs import OLD_HASHES_RATE
from blocklist_sdk.exchange_server.http.quotas import LOOKUPS
from blocklist_sdk.exchange_server.http.rates import address_of
from blocklist_sdk.exchange_server.http.readiness import reason_not_ready
from blocklist_sdk.exchange_server.http.state import AppState
from blocklist_sdk.exchange_server.store.tables import AccountRow, CaseRow, ListingRow
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.net.addresses import is_loopback
from blocklist_sdk.net.oauth import token_url_of

log: logging.Logger = logging.getLogger(__name__)

router: APIRouter = APIRouter(route_class=BodyRoute)

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ADDRESS_UNKNOWN: Final = "without the setting `url`, the exchange takes signed assertions on its own machine only"

_CLIENTS_FACTOR: Final = 10
"""All clients at one address together may request this many times as many tokens as one of them."""

_SUSPECT_SHARE: Final = 0.25
"""How much of the queue there may be for an address with as many refused requests as one client may send."""

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
    exchange, address = state.exchange, address_of(request)
    asked = _Asked(request, state, _share(state, address))
    if grant_type != "client_credentials":
        _count_refused(state, address, "")
        return _refused("unsupported_grant_type", "the grant type must be client_credentials")
    if assertion is not None:
        row = await _by_assertion(asked, assertion, client_id)
    else:
        row = await _by_secret(asked, name, secret)
    if not isinstance(row, RefusedCredentials) and row.disabled_at is not None:
        row = RefusedCredentials(row.name, "the account is closed")
    shown = certificate_of(request)
    if not isinstance(row, RefusedCredentials):
        cause = why_not_shown(row.certificates, shown, unbound_accounts=exchange.settings.unbound_accounts)
        row = row if cause is None else RefusedCredentials(row.name, cause, answer=cause)
    if isinstance(row, RefusedCredentials):
        await refused_log_in(state, row.account, address, row.cause)
        _count_refused(state, address, row.account or "")
        return _refused("invalid_client", row.answer or "the credentials are not valid", status=401)
    state.limits.check(exchange.settings.token_rate, "token", address, row.name)
    request.state.account = row.name
    allowed = row.scopes.split()
    wanted = (scope or "").split() or allowed
    if not set(wanted) <= set(allowed):
        return _refused("invalid_scope", f"the account has the scopes {row.scopes}")
    made = exchange.tokens.issue(
        row.name, wanted, exchange.clock().timestamp(), renewal_time=renewal_time(row), certificate=shown
    )
    answer = Token(access_token=made, expires_in=exchange.tokens.lifetime_s, scope=" ".join(sorted(wanted)))
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})


def _share(state: AppState, address: str) -> float:
    """How much of the queue an address may find before it and still wait.

    Whoever has sent much that was refused waits behind few, or is served only while nobody waits. So a flood delays no
    other address, and wrong keys lock out no right one from their address.
    """
    rate = state.exchange.settings.token_rate
    if state.limits.is_spent(rate, "refused", address, factor=_CLIENTS_FACTOR):
        return 0.0
    return _SUSPECT_SHARE if state.limits.is_spent(rate, "suspect", address) else 1.0


def _count_refused(state: AppState, address: str, account: str) -> None:
    """Count a request that was refused, for its address and for the account at this address.

    Raises:
        HttpRefusal: there were too many.
    """
    rate = state.exchange.settings.token_rate
    state.limits.take(rate, "suspect", address)
    state.limits.check(rate, "refused", address, factor=_CLIENTS_FACTOR)
    state.limits.check(rate, "refused", address, account[:NAME_CHARS_MAX])


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for a token."""

    request: Request
    state: AppState
    share: float


async def _by_secret(asked: _Asked, name: str | None, secret: str | None) -> AccountRow | RefusedCredentials:
    """The account with a name and secret, or why they are not valid."""
    state, database = asked.state, asked.state.exchange.database

    def check() -> AccountRow | RefusedCredentials | UndecidedSecret:
        with database.reading() as session:
            return check_secret(session, name, secret)

    found = await state.proofs.run(asked.request, check, share=asked.share)
    if not isinstance(found, UndecidedSecret):
        return found
    state.limits.check(OLD_HASHES_RATE, "old hashes", kind="unavailable")
    verify = partial(matches_old, found.stored, secret or "")
    if not await state.old_hashes.run(asked.request, verify, share=asked.share) or found.row is None:
        return found.refused
    replace = partial(replace_hash, account_id=found.row.id, old=found.stored or "", secret=secret or "")
    try:
        act = Act(found.row.name, "secret hash replaced")
        await anyio.to_thread.run_sync(partial(database.change, replace, by=act), limiter=state.log_ins)
    except StorageFailed as error:
        log.warning("the hash of the secret of %s is replaced another time: %s", found.row.name, error)
    return found.row


async def _by_assertion(asked: _Asked, assertion: str, client_id: str | None) -> AccountRow | RefusedCredentials:
    """The account that signed an assertion, or why it is not valid."""
    state, exchange = asked.state, asked.state.exchange
    client = subject_of(assertion)
    if client_id not in (None, client):  # RFC 7521, 4.2
        another = "the assertion is for another client"
        return RefusedCredentials(client, f"{another} than `client_id`", answer=another)
    audiences = _audiences(asked.request, exchange)
    if not audiences:
        return RefusedCredentials(client, _ADDRESS_UNKNOWN, answer=_ADDRESS_UNKNOWN)
    now = exchange.clock()
    read = read_assertion(assertion, now=now)
    if isinstance(read, RefusedCredentials):
        return read

    def prove() -> ProvedAssertion | RefusedCredentials:
        with exchange.database.reading() as session:
            return prove_assertion(session, read, audiences=audiences, now=now)

    proved = await state.proofs.run(asked.request, prove, share=asked.share)
    if isinstance(proved, RefusedCredentials):
        return proved
    use = partial(use_assertion, proved=proved, now=now)
    used = await anyio.to_thread.run_sync(partial(exchange.database.change, use), limiter=state.log_ins)
    return proved.row if used is None else used


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
