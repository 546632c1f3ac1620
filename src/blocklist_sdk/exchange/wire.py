"""What the synchronous and the asynchronous client do alike: requests, answers, errors, and when to try again."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import tenacity
from pydantic import ValidationError

from blocklist_sdk import __version__
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, Unreachable, Untrusted
from blocklist_sdk.exchange.calls import JSON, Call, Upload
from blocklist_sdk.exchange.models import Evidence
from blocklist_sdk.net.addresses import origin_of, shown
from blocklist_sdk.net.bounded import Bounded, Deadline
from blocklist_sdk.net.http import ends_with_connection, httpx
from blocklist_sdk.net.retry_after import retry_after_in

T = TypeVar("T")

PROBLEM: Final = "application/problem+json"

PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that go away by themselves (RFC 9110 section 15, RFC 8470, RFC 6585)."""

_PIECE_BYTES: Final = 1 << 16
_FIELDS_SHOWN_MAX: Final = 10
_REASON_CHARS_MAX: Final = 1000
_ADVICE: Final = {
    401: "check the credentials",
    403: "this account may not do that: use another one, or ask the exchange for the permission",
    429: "too many requests: try again later",
    503: "try again later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How patient a client of the exchange is. The defaults suit a server anywhere and a line of 128 kbit/s or more.

    Attributes:
        connect_timeout_s: for a connection to be made.
        read_timeout_s: without a single byte.
        answer_timeout_s: for one attempt as a whole; what a file takes at the minimum rate comes on top.
        minimum_bytes_per_s: the rate at which files have to travel, over the whole of one.
        attempts: for one call, one after the other.
        backoff_initial_s: the first wait between attempts is random between zero and this, the next twice as long…
        backoff_max_s: …up to this.
        retry_after_wait_max_s: a server that asks for a longer wait ends the call; the error says how long it asked.
        answer_bytes_max: for one answer. A whole bulk of the longest reports comes to 40 MB.

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
    """Everything about requests and answers but the sending."""

    def __init__(self, url: str, settings: ClientSettings) -> None:
        """Raises `InvalidInput` where the URL cannot be used."""
        self.base = _base(url)
        self.settings = settings
        self._backoff = tenacity.wait_random_exponential(
            multiplier=settings.backoff_initial_s, max=settings.backoff_max_s
        )

    def options(self, *, auth: httpx.Auth | None, tls: ssl.SSLContext | None) -> dict[str, Any]:
        """What httpx's clients are made with."""
        settings = self.settings
        return {
            "auth": auth,
            "verify": True if tls is None else tls,
            "headers": {
                "User-Agent": f"blocklist-sdk/{__version__}",
                "Accept": f"{JSON}, {PROBLEM}",
                # A small answer could unfold to a huge one.
                "Accept-Encoding": "identity",
            },
            "timeout": httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            "follow_redirects": False,
        }

    def retrying(self, call: Call[Any]) -> dict[str, Any]:
        """What tenacity's loops are made with."""
        return {
            "stop": tenacity.stop_after_attempt(self.settings.attempts if call.is_repeatable else 1),
            "wait": self._wait_s,
            "retry": tenacity.retry_if_exception(self._may_pass),
            "reraise": True,
        }

    def deadline(self, bytes_to_travel: int) -> Deadline:
        """When one attempt has to be over."""
        return Deadline(self.settings.answer_timeout_s + bytes_to_travel / self.settings.minimum_bytes_per_s)

    def deadline_of(self, call: Call[Any]) -> Deadline:
        """When one attempt at a call has to be over."""
        return self.deadline(call.upload.length if call.upload else len(call.body or b""))

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call[Any], deadline: Deadline) -> httpx.Request:
        """One attempt's request; every attempt sends the same."""
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
        """Keep an answer from being endless, before its body is read."""
        most = self.settings.answer_bytes_max if max_bytes is None else max_bytes
        response.stream = Bounded(response.stream, most, deadline)

    def read(self, call: Call[T], response: httpx.Response) -> T:
        """What an answer says, once its body is there.

        Raises:
            ExchangeError: it is a problem document.
            Unreachable: somebody in between answered for an exchange that is not there.
            Malformed: it is no answer of an exchange.
        """
        if not response.is_success:
            self.refuse(call, response)
        at = self._at(call)
        if _media_type(response) != JSON or response.headers.get("Content-Encoding", "identity") != "identity":
            raise Malformed(_no_answer(at, response))
        assert call.answer is not None, "files are not read into memory"
        try:
            return call.answer.validate_json(response.content)
        except ValidationError as error:
            if not _is_json(response.content):
                if ends_with_connection(response):
                    raise Unreachable(f"{at}: the connection was cut half-way. Try again.", url=at) from error
                raise Malformed(f"{at}: the answer is no JSON: {_network()}") from error
            places = [".".join(map(str, each["loc"])) for each in error.errors(include_url=False, include_input=False)]
            named = ", ".join(place or "the whole" for place in places[:_FIELDS_SHOWN_MAX])
            raise Malformed(
                f"{at}: the answer is not what the exchange's API says ({named}): check the address, and whether this "
                "library is as new as the exchange"
            ) from error

    def refuse(self, call: Call[Any], response: httpx.Response) -> NoReturn:
        """Raise what an answer means that is no success, once its body is there; as `read` does."""
        at, status = self._at(call), response.status_code
        if response.has_redirect_location:
            target = shown(response.headers["Location"])
            raise Malformed(
                f"{at}: the server answered {status} and leads to {target}, which is not followed. Check the address "
                "and the network in between; a captive portal may have answered."
            )
        retry_after = retry_after_in(response.headers)
        problem = _problem_in(response)
        if problem is not None:
            raise ExchangeError(
                _said(problem, status, response.headers.get("X-Request-Id")),
                status=status,
                problem=problem,
                retry_after=retry_after,
            )
        if status in PASSING or status >= 500:
            raise Unreachable(
                f"{at}: the server answered {status} {response.reason_phrase}: try again later",
                url=at,
                status=status,
                retry_after=retry_after,
            )
        raise Malformed(_no_answer(at, response))

    @contextlib.contextmanager
    def translated(self, call: Call[Any]) -> Iterator[None]:
        """All of httpx's errors end here."""
        at = self._at(call)
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            # Not in httpx's words, which may repeat a part of the URL.
            raise InvalidInput(
                f"{at} cannot be asked: check the address, and that no file changes meanwhile"
            ) from error
        except httpx.RequestError as error:
            kind = "timed out" if isinstance(error, httpx.TimeoutException) else "failed"
            raise Unreachable(
                f"{at}: the connection {kind} ({str(error) or type(error).__name__}). Check address and network, then "
                "try again.",
                url=at,
            ) from error

    def check_file(self, evidence: Evidence, length: int, sha256: str) -> None:
        """See whether a file is the one that the exchange told of.

        Raises:
            Untrusted: it is not.
        """
        if length != evidence.bytes or sha256 != evidence.sha256:
            raise Untrusted(
                f"evidence {evidence.id} is not what the exchange told of: {length:,} bytes with the SHA-256 {sha256}, "
                f"not {evidence.bytes:,} with {evidence.sha256}. Nothing was written; tell the exchange's operator."
            )

    def _at(self, call: Call[Any]) -> str:
        return shown(self.base + (call.shown or call.path))

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after if isinstance(error, (Unreachable, ExchangeError)) else None
        # On top of what the server asks for, so that those whom it asked the same do not all come back at once.
        return (asked_s or 0.0) + self._backoff(state)

    def _may_pass(self, error: BaseException) -> bool:
        if not isinstance(error, (Unreachable, ExchangeError)):
            return False
        passes = error.status is None or error.status in PASSING
        return passes and (error.retry_after or 0.0) <= self.settings.retry_after_wait_max_s


