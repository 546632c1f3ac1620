"""Why a request failed, in words that say what to do: about proxies, certificates, and http where https was meant.

What httpx, Python and OpenSSL say is masked before it is repeated, since it may contain what was sent.
"""

import ssl
from collections.abc import Iterator
from typing import Final

from blocklist_sdk.errors import foreign_text
from blocklist_sdk.net.addresses import shown
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.proxies import Proxy
from blocklist_sdk.net.routes import Route, route_of

_OTHER_NAME: Final = (62, 64)
"""OpenSSL's codes for a certificate of another host or address (`X509_V_ERR_…_MISMATCH`)."""

_DATES: Final = (9, 10)
"""OpenSSL's codes for a certificate that is not valid yet, or no longer."""

_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_WANTS_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE", "UNKNOWN_CA")
_TLS_ALERT: Final = ("\\x15\\x03", "\x15\x03")
"""How a server with TLS begins its answer to a request without."""

_ASKS_FOR_ACCOUNT: Final = str(httpx.codes.PROXY_AUTHENTICATION_REQUIRED.value)

TO_TRUST: Final = "--ca FILE, BLOCKLIST_CA, ca in blocklist.toml, or SSL_CERT_FILE"
"""The ways to trust another authority."""


def why_failed(error: httpx.RequestError) -> str:
    """What failed and what to do, as one or two sentences without the address that was asked for."""
    request = _request_of(error)
    route = route_of(request)
    where = _server(request)
    causes = list(_causes(error))
    certificate = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return _untrusted(certificate, where, route)
    handshake = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
    if handshake is not None and (text := _about_tls(handshake, where)):
        return text
    if route.proxy is not None and isinstance(error, httpx.ProxyError | httpx.ConnectError | httpx.ConnectTimeout):
        return _of_proxy(error, route.proxy, where)
    said = foreign_text(error)
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and where.startswith("http:"):
        if any(alert in str(error) for alert in _TLS_ALERT):
            return f"{where} expects TLS: begin the address with https:, or correct the port."
        if isinstance(error, httpx.ReadError) or "without sending a response" in said:
            said += "; if it expects TLS, begin the address with https:"
    kind = "timed out" if isinstance(error, httpx.TimeoutException) else "failed"
    through = "" if route.proxy is None else f" through the proxy {route.proxy}"
    return f"the connection{through} {kind} ({said}). Check address and network, then try again."


def is_refused_by_proxy(error: httpx.RequestError) -> bool:
    """Whether a proxy asks for an account, or does not accept the one that it was given."""
    has_proxy = route_of(_request_of(error)).proxy is not None
    return has_proxy and isinstance(error, httpx.ProxyError) and str(error).startswith(_ASKS_FOR_ACCOUNT)


def why_refused_by_proxy(response: httpx.Response) -> str | None:
    """What to do about a response that a proxy gave in the server's stead; None if it is not known to be one."""
    if response.status_code != httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
        return None
    proxy = route_of(_request_of(response)).proxy
    return None if proxy is None else _about_account(proxy)


def _untrusted(error: ssl.SSLCertVerificationError, where: str, route: Route) -> str:
    said = foreign_text(error.verify_message or error)
    via = f" or of the proxy {route.proxy}" if route.proxy is not None and route.proxy.url.scheme == "https" else ""
    if error.verify_code in _OTHER_NAME:
        return f"the certificate of {where}{via} is for another name ({said}): check the address."
    what = f"the certificate of {where}{via} was not trusted: certificate verify failed ({said})."
    if error.verify_code in _DATES:
        return f"{what} Check this machine's clock; if it is right, tell who runs the server."
    trusted = "" if route.certificates is None else f" Here only {route.certificates} are trusted."
    return f"{what}{trusted} If another authority signs for it, name its certificate with {TO_TRUST}."


def _about_tls(error: ssl.SSLError, where: str) -> str | None:
    reason = (error.reason or str(error)).upper().replace(" ", "_")
    if any(word in reason for word in _NOT_TLS):
        return f"{where} does not speak TLS: begin the address with http:, or correct the port."
    if any(word in reason for word in _WANTS_CERTIFICATE):
        return (
            f"{where} refused the TLS connection ({foreign_text(error)}): it may ask for a certificate of yours, which "
            "--client-cert, BLOCKLIST_CLIENT_CERT or tls_context(client_cert=…) names."
        )
    return None


def _of_proxy(error: httpx.RequestError, proxy: Proxy, where: str) -> str:
    said = foreign_text(error, proxy.url.password)
    if isinstance(error, httpx.ProxyError):
        if is_refused_by_proxy(error):
            return _about_account(proxy)
        return f"the proxy {proxy} does not connect to {where} ({said}): ask who runs it, or add the host to NO_PROXY."
    kind = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    return f"the proxy {proxy} {kind} ({said}): correct {proxy.variable}, or add the host to NO_PROXY."


def _about_account(proxy: Proxy) -> str:
    if proxy.url.password is None:
        return (
            f"the proxy {proxy} asks for an account (407): write user and password into {proxy.variable}, as in "
            "http://user:password@proxy.example:3128, percent-encoded."
        )
    return f"the proxy {proxy} does not accept the account in {proxy.variable} (407): correct user and password there."


def _request_of(source: httpx.RequestError | httpx.Response) -> httpx.Request | None:
    try:
        return source.request
    except RuntimeError:
        return None


def _server(request: httpx.Request | None) -> str:
    if request is None:
        return "the server"
    host = f"[{request.url.host}]" if ":" in request.url.host else request.url.host
    # Through `shown`, which masks numbers.
    return shown(f"{request.url.scheme}://{host}:{request.url.port or (443 if request.url.scheme == 'https' else 80)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
