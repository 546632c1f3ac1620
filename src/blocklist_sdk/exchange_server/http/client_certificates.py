"""The certificate that a client shows, passed on from the server's connection to requests."""

import asyncio
from typing import Any, Final

from fastapi import Request

from blocklist_sdk.exchange_server.casework.certificates import fingerprint

_EXTENSION: Final = "blocklist_sdk.client_certificate"


def certificate_extension(transport: asyncio.BaseTransport) -> dict[str, Any]:
    """The ASGI extension that says which certificate the client of a connection shows; empty if it shows none.

    Args:
        transport: the connection, whose handshake is over.
    """
    connection = transport.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(binary_form=True)
    return {} if der is None else {_EXTENSION: fingerprint(der)}


def certificate_of(request: Request) -> str | None:
    """The fingerprint of the certificate that the client shows; None if it shows none, as without mutual TLS."""
    found: str | None = request.scope.get("extensions", {}).get(_EXTENSION)
    return found
