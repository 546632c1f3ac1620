"""Batches as signed HTTP requests, to a service that does them at once and says what came of each change.

A request says what is to be so from now on, so it does no harm if it comes twice. It is sent once: whether and when
again is the run's decision, since the sink cannot know what else has changed by then.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from blocklist_sdk import __version__, times
from blocklist_sdk.enforcement.items import Batch, SinkChange
from blocklist_sdk.enforcement.sink import DONE, KINDS, LIFTED, PENDING, Outcome, SinkUnavailable, all_done
from blocklist_sdk.enforcement.sinks.drop_files import moment_text, plain
from blocklist_sdk.enforcement.webhook_signatures import signed_headers, webhook_keys
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.net.addresses import is_loopback, origin_of, shown
from blocklist_sdk.net.bounded import Bounded, Deadline
from blocklist_sdk.net.cutter import SocketCutter
from blocklist_sdk.net.http import checked_environment, httpx
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.net.tls import tls_context

log = logging.getLogger(__name__)

SECRET_VARIABLE: Final = "BLOCKLIST_WEBHOOK_SECRET"  # noqa: S105 -- its name

BODY_BYTES_MAX: Final = 1_000_000
"""Of one request: nginx and many frameworks take no more than a megabyte unless they are told to."""

_HEAD_BYTES_MAX: Final = 1_000
"""Of a request, for what is no item."""

_ANSWER_BYTES_MAX: Final = 16_000_000
"""Of one answer: a megabyte's changes, with the longest details."""

_CONNECT_TIMEOUT_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
_TIMEOUT_MAX_S: Final = 3600.0

_BAD_ITEMS: Final = frozenset({400, 413, 422})
"""A receiver that answers so may mean a single change: the batch is sent in halves, until it is known which one."""

_SPLITS_MAX: Final = 50
"""Of one batch: so many find some five changes among ten thousand."""

_AMONG_OTHERS: Final = Outcome("failed", "not done, since others of the batch are not wanted", pending=True)

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
    """Prepare to send to a webhook; nothing is sent yet.

    Args:
        url: where to, whole: its query is the receiver's.
        feed: what is sent is of this feed.
        secret: shared with the receiver; of `new_webhook_secret`. Several with spaces between sign side by side.
        secret_file: a file with it, in place of `secret`. Without both, it is ``BLOCKLIST_WEBHOOK_SECRET`` of the
            environment.
        timeout: seconds for one request, from its first byte to its answer's last.
        ca: file with the authorities' certificates as PEM; by default public ones.
        client_cert: file with one's own certificate and key as PEM, for receivers that ask for one.

    Raises:
        InvalidInput: an option cannot be used, or there is no secret.
    """
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _TIMEOUT_MAX_S:
        raise InvalidInput(f"the webhook's timeout must be seconds, up to {_TIMEOUT_MAX_S:,.0f}, not {timeout!r}")
    return WebhookSink(
        _address(url),
        feed=feed,
        keys=webhook_keys(_secret(secret, secret_file)),
        timeout_s=seconds,
        tls=tls_context(ca=ca, client_cert=client_cert) if ca or client_cert else None,
    )


class WebhookSink:
    """A webhook. What the receiver holds cannot be read back."""

    def __init__(self, url: str, *, feed: str, keys: tuple[bytes, ...], timeout_s: float, tls: Any = None) -> None:
        """Use `open_webhook_sink`."""
        self.url = url
        self.feed = feed
        self._keys = keys
        self._timeout_s = timeout_s
        self._cutter = SocketCutter()
        with checked_environment():
            self._client = httpx.Client(
                verify=True if tls is None else tls,
                headers={
                    "User-Agent": f"blocklist-sdk/{__version__}",
                    "Accept": "application/json",
                    # A small answer could unfold to a huge one.
                    "Accept-Encoding": "identity",
                },
                timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
                follow_redirects=False,
            )

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch, in as many requests as it takes, and read what came of each change.

        Raises:
            SinkUnavailable: the receiver cannot be reached, does not answer as a webhook does, or wants none of it.
        """
        items = [_item_of(change) for change in batch]
        outcomes: list[Outcome] = list(all_done(batch))
        parts = _parts([len(body) + 1 for _, body in items])
        splits_left, went_through, last = _SPLITS_MAX, 0, None
        while parts:
            part = parts.pop(0)
            try:
                outcomes[part.start : part.stop] = self._send(batch, items[part.start : part.stop])
                went_through += len(part)
            except _Unwanted as refusal:
                last = refusal
                if len(part) == 1:
                    outcomes[part.start] = Outcome("failed", plain(str(refusal)))
                elif splits_left:
                    splits_left -= 1
                    middle = (part.start + part.stop) // 2
                    parts[:0] = [range(part.start, middle), range(middle, part.stop)]
                else:
                    # Those that have been found are set aside some day, and the others go on then.
                    outcomes[part.start : part.stop] = [_AMONG_OTHERS] * len(part)
        if last is not None and not went_through and len(batch) > 1:
            raise SinkUnavailable(f"{self._at()}: the receiver wants no change of the batch: {last}") from last
        return outcomes

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, batch: Batch, items: Sequence[tuple[str, bytes]]) -> list[Outcome]:
        body = _body(batch, [item for _, item in items])
        # Of what is asked, and of which batch: asked for again later, after it was lifted meanwhile, it is another.
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
                response = self._client.send(request, stream=True)
                try:
                    response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX, deadline)
                    content = response.read()
                finally:
                    response.close()
        except (httpx.RequestError, httpx.InvalidURL, Malformed) as error:
            kind = "timed out" if isinstance(error, httpx.TimeoutException) else "failed"
            raise SinkUnavailable(f"{self._at()}: the request {kind} ({str(error) or type(error).__name__})") from error
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SinkUnavailable(f"{self._at()}: the answer is compressed, which was not asked for")
        return response.status_code, response.headers, content

    def _refuse(self, status: int, headers: httpx.Headers, content: bytes) -> NoReturn:
        if status in _BAD_ITEMS:
            said = _problem(content)
            raise _Unwanted(f"the receiver answered {status}" + (f": {said}" if said else ""))
        advice = {401: "check the secret", 403: "check the secret", 404: "check the address", 410: "check the address"}
        text = f"the receiver answered {status}: {advice.get(status, 'it is tried again later')}"
        if 300 <= status < 400:
            text = f"the receiver answered {status} and leads elsewhere, which is not followed: check the address"
        raise SinkUnavailable(f"{self._at()}: {text}", retry_after=retry_after_in(headers))

    def _read(
        self, batch: Batch, keys: Sequence[str], status: int, headers: httpx.Headers, content: bytes
    ) -> list[Outcome]:
        """What came of each change, by what the answer says of its key."""
        rest = PENDING if status == httpx.codes.ACCEPTED else LIFTED if batch.operation == "unblock" else DONE
        if not content.strip():
            return [rest] * len(keys)
        answers = self._answers(headers, content)
        if answers is None:
            return [rest] * len(keys)
        said: dict[str, Outcome] = {}
        for answer in answers:
            if not isinstance(answer, dict) or not isinstance(answer.get("key"), str):
                raise SinkUnavailable(f"{self._at()}: an item of the answer has no key: {_SHAPE}")
            said[answer["key"]] = _outcome_of(answer, batch)
        unsaid = PENDING if status == httpx.codes.ACCEPTED else Outcome("failed", "the answer does not mention it")
        return [said.get(key, unsaid) for key in keys]

    def _answers(self, headers: httpx.Headers, content: bytes) -> list[Any] | None:
        """An answer's items; None where it has none."""
        media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            # A captive portal also answers 200.
            raise SinkUnavailable(
                f"{self._at()}: the answer is no JSON ({media_type or 'of no type'}): {_SHAPE}"
            ) from error
        items = document.get("items") if isinstance(document, dict) else document
        if items is None and isinstance(document, dict):
            return None
        if not isinstance(items, list):
            raise SinkUnavailable(f"{self._at()}: the answer has no list of items: {_SHAPE}")
        return items

    def _at(self) -> str:
        return shown(self.url)


