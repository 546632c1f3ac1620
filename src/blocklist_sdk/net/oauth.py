"""OAuth client credentials (RFC 6749, 4.4): who asks the exchange, and for the lists that it serves.

A token is fetched with the first request that needs one, kept, and renewed before it ends; once more where the server
says 401 all the same. The token's request goes the same way as the others: the same certificates, timeouts and proxy.
"""

import abc
import base64
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable
from typing import Any, Final, Self
from urllib.parse import quote_plus, urlsplit

from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, Unreachable
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.net.addresses import is_loopback, origin_of, shown
from blocklist_sdk.net.bounded import Bounded
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.texts import is_printable_ascii

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE_S: Final = 60
"""An exchange takes five minutes at most; a clock may be off by some."""

_MARGIN_S: Final = 30.0
_MARGIN_PART: Final = 0.1
_LIFE_DEFAULT_S: Final = 300.0
"""Where the answer does not say how long a token lives, which it should (RFC 6749, 5.1)."""

_LIFE_MAX_S: Final = 86_400.0
"""However long a server says: what it withdraws meanwhile, it answers with 401."""

_ANSWER_BYTES_MAX: Final = 256_000
_PASSING: Final = frozenset({408, 425, 429})
_ADVICE: Final = {
    "invalid_client": "check the client ID and its secret or key",
    "unauthorized_client": "ask the exchange to let this account fetch tokens",
    "invalid_scope": "ask for fewer scopes, or the exchange for more permissions",
    "invalid_grant": "check the client's key, and this machine's clock",
}

log = logging.getLogger(__name__)


def token_url_of(url: str) -> str:
    """Where the exchange that has this URL gives tokens.

    Raises:
        InvalidInput: it is no http or https URL.

    >>> token_url_of("https://exchange.example/repository")
    'https://exchange.example/oauth/token'
    """
    try:
        scheme, origin = urlsplit(url).scheme, origin_of(url)
    except ValueError as error:
        raise InvalidInput("that is no URL that tokens are fetched from: give one with https: and a host") from error
    if scheme not in ("https", "http"):
        raise InvalidInput(f"tokens are fetched by https: or http:, not by {scheme}:")
    return origin + TOKEN_PATH


class _TokenAuth(httpx.Auth, abc.ABC):
    """Puts a token on each request; for synchronous and asynchronous clients, many threads and many loops."""

    def __init__(self, client_id: str, *, token_url: str, scopes: Iterable[str]) -> None:
        self.client_id = _usable(client_id, "client ID")
        self.token_url = _address(token_url)
        self.scopes = (scopes,) if isinstance(scopes, str) else tuple(scopes)
        for scope in self.scopes:
            _usable(scope, "scope")
        self._token: tuple[str, float] | None = None
        self._asking = ForkSafeLock()
        self._asking_in_loop: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id!r}, token_url={self.token_url!r}, scopes={self.scopes!r})"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What httpx sends for a request: the token's own request where one is needed, then the request."""
        refused: str | None = None
        # Not httpx's `requires_response_body`, which reads every answer whole, also a list of a gigabyte.
        for _ in range(2):
            token = self._held(refused)
            if token is None:
                with self._asking:
                    token = self._held(refused)
                    if token is None:
                        response = yield self._request_for(request)
                        response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
                        response.read()
                        token = self._keep(response)
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
            token = self._held(refused)
            if token is None:
                async with self._alone_in_loop():
                    token = self._held(refused)
                    if token is None:
                        response = yield self._request_for(request)
                        response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
                        await response.aread()
                        token = self._keep(response)
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != 401:
                return
            response.stream = Bounded(response.stream, _ANSWER_BYTES_MAX)
            refused = token

    @abc.abstractmethod
    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form fields that show who asks."""

    def _request_for(self, request: httpx.Request) -> httpx.Request:
        """The token's request, with the time limits of the one that it is for: a new request has none."""
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

    def _held(self, refused: str | None) -> str | None:
        """The token at hand, None where there is none, it ends soon, or it is the one that was refused."""
        held = self._token
        return None if held is None or held[0] == refused or time.monotonic() >= held[1] else held[0]

    def _keep(self, response: httpx.Response) -> str:
        token, life_s = _token_in(response, shown(self.token_url))
        self._token = token, time.monotonic() + life_s - min(_MARGIN_S, life_s * _MARGIN_PART)
        return token

    @contextlib.asynccontextmanager
    async def _alone_in_loop(self) -> AsyncIterator[None]:
        """One task of each event loop at a time: a thread's lock would stop the loop that has to let it go."""
        import anyio
        from anyio.lowlevel import RunVar

        if self._asking_in_loop is None:
            self._asking_in_loop = RunVar(f"{__name__}.{id(self)}")
        lock = self._asking_in_loop.get(None)
        if lock is None:
            lock = anyio.Lock()
            self._asking_in_loop.set(lock)
        async with lock:
            yield


