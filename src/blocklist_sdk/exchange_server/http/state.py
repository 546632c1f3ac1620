"""What all requests to one application share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from anyio import CapacityLimiter
from fastapi import FastAPI

from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.account_cache import AccountCache
from blocklist_sdk.exchange_server.http.floors import Floors
from blocklist_sdk.exchange_server.http.places import Kind, Places, places_of_all
from blocklist_sdk.exchange_server.http.quotas import Quotas
from blocklist_sdk.exchange_server.http.rates import RateLimits
from blocklist_sdk.exchange_server.http.uploads import Uploads

PROOFS_AT_A_TIME: Final = 2
"""Secrets and signatures verified at a time. Each secret takes 64 MiB and a whole processor, so that guessing is
expensive. Requests that wait here occupy no thread."""

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
        proofs: threads that verify credentials.
        uploads: threads that receive files.
        reports: threads that take single reports.
    """

    exchange: Exchange
    limits: RateLimits
    quotas: Quotas
    floors: Floors
    places: Mapping[Kind, Places]
    accounts: AccountCache
    proofs: CapacityLimiter
    uploads: Uploads
    reports: CapacityLimiter

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """A new state, in which nothing was counted or cached yet."""
        return cls(
            exchange=exchange,
            limits=RateLimits(),
            quotas=Quotas(exchange),
            floors=Floors(exchange),
            places=places_of_all(),
            accounts=AccountCache(exchange.database),
            proofs=CapacityLimiter(PROOFS_AT_A_TIME),
            uploads=Uploads(),
            reports=CapacityLimiter(REPORTS_AT_A_TIME),
        )


def set_state(app: FastAPI, state: AppState) -> None:
    """Give an application its state; requests that come from now on see it."""
    app.state.exchange_server = state


def state_of(app: FastAPI) -> AppState:
    """The state of an application."""
    state: AppState = app.state.exchange_server
    return state
