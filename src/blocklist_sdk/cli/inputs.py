"""Files that commands read, and standard input."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from blocklist_sdk.errors import InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.net.server_tls import TlsFiles


def input_of(file: Path) -> Path | BinaryIO:
    """The file, or standard input for ``-``.

    Raises:
        InvalidInput: standard input is closed.
    """
    return standard_input() if str(file) == "-" else file


def standard_input() -> BinaryIO:
    """Standard input.

    Raises:
        InvalidInput: it is closed, as under a service manager or a shell's ``<&-``.
    """
    if sys.stdin is None:
        raise InvalidInput("standard input is closed: name a file, or open standard input")
    return sys.stdin.buffer


def place_in(file: Path, line: int) -> str:
    """A line of a file, or of standard input for ``-``, for messages."""
    return f"{'standard input' if str(file) == '-' else file}, line {line}"


def check_input(file: Path) -> Path:
    """A file that is to be read later; `-` stands for standard input.

    Raises:
        InvalidInput: it does not exist, or cannot be read.
    """
    if str(file) != "-":
        try:
            # Without blocking: a pipe may have no writer yet.
            os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            raise InvalidInput(f"cannot read {file}: {error.strerror}") from error
    return file


def tls_files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> "TlsFiles | None":
    """What a server's flags ``--tls-cert``, ``--tls-key`` and ``--client-ca`` say together; None for plain text.

    Raises:
        InvalidInput: one of them lacks another, or a file cannot be read.
    """
    from blocklist_sdk.net.server_tls import TlsFiles

    if (certificate is None) != (key is None):
        raise InvalidInput("--tls-cert and --tls-key belong together: give both, or neither")
    if certificate is None or key is None:
        if client_ca is not None:
            raise InvalidInput("--client-ca is for TLS: give --tls-cert and --tls-key as well")
        return None
    for file in (certificate, key, client_ca):
        if file is not None:
            check_input(file)
    return TlsFiles(certificate=certificate, key=key, client_ca=client_ca)
