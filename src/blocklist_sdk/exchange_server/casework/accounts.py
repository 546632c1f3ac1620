"""Accounts: what they may do, their secrets or keys, and the short-lived tokens that these are exchanged for."""

import functools
import hmac
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Permission
from blocklist_sdk.exchange_server.casework.cases import SYSTEM
from blocklist_sdk.exchange_server.store.tables import AccountRow, AssertionRow
from blocklist_sdk.texts import displayable

PERMISSIONS: Final[tuple[Permission, ...]] = ("report", "receipt", "officer", "publish")
FEED: Final = "feed:"

NAME_CHARS_MAX: Final = 64
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_ALGORITHMS: Final = ["Ed25519", "ES256"]
"""Names of RFC 9864 and RFC 7518."""

_TOKEN_ERRORS: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""Errors from reading a text that is not a valid token."""

_CACHED_TOKENS_MAX: Final = 1024
"""Number of tokens whose signature is not verified again."""

_JTI: Final = re.compile(r"[^\x00\ud800-\udfff]{1,200}")

_ASSERTION_S: Final = 300
"""How far ahead a signed assertion may expire, seconds: it proves who asks now (RFC 7523, 3)."""

_SKEW_S: Final = 300
"""Clocks may differ by so much, either way, seconds: as everywhere in this project. Each assertion is accepted once."""

_MOMENT_MAX: Final = 1e11
"""No moment of an assertion is later, Unix time."""

_SHOWN_CHARS_MAX: Final = 200

_HASHER = PasswordHasher()
"""argon2id with the library's defaults, the second recommended set of parameters in RFC 9106."""

_DUMMY_HASH: Final = _HASHER.hash(secrets.token_hex())
"""Verified if the account does not exist, so that the time of an answer does not reveal that."""

