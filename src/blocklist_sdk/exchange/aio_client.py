"""`AsyncExchangeClient`: the exchange's API for programs on asyncio or trio."""

import contextlib
import functools
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

import anyio
import tenacity

from blocklist_sdk.disk import replaced, storage
from blocklist_sdk.errors import not_pickled
from blocklist_sdk.exchange import calls
from blocklist_sdk.exchange.calls import Call
from blocklist_sdk.exchange.client import as_method
from blocklist_sdk.exchange.models import (
    BulkItem,
    Evidence,
    NewReceipt,
    NewReport,
    Page,
    ReceiptItem,
)
from blocklist_sdk.exchange.wire import DEFAULTS, ClientSettings, Wire
from blocklist_sdk.net.bounded import Deadline
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.loggers import masked_logs
from blocklist_sdk.net.retries import retried_async
from blocklist_sdk.net.routes import AsyncRoutes

T = TypeVar("T")
P = ParamSpec("P")


def _answer(
    make: Callable[P, Call[T]],
) -> Callable[[object], Callable[Concatenate["AsyncExchangeClient", P], Coroutine[Any, Any, T]]]:
    """Decorator: a method that makes a call and returns its response."""

    async def method(self: "AsyncExchangeClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(make(*args, **kwargs))

    as_method(method, make)
    return lambda _: method


def _items(
    make: Callable[P, Call[Page[T]]],
) -> Callable[[object], Callable[Concatenate["AsyncExchangeClient", P], AsyncIterator[T]]]:
    """Decorator: a method that yields the items of all pages, each fetched when it is needed."""

    def method(self: "AsyncExchangeClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._pages(make(*args, **kwargs))

    as_method(method, make, AsyncIterator)
    return lambda _: method


class AsyncExchangeClient:
    """`ExchangeClient` for asynchronous programs: the same methods, to be awaited; lists with ``async for``.

    Use it like this::

        async with AsyncExchangeClient("https://exchange.example", auth=auth) as exchange:
            async for case in exchange.cases(overdue=True):
                await exchange.start_verification(case.id)
    """

    def __init__(
        self,
        url: str,
        *,
        auth: httpx.Auth | None = None,
        tls: ssl.SSLContext | None = None,
        settings: ClientSettings = DEFAULTS,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Opens no connection yet; arguments and errors are those of `ExchangeClient`, but `sleep` is awaited."""
        self._wire = Wire(url, settings)
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            **self._wire.options(auth=auth), transport=AsyncRoutes(tls=tls, url=self._wire.base)
        )

    def __reduce__(self) -> NoReturn:
        raise not_pickled("an AsyncExchangeClient", "make it in each process, with the same arguments")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A closed client cannot be used again."""
        await self._client.aclose()

    # Each is made by its decorator. They are functions, and not assigned, so that every type checker knows their types.
    @_answer(calls.submit_report)
    def submit_report(self) -> None: ...
    @_items(calls.reports)
    def reports(self) -> None: ...
    @_answer(calls.get_report)
    def get_report(self) -> None: ...
    @_answer(calls.attach_evidence)
    def attach_evidence(self) -> None: ...
    @_items(calls.cases)
    def cases(self) -> None: ...
    @_answer(calls.get_case)
    def get_case(self) -> None: ...
    @_items(calls.case_reports)
    def case_reports(self) -> None: ...
    @_items(calls.case_history)
    def case_history(self) -> None: ...
    @_answer(calls.start_verification)
    def start_verification(self) -> None: ...
    @_answer(calls.decide)
    def decide(self) -> None: ...
    @_answer(calls.confirm_decision)
    def confirm_decision(self) -> None: ...
    @_answer(calls.withdraw_decision)
    def withdraw_decision(self) -> None: ...
    @_answer(calls.submit_appeal)
    def submit_appeal(self) -> None: ...
    @_items(calls.appeals)
    def appeals(self) -> None: ...
    @_answer(calls.get_appeal)
    def get_appeal(self) -> None: ...
    @_answer(calls.attach_appeal_evidence)
    def attach_appeal_evidence(self) -> None: ...
    @_answer(calls.answer_appeal)
    def answer_appeal(self) -> None: ...
    @_items(calls.receipts)
    def receipts(self) -> None: ...
    @_answer(calls.recycled_batches)
    def recycled_batches(self) -> None: ...
    @_answer(calls.answer_recycled)
    def answer_recycled(self) -> None: ...
    @_answer(calls.feeds)
    def feeds(self) -> None: ...
    @_answer(calls.publish)
    def publish(self) -> None: ...
    @_answer(calls.waiting_releases)
    def waiting_releases(self) -> None: ...
    @_answer(calls.accept_release)
    def accept_release(self) -> None: ...
    @_answer(calls.get_statistics)
    def get_statistics(self) -> None: ...
    @_answer(calls.get_number_status)
    def get_number_status(self) -> None: ...
    @_answer(calls.get_account)
    def get_account(self) -> None: ...
    @_answer(calls.get_health)
    def get_health(self) -> None: ...

    async def submit_reports(
        self, reports: Iterable[NewReport], *, idempotency_key: str | None = None
    ) -> AsyncIterator[BulkItem]:
        """As `ExchangeClient.submit_reports`."""
        for batch in calls.report_batches(reports, idempotency_key):
            for item in calls.renumbered(batch, (await self.send(batch.call)).items):
                yield item

    async def submit_receipts(
        self, receipts: Iterable[NewReceipt], *, idempotency_key: str | None = None
    ) -> AsyncIterator[ReceiptItem]:
        """As `ExchangeClient.submit_receipts`."""
        for batch in calls.receipt_batches(receipts, idempotency_key):
            for item in calls.renumbered(batch, (await self.send(batch.call)).items):
                yield item

    async def download_evidence(self, evidence: Evidence, to: str | Path, *, original: bool = False) -> Path:
        """As `ExchangeClient.download_evidence`."""
        call = calls.download_evidence(evidence.id, original=original)
        path = Path(to)
        with replaced(path) as temporary:
            await self._retrying(call, functools.partial(self._fetch, call, evidence, temporary, original=original))
        return path

    async def send(self, call: Call[T]) -> T:
        """Make any call of `blocklist_sdk.exchange.calls`, with retries."""
        return await self._retrying(call, functools.partial(self._attempt, call))

    async def _retrying(self, call: Call[Any], attempt: Callable[[], Awaitable[T]]) -> T:
        return await retried_async(tenacity.AsyncRetrying(sleep=self._sleep, **self._wire.retrying(call)), attempt)

    async def _attempt(self, call: Call[T]) -> T:
        wire, deadline = self._wire, self._wire.deadline_of(call)
        with wire.translated(call), _over_by(deadline):
            response = await self._send(call, deadline)
            try:
                wire.bound(response, deadline)
                await response.aread()
            finally:
                await response.aclose()
        return wire.read(call, response)

    async def _send(self, call: Call[Any], deadline: Deadline) -> httpx.Response:
        with masked_logs():
            return await self._client.send(self._wire.request(self._client, call, deadline), stream=True)

    async def _fetch(self, call: Call[None], evidence: Evidence, path: Path, *, original: bool) -> None:
        wire, deadline = self._wire, self._wire.copy_deadline(evidence, original=original)
        digest, length = hashlib.sha256(), 0
        with wire.translated(call), _over_by(deadline):
            response = await self._send(call, deadline)
            try:
                if not response.is_success:
                    wire.bound(response, deadline)
                    await response.aread()
                    wire.refuse(call, response)
                wire.bound(response, deadline, wire.copy_bytes_max(evidence, response, original=original))
                with storage(path), path.open("wb") as file:
                    async for chunk in response.aiter_raw():
                        digest.update(chunk)
                        length += file.write(chunk)
            finally:
                await response.aclose()
        wire.check_file(evidence, response, length, digest.hexdigest(), original=original)

    async def _pages(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        following: Call[Page[T]] | None = call
        while following is not None:
            page = await self.send(following)
            for item in page.items:
                yield item
            following = calls.next_page(following, page)


@contextlib.contextmanager
def _over_by(deadline: Deadline) -> Iterator[None]:
    """Cancel the block at a deadline, even while headers come byte by byte."""
    try:
        with anyio.fail_after(deadline.seconds):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"it took more than {deadline.seconds:g} s") from error
