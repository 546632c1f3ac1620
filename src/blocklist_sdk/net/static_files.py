"""Serving the files of a repository: which ones, and how long caches may keep them."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blocklist_sdk.places import resolved

MUTABLE: Final = "timestamp.json"
"""The only file of a repository that changes under its name."""


def find_file(root: Path, parts: Sequence[str]) -> tuple[Path, os.stat_result] | None:
    """A regular file below a folder, and its status; None if no such file may be served.

    No part of its path may be empty, hidden or lead upwards, and links must not lead out of the folder.

    Args:
        root: the folder.
        parts: the path of the file below it, decoded and split at slashes.
    """
    if any(not part or part.startswith(".") or "/" in part or "\0" in part for part in parts):
        return None
    path = root.joinpath(*parts)
    try:
        status = path.stat()
        is_within = resolved(path).is_relative_to(resolved(root))
    except (OSError, ValueError):
        return None
    return (path, status) if stat.S_ISREG(status.st_mode) and is_within else None


def cache_control(name: str, *, kept_by: str) -> str:
    """The value of the `Cache-Control` header for a repository's file.

    Args:
        name: the file's name.
        kept_by: which caches may keep it: ``public`` for all, ``private`` for the client's own.
    """
    return "no-cache" if name == MUTABLE else f"{kept_by}, max-age=31536000, immutable"
