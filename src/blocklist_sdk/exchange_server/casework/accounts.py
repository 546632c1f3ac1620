"""Accounts: what they may do, their secrets or keys, and the short-lived tokens that these are exchanged for."""

import functools
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Permission
from blocklist_sdk.exchange_server.casework.cases import SYSTEM
from blocklist_sdk.exchange_server.casework.certificates import confirmation, stored
from blocklist_sdk.exchange_server.casework.public_keys import public_key_of
from blocklist_sdk.exchange_server.casework.secret_hashes import hash_of, new_secret
from blocklist_sdk.exchange_server.store.tables import AccountRow

PERMISSIONS: Final[tuple[Permission, ...]] = ("report", "receipt", "officer", "publish")
FEED: Final = "feed:"

NAME_CHARS_MAX: Final = 64
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_ALGORITHMS: Final = ["Ed25519"]
"""Names of RFC 9864."""

_TOKEN_ERRORS: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""Errors from reading a text that is not a valid token."""

_CACHED_TOKENS_MAX: Final = 1024
"""Number of tokens whose signature is not verified again."""

_SKEW_S: Final = 300
"""So far ahead of this clock may a token have been issued, seconds: by another process, or before the clock was set."""


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


def caller_of(row: AccountRow) -> Caller:
    """An account as a caller that may do all that it has the scopes for."""
    return Caller(row.id, row.name, frozenset(row.scopes.split()))


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


def check_account_name(name: str) -> None:
    """Check that an account can have this name.

    Raises:
        InvalidInput: it cannot, and why.
    """
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise InvalidInput(f"{name!r} is not an account name: use lower-case words and digits joined by . _ or -")
    if name == SYSTEM:
        raise InvalidInput(f"{name!r} is how histories name the exchange itself: choose another name")


def add_account(
    session: Session,
    name: str,
    oauth_scopes: str,
    *,
    key: str | None,
    now: datetime,
    certificates: Sequence[str] = (),
) -> str | None:
    """Add an account that authenticates with its private key, or with a secret that is made here.

    Args:
        session: one that writes.
        name: what it authenticates as.
        oauth_scopes: from `check_oauth_scopes`.
        key: its public key, PEM or JWK; None to make a secret.
        now: this moment.
        certificates: fingerprints of the client certificates that it is bound to.

    Returns:
        The secret, which is not stored and cannot be shown again; None if the account has a key.

    Raises:
        InvalidInput: the name or the key cannot be used, or the name is taken.
    """
    check_account_name(name)
    secret = None if key is not None else new_secret()
    row = AccountRow(
        name=name,
        scopes=oauth_scopes,
        key=None if key is None else public_key_of(key),
        secret_hash=None if secret is None else hash_of(secret),
        certificates=stored(certificates),
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


def bind_certificates(session: Session, name: str, certificates: Sequence[str]) -> None:
    """Bind an account to client certificates, in place of those that it was bound to.

    Args:
        session: one that writes.
        name: the account's name.
        certificates: their fingerprints; none to bind it to none.

    Raises:
        InvalidInput: the account does not exist, or these are too many.
    """
    find_account(session, name).certificates = stored(certificates)


def _new_secret(row: AccountRow, now: datetime) -> str:
    secret = new_secret()
    row.secret_hash, row.key = hash_of(secret), None
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


def lock_account(session: Session, account_id: int) -> None:
    """Let no other transaction count what an account does, until the end of this one; its requests go on."""
    session.execute(select(AccountRow.id).where(AccountRow.id == account_id).with_for_update(key_share=True))


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


# Proofs


def is_account_name(text: str) -> bool:
    """Whether an account can have this name. Other texts are not logged: somebody may have mistaken the fields."""
    return len(text) <= NAME_CHARS_MAX and _NAME.fullmatch(text) is not None


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


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an access token.

    Attributes:
        name: the account's name.
        oauth_scopes: what the token allows.
        renewal_time: when the account's secret had last been renewed, Unix time; 0 if it never was.
        confirmation: the client certificate that has to be shown with it (``x5t#S256``); None if none has to.
    """

    name: str
    oauth_scopes: frozenset[str]
    renewal_time: int
    confirmation: str | None = None


def renewal_time(row: AccountRow) -> int:
    """When an account's secret was last renewed, Unix time; 0 if it never was."""
    return 0 if row.renewed_at is None else int(row.renewed_at.timestamp())


class Tokens:
    """Makes and reads access tokens: JWTs signed with this exchange's key, for this exchange."""

    def __init__(self, file: Path, *, lifetime_s: int, issuer: str, audience: str | None = None) -> None:
        """Read the key.

        Args:
            file: the key's file, PEM.
            lifetime_s: how long a token is valid, seconds.
            issuer: the identity of the exchange's database: tokens of a copied folder with another one are refused.
            audience: the exchange's address; tokens for another are refused. None if it has none.

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
        self._issuer = issuer
        self._audience = audience or issuer
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

    def issue(
        self,
        name: str,
        oauth_scopes: Collection[str],
        now: float,
        *,
        renewal_time: int = 0,
        certificate: str | None = None,
    ) -> str:
        """A token for an account; it becomes invalid when the account's secret is renewed.

        Args:
            name: the account's name.
            oauth_scopes: what the token allows.
            now: this moment, Unix time.
            renewal_time: when the account's secret was last renewed, Unix time; 0 if it never was.
            certificate: the fingerprint of the client certificate that has to be shown with it; None if none has to.
        """
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": name,
            "scope": " ".join(sorted(oauth_scopes)),
            "renewed": renewal_time,
        }
        claims |= {"iat": int(now), "exp": int(now) + self.lifetime_s}
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": confirmation(certificate)}  # RFC 8705, 3.1
        return jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=_ALGORITHMS)

    def read(self, token: str, now: float) -> Claims | None:
        """The content of a token; None if it is not valid, has expired, or is of a moment to come.

        Its account has to be checked as well, and the client certificate that it may need.
        """
        try:
            claims = self._claims(token)
            if (claims["iss"], claims["aud"]) != (self._issuer, self._audience):
                return None
            if float(claims["exp"]) <= now or float(claims["iat"]) > now + _SKEW_S:
                return None
            bound = str(claims["cnf"]["x5t#S256"]) if "cnf" in claims else None
            return Claims(str(claims["sub"]), frozenset(str(claims["scope"]).split()), int(claims["renewed"]), bound)
        except _TOKEN_ERRORS:
            return None
