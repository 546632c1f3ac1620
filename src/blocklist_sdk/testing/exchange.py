"""The reference exchange inside this process, for tests of what uses `ExchangeClient`; needs the extra ``exchange``.

It is the application that `blocklist exchange serve` serves, with its database, its publisher and its permissions. Only
the way to it is another: requests are handed over, and do not travel.
"""

import atexit
import contextlib
import functools
import itertools
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, get_args

from blocklist_sdk import times
from blocklist_sdk.demo.generated import ACCOUNTS, RECIPIENTS, REGION
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.aio_client import AsyncExchangeClient
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.in_memory import answered, answering
from blocklist_sdk.net.oauth import TOKEN_PATH, ClientCredentials
from blocklist_sdk.places import resolved, temporary_directory
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.testing.clock import Clock, fake_clock, machine_clock
from blocklist_sdk.testing.faults import Healing, network_fault
from blocklist_sdk.texts import missing_extra

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from blocklist_sdk.exchange.models import Publication
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.recipient.from_settings import ListArguments

ExchangeFault = Literal["unreachable", "slow", "captive-portal"]
"""What can go wrong between a client and a `FakeExchange`, besides statuses."""

_EXTRA: Final = "exchange"
_PASSPHRASES: Final = ("of a fake exchange", "of its offline keys")
_NAMES: Final = itertools.count(1)
_PUBLISHES_EVERY: Final = timedelta(seconds=1)
"""How often a real exchange looks for what is to be published."""

_SIGNS_EVERY: Final = timedelta(hours=1)
_STATUSES: Final = range(400, 600)
_OAUTH_STATUSES: Final = (400, 401)
_NO_FLOORS: Final = dict.fromkeys(("evidence_floor", "report_floor", "decision_floor", "publishing_floor"), 0)
"""The temporary folder may be on a small disk, or in memory."""


@dataclass(slots=True)
class _Failure:
    fault: int | str
    retry_after: int | None
    path: str
    left: int | None


