"""The sink for webhooks: batches go as signed HTTP requests to a service that answers with the outcome of each change.

A request says what must be so from now on, so it does no harm if it comes twice. The sink sends it once; the run
decides whether and when to send it again, since the sink cannot know what else has changed by then.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import unquote

from blocklist_sdk import __version__, times
from blocklist_sdk.enforcement.items import Batch, SinkChange, era_field, until_text
from blocklist_sdk.enforcement.sink import (
    DONE,
    LIFTED,
    PENDING,
    Outcome,
    SinkIdentity,
    SinkUnavailable,
    SinkWarning,
    all_done,
    outcome_of_word,
    plain,
)
from blocklist_sdk.enforcement.webhook_signatures import signed_headers, webhook_keys
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.net.addresses import SECRET_OPTIONS, is_loopback, read_url
from blocklist_sdk.net.bounded import Bounded, Deadline
from blocklist_sdk.net.cutter import SocketCutter
from blocklist_sdk.net.failures import is_refused_by_proxy, why_failed, why_refused_by_proxy
from blocklist_sdk.net.http import httpx, no_cookies
from blocklist_sdk.net.loggers import masked_logs
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.net.routes import Routes
from blocklist_sdk.net.tls import tls_context

log: logging.Logger = logging.getLogger(__name__)

SECRET_VARIABLE: Final = "BLOCKLIST_WEBHOOK_SECRET"  # noqa: S105 -- the name of a variable

BODY_BYTES_MAX: Final = 1_000_000
"""The longest request body: by default, nginx and many frameworks accept at most a megabyte."""

_HEAD_BYTES_MAX: Final = 1_000
"""Room in a request for all but the items."""

_ANSWER_BYTES_MAX: Final = 16_000_000
"""As long as an answer to a megabyte of changes, with the longest details."""

_CONNECT_TIMEOUT_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
_TIMEOUT_MAX_S: Final = 3600.0

_BAD_ITEMS: Final = frozenset({400, 413, 422})
"""Statuses that may be about a single change: the batch is sent in halves, until it is known which one."""

_SPLITS_MAX: Final = 50
"""How often a batch may be halved; enough to find some five changes among ten thousand."""

_AMONG_OTHERS: Final = Outcome("failed", "not done: the receiver rejects other changes of the batch", pending=True)

_SECRET_BYTES_MAX: Final = 10_000


def open_webhook_sink(
    url: str,
    *,
    feed: str,
    secret: str | None = None,
    secret_file: str | Path | None = None,
    timeout: float | str = _TIMEOUT_S,
    ca: str | Path | None = None,
    client_cert: str | Path | None = None,
) -> "WebhookSink":
    """Open a webhook. Nothing is sent yet.

    Args:
        url: the receiver's URL. Its query goes to the receiver.
        feed: the feed of what is sent.
        secret: the secret shared with the receiver, from `new_webhook_secret`. While a secret is being replaced, give
            both, with a space between.
        secret_file: a file with the secret, in place of `secret`. Without either, the environment variable
            ``BLOCKLIST_WEBHOOK_SECRET`` has it.
        timeout: the longest time for one request, from its first byte to the last byte of the answer, seconds.
        ca: a PEM file with the certificates of the authorities to trust; None for public ones.
        client_cert: a PEM file with your own certificate and key, for receivers that ask for one.

    Raises:
        InvalidInput: an option cannot be used, or the secret is missing.
    """
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _TIMEOUT_MAX_S:
        raise InvalidInput(f"timeout must be more than 0 s and at most {_TIMEOUT_MAX_S:,.0f} s, not {timeout!r}")
    sink = WebhookSink(
        _checked(url),
        feed=feed,
        keys=webhook_keys(_secret(secret, secret_file)),
        timeout_s=seconds,
        tls=tls_context(ca=ca, client_cert=client_cert) if ca or client_cert else None,
    )
    for warning in sink.warnings():
        log.warning("%s", warning.message)
    return sink


class _Rejected(Exception):
    """The receiver rejects a request because of its content."""


class _NoAnswer(Exception):
    """The body of an answer says nothing about the changes."""


class WebhookSink:
    """A webhook. It cannot be read back. Made by `open_webhook_sink`."""

    def __init__(self, url: str, *, feed: str, keys: tuple[bytes, ...], timeout_s: float, tls: Any = None) -> None:
        self.url = url
        self._address = read_url(url)
        self.feed = feed
        self._keys = keys
        self._timeout_s = timeout_s
        self._cutter = SocketCutter()
        self._unreadable: dict[str, SinkWarning] = {}
        self._client = httpx.Client(
            cookies=no_cookies(),
            trust_env=False,
            transport=Routes(tls=tls, url=url),
            headers={
                "User-Agent": f"blocklist-sdk/{__version__}",
                "Accept": "application/json",
                # A small compressed answer could expand to a huge one.
                "Accept-Encoding": "identity",
            },
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            follow_redirects=False,
        )

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch, in as many requests as needed, and read the outcome of each change.

        Only an answer about a change may make it ``failed``. Where the body of a success is not a webhook's answer, as
        behind a captive portal, the changes of the request are pending, and a warning says so.

        Raises:
            SinkUnavailable: the receiver cannot be reached, answers with an error, or rejects every change.
        """
        items = [_item_of(change) for change in batch]
        outcomes: list[Outcome] = list(all_done(batch))
        parts = _parts([len(body) + 1 for _, body in items])
        splits_left, is_any_accepted, rejection = _SPLITS_MAX, False, None
        self._unreadable = {}
        while parts:
            part = parts.pop(0)
            try:
                outcomes[part.start : part.stop] = self._send(batch, items[part.start : part.stop])
                is_any_accepted = True
            except _NoAnswer as error:
                outcomes[part.start : part.stop] = [self._unread(error)] * len(part)
            except _Rejected as error:
                rejection = error
                if len(part) == 1:
                    outcomes[part.start] = Outcome("failed", plain(str(error)))
                elif splits_left:
                    splits_left -= 1
                    middle = (part.start + part.stop) // 2
                    parts[:0] = [range(part.start, middle), range(middle, part.stop)]
                else:
                    # The changes that were found are set aside one day, and then the others go through.
                    outcomes[part.start : part.stop] = [_AMONG_OTHERS] * len(part)
        if rejection is not None and not is_any_accepted and len(batch) > 1:
            raise self._unavailable(f"the receiver rejects every change of the batch: {rejection}") from rejection
        return outcomes

    def warnings(self) -> Sequence[SinkWarning]:
        """Answers to the last batch that cannot be read; and that numbers are sent unencrypted off this machine."""
        unreadable = tuple(self._unreadable.values())
        if self._address.scheme == "https" or is_loopback(self._address.host):
            return unreadable
        message = f"{self._address}: telephone numbers are sent unencrypted; use https:"
        return (SinkWarning("unencrypted", message), *unreadable)

    def identity(self) -> SinkIdentity:
        """The URL, without credentials; in whatever order its options are."""
        pairs = sorted(pair for pair in self._address.query.split("&") if pair)
        query = [pair for pair in pairs if unquote(pair.partition("=")[0]).lower() not in SECRET_OPTIONS]
        return SinkIdentity(self._address.shown + ("?" + "&".join(query) if query else ""))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, batch: Batch, items: Sequence[tuple[str, bytes]]) -> Sequence[Outcome]:
        body = _body(batch, [item for _, item in items])
        # The body has the batch's number, so the same change has another key if it comes again in a later batch.
        key = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            **signed_headers(self._keys, key, body, at=times.now()),
        }
        status, answer_headers, content = self._exchange(body, headers)
        if not 200 <= status < 300:
            self._refuse(status, answer_headers, content)
        return self._read(batch, [key for key, _ in items], status, answer_headers, content)

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        try:
            with self._cutter.cut_after(Deadline(self._timeout_s)) as deadline:
                request = self._client.build_request("POST", self.url, content=body, headers=dict(headers))
                request.extensions["trace"] = self._cutter.trace
                with masked_logs():
                    response = self._client.send(request, stream=True)
                try:
                    response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX, deadline)
                    content = response.read()
                finally:
                    response.close()
        except httpx.RequestError as error:
            raise self._unavailable(why_failed(error), is_permitted=not is_refused_by_proxy(error)) from error
        except httpx.InvalidURL:
            raise self._unavailable("the request cannot be sent: check the URL") from None
        except Malformed as error:
            raise self._unavailable(f"the request failed ({error})") from error
        if by_proxy := why_refused_by_proxy(response):
            raise self._unavailable(by_proxy, is_permitted=False)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._unavailable("the answer is compressed, but must not be")
        return response.status_code, response.headers, content

    def _refuse(self, status: int, headers: httpx.Headers, content: bytes) -> NoReturn:
        if status in _BAD_ITEMS:
            problem = _problem(content)
            raise _Rejected(f"the receiver answered {status}" + (f": {problem}" if problem else ""))
        advice = {401: "check the secret", 403: "check the secret", 404: "check the URL", 410: "check the URL"}
        text = f"the receiver answered {status}: {advice.get(status, 'it is tried again later')}"
        if 300 <= status < 400:
            text = f"the receiver answered {status}, a redirect, which is not followed: check the URL"
        is_permitted = status not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
        raise self._unavailable(text, retry_after=retry_after_in(headers), is_permitted=is_permitted)

    def _read(
        self, batch: Batch, keys: Sequence[str], status: int, headers: httpx.Headers, content: bytes
    ) -> Sequence[Outcome]:
        """The outcome of each change, by its key in the answer.

        Raises:
            _NoAnswer: the body is not a webhook's answer.
        """
        is_accepted = status == httpx.codes.ACCEPTED
        if not content.strip():
            return [PENDING if is_accepted else LIFTED if batch.operation == "unblock" else DONE] * len(keys)
        try:
            answers = _answers(headers, content)
            if answers.keys().isdisjoint(keys):
                raise _NoAnswer("the answer mentions none of the changes")
        except _NoAnswer as error:
            raise _NoAnswer(f"the receiver answered {status}, but {error}: {_EXPECTED}") from error
        outcomes = {key: _outcome_of(answer, batch) for key, answer in answers.items()}
        missing = PENDING if is_accepted else Outcome("failed", "the answer does not mention it")
        return [outcomes.get(key, missing) for key in keys]

    def _unread(self, error: _NoAnswer) -> Outcome:
        """The outcome of changes whose answer cannot be read; warns of it."""
        # A captive portal and a default page answer 200 too, and nobody has blocked anything.
        message = f"{self._address}: {error}"
        if message not in self._unreadable:
            log.warning("%s", message)
            self._unreadable[message] = SinkWarning("unreadable response", message)
        return Outcome("failed", str(error), pending=True)

    def _unavailable(
        self, reason: str, *, retry_after: float | None = None, is_permitted: bool = True
    ) -> SinkUnavailable:
        return SinkUnavailable(f"{self._address}: {reason}", retry_after=retry_after, is_permitted=is_permitted)


