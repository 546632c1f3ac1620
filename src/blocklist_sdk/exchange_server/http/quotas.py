"""Quotas by work: what an account or an address may use, counted by all processes of the exchange together."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from blocklist_sdk.exchange.models import Page
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.rates import amount_and_span
from blocklist_sdk.exchange_server.store.budgets import Quota, take_part
from blocklist_sdk.texts import counted

REPORTS: Final = "report"
RECEIPTS: Final = "receipt"
ROWS: Final = "row"
APPEALS: Final = "appeal"
EVIDENCE: Final = "byte"
LOOKUPS: Final = "look-up"

_SETTINGS: Final = {
    REPORTS: "report_quota",
    RECEIPTS: "receipt_quota",
    ROWS: "page_quota",
    APPEALS: "appeal_quota",
    EVIDENCE: "evidence_quota",
    LOOKUPS: "public_rate",
}
"""The setting with each quota. The names are those of one unit, for messages."""

ROWS_OF_QUERY: Final = 10
"""What a page costs beside its rows: finding them takes about as long as showing so many."""

ROWS_OF_STATISTICS: Final = 2_000
"""What the statistics of a month cost, in rows of pages."""

_TRIES: Final = 10
"""How often one request looks again, where others spend what it took."""

_WHOM_MAX: Final = 50_000
"""Accounts and addresses that are remembered; beyond it, those whose window is over are forgotten, then the oldest."""

T = TypeVar("T")


@dataclass(slots=True)
class _Purse:
    """What this process has of a quota: units that it may spend, units left for all as it last knew, the window."""

    own: int
    rest: int
    ends: int


class Quotas:
    """Spends quotas. In nearly all cases it needs no transaction, and never for a request that it refuses again."""

    def __init__(self, exchange: Exchange) -> None:
        """Nothing has been spent by this process yet."""
        self._exchange = exchange
        self._lock = threading.Lock()
        self._purses: dict[tuple[str, str], _Purse] = {}
        self._quotas = _quotas_of(exchange)

    def spend(self, what: str, whom: str | int, units: int = 1) -> None:
        """Spend units of a quota, in a thread; this may wait for the database.

        Args:
            what: the quota.
            whom: whose: an account's ID, or an address.
            units: how many.

        Raises:
            Refusal: fewer are left in this window.
            StorageFailed: the database cannot be reached.
        """
        quota, key = self._quotas[what], (what, str(whom))
        for _ in range(_TRIES):
            if self.spend_own(what, whom, units):
                return
            now_s = self._now_s()
            with self._lock:
                known = self._known(key, quota, now_s)
                needed = units - (known.own if known else 0)
            if needed > 0:
                self._take(quota, key, needed, now_s)
        raise self._refusal(quota, units, 1)

    def _take(self, quota: Quota, key: tuple[str, str], needed: int, now_s: float) -> None:
        part = self._exchange.database.change(
            lambda session: take_part(session, quota, key[1], needed=needed, now_s=now_s)
        )
        with self._lock:
            purse = self._known(key, quota, now_s)
            if purse is None or purse.ends != part.ends:
                purse = self._remember(key, _Purse(0, part.rest, part.ends), now_s)
            purse.own += part.granted
            purse.rest = min(purse.rest, part.rest)

    def spend_own(self, what: str, whom: str | int, units: int = 1) -> bool:
        """Spend units that this process has already; False if it has too few. This never waits.

        Raises:
            Refusal: it is known that fewer are left in this window.
        """
        quota, key, now_s = self._quotas[what], (what, str(whom)), self._now_s()
        if units > quota.amount:
            raise self._refusal(quota, units, quota.end(now_s) - now_s)
        with self._lock:
            purse = self._known(key, quota, now_s)
            if purse is None or purse.own < units <= purse.own + purse.rest:
                return False
            if purse.own < units:
                raise self._refusal(quota, units, purse.ends - now_s)
            purse.own -= units
            return True

    def give_back(self, what: str, whom: str | int, units: int) -> None:
        """Take units back that were spent for nothing; this process may spend them."""
        with self._lock:
            purse = self._purses.get((what, str(whom)))
            if purse is not None:
                purse.own += units

    def page(self, account: int, limit: int, make: Callable[[], Page[T]]) -> Page[T]:
        """Make a page, which costs its rows and `ROWS_OF_QUERY`.

        Args:
            account: the ID of the account that reads it.
            limit: most rows on it.
            make: makes it.

        Raises:
            Refusal: the account has read too many rows.
        """
        self.spend(ROWS, account, limit + ROWS_OF_QUERY)
        shown = 0
        try:
            made = make()
            shown = len(made.items)
            return made
        finally:
            self.give_back(ROWS, account, limit - shown)

    def _known(self, key: tuple[str, str], quota: Quota, now_s: float) -> _Purse | None:
        """What is known of the present window, or of the next if another process has begun it already."""
        purse = self._purses.get(key)
        is_present = purse is not None and now_s < purse.ends <= quota.end(now_s) + quota.window_s
        return purse if is_present else None

    def _remember(self, key: tuple[str, str], purse: _Purse, now_s: float) -> _Purse:
        if len(self._purses) >= _WHOM_MAX:
            self._purses = {each: known for each, known in self._purses.items() if known.ends > now_s}
            while len(self._purses) >= _WHOM_MAX:
                del self._purses[next(iter(self._purses))]
        self._purses[key] = purse
        return purse

    def _now_s(self) -> float:
        return self._exchange.clock().timestamp()

    @staticmethod
    def _refusal(quota: Quota, units: int, wait_s: float) -> HttpRefusal:
        wait = max(1, round(wait_s + 0.5))
        limit = f"{counted(quota.amount, quota.what)} {_WINDOWS.get(quota.window_s, f'in {quota.window_s:,} s')}"
        if units > quota.amount:
            detail = f"this needs {counted(units, quota.what)}, and the limit is {limit}: ask for less at a time"
        else:
            detail = f"the limit of {limit} is reached: wait {wait:,} s"
        return HttpRefusal("too-many", detail, headers={"Retry-After": str(wait)})


_WINDOWS: Final = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}


def _quotas_of(exchange: Exchange) -> dict[str, Quota]:
    """The quotas that an exchange's settings name."""
    return {what: Quota(what, *amount_and_span(getattr(exchange.settings, name))) for what, name in _SETTINGS.items()}
