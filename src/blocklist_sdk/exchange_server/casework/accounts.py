"""Who may do what: accounts, their secrets or keys, and the short-lived tokens they are exchanged for."""

import functools
import json
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Permission
from blocklist_sdk.exchange_server.casework.cases import SYSTEM
from blocklist_sdk.exchange_server.store.tables import AccountRow, AssertionRow

PERMISSIONS: Final[tuple[Permission, ...]] = ("report", "receipt", "officer", "publish")
FEED: Final = "feed:"

NAME_CHARS_MAX: Final = 64
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_ALGORITHMS: Final = ["Ed25519", "ES256"]
"""By the names of RFC 9864 and RFC 7518."""

_NO_TOKEN: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What reading a token raises that is none, or one that does not hold."""

_TOKENS: Final = 1024
"""How many tokens are remembered as signed."""

_JTI: Final = re.compile(r"[^\x00\ud800-\udfff]{1,200}")

_ASSERTION_S: Final = 300
"""How far ahead the end of a signed assertion may lie, seconds: it proves who asks now (RFC 7523, 3)."""

_SKEW_S: Final = 30
"""How far apart two clocks may be, seconds."""

_HASHER = PasswordHasher()
"""argon2id with the library's defaults, the second recommended set of RFC 9106."""

_NOBODY: Final = _HASHER.hash(secrets.token_hex())
"""What is verified where there is no such account, so that the time it takes tells nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    Attributes:
        id: of the account.
        name: of the account.
        scopes: what this token allows; never more than the account has now.
    """

    id: int
    name: str
    scopes: frozenset[str]

    def may(self, *permissions: str) -> bool:
        """Whether one of these is allowed."""
        return not self.scopes.isdisjoint(permissions)

    def reads(self, feed: str) -> bool:
        """Whether the files of a feed are open to it."""
        return self.may(FEED + feed)

    @property
    def feeds(self) -> frozenset[str]:
        """The feeds it reads and answers for."""
        return frozenset(scope.removeprefix(FEED) for scope in self.scopes if scope.startswith(FEED))


def check_scopes(scopes: Collection[str], *, feeds: Collection[str]) -> str:
    """What an account may do, as it is stored.

    Raises:
        InvalidInput: one is unknown, or there is none.
    """
    for scope in scopes:
        if scope not in PERMISSIONS and not (scope.startswith(FEED) and scope.removeprefix(FEED) in feeds):
            known = ", ".join((*PERMISSIONS, *(FEED + feed for feed in feeds)))
            raise InvalidInput(f"{scope!r} is no scope: the scopes are {known}")
    if not scopes:
        raise InvalidInput("give the account at least one scope")
    return " ".join(sorted(set(scopes)))


def add_account(session: Session, name: str, scopes: str, *, key: str | None, at: datetime) -> str | None:
    """Add an account that authenticates with its private key, or with a secret that is made here.

    Args:
        session: of the database.
        name: which it authenticates as.
        scopes: from `check_scopes`.
        key: its public key, PEM or JWK; None for a secret.
        at: now.

    Returns:
        The secret, which is not kept and cannot be shown again.

    Raises:
        InvalidInput: the name or the key is no good, or the name is taken.
    """
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise InvalidInput(f"{name!r} is no account name: use lower-case words and digits joined by . _ or -")
    if name == SYSTEM:
        raise InvalidInput(f"{name!r} is what histories call the exchange itself: choose another name")
    secret = None if key is not None else secrets.token_urlsafe(32)
    row = AccountRow(
        name=name,
        scopes=scopes,
        key=None if key is None else _public_key(key),
        secret_hash=None if secret is None else _HASHER.hash(secret),
        created_at=at,
    )
    try:
        session.add(row)
        session.flush()
    except IntegrityError as error:
        raise InvalidInput(f"there is an account {name!r} already") from error
    return secret


def renew_secret(session: Session, name: str, at: datetime) -> str:
    """Give an account a new secret in place of its old one, or of its key; its tokens are worth nothing from now on.

    Raises:
        InvalidInput: there is no such account.
    """
    row = find_account(session, name)
    secret = secrets.token_urlsafe(32)
    row.secret_hash, row.key = _HASHER.hash(secret), None
    # Never the same moment twice: tokens are told apart by it.
    row.renewed_at = at if row.renewed_at is None else max(at, row.renewed_at + timedelta(seconds=1))
    return secret


def disable_account(session: Session, name: str, at: datetime) -> None:
    """Close an account: its tokens are worth nothing from now on.

    Raises:
        InvalidInput: there is no such account.
    """
    row = find_account(session, name)
    row.disabled_at = row.disabled_at or at


def find_account(session: Session, name: str) -> AccountRow:
    """An account by its name.

    Raises:
        InvalidInput: there is none.
    """
    row = session.scalar(select(AccountRow).where(AccountRow.name == name))
    if row is None:
        raise InvalidInput(f"there is no account {name!r}")
    return row


def recipients_of(session: Session) -> dict[str, list[AccountRow]]:
    """The accounts that answer for each feed."""
    found: dict[str, list[AccountRow]] = {}
    for row in session.scalars(select(AccountRow).where(AccountRow.disabled_at.is_(None)).order_by(AccountRow.id)):
        scopes = row.scopes.split()
        if "receipt" in scopes:
            for scope in scopes:
                if scope.startswith(FEED):
                    found.setdefault(scope.removeprefix(FEED), []).append(row)
    return found