class ClientCredentials(_TokenAuth):
    """An account's ID and secret, as `auth` of `ExchangeClient`, `Blocklist.open` or any client of httpx."""

    def __init__(self, client_id: str, secret: str, *, token_url: str, scopes: Iterable[str] = ()) -> None:
        """Touches no network.

        Args:
            client_id: the account's ID, as the exchange gave it.
            secret: its secret. It goes to `token_url` only, and into no message.
            token_url: where tokens are fetched, see `token_url_of`.
            scopes: what the token is for; by default all that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        super().__init__(client_id, token_url=token_url, scopes=scopes)
        self._secret = _usable(secret, "client secret")

    @classmethod
    def for_exchange(cls, url: str, client_id: str, secret: str, *, scopes: Iterable[str] = ()) -> Self:
        """Credentials for the exchange that has this base URL, or serves this repository.

        Args:
            url: the exchange's base URL, or any URL below it; tokens are fetched at `token_url_of` it.
            client_id: the account's ID, as the exchange gave it.
            secret: its secret.
            scopes: what the token is for; by default everything that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.

        >>> ClientCredentials.for_exchange("https://exchange.example", "telkomsel", "a-secret")
        ClientCredentials('telkomsel', token_url='https://exchange.example/oauth/token', scopes=())
        """
        return cls(client_id, secret, token_url=token_url_of(url), scopes=scopes)

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        # Each part form-encoded first, since an ID may hold a colon (RFC 6749, 2.3.1).
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}


class PrivateKeyJwt(_TokenAuth):
    """An account's ID and its private key, of which the exchange knows the public half (RFC 7523).

    Nothing that is sent can be used again: each assertion holds for a minute, for one use, at one address.
    """

    def __init__(self, client_id: str, key: str | bytes, *, token_url: str, scopes: Iterable[str] = ()) -> None:
        """Touches no network.

        Args:
            client_id: the account's ID, as the exchange gave it.
            key: the private key in PEM form, not encrypted: on the curve P-256, or Ed25519. Its assertions name
                their algorithm ``ES256`` or ``Ed25519`` (RFC 9864).
            token_url: where tokens are fetched, see `token_url_of`; assertions are made out to it.
            scopes: what the token is for; by default all that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        super().__init__(client_id, token_url=token_url, scopes=scopes)
        self._key, self._algorithm = _private_key(key)

    @classmethod
    def for_exchange(cls, url: str, client_id: str, key: str | bytes, *, scopes: Iterable[str] = ()) -> Self:
        """Credentials for the exchange that has this base URL, or serves this repository.

        Args:
            url: the exchange's base URL, or any URL below it; tokens are fetched at `token_url_of` it.
            client_id: the account's ID, as the exchange gave it.
            key: its private key, as for the class itself.
            scopes: what the token is for; by default everything that the account may do.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        return cls(client_id, key, token_url=token_url_of(url), scopes=scopes)

    def _proof(self) -> tuple[dict[str, str], dict[str, str]]:
        from joserfc import jwt

        now = int(time.time())
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


def _usable(text: str, what: str) -> str:
    if not is_printable_ascii(text):
        raise InvalidInput(f"the {what} must be printable ASCII, and not empty: check what you were given")
    return text


def _address(token_url: str) -> str:
    try:
        parts = urlsplit(token_url)
        origin_of(token_url)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput("the token URL is no URL: give one such as https://exchange.example/oauth/token") from error
    if parts.scheme not in ("https", "http") or parts.fragment or "@" in parts.netloc:
        raise InvalidInput(
            f"{shown(token_url)} cannot give tokens: the address starts with https: or http:, and holds no credentials"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        log.warning("%s: credentials go over the network in the clear; use https:", shown(token_url))
    return token_url


def _private_key(pem: str | bytes) -> tuple[Any, str]:
    """The key and the name of what it signs with."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey

    data = pem.encode() if isinstance(pem, str) else pem
    for kind, curve, algorithm in ((ECKey, "P-256", "ES256"), (OKPKey, "Ed25519", "Ed25519")):
        # What comes from the library below has no type of its own.
        with contextlib.suppress(JoseError, ValueError, TypeError, AttributeError):
            key = kind.import_key(data)
            if key.is_private and key.curve_name == curve:
                return key, algorithm
    raise InvalidInput(
        "that is no private key that can be used: it must be PEM, not encrypted, on the curve P-256 or Ed25519"
    )


def _token_in(response: httpx.Response, at: str) -> tuple[str, float]:
    """An access token and its life in seconds."""
    status = response.status_code
    document = _object_in(response)
    if status == 200 and document is not None:
        token, kind, life = (document.get(name) for name in ("access_token", "token_type", "expires_in"))
        is_bearer = isinstance(kind, str) and kind.lower() == "bearer"
        if is_bearer and isinstance(token, str) and token and all("!" <= each <= "~" for each in token):
            # Python counts truth among the integers.
            known = isinstance(life, (int, float)) and not isinstance(life, bool)
            return token, min(max(float(life or 0), 0.0), _LIFE_MAX_S) if known else _LIFE_DEFAULT_S
        raise Malformed(f"{at}: what came is no token of OAuth: check the address")
    if status in _PASSING or status >= 500:
        raise Unreachable(
            f"{at}: no token, the server answered {status} {response.reason_phrase}: try again later",
            url=at,
            status=status,
            retry_after=retry_after_in(response.headers),
        )
    if document is not None and isinstance(document.get("error"), str):
        error = str(document["error"])[:100]
        said = document.get("error_description")
        detail = f" ({said[:500]})" if isinstance(said, str) and said else ""
        raise ExchangeError(
            f"{at}: no token, {error}{detail}: {_ADVICE.get(error, 'check the credentials')}",
            status=status,
            problem=document,
        )
    raise Malformed(
        f"{at}: the server answered {status} {response.reason_phrase}, which is no answer to a request for a token. "
        "Check the address and the network in between; a captive portal may have answered."
    )


def _object_in(response: httpx.Response) -> dict[str, Any] | None:
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
