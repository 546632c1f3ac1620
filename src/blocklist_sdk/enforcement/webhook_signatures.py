"""Signed HTTP messages, as Standard Webhooks 1.0 has them: for the sink that sends, and for whoever receives.

A message has three headers: ``webhook-id``, ``webhook-timestamp`` (seconds since 1970 UTC) and ``webhook-signature``,
which is ``v1,`` and the HMAC-SHA256 of ``ID.TIMESTAMP.BODY`` in base64; several stand one after the other, with spaces
between, while a secret is being replaced. https://www.standardwebhooks.com
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
"""Of a secret: what Standard Webhooks allows, and what is made here."""

TOLERANCE_S: Final = 300.0
"""How far the clocks of sender and receiver may be apart, and how long a message may be on its way."""


def new_webhook_secret() -> str:
    """A secret that sender and receiver share.

    >>> new_webhook_secret()[:6]
    'whsec_'
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def webhook_keys(secret: str) -> tuple[bytes, ...]:
    """The keys in a secret, of which there may be several with spaces between, while one takes another's place.

    Raises:
        InvalidInput: it is no such secret.
    """
    keys = tuple(_key_of(each) for each in secret.split())
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
    """What a message says, once it is seen to be from somebody who has the secret, of now, and as it was sent.

    Args:
        secret: shared with the sender; several with spaces between while one takes another's place.
        headers: of the request, whatever the case of their names.
        body: of the request, byte for byte as it came.
        now: for tests.
        tolerance_s: how old it may be, or how far in the future.

    Raises:
        InvalidInput: the secret is none.
        Malformed: it is signed, and no JSON object.
        Untrusted: a header is missing, the signature is another, or it is too old.

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
        raise Untrusted(f"the message is not signed: it has no header {error.args[0]}") from error
    if not re.fullmatch(r"\d{1,12}", timestamp, re.ASCII):
        raise Untrusted("the message's timestamp is none")
    expected = [_signature(key, message_id, timestamp, body).encode() for key in keys]
    given = [each[3:].encode() for each in signatures.split() if each.startswith("v1,")]
    # Every pair, so that the time it takes says nothing of which one is right.
    verified = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in given]
    if not any(verified):
        raise Untrusted("the message's signature does not verify: check the secret, and that the body is as it came")
    age_s = (now or times.now()).timestamp() - int(timestamp)
    if abs(age_s) > tolerance_s:
        raise Untrusted(f"the message is {age_s:,.0f} s old: it was sent before, or a clock is wrong")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the message is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Malformed("the message is no JSON object")
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
        raise InvalidInput(f"the webhook secret must be of {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes, in base64")
    return key
