"""URLs: the one place that reads them, and how to show one without its secrets.

A password with a slash, a question mark or a number sign in it moves the ends of host and path, so that a part of it
would be taken for a host, a port or a path, and shown. So a URL is read strictly, and one that does not fit is refused
without its text.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from blocklist_sdk.errors import InvalidInput, without_numbers

_PORTS: Final = {"http": 80, "https": 443}
_PORT_MAX: Final = 65_535

_ESCAPED: Final = "%[0-9A-Fa-f]{2}"
_TEXT: Final = rf"(?:[^\x00-\x20\x7f\"#%/:<>?@\[\\\]^`{{|}}]|{_ESCAPED})"
"""What stands for itself in a URL (RFC 3986, appendix A), but what separates its parts. Any script's letters may."""

_HOST: Final = rf"(?:\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]|(?:[\w.~-]|{_ESCAPED})*)(?::[0-9]{{1,5}})?"
_SERVER: Final = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>{_TEXT}*)(?::(?P<password>(?:{_TEXT}|:)*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>(?:/(?:{_TEXT}|:)*)*)"
    rf"(?:\?(?P<query>(?:[^@#%\x00-\x1f\x7f]|{_ESCAPED})*))?"
)
_FILE: Final = re.compile(
    r"(?P<scheme>file):(?://(?P<hosts>localhost)?(?=/))?(?P<path>(?!//)[^?#\x00-\x1f\x7f]+)"
    r"(?:\?(?P<query>[^#\x00-\x1f\x7f]*))?",
    re.IGNORECASE,
)
"""A file has no host, so nothing in its path can be a password."""

_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*=.*", re.DOTALL)

PERCENT_ENCODING: Final = (
    "In user, password and value write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, & as %26, \\ as %5C, a blank "
    "as %20, and % as %25"
)
"""How to write what would end a part of a URL."""

