"""Signed assertions (RFC 7523, ``private_key_jwt``): an account with a key proves who it is.

The cheap checks come first, on what the assertion says before anybody knows who signed it. Only then is its signature
verified, and only an assertion whose signature is valid reaches a transaction that writes.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.accounts import RefusedCredentials, is_account_name
from blocklist_sdk.exchange_server.casework.public_keys import load_key
from blocklist_sdk.exchange_server.store.tables import AccountRow, AssertionRow
from blocklist_sdk.texts import displayable

_ALGORITHMS: Final = ["Ed25519", "ES256"]
"""Names of RFC 9864 and RFC 7518."""

_ASSERTION_ERRORS: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""Errors from reading a text that is not a valid assertion."""

_CHARS_MAX: Final = 4_000
"""Longest assertion: several times as long as one with the longest name, audience and `jti` of a client of ours."""

_JTI: Final = re.compile(r"[^\x00\ud800-\udfff]{1,200}")

_ASSERTION_S: Final = 300
"""How far ahead a signed assertion may expire, seconds: it proves who asks now (RFC 7523, 3)."""

_SKEW_S: Final = 300
"""Clocks may differ by so much, either way, seconds: as everywhere in this project. Each assertion is accepted once."""

_MOMENT_MAX: Final = 1e11
"""No moment of an assertion is later, Unix time."""

_SHOWN_CHARS_MAX: Final = 200

