"""The transport against real sockets that refuse, stall, drip, cut, lie and fail."""

import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from blocklist_sdk.errors import BlocklistError, StorageFailed, Unreachable, Untrusted
from blocklist_sdk.fetch.transport import Transport, TransportSettings

BODY = bytes(range(256)) * 400
HALF = len(BODY) // 2
OK = b"HTTP/1.1 200 OK\r\n"

Step = Callable[[socket.socket, str], None]
"""Answers one request, given its head; then the connection is closed."""


class ScriptedServer:
    """Answers the n-th connection with the n-th step of its script, and all later ones with the last.

    Attributes:
        heads: the heads of the requests that came. Under `tls` the steps themselves read and encrypt.
    """

    def __init__(self, *script: Step, tls: bool = False) -> None:
        self.heads: list[str] = []
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._run)]

    def __enter__(self) -> "ScriptedServer":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/targets/file"

    def header(self, request: int, name: str) -> str | None:
        """A header of the n-th request."""
        lines = (line.partition(": ") for line in self.heads[request].split("\r\n")[1:])
        return {key.lower(): value for key, _, value in lines}.get(name)

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._answer, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            head = b"\r\n\r\n" if self._tls else b""
            while not head.endswith(b"\r\n\r\n"):
                received = connection.recv(65_536)
                if not received:
                    return
                head += received
            self.heads.append(head.decode("ascii"))
            self._script[min(len(self.heads), len(self._script)) - 1](connection, self.heads[-1])