class _Sending(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file on its way out, in pieces; every attempt begins it anew."""

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
                # More than was announced, or less, would otherwise end in an error of h11 that nobody translates.
                if sent + len(piece) > length:
                    raise _changed(self._upload.source)
                yield piece
                sent += len(piece)
                self._sent(sent)
        if sent < length:
            raise _changed(self._upload.source)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # The pieces of a local file come in microseconds; what takes its time is the network.
        for piece in self:
            yield piece

    def _sent(self, count: int) -> None:
        self._deadline.check()
        if self._upload.progress is not None:
            self._upload.progress(count, self._upload.length)


def _changed(path: Path) -> InvalidInput:
    return InvalidInput(f"the evidence {path} changed while it was sent: send it once it is whole")


def _opened(path: Path) -> BinaryIO:
    with storage(path):
        return path.open("rb")


def _piece(file: BinaryIO, path: Path) -> bytes:
    with storage(path):
        return file.read(_PIECE_BYTES)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        origin_of(url)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput("that is no URL of an exchange: give one such as https://exchange.example") from error
    if parts.scheme not in ("https", "http") or parts.query or parts.fragment:
        raise InvalidInput(f"{shown(url)} is no exchange: give a base URL that starts with https: or http:")
    if "@" in parts.netloc:
        raise InvalidInput(f"{shown(url)}: credentials do not belong into the URL: give them with auth")
    return url.rstrip("/")


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _problem_in(response: httpx.Response) -> dict[str, object] | None:
    """A problem document's members; all of them may be missing (RFC 9457, section 3.1)."""
    if _media_type(response) != PROBLEM:
        return None
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _said(problem: dict[str, object], status: int, request_id: str | None) -> str:
    """A problem in one line, with what to do about it."""
    text = next((str(problem[name]) for name in ("detail", "title") if problem.get(name)), f"status {status}")
    errors = problem.get("errors")
    fields = [
        f"{each.get('field', 'a field')}: {each.get('reason', 'it cannot be used')}"
        for each in (errors if isinstance(errors, list) else [])
        if isinstance(each, dict)
    ]
    # The exchange says what is wrong with a single field in so many words already.
    fields = [each for each in fields if each not in text]
    if fields:
        more = f" and {len(fields) - _FIELDS_SHOWN_MAX} more" if len(fields) > _FIELDS_SHOWN_MAX else ""
        text = f"{text.rstrip('.')} ({'; '.join(fields[:_FIELDS_SHOWN_MAX])}{more})"
    text = text[:_REASON_CHARS_MAX]
    if advice := _ADVICE.get(status):
        text = f"{text.rstrip('.')}: {advice}"
    named = problem.get("request_id") or request_id
    return f"the exchange refused: {text}{f' [request {str(named)[:100]}]' if named else ''}"


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _no_answer(at: str, response: httpx.Response) -> str:
    kind = _media_type(response) or "nothing that says what it is"
    return (
        f"{at}: the server answered {response.status_code} {response.reason_phrase} with {kind[:100]}, which is no "
        f"answer of an exchange: {_network()}"
    )


def _network() -> str:
    return "check the address and the network in between; a captive portal may have answered in its stead"
