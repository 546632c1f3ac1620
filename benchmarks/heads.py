"""A repository of many releases, of which any can be the current one: a recipient is led from release to release.

::

    publisher/          the publisher's folder, with all releases
    publisher-first/    the same, as it was after the first one
    heads/HEAD.json     the timestamp of each: with it in its place, that release is the current one
"""

import os
import shutil
from pathlib import Path
from typing import Final

FEED: Final = "generated"
WARM: Final = "warm"
"""A feed of few numbers, to sync before anything is measured: what is imported then is not measured."""

PASSPHRASE: Final = "correct horse battery"


def set_head(folder: Path, head: str) -> None:
    """Let a release be the current one.

    Args:
        folder: what `main` made.
        head: which.
    """
    metadata = folder / "publisher" / "repository" / "metadata"
    following = metadata / ".next.json"
    shutil.copyfile(folder / "heads" / f"{head}.json", following)
    os.replace(following, metadata / "timestamp.json")


def copied(publisher: Path, copy: Path) -> None:
    """Copy a publisher's folder; target files are linked, since they are never written again."""
    shutil.copytree(publisher, copy, copy_function=_linked)


def snapshot_of(folder: Path) -> Path:
    """The first release's snapshot."""
    return max((folder / "publisher-first" / "repository" / "targets" / FEED).glob("*.parquet"), key=_size)


def _size(path: Path) -> int:
    return path.stat().st_size


def _linked(source: str, target: str) -> None:
    if "/repository/targets/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
