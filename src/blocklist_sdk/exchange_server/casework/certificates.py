"""Client certificates that accounts are bound to (RFC 8705)."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from blocklist_sdk.errors import InvalidInput

CERTIFICATES_MAX: Final = 10
"""Certificates of one account: several only while they are renewed, or for several machines."""


def fingerprint(der: bytes) -> str:
    """The SHA-256 of a certificate in DER: what ``openssl x509 -fingerprint -sha256`` prints, in lower case."""
    return hashlib.sha256(der).hexdigest()


def fingerprint_of(pem: str) -> str:
    """The fingerprint of the first certificate in a text.

    Raises:
        InvalidInput: the text has no certificate.
    """
    try:
        return fingerprint(x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER))
    except ValueError as error:
        raise InvalidInput("the client certificate cannot be read: give a file in PEM format") from error


def stored(fingerprints: Sequence[str]) -> str | None:
    """An account's fingerprints as they are stored: sorted, separated by spaces; None for none.

    Raises:
        InvalidInput: there are too many.
    """
    found = sorted(set(fingerprints))
    if len(found) > CERTIFICATES_MAX:
        raise InvalidInput(f"an account may have at most {CERTIFICATES_MAX} client certificates, not {len(found)}")
    return " ".join(found) or None


def confirmation(shown: str) -> str:
    """A fingerprint as access tokens carry it (``x5t#S256``)."""
    return base64.urlsafe_b64encode(bytes.fromhex(shown)).decode().rstrip("=")


def why_not_shown(bound: str | None, shown: str | None, *, unbound_accounts: bool) -> str | None:
    """Why an account may not be used with the certificate that the client shows; None if it may.

    Args:
        bound: the account's fingerprints, from `stored`.
        shown: the fingerprint of the client's certificate; None if it shows none, as without mutual TLS.
        unbound_accounts: whether an account without a certificate may be used with any.
    """
    if bound is None:
        if shown is None or unbound_accounts:
            return None
        return "the account is bound to no client certificate, and only accounts that are bound to one are served"
    if shown is None:
        return "the account is bound to a client certificate, and none was shown"
    return None if shown in bound.split() else "the account is bound to another client certificate"
