"""What both clients share: how requests are made, responses read, errors translated, and when to retry."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

import tenacity
from pydantic import ValidationError

from blocklist_sdk import __version__
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, NotPermitted, Unreachable, Untrusted
from blocklist_sdk.exchange.calls import JSON, Call, Upload
from blocklist_sdk.exchange.models import CLEANED_BYTES_MAX, CONTENT_DIGEST, EVIDENCE_COPY, Evidence
from blocklist_sdk.net import in_memory
from blocklist_sdk.net.addresses import read_url, shown
from blocklist_sdk.net.bounded import Bounded, Deadline
from blocklist_sdk.net.failures import is_refused_by_proxy, why_failed, why_refused_by_proxy
from blocklist_sdk.net.http import ends_with_connection, httpx, no_cookies
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.texts import displayable

T = TypeVar("T")

PROBLEM: Final = "application/problem+json"

PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of errors that may pass (RFC 9110 section 15, RFC 8470, RFC 6585)."""

_PIECE_BYTES: Final = 1 << 16
_COPY_FREE_BYTES: Final = 1_000_000
_FIELDS_SHOWN_MAX: Final = 10
_REASON_CHARS_MAX: Final = 1000
_ADVICE: Final = {
    401: "check the credentials",
    403: "this account may not do that: use another one, or ask the exchange for permission",
    429: "too many requests: try again later",
    503: "try again later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Timeouts, retries and limits of a client. The defaults suit a server anywhere and a line of 128 kbit/s or more.

    Attributes:
        connect_timeout_s: seconds to make a connection.
        read_timeout_s: seconds without a single byte.
        answer_timeout_s: seconds for one attempt; for a file, its length at the minimum rate is added.
        minimum_bytes_per_s: the average rate at which files must be sent or received.
        attempts: most attempts for one call.
        backoff_initial_s: longest first wait between attempts, seconds; waits are random, and double each time.
        backoff_max_s: longest wait between attempts, seconds.
        retry_after_wait_max_s: longest wait that a server may ask for; if it asks for more, the call fails, and the
            error has the time.
        answer_bytes_max: most bytes of one response. The response to a full bulk of the longest reports has 40 MB.

    >>> ClientSettings(attempts=2).read_timeout_s
    60.0
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    answer_timeout_s: float = 120.0
    minimum_bytes_per_s: float = 16_000.0
    attempts: int = 4
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 8.0
    retry_after_wait_max_s: float = 30.0
    answer_bytes_max: int = 64_000_000


DEFAULTS: Final = ClientSettings()


class Wire:
    """Makes requests and reads responses; the clients send them."""

    def __init__(self, url: str, settings: ClientSettings) -> None:
        """Raises `InvalidInput` if the URL cannot be used."""
        self.base: str = _base(url)
        self.settings = settings
        self._backoff = tenacity.wait_random_exponential(
            multiplier=settings.backoff_initial_s, max=settings.backoff_max_s
        )

    def options(self, *, auth: httpx.Auth | None) -> dict[str, Any]:
        """Arguments for httpx's clients. What the environment says of proxies and certificates, the transport reads."""
        settings = self.settings
        return {
            "auth": auth,
            "cookies": no_cookies(),
            "trust_env": False,
            "headers": {
                "User-Agent": f"blocklist-sdk/{__version__}",
                "Accept": f"{JSON}, {PROBLEM}",
                # A small compressed response could unpack to a huge one.
                "Accept-Encoding": "identity",
            },
            "timeout": httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            "follow_redirects": False,
        }

    def retrying(self, call: Call[Any]) -> dict[str, Any]:
        """Arguments for tenacity's retry loops."""
        return {
            "stop": tenacity.stop_after_attempt(self.settings.attempts if call.is_repeatable else 1),
            "wait": self._wait_s,
            "retry": tenacity.retry_if_exception(self._may_pass),
            "reraise": True,
        }

    def deadline(self, bytes_to_travel: int) -> Deadline:
        """The deadline of an attempt that sends or receives so many bytes."""
        return Deadline(self.settings.answer_timeout_s + bytes_to_travel / self.settings.minimum_bytes_per_s)

    def deadline_of(self, call: Call[Any]) -> Deadline:
        """The deadline of an attempt at a call."""
        return self.deadline(call.upload.length if call.upload else len(call.body or b""))

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call[Any], deadline: Deadline) -> httpx.Request:
        """The request of one attempt; every attempt sends the same."""
        headers = {"Idempotency-Key": call.key} if call.key is not None else {}
        if call.media_type is not None:
            headers["Content-Type"] = call.media_type
        request = client.build_request(
            call.method, self.base + call.path, params=dict(call.query) or None, content=call.body, headers=headers
        )
        if call.upload is not None:
            request.stream = _Sending(call.upload, deadline)
            request.headers["Content-Length"] = str(call.upload.length)
        return request

    def bound(self, response: httpx.Response, deadline: Deadline, max_bytes: int | None = None) -> None:
        """Limit a response in bytes and time, before its body is read."""
        most = self.settings.answer_bytes_max if max_bytes is None else max_bytes
        response.stream = Bounded(response.stream, most, deadline)

    def read(self, call: Call[T], response: httpx.Response) -> T:
        """Read a response whose body has been received.

        Raises:
            ExchangeError: it is a problem document.
            Unreachable: a gateway answered for an exchange that is down.
            Malformed: it is not from an exchange.
        """
        if not response.is_success:
            self.refuse(call, response)
        address = self._address(call)
        if _media_type(response) != JSON or response.headers.get("Content-Encoding", "identity") != "identity":
            raise Malformed(_not_an_exchange(address, response))
        assert call.answer is not None, "files are not read into memory"
        try:
            return call.answer.validate_json(response.content)
        except ValidationError as error:
            if not _is_json(response.content):
                if ends_with_connection(response):
                    raise Unreachable(
                        f"{address}: the connection was cut in the middle. Try again.", url=address
                    ) from error
                raise Malformed(f"{address}: the response is not JSON: {_network()}") from error
            names = [".".join(map(str, each["loc"])) for each in error.errors(include_url=False, include_input=False)]
            shown_names = ", ".join(name or "the whole" for name in names[:_FIELDS_SHOWN_MAX])
            raise Malformed(
                f"{address}: the response does not fit the API ({shown_names}): check the address, and whether this "
                "library is as new as the exchange"
            ) from error

    def refuse(self, call: Call[Any], response: httpx.Response) -> NoReturn:
        """Raise the error of an unsuccessful response whose body has been received; see `read`."""
        address, status = self._address(call), response.status_code
        if response.has_redirect_location:
            target = shown(response.headers["Location"])
            raise Malformed(
                f"{address}: the server answered {status} and redirects to {target}, which is not followed. Check the "
                "address and the network in between; a captive portal may have answered."
            )
        if by_proxy := why_refused_by_proxy(response):
            raise NotPermitted(f"{address}: {by_proxy}", url=address, status=status)
        retry_after = retry_after_in(response.headers)
        problem = _problem_in(response)
        if problem is not None:
            raise ExchangeError(
                _message(problem, status, response.headers.get("X-Request-Id")),
                status=status,
                problem=problem,
                retry_after=retry_after,
            )
        if status in PASSING or status >= 500:
            raise Unreachable(
                f"{address}: the server answered {status} {response.reason_phrase}: try again later",
                url=address,
                status=status,
                retry_after=retry_after,
            )
        raise Malformed(_not_an_exchange(address, response))

    @contextlib.contextmanager
    def translated(self, call: Call[Any]) -> Iterator[None]:
        """Translate httpx's errors."""
        address = self._address(call)
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            # Without httpx's message, which may hold a part of the URL.
            raise InvalidInput(
                f"{address}: the request cannot be sent: check the address, and that the file does not change meanwhile"
            ) from None
        except httpx.RequestError as error:
            if is_refused_by_proxy(error):
                asks = httpx.codes.PROXY_AUTHENTICATION_REQUIRED.value
                raise NotPermitted(f"{address}: {why_failed(error)}", url=address, status=asks) from error
            raise Unreachable(f"{address}: {why_failed(error)}", url=address) from error

    def copy_deadline(self, evidence: Evidence, *, original: bool) -> Deadline:
        """The deadline of a download; a copy may be longer than the file."""
        return self.deadline(evidence.bytes if original else 4 * evidence.bytes + _COPY_FREE_BYTES)

    def copy_bytes_max(self, evidence: Evidence, response: httpx.Response, *, original: bool) -> int:
        """The most bytes that a download may have."""
        return CLEANED_BYTES_MAX if not original and _is_cleaned(response) else evidence.bytes

    def check_file(
        self, evidence: Evidence, response: httpx.Response, length: int, sha256: str, *, original: bool
    ) -> None:
        """Check that a file is the one that the exchange described, or the copy of it that came whole.

        Raises:
            Untrusted: it is another one.
        """
        if not original and _is_cleaned(response):
            digest = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
            if response.headers.get(CONTENT_DIGEST) != digest:
                raise Untrusted(
                    f"the copy of evidence {evidence.id} is not what the exchange sent: {length:,} bytes with SHA-256 "
                    f"{sha256}. Nothing was written; tell the exchange's operator."
                )
        elif length != evidence.bytes or sha256 != evidence.sha256:
            raise Untrusted(
                f"evidence {evidence.id} is not what the exchange described: {length:,} bytes with SHA-256 {sha256}, "
                f"not {evidence.bytes:,} with {evidence.sha256}. Nothing was written; tell the exchange's operator."
            )

    def _address(self, call: Call[Any]) -> str:
        """The URL of a call for messages, without telephone numbers."""
        return shown(self.base + (call.shown or call.path))

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after if isinstance(error, (Unreachable, ExchangeError)) else None
        # Added to what the server asks for, so that its clients do not all come back at the same moment.
        return in_memory.patience_s(self.base, (asked_s or 0.0) + self._backoff(state))

    def _may_pass(self, error: BaseException) -> bool:
        if not isinstance(error, (Unreachable, ExchangeError)):
            return False
        passes = error.status is None or error.status in PASSING
        return passes and (error.retry_after or 0.0) <= self.settings.retry_after_wait_max_s


