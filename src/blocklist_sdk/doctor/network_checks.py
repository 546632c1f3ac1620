"""Checks of the way to the repository: name, proxy, certificates, connection, clock, and what is signed there."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from blocklist_sdk import times
from blocklist_sdk.doctor.findings import Finding, fail, ok, skipped, warn
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.errors import BlocklistError, ExchangeError, InvalidInput, Stale, Unreachable, Untrusted
from blocklist_sdk.fetch.transport import TransportSettings
from blocklist_sdk.fetch.url_and_root import base_url
from blocklist_sdk.net.addresses import is_loopback, shown
from blocklist_sdk.net.certificates import certificates_in_use
from blocklist_sdk.net.failures import TO_TRUST, why_failed, why_refused_by_proxy
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.proxies import Proxy, proxy_for
from blocklist_sdk.net.routes import Routes, route_of
from blocklist_sdk.net.server_clock import CLOCKS_DIFFER, clock_offset, offset_text
from blocklist_sdk.recipient.offered import Repository, given_root
from blocklist_sdk.release.roots import root_expiry, root_version

_PATIENCE_S: Final = 10.0
_ASKED: Final = TransportSettings(
    connect_timeout_s=_PATIENCE_S, read_timeout_s=_PATIENCE_S, attempts=1, deadline_s=60.0
)

_ROOT_SOON: Final = timedelta(days=30)

_OF_PROXY: Final = "correct the proxy's address, name or password, or exempt the server with NO_PROXY"
_OFFLINE: Final = "--offline leaves the network alone"
_ON_DISK: Final = "the repository is on this disk"
_SET_CLOCK: Final = "set this machine's clock, for example: timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a server answered.

    Attributes:
        status: its HTTP status.
        seconds: how long it took.
        clock_offset: how far this machine's clock is ahead of the server's; None if the answer does not say.
    """

    status: int
    seconds: float
    clock_offset: timedelta | None


def _why_not(patient: Patient) -> str | None:
    """Why the network is not used; None if it is."""
    if patient.settings.url is None:
        return "no url is set"
    if not patient.is_remote:
        return _ON_DISK
    if not patient.is_url:
        return "url cannot be used"
    return _OFFLINE if patient.is_offline else None


def address(patient: Patient) -> Iterator[Finding]:
    """Whether the repository's address is one."""
    name = "address"
    if patient.settings.url is None:
        yield skipped(name, "no url is set")
        return
    try:
        url = base_url(patient.settings.url)
        if not patient.is_url:
            # Not in Python's words: they may repeat a password.
            raise InvalidInput("the repository's address is not a URL: check its host and port, and write @ as %40")
    except InvalidInput as error:
        yield fail(name, error, "correct url in blocklist.toml, or BLOCKLIST_URL")
        return
    parts = urlsplit(url)
    if parts.scheme == "http" and patient.settings.client_id is not None and not is_loopback(parts.hostname):
        yield warn(name, f"{shown(url)} is not encrypted, and an account is used", "use https: for url")
        return
    yield ok(name, shown(url))


def proxy_in_use(patient: Patient) -> Proxy | None:
    """The proxy through which the repository is asked; None for none.

    Raises:
        InvalidInput: the variable does not name a proxy.
    """
    parts = urlsplit(patient.url)
    return proxy_for(parts.scheme, parts.hostname or "", parts.port, os.environ)


def proxy(patient: Patient) -> Iterator[Finding]:
    """Which proxy is used, and which variable says so."""
    name = "proxy"
    if patient.settings.url is None or not patient.is_remote or not patient.is_url:
        yield skipped(name, _why_not(patient) or _ON_DISK)
        return
    try:
        found = proxy_in_use(patient)
    except InvalidInput as error:
        yield fail(name, error, "correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or unset it")
        return
    if found is None:
        yield ok(name, "none: the repository is reached directly")
    else:
        yield ok(name, f"{found}; NO_PROXY names the hosts that need none")


def certificates(patient: Patient) -> Iterator[Finding]:
    """Which authorities may sign the server's certificate, and whether the files can be read."""
    name, settings = "certificates", patient.settings
    try:
        settings.tls()
    except BlocklistError as error:
        yield fail(name, error, "correct ca and client_cert in blocklist.toml: PEM files that this user may read")
        return
    try:
        trusted = certificates_in_use(settings.ca)
    except InvalidInput as error:
        yield fail(name, error, "correct the variable, or unset it")
        return
    yield ok(name, f"{trusted}{', and no others' if settings.ca else ''}")


def connection(patient: Patient) -> Iterator[Finding]:
    """Whether the server's name is known, it answers, what it answers, and what its clock says."""
    if (why := _why_not(patient)) is not None:
        yield from (skipped(each, why) for each in ("name", "connection", "clock"))
        return
    parts = urlsplit(patient.url)
    try:
        through = proxy_in_use(patient)
    except InvalidInput:
        yield from (skipped(each, "the proxy cannot be used") for each in ("name", "connection", "clock"))
        return
    if through is not None:
        yield skipped("name", "the proxy looks it up")
    else:
        try:
            found = {str(each[4][0]) for each in socket.getaddrinfo(parts.hostname, parts.port or 443)}
        except (OSError, UnicodeError) as error:
            unknown = Unreachable(f"the name {parts.hostname} is not known: {error}", url=shown(patient.url))
            yield fail("name", unknown, f"check url, then the resolver: getent hosts {parts.hostname}")
            yield from (skipped(each, "the server's name is not known") for each in ("connection", "clock"))
            return
        yield ok("name", f"{parts.hostname} is {', '.join(sorted(found))}")
    try:
        answer = _ask(patient)
    except _Failed as failed:
        yield failed.finding
        yield skipped("clock", "the server did not answer")
        return
    except BlocklistError as error:
        yield fail("connection", error, "correct client_id and its secret or key, or ask the exchange for new ones")
        yield skipped("clock", "the server gave no token")
        return
    yield _status(patient, answer)
    yield _clock(patient, answer)


