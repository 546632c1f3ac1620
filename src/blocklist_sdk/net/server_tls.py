"""The certificates of a server, and of the authority that must have signed those of its clients."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from blocklist_sdk.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate files of a server.

    Attributes:
        certificate: the server's certificate with its chain, PEM.
        key: its private key, PEM.
        client_ca: the authority that must have signed the certificates of clients (mutual TLS); None if clients need no
            certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def server_context(files: TlsFiles, *, asks_later: bool = False) -> ssl.SSLContext:
    """The TLS context of a server: TLS 1.2 or later.

    Args:
        files: its certificate files.
        asks_later: let clients without a certificate connect, too; whoever answers them looks for one. A certificate of
            another authority is refused in any case.

    Raises:
        InvalidInput: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"cannot use {files.certificate} with the key {files.key}: {_reason(error)}. Both must be PEM, the key not "
            "encrypted, and belong together."
        ) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot use {files.client_ca}: {_reason(error)}. It must hold certificates as PEM."
            ) from error
        context.verify_mode = ssl.CERT_OPTIONAL if asks_later else ssl.CERT_REQUIRED
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it is not what TLS needs"
    return getattr(error, "strerror", None) or str(error)
