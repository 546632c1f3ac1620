"""The passphrase of the publisher's keys: from a file, the environment or a prompt."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import typer

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.settings.secret_files import credential, first_line

VARIABLE: Final = "BLOCKLIST_PASSPHRASE"
OFFLINE_VARIABLE: Final = "BLOCKLIST_OFFLINE_PASSPHRASE"

_KEYS: Final = "the keys"
_OFFLINE_KEYS: Final = "the root and targets keys"

PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help=f"File whose first line is the keys' passphrase; otherwise {VARIABLE}, otherwise a prompt.",
    ),
]


OfflinePassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--offline-passphrase-file",
        metavar="FILE",
        help=f"File whose first line is the passphrase of the root and targets keys, where they have one of their own; "
        f"otherwise {OFFLINE_VARIABLE}, otherwise a prompt.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Way:
    """The ways by which one passphrase is given."""

    keys: str
    option: str
    variable: str
    credential: str


_ANY: Final = _Way(_KEYS, "--passphrase-file", VARIABLE, "passphrase")
_OFFLINE: Final = _Way(_OFFLINE_KEYS, "--offline-passphrase-file", OFFLINE_VARIABLE, "offline-passphrase")


class PassphraseSource:
    """Gets the passphrase when the first key is needed; it is the same for all keys of one command."""

    def __init__(self, file: Path | None, *, is_new: bool = False, way: _Way = _ANY) -> None:
        """Read nothing yet.

        Args:
            file: the file whose first line is the passphrase; None for the environment, or else a hidden prompt.
            is_new: whether the keys are about to be made, so that a prompt asks twice.
            way: which passphrase it is.
        """
        self._file = file
        self._is_new = is_new
        self._way = way
        self._known: str | None = None

    @classmethod
    def offline(cls, file: Path | None, *, is_new: bool = False) -> Self:
        """The same for the passphrase that root and targets keys have of their own."""
        return cls(file, is_new=is_new, way=_OFFLINE)

    def __call__(self, key: str) -> str:
        """The passphrase, the same for every key.

        Raises:
            InvalidInput: no passphrase was given.
        """
        if self._known is None:
            self._known = self._find()
        return self._known

    def _find(self) -> str:
        way = self._way
        if self._file is not None:
            return first_line(self._file, "passphrase")
        if passphrase := os.environ.get(way.variable):
            return passphrase
        if (file := credential(way.credential)) is not None:
            return first_line(file, "passphrase")
        if sys.stdin is None or not sys.stdin.isatty():
            own = "" if way is _ANY else " of their own"
            others = (
                f". The other keys have another passphrase: {_ANY.variable} or {_ANY.option} FILE"
                if way is _OFFLINE and self._is_new
                else ""
            )
            raise InvalidInput(
                f"{way.keys} are encrypted with a passphrase{own}, and no terminal can prompt for it: "
                f"set {way.variable} in the environment, give {way.option} FILE, or run this at a terminal{others}"
            )
        from getpass import getpass

        from blocklist_sdk.publisher.keys import PASSPHRASE_CHARS_MIN

        least = f" (at least {PASSPHRASE_CHARS_MIN} characters)" if self._is_new else ""
        passphrase = getpass(f"Passphrase of {way.keys}{least}: ", stream=sys.stderr)
        if self._is_new and len(passphrase) < PASSPHRASE_CHARS_MIN:
            raise InvalidInput(
                f"the passphrase is too short, so nothing was made: give at least {PASSPHRASE_CHARS_MIN} characters"
            )
        if self._is_new and getpass("The same again: ", stream=sys.stderr) != passphrase:
            raise InvalidInput("the two passphrases differ, so nothing was made: start again")
        return passphrase


class KeyPassphrases:
    """Gets the passphrase of each key: root and targets keys may have one of their own."""

    def __init__(self, directory: Path, file: Path | None, offline_file: Path | None, *, is_new: bool = False) -> None:
        """Read nothing yet.

        Args:
            directory: the publisher's folder.
            file: as for `PassphraseSource`.
            offline_file: the same for root and targets keys.
            is_new: as for `PassphraseSource`.
        """
        self._directory = directory
        self._is_offline_given = offline_file is not None
        self._any = PassphraseSource(file, is_new=is_new)
        self._offline = PassphraseSource.offline(offline_file, is_new=is_new)

    def __call__(self, key: str) -> str:
        """The passphrase of a key.

        Raises:
            InvalidInput: it was not given.
        """
        from blocklist_sdk.publisher.keys import Keyring, is_offline

        if is_offline(key) and (self._is_offline_given or Keyring(self._directory / "keys", None).is_apart):
            return self._offline(key)
        return self._any(key)
