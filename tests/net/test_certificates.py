"""Certificates: which authorities are trusted, what is said of others, and that plain requests need none."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from blocklist_sdk import ExchangeClient, InvalidInput, Malformed, Unreachable
from blocklist_sdk.exchange import certificates_in_use, tls_context
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.net.certificates import Certificates, certificates_of, trusting
from blocklist_sdk.net.http import httpx

ONCE = TransportSettings(attempts=1, connect_timeout_s=5.0)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "our-ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[int]:
    """A server with TLS, or without, that answers each request with one letter; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(5)
                        inside = connection if context is None else context.wrap_socket(connection, server_side=True)
                        with inside:
                            inside.recv(65_536)
                            inside.sendall(ANSWER)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def fetched(url: str, tls: ssl.SSLContext | None = None) -> bytes:
    with Transport(settings=ONCE, tls=tls) as transport:
        return transport.get(url, max_bytes=9)


# Which are trusted


def test_the_operating_systems_store_is_the_default() -> None:
    found = certificates_in_use(environment={})
    assert found.source == ("system" if Path("/etc/ssl/certs/ca-certificates.crt").exists() else found.source)
    assert str(found).startswith("the operating system's authorities (/") or "certifi" in str(found)
    context = trusting(found)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert certificates_of(context) == found
    if found.source == "system":
        import truststore

        assert isinstance(context, truststore.SSLContext)


def test_certifi_stands_in_where_there_is_no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing")
    monkeypatch.setattr(
        ssl, "get_default_verify_paths", lambda: ssl.DefaultVerifyPaths("", "", "F", nothing, "D", str(tmp_path))
    )
    monkeypatch.setattr("blocklist_sdk.net.certificates._STORES", (nothing,))
    found = certificates_in_use(environment={})
    assert found.source == "certifi"
    assert "since the operating system has no store" in str(found)
    assert len(trusting(found).get_ca_certs()) > 50


def test_a_store_is_found_in_every_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca: Path) -> None:
    def paths(file: Path, folder: Path) -> None:
        made = ssl.DefaultVerifyPaths("", "", "F", str(file), "D", str(folder))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: made)

    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr("blocklist_sdk.net.certificates._STORES", ())
    paths(ca, folder)
    assert certificates_in_use(environment={}) == Certificates("system", (str(ca),))
    paths(tmp_path / "nothing", folder)
    assert certificates_in_use(environment={}).source == "certifi"
    (folder / "README").write_text("no certificate")
    assert certificates_in_use(environment={}).source == "certifi"
    (folder / "0a1b2c3d.0").write_text("hashed")
    assert certificates_in_use(environment={}) == Certificates("system", (str(folder),))
    (folder / "0a1b2c3d.0").unlink()
    monkeypatch.setattr("blocklist_sdk.net.certificates._STORES", (str(ca),))
    assert certificates_in_use(environment={}) == Certificates("system", (str(ca),))


