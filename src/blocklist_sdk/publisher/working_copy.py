"""The working copy of a feed: its current release as a mapped list with its digest tree, beside the repository.

The repository is the publisher's only state (``docs/adr/0003-repository-is-its-own-state.md``), and a working copy only
saves reading it: it is named after the release that it holds, era, serial and digest as they are signed, and used for
that release alone. The next one is written before it is signed, under its own name, so a run that is killed leaves the
copy that fits what is published. One that is missing, damaged or of another release is made anew from the signed files.

::

    DIR/working/FEED/ERA.SERIAL.DIGEST/    the files of `release.stored`, and about.json
"""

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import read_json, sync_directory, write_json
from blocklist_sdk.errors import BlocklistError, Malformed
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.release.arrow_files import describe
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Int64s, Rows, Texts
from blocklist_sdk.release.stored import (
    BASE_FILES,
    OVERLAY_FILES,
    link_files,
    open_list,
    overlay_rows_max,
    write_base,
    write_overlay,
)
from blocklist_sdk.release.tree import Tree
from blocklist_sdk.release.windows import all_outside_ranges

FOLDER: Final = "working"

_ABOUT: Final = "about.json"
_FORMAT: Final = 1
_MAKING: Final = ".making-"
UNREADABLE: Final = (OSError, LookupError, ValueError, TypeError, AttributeError, pa.ArrowException, BlocklistError)
"""What a working copy with wrong bytes in it may raise."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The list of the current release.

    Attributes:
        layers: its rows.
        tree: its digest tree; None if it is not known.
        outside: how many single numbers lie outside all ranges; None if that is not known.
        directory: where it is on disk; None if it is in memory alone.
        ranges: the digest of its ranges, as they were written; None if it is in memory alone.
    """

    layers: LayeredRows
    tree: Tree | None = None
    outside: int | None = None
    directory: Path | None = None
    ranges: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether it is a working copy, whose files may be damaged."""
        return self.directory is not None


@dataclass(frozen=True, slots=True)
class WorkingCopies:
    """The working copies of one feed; whoever writes here holds the publisher's lock.

    Attributes:
        directory: where they are.
    """

    directory: Path

    def find(self, release: ReleaseId, digest: str) -> PublishedList | None:
        """The working copy of a release; None if there is none that can be used.

        Args:
            release: the release.
            digest: its digest, as it is signed.
        """
        path = self._path(release, digest)
        if not path.is_dir():
            return None
        try:
            return _opened(path, digest)
        except UNREADABLE as error:
            log.warning("the working copy %s is made anew from the signed files: %s", path, error)
            return None

    def write(
        self, release: ReleaseId, layers: LayeredRows, tree: Tree, *, outside: int, before: PublishedList
    ) -> None:
        """Write the working copy of a release that is about to be signed, durably.

        A disk that refuses is logged: the next run reads the signed files.

        Args:
            release: the release.
            layers: its rows.
            tree: its tree.
            outside: how many of its single numbers lie outside all ranges.
            before: the current release, whose files are used again if it has the same base.
        """
        try:
            self._write(release, layers, tree, outside=outside, before=before)
        except OSError as error:
            log.warning(
                "%s has no working copy of release %s, so the next run takes longer: %s", self.directory, release, error
            )

    def _write(
        self, release: ReleaseId, layers: LayeredRows, tree: Tree, *, outside: int, before: PublishedList
    ) -> None:
        PRIVATE.make(self.directory.parent)
        PRIVATE.make(self.directory)
        self._sweep()
        path = self._path(release, tree.digest)
        making = path.with_name(f"{_MAKING}{path.name}")
        making.mkdir(PRIVATE.directory_mode)
        try:
            is_same = before.layers.facts.base_id == layers.facts.base_id
            if before.directory is not None and is_same and len(layers.overlay) <= overlay_rows_max(layers):
                link_files(before.directory, making, BASE_FILES)
                write_overlay(making, layers, tree)
            else:
                write_base(making, layers.whole(), tree=tree)
            files = {file.name: describe(file) for file in sorted(making.iterdir())}
            write_json(
                making / _ABOUT,
                {
                    "format": _FORMAT,
                    "outside": outside,
                    "ranges": _digest_of_ranges(layers),
                    "files": files,
                },
            )
            PRIVATE.give_all(making)
            if path.is_dir():  # of a run that was killed before it signed the same
                shutil.rmtree(path)
            os.replace(making, path)
            sync_directory(self.directory)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def keep(self, release: ReleaseId, digest: str) -> None:
        """Delete all working copies but that of a release. What cannot be deleted is logged and tried again."""
        kept = self._path(release, digest)
        for path in self._others(kept):
            try:
                shutil.rmtree(path)
            except OSError as error:
                log.warning("%s is not needed any more, and could not be deleted: %s", path, error)

    def _path(self, release: ReleaseId, digest: str) -> Path:
        return self.directory / f"{release.era}.{release.serial}.{digest}"

    def _others(self, kept: Path) -> Iterator[Path]:
        return (path for path in sorted(self.directory.glob("*")) if path != kept)

    def _sweep(self) -> None:
        for path in self.directory.glob(f"{_MAKING}*"):
            shutil.rmtree(path, ignore_errors=True)


def verify(current: PublishedList, numbers: Int64s | None = None) -> None:
    """Read what decides about some numbers, and compare its hashes with the digest.

    Args:
        current: a list.
        numbers: some numbers; None for the whole list.

    Raises:
        Malformed: something was damaged.
    """
    tree = current.tree
    if tree is None:
        return
    if numbers is None:
        # Merged for this alone, and not kept.
        rows = LayeredRows(current.layers.base, current.layers.overlay, current.layers.facts).whole()
        is_right = Tree.of(rows).digest == tree.digest
    else:
        # A range decides about numbers that lie in no leaf of its own.
        if current.ranges != _digest_of_ranges(current.layers):
            raise Malformed("its ranges are not those that were written")
        # As if these numbers changed into what they are: that reads and hashes their leaves, and the nodes above.
        same = _rows_of(numbers)
        none = Rows.empty()
        is_right = tree.updated(current.layers, Difference(none, none, same, same)).root == tree.root
    if not is_right:
        raise Malformed("its rows are not those of its digest")


def _digest_of_ranges(layers: LayeredRows) -> str:
    return Tree.of(layers.ranges()).digest


def same_rows(one: Rows, other: Rows) -> bool:
    """Whether two lists in canonical form have the same rows."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in NUMERIC_COLUMNS) and all(
        mine.values == its.values and np.array_equal(mine.codes, its.codes)
        for mine, its in ((getattr(one, name), getattr(other, name)) for name in TEXT_COLUMNS)
    )


