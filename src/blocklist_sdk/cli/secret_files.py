"""Files with a secret. They may be pipes, so no more than needed is read; their contents are never in a message."""

from pathlib import Path

from blocklist_sdk.encodings import decoded, without_mark
from blocklist_sdk.errors import InvalidInput

_LINE_BYTES_MAX = 10_000


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
            line = opened.readline(_LINE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} file {file}: {error}") from error
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
            data = opened.read(max_bytes + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} {file}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise InvalidInput(f"the {what} {file} has more than {max_bytes:,} bytes: give another one")
    return without_mark(data, f"the {what} {file}")
