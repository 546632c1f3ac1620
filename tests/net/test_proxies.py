"""Proxies: which one a request goes through, and what is said when it fails."""

import base64
import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import ExchangeClient, InvalidInput, NotPermitted, Unreachable
from blocklist_sdk.enforcement import SinkUnavailable, open_sink
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.net.proxies import is_bypassed, proxy_for
from support.sink_batches import numbered

ONCE = TransportSettings(attempts=1, connect_timeout_s=2.0)
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers each connection once; yields its port and the requests."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        head = b""
                        while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
                            head += piece
                        requests.append(head)
                        connection.sendall(answer(head))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], requests
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def response(status: str, body: bytes = b"") -> Callable[[bytes], bytes]:
    return lambda _: f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetched(url: str) -> bytes:
    with Transport(settings=ONCE) as transport:
        return transport.get(url, max_bytes=99)


# Which one


@pytest.mark.parametrize(
    ("no_proxy", "host", "expected"),
    [
        ("lists.example", "lists.example", True),
        ("lists.example", "LISTS.example.", True),
        ("lists.example", "eu.lists.example", True),
        ("lists.example", "otherlists.example", False),
        (".lists.example", "eu.lists.example", True),
        (".lists.example", "lists.example", True),
        ("*.lists.example", "eu.lists.example", True),
        ("*.lists.example", "lists.example.org", False),
        ("lists.example:8443", "lists.example", True),
        ("lists.example:443", "lists.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:8443", "10.1.2.3", True),
        ("10.1.2.3:1", "10.1.2.3", False),
        ("10.1.2.3", "110.1.2.3", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "10.example", False),
        ("0.0.0.0/0", "::1", False),
        ("fd00::7", "fd00:0::7", True),
        ("[fd00::7]", "fd00::7", True),
        ("[fd00::7]:8443", "fd00::7", True),
        ("[fd00::7]:1", "fd00::7", False),
        ("fd00::/8", "fd12::1", True),
        ("[fd00::]/8", "fd12::1", True),
        ("fd00::/8", "2001:db8::1", False),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("::/0", "::ffff:10.0.0.1", True),
        ("::/0", "10.0.0.1", False),
        ("*", "anything.example", True),
        ("*", "fd00::7", True),
        ("", "lists.example", False),
        (" , ,", "lists.example", False),
        (" localhost , lists.example ", "lists.example", True),
        ("localhost lists.example", "lists.example", True),
        ("nonsense/x, [, ::::, :80, %, .", "lists.example", False),
        ("münchen.example", "xn--mnchen-3ya.example", True),
    ],
)
def test_what_no_proxy_means(no_proxy: str, host: str, expected: bool) -> None:
    assert is_bypassed(host, 8443, no_proxy) is expected


ADDRESSES = st.ip_addresses()


@given(address=ADDRESSES, length=st.integers(0, 32), others=st.lists(st.text(max_size=12)))
def test_a_network_covers_what_is_in_it(address: ipaddress.IPv4Address, length: int, others: list[str]) -> None:
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    covered = [network[0], network[-1], address]
    assert all(is_bypassed(str(each), 443, ",".join([*others, str(network)])) for each in covered)
    if length:
        outside = network[0] - 1 if int(network[0]) else network[-1] + 1
        if getattr(outside, "ipv4_mapped", None) is None:
            assert not is_bypassed(str(outside), 443, str(network))


LABELS = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)


@given(name=NAMES, below=NAMES, form=st.sampled_from(["{}", ".{}", "*.{}", "{}:8443", " {} ", "{}."]))
def test_a_name_covers_itself_and_what_is_below_it(name: str, below: str, form: str) -> None:
    entry = form.format(name).replace(".:", ":")
    assert is_bypassed(name, 8443, entry)
    assert is_bypassed(f"{below}.{name}", 8443, entry)
    assert not is_bypassed(f"{name}.{below}x", 8443, entry)
    assert not is_bypassed(f"x{name}", 8443, entry)


@given(host=st.one_of(NAMES, ADDRESSES.map(str)), no_proxy=st.text())
def test_no_text_stops_anything(host: str, no_proxy: str) -> None:
    assert is_bypassed(host, 443, no_proxy) in (True, False)