Serve = Callable[..., ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *script, tls=False: stack.enter_context(ScriptedServer(*script, tls=tls))


@pytest.fixture
def twice() -> Iterator[Transport]:
    """Settings for requests that must fail."""
    with Transport(settings=TransportSettings(attempts=2), sleep=lambda _: None) as made:
        yield made


@pytest.fixture
def impatient() -> Iterator[Transport]:
    """Settings for answers that do not end by themselves."""
    settings = TransportSettings(
        attempts=2, connect_timeout_s=5, read_timeout_s=0.15, minimum_rate_window_s=0.15, minimum_bytes_per_s=1000
    )
    with Transport(settings=settings, sleep=lambda _: None) as made:
        yield made


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Settings for requests that must succeed in the end."""
    with Transport(sleep=lambda _: None) as made:
        yield made


def respond(head: bytes, body: bytes = b"") -> Step:
    return lambda connection, _: connection.sendall(head + b"\r\n" + body)


def whole(body: bytes = BODY, *, header: bytes = b"") -> Step:
    return respond(OK + header + b"Content-Length: %d\r\n" % len(body), body)


def cut(body: bytes = BODY[:HALF], *, header: bytes = b"") -> Step:
    """Announces all of `BODY` and sends less."""
    return respond(OK + header + b"Content-Length: %d\r\n" % len(BODY), body)


def rest(connection: socket.socket, head: str) -> None:
    """The range asked for."""
    start = int(head.lower().partition("range: bytes=")[2].partition("-")[0])
    connection.sendall(
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n"
        % (start, len(BODY) - 1, len(BODY), len(BODY) - start)
    )
    connection.sendall(BODY[start:])


def failing(status: int) -> Step:
    return respond(b"HTTP/1.1 %d Busy\r\nContent-Length: 0\r\n" % status)


def wait_for_the_other_end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)


def stall(connection: socket.socket, _: str) -> None:
    wait_for_the_other_end(connection)


def stall_half_way(connection: socket.socket, head: str) -> None:
    cut()(connection, head)
    wait_for_the_other_end(connection)


def drip(beginning: bytes, drop: bytes) -> Step:
    """One byte after the other, each within the read timeout."""

    def step(connection: socket.socket, _: str) -> None:
        connection.sendall(beginning)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return step


# Servers that cannot be reached


def test_refused(twice: Transport, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
    with pytest.raises(Unreachable, match="refused") as caught:
        twice.get(url, max_bytes=5)
    assert (caught.value.status, caught.value.url) == (None, url)
    with pytest.raises(Unreachable):
        twice.download(url, tmp_path / "file", length=5)


@pytest.mark.timing
@pytest.mark.parametrize(
    "step",
    [
        stall,
        stall_half_way,
        drip(OK + b"Content-Length: %d\r\n\r\n" % len(BODY), b"x"),
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
        drip(OK + b"\r\n", b"x"),
        drip(OK + b"X-Header: ", b"x"),
        drip(b"", b"H"),
    ],
    ids=["stalled", "stalled half-way", "body", "chunks", "chunk header", "no length", "header", "status line"],
)
def test_a_server_that_stalls_or_drips(impatient: Transport, serve: Serve, tmp_path: Path, step: Step) -> None:
    server = serve(step)
    with pytest.raises(Unreachable) as caught:
        impatient.get(server.url, max_bytes=len(BODY))
    assert caught.value.status is None
    with pytest.raises(Unreachable):
        impatient.download(server.url, tmp_path / "file", length=len(BODY))


def test_failing_for_ever(twice: Transport, serve: Serve) -> None:
    server = serve(failing(503))
    with pytest.raises(Unreachable, match="answered 503") as caught:
        twice.get(server.url, max_bytes=5)
    assert caught.value.status == 503
    assert len(server.heads) == 2


def test_cut_for_ever(twice: Transport, serve: Serve, tmp_path: Path) -> None:
    server = serve(cut(BODY[:1]))
    with pytest.raises(Unreachable):
        twice.get(server.url, max_bytes=len(BODY))
    with pytest.raises(Unreachable):
        twice.download(server.url, tmp_path / "file", length=len(BODY))


def test_endless(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    server = serve(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 0x10000 + b"\r\n"))
    with pytest.raises(Untrusted, match="longer than"):
        transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").stat().st_size <= len(BODY)
    with pytest.raises(Untrusted, match="longer than"):
        transport.get(server.url, max_bytes=len(BODY))


def test_no_http_at_all(twice: Transport, serve: Serve) -> None:
    server = serve(lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))
    with pytest.raises(Unreachable):
        twice.get(server.url, max_bytes=5)


# Faults that pass


def test_failing_twice(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    server = serve(failing(503), failing(503), whole())
    assert transport.get(server.url, max_bytes=len(BODY)) == BODY
    server = serve(failing(503), failing(503), whole())
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    ("header", "condition"),
    [
        (b"", None),
        (b'ETag: "a"\r\n', '"a"'),
        (b'ETag: W/"a"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n', "Wed, 21 Oct 2015 07:28:00 GMT"),
        (b'ETag: "a"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n', '"a"'),
    ],
)
def test_a_cut_file_is_resumed(
    transport: Transport, serve: Serve, tmp_path: Path, header: bytes, condition: str | None
) -> None:
    server = serve(cut(header=header), failing(503), rest)
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY
    assert transport.bytes_received == len(BODY)
    assert server.header(0, "range") is None
    assert server.header(2, "range") == f"bytes={HALF}-"
    assert server.header(2, "if-range") == condition


@pytest.mark.parametrize("method", ["range ignored", "range not satisfiable", "another range", "no range"])
def test_a_server_that_cannot_resume(transport: Transport, serve: Serve, tmp_path: Path, method: str) -> None:
    answer = {
        "range ignored": whole(),
        "range not satisfiable": failing(416),
        "another range": respond(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/3\r\n", b"xx"),
        "no range": respond(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " + b"9" * 5000 + b"-\r\n", b"xx"),
    }[method]
    server = serve(cut(), answer, whole())
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY


def test_the_end_of_a_connection_is_not_the_end_of_a_file(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    """Without a length, a cut looks like an end."""
    server = serve(respond(OK, BODY[:HALF]), rest)
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_file_that_is_there_is_not_asked_for_again(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    """Cut between its last byte and the end of the answer."""
    server = serve(respond(OK + b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % len(BODY) + BODY + b"\r\n"))
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.heads) == 1


def test_a_line_that_breaks_but_carries_on_is_not_given_up(serve: Serve, tmp_path: Path) -> None:
    settings = TransportSettings(attempts=2, minimum_bytes_per_s=1000, minimum_rate_window_s=10)

    def a_little_more(connection: socket.socket, head: str) -> None:
        start = int(head.lower().partition("range: bytes=")[2].partition("-")[0] or 0)
        status = b"206 Partial Content" if start else b"200 OK"
        length = b"Content-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(
            b"HTTP/1.1 " + status + b"\r\n" + length % (start, len(BODY) - 1, len(BODY), len(BODY) - start)
        )
        connection.sendall(BODY[start : start + 12_000])

    server = serve(a_little_more)
    with Transport(settings=settings, sleep=lambda _: None) as transport:
        transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.heads) == 9


# Lies


def test_a_file_that_claims_to_be_longer(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    server = serve(whole())
    with pytest.raises(Untrusted):
        transport.download(server.url, tmp_path / "file", length=len(BODY) - 1)
    assert transport.bytes_received == 0


def test_a_file_that_is_shorter_ends_where_it_ends(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    """The length is right: only the signed hash, which the caller checks, finds the damage."""
    server = serve(whole(BODY[:HALF]))
    transport.download(server.url, tmp_path / "file", length=len(BODY))
    assert (tmp_path / "file").read_bytes() == BODY[:HALF]


def test_a_disk_that_refuses(transport: Transport, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(StorageFailed) as caught:
        transport.download(serve(whole()).url, path, length=len(BODY))
    assert caught.value.path == path
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, allowed[1]))
    try:
        with pytest.raises(StorageFailed, match="too large"):
            transport.download(serve(whole()).url, tmp_path / "file", length=len(BODY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def encrypted(certificate: Path, step: Step) -> Step:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrapped(connection: socket.socket, head: str) -> None:
        with context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(65_536)
            step(inside, head)

    return wrapped


@pytest.mark.timing
def test_over_tls(
    serve: Serve, certificate: Path, tmp_path: Path, twice: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(encrypted(certificate, whole()), tls=True).url.replace("http:", "https:")
    with pytest.raises(Unreachable, match="certificate verify failed"):
        twice.get(url, max_bytes=len(BODY))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Transport(sleep=lambda _: None) as transport:
        assert transport.get(url, max_bytes=len(BODY)) == BODY
    url = serve(encrypted(certificate, drip(OK + b"X-Header: ", b"x")), tls=True).url.replace("http:", "https:")
    settings = TransportSettings(attempts=1, minimum_rate_window_s=0.3)
    with Transport(settings=settings) as transport, pytest.raises(Unreachable, match="bytes a second"):
        transport.get(url, max_bytes=len(BODY))


def test_no_cookie_is_kept_or_sent() -> None:
    """No server may know one request from another by what it set."""

    def set_cookie(connection: socket.socket, head: str) -> None:
        connection.sendall(
            OK + b"Set-Cookie: who=me; Path=/; Max-Age=9999\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
        )

    with ScriptedServer(set_cookie) as server, Transport() as transport:
        for _ in range(3):
            assert transport.get(server.url, max_bytes=9) == b"x"
        assert [server.header(request, "Cookie") for request in range(3)] == [None, None, None]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, \x1b[2J\xe2\x80\xae\x07\r\n",
        b"HTTP/1.1 404 No \x1b[2J\x07\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\x1b[2J\r\n",
    ],
)
def test_what_a_server_says_reaches_no_terminal(head: bytes) -> None:
    def answer(connection: socket.socket, request: str) -> None:
        connection.sendall(head + b"Content-Length: 1\r\nConnection: close\r\n\r\nx")

    with ScriptedServer(answer) as server, Transport(settings=TransportSettings(attempts=1)) as transport:
        with pytest.raises(BlocklistError) as caught:
            transport.get(server.url, max_bytes=9)
        assert str(caught.value).isprintable()