class _Failed(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _ask(patient: Patient) -> _Answer:
    """Ask for the file that every sync asks for first."""
    url, at = f"{base_url(patient.url)}/metadata/timestamp.json", shown(patient.url)
    tls = patient.settings.tls()
    auth = patient.settings.repository_auth()
    began, started = times.now(), time.monotonic()
    with httpx.Client(transport=Routes(tls=tls, url=url), timeout=_PATIENCE_S, trust_env=False) as client:
        try:
            answer = client.get(url, auth=auth)
        except httpx.RequestError as error:
            raise _Failed(_unreachable(at, error)) from error
        seconds = time.monotonic() - started
    if why := why_refused_by_proxy(answer):
        raise _Failed(fail("connection", Unreachable(why, url=at), _OF_PROXY))
    halfway = began + timedelta(seconds=seconds / 2)
    return _Answer(answer.status_code, seconds, clock_offset(answer.headers, now=halfway))


def _unreachable(at: str, error: httpx.RequestError) -> Finding:
    why = why_failed(error)
    if TO_TRUST in why:
        return fail("connection", Untrusted(why), f"name the file with the authority's certificate with {TO_TRUST}")
    direct = "check url, and whether a firewall is in between; try again later"
    remedy = direct if route_of(error.request).proxy is None else _OF_PROXY
    return fail("connection", Unreachable(f"{at}: {why}", url=at), remedy)


def _status(patient: Patient, answer: _Answer) -> Finding:
    at, name = shown(patient.url), "connection"
    if answer.status == 200:
        return ok(name, f"{at} answers in {answer.seconds:.2f} s")
    if answer.status in (401, 403):
        error: BlocklistError = ExchangeError(
            f"{at} answers {answer.status}: it does not let this account read", status=answer.status, problem={}
        )
        return fail(name, error, "set client_id and its secret or key, or ask the exchange for the scope of the feed")
    error = Unreachable(f"{at} answers {answer.status}", url=at, status=answer.status)
    if answer.status == 404:
        return fail(name, error, "check url: below it metadata/timestamp.json must be")
    return fail(name, error, "try again later; if it stays so, tell who runs the server")


def _clock(patient: Patient, answer: _Answer) -> Finding:
    name = "clock"
    offset = answer.clock_offset
    if offset is None:
        return skipped(name, "the server does not say what time it is")
    if abs(offset) > CLOCKS_DIFFER:
        return fail(name, Stale(f"{offset_text(offset)}; one of the two is wrong"), _SET_CLOCK)
    return ok(name, offset_text(offset) if abs(offset) > timedelta(seconds=2) else "as the server's")


def repository(patient: Patient) -> Iterator[Finding]:
    """Whether what the repository signs follows from the pinned root, and whether the feed is there."""
    name, settings = "repository", patient.settings
    if settings.url is None or settings.root is None:
        yield skipped(name, "no url or no root is set")
        return
    if patient.is_remote and (why := _why_not(patient)) is not None:
        yield skipped(name, why)
        return
    try:
        pinned = given_root(settings.root)
    except BlocklistError:
        yield skipped(name, "the pinned root cannot be used")
        return
    offered = Repository(settings.url, auth=settings.repository_auth(), tls=settings.tls(), transport=_ASKED)
    try:
        newest = offered.newest_root(pinned.data)
    except Stale as error:
        yield fail(name, error, "check this machine's clock, then ask the publisher to renew its signatures")
        return
    except Untrusted as error:
        yield fail(
            name,
            error,
            "compare the root's fingerprint with the publisher's; if its keys began anew, run blocklist "
            "trust replace --root NEW.json --fingerprint DIGITS",
        )
        return
    except Unreachable as error:
        yield fail(name, error, "check url; the connection above says whether the server answers")
        return
    version, expires = root_version(newest), root_expiry(newest)
    follows = "" if version == pinned.version else f"; the repository is at root {version}, which follows from it"
    if expires - times.now() < _ROOT_SOON:
        yield warn(
            name,
            f"the newest root expires on {expires:%Y-%m-%d}, and nothing can be verified then",
            "ask the publisher to renew it (there: blocklist publish refresh)",
        )
    else:
        yield ok(name, f"what it signs follows from the pinned root {pinned.version}{follows}")
    if settings.feed is not None:
        yield _feed(offered, pinned.data, settings.feed)


def _feed(offered: Repository, root: bytes, feed: str) -> Finding:
    name = "feed"
    try:
        (found,) = offered.feeds(root, only=[feed])
    except InvalidInput as error:
        return fail(name, error, "blocklist feeds")
    if not found.is_permitted:
        error_ = ExchangeError(f"this account may not read feed {feed!r}", status=403, problem={})
        return fail(
            name, error_, f"ask the exchange for the scope feed:{feed}; blocklist feeds shows which it may read"
        )
    if found.serial is None:
        return warn(name, f"feed {feed!r} has no release yet", "ask the publisher when it begins")
    return ok(name, f"{feed}: release {found.serial}, {found.rows:,} entries")
