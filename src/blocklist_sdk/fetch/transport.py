"""Bytes from a repository: timeouts, retries, resumption and a minimum rate, over HTTP and from `file:` alike.

Nothing is verified here: what arrives is only bounded in length and in time.
"""

import contextlib
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import tenacity

from blocklist_sdk import __version__, times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput, Malformed, NotPermitted, Unreachable, Untrusted
from blocklist_sdk.fetch.file_urls import FileTransport
from blocklist_sdk.fetch.minimum_rate import MinimumRate
from blocklist_sdk.fetch.partial import Partial
from blocklist_sdk.fetch.stopping import SyncStopped
from blocklist_sdk.net import in_memory
from blocklist_sdk.net.addresses import read_url
from blocklist_sdk.net.addresses import shown as shown
from blocklist_sdk.net.cutter import SocketCutter
from blocklist_sdk.net.failures import is_refused_by_proxy, why_failed, why_refused_by_proxy
from blocklist_sdk.net.http import ends_with_connection, httpx, no_cookies
from blocklist_sdk.net.loggers import masked_logs
from blocklist_sdk.net.retries import retried
from blocklist_sdk.net.retry_after import retry_after_in
from blocklist_sdk.net.routes import Routes
from blocklist_sdk.net.server_clock import clock_offset