_NOBODYS_KEYS: Final = tuple(
    json.dumps(key.as_dict(private=False)) for key in (OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256"))
)
"""Public keys whose private parts are lost, one of each kind; texts, as those of accounts."""


@dataclass(frozen=True, slots=True)
class ReadAssertion:
    """An assertion that has passed the cheap checks; who signed it is not known yet.

    Attributes:
        name: the account that it names.
        text: the assertion.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ProvedAssertion:
    """An assertion that is valid, unless it was used before.

    Attributes:
        row: the account that signed it.
        jti: its identifier, which no other assertion of the account has.
        end: when it expires, Unix time.
    """

    row: AccountRow
    jti: str
    end: float


def subject_of(assertion: str) -> str:
    """The account name in an assertion, not verified; empty if it has none."""
    name = _part_of(assertion, 1).get("sub")
    return name if isinstance(name, str) else ""


def read_assertion(assertion: str, *, now: datetime) -> ReadAssertion | RefusedCredentials:
    """Check all of an assertion that needs neither a key nor the database. An assertion that passes is not proved.

    Args:
        assertion: a JWT.
        now: this moment.
    """
    if len(assertion) > _CHARS_MAX:
        return RefusedCredentials(None, f"the assertion has more than {_CHARS_MAX:,} characters")
    claims = _part_of(assertion, 1)
    name = claims.get("sub")
    if not isinstance(name, str) or not is_account_name(name):
        return RefusedCredentials(None, "the assertion names no account: its `sub` is not an account's name")
    if _part_of(assertion, 0).get("alg") not in _ALGORITHMS:
        return RefusedCredentials(name, f"the assertion cannot be read: its `alg` is not {' or '.join(_ALGORITHMS)}")
    cause = _why_no_claims(claims, name) or _why_not_now(claims, now.timestamp())
    if cause is not None:
        return RefusedCredentials(name, f"{cause} (its signature was not looked at)")
    return ReadAssertion(name, assertion)


def prove_assertion(
    session: Session, assertion: ReadAssertion, *, audiences: Sequence[str], now: datetime
) -> ProvedAssertion | RefusedCredentials:
    """The account that signed an assertion, or why it is not valid.

    An assertion is valid from its ``iat`` and ``nbf`` to its ``exp``, with five minutes more at both ends, since clocks
    differ. Only whoever has the account's key hears more than that it is not valid.

    Args:
        session: one that reads.
        assertion: from `read_assertion`.
        audiences: the audiences that it may be made out to; the first is named where it is made out to another.
        now: this moment.
    """
    name = assertion.name
    row = session.scalar(select(AccountRow).where(AccountRow.name == name))
    signed = _signed(assertion.text, None if row is None else row.key)
    if row is None:
        return RefusedCredentials(name, "no account has this name")
    if row.key is None:
        return RefusedCredentials(name, "the account has a secret, and an assertion was sent")
    if isinstance(signed, str):
        return RefusedCredentials(name, signed)
    refused = why_not(signed, name, audiences, now.timestamp())
    return ProvedAssertion(row, signed["jti"], float(signed["exp"])) if refused is None else refused


def use_assertion(session: Session, proved: ProvedAssertion, *, now: datetime) -> RefusedCredentials | None:
    """Note that an assertion was used, since each is accepted once; why it is refused if it was used before.

    Args:
        session: one that writes.
        proved: from `prove_assertion`.
        now: this moment.
    """
    session.execute(delete(AssertionRow).where(AssertionRow.expires_at < now - timedelta(seconds=_SKEW_S)))
    if session.get(AssertionRow, (proved.row.id, proved.jti)) is not None:
        cause = "the assertion was used before: it is sent again, or its `jti` is not new"
        return RefusedCredentials(proved.row.name, cause)
    expires_at = datetime.fromtimestamp(int(proved.end) + 1, UTC)
    session.add(AssertionRow(account_id=proved.row.id, jti=proved.jti, expires_at=expires_at))
    return None


def _part_of(assertion: str, place: int) -> dict[str, Any]:
    """The header (0) or the claims (1) of an assertion, not verified; empty if they cannot be read."""
    try:
        part = assertion.split(".")[place]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _signed(assertion: str, key: str | None) -> Mapping[str, Any] | str:
    """What an assertion says, if this key has signed it, or why that cannot be said.

    It is read with one key of each kind, the account's and such as nobody has. So the time of an answer reveals neither
    whether there is an account nor which kind of key it has.
    """
    own = None if key is None else load_key(key)
    found: Mapping[str, Any] | str = "there is no key"
    for text in _NOBODYS_KEYS:
        nobodys = load_key(text)
        is_own = own is not None and own.key_type == nobodys.key_type
        read = _read_signed(assertion, own if own is not None and is_own else nobodys)
        found = read if is_own else found
    return found


def _read_signed(assertion: str, key: OKPKey | ECKey) -> Mapping[str, Any] | str:
    try:
        return jwt.decode(assertion, key, algorithms=_ALGORITHMS).claims
    except BadSignatureError:
        return "the assertion is signed with another key than the account's"
    except _ASSERTION_ERRORS as error:
        return f"the assertion cannot be read ({type(error).__name__})"


def why_not(signed: Mapping[str, Any], name: str, audiences: Sequence[str], now: float) -> RefusedCredentials | None:
    """Why a signed assertion is not valid; None if it is, as far as its claims say."""
    meant = signed.get("aud")
    meant = [each for each in (meant if isinstance(meant, list) else [meant]) if isinstance(each, str)]
    if not set(audiences) & set(meant):
        made_out = displayable(" ".join(meant))[:_SHOWN_CHARS_MAX] or "nobody"
        return RefusedCredentials(
            name,
            f"wrong audience: the assertion is made out to {made_out}, expected is {audiences[0]}",
            answer=f"the assertion is made out to another address, expected is {audiences[0]}",
        )
    cause = _why_no_claims(signed, name) or _why_not_now(signed, now)
    return None if cause is None else RefusedCredentials(name, cause)


def _why_no_claims(signed: Mapping[str, Any], name: str) -> str | None:
    """Why an assertion's claims do not name the account and the assertion; None if they do."""
    if signed.get("iss") != name:
        return "the assertion's `iss` is not its `sub`"
    jti = signed.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        return "the assertion's `jti` is missing, or is not a text of 1 to 200 characters"
    return None


def _why_not_now(signed: Mapping[str, Any], now: float) -> str | None:
    """Why an assertion is not valid at this moment; None if it is."""
    moments = {claim: signed[claim] for claim in ("exp", "iat", "nbf") if signed.get(claim) is not None}
    for claim, moment in moments.items():
        # In Python, bool is a kind of int.
        if not isinstance(moment, int | float) or isinstance(moment, bool) or not abs(moment) < _MOMENT_MAX:
            return f"the assertion's `{claim}` is not a moment"
    if "exp" not in moments:
        return "the assertion has no `exp`"
    if moments["exp"] <= now - _SKEW_S:
        return (
            f"the assertion expired {_long(now - moments['exp'])} ago: its maker's clock is behind, or this one ahead"
        )
    ahead = max(moments.get("iat", now), moments.get("nbf", now)) - now
    if ahead > _SKEW_S:
        return f"the assertion is valid from {_long(ahead)} on only: its maker's clock is ahead, or this one behind"
    if moments["exp"] > now + _ASSERTION_S + _SKEW_S:
        return (
            f"the assertion expires in {_long(moments['exp'] - now)}, and at most {_ASSERTION_S // 60} minutes are "
            "allowed: it is made out for too long, or its maker's clock is ahead"
        )
    if moments["exp"] <= max(moments.get("iat", -_MOMENT_MAX), moments.get("nbf", -_MOMENT_MAX)):
        return "the assertion ends before it begins: its `exp` is not after its `iat` and `nbf`"
    return None


def _long(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
