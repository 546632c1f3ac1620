"""OAuth client credentials (RFC 6749, 4.4) for an exchange and the lists that it serves.

A token is fetched with the first request that needs one, kept, and renewed before it expires; also once if the server
answers 401 anyway. The request for the token uses the same certificates, timeouts and proxy as the others.
"""

import abc
import base64
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from datetime import timedelta
from typing import Any, Final, NoReturn, Self
from urllib.parse import quote_plus

from blocklist_sdk import times
from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, Unreachable, not_pickled
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.net.addresses import is_loopback, origin_of, read_url, shown
from blocklist_sdk.net.bounded import Bounded
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.net.server_clock import CLOCKS_DIFFER, clock_offset, offset_text
from blocklist_sdk.texts import displayable, is_printable_ascii

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE_S: Final = 60
"""How long an assertion is valid, seconds. An exchange accepts at most five minutes, and clocks may differ."""

_MARGIN_S: Final = 30.0
_MARGIN_PART: Final = 0.1
_LIFE_DEFAULT_S: Final = 300.0
"""How long a token is used if the response does not say, which it should (RFC 6749, 5.1), seconds."""

_LIFE_MAX_S: Final = 86_400.0
"""How long a token is used at most, seconds; if the server withdraws it earlier, it answers 401."""

_ANSWER_BYTES_MAX: Final = 256_000
_PASSING: Final = frozenset({408, 425, 429})
_ADVICE: Final = {
    "invalid_client": "check the client ID and its secret or key",
    "unauthorized_client": "ask the exchange to allow this account to fetch tokens",
    "invalid_scope": "ask for fewer scopes, or the exchange for more permissions",
    "invalid_grant": "check the client's key, and this machine's clock",
}

_OF_PROOF: Final = frozenset({"invalid_client", "invalid_grant"})
"""Errors of a signed assertion (RFC 7521, 4.2.1 and 4.1.1)."""

log: logging.Logger = logging.getLogger(__name__)


def token_url_of(url: str) -> str:
    """The URL at which the exchange with this base URL, or this repository, issues tokens.

    Raises:
        InvalidInput: it is not an http: or https: URL.

    >>> token_url_of("https://exchange.example/repository")
    'https://exchange.example/oauth/token'
    """
    scheme = read_url(url, what="the URL of the server that issues tokens", example="https://exchange.example").scheme
    try:
        origin = origin_of(url)
    except ValueError as error:
        raise InvalidInput("not a URL from which tokens can be fetched: give one with https: and a host") from error
    if scheme not in ("https", "http"):
        raise InvalidInput(f"tokens are fetched over https: or http:, not {scheme}:")
    return origin + TOKEN_PATH