def _rows_of(numbers: Int64s) -> Rows:
    """Rows of which only the numbers matter."""
    texts, zeros = Texts.repeat("", len(numbers)), np.zeros(len(numbers), np.int64)
    return Rows(numbers, numbers, zeros, texts, texts, texts, texts, zeros, zeros)


def _opened(path: Path, digest: str) -> PublishedList:
    """Map a working copy.

    Raises:
        Malformed: it is not the list with that digest, or a file does not have its length.
        OSError, KeyError, ValueError, TypeError, AttributeError, pyarrow.ArrowException: it is damaged.
    """
    about: dict[str, Any] | None = read_json(path / _ABOUT, format_version=_FORMAT)
    if about is None:
        raise Malformed("it does not say what it holds")
    names = {name for name in (*BASE_FILES, *OVERLAY_FILES) if (path / name).exists()}
    # Before any is mapped: Arrow believes what their ends say.
    if about["files"] != {name: describe(path / name) for name in names}:
        raise Malformed("a file is missing, or is not the one that was written")
    stored = open_list(path)
    tree, outside = stored.tree, about["outside"]
    is_whole = tree.rows == len(stored.layers) and all(sum(each.values()) == tree.rows for each in tree.texts.values())
    if not is_whole or tree.digest != digest or type(outside) is not int:
        raise Malformed("it is not the list that was signed")
    return PublishedList(stored.layers, tree, outside, path, about["ranges"])


def current_of(rows: Rows) -> PublishedList:
    """A list that was read from the signed files."""
    return PublishedList(LayeredRows.of(rows))


def outside_of(current: PublishedList) -> int:
    """How many single numbers of a list lie outside all ranges; counted where that is not known."""
    return all_outside_ranges(current.layers) if current.outside is None else current.outside