@pytest.mark.parametrize(
    ("scheme", "environment", "expected"),
    [
        ("https", {"HTTPS_PROXY": "http://p:1"}, "http://p:1 (HTTPS_PROXY)"),
        ("https", {"HTTP_PROXY": "http://p:1"}, "None"),
        ("http", {"HTTPS_PROXY": "http://p:1"}, "None"),
        ("https", {"HTTPS_PROXY": "p:1"}, "http://p:1 (HTTPS_PROXY)"),
        ("https", {"ALL_PROXY": "socks5://p:1"}, "socks5://p:1 (ALL_PROXY)"),
        ("https", {"https_proxy": "http://a", "HTTPS_PROXY": "http://b"}, "http://a (https_proxy)"),
        ("https", {"https_proxy": "", "HTTPS_PROXY": "http://b"}, "None"),
        ("https", {"HTTPS_PROXY": " ", "ALL_PROXY": "http://c"}, "http://c (ALL_PROXY)"),
        ("http", {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}, "None"),
        ("http", {"http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "http://p (http_proxy)"),
        ("https", {"HTTPS_PROXY": "http://p", "NO_PROXY": "lists.example"}, "None"),
        ("https", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*", "no_proxy": ""}, "http://p (HTTPS_PROXY)"),
        ("https", {"HTTPS_PROXY": "http://me:s3cret@p:1"}, "http://p:1 (HTTPS_PROXY)"),
    ],
)
def test_which_variable_names_the_proxy(scheme: str, environment: dict[str, str], expected: str) -> None:
    proxy = proxy_for(scheme, "lists.example", None, environment)
    assert str(proxy) == expected
    assert "s3cret" not in repr(proxy)


@pytest.mark.parametrize("value", ["what://is", "http://", "http://me:s3cret/x@p", "http://p:99999", "http://a,b"])
def test_a_variable_that_names_no_proxy_is_named(value: str) -> None:
    with pytest.raises(InvalidInput, match="HTTPS_PROXY") as caught:
        proxy_for("https", "lists.example", None, {"HTTPS_PROXY": value})
    assert "s3cret" not in str(caught.value)


# What happens


NO_PROXIES = (
    "127.0.0.1",
    "localhost,127.0.0.0/8",
    "127.0.0.1:{port}",
    "fd00::/8, 127.0.0.1",
    "[::1], 127.0.0.1",
    "::1,127.0.0.1",
    "::ffff:127.0.0.1",
    "*",
    ".example *.test 127.0.0.1",
)


@pytest.mark.parametrize("no_proxy", NO_PROXIES)
def test_no_form_of_no_proxy_stops_a_request(no_proxy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    with listening(response("200 OK", b"direct")) as (port, requests):
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=port))
        assert fetched(f"http://127.0.0.1:{port}/a") == b"direct"
        assert requests[0].startswith(b"GET /a ")
    assert fetched((tmp_path / "a").as_uri()) == b"1"


@pytest.mark.parametrize("value", ["http://127.0.0.1:1", "what://is this", "http://u:s3cret/x@p"])
def test_a_file_needs_no_proxy(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    for name in VARIABLES:
        monkeypatch.setenv(name, value)
    assert fetched((tmp_path / "a").as_uri()) == b"1"


def test_a_request_goes_through_the_proxy_with_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(response("200 OK", b"proxied")) as (port, requests):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:p%23s%40s@127.0.0.1:{port}")
        assert fetched("http://lists.example/a") == b"proxied"
    assert requests[0].startswith(b"GET http://lists.example/a ")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p#s@s") in requests[0]


def test_a_cgi_process_takes_no_proxy_from_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    with listening(response("200 OK", b"proxied")) as (proxy, _), listening(response("200 OK", b"direct")) as (port, _):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
        assert fetched(f"http://127.0.0.1:{port}/a") == b"direct"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, r"cannot be reached \(.*refused.*\): correct {variable}, or add the host to NO_PROXY"),
        ("407 Proxy Authentication Required", r"does not accept the account in {variable} \(407\)"),
    ],
)
def test_a_failing_proxy_is_named_with_its_variable(
    scheme: str, answer: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{scheme.upper()}_PROXY"
    with contextlib.ExitStack() as stack:
        port = closed_port() if answer is None else stack.enter_context(listening(response(answer)))[0]
        monkeypatch.setenv(variable, f"http://me:s3cret@127.0.0.1:{port}")
        match = rf"the proxy http://127\.0\.0\.1:{port} \({variable}\) {expected.format(variable=variable)}"
        url = f"{scheme}://lists.example/a"
        kind = Unreachable if answer is None else NotPermitted
        with pytest.raises(Unreachable, match=match) as caught:
            fetched(url)
        assert type(caught.value) is kind
        texts = [str(caught.value)]
        with ExchangeClient(url, settings=ClientSettings(attempts=1)) as exchange:
            with pytest.raises(Unreachable, match=match) as refused:
                exchange.get_health()
            assert type(refused.value) is kind
            texts.append(str(refused.value))
        sink = open_sink(url, feed="id-all", secret="whsec_" + "QUFB" * 8)
        with pytest.raises(SinkUnavailable, match=match) as unavailable:
            sink.apply(numbered(1, size=2))
        sink.close()
        assert unavailable.value.is_permitted is (answer is None)
        texts.append(str(unavailable.value))
    assert not any("s3cret" in text or "cannot be used" in text for text in texts)


def test_a_proxy_without_an_account_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(response("407 Give Me")) as (port, _):
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
        for url in ("http://lists.example/a", "https://lists.example/a"):
            with pytest.raises(
                NotPermitted, match=r"asks for an account \(407\): write user and password into ALL_PROXY"
            ):
                fetched(url)


def test_a_proxy_that_refuses_to_connect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(response("403 No")) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(
            Unreachable, match=r"\(HTTPS_PROXY\) does not connect to https://lists.example:443 \(403 No\)"
        ):
            fetched("https://lists.example/a")


def test_a_proxy_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://no-such-proxy.invalid:3128")
    with pytest.raises(
        Unreachable, match=r"the proxy http://no-such-proxy.invalid:3128 \(HTTPS_PROXY\) cannot be reached"
    ):
        fetched("https://lists.example/a")


def test_a_proxy_whose_certificate_is_not_trusted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{server.getsockname()[1]}")
        with pytest.raises(Unreachable, match=r"or of the proxy https://localhost:.*HTTPS_PROXY.* was not trusted"):
            fetched("https://lists.example/a")
        thread.join(5)
    assert "HTTPS_PROXY" in os.environ
