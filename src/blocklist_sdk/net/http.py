"""The door to httpx: every module that speaks HTTP takes it from here, so that a successor replaces it in one place."""

import contextlib
from collections.abc import Iterator

import httpx as httpx

from blocklist_sdk.errors import InvalidInput


@contextlib.contextmanager
def checked_environment() -> Iterator[None]:
    """Make clients in this block: httpx reads the environment's proxies and certificates then.

    Raises:
        InvalidInput: they cannot be used.
    """
    try:
        yield
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise InvalidInput(
            f"the proxy or certificate settings of the environment cannot be used: {error}. Check HTTPS_PROXY, "
            "ALL_PROXY and SSL_CERT_FILE."
        ) from error


def ends_with_connection(response: httpx.Response) -> bool:
    """Whether the end of the connection is the only end of the body, so that a cut looks like an end."""
    return "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