_NOBODYS_KEYS: Final = tuple(
    json.dumps(key.as_dict(private=False)) for key in (OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256"))
)
"""Public keys whose private parts are lost, one of each kind; texts, as those of accounts."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that sent a request.

    Attributes:
        id: its ID.
        name: its name.
        oauth_scopes: what its token allows; never more than the account has now.
    """

    id: int
    name: str
    oauth_scopes: frozenset[str]

    def may(self, *permissions: str) -> bool:
        """Whether the caller has at least one of these permissions."""
        return not self.oauth_scopes.isdisjoint(permissions)

    def reads(self, feed: str) -> bool:
        """Whether the caller may read a feed's files."""
        return self.may(FEED + feed)

    @property
    def feeds(self) -> frozenset[str]:
        """The feeds that the caller reads, and sends receipts for."""
        return frozenset(each.removeprefix(FEED) for each in self.oauth_scopes if each.startswith(FEED))


def check_oauth_scopes(oauth_scopes: Collection[str], *, feeds: Collection[str]) -> str:
    """An account's OAuth scopes as they are stored: sorted, separated by spaces.

    Raises:
        InvalidInput: one is unknown, or the collection is empty.
    """
    for each in oauth_scopes:
        if each not in PERMISSIONS and not (each.startswith(FEED) and each.removeprefix(FEED) in feeds):
            known = ", ".join((*PERMISSIONS, *(FEED + feed for feed in feeds)))
            raise InvalidInput(f"{each!r} is not a scope: the scopes are {known}")
    if not oauth_scopes:
        raise InvalidInput("give the account at least one scope")
    return " ".join(sorted(set(oauth_scopes)))


def add_account(session: Session, name: str, oauth_scopes: str, *, key: str | None, now: datetime) -> str | None:
    """Add an account that authenticates with its private key, or with a secret that is made here.

    Args:
        session: one that writes.
        name: what it authenticates as.
        oauth_scopes: from `check_oauth_scopes`.
        key: its public key, PEM or JWK; None to make a secret.
        now: this moment.

    Returns:
        The secret, which is not stored and cannot be shown again; None if the account has a key.

    Raises:
        InvalidInput: the name or the key cannot be used, or the name is taken.
    """
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise InvalidInput(f"{name!r} is not an account name: use lower-case words and digits joined by . _ or -")
    if name == SYSTEM:
        raise InvalidInput(f"{name!r} is how histories name the exchange itself: choose another name")
    secret = None if key is not None else secrets.token_urlsafe(32)
    row = AccountRow(
        name=name,
        scopes=oauth_scopes,
        key=None if key is None else _public_key(key),
        secret_hash=None if secret is None else _HASHER.hash(secret),
        created_at=now,
    )
    try:
        session.add(row)
        session.flush()
    except IntegrityError as error:
        raise InvalidInput(f"the account {name!r} exists already: choose another name") from error
    return secret


def renew_secret(session: Session, name: str, now: datetime) -> str:
    """Give an account a new secret in place of its old one or its key; its tokens stop working.

    Raises:
        InvalidInput: the account does not exist, or is closed.
    """
    row = find_account(session, name)
    if row.disabled_at is not None:
        raise InvalidInput(
            f"the account {name!r} is closed, so a new secret would be worth nothing: reopen it, which gives it one"
        )
    return _new_secret(row, now)


def reopen_account(session: Session, name: str, now: datetime) -> str | None:
    """Open a closed account again. What proved it before may be known to others: it gets a new secret.

    An account with a key keeps it, since its private part is nobody else's. Tokens from before stay worthless.

    Returns:
        The secret, as for `add_account`; None if the account has a key.

    Raises:
        InvalidInput: the account does not exist, or is not closed.
    """
    row = find_account(session, name)
    if row.disabled_at is None:
        raise InvalidInput(f"the account {name!r} is open already")
    row.disabled_at = None
    if row.key is None:
        return _new_secret(row, now)
    _end_tokens(row, now)
    return None


def change_oauth_scopes(session: Session, name: str, oauth_scopes: str) -> None:
    """Give an account other scopes; tokens that it has lose what it may no longer do.

    Args:
        session: one that writes.
        name: the account's name.
        oauth_scopes: all of them, from `check_oauth_scopes`.

    Raises:
        InvalidInput: the account does not exist.
    """
    find_account(session, name).scopes = oauth_scopes


def _new_secret(row: AccountRow, now: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    row.secret_hash, row.key = _HASHER.hash(secret), None
    _end_tokens(row, now)
    return secret


def _end_tokens(row: AccountRow, now: datetime) -> None:
    """Make the tokens that an account has worthless."""
    # Never the same moment twice: it distinguishes old tokens from new ones.
    row.renewed_at = now if row.renewed_at is None else max(now, row.renewed_at + timedelta(seconds=1))


def disable_account(session: Session, name: str, now: datetime) -> None:
    """Close an account; its tokens stop working.

    Raises:
        InvalidInput: the account does not exist.
    """
    row = find_account(session, name)
    row.disabled_at = row.disabled_at or now


def find_account(session: Session, name: str) -> AccountRow:
    """An account by its name.

    Raises:
        InvalidInput: the account does not exist.
    """
    row = session.scalar(select(AccountRow).where(AccountRow.name == name))
    if row is None:
        raise InvalidInput(f"the account {name!r} does not exist")
    return row


def recipients_of(session: Session) -> dict[str, list[AccountRow]]:
    """The open accounts that send receipts for each feed."""
    found: dict[str, list[AccountRow]] = {}
    for row in session.scalars(select(AccountRow).where(AccountRow.disabled_at.is_(None)).order_by(AccountRow.id)):
        scopes = row.scopes.split()
        if "receipt" in scopes:
            for scope in scopes:
                if scope.startswith(FEED):
                    found.setdefault(scope.removeprefix(FEED), []).append(row)
    return found


def recipient_ids(session: Session) -> dict[str, frozenset[int]]:
    """The IDs of the open accounts that send receipts for each feed."""
    return {feed: frozenset(row.id for row in rows) for feed, rows in recipients_of(session).items()}


# Secrets and signed assertions


def verify_secret(row: AccountRow | None, secret: str) -> bool:
    """Whether this is the account's secret; takes equally long if there is no account."""
    kept = row.secret_hash if row is not None else None
    try:
        return _HASHER.verify(kept or _DUMMY_HASH, secret) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_account_name(text: str) -> bool:
    """Whether an account can have this name. Other texts are not logged: somebody may have mistaken the fields."""
    return len(text) <= NAME_CHARS_MAX and _NAME.fullmatch(text) is not None


def subject_of(assertion: str) -> str:
    """The account name in an assertion, not verified; empty if it has none."""
    name = _unverified(assertion).get("sub")
    return name if isinstance(name, str) else ""


@dataclass(frozen=True, slots=True)
class RefusedCredentials:
    """Why credentials are refused.

    Attributes:
        account: the name of the account that they are for, not verified; None if it is none that an account can have.
        cause: why, for the log of the exchange.
        answer: what the caller hears of it, beyond that they are not valid; None for nothing.
    """

    account: str | None
    cause: str
    answer: str | None = None


def verify_assertion(
    session: Session, assertion: str, *, audiences: Sequence[str], now: datetime
) -> AccountRow | RefusedCredentials:
    """The account that signed an assertion (RFC 7523, ``private_key_jwt``), or why it is not valid.

    An assertion is valid from its ``iat`` and ``nbf`` to its ``exp``, with five minutes more at both ends, since clocks
    differ. Only whoever has the account's key hears more than that it is not valid.

    Args:
        session: one that writes, since each assertion is accepted once.
        assertion: a JWT.
        audiences: the audiences that it may be made out to; the first is named where it is made out to another.
        now: this moment.
    """
    name = subject_of(assertion)
    if not is_account_name(name):
        return RefusedCredentials(None, "the assertion names no account: its `sub` is not an account's name")
    row = session.scalar(select(AccountRow).where(AccountRow.name == name))
    signed = _signed(assertion, None if row is None else row.key)
    if row is None:
        return RefusedCredentials(name, "no account has this name")
    if row.key is None:
        return RefusedCredentials(name, "the account has a secret, and an assertion was sent")
    if isinstance(signed, str):
        return RefusedCredentials(name, signed)
    refused = why_not(signed, name, audiences, now.timestamp())
    if refused is not None:
        return refused
    jti, end = signed["jti"], signed["exp"]
    session.execute(delete(AssertionRow).where(AssertionRow.expires_at < now - timedelta(seconds=_SKEW_S)))
    if session.get(AssertionRow, (row.id, jti)) is not None:
        return RefusedCredentials(name, "the assertion was used before: it is sent again, or its `jti` is not new")
    session.add(AssertionRow(account_id=row.id, jti=jti, expires_at=datetime.fromtimestamp(int(end) + 1, UTC)))
    return row


def _signed(assertion: str, key: str | None) -> Mapping[str, Any] | str:
    """What an assertion says, if this key has signed it, or why that cannot be said.

    It is read with one key of each kind, the account's and such as nobody has. So the time of an answer reveals neither
    whether there is an account nor which kind of key it has.
    """
    own = None if key is None else _load_key(key)
    found: Mapping[str, Any] | str = "there is no key"
    for text in _NOBODYS_KEYS:
        nobodys = _load_key(text)
        is_own = own is not None and own.key_type == nobodys.key_type
        read = _read_signed(assertion, own if own is not None and is_own else nobodys)
        found = read if is_own else found
    return found


def _read_signed(assertion: str, key: OKPKey | ECKey) -> Mapping[str, Any] | str:
    try:
        return jwt.decode(assertion, key, algorithms=_ALGORITHMS).claims
    except BadSignatureError:
        return "the assertion is signed with another key than the account's"
    except _TOKEN_ERRORS as error:
        return f"the assertion cannot be read ({type(error).__name__})"


def why_not(signed: Mapping[str, Any], name: str, audiences: Sequence[str], now: float) -> RefusedCredentials | None:
    """Why a signed assertion is not valid; None if it is, as far as its claims say."""
    meant = signed.get("aud")
    meant = [each for each in (meant if isinstance(meant, list) else [meant]) if isinstance(each, str)]
    if signed.get("iss") != name:
        return RefusedCredentials(name, "the assertion's `iss` is not its `sub`")
    if not set(audiences) & set(meant):
        made_out = displayable(" ".join(meant))[:_SHOWN_CHARS_MAX] or "nobody"
        return RefusedCredentials(
            name,
            f"wrong audience: the assertion is made out to {made_out}, expected is {audiences[0]}",
            answer=f"the assertion is made out to another address, expected is {audiences[0]}",
        )
    jti = signed.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        return RefusedCredentials(name, "the assertion's `jti` is missing, or is not a text of 1 to 200 characters")
    cause = _why_not_now(signed, now)
    return None if cause is None else RefusedCredentials(name, cause)


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
    return None


def _long(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an access token.

    Attributes:
        name: the account's name.
        oauth_scopes: what the token allows.
        renewal_time: when the account's secret had last been renewed, Unix time; 0 if it never was.
    """

    name: str
    oauth_scopes: frozenset[str]
    renewal_time: int


def renewal_time(row: AccountRow) -> int:
    """When an account's secret was last renewed, Unix time; 0 if it never was."""
    return 0 if row.renewed_at is None else int(row.renewed_at.timestamp())


class Tokens:
    """Makes and reads access tokens: JWTs signed with this exchange's key."""

    def __init__(self, file: Path, *, lifetime_s: int) -> None:
        """Read the key.

        Args:
            file: the key's file, PEM.
            lifetime_s: how long a token is valid, seconds.

        Raises:
            InvalidInput: the file does not hold a key.
            StorageFailed: the file cannot be read.
        """
        with storage(file):
            data = file.read_bytes()
        try:
            self._key = OKPKey.import_key(data)
        except (JoseError, ValueError) as error:
            raise InvalidInput(f"{file} does not hold a key for tokens: restore it from your backup") from error
        self.lifetime_s = lifetime_s
        # Caches valid signatures only; expiry is checked each time.
        self._claims = functools.lru_cache(maxsize=_CACHED_TOKENS_MAX)(self._verified)

    def _verified(self, token: str) -> dict[str, Any]:
        return dict(jwt.decode(token, self._key, algorithms=_ALGORITHMS).claims)

    @staticmethod
    def new_key() -> bytes:
        """A new key in the form of its file."""
        return OKPKey.generate_key("Ed25519").as_pem(private=True)

    def derived_key(self, purpose: str) -> bytes:
        """A secret key of 32 bytes for another purpose, the same in every process that serves the exchange."""
        return hmac.digest(self._key.as_pem(private=True), purpose.encode(), "sha256")

    def issue(self, name: str, oauth_scopes: Collection[str], now: float, *, renewal_time: int = 0) -> str:
        """A token for an account; it becomes invalid when the account's secret is renewed.

        Args:
            name: the account's name.
            oauth_scopes: what the token allows.
            now: this moment, Unix time.
            renewal_time: when the account's secret was last renewed, Unix time; 0 if it never was.
        """
        claims: dict[str, Any] = {"sub": name, "scope": " ".join(sorted(oauth_scopes)), "renewed": renewal_time}
        claims |= {"iat": int(now), "exp": int(now) + self.lifetime_s}
        return jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=_ALGORITHMS)

    def read(self, token: str, now: float) -> Claims | None:
        """The content of a token; None if it is not valid or has expired. Its account has to be checked as well."""
        try:
            claims = self._claims(token)
            if float(claims["exp"]) <= now:
                return None
            return Claims(str(claims["sub"]), frozenset(str(claims["scope"]).split()), int(claims["renewed"]))
        except _TOKEN_ERRORS:
            return None


def _unverified(assertion: str) -> dict[str, Any]:
    """An assertion's claims, not verified: only to learn whose key verifies it."""
    import base64
    import binascii

    try:
        part = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _public_key(text: str) -> str:
    try:
        return json.dumps(_load_key(text).as_dict(private=False))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput("the key is not an Ed25519 or P-256 public key: give one as PEM or as a JWK") from error


def _load_key(text: str) -> OKPKey | ECKey:
    """A key from PEM or a JWK."""
    given: Any = json.loads(text) if text.lstrip().startswith("{") else text
    kinds: tuple[type[OKPKey], type[ECKey]] = OKPKey, ECKey
    if isinstance(given, dict):
        return kinds[given.get("kty") == "EC"].import_key(given)
    try:
        return OKPKey.import_key(given)
    except (JoseError, ValueError, TypeError):
        return ECKey.import_key(given)