def test_the_environment_and_a_file_come_before_it(ca: Path, tmp_path: Path) -> None:
    both = {"SSL_CERT_FILE": str(ca), "SSL_CERT_DIR": str(tmp_path)}
    assert str(certificates_in_use(environment=both)) == (
        f"the authorities in {ca} and {tmp_path} (SSL_CERT_FILE and SSL_CERT_DIR)"
    )
    assert str(certificates_in_use(ca, environment=both)) == f"the authorities in {ca}"
    assert certificates_in_use(environment={"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}).source != "environment"
    assert len(trusting(certificates_in_use(environment=both)).get_ca_certs()) == 1
    assert len(tls_context(ca=ca).get_ca_certs()) == 1


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_missing_path_is_named(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv(name, "/nowhere/at-all")
    with pytest.raises(InvalidInput, match=f"{name} names /nowhere/at-all"):
        fetched("https://127.0.0.1:9/a")
    with pytest.raises(InvalidInput, match="/nowhere/at-all"):
        ExchangeClient("https://127.0.0.1:9/")
    # What needs no certificates does not ask for them.
    assert fetched((tmp_path / "a").as_uri()) == b"1"
    with serving(None) as port:
        assert fetched(f"http://127.0.0.1:{port}/a") == b"x"


def test_a_file_in_the_environment_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(InvalidInput, match=r"cannot use the certificates in .*ca\.pem"):
        fetched("https://127.0.0.1:9/a")


# What is said of others


def test_an_authority_that_is_not_trusted_names_the_remedy(
    authority: trustme.CA, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server_context(authority, "localhost")) as port:
        url = f"https://localhost:{port}/a"
        with pytest.raises(Unreachable) as caught:
            fetched(url)
        with (
            ExchangeClient(url, settings=ClientSettings(attempts=1)) as exchange,
            pytest.raises(Unreachable) as refused,
        ):
            exchange.get_health()
        for text in (str(caught.value), str(refused.value)):
            assert f"the certificate of https://localhost:{port} was not trusted" in text
            assert f"Here only the authorities in {os.environ['SSL_CERT_DIR']} (SSL_CERT_DIR) are trusted" in text
            assert all(word in text for word in ("--ca FILE", "BLOCKLIST_CA", "SSL_CERT_FILE"))
        other = trustme.CA()
        other.cert_pem.write_to_path(str(ca.with_name("other.pem")))
        with pytest.raises(Unreachable, match=r"Here only the authorities in .*other\.pem are trusted"):
            fetched(url, tls_context(ca=ca.with_name("other.pem")))
        assert fetched(url, tls_context(ca=ca)) == b"x"
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert fetched(url) == b"x"


def test_a_certificate_of_another_name_says_so(authority: trustme.CA, ca: Path) -> None:
    with serving(server_context(authority, "other.example")) as port, pytest.raises(Unreachable) as caught:
        fetched(f"https://localhost:{port}/a", tls_context(ca=ca))
    assert "is for another name" in str(caught.value)
    assert "--ca" not in str(caught.value)


def test_a_certificate_that_has_expired_names_the_clock(authority: trustme.CA, ca: Path) -> None:
    from datetime import UTC, datetime

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = datetime(2020, 1, 1, tzinfo=UTC)
    authority.issue_cert("localhost", not_before=before, not_after=before.replace(year=2021)).configure_cert(context)
    with serving(context) as port, pytest.raises(Unreachable, match=r"was not trusted.*Check this machine's clock"):
        fetched(f"https://localhost:{port}/a", tls_context(ca=ca))


def test_http_spoken_where_tls_is_expected_and_the_reverse(authority: trustme.CA, ca: Path) -> None:
    with serving(None) as port, pytest.raises(Unreachable, match=f"https://localhost:{port} does not speak TLS.*http:"):
        fetched(f"https://localhost:{port}/a", tls_context(ca=ca))
    with serving(server_context(authority, "localhost")) as port, pytest.raises(Unreachable) as caught:
        fetched(f"http://localhost:{port}/a")
    assert "begin the address with https:" in str(caught.value)


def test_what_a_web_server_answers_to_http_on_a_port_with_tls(respx_mock: Any) -> None:
    respx_mock.get("http://lists.example/a").respond(400)
    with pytest.raises(Unreachable, match="if it expects TLS, begin the address with https:"):
        fetched("http://lists.example/a")


# What needs none


class Counted(Exception):
    """A TLS context was made."""


def test_no_context_is_made_without_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def made(*_: object, **__: object) -> None:
        raise Counted

    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setattr(ssl, "create_default_context", made)
    monkeypatch.setattr(ssl.SSLContext, "__new__", made)
    with serving(None) as port:
        url = f"http://127.0.0.1:{port}/a"
        assert fetched(url) == b"x"
        assert fetched((tmp_path / "a").as_uri()) == b"1"
        with ExchangeClient(url, settings=ClientSettings(attempts=1)) as exchange, pytest.raises(Malformed):
            exchange.get_health()
    with pytest.raises(Counted):
        fetched("https://127.0.0.1:9/a")


@pytest.mark.skipif(httpx.__name__ == "httpx2", reason="httpx2 imports truststore by itself")
def test_truststore_is_imported_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    code = f"""
import sys
from blocklist_sdk.fetch.transport import Transport
with Transport() as transport:
    transport.get({(tmp_path / "a").as_uri()!r}, max_bytes=9)
assert not {{"truststore", "certifi"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
