"""TLS with certificates of one's own, for servers that ask for one, or that no public authority signs."""

import ssl
from pathlib import Path

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.http import httpx


def tls_context(*, ca: str | Path | None = None, client_cert: str | Path | None = None) -> ssl.SSLContext:
    """Whom to trust and how to show oneself, for `tls` of `ExchangeClient` and `Blocklist.open`.

    Args:
        ca: file with the authorities' certificates as PEM; by default public ones.
        client_cert: file with one's own certificate, those between it and its authority, and its key as PEM, which is
            not encrypted.

    Raises:
        InvalidInput: a file cannot be used.

    >>> tls_context().verify_mode
    <VerifyMode.CERT_REQUIRED: 2>
    """
    try:
        context = httpx.create_ssl_context() if ca is None else ssl.create_default_context(cafile=str(ca))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot use the certificates in {ca or 'this environment'}: {_reason(error)}") from error
    if client_cert is not None:
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(str(client_cert), password="")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot use {client_cert}: {_reason(error)}. It must hold a certificate and its key as PEM, the key "
                "not encrypted."
            ) from error
    return context


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or "it is no PEM"
