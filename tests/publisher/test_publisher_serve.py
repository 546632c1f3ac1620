"""The small server: ranges, validators, caching headers, and nothing beyond the repository."""

import contextlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.serve import RepositoryServer, serving
from support.waiting import until

BODY = bytes(range(256)) * 40
FILE = "/targets/a/abc.1.snapshot.parquet"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets" / "a").mkdir(parents=True)
    (folder / "metadata" / "timestamp.json").write_bytes(b"{}")
    (folder / FILE[1:]).write_bytes(BODY)
    (folder / "targets" / "empty").write_bytes(b"")
    (folder / "targets" / ".new-half").write_bytes(b"half")
    (folder / "secret").write_bytes(b"secret")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "online.pem").write_bytes(b"secret")
    (folder / "targets" / "link").symlink_to(tmp_path / "keys")
    return folder


@pytest.fixture
def connection(repository: Path) -> Iterator[http.client.HTTPConnection]:
    with serving(repository) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        yield connection
        connection.close()


def ask(
    connection: http.client.HTTPConnection, path: str = FILE, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def test_a_file_as_it_is(connection: http.client.HTTPConnection) -> None:
    status, body, headers = ask(connection)
    assert (status, body) == (200, BODY)
    assert headers["Content-Length"] == str(len(BODY))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"]
    assert headers["Last-Modified"]
    status, body, headers = ask(connection, method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(BODY)))
    assert ask(connection, "/targets/empty")[:2] == (200, b"")


@pytest.mark.parametrize(
    "head",
    ["Content-Length: {length}", "content-length: 0", "Transfer-Encoding: chunked", "transfer-encoding: identity"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_body_of_a_request_is_not_taken_for_the_next_request(repository: Path, head: str, method: str) -> None:
    body = b"GET /metadata/timestamp.json HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"{method} /targets/empty HTTP/1.1\r\nHost: x\r\n{head.format(length=len(body))}\r\n\r\n"
    with serving(repository) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := connection.recv(65_536):
                    received += data
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in received
    assert b"{}" not in received


@pytest.mark.parametrize("path", ["http://[/targets/empty", "//[x/targets/empty", "/targets/%zz", "/targets/%00"])
def test_an_address_that_cannot_be_read_is_not_found(connection: http.client.HTTPConnection, path: str) -> None:
    connection.putrequest("GET", path, skip_host=True)  # the client would read the host in it
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b"")
    assert ask(connection, "/targets/empty")[:2] == (200, b""), "the connection goes on"


@pytest.mark.timing
def test_a_kept_connection_does_not_wait_between_head_and_body(connection: http.client.HTTPConnection) -> None:
    """Forty milliseconds each time, where it does; otherwise only a busy machine takes as long, now and then."""

    def is_at_once() -> bool:
        started = time.perf_counter()
        connection.request("GET", "/metadata/timestamp.json")
        assert connection.getresponse().read()
        return time.perf_counter() - started < 0.03

    until(is_at_once)


def test_only_the_timestamp_may_not_be_cached(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/metadata/timestamp.json")[2]["Cache-Control"] == "no-cache"
    assert "immutable" in ask(connection)[2]["Cache-Control"]
    # The next root is asked for before it is there: a cache must not remember that it was not.
    status, _, headers = ask(connection, "/metadata/2.root.json")
    assert (status, headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=10000-99999", 10000, None),
     ("bytes=0-", 0, None), ("bytes=-99999", 0, None)],
)  # fmt: skip
def test_ranges(connection: http.client.HTTPConnection, asked: str, start: int, stop: int | None) -> None:
    status, body, headers = ask(connection, Range=asked)
    assert (status, body) == (206, BODY[start:stop])
    first = start % len(BODY)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(BODY)}"
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_out_of_reach(connection: http.client.HTTPConnection, asked: str) -> None:
    status, body, headers = ask(connection, Range=asked)
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(BODY)}")


@pytest.mark.parametrize("asked", ["bytes=9-0", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=x-"])
def test_anything_but_a_single_range_is_answered_whole(connection: http.client.HTTPConnection, asked: str) -> None:
    assert ask(connection, Range=asked)[:2] == (200, BODY)


def test_a_range_holds_only_for_the_file_it_began_with(
    connection: http.client.HTTPConnection, repository: Path
) -> None:
    headers = ask(connection)[2]
    for validator in (headers["ETag"], headers["Last-Modified"]):
        assert ask(connection, Range="bytes=5-", If_Range=validator)[0] == 206
    assert ask(connection, If_None_Match=headers["ETag"])[:2] == (304, b"")
    (repository / FILE[1:]).write_bytes(BODY[::-1] + b"x")
    assert ask(connection, Range="bytes=5-", If_Range=headers["ETag"])[:2] == (200, BODY[::-1] + b"x")
    assert ask(connection, If_None_Match=headers["ETag"])[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/metadata", "/metadata/", "/targets/a", "/targets/a/", "/secret", "/targets/.new-half",
     "/targets/../../keys/online.pem", "/targets/%2e%2e/%2e%2e/keys/online.pem", "/targets/..%2f..%2fkeys%2fonline.pem",
     "//etc/passwd", "/targets//etc/passwd", "/targets/link/online.pem", "/targets/a%00", "/keys/online.pem",
     "/metadata/timestamp.json/", "/targets/" + "a" * 5000],
)  # fmt: skip
def test_nothing_else_is_served(connection: http.client.HTTPConnection, path: str) -> None:
    status, body, _ = ask(connection, path)
    assert (status, body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent(connection: http.client.HTTPConnection, method: str) -> None:
    assert ask(connection, method=method)[0] == 501


def test_it_stops_although_clients_keep_their_connections(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(repository) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        assert ask(connection)[0] == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(connection)
    connection.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url + FILE, timeout=60)
    assert capfd.readouterr() == ("", "")


def test_many_at_once(repository: Path) -> None:
    bodies: list[bytes] = []
    with serving(repository) as url:

        def fetch() -> None:
            with urllib.request.urlopen(url + FILE, timeout=60) as response:
                bodies.append(response.read())

        threads = [threading.Thread(target=fetch) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert bodies == [BODY] * 16


def test_what_cannot_be_served(repository: Path) -> None:
    with pytest.raises(InvalidInput, match="not a repository"):
        RepositoryServer(repository / "metadata")
    with RepositoryServer(repository) as server:
        with pytest.raises(InvalidInput, match="cannot listen"):
            RepositoryServer(repository, port=server.server_address[1])
        with pytest.raises(InvalidInput, match="cannot listen"):
            RepositoryServer(repository, port=99999)
