"""The only door to httpx: all other modules import it from here, so that it can be replaced in one place."""

import contextlib
from collections.abc import Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx as httpx

from blocklist_sdk.errors import InvalidInput


def no_cookies() -> CookieJar:
    """A jar that keeps no cookie, so that none is sent: no server may know one request from another by it."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


@contextlib.contextmanager
def checked_environment() -> Iterator[None]:
    """Translate the errors of making a client in the block, when httpx reads proxies and certificates.

    Raises:
        InvalidInput: the proxy or certificate settings of the environment cannot be used.
    """
    try:
        yield
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise InvalidInput(
            f"the proxy or certificate settings of the environment cannot be used: {error}. Check HTTPS_PROXY, "
            "ALL_PROXY and SSL_CERT_FILE."
        ) from error


def ends_with_connection(response: httpx.Response) -> bool:
    """Whether only the end of the connection ends the body, so that a cut looks like an end."""
    return "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