_EXPECTED: Final = 'a webhook answers with nothing, or with {"items": [{"key": …, "outcome": …, "detail": …}]}'


def _item_of(change: SinkChange) -> tuple[str, bytes]:
    """A change's key, and the change as JSON."""
    key = change.key
    document = {
        "key": key,
        "number": f"+{change.number}",
        "last": f"+{change.last}",
        "scope": change.scope,
        "category": change.category,
        "entries": change.entries,
        "until": None if change.until is None else until_text(change.until),
    }
    return key, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _body(batch: Batch, items: Sequence[bytes]) -> bytes:
    head = {
        "type": f"blocklist.{batch.operation}",
        "feed": batch.feed,
        "serial": batch.serial,
        **era_field(batch),
        "batch": batch.number_in_ledger,
    }
    return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _parts(lengths: Sequence[int]) -> list[range]:
    """The positions of the items of each request."""
    parts, start, room = [], 0, BODY_BYTES_MAX - _HEAD_BYTES_MAX
    for index, length in enumerate(lengths):
        room -= length
        if room < 0 and index > start:
            parts.append(range(start, index))
            start, room = index, BODY_BYTES_MAX - _HEAD_BYTES_MAX - length
    if start < len(lengths):
        parts.append(range(start, len(lengths)))
    return parts