_REDIRECTS_MAX = 5
_SCHEMES = ("https", "http", "file")
_FILE_HOST = "localhost"
_PORT_MAX = 65_535
_HOUR_S = 3600.0
_PASSING_STATUSES = frozenset({408, 425, 429})
"""Client errors that go away by themselves (RFC 9110 section 15.5, RFC 8470, RFC 6585); so do all of 500 and above."""
_NOT_PERMITTED = frozenset({401, 403})
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate", "compress", "br", "zstd"})
_ADVICE = {
    404: "the file does not exist: check the address",
    429: "too many requests: sync less often",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How patient a sync is with the network. The defaults suit a server anywhere and a line of 128 kbit/s or more.

    Attributes:
        connect_timeout_s: how long making a connection may take, in seconds.
        read_timeout_s: how long a server may send nothing, in seconds.
        attempts: how often one file is tried; attempts that make progress on a large file do not count.
        backoff_initial_s: the first wait between attempts is random between 0 and this; each further wait may be
            twice as long.
        backoff_max_s: the longest wait between attempts.
        retry_after_wait_max_s: a server that asks for a longer wait ends the sync; the error says how long it asked.
        retry_after_cap_s: the longest wait asked by a server that is passed on (24 h, as in Safe Browsing).
        minimum_bytes_per_s: what must arrive per second, on average over a window: a timeout alone never ends a
            download that drips in byte by byte.
        minimum_rate_window_s: the length of that window, in seconds. A server that has not begun to answer by then is
            too slow as well.
        deadline_s: how long all downloads of a sync may take together, in seconds; None for an hour and what the files
            take at the minimum rate, by their signed lengths.

    >>> TransportSettings(attempts=2).read_timeout_s
    30.0
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    attempts: int = 4
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 8.0
    retry_after_wait_max_s: float = 30.0
    retry_after_cap_s: float = 86_400.0
    minimum_bytes_per_s: float = 16_000.0
    minimum_rate_window_s: float = 30.0
    deadline_s: float | None = None


_DEFAULTS = TransportSettings()


class Transport:
    """Fetches files of a repository, one after the other; for one thread.

    Only `abort` may be called from other threads. After it, every fetch ends with `SyncStopped`.

    Attributes:
        bytes_received: bytes of bodies that came over the wire, discarded ones too.
        clock_offset: how far this machine's clock is ahead of the server's, by its last answer, negative if it is
            behind; None if that does not say. Nobody signs it.
    """

    def __init__(
        self,
        *,
        settings: TransportSettings = _DEFAULTS,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Does not connect yet.

        Args:
            settings: timeouts and retries.
            auth: credentials. They, and `headers`, go to the address asked for and never follow a redirect away.
            headers: sent with every request.
            tls: the trusted authorities and a client certificate; by default those of `certificates_in_use`, and no
                certificate. It is made with the first request that needs it.
            sleep: how to wait between attempts; by default a wait that `abort` ends.
        """
        self.bytes_received: int = 0
        self.clock_offset: timedelta | None = None
        self._settings = settings
        self._auth = auth
        self._headers = dict(headers or {})
        self._cutter = SocketCutter()
        self._answered: httpx.Response | None = None
        self._aborted = threading.Event()
        self._ends = self._allowed_s = math.inf
        self._backoff = tenacity.wait_random_exponential(
            multiplier=settings.backoff_initial_s, max=settings.backoff_max_s
        )
        self._retrying = tenacity.Retrying(
            sleep=sleep or self._pause,
            stop=tenacity.stop_after_attempt(settings.attempts),
            wait=self._wait_s,
            retry=tenacity.retry_if_exception(self._may_pass),
            reraise=True,
        )
        self._client = httpx.Client(
            # Signed files are hashed as they travel: compression on the way would change their length.
            headers={"User-Agent": f"blocklist-sdk/{__version__}", **self._headers, "Accept-Encoding": "identity"},
            cookies=no_cookies(),
            timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            # Proxies and certificates are for servers only, and `Routes` reads the environment by itself.
            trust_env=False,
            transport=Routes(tls=tls),
            mounts={"file://": FileTransport()},
            event_hooks={"response": [self._note_answer]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the transport cannot be used afterwards."""
        self._client.close()

    def abort(self) -> None:
        """End what another thread is fetching, and refuse to fetch more; returns at once.

        Only a connection that is just being made may last until its timeout.
        """
        self._aborted.set()
        self._cutter.cut_for_good()

    def limit_time(self, length: int = 0) -> None:
        """Let everything that is fetched from now on take so long together, and no longer; by default without a limit.

        Args:
            length: the bytes to fetch. Does nothing if the settings have a deadline that already runs.
        """
        given_s = self._settings.deadline_s
        if given_s is not None and self._ends < math.inf:
            return
        allowed_s = _HOUR_S + length / max(self._settings.minimum_bytes_per_s, 1.0) if given_s is None else given_s
        self._allowed_s = allowed_s
        self._ends = time.monotonic() + allowed_s

    def get(self, url: str, *, max_bytes: int) -> bytes:
        """Fetch a small file whole.

        Raises:
            Unreachable: no answer, a status other than 200, or too slow, after all attempts; `status` says which.
            Untrusted: it is longer than `max_bytes`, or a redirect leads from https elsewhere.
            InvalidInput: the URL, or the proxy or certificate settings of the environment, cannot be used.
        """

        def attempt() -> bytes:
            with self._answer(url) as response:
                return b"".join(self._read(response, max_bytes))

        return retried(self._retrying, attempt)

    def download(self, url: str, path: Path, *, length: int) -> None:
        """Fetch a large file to a private path; after a cut, continue where it was cut.

        The result has at most `length` bytes, fewer if the server's file is shorter: verify it.

        Args:
            url: its address.
            path: overwritten if it exists; after an error it may be incomplete.
            length: the signed length in bytes.

        Raises:
            Unreachable, Untrusted, InvalidInput: as for `get`.
            StorageFailed: the local disk failed.
        """
        with storage(path), path.open("wb") as file:
            partial = Partial(file, length)
            # As long as a line that breaks carries on at the minimum rate, it is slow and not dead.
            progress_bytes = self._floor_bytes * self._settings.attempts
            while True:
                before = file.tell()
                try:
                    return retried(self._retrying, self._continue, url, partial)
                except Unreachable as error:
                    if error.status is not None or file.tell() - before < progress_bytes:
                        raise

    def _continue(self, url: str, partial: Partial) -> None:
        if partial.is_complete:
            return
        with self._answer(url, partial.range_headers()) as response:
            if not partial.accept(response.status_code, response.headers):
                raise Unreachable(f"{shown(url)}: the server could not go on where the file was cut", url=shown(url))
            for chunk in self._read(response, partial.missing_bytes):
                partial.file.write(chunk)
            self._stop_if_aborted()
            if partial.missing_bytes and ends_with_connection(response):
                raise Unreachable(f"{shown(url)}: the connection was cut half-way", url=shown(url))

    @contextlib.contextmanager
    def _answer(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """One attempt at one request, watched from the first byte to the last; all of httpx's errors end here."""
        at = shown(url)
        self._answered = None
        self._stop_if_aborted()
        self._stop_if_late(url)
        with self._watch() as watch:
            try:
                with contextlib.closing(self._send(url, headers)) as response:
                    self._check(response, url, ranged=headers is not None)
                    yield response
                slow = watch.fired
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, OverflowError) as error:
                # Not with its cause, whose text may be a password.
                raise self._unusable(at, error) from None
            except httpx.RequestError as error:
                self._stop_if_aborted(error)
                if is_refused_by_proxy(error):
                    asks = httpx.codes.PROXY_AUTHENTICATION_REQUIRED.value
                    raise NotPermitted(f"{at}: {why_failed(error)}", url=at, status=asks) from error
                if not watch.fired:
                    raise Unreachable(f"{at}: {why_failed(error)}", url=at) from error
                slow = True
        # A body that ends with its connection looks whole after a cut.
        self._stop_if_aborted()
        if slow:
            raise Unreachable(
                f"{at}: less than {self._settings.minimum_bytes_per_s:g} bytes a second came for "
                f"{self._settings.minimum_rate_window_s:g} s. Try again later, or lower the minimum rate.",
                url=at,
            )

    def _unusable(self, at: str, error: Exception) -> InvalidInput | Unreachable:
        """The error for an address that cannot be used: the server's fault after a redirect, else the caller's."""
        if self._answered is not None:
            status = self._answered.status_code
            return Unreachable(
                f"{at}: the server answered {status} and leads to an address that cannot be fetched. Check the address "
                "and the network in between; a captive portal may have answered in the server's stead.",
                url=at,
                status=status,
            )
        if isinstance(error, httpx.InvalidURL):
            # Not in httpx's words: they repeat a part of the URL, which may be a password.
            return InvalidInput(f"{at} is not a URL: check it")
        # What httpx and Python say of other faults may repeat a part of the URL.
        reason = f": {error}" if isinstance(error, httpx.UnsupportedProtocol) else ": check it"
        return InvalidInput(f"{at} is not an address that can be fetched{reason}")

    def _send(self, url: str, headers: Mapping[str, str] | None) -> httpx.Response:
        """Send and follow redirects, bounded and without reading their bodies, as httpx itself would."""
        request = self._client.build_request(
            "GET", _address(url), headers=headers, extensions={"trace": self._cutter.trace}
        )
        auth = self._auth
        for _ in range(_REDIRECTS_MAX + 1):
            with masked_logs():
                response = self._client.send(request, auth=auth, stream=True)
            following = response.next_request
            if following is None:
                return response
            response.close()
            _check_redirect(request.url, following.url)
            if _origin(request.url) != _origin(following.url):
                auth = None
                for name in ("Authorization", *self._headers):
                    following.headers.pop(name, None)
            request = following
        raise Unreachable(
            f"{shown(url)} leads from redirect to redirect: check the address",
            url=shown(url),
            status=response.status_code,
        )

    def _check(self, response: httpx.Response, url: str, *, ranged: bool) -> None:
        at, status = shown(url), response.status_code
        if status == 200 or (ranged and status in (206, 416)):
            coding = response.headers.get("Content-Encoding", "").lower()
            if _COMPRESSED & {each.strip() for each in coding.split(",")}:
                raise Malformed(
                    f"{at} comes compressed ({coding}), which was not asked for: switch compression off for the "
                    "repository, on the server or the proxy"
                )
            return
        if by_proxy := why_refused_by_proxy(response):
            raise NotPermitted(f"{at}: {by_proxy}", url=at, status=status)
        if status == 400 and response.url.scheme == "http":
            # What nginx and others answer to a request without TLS at a port with TLS.
            raise Unreachable(
                f"{at}: the server answered 400: if it expects TLS, begin the address with https:, or correct the port",
                url=at,
                status=status,
            )
        if status in _NOT_PERMITTED:
            raise NotPermitted(f"{at}: {self._why_not_permitted(response, url)}", url=at, status=status)
        advice = _ADVICE.get(status, "try again later" if status >= 500 else "a repository does not answer like this")
        raise Unreachable(
            f"{at}: the server answered {status} {response.reason_phrase}: {advice}",
            url=at,
            status=status,
            retry_after=retry_after_in(response.headers, cap_s=self._settings.retry_after_cap_s),
        )

    def _why_not_permitted(self, response: httpx.Response, url: str) -> str:
        """Who was refused, and what to do."""
        status = f"the server answered {response.status_code} {response.reason_phrase}"
        if response.request.url.scheme == "file":
            return "this user may not read the file: correct its permissions, or those of its folders"
        has_credentials = self._auth is not None or self._headers or "Authorization" in response.request.headers
        if has_credentials and _origin(response.request.url) != _origin(_address(url)):
            return (
                f"{status}: it is another server, to which the address leads, and credentials are not sent to it. If "
                "the repository has moved, give its new address"
            )
        if not has_credentials:
            if response.status_code == 401:
                return (
                    f"{status}: it wants an account, and none was given: set client_id, and client_secret_file or "
                    "client_key (--client-id …), or give auth="
                )
            return (
                f"{status}: it does not let everybody have this file. If it wants an account, set client_id, and "
                "client_secret_file or client_key (--client-id …), or give auth=. Otherwise check the address and the "
                "name of the feed, and ask whoever runs the server"
            )
        client_id = getattr(self._auth, "client_id", None)
        account = "this account" if client_id is None else f"the account {client_id!r}"
        if response.status_code == 401:
            return f"{status}: it does not accept the credentials of {account}: check them, and their end"
        return (
            f"{status}: {account} may not have this file. Check the name of the feed, use an account that may, or ask "
            "the publisher to permit it"
        )

    def _read(self, response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
        """The body as it came over the wire; refused as soon as it is, or says that it is, too long."""
        if int(response.headers.get("Content-Length", 0)) > max_bytes:
            raise _too_long(response, max_bytes)
        received = 0
        for chunk in response.iter_raw():
            self._stop_if_aborted()
            self._stop_if_late(str(response.url))
            received += len(chunk)
            self.bytes_received += len(chunk)
            if received > max_bytes:
                raise _too_long(response, max_bytes)
            yield chunk

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, Unreachable):
            return self._backoff(state)
        # On top of what the server asks for, so that those whom it asked the same do not all come back at once.
        return in_memory.patience_s(error.url, (error.retry_after or 0.0) + self._backoff(state))

    def _may_pass(self, error: BaseException) -> bool:
        return (
            isinstance(error, Unreachable)
            and time.monotonic() < self._ends
            and (error.status is None or error.status in _PASSING_STATUSES or error.status >= 500)
            and (error.retry_after or 0.0) <= self._settings.retry_after_wait_max_s
        )

    def _watch(self) -> MinimumRate:
        return MinimumRate(
            lambda: self.bytes_received,
            floor_bytes=self._floor_bytes,
            window_s=self._settings.minimum_rate_window_s,
            cut=self._cutter.cut,
        )

    @property
    def _floor_bytes(self) -> float:
        return self._settings.minimum_bytes_per_s * self._settings.minimum_rate_window_s

    def _note_answer(self, response: httpx.Response) -> None:
        self._answered = response
        self.clock_offset = clock_offset(response.headers, now=times.now())

    def _pause(self, seconds: float) -> None:
        self._aborted.wait(min(seconds, max(0.0, self._ends - time.monotonic())))

    def _stop_if_aborted(self, cause: Exception | None = None) -> None:
        if self._aborted.is_set():
            raise SyncStopped from cause

    def _stop_if_late(self, url: str) -> None:
        if time.monotonic() >= self._ends:
            raise Unreachable(
                f"{shown(url)}: the downloads of this sync took longer than the {self._allowed_s:,g} s that they may "
                "take. Try again later, or give them more time: deadline_s=, or --deadline.",
                url=shown(url),
            )


def _address(url: str) -> httpx.URL:
    """A URL that can be asked for; `InvalidInput` or `httpx.UnsupportedProtocol` says what is wrong with any other."""
    if ":" in url:
        # Strictly, or a part of a password would be looked up as the host.
        read_url(url, what="the address", example="https://lists.example/repository")
    address = httpx.URL(url)
    if address.scheme not in _SCHEMES:
        raise httpx.UnsupportedProtocol("it must start with https:, http: or file:")
    if address.scheme == "file":
        if address.host not in ("", _FILE_HOST):
            raise httpx.UnsupportedProtocol("file: has no host, as in file:///srv/repository")
        # A URL without a host is a relative one for httpx, which loses its scheme.
        return address.copy_with(host=_FILE_HOST)
    if not address.host:
        raise httpx.UnsupportedProtocol("it names no host")
    if address.port is not None and address.port > _PORT_MAX:
        raise httpx.UnsupportedProtocol(f"its port is above {_PORT_MAX}")
    return address


def _check_redirect(source: httpx.URL, target: httpx.URL) -> None:
    allowed = ("https",) if source.scheme == "https" else ("https", "http")
    if target.scheme not in allowed:
        raise Untrusted(
            f"{shown(str(source))} redirects from {source.scheme}: to {target.scheme}:, which is not followed. "
            "Check the address and the network in between."
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _too_long(response: httpx.Response, max_bytes: int) -> Untrusted:
    return Untrusted(
        f"{shown(str(response.url))} is longer than the {max_bytes} bytes that it may have: it was not read. "
        "Check the address and the network in between, and tell the publisher."
    )