class _Sending(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file as a request body, in pieces; each attempt starts from the beginning."""

    def __init__(self, upload: Upload, deadline: Deadline) -> None:
        self._upload = upload
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self._upload.source, bytes):
            for start in range(0, self._upload.length, _PIECE_BYTES):
                piece = self._upload.source[start : start + _PIECE_BYTES]
                yield piece
                self._sent(start + len(piece))
            return
        sent, length = 0, self._upload.length
        with _opened(self._upload.source) as file:
            while piece := _piece(file, self._upload.source):
                # Otherwise more or fewer bytes than announced would raise an error of h11, which is not translated.
                if sent + len(piece) > length:
                    raise _changed(self._upload.source)
                yield piece
                sent += len(piece)
                self._sent(sent)
        if sent < length:
            raise _changed(self._upload.source)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Reading a piece of a local file takes microseconds.
        for piece in self:
            yield piece

    def _sent(self, count: int) -> None:
        self._deadline.check()
        if self._upload.progress is not None:
            self._upload.progress(count, self._upload.length)


def _changed(path: Path) -> InvalidInput:
    return InvalidInput(f"the evidence {path} changed while it was sent: send it again when it is complete")


def _opened(path: Path) -> BinaryIO:
    with storage(path):
        return path.open("rb")


def _piece(file: BinaryIO, path: Path) -> bytes:
    with storage(path):
        return file.read(_PIECE_BYTES)


def _base(url: str) -> str:
    read = read_url(url, what="the URL of the exchange", example="https://exchange.example")
    if read.scheme not in ("https", "http") or not read.host or read.query or "," in read.hosts:
        raise InvalidInput(f"{read} is not the URL of an exchange: give a base URL with https: or http:")
    if read.user is not None or read.password is not None:
        raise InvalidInput(f"{read}: give credentials with `auth`, not in the URL")
    return url.rstrip("/")


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _problem_in(response: httpx.Response) -> dict[str, object] | None:
    """The members of a problem document; any of them may be missing (RFC 9457, section 3.1)."""
    if _media_type(response) != PROBLEM:
        return None
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _message(problem: dict[str, object], status: int, request_id: str | None) -> str:
    """A problem document as one line, with what to do."""
    text = next((str(problem[name]) for name in ("detail", "title") if problem.get(name)), f"status {status}")
    errors = problem.get("errors")
    fields = [
        f"{each.get('field', 'a field')}: {each.get('reason', 'cannot be used')}"
        for each in (errors if isinstance(errors, list) else [])
        if isinstance(each, dict)
    ]
    # The detail of a problem with a single field has the same text already.
    fields = [each for each in fields if each not in text]
    if fields:
        more = f" and {len(fields) - _FIELDS_SHOWN_MAX} more" if len(fields) > _FIELDS_SHOWN_MAX else ""
        text = f"{text.rstrip('.')} ({'; '.join(fields[:_FIELDS_SHOWN_MAX])}{more})"
    text = displayable(text[:_REASON_CHARS_MAX])
    if advice := _ADVICE.get(status):
        text = f"{text.rstrip('.')}: {advice}"
    known_id = problem.get("request_id") or request_id
    return f"the exchange refused: {text}{f' [request {displayable(str(known_id)[:100])}]' if known_id else ''}"


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _not_an_exchange(address: str, response: httpx.Response) -> str:
    kind = displayable(_media_type(response) or "no media type")
    status = f"{response.status_code} {response.reason_phrase}"
    return f"{address}: not the response of an exchange, but {status} with {kind[:100]}: {_network()}"


def _network() -> str:
    return "check the address and the network in between; a captive portal may have answered"


def _is_cleaned(response: httpx.Response) -> bool:
    """Whether this is a copy of evidence, and not the file."""
    return bool(response.headers.get(EVIDENCE_COPY) == "cleaned")
