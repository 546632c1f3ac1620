"""URLs of servers that are sinks, and the sink's own options in them.

A password with a slash, a question mark or an at sign in it moves the ends of host and path, so that a part of it would
be taken for a host and shown. So a URL is read strictly, and one that does not fit is refused without its text.
"""

import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from blocklist_sdk.errors import InvalidInput

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


_ESCAPED: Final = "%[0-9A-Fa-f]{2}"
_TEXT: Final = rf"(?:[A-Za-z0-9._~!$'()*,;+=-]|{_ESCAPED})"
"""What stands for itself in a URL (RFC 3986, appendix A), without what separates its parts."""

_HOST: Final = rf"(?:\[[0-9A-Fa-f:.%]+\]|(?:[A-Za-z0-9._~-]|{_ESCAPED})*)(?::(?P<port>[0-9]{{1,5}}))?"
_HOSTS: Final = rf"{_HOST}(?:,{_HOST.replace('(?P<port>', '(?:')})*"
_STRICT: Final = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*://(?:{_TEXT}*(?::(?:{_TEXT}|:)*)?@)?{_HOSTS}"
    rf"(?:/{_TEXT}*)?(?:\?(?P<query>(?:[^@#%\x00-\x1f\x7f]|{_ESCAPED})*))?",
    re.ASCII,
)
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*=.*", re.DOTALL)
_PORT_MAX: Final = 65_535

_NOT_A_URL: Final = (
    "the sink's URL cannot be read, and is not shown, since it may have a password: it must be like "
    "scheme://user:password@host:port/name?option=value. In user, password and value write @ as %40, / as %2F, : as "
    "%3A, ? as %3F, # as %23, and % as %25"
)


def split(url: str, *names: str) -> tuple[SplitResult, dict[str, str]]:
    """Take a sink's own options out of its URL; what is left is for the driver.

    Args:
        url: the sink's URL.
        names: the sink's own options.

    Raises:
        InvalidInput: `url` is not such a URL, or has one of the options twice.

    >>> split("redis://127.0.0.1/0?prefix=lists&health_check_interval=9", "prefix")[0].query
    'health_check_interval=9'
    """
    found = _STRICT.fullmatch(url)
    if found is None or int(found["port"] or 1) not in range(1, _PORT_MAX + 1):
        raise InvalidInput(_NOT_A_URL)
    if not all(_OPTION.fullmatch(pair) for pair in (found["query"] or "").split("&") if pair):
        raise InvalidInput(_NOT_A_URL)
    parts = urlsplit(url)
    options: dict[str, str] = {}
    others: list[str] = []
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if name not in names:
            others.append(pair)  # unchanged: the driver decides whether a plus means a blank
        elif name in options:
            raise InvalidInput(f"the sink's URL has the option {name!r} twice")
        else:
            options[name] = unquote(value)
    return parts._replace(query="&".join(others)), options


def joined(parts: SplitResult) -> str:
    """The URL of some parts, with two slashes also where no host follows.

    >>> joined(urlsplit("postgresql:///db?host=/run/postgresql"))
    'postgresql:///db?host=/run/postgresql'
    """
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def truth(name: str, text: str) -> bool:
    """The value of an option that is true or false.

    Raises:
        InvalidInput: it is neither.

    >>> truth("create", "false")
    False
    """
    if text.lower() not in _WORDS:
        raise InvalidInput(f"{name} must be true or false in the sink's URL, not {text!r}")
    return _WORDS[text.lower()]