class _TokenAuth(httpx.Auth, abc.ABC):
    """Adds a token to each request; works in synchronous and asynchronous clients, threads and event loops."""

    def __init__(self, client_id: str, *, token_url: str, scopes: Iterable[str]) -> None:
        self.client_id: str = _usable(client_id, "client ID")
        self.token_url: str = _address(token_url)
        self.scopes: tuple[str, ...] = (scopes,) if isinstance(scopes, str) else tuple(scopes)
        for scope in self.scopes:
            _usable(scope, "scope")
        self._token: tuple[str, float] | None = None
        self._fetch_lock = ForkSafeLock()
        self._fetch_lock_in_loop: Any = None

    def __reduce__(self) -> NoReturn:
        raise not_pickled(type(self).__name__, "make it in each process, since it holds a secret")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id!r}, token_url={shown(self.token_url)!r}, scopes={self.scopes!r})"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The requests that httpx sends: one for a token if needed, then the request itself."""
        refused: str | None = None
        # Not httpx's `requires_response_body`, which reads every response whole, even a list of a gigabyte.
        for _ in range(2):
            token = self._usable_token(refused)
            if token is None:
                with self._fetch_lock:
                    token = self._usable_token(refused)
                    if token is None:
                        response = yield self._request_for(request)
                        response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
                        response.read()
                        token = self._store(response)
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != 401:
                return
            response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
            refused = token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """The same for httpx's asynchronous client."""
        refused: str | None = None
        for _ in range(2):
            token = self._usable_token(refused)
            if token is None:
                async with self._alone_in_loop():
                    token = self._usable_token(refused)
                    if token is None:
                        response = yield self._request_for(request)
                        response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
                        await response.aread()
                        token = self._store(response)
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != 401:
                return
            response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
            refused = token

    def _advice(self, error: str, _: httpx.Response) -> str:
        """What to do about an OAuth error."""
        return _ADVICE.get(error, "check the credentials")

    @abc.abstractmethod
    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """The headers and form fields that authenticate the client."""

    def _request_for(self, request: httpx.Request) -> httpx.Request:
        """The request for a token, with the timeouts of the request that needs it: a new one has none."""
        headers, fields = self._proof()
        form = {"grant_type": "client_credentials", **fields}
        if self.scopes:
            form["scope"] = " ".join(self.scopes)
        headers |= {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": request.headers.get("User-Agent", "blocklist-sdk"),
        }
        return httpx.Request("POST", self.token_url, headers=headers, data=form, extensions=request.extensions)

    def _usable_token(self, refused: str | None) -> str | None:
        """The stored token; None if it is missing, expires soon, or is the one that was refused."""
        stored = self._token
        return None if stored is None or stored[0] == refused or time.monotonic() >= stored[1] else stored[0]

    def _store(self, response: httpx.Response) -> str:
        token, life_s = _token_in(response, shown(self.token_url), self._advice)
        self._token = token, time.monotonic() + life_s - min(_MARGIN_S, life_s * _MARGIN_PART)
        return token

    @contextlib.asynccontextmanager
    async def _alone_in_loop(self) -> AsyncIterator[None]:
        """One task of each event loop at a time: a thread's lock would block the loop that has to release it."""
        import anyio
        from anyio.lowlevel import RunVar

        if self._fetch_lock_in_loop is None:
            self._fetch_lock_in_loop = RunVar(f"{__name__}.{id(self)}")
        lock = self._fetch_lock_in_loop.get(None)
        if lock is None:
            lock = anyio.Lock()
            self._fetch_lock_in_loop.set(lock)
        async with lock:
            yield


class ClientCredentials(_TokenAuth):
    """An account's ID and secret, as `auth` of `ExchangeClient`, `Blocklist.open` or any client of httpx."""

    def __init__(self, client_id: str, secret: str, *, token_url: str, scopes: Iterable[str] = ()) -> None:
        """Touches no network.

        Args:
            client_id: the account's ID, as the exchange gave it.
            secret: its secret. It is sent to `token_url` only, and never shown.
            token_url: where tokens are fetched; `for_exchange` derives it.
            scopes: what the token is for; by default everything that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        super().__init__(client_id, token_url=token_url, scopes=scopes)
        self._secret = _usable(secret, "client secret")

    @classmethod
    def for_exchange(cls, url: str, client_id: str, secret: str, *, scopes: Iterable[str] = ()) -> Self:
        """Credentials for the exchange that has this base URL, or serves this repository.

        The token URL is derived from `url`; all else is as for the class itself.

        >>> ClientCredentials.for_exchange("https://exchange.example", "telkomsel", "a-secret")
        ClientCredentials('telkomsel', token_url='https://exchange.example/oauth/token', scopes=())
        """
        return cls(client_id, secret, token_url=token_url_of(url), scopes=scopes)

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        # Each part form-encoded first, since an ID may hold a colon (RFC 6749, 2.3.1).
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}


class PrivateKeyJwt(_TokenAuth):
    """An account's ID and private key, whose public half the exchange has (RFC 7523).

    Nothing sent can be used again: each assertion is valid for a minute, for one use, at one address. This machine's
    clock may be five minutes ahead of the exchange's or behind it. If it is further off, the error says by how much.
    """

    def __init__(self, client_id: str, key: str | bytes, *, token_url: str, scopes: Iterable[str] = ()) -> None:
        """Touches no network.

        Args:
            client_id: the account's ID, as the exchange gave it.
            key: the private key in PEM form, not encrypted: on the curve P-256, or Ed25519. Its assertions name
                their algorithm ``ES256`` or ``Ed25519`` (RFC 9864).
            token_url: where tokens are fetched, and what assertions are made out to; `for_exchange` derives it.
            scopes: what the token is for; by default everything that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        super().__init__(client_id, token_url=token_url, scopes=scopes)
        self._key, self._algorithm = _private_key(key)

    @classmethod
    def for_exchange(cls, url: str, client_id: str, key: str | bytes, *, scopes: Iterable[str] = ()) -> Self:
        """Credentials for the exchange that has this base URL, or serves this repository.

        The token URL is derived from `url`; all else is as for the class itself.
        """
        return cls(client_id, key, token_url=token_url_of(url), scopes=scopes)

    def _advice(self, error: str, response: httpx.Response) -> str:
        if error not in _OF_PROOF:
            return super()._advice(error, response)
        offset = clock_offset(response.headers, now=times.now())
        if offset is not None and abs(offset) > CLOCKS_DIFFER:
            return (
                f"{offset_text(offset)}, so the assertion is not valid there. Set the clock right (NTP) and try again"
            )
        advice = f"check the client ID and its key, and that {shown(self.token_url)} is the exchange's own address"
        if offset is not None and abs(offset) > timedelta(seconds=_ASSERTION_LIFE_S):
            return f"{advice}. Also, {offset_text(offset)}: set it right (NTP)"
        return advice

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        from joserfc import jwt

        now = int(times.now().timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "iat": now,
            "exp": now + _ASSERTION_LIFE_S,
            "jti": secrets.token_urlsafe(24),
        }
        assertion = jwt.encode({"alg": self._algorithm}, claims, self._key, algorithms=[self._algorithm])
        return {}, {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}


