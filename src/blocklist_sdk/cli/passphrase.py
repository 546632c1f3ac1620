"""Where the passphrase of the publisher's keys comes from."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from blocklist_sdk.cli.secret_files import first_line
from blocklist_sdk.errors import InvalidInput

VARIABLE: Final = "BLOCKLIST_PASSPHRASE"


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
            return first_line(self._file, "passphrase")
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
