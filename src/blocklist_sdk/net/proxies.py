"""Which proxy a request goes through, as the environment says; pure decisions without any network.

httpx reads the same variables, but cannot use an IPv6 network in NO_PROXY, and its errors do not name the proxy.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.addresses import Url, read_url

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_PORTS: Final = {"http": 80, "https": 443}

_CGI: Final = "REQUEST_METHOD"
"""In a CGI process, HTTP_PROXY is whatever the client sent as its header `Proxy` (CVE-2016-5385)."""

_BRACKETED: Final = re.compile(r"\[([0-9a-f:.]+(?:%[\w.~-]+)?)\](?::(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it. Its text has no password.

    Attributes:
        url: its URL.
        variable: the name of the variable.
    """

    url: Url = field(repr=False)
    variable: str

    def __str__(self) -> str:
        return f"{self.url.scheme}://{self.url.hosts} ({self.variable})"


def proxy_for(scheme: str, host: str, port: int | None, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to a server; None if there is none.

    The variables are, in this order, ``http_proxy`` or ``https_proxy``, the same in capitals, ``all_proxy``,
    ``ALL_PROXY``. ``HTTP_PROXY`` is ignored where REQUEST_METHOD is set, as in CGI.

    Args:
        scheme: the server's, ``http`` or ``https``.
        host: the server's name, or its address without brackets.
        port: the server's port; None for the scheme's own.
        environment: the variables.

    Raises:
        InvalidInput: the variable does not name a proxy.

    >>> print(proxy_for("https", "lists.example", None, {"HTTPS_PROXY": "http://me:secret@proxy.example:3128"}))
    http://proxy.example:3128 (HTTPS_PROXY)
    >>> proxy_for("https", "fd00::7", 8443, {"ALL_PROXY": "http://proxy.example", "NO_PROXY": "10.0.0.0/8,fd00::/8"})
    """
    variable = _variable(scheme, environment)
    if variable is None:
        return None
    bypassed = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    if is_bypassed(host, port or _PORTS.get(scheme), bypassed):
        return None
    return Proxy(_address(environment[variable].strip(), variable), variable)


def _variable(scheme: str, environment: Mapping[str, str]) -> str | None:
    for name in (f"{scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if variable == "HTTP_PROXY" and _CGI in environment:
                continue
            if variable in environment:
                if environment[variable].strip():
                    return variable
                # Empty in small letters switches the one in capitals off, as for curl and Python.
                break
    return None


def _address(text: str, variable: str) -> Url:
    example = "http://user:password@proxy.example:3128"
    url = read_url(
        text if "://" in text else f"http://{text}", what=f"the proxy that {variable} names", example=example
    )
    if url.scheme not in _SCHEMES or not url.host or "," in url.hosts:
        raise InvalidInput(f"{variable} does not name a proxy: it must be like {example}, or begin with socks5:")
    return url


def is_bypassed(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether a server is reached without a proxy.

    Args:
        host: the server's name, or its address without brackets.
        port: the server's port.
        no_proxy: the value of NO_PROXY: entries with commas or blanks between: ``*`` for all servers; a name
            for itself and all names below it, with or without ``.`` or ``*.`` before it; an IPv4 or IPv6 address; a
            network, as in ``10.0.0.0/8`` and ``fd00::/8``; or a name or address with a port. What is none of these is
            ignored. Names are not looked up, so networks hold for servers that are given by address.

    >>> is_bypassed("lists.example", 443, "localhost, .example"), is_bypassed("lists.example", 443, "lists.example:80")
    (True, False)
    >>> is_bypassed("fd00::7", 443, "[fd00::7]:443"), is_bypassed("10.1.2.3", 443, "10.0.0.0/8 fd00::/8")
    (True, True)
    """
    name = _plain(host)
    addresses = _readings(name)
    return any(_covers(entry, name, addresses, port) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _covers(entry: str, name: str, addresses: "frozenset[_Address]", port: int | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            return False
        return any(address.version == network.version and address in network for address in addresses)
    only_port: str | None = None
    if bracketed := _BRACKETED.fullmatch(entry):
        entry, only_port = bracketed.groups()
    elif entry.count(":") == 1:
        entry, _, only_port = entry.partition(":")
    if only_port and only_port != str(port):
        return False
    if own := _readings(entry):
        return not own.isdisjoint(addresses)
    domain = _plain(entry.removeprefix("*").removeprefix("."))
    return bool(domain) and not addresses and (name == domain or name.endswith(f".{domain}"))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _readings(text: str) -> frozenset[_Address]:
    """The address that a text is; two if it is one of IPv4, written as one of IPv6; none if it is a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return frozenset()
    mapped: _Address | None = getattr(address, "ipv4_mapped", None)
    return frozenset({address, mapped or address})


def _plain(name: str) -> str:
    """A name as it is compared: small letters, no dot at the end, other scripts as DNS has them."""
    name = name.lower().strip("[]").rstrip(".")
    if not name.isascii():
        try:
            return name.encode("idna").decode()
        except UnicodeError:
            return name
    return name