# fmt: off
SECRET_OPTIONS: Final = frozenset({
    "access_token", "accesstoken", "api_key", "api-key", "apikey", "auth", "authorization", "client_secret",
    "code", "credential", "credentials", "key", "pass", "passphrase", "passwd", "password", "pwd", "sasl.password",
    "sasl.oauthbearer.client.secret", "secret", "session", "session_id", "sessionid", "sig", "signature",
    "ssl.key.password", "ssl_password", "sslpassword", "subscription-key", "token", "x-amz-credential",
    "x-amz-security-token", "x-amz-signature", "x-api-key",
})
# fmt: on
"""Names of options in a URL that are credentials."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL, read. Neither its text nor its `repr` has the password or the query.

    Attributes:
        scheme: in lower case, such as ``https``.
        host: the first host, decoded and without brackets; None if there is none.
        port: the first host's port; None if the URL has none.
        hosts: all hosts with their ports, as they are written.
        user: decoded; None if the URL names none.
        password: decoded; None if the URL has none.
        path: as it is written.
        query: as it is written, without the question mark; empty if there is none.

    >>> url = read_url("redis://me:p%23ss@cache.example:6380/0?prefix=lists")
    >>> url.host, url.port, url.user, url.password, url.path, url.options
    ('cache.example', 6380, 'me', 'p#ss', '/0', (('prefix', 'lists'),))
    >>> print(url)
    redis://cache.example:6380/0
    """

    scheme: str
    host: str | None
    port: int | None
    hosts: str
    user: str | None
    password: str | None = field(repr=False)
    path: str
    query: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages and logs: without credentials, and without a query, which may hold credentials too."""
        slashes = "" if self.scheme == "file" and not self.path.startswith("/") else "//"
        return f"{self.scheme}:{slashes}{self.hosts}{self.path}"

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """The options of the query in their order, values decoded. A plus stays one."""
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return tuple((unquote(name), unquote(value)) for name, _, value in pairs)

    @property
    def has_secret(self) -> bool:
        """Whether it has a password, or an option that is a credential."""
        return bool(self.password) or any(name.lower() in SECRET_OPTIONS and value for name, value in self.options)

    def __str__(self) -> str:
        return self.shown


def read_url(text: str, *, what: str = "the URL", example: str = "scheme://user:password@host:port/name") -> Url:
    """Read a URL.

    Args:
        text: the URL.
        what: what it is, for the error, such as ``the sink's URL``.
        example: what such a URL looks like, for the error.

    Raises:
        InvalidInput: `text` is not a URL. The message does not repeat any of it.

    >>> read_url("redis://:S3cret#x@127.0.0.1:6379/0")
    Traceback (most recent call last):
    blocklist_sdk.InvalidInput: the URL cannot be read, and is not shown, since it may have a password: it must be ...
    """
    found = _read(text) if isinstance(text, str) else None
    if found is None and isinstance(text, str) and text[:5].lower() == "file:":
        raise InvalidInput(f"{what} is not that of a file: it must be like {example}, with # as %23 and ? as %3F")
    if found is None and isinstance(text, str) and not {"@", "?"} & set(text):
        raise InvalidInput(f"{what} cannot be read: it must be like {example}")
    if found is None:
        raise unreadable(what, example)
    return found


def unreadable(what: str, example: str) -> InvalidInput:
    """The error for a URL that may have a password, and cannot be read.

    Args:
        what: what it is, such as ``the sink's URL``.
        example: what such a URL looks like.
    """
    return InvalidInput(
        f"{what} cannot be read, and is not shown, since it may have a password: it must be like {example}. "
        f"{PERCENT_ENCODING}."
    )


def _read(text: str) -> Url | None:
    found = _FILE.fullmatch(text) or (None if text[:5].lower() == "file:" else _SERVER.fullmatch(text))
    if found is None:
        return None
    parts = found.groupdict()
    query = parts["query"] or ""
    hosts = parts["hosts"] or ""
    host, port = _first(hosts)
    if port is not None and not 1 <= port <= _PORT_MAX:
        return None
    user, password = parts.get("user"), parts.get("password")
    return Url(
        scheme=parts["scheme"].lower(),
        host=unquote(host) or None,
        port=port,
        hosts=hosts,
        user=unquote(user) if user else None,
        password=None if password is None else unquote(password),
        path=parts["path"],
        query=query,
    )


def _first(hosts: str) -> tuple[str, int | None]:
    first = hosts.partition(",")[0]
    if first.startswith("["):
        host, _, rest = first[1:].partition("]")
        return host, int(rest[1:]) if rest else None
    host, _, port = first.partition(":")
    return host, int(port) if port else None


def are_options(query: str) -> bool:
    """Whether a query consists of options, as in ``name=value&name=value``.

    A number sign or an ampersand in a password would make the rest of it an option.
    """
    return all(_OPTION.fullmatch(pair) for pair in query.split("&") if pair)


def shown(url: str) -> str:
    """A URL for messages and logs: without credentials, and without a query, which may hold credentials too.

    Telephone numbers are masked. A text that cannot be read as a URL is not shown at all.

    >>> shown("https://me:secret@lists.example:8443/metadata?key=secret")
    'https://lists.example:8443/metadata'
    >>> shown("https://me:12345#secret@lists.example/")
    'the URL'
    """
    read = _read(url)
    if read is not None:
        return without_numbers(read.shown)
    # A server may redirect to a path alone.
    is_path = url.startswith("/") and not url.startswith("//") and "@" not in url
    return without_numbers(re.split("[?#]", url)[0]) if is_path else "the URL"


def may_have_secret(text: str) -> bool:
    """Whether a URL has a credential in it, or may have one, since it cannot be read.

    >>> may_have_secret("https://me:secret@lists.example"), may_have_secret("https://lists.example/?token=secret")
    (True, True)
    >>> may_have_secret("https://lists.example/%40ours"), may_have_secret("https://me:se/cret@lists.example")
    (False, True)
    """
    read = _read(text)
    return "@" in text if read is None else read.has_secret


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine, by its name or its address.

    >>> [is_loopback(each) for each in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost")]
    [True, True, True, True]
    >>> [is_loopback(each) for each in ("0.0.0.0", "::", "192.0.2.7", "localhost.example", None)]
    [False, False, False, False, False]
    """
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; without the port if it is the default one (RFC 6454, section 6.1).

    Raises:
        ValueError: it is not a URL with a host.

    >>> origin_of("HTTPS://Exchange.example:443/v1/reports"), origin_of("http://127.0.0.1:8080/")
    ('https://exchange.example', 'http://127.0.0.1:8080')
    """
    read = _read(url)
    if read is None or not read.host:
        raise ValueError("the URL has no host")
    host = read.host.lower()
    port = "" if read.port in (None, _PORTS.get(read.scheme)) else f":{read.port}"
    return f"{read.scheme}://{f'[{host}]' if ':' in host else host}{port}"
