"""URLs: how to show one, which server it leads to, and whether that is this machine."""

import ipaddress
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def shown(url: str) -> str:
    """A URL for messages and logs: without credentials, and without a query, which may hold credentials too.

    >>> shown("https://me:secret@lists.example:8443/metadata?key=secret")
    'https://lists.example:8443/metadata'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        netloc = (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else "")
    except ValueError:
        # Any part of it may be a password.
        return "the URL"
    return parts._replace(netloc=netloc, query="", fragment="").geturl()


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine, by its name or its address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("localhost.example"), is_loopback(None)
    (True, True, False, False)
    """
    if host is None or host == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; without the port if it is the default one (RFC 6454, section 6.1).

    Raises:
        ValueError: it is not a URL with a host.

    >>> origin_of("HTTPS://Exchange.example:443/v1/reports"), origin_of("http://127.0.0.1:8080/")
    ('https://exchange.example', 'http://127.0.0.1:8080')
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("the URL has no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