def _answers(headers: httpx.Headers, content: bytes) -> dict[str, Mapping[str, Any]]:
    """The items of an answer, by their keys.

    Raises:
        _NoAnswer: the body has no such items.
    """
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _NoAnswer(f"the answer is not JSON ({plain(media_type)[:100] or 'no type'})") from error
    items = document.get("items") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise _NoAnswer("the answer has no list of items")
    if not all(isinstance(item, dict) and isinstance(item.get("key"), str) for item in items):
        raise _NoAnswer("an item of the answer has no key")
    return {item["key"]: item for item in items}


def _outcome_of(answer: Mapping[str, Any], batch: Batch) -> Outcome:
    word, detail = answer.get("outcome"), answer.get("detail")
    text = plain(detail) if isinstance(detail, str) else ""
    if word == "pending":
        return Outcome("failed", text or PENDING.detail, pending=True)
    return outcome_of_word(str(word), text, operation=batch.operation, source="answer")


def _problem(content: bytes) -> str:
    """The words of an error response (RFC 9457)."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    text = next((document[name] for name in ("detail", "title") if document.get(name)), "")
    return plain(str(text))[:200]


def _checked(url: str) -> str:
    read = read_url(url, what="the sink's URL", example="https://provisioning.example/blocks")
    if read.scheme not in ("https", "http") or not read.host or "," in read.hosts:
        raise InvalidInput(f"{read} is not a webhook: give a URL such as https://provisioning.example/blocks")
    if read.user is not None or read.password is not None:
        raise InvalidInput(f"{read}: leave credentials out of the URL: requests are signed instead")
    return url


def _secret(secret: str | None, file: str | Path | None) -> str:
    if secret is not None and file is not None:
        raise InvalidInput("two webhook secrets are given: give secret or secret_file")
    if secret is None and file is not None:
        try:
            with Path(file).open("rb") as opened:
                secret = opened.read(_SECRET_BYTES_MAX).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read the file of the webhook secret, {file}: {error}") from error
    if secret is None:
        secret = os.environ.get(SECRET_VARIABLE)
    if secret is None:
        raise InvalidInput(
            f"the webhook secret is missing: give secret or secret_file, or set {SECRET_VARIABLE}. Make a secret with "
            "new_webhook_secret() and give it to the receiver."
        )
    return secret
