"""Files that commands read, and standard input."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from blocklist_sdk.errors import InvalidInput


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
