"""Signatures of webhooks: those of Standard Webhooks verify, and no others."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.enforcement.webhook_signatures import (
    new_webhook_secret,
    signed_headers,
    verify_webhook,
    webhook_keys,
)
from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 11, 2, 8, tzinfo=UTC)
BODY = b'{"type": "blocklist.block", "items": []}'


def signed(body: bytes = BODY, *, secret: str = SECRET, at: datetime = AT) -> dict[str, str]:
    return signed_headers(webhook_keys(secret), "msg_1", body, at=at)


def test_a_published_example_verifies() -> None:
    """Of the reference libraries' own tests."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, UTC)
    assert verify_webhook(SECRET, headers, body, now=at) == {"test": 2432232314}
    made = signed_headers(webhook_keys(SECRET), headers["webhook-id"], body, at=at)
    assert made == headers


@given(body=st.binary(max_size=200), place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_no_other_body_verifies(body: bytes, place: int, bit: int) -> None:
    body = body or b"{}"
    place %= len(body)
    other = body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]
    with pytest.raises(Untrusted, match="does not verify"):
        verify_webhook(SECRET, signed(body), other, now=AT)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed_and_counts(name: str) -> None:
    headers = signed()
    with pytest.raises(Untrusted, match=name):
        verify_webhook(SECRET, {key: value for key, value in headers.items() if key != name}, BODY, now=AT)
    changed = headers | {name: headers[name][:-1] + ("0" if headers[name][-1] != "0" else "1")}
    with pytest.raises(Untrusted, match="does not verify"):
        verify_webhook(SECRET, changed, BODY, now=AT)


@pytest.mark.parametrize("late_s", [-301, 301, 86_400])
def test_what_is_too_old_or_of_the_future_does_not_verify(late_s: int) -> None:
    with pytest.raises(Untrusted, match="sent before, or a clock is wrong"):
        verify_webhook(SECRET, signed(), BODY, now=AT + timedelta(seconds=late_s))


@pytest.mark.parametrize("late_s", [-300, 0, 300])
def test_clocks_may_differ_by_five_minutes(late_s: int) -> None:
    assert verify_webhook(SECRET, signed(), BODY, now=AT + timedelta(seconds=late_s))["items"] == []


def test_names_of_headers_are_of_any_case() -> None:
    headers = {name.title(): value for name, value in signed().items()}
    assert verify_webhook(SECRET, headers, BODY, now=AT)


def test_one_of_several_secrets_and_signatures_is_enough() -> None:
    other = new_webhook_secret()
    assert verify_webhook(f"{other} {SECRET}", signed(), BODY, now=AT)
    assert verify_webhook(SECRET, signed(secret=f"{other} {SECRET}"), BODY, now=AT)
    headers = signed() | {"webhook-signature": f"v1a,xyz v2,xyz {signed()['webhook-signature']}"}
    assert verify_webhook(SECRET, headers, BODY, now=AT)
    with pytest.raises(Untrusted):
        verify_webhook(other, signed(), BODY, now=AT)


@pytest.mark.parametrize(
    "signature",
    ["", "v1", "v1,", "v1,,", "v1,é", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1a,abc", "v1, " * 5000],
)
def test_a_header_of_another_form_is_not_a_signature(signature: str) -> None:
    with pytest.raises(Untrusted, match="does not verify"):
        verify_webhook(SECRET, signed() | {"webhook-signature": signature}, BODY, now=AT)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "٣", "1" * 5000, "1.5"])
def test_a_header_of_another_form_is_not_a_timestamp(timestamp: str) -> None:
    with pytest.raises(Untrusted, match="timestamp"):
        verify_webhook(SECRET, signed() | {"webhook-timestamp": timestamp}, BODY, now=AT)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 200_000])
def test_a_signed_message_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(Malformed):
        verify_webhook(SECRET, signed(body), body, now=AT)


@pytest.mark.parametrize("secret", ["", "  ", "whsec_", "whsec_abc", "word", "whsec_" + "A" * 100, f"{SECRET} x"])
def test_a_text_that_is_not_a_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidInput) as found:
        webhook_keys(secret)
    assert not secret.strip() or secret not in str(found.value) or secret == "whsec_"


def test_a_new_secret_has_32_bytes_that_no_other_has() -> None:
    one, other = webhook_keys(f"{new_webhook_secret()} {new_webhook_secret()}")
    assert len(one) == len(other) == 32
    assert one != other
