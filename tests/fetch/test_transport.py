"""The transport's own decisions, against a simulated server."""

import gc
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Unreachable, Untrusted
from blocklist_sdk.fetch.transport import Transport, TransportSettings

URL = "https://exchange.example/metadata/timestamp.json"
SETTINGS = TransportSettings(attempts=4, backoff_initial_s=0.5, backoff_max_s=8.0)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def transport(waits: list[float]) -> Iterator[Transport]:
    with Transport(settings=SETTINGS, sleep=waits.append) as made:
        yield made


def test_a_file_is_fetched_and_counted(transport: Transport, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(content=b"12345")
    assert transport.get(URL, max_bytes=5) == b"12345"
    assert transport.bytes_received == 5


def test_nothing_is_asked_for_compressed(transport: Transport, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(URL).respond(content=b"")
    transport.get(URL, max_bytes=5)
    assert route.calls.last.request.headers["Accept-Encoding"] == "identity"
    assert route.calls.last.request.headers["User-Agent"].startswith("blocklist-sdk/")


@pytest.mark.parametrize("coding", ["gzip", "BR", "zstd", "gzip, gzip", "identity,GZIP"])
def test_what_comes_compressed_all_the_same(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], coding: str
) -> None:
    respx_mock.get(URL).respond(stream=httpx.ByteStream(b"1"), headers={"Content-Encoding": coding})
    with pytest.raises(Malformed, match="switch compression off"):
        transport.get(URL, max_bytes=5)
    assert waits == []


# Retries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], status: int
) -> None:
    respx_mock.get(URL).mock(side_effect=[httpx.Response(status), httpx.Response(status), httpx.Response(200)])
    assert transport.get(URL, max_bytes=5) == b""
    assert len(waits) == 2


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 410])
def test_what_does_not_pass_is_not(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], status: int
) -> None:
    route = respx_mock.get(URL).respond(status)
    with pytest.raises(Unreachable, match=f"answered {status}") as caught:
        transport.get(URL, max_bytes=5)
    assert (caught.value.status, caught.value.url, caught.value.retry_after) == (status, URL, None)
    assert (route.call_count, waits) == (1, [])


def test_the_network_is_tried_as_often_as_was_set(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    route = respx_mock.get(URL).mock(side_effect=httpx.ConnectTimeout("slow"))
    with pytest.raises(Unreachable, match="timed out") as caught:
        transport.get(URL, max_bytes=5)
    assert caught.value.status is None
    assert isinstance(caught.value.__cause__, httpx.ConnectTimeout)
    assert route.call_count == 4
    assert [0 <= wait <= longest for wait, longest in zip(waits, (0.5, 1, 2), strict=True)] == [True] * 3


@pytest.mark.parametrize("asked_s", [0, 7, 30])
def test_retry_after_is_honoured(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], asked_s: int
) -> None:
    busy = httpx.Response(503, headers={"Retry-After": str(asked_s)})
    respx_mock.get(URL).mock(side_effect=[busy, httpx.Response(200)])
    transport.get(URL, max_bytes=5)
    assert len(waits) == 1
    assert asked_s <= waits[0] <= asked_s + SETTINGS.backoff_initial_s


IN_TWO_HOURS = "in two hours"


@pytest.mark.parametrize("value", ["-5", "nan", "inf", "soon", ""])
def test_a_retry_after_that_says_nothing_leaves_our_own_wait(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], value: str
) -> None:
    respx_mock.get(URL).mock(side_effect=[httpx.Response(429, headers={"Retry-After": value}), httpx.Response(200)])
    transport.get(URL, max_bytes=5)
    assert len(waits) == 1
    assert waits[0] <= SETTINGS.backoff_initial_s


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("31", 31.0, 31.0),
        ("99999999999999999999", 86_400.0, 86_400.0),
        ("9" * 400, 86_400.0, 86_400.0),
        (IN_TWO_HOURS, 6000.0, 7200.0),
    ],
    ids=["seconds", "centuries", "400 digits", "a date"],
)
def test_a_longer_retry_after_than_a_sync_waits_is_passed_on(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], value: str, least: float, most: float
) -> None:
    if value == IN_TWO_HOURS:  # not when tests are collected: each worker would collect another one
        value = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    route = respx_mock.get(URL).respond(503, headers={"Retry-After": value})
    with pytest.raises(Unreachable) as caught:
        transport.get(URL, max_bytes=5)
    assert caught.value.status == 503
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most
    assert (route.call_count, waits) == (1, [])


