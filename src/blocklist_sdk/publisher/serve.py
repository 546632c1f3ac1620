"""A small server for the static files of a repository.

For development, demonstrations, and small exchanges behind a reverse proxy. It supports what recipients use: ranges,
validators, caching headers; not TLS.
"""

import contextlib
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.ranges import FileVersion
from blocklist_sdk.net.static_files import cache_control, find_file
from blocklist_sdk.places import resolved

log: logging.Logger = logging.getLogger(__name__)

IDLE_S: Final = 30
"""How long a connection may be silent, seconds, so that slow or forgotten clients do not occupy threads."""

_SERVED_FOLDERS = ("metadata", "targets")


@contextlib.contextmanager
def serving(repository: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a repository in the background.

    Args:
        repository: the folder with ``metadata/`` and ``targets/``.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.

    Yields:
        The base URL.

    Raises:
        InvalidInput: the folder is not a repository, or cannot listen on the address.

    Example:
        >>> import tempfile, urllib.request
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("metadata", "targets"):
        ...     (folder / name).mkdir()
        >>> _ = (folder / "metadata" / "timestamp.json").write_text("{}")
        >>> with serving(folder) as url, urllib.request.urlopen(f"{url}/metadata/timestamp.json") as response:
        ...     response.read()
        b'{}'
    """
    with RepositoryServer(repository, host=host, port=port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


class RepositoryServer(ThreadingHTTPServer):
    """The server itself, to run ``serve_forever()`` in the foreground; a context manager that closes it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """Recipients sync at the same minute; one that finds the queue full tries again a second later."""

    def __init__(self, repository: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, without serving anything yet.

        Args:
            repository: the folder with ``metadata/`` and ``targets/``.
            host: address to listen on.
            port: port to listen on; 0 takes a free one.

        Raises:
            InvalidInput: the folder is not a repository, or cannot listen on the address.
        """
        self.repository: Path = resolved(repository)
        if not (self.repository / "metadata").is_dir():
            raise InvalidInput(
                f"{self.repository} is not a repository: give the folder with metadata/ and targets/, "
                "repository/ in a publisher's folder"
            )
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InvalidInput(f"cannot listen on {host}, port {port}: {error}") from error

    @property
    def url(self) -> str:
        """The base URL, for recipients."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that it can be closed with the server."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and close the connections that clients keep open."""
        super().server_close()
        with self._open_lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log it at the level DEBUG, since clients often disconnect."""
        log.debug("a connection failed", exc_info=True)


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """An open file and what its response needs."""

    file: BinaryIO
    version: FileVersion
    cache_control: str


class _Handler(BaseHTTPRequestHandler):
    server: RepositoryServer
    protocol_version = "HTTP/1.1"
    server_version = "blocklist"
    sys_version = ""
    timeout = IDLE_S
    # Otherwise the body would wait 40 ms until the head, which is sent before it, is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def parse_request(self) -> bool:
        """Read a request's head; after a request with a body, which is not read, the connection is closed.

        Otherwise its body would be taken for the next request of a kept connection, which may be another client's
        behind a proxy.
        """
        is_read = super().parse_request()
        if is_read and any(name in self.headers for name in ("Content-Length", "Transfer-Encoding")):
            self.close_connection = True
        return is_read

    def end_headers(self) -> None:
        """Say so if the connection is closed after this response."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log what recipients request."""

    def _answer(self, *, with_body: bool) -> None:
        with contextlib.ExitStack() as stack:
            opened = self._find(stack)
            if opened is None:
                self._refuse(HTTPStatus.NOT_FOUND)
                return
            if opened.version.is_known(self.headers):
                self._begin(HTTPStatus.NOT_MODIFIED, opened)
                self.end_headers()
                return
            size, part = opened.version.size, opened.version.requested_range(self.headers)
            if part is None:
                self._begin(HTTPStatus.OK, opened)
                part = range(size)
            elif part:
                self._begin(HTTPStatus.PARTIAL_CONTENT, opened)
                self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
            else:
                self._begin(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, opened)
                self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if with_body and part:
                self.wfile.flush()
                self.connection.sendfile(opened.file, part.start, len(part))

    def _begin(self, status: HTTPStatus, opened: _OpenFile) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", opened.version.etag)
        self.send_header("Last-Modified", opened.version.modified)
        self.send_header("Cache-Control", opened.cache_control)

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        # A missing file may exist in a moment: recipients ask for the next root before it exists.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _find(self, stack: contextlib.ExitStack) -> _OpenFile | None:
        """The requested file, opened; None if the repository does not have it."""
        try:
            parts = unquote(urlsplit(self.path).path).split("/")[1:]
        except ValueError:
            return None  # such as an address with half of its brackets
        known = find_file(self.server.repository, parts) if parts and parts[0] in _SERVED_FOLDERS else None
        if known is None:
            return None
        path, _ = known
        try:
            file = stack.enter_context(path.open("rb"))
            status = os.fstat(file.fileno())
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None  # it was replaced since it was found
        return _OpenFile(file, FileVersion.of(status), cache_control(path.name, kept_by="public"))
