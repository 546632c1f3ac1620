"""`ExchangeClient`: the exchange's API, call by call."""

import functools
import hashlib
import inspect
import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

import tenacity

from blocklist_sdk.disk import replaced, storage
from blocklist_sdk.errors import not_pickled
from blocklist_sdk.exchange import calls
from blocklist_sdk.exchange.calls import Call
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
from blocklist_sdk.net.cutter import SocketCutter
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.loggers import masked_logs
from blocklist_sdk.net.retries import retried
from blocklist_sdk.net.routes import Routes

T = TypeVar("T")
P = ParamSpec("P")


def as_method(method: Any, make: Callable[..., Any], many: Any = None) -> None:
    """Give a method the name, documentation and signature of the function that makes its call.

    Args:
        method: the method.
        make: makes the call.
        many: for lists, the type of iterator that the method returns; None for a single answer.
    """
    functools.update_wrapper(method, make)
    signature = inspect.signature(make)
    answer = signature.return_annotation.__args__[0]
    if many is not None:
        answer = GenericAlias(many, answer.__pydantic_generic_metadata__["args"])
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()], return_annotation=answer)


def _answer(make: Callable[P, Call[T]]) -> Callable[[object], Callable[Concatenate["ExchangeClient", P], T]]:
    """Decorator: a method that makes a call and returns its response."""

    def method(self: "ExchangeClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    as_method(method, make)
    return lambda _: method


def _items(
    make: Callable[P, Call[Page[T]]],
) -> Callable[[object], Callable[Concatenate["ExchangeClient", P], Iterator[T]]]:
    """Decorator: a method that yields the items of all pages, each fetched when it is needed."""

    def method(self: "ExchangeClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._pages(make(*args, **kwargs))

    as_method(method, make, Iterator)
    return lambda _: method


class ExchangeClient:
    """The client of an exchange: reports, cases, decisions, receipts, appeals, feeds, statistics.

    May be shared by threads; a forked process opens connections of its own. Use it like this::

        url = "https://exchange.example"
        auth = ClientCredentials.for_exchange(url, "gopay", secret)
        with ExchangeClient(url, auth=auth) as exchange:
            report = exchange.submit_report(
                "0812-3456-7890",
                category="fraud",
                channel="sms",
                text="You have won",
                happened_at=datetime.now(UTC),
                reporter="customer-17",
            )

    Methods named `get_…` fetch one thing, plurals iterate over lists page by page, all others change something. Every
    method may raise:

    - `InvalidInput`: an argument cannot be used; nothing was sent.
    - `Unreachable`: the network or the server failed or was too slow, in all attempts.
    - `ExchangeError`: the exchange refused; `problem` says why.
    - `Malformed`: the response is not from an exchange.

    Errors that may pass are retried. A call that changes something has an idempotency key, the same in every attempt,
    so that it happens once. Give your own `idempotency_key` to keep that promise beyond one call, as after a crash.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: httpx.Auth | None = None,
        tls: ssl.SSLContext | None = None,
        settings: ClientSettings = DEFAULTS,
        sleep: Callable[[float], None] = tenacity.nap.sleep,
    ) -> None:
        """Opens no connection yet.

        Args:
            url: the exchange's base URL: ``https:`` or ``http:``.
            auth: `ClientCredentials`, `PrivateKeyJwt`, or any credentials that httpx takes; None for calls that need
                no account. They are never sent to another server, since redirects are not followed.
            tls: from `tls_context`, for other authorities than `certificates_in_use` says, or your own certificate.
            settings: timeouts and retries.
            sleep: waits between attempts, given seconds.

        Raises:
            InvalidInput: the URL, or the proxy or certificate settings of the environment, cannot be used.
        """
        self._wire = Wire(url, settings)
        self._sleep = sleep
        self._cutter = SocketCutter()
        self._auth, self._tls = auth, tls
        self._client = self._new_client()
        self._process = os.getpid()

    def _new_client(self) -> httpx.Client:
        routes = Routes(tls=self._tls, url=self._wire.base)
        return httpx.Client(**self._wire.options(auth=self._auth), transport=routes)

    def _connections(self) -> httpx.Client:
        """The client, with connections of this process alone: two processes must not write into one."""
        if self._process != os.getpid():
            # What was inherited is not closed, since that would end the parent's connections.
            self._client, self._process = self._new_client(), os.getpid()
        return self._client

    @property
    def url(self) -> str:
        """The exchange's base URL."""
        return self._wire.base

    def __reduce__(self) -> NoReturn:
        raise not_pickled("an ExchangeClient", "make it in each process, with the same arguments")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. A closed client cannot be used again."""
        self._connections().close()

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

    def submit_reports(self, reports: Iterable[NewReport], *, idempotency_key: str | None = None) -> Iterator[BulkItem]:
        """Submit any number of reports, in bulks; yields each result, in order, with its `index` among all.

        A bulk is taken from `reports` and sent when its first result is requested.

        Args:
            reports: the reports; `calls.new_report` makes one from plain values.
            idempotency_key: one key for all, so that the same reports sent again count once.
        """
        for batch in calls.report_batches(reports, idempotency_key):
            yield from calls.renumbered(batch, self.send(batch.call).items)

    def submit_receipts(
        self, receipts: Iterable[NewReceipt], *, idempotency_key: str | None = None
    ) -> Iterator[ReceiptItem]:
        """Submit any number of receipts, in batches; yields each result, in order, with its `index` among all.

        A batch is taken from `receipts` and sent when its first result is requested.

        Args:
            receipts: the receipts; `calls.new_receipt` makes one from plain values.
            idempotency_key: one key for all, so that the same receipts sent again count once.
        """
        for batch in calls.receipt_batches(receipts, idempotency_key):
            yield from calls.renumbered(batch, self.send(batch.call).items)

    def download_evidence(self, evidence: Evidence, to: str | Path, *, original: bool = False) -> Path:
        """Download a file of a report or an appeal and verify it; nothing is written if that fails.

        By default it is a copy without positions, names of authors, devices and comments, whose hash is not that of the
        stored file. The file that is written can be read by its owner alone.

        Args:
            evidence: one of the report's or appeal's `evidence`.
            to: the file to write; it is replaced if it exists.
            original: the file as it was sent, with the hash in `evidence`.

        Raises:
            Untrusted: it is not the file that the exchange described, or the copy did not come whole.
            ExchangeError: it does not exist, or no such copy can be made of it (status 409).
            StorageFailed: the disk failed.
        """
        call = calls.download_evidence(evidence.id, original=original)
        path = Path(to)
        with replaced(path) as temporary:
            self._retrying(call, lambda: self._fetch(call, evidence, temporary, original=original))
        return path

    def send(self, call: Call[T]) -> T:
        """Make any call of `blocklist_sdk.exchange.calls`, with retries."""
        return self._retrying(call, lambda: self._attempt(call))

    def _retrying(self, call: Call[Any], attempt: Callable[[], T]) -> T:
        return retried(tenacity.Retrying(sleep=self._sleep, **self._wire.retrying(call)), attempt)

    def _attempt(self, call: Call[T]) -> T:
        wire, deadline = self._wire, self._wire.deadline_of(call)
        with wire.translated(call), self._cutter.cut_after(deadline):
            response = self._send(call, deadline)
            try:
                wire.bound(response, deadline)
                response.read()
            finally:
                response.close()
        return wire.read(call, response)

    def _fetch(self, call: Call[None], evidence: Evidence, path: Path, *, original: bool) -> None:
        wire, deadline = self._wire, self._wire.copy_deadline(evidence, original=original)
        digest, length = hashlib.sha256(), 0
        with wire.translated(call), self._cutter.cut_after(deadline):
            response = self._send(call, deadline)
            try:
                if not response.is_success:
                    wire.bound(response, deadline)
                    response.read()
                    wire.refuse(call, response)
                wire.bound(response, deadline, wire.copy_bytes_max(evidence, response, original=original))
                with storage(path), path.open("wb") as file:
                    for chunk in response.iter_raw():
                        digest.update(chunk)
                        length += file.write(chunk)
            finally:
                response.close()
        wire.check_file(evidence, response, length, digest.hexdigest(), original=original)

    def _send(self, call: Call[Any], deadline: Deadline) -> httpx.Response:
        client = self._connections()
        request = self._wire.request(client, call, deadline)
        request.extensions["trace"] = self._cutter.trace
        with masked_logs():
            return client.send(request, stream=True)

    def _pages(self, call: Call[Page[T]]) -> Iterator[T]:
        following: Call[Page[T]] | None = call
        while following is not None:
            page = self.send(following)
            yield from page.items
            following = calls.next_page(following, page)
