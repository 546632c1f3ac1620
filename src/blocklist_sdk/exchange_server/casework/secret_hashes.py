"""Hashes of accounts' secrets, and how a secret is compared with one.

A secret is 256 random bits that the exchange made, so nobody can guess it, however fast hashes are computed: SHA-256
is enough, and a wrong secret costs microseconds. Hashes from before are Argon2's, each of which costs 64 MiB and a
tenth of a second. They are verified once, and replaced.
"""

import functools
import hashlib
import hmac
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_SECRET_BYTES: Final = 32
_DOMAIN: Final = b"blocklist-sdk account secret\0"
"""Keeps these hashes apart from all others of the same text."""

_PREFIX: Final = "sha256$"
OLD_PREFIX: Final = "$argon2"

_HASHER = PasswordHasher()
"""argon2id with the library's defaults, the second recommended set of parameters in RFC 9106."""


def new_secret() -> str:
    """A secret for an account: 256 random bits, as text."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(secret: str) -> str:
    """The hash of a secret, as it is stored."""
    return _PREFIX + hashlib.sha256(_DOMAIN + secret.encode("utf-8", "surrogatepass")).hexdigest()


_NOBODYS: Final = hash_of(new_secret())
"""Compared with where there is no hash, so that the time of an answer does not reveal that."""


def matches(stored: str | None, secret: str) -> bool:
    """Whether a stored hash is that of a secret; takes equally long if there is no hash, or an old one."""
    kept = stored if stored is not None and stored.startswith(_PREFIX) else None
    return hmac.compare_digest((kept or _NOBODYS).encode(), hash_of(secret).encode()) and kept is not None


def is_old(stored: str | None) -> bool:
    """Whether a stored hash is one of Argon2's."""
    return stored is not None and stored.startswith(OLD_PREFIX)


def matches_old(stored: str | None, secret: str) -> bool:
    """Whether an old hash is that of a secret; takes equally long if there is no hash, or a new one."""
    kept = stored if is_old(stored) else None
    try:
        return _HASHER.verify(kept or _nobodys_old(), secret) and kept is not None
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


@functools.cache
def _nobodys_old() -> str:
    return _HASHER.hash(new_secret())