def _usable(text: str, name: str) -> str:
    if not is_printable_ascii(text):
        raise InvalidInput(
            f"the {name} must be printable ASCII, and not empty: check what the exchange gave you",
            argument=name.lower().replace(" ", "_"),
        )
    return text


def _address(token_url: str) -> str:
    read = read_url(token_url, what="the token URL", example="https://exchange.example/oauth/token")
    has_account = read.user is not None or read.password is not None
    if read.scheme not in ("https", "http") or not read.host or "," in read.hosts or has_account:
        raise InvalidInput(f"{read} is not a token URL: give one with https: or http:, and without credentials")
    if read.scheme == "http" and not is_loopback(read.host):
        log.warning("%s: credentials are sent over the network in the clear; use https:", read)
    return token_url


def _private_key(pem: str | bytes) -> tuple[Any, str]:
    """The key, and the name of its algorithm."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey

    data = pem.encode() if isinstance(pem, str) else pem
    for kind, curve, algorithm in ((ECKey, "P-256", "ES256"), (OKPKey, "Ed25519", "Ed25519")):
        # The library raises errors of no single type.
        with contextlib.suppress(JoseError, ValueError, TypeError, AttributeError):
            key = kind.import_key(data)
            if key.is_private and key.curve_name == curve:
                return key, algorithm
    raise InvalidInput(
        "the private key cannot be used: it must be PEM, not encrypted, and a P-256 or Ed25519 key",
        argument="client_key",
    )


def _token_in(response: httpx.Response, source: str, advice: Callable[[str, httpx.Response], str]) -> tuple[str, float]:
    """An access token and its life in seconds."""
    status = response.status_code
    document = _object_in(response)
    if status == 200 and document is not None:
        token, kind, life = (document.get(name) for name in ("access_token", "token_type", "expires_in"))
        is_bearer = isinstance(kind, str) and kind.lower() == "bearer"
        if is_bearer and isinstance(token, str) and token and all("!" <= each <= "~" for each in token):
            # In Python, bool is a kind of int.
            if not isinstance(life, (int, float)) or isinstance(life, bool):
                return token, _LIFE_DEFAULT_S
            # Compared before it is converted: it may be too large for a float, or not a number at all.
            return token, float(max(0.0, min(_LIFE_MAX_S, life)))
        raise Malformed(f"{source}: the response is not an OAuth token: check the address")
    if status in _PASSING or status >= 500:
        raise Unreachable(
            f"{source}: no token, the server answered {status} {response.reason_phrase}: try again later",
            url=source,
            status=status,
            retry_after=retry_after_in(response.headers),
        )
    if document is not None and isinstance(document.get("error"), str):
        error = displayable(str(document["error"])[:100])
        description = document.get("error_description")
        detail = f" ({displayable(description[:500])})" if isinstance(description, str) and description else ""
        raise ExchangeError(
            f"{source}: no token, {error}{detail}: {advice(error, response)}",
            status=status,
            problem=document,
        )
    raise Malformed(
        f"{source}: no token, the server answered {status} {response.reason_phrase} without an OAuth error. "
        "Check the address and the network in between; a captive portal may have answered."
    )


def _object_in(response: httpx.Response) -> dict[str, Any] | None:
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