class _Unwanted(Exception):
    """The receiver does not want what it was sent, as it stands."""


_SHAPE: Final = 'a webhook answers with nothing, or with {"items": [{"key": …, "outcome": …, "detail": …}]}'


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
        "until": None if change.until is None else moment_text(change.until),
    }
    return key, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _body(batch: Batch, items: Sequence[bytes]) -> bytes:
    head = {
        "type": f"blocklist.{batch.operation}",
        "feed": batch.feed,
        "serial": batch.serial,
        "batch": batch.number_in_ledger,
    }
    return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _parts(lengths: Sequence[int]) -> list[range]:
    """Places of items that go together into one request."""
    parts, start, room = [], 0, BODY_BYTES_MAX - _HEAD_BYTES_MAX
    for place, length in enumerate(lengths):
        room -= length
        if room < 0 and place > start:
            parts.append(range(start, place))
            start, room = place, BODY_BYTES_MAX - _HEAD_BYTES_MAX - length
    if start < len(lengths):
        parts.append(range(start, len(lengths)))
    return parts


def _outcome_of(answer: Mapping[str, Any], batch: Batch) -> Outcome:
    said, detail = answer.get("outcome"), answer.get("detail")
    text = plain(detail) if isinstance(detail, str) else ""
    if said == "pending":
        return Outcome("failed", text or PENDING.detail, pending=True)
    is_lifting = batch.operation == "unblock"
    for known in KINDS:
        if said == known:
            if is_lifting and known == "enforced":
                return Outcome("reversed", text)
            if not is_lifting and known == "reversed":
                return Outcome("failed", "the answer says that a block is reversed")
            return Outcome(known, text)
    return Outcome("failed", plain(f"the answer says {str(said)[:40]!r}, which is no outcome"))


def _problem(content: bytes) -> str:
    """What a refusal says, in a few words (RFC 9457)."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    said = next((document[name] for name in ("detail", "title") if document.get(name)), "")
    return plain(str(said))[:200]


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        origin_of(url)
    except ValueError as error:
        raise InvalidInput(
            "that is no URL of a webhook: give one such as https://provisioning.example/blocks"
        ) from error
    if parts.scheme not in ("https", "http") or parts.fragment:
        raise InvalidInput(f"{shown(url)} is no webhook: give a URL that starts with https: or http:")
    if "@" in parts.netloc:
        raise InvalidInput(f"{shown(url)}: credentials do not belong into the URL: requests are signed instead")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        log.warning("%s: numbers go over the network in the clear; use https:", shown(url))
    return url


def _secret(secret: str | None, file: str | Path | None) -> str:
    if secret is not None and file is not None:
        raise InvalidInput("there are two webhook secrets: give secret or secret_file")
    if secret is None and file is not None:
        try:
            with Path(file).open("rb") as opened:
                secret = opened.read(_SECRET_BYTES_MAX).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read the webhook secret's file {file}: {error}") from error
    if secret is None:
        secret = os.environ.get(SECRET_VARIABLE)
    if secret is None:
        raise InvalidInput(
            f"requests to a webhook are signed: give secret or secret_file, or set {SECRET_VARIABLE}. Make a secret "
            "with new_webhook_secret() and give it to the receiver."
        )
    return secret
