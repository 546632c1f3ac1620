"""Where the passphrase of the publisher's keys comes from."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from blocklist_sdk.errors import InvalidInput

VARIABLE: Final = "BLOCKLIST_PASSPHRASE"

_LINE_BYTES_MAX: Final = 10_000

PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help=f"File whose first line is the keys' passphrase; otherwise {VARIABLE}, otherwise a prompt.",
    ),
]


class PassphraseSource:
    """Asked for the passphrase when the first key is needed; the answer holds for all keys of one command."""

    def __init__(self, file: Path | None, *, is_new: bool = False) -> None:
        """Asks nothing yet.

        Args:
            file: whose first line it is; None for the environment, else a hidden prompt where there is a terminal.
            is_new: the keys are yet to be made, so a prompt asks twice.
        """
        self._file = file
        self._is_new = is_new
        self._known: str | None = None

    def __call__(self, key: str) -> str:
        """The passphrase; which key it is for makes no difference here.

        Raises:
            InvalidInput: there is none to be had.
        """
        if self._known is None:
            self._known = self._find()
        return self._known

    def _find(self) -> str:
        if self._file is not None:
            return _first_line(self._file)
        if found := os.environ.get(VARIABLE):
            return found
        if sys.stdin is None or not sys.stdin.isatty():
            raise InvalidInput(
                f"the keys are encrypted and there is no terminal to ask at: set {VARIABLE} in the environment or give "
                "--passphrase-file FILE"
            )
        from getpass import getpass

        passphrase = getpass("Passphrase of the keys: ", stream=sys.stderr)
        if self._is_new and getpass("The same again: ", stream=sys.stderr) != passphrase:
            raise InvalidInput("the two passphrases differ: nothing was made, start again")
        return passphrase


def _first_line(file: Path) -> str:
    try:
        # It may be a pipe, as a password manager's output is: so no more than a line is read, and not without end.
        with file.open("rb") as opened:
            line = opened.readline(_LINE_BYTES_MAX + 1)
        passphrase = line.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the passphrase file {file}: {error}") from error
    if not passphrase:
        raise InvalidInput(f"the passphrase file {file} is empty: its first line must be the passphrase")
    if len(line) > _LINE_BYTES_MAX:
        raise InvalidInput(f"the first line of the passphrase file {file} has more than {_LINE_BYTES_MAX:,} bytes")
    return passphrase
