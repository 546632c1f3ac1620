"""TLS with certificates of your own: for servers that ask for one, or are not certified by a public authority."""

import ssl
from pathlib import Path

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.certificates import certificates_in_use, reason_of, trusting


def tls_context(*, ca: str | Path | None = None, client_cert: str | Path | None = None) -> ssl.SSLContext:
    """The trusted authorities and your own certificate, for `tls` of `ExchangeClient` and `Blocklist.open`.

    Args:
        ca: file with the certificates of the trusted authorities, PEM, and no others are trusted then; by default those
            that `certificates_in_use` names.
        client_cert: file with your own certificate, those between it and its authority, and its key, PEM; the key must
            not be encrypted.

    Raises:
        InvalidInput: a file cannot be used.

    >>> tls_context().verify_mode
    <VerifyMode.CERT_REQUIRED: 2>
    """
    context = trusting(certificates_in_use(ca))
    if client_cert is not None:
        try:
            # Without a password OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(str(client_cert), password="")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot use {client_cert}: {reason_of(error)}. It must hold a certificate and its key as PEM, the key "
                "not encrypted."
            ) from error
    return context
