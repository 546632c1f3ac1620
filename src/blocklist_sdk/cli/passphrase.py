"""The passphrase of the publisher's keys: from a file, the environment or a prompt."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.settings.secret_files import credential, first_line

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
    """Gets the passphrase when the first key is needed; it is the same for all keys of one command."""

    def __init__(self, file: Path | None, *, is_new: bool = False) -> None:
        """Read nothing yet.

        Args:
            file: the file whose first line is the passphrase; None for the environment, or else a hidden prompt.
            is_new: whether the keys are about to be made, so that a prompt asks twice.
        """
        self._file = file
        self._is_new = is_new
        self._known: str | None = None

    def __call__(self, key: str) -> str:
        """The passphrase, the same for every key.

        Raises:
            InvalidInput: no passphrase was given.
        """
        if self._known is None:
            self._known = self._find()
        return self._known

    def _find(self) -> str:
        if self._file is not None:
            return first_line(self._file, "passphrase")
        if passphrase := os.environ.get(VARIABLE):
            return passphrase
        if (file := credential("passphrase")) is not None:
            return first_line(file, "passphrase")
        if sys.stdin is None or not sys.stdin.isatty():
            raise InvalidInput(
                f"the keys are encrypted, and no terminal can prompt for the passphrase: set {VARIABLE} in the "
                "environment or give --passphrase-file FILE"
            )
        from getpass import getpass

        from blocklist_sdk.publisher.keys import PASSPHRASE_CHARS_MIN

        least = f" (at least {PASSPHRASE_CHARS_MIN} characters)" if self._is_new else ""
        passphrase = getpass(f"Passphrase of the keys{least}: ", stream=sys.stderr)
        if self._is_new and len(passphrase) < PASSPHRASE_CHARS_MIN:
            raise InvalidInput(
                f"the passphrase is too short, so nothing was made: give at least {PASSPHRASE_CHARS_MIN} characters"
            )
        if self._is_new and getpass("The same again: ", stream=sys.stderr) != passphrase:
            raise InvalidInput("the two passphrases differ, so nothing was made: start again")
        return passphrase
