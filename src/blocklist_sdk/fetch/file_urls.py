"""Repositories in a directory: `file:` addresses through the same transport as all others."""

import os
import stat
from collections.abc import Iterator
from typing import IO
from urllib.parse import unquote

from blocklist_sdk.net.http import httpx

_CHUNK_BYTES = 1 << 20


class FileTransport(httpx.BaseTransport):
    """`file:` addresses, answered as a plain web server would."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer 200 with the file, 404 if it is not a regular file, 403 if it may not be read."""
        names = [unquote(part) for part in request.url.raw_path.decode("ascii").partition("?")[0].split("/")]
        if any(name in (".", "..") or "/" in name or "\0" in name for name in names):
            return httpx.Response(404)
        try:
            # Without blocking: a pipe in the place of a file may never be written to.
            descriptor = os.open("/".join(names), os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return httpx.Response(404)
        except PermissionError:
            return httpx.Response(403)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return httpx.Response(404)
        return httpx.Response(
            200, headers={"Content-Length": str(status.st_size)}, stream=_FileStream(os.fdopen(descriptor, "rb"))
        )


class _FileStream(httpx.SyncByteStream):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._file.read(_CHUNK_BYTES):
                yield chunk
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def close(self) -> None:
        self._file.close()