def recipient_ids(session: Session) -> dict[str, frozenset[int]]:
    """The accounts that answer for each feed, by their ids."""
    return {feed: frozenset(row.id for row in rows) for feed, rows in recipients_of(session).items()}


# Proofs of who one is


def verify_secret(row: AccountRow | None, secret: str) -> bool:
    """Whether that is the account's secret; takes as long where there is no such account."""
    kept = row.secret_hash if row is not None else None
    try:
        return _HASHER.verify(kept or _NOBODY, secret) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def subject_of(assertion: str) -> str:
    """Whose an assertion says it is, which is yet to be proved; empty where it says nothing."""
    name = _unverified(assertion).get("sub")
    return name if isinstance(name, str) else ""


def verify_assertion(session: Session, assertion: str, *, audiences: Iterable[str], now: datetime) -> AccountRow | None:
    """The account that signed an assertion (RFC 7523, ``private_key_jwt``); None where it does not hold, or no more.

    Args:
        session: one that writes, since no assertion is taken twice.
        assertion: a JWT.
        audiences: whom it may be meant for.
        now: this moment.
    """
    name = subject_of(assertion)
    if not _NAME.fullmatch(name):
        return None
    row = session.scalar(select(AccountRow).where(AccountRow.name == name))
    if row is None or row.key is None:
        return None
    try:
        signed = jwt.decode(assertion, _load_key(row.key), algorithms=_ALGORITHMS).claims
    except _NO_TOKEN:
        return None
    at, jti, end = now.timestamp(), signed.get("jti"), signed.get("exp")
    meant = signed.get("aud")
    meant = meant if isinstance(meant, list) else [meant]
    if not isinstance(end, int | float) or isinstance(end, bool):
        return None
    if (
        signed.get("iss") != name
        or not set(audiences) & {each for each in meant if isinstance(each, str)}
        or not at - _SKEW_S < end <= at + _ASSERTION_S + _SKEW_S
        or not isinstance(jti, str)
        or not _JTI.fullmatch(jti)
    ):
        return None
    session.execute(delete(AssertionRow).where(AssertionRow.expires_at < now - timedelta(seconds=_SKEW_S)))
    if session.get(AssertionRow, (row.id, jti)) is not None:
        return None
    session.add(AssertionRow(account_id=row.id, jti=jti, expires_at=datetime.fromtimestamp(int(end) + 1, UTC)))
    return row


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        name: of the account.
        scopes: what it allows.
        renewed: when the account's secret had last been renewed, Unix time; 0 for never.
    """

    name: str
    scopes: frozenset[str]
    renewed: int


def renewed(row: AccountRow) -> int:
    """When an account's secret was last renewed, Unix time; 0 for never."""
    return 0 if row.renewed_at is None else int(row.renewed_at.timestamp())


class Tokens:
    """Makes and reads access tokens: JWTs that only this exchange's key can have signed."""

    def __init__(self, file: Path, *, lifetime_s: int) -> None:
        """Read the key.

        Args:
            file: holds it.
            lifetime_s: of a token, seconds.

        Raises:
            InvalidInput: it holds none.
            StorageFailed: it cannot be read.
        """
        with storage(file):
            data = file.read_bytes()
        try:
            self._key = OKPKey.import_key(data)
        except (JoseError, ValueError) as error:
            raise InvalidInput(f"{file} holds no key for tokens: bring it back from your backup") from error
        self.lifetime_s = lifetime_s
        # Only what holds is remembered, and only that it was signed here: whether it still holds is asked each time.
        self._claims = functools.lru_cache(maxsize=_TOKENS)(self._verified)

    def _verified(self, token: str) -> dict[str, Any]:
        return dict(jwt.decode(token, self._key, algorithms=_ALGORITHMS).claims)

    @staticmethod
    def new_key() -> bytes:
        """A new key, as its file has it."""
        return OKPKey.generate_key("Ed25519").as_pem(private=True)

    def issue(self, name: str, scopes: Collection[str], now: float, *, renewed: int = 0) -> str:
        """A token for an account, which holds until its secret is renewed again.

        Args:
            name: of the account.
            scopes: what the token allows.
            now: this moment, Unix time.
            renewed: when the account's secret was last renewed, Unix time; 0 for never.
        """
        claims: dict[str, Any] = {"sub": name, "scope": " ".join(sorted(scopes)), "renewed": renewed}
        claims |= {"iat": int(now), "exp": int(now) + self.lifetime_s}
        return jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=_ALGORITHMS)

    def read(self, token: str, now: float) -> Claims | None:
        """What a token says; None where it does not hold, or no more. Whether its account does is asked elsewhere."""
        try:
            claims = self._claims(token)
            if float(claims["exp"]) <= now:
                return None
            return Claims(str(claims["sub"]), frozenset(str(claims["scope"]).split()), int(claims["renewed"]))
        except _NO_TOKEN:
            return None


def _unverified(assertion: str) -> dict[str, Any]:
    """What an assertion says of itself: only to learn whose key it has to be verified with."""
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
        raise InvalidInput("the key is no public Ed25519 or P-256 key: give it as PEM or as a JWK") from error


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