# Redirects and credentials


def test_a_redirect_is_followed(transport: Transport, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(302, headers={"Location": "/mirror/timestamp.json"})
    respx_mock.get("https://exchange.example/mirror/timestamp.json").respond(content=b"1")
    assert transport.get(URL, max_bytes=5) == b"1"


@pytest.mark.parametrize("target", ["http://exchange.example/timestamp.json", "file:///etc/hosts", "ftp://x.example/a"])
def test_a_redirect_away_from_https_is_refused(transport: Transport, respx_mock: respx.MockRouter, target: str) -> None:
    respx_mock.get(URL).respond(302, headers={"Location": target})
    with pytest.raises(Untrusted, match="not followed"):
        transport.get(URL, max_bytes=5)


def test_a_redirect_to_local_files_is_refused_from_http_too(
    transport: Transport, respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    respx_mock.get("http://exchange.example/a").respond(302, headers={"Location": (tmp_path / "secret").as_uri()})
    with pytest.raises(Untrusted, match="not followed"):
        transport.get("http://exchange.example/a", max_bytes=5)


@pytest.mark.parametrize(
    "target",
    [
        "http://xn--/",
        "http://xn--zz/",
        "mailto:x",
        f"http://{'a' * 70}.example/",
        "http://..",
    ],
)
def test_a_redirect_to_nowhere_is_the_servers_fault(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], target: str
) -> None:
    respx_mock.route(host="exchange.example", path="/a").respond(302, headers={"Location": target})
    respx_mock.route().pass_through()
    with pytest.raises(Unreachable) as caught:
        transport.get("http://exchange.example/a", max_bytes=5)
    assert caught.value.url == "http://exchange.example/a"


def test_a_loop_of_redirects(transport: Transport, respx_mock: respx.MockRouter, waits: list[float]) -> None:
    route = respx_mock.get(URL).respond(302, headers={"Location": URL})
    with pytest.raises(Unreachable, match="redirect") as caught:
        transport.get(URL, max_bytes=5)
    assert (caught.value.status, route.call_count, waits) == (302, 6, [])


def test_credentials_stay_with_the_address_they_are_for(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(302, headers={"Location": "https://exchange.example/here"})
    here = respx_mock.get("https://exchange.example/here")
    here.respond(302, headers={"Location": "https://cdn.example/there"})
    there = respx_mock.get("https://cdn.example/there").respond(content=b"1")
    with Transport(auth=httpx.BasicAuth("me", "secret"), headers={"X-Api-Key": "secret"}) as transport:
        transport.get(URL, max_bytes=5)
    assert {"Authorization", "X-Api-Key"} <= {name.title() for name in here.calls.last.request.headers}
    assert not {"authorization", "x-api-key"} & set(there.calls.last.request.headers)


def test_credentials_in_a_url_work_and_are_never_shown(transport: Transport, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(URL).respond(404)
    with pytest.raises(Unreachable) as caught:
        transport.get(URL.replace("//", "//me:secret@") + "?signature=secret", max_bytes=5)
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")
    assert "secret" not in f"{caught.value} {caught.value.url}"
    assert caught.value.url == URL


@pytest.mark.parametrize(
    "url",
    [
        "exchange.example/metadata",
        "ftp://exchange.example/",
        "http://",
        "http:///metadata",
        "http://me:secret/x@exchange.example/",
        "http://[::1/",
        "http://exchange.example:port/",
        f"http://{'a' * 70}.example/",
        "http://exchange.example/\0",
        "file://exchange.example/srv/repository",
        "srv/repository",
        "",
    ],
)
def test_invalid_addresses(transport: Transport, waits: list[float], url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        transport.get(url, max_bytes=5)
    assert "secret" not in str(caught.value)
    assert waits == []


@pytest.mark.parametrize(("name", "value"), [("ALL_PROXY", "nonsense://x"), ("SSL_CERT_FILE", "/nowhere/ca.pem")])
def test_an_environment_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (tmp_path / "a").write_bytes(b"1")
    with Transport() as transport:
        with pytest.raises(InvalidInput, match=name):
            transport.get(URL, max_bytes=5)
        # A file needs neither.
        assert transport.get((tmp_path / "a").as_uri(), max_bytes=5) == b"1"


# Lengths


@pytest.mark.parametrize("declared", [True, False])
def test_more_than_there_may_be_is_untrusted(
    transport: Transport, respx_mock: respx.MockRouter, waits: list[float], declared: bool
) -> None:
    headers = {"Content-Length": "6"} if declared else {"Transfer-Encoding": "chunked"}
    respx_mock.get(URL).respond(stream=httpx.ByteStream(b"123456"), headers=headers)
    with pytest.raises(Untrusted, match="longer than the 5 bytes"):
        transport.get(URL, max_bytes=5)
    assert transport.bytes_received == (0 if declared else 6)
    assert waits == []


def test_a_download_never_writes_more_than_its_length(
    transport: Transport, respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    respx_mock.get(URL).mock(side_effect=lambda _: httpx.Response(200, content=endless()))
    with pytest.raises(Untrusted):
        transport.download(URL, tmp_path / "file", length=2500)
    assert (tmp_path / "file").stat().st_size <= 2500


# file: addresses


def test_files_are_fetched_like_everything_else(transport: Transport, tmp_path: Path) -> None:
    file = tmp_path / "with space %41.json"
    file.write_bytes(b"12345")
    assert transport.get(file.as_uri(), max_bytes=5) == b"12345"
    transport.download(file.as_uri(), tmp_path / "copy", length=5)
    assert (tmp_path / "copy").read_bytes() == b"12345"
    assert transport.bytes_received == 10
    with pytest.raises(Untrusted):
        transport.get(file.as_uri(), max_bytes=4)


def test_files_need_no_proxy_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Transport() as transport:
        assert transport.get((tmp_path / "a").as_uri(), max_bytes=5) == b"1"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: f"{path.as_uri()}/missing",
        lambda path: path.as_uri(),
        lambda path: f"{path.as_uri()}/a/b",
        lambda path: f"{path.as_uri()}/inner%2F..%2Fa",
        lambda path: f"{path.as_uri()}/inner/%2E%2E/a%2F",
        lambda path: f"{path.as_uri()}/a%00",
    ],
)
def test_a_path_that_is_not_a_file_is_missing(
    transport: Transport, tmp_path: Path, waits: list[float], spoil: Callable[[Path], str]
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(Unreachable) as caught:
        transport.get(spoil(tmp_path), max_bytes=5)
    assert (caught.value.status, waits) == (404, [])


def test_every_error_is_ours(transport: Transport, respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """Whatever httpx raises on the way comes out as one of ours."""
    for kind in (httpx.ReadError, httpx.RemoteProtocolError, httpx.ProxyError, httpx.PoolTimeout, httpx.DecodingError):
        respx_mock.get(URL).mock(side_effect=kind("broken"))
        with pytest.raises(BlocklistError, match="broken"):
            transport.get(URL, max_bytes=5)
        with pytest.raises(BlocklistError, match="broken"):
            transport.download(URL, tmp_path / "file", length=5)


class Marker:
    """Something that a caller has at hand while it fetches."""


@pytest.mark.parametrize("answer", [{"return_value": httpx.Response(404)}, {"side_effect": httpx.ReadError("cut")}])
def test_an_error_keeps_nothing_of_its_caller(
    transport: Transport, respx_mock: respx.MockRouter, answer: dict[str, Any]
) -> None:
    respx_mock.get(URL).mock(**answer)

    def fetch() -> "weakref.ref[Marker]":
        marker = Marker()
        with pytest.raises(Unreachable):
            transport.get(URL, max_bytes=5)
        return weakref.ref(marker)

    gc.collect()
    gc.disable()
    try:
        assert fetch()() is None
    finally:
        gc.enable()