class FakeExchange:
    """A whole exchange in this process; `fake_exchange` makes one.

    It has the accounts of the sandbox: ``hotline`` reports, ``officer`` and ``second-officer`` decide, ``publisher``
    publishes, and ``telkomsel``, ``indosat`` and ``chat`` receive a list each. Decisions that list a number need both
    officers unless it was made with ``two_person=False``. What is urgent, and every retraction, is published at once;
    the rest by `publish`, or on the first of the month by its `clock`.

    Attributes:
        url: its base URL, which only this process can reach.
        root: the file with the root metadata that recipients pin.
        secrets: the secret of each account, by the account's name.
        directory: a folder that is deleted at the end; caches and state go there unless a test names other folders.
        clock: the time in this process.
        exchange: the exchange itself, for all that has no method here.
    """

    def __init__(
        self, directory: Path, *, url: str, exchange: "Exchange", secrets: dict[str, str], portal: "BlockingPortal"
    ) -> None:
        """For `fake_exchange`; not for users."""
        from blocklist_sdk.exchange_server.app import create_app

        self.url: str = url
        self.root: Path = exchange.root
        self.secrets: dict[str, str] = secrets
        self.directory: Path = directory
        self.clock: Clock = Clock()
        self.exchange: Exchange = exchange
        self._portal = portal
        self._application = httpx.ASGITransport(create_app(exchange), raise_app_exceptions=False)
        self._lock = threading.RLock()
        self._failure: _Failure | None = None
        self._published_at = self._signed_at = datetime.min.replace(tzinfo=times.EPOCH.tzinfo)
        self._opened = contextlib.ExitStack()

    # Taking part

    def auth(self, account: str) -> ClientCredentials:
        """The credentials of an account.

        Raises:
            InvalidInput: there is no such account.
        """
        if account not in self.secrets:
            raise InvalidInput(f"{account!r} is not an account here; the accounts are {', '.join(self.secrets)}")
        return ClientCredentials.for_exchange(self.url, account, self.secrets[account])

    def client(self, account: str) -> ExchangeClient:
        """A client with the credentials of an account. It is closed with the exchange.

        Raises:
            InvalidInput: there is no such account.
        """
        return self._opened.enter_context(ExchangeClient(self.url, auth=self.auth(account)))

    def async_client(self, account: str) -> AsyncExchangeClient:
        """The same for asynchronous programs; use it in ``async with``.

        Raises:
            InvalidInput: there is no such account.
        """
        return AsyncExchangeClient(self.url, auth=self.auth(account))

    def blocklist(self, account: str, **options: "Unpack[ListArguments]") -> Blocklist:
        """The list of a recipient's account, not synced yet; it is closed with the exchange.

        Args:
            account: ``telkomsel``, ``indosat`` or ``chat``.
            options: as for `Blocklist.open`; they go before what is said here. Any other account with a permission for
                a feed needs ``feed``.

        Raises:
            InvalidInput: there is no such account, or no feed is known for it.
        """
        feed = options.get("feed", RECIPIENTS.get(account))
        if feed is None:
            raise InvalidInput(f"the feed of the account {account!r} is not known: give feed=")
        given: dict[str, Any] = {"url": f"{self.url}/repository", "feed": feed, "root": self.root, "region": REGION}
        return self._opened.enter_context(Blocklist.open(**{**given, "auth": self.auth(account), **options}))

    def environment(self, account: str) -> dict[str, str]:
        """The settings of an account, as variables of the environment: for `monkeypatch.setenv`.

        Raises:
            InvalidInput: there is no such account.
        """
        secret = self.directory / f"{account}.secret"
        self.auth(account)
        secret.touch(mode=0o600)
        secret.write_text(f"{self.secrets[account]}\n", encoding="utf-8")
        given = {
            "BLOCKLIST_EXCHANGE": self.url,
            "BLOCKLIST_CLIENT_ID": account,
            "BLOCKLIST_CLIENT_SECRET_FILE": str(secret),
            "BLOCKLIST_REGION": REGION,
        }
        if account in RECIPIENTS:
            given |= {
                "BLOCKLIST_URL": f"{self.url}/repository",
                "BLOCKLIST_FEED": RECIPIENTS[account],
                "BLOCKLIST_ROOT": str(self.root),
                "BLOCKLIST_CACHE_DIR": str(self.directory / "cache"),
                "BLOCKLIST_STATE_DIR": str(self.directory / "state"),
            }
        return given

    def add_account(self, name: str, oauth_scopes: Collection[str]) -> ClientCredentials:
        """Add an account; returns its credentials.

        Args:
            name: its name.
            oauth_scopes: ``report``, ``receipt``, ``officer``, ``publish``, ``feed:NAME``.

        Raises:
            InvalidInput: the name is taken, or the name or a scope cannot be used.
        """
        self.secrets[name] = self.exchange.add_account(name, oauth_scopes) or ""
        return self.auth(name)

    def publish(self) -> "Publication":
        """Publish all that is decided, as on the day of the monthly cycle."""
        with self._lock:
            self.exchange.begin()
            return self.exchange.publish(everything=True)

    # Faults

    def fail(
        self,
        fault: int | ExchangeFault,
        *,
        retry_after: int | None = None,
        count: int | None = None,
        path: str = "/v1/",
    ) -> contextlib.AbstractContextManager[None]:
        """Let requests fail from now on, until `heal`, or until the end of a ``with`` block; one fault at a time.

        The request does nothing then. What the exchange refuses by itself, it refuses without this: a wrong secret
        (401), another account's work (403), a decision on a case that has changed (409), too long a body (413), a text
        that is not a number (422), the second use of an idempotency key (422), too many requests (429).

        Args:
            fault: a status from 400 to 599, which is answered with a problem document; or ``unreachable`` (no
                connection), ``slow`` (no answer in time) or ``captive-portal`` (a page in the place of answers).
            retry_after: seconds that the answer asks to wait; None if it does not say. Clients do not wait here.
            count: how many requests fail; None for all. A client repeats what may pass (408, 425, 429, 5xx and the
                network): the call succeeds if fewer requests fail than it has attempts.
            path: how the paths begin that fail: ``/oauth/`` are the requests for tokens, ``/repository/`` the lists,
                and ``/`` is all.

        Raises:
            InvalidInput: it is not a fault or status.
        """
        known = fault in _STATUSES if isinstance(fault, int) else fault in get_args(ExchangeFault)
        if not known:
            raise InvalidInput(
                f"{fault!r} is not a fault: give a status from 400 to 599, or unreachable, slow or captive-portal"
            )
        with self._lock:
            self._failure = _Failure(fault, retry_after, path, count)
        return Healing(self.heal)

    def heal(self) -> None:
        """End the fault, if there is one."""
        with self._lock:
            self._failure = None

    def _failing(self, path: str) -> _Failure | None:
        with self._lock:
            failure = self._failure
            if failure is None or failure.left == 0 or not path.startswith(failure.path):
                return None
            if failure.left is not None:
                failure.left -= 1
            return failure

    # Answering

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of this process's clients; not for users."""
        failure = self._failing(request.url.path)
        if failure is not None:
            return _failed(request, failure)
        if times.now() - self._published_at >= _PUBLISHES_EVERY or times.now() < self._published_at:
            self._publish_due()
        answer: httpx.Response = self._portal.call(self._answered, request)
        if request.method == "POST" and answer.is_success and request.url.path.startswith("/v1/"):
            self._publish_due()
        return answer

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        response = await self._application.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        content = b"".join([part async for part in response.stream])
        return answered(response.status_code, content, response.headers)

    def _publish_due(self) -> None:
        """What the thread of a real exchange does each second, and each hour."""
        with self._lock:
            now = times.now()
            self.exchange.begin()
            self.exchange.publish()
            if abs(now - self._signed_at) >= _SIGNS_EVERY:
                self.exchange.publisher.refresh()
                self.exchange.forget()
                self._signed_at = now
            self._published_at = now

    def close(self) -> None:
        """Close clients and lists; not for users."""
        self._opened.close()


