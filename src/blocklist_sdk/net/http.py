"""The only door to httpx: all other modules import it from here, so that it can be replaced in one place."""

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx as httpx


def no_cookies() -> CookieJar:
    """A jar that keeps no cookie, so that none is sent: no server may know one request from another by it."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def ends_with_connection(response: httpx.Response) -> bool:
    """Whether only the end of the connection ends the body, so that a cut looks like an end."""
    return "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
