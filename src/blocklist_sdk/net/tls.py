"""TLS with certificates of your own: for servers that ask for one, or are not certified by a public authority."""

import ssl
from pathlib import Path

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.http import httpx


def tls_context(*, ca: str | Path | None = None, client_cert: str | Path | None = None) -> ssl.SSLContext:
    """The trusted authorities and your own certificate, for `tls` of `ExchangeClient` and `Blocklist.open`.

    Args:
        ca: file with the certificates of the trusted authorities, PEM; by default the public ones.
        client_cert: file with your own certificate, those between it and its authority, and its key, PEM; the key must
            not be encrypted.

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
            # Without a password OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(str(client_cert), password="")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot use {client_cert}: {_reason(error)}. It must hold a certificate and its key as PEM, the key "
                "not encrypted."
            ) from error
    return context


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or "it is not PEM"