def _failed(request: httpx.Request, failure: _Failure) -> httpx.Response:
    fault = network_fault(failure.fault, request)
    if fault is not None:
        return fault
    assert isinstance(failure.fault, int), "fail has checked it"
    from blocklist_sdk.exchange_server.http.problems import MEDIA_TYPE, problem_with_status

    headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
    if request.url.path == TOKEN_PATH and failure.fault in _OAUTH_STATUSES:
        # Of these, the answer has another form (RFC 6749, 5.2).
        return answered(failure.fault, b'{"error": "invalid_client"}', headers | {"Content-Type": "application/json"})
    problem = problem_with_status(failure.fault, "a test wants it so")
    return answered(failure.fault, problem.model_dump_json().encode(), headers | {"Content-Type": MEDIA_TYPE})


def _passphrase(key: str) -> str:
    """Of every key: what needs the offline keys, such as to protect a number, is possible in a test."""
    from blocklist_sdk.publisher.keys import is_offline

    return _PASSPHRASES[is_offline(key)]


@functools.cache
def _template() -> tuple[Path, dict[str, str]]:
    """An exchange with accounts and empty lists, which is made once in a process: it takes half a second."""
    from blocklist_sdk.exchange_server.exchange import Exchange

    folder = tempfile.mkdtemp(prefix="blocklist-fake-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = Path(folder) / "exchange"
    first, offline = _PASSPHRASES
    with machine_clock(), Exchange.init(place, passphrase=first, offline_passphrase=offline) as exchange:
        secrets = {name: exchange.add_account(name, scopes) or "" for name, scopes in ACCOUNTS.items()}
        exchange.skip_alarms()
        exchange.begin()
    return place, secrets


@contextlib.contextmanager
def fake_exchange(*, two_person: bool = True, **settings: Any) -> Iterator[FakeExchange]:
    """An exchange of your own, until the end of the block; needs the extra ``exchange``.

    `ExchangeClient`, `AsyncExchangeClient` and `Blocklist` use it at its `url`, in this process only, without a socket
    and without a wait; by the methods of `FakeExchange` or with your own code. At the end its folder is deleted, and
    the clock is the one of before.

    Args:
        two_person: whether a second officer has to confirm decisions that list a number.
        settings: other settings of an exchange, such as ``report_quota="10/minute"``.

    Raises:
        InvalidInput: the extra is not installed, or a setting cannot be used.
        StorageFailed: the temporary folder cannot be used.

    Example:
        >>> from datetime import UTC, datetime
        >>> with fake_exchange() as exchange:
        ...     report = exchange.client("hotline").submit_report(
        ...         "+6281234567890",
        ...         category="fraud",
        ...         channel="sms",
        ...         text="You have won",
        ...         happened_at=datetime.now(UTC),
        ...         reporter="customer-17",
        ...     )
        ...     [case.state.value for case in exchange.client("officer").cases()]
        ['incomplete']
    """
    url = f"https://exchange-{next(_NAMES)}.blocklist.test"
    try:
        from blocklist_sdk.exchange_server.exchange import Exchange

        template, secrets = _template()
    except ModuleNotFoundError as error:
        raise InvalidInput(missing_extra(str(error.name), _EXTRA)) from error
    from anyio.from_thread import start_blocking_portal

    with (
        temporary_directory(prefix="blocklist-fake-") as directory,
        fake_clock(),
        start_blocking_portal() as portal,
        contextlib.ExitStack() as stack,
    ):
        shutil.copytree(template, directory / "exchange")
        opened = Exchange.open(
            directory / "exchange",
            passphrase=_passphrase,
            clock=times.this_second,
            **{"url": url, "two_person": two_person, **_NO_FLOORS, **settings},
        )
        fake = FakeExchange(
            resolved(directory),
            url=url,
            exchange=stack.enter_context(opened),
            secrets=dict(secrets),
            portal=portal,
        )
        stack.callback(fake.close)
        stack.enter_context(answering(url.removeprefix("https://"), fake))
        yield fake
