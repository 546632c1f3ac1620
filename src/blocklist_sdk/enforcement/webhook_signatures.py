"""Signatures of webhook messages by Standard Webhooks 1.0, for the sink that sends them and for receivers.

A message has three headers: ``webhook-id``, ``webhook-timestamp`` (seconds since 1970 UTC) and ``webhook-signature``,
which is ``v1,`` and the HMAC-SHA256 of ``ID.TIMESTAMP.BODY`` in base64. While a secret is being replaced there are
several signatures, with spaces between. https://www.standardwebhooks.com
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted

_PREFIX: Final = "whsec_"
_KEY_BYTES_MIN, _KEY_BYTES_MAX, _KEY_BYTES = 24, 64, 32
"""Bytes of a secret: the fewest and the most that Standard Webhooks allows, and those of `new_webhook_secret`."""

TOLERANCE_S: Final = 300.0
"""How old a message may be, and how far in the future: clocks differ, and a message takes some time."""


def new_webhook_secret() -> str:
    """Make a secret for a sender and a receiver to share.

    >>> new_webhook_secret()[:6]
    'whsec_'
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def webhook_keys(secret: str) -> tuple[bytes, ...]:
    """The keys in a secret; several, with spaces between, while a secret is being replaced.

    Raises:
        InvalidInput: `secret` is not a webhook secret.
    """
    keys = tuple(_key_of(part) for part in secret.split())
    if not keys:
        raise InvalidInput("the webhook secret is empty: make one with new_webhook_secret()")
    return keys


def signed_headers(keys: tuple[bytes, ...], message_id: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """The headers that sign a message.

    >>> keys = webhook_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> from datetime import UTC
    >>> at = datetime(2021, 1, 1, tzinfo=UTC)
    >>> signed_headers(keys, "msg_1", b"{}", at=at)["webhook-timestamp"]
    '1609459200'
    """
    timestamp = str(int(at.timestamp()))
    signatures = " ".join(f"v1,{_signature(key, message_id, timestamp, body)}" for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> dict[str, Any]:
    """Check that a message is recent, and unchanged since it was signed with the secret; returns its content.

    Args:
        secret: the secret shared with the sender. While it is being replaced, give both, with a space between.
        headers: the headers of the request; the case of their names does not matter.
        body: the body of the request, byte for byte as it came.
        now: the current time, for tests; None for the clock's.
        tolerance_s: how old the message may be, or how far in the future, seconds.

    Raises:
        InvalidInput: `secret` is not a webhook secret.
        Malformed: the message is signed, but not a JSON object.
        Untrusted: a header is missing, the signature does not match, or the message is too old.

    >>> secret = new_webhook_secret()
    >>> headers = signed_headers(webhook_keys(secret), "msg_1", b'{"type": "blocklist.block"}', at=times.now())
    >>> verify_webhook(secret, headers, b'{"type": "blocklist.block"}')
    {'type': 'blocklist.block'}
    """
    keys = webhook_keys(secret)
    known = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (known[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise Untrusted(f"the message is not signed: the header {error.args[0]} is missing") from error
    if not re.fullmatch(r"\d{1,12}", timestamp, re.ASCII):
        raise Untrusted("the webhook-timestamp header is not a number")
    expected = [_signature(key, message_id, timestamp, body).encode() for key in keys]
    given = [text[3:].encode() for text in signatures.split() if text.startswith("v1,")]
    # All pairs are compared, so that the time does not show which one matches.
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in given]
    if not any(matches):
        raise Untrusted("the message's signature does not verify: check the secret, and that the body is as it came")
    age_s = (now or times.now()).timestamp() - int(timestamp)
    if abs(age_s) > tolerance_s:
        raise Untrusted(f"the message is {age_s:,.0f} s old: it was sent before, or a clock is wrong")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the message is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Malformed("the message is not a JSON object")
    return document


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("the webhook secret is not whsec_ and base64: make one with new_webhook_secret()") from error
    if not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
        raise InvalidInput(f"the webhook secret must have {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes, in base64")
    return key
