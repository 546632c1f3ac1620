"""What all requests to one application share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from anyio import CapacityLimiter
from fastapi import FastAPI

from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.account_cache import AccountCache
from blocklist_sdk.exchange_server.http.body_memory import Bodies
from blocklist_sdk.exchange_server.http.cursors import Cursors
from blocklist_sdk.exchange_server.http.floors import Floors
from blocklist_sdk.exchange_server.http.log_in_lines import LogInLines
from blocklist_sdk.exchange_server.http.places import Kind, Places, places_of_all
from blocklist_sdk.exchange_server.http.proofs import (
    OLD_HASHES_AT_A_TIME,
    OLD_HASHES_WAITING,
    PROOFS_AT_A_TIME,
    PROOFS_WAITING,
    ProofQueue,
)
from blocklist_sdk.exchange_server.http.quotas import Quotas
from blocklist_sdk.exchange_server.http.rates import RateLimits
from blocklist_sdk.exchange_server.http.refused_log_ins import RefusedLogIns
from blocklist_sdk.exchange_server.http.uploads import Uploads

LOG_INS_AT_A_TIME: Final = 16
"""Log-ins of accounts that have proved who they are, which are noted in the database at a time."""

REPORTS_AT_A_TIME: Final = 128
"""Single reports taken at a time, which is also the most that share a transaction. They have threads of their own."""


@dataclass(frozen=True, slots=True)
class AppState:
    """The objects that an application's routes share. Immutable: to serve another exchange, set a new state.

    Attributes:
        exchange: the exchange that is served.
        limits: counts the requests of this process.
        quotas: counts work, together with all processes of the exchange.
        floors: disk space that each purpose leaves free.
        places: places for each kind of work.
        accounts: accounts, read from the database at most once a second each.
        proofs: verifies secrets and signatures.
        old_hashes: verifies secrets by the hashes from before.
        log_ins: threads that note which credentials were used.
        refused_log_ins: logs why no token was issued.
        log_in_lines: notes refused log-ins in the audit trail.
        uploads: threads that receive files.
        reports: threads that take single reports.
        bodies: counts the bytes of bodies.
        cursors: writes and reads cursors.
    """

    exchange: Exchange
    limits: RateLimits
    quotas: Quotas
    floors: Floors
    places: Mapping[Kind, Places]
    accounts: AccountCache
    proofs: ProofQueue
    old_hashes: ProofQueue
    log_ins: CapacityLimiter
    refused_log_ins: RefusedLogIns
    log_in_lines: LogInLines
    uploads: Uploads
    reports: CapacityLimiter
    bodies: Bodies
    cursors: Cursors

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """A new state, in which nothing was counted or cached yet."""
        limits = RateLimits()
        return cls(
            exchange=exchange,
            limits=limits,
            quotas=Quotas(exchange),
            floors=Floors(exchange),
            places=places_of_all(),
            accounts=AccountCache(exchange.database),
            proofs=ProofQueue(PROOFS_AT_A_TIME, PROOFS_WAITING),
            old_hashes=ProofQueue(OLD_HASHES_AT_A_TIME, OLD_HASHES_WAITING, last=True),
            log_ins=CapacityLimiter(LOG_INS_AT_A_TIME),
            refused_log_ins=RefusedLogIns(limits),
            log_in_lines=LogInLines(exchange.database),
            uploads=Uploads(),
            reports=CapacityLimiter(REPORTS_AT_A_TIME),
            bodies=Bodies(),
            cursors=Cursors(exchange.tokens.derived_key("cursors")),
        )


def set_state(app: FastAPI, state: AppState) -> None:
    """Give an application its state; requests that come from now on see it."""
    app.state.exchange_server = state


def state_of(app: FastAPI) -> AppState:
    """The state of an application."""
    state: AppState = app.state.exchange_server
    return state
