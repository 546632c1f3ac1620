"""Files with a secret. They may be pipes, so no more than needed is read; their contents are never in a message."""

import logging
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from blocklist_sdk.encodings import decoded, without_mark
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import absolute

log: logging.Logger = logging.getLogger(__name__)

_LINE_BYTES_MAX = 10_000

_CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the files of ``LoadCredential=``, which the service's user alone can read."""

_said: set[Path] = set()
"""The files of which it was said that others can read them."""


def credential(name: str) -> Path | None:
    """A secret that the service manager has put at hand, by ``LoadCredential=`` of systemd; None if there is none.

    Args:
        name: the credential's name, such as ``client_secret``.
    """
    directory = os.environ.get(_CREDENTIALS_VARIABLE)
    path = Path(directory, name) if directory else None
    return path if path is not None and path.is_file() else None


def warn_if_readable(path: Path, status: os.stat_result, what: str) -> None:
    """Log once that every user of this machine can read a file with a secret, and how to mend it.

    Args:
        path: the file.
        status: its status.
        what: what it has, such as ``the client secret``.
    """
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IROTH or absolute(path) in _said:
        return
    _said.add(absolute(path))
    mend = f"chmod o= {shlex.quote(str(path))}"
    log.warning("every user of this machine can read %s, which has %s: run `%s`", path, what, mend)


def first_line(file: Path, what: str) -> str:
    """The first line of a file, which must not be empty.

    Args:
        file: the file; it may be a pipe, such as the output of a password manager.
        what: what the secret is, for messages, such as ``passphrase``.

    Raises:
        InvalidInput: the file cannot be read, or its first line is empty or too long.
    """
    try:
        with file.open("rb") as opened:
            warn_if_readable(file, os.fstat(opened.fileno()), f"the {what}")
            line = opened.readline(_LINE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} file {file}: {error.strerror or error}") from error
    text = decoded(line, f"the {what} file {file}").rstrip("\r\n")
    if not text:
        raise InvalidInput(f"the {what} file {file} is empty: its first line must be the {what}")
    if len(line) > _LINE_BYTES_MAX:
        raise InvalidInput(f"the first line of the {what} file {file} has more than {_LINE_BYTES_MAX:,} bytes")
    return text


def read_secret(file: Path, what: str, max_bytes: int) -> bytes:
    """The whole contents of a file.

    Raises:
        InvalidInput: the file cannot be read, or has more than `max_bytes`.
    """
    try:
        with file.open("rb") as opened:
            warn_if_readable(file, os.fstat(opened.fileno()), f"the {what.removesuffix(' file')}")
            data = opened.read(max_bytes + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} {file}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise InvalidInput(f"the {what} {file} has more than {max_bytes:,} bytes: give another one")
    return without_mark(data, f"the {what} {file}")
