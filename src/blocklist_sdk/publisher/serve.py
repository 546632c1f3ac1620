"""A small server for a repository: static files, and nothing but those of the repository.

For development, demonstrations, and small exchanges behind a reverse proxy. It speaks what recipients use: ranges,
validators, caching headers; not TLS.
"""

import contextlib
import logging
import os
import socket
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

log = logging.getLogger(__name__)

IDLE_S: Final = 30
"""How long a connection may stay silent, so that slow or forgotten clients do not pile up threads."""

_SERVED_FOLDERS = ("metadata", "targets")


@contextlib.contextmanager
def serving(repository: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a repository in the background.

    Args:
        repository: the folder that holds ``metadata/`` and ``targets/``.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.

    Yields:
        The base URL.

    Raises:
        InvalidInput: the folder is no repository, or the address cannot be listened on.

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
    """The server itself, for who wants ``serve_forever()`` in the foreground; a context manager that closes it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """Recipients wake at the same minute; who finds a short queue full tries again a second later."""

    def __init__(self, repository: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, but serve nothing yet.

        Args:
            repository: the folder that holds ``metadata/`` and ``targets/``.
            host: address to listen on.
            port: port to listen on; 0 takes a free one.

        Raises:
            InvalidInput: the folder is no repository, or the address cannot be listened on.
        """
        self.repository = Path(repository).resolve()
        if not (self.repository / "metadata").is_dir():
            raise InvalidInput(
                f"{self.repository} is no repository: give the folder that holds metadata/ and targets/, "
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
        """Note the connection, so that it can be closed with the server."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and close what clients keep open."""
        super().server_close()
        with self._open_lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep it to the log: clients that hang up are everyday."""
        log.debug("a connection failed", exc_info=True)


@dataclass(frozen=True, slots=True)
class _Found:
    """An open file and how to answer with it."""

    file: BinaryIO
    version: FileVersion
    cache_control: str


class _Handler(BaseHTTPRequestHandler):
    server: RepositoryServer
    protocol_version = "HTTP/1.1"
    server_version = "blocklist"
    sys_version = ""
    timeout = IDLE_S
    # Head and body are sent one after the other; the body would wait 40 ms until the head is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what recipients ask for is nobody's business here."""

    def _answer(self, *, with_body: bool) -> None:
        with contextlib.ExitStack() as stack:
            found = self._find(stack)
            if found is None:
                self._refuse(HTTPStatus.NOT_FOUND)
                return
            if found.version.is_known(self.headers):
                self._begin(HTTPStatus.NOT_MODIFIED, found)
                self.end_headers()
                return
            size, part = found.version.size, found.version.requested_range(self.headers)
            if part is None:
                self._begin(HTTPStatus.OK, found)
                part = range(size)
            elif part:
                self._begin(HTTPStatus.PARTIAL_CONTENT, found)
                self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
            else:
                self._begin(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, found)
                self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if with_body and part:
                self.wfile.flush()
                self.connection.sendfile(found.file, part.start, len(part))

    def _begin(self, status: HTTPStatus, found: _Found) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", found.version.etag)
        self.send_header("Last-Modified", found.version.modified)
        self.send_header("Cache-Control", found.cache_control)

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        # What is not there now may be there in a moment: the next root is asked for before it exists.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _find(self, stack: contextlib.ExitStack) -> _Found | None:
        """The file that is asked for, opened; None if the repository does not have it."""
        parts = unquote(urlsplit(self.path).path).split("/")[1:]
        known = find_file(self.server.repository, parts) if parts and parts[0] in _SERVED_FOLDERS else None
        if known is None:
            return None
        path, _ = known
        try:
            file = stack.enter_context(path.open("rb"))
            version = FileVersion.of(os.fstat(file.fileno()))
        except OSError:
            return None
        return _Found(file, version, cache_control(path.name, kept_by="public"))
