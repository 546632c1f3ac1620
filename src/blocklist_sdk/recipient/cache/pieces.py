"""Files cut into pieces with a hash of each, so that damage is found a piece at a time."""

import hashlib
from pathlib import Path
from typing import Final

PIECE_BYTES: Final = 4 << 20
"""Read and hashed in a few milliseconds, so that a check can stop after any of them."""

AT_ONCE_BYTES: Final = 8 << 20
"""A list that has no more is read whole by every sync, which takes about 20 ms: 2.4 ms for a megabyte, as measured."""


def piece_hashes(path: Path) -> list[str]:
    """SHA-256 of each piece of a file, as hexadecimal digits; one for an empty file."""
    with path.open("rb") as file:
        hashes = [hashlib.sha256(file.read(PIECE_BYTES))]
        while piece := file.read(PIECE_BYTES):
            hashes.append(hashlib.sha256(piece))
    return [each.hexdigest() for each in hashes]


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_piece_as_written(path: Path, at: int, written: str) -> bool:
    """Whether a piece of a file still has its hash.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(at * PIECE_BYTES)
        return hashlib.sha256(file.read(PIECE_BYTES)).hexdigest() == written
