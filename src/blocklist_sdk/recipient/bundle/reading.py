"""Opening a bundle: nothing of it is used before signatures, digest and every byte were looked at."""

import mmap
import os
import stat
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted
from blocklist_sdk.places import absolute
from blocklist_sdk.recipient.bundle import contents, evidence
from blocklist_sdk.recipient.bundle.container import SUMS, Member, check_sums, members_of
from blocklist_sdk.recipient.bundle.own_decisions import OwnDecisions
from blocklist_sdk.recipient.cache.cells import fill_cells, holds_exactly
from blocklist_sdk.recipient.cache.covering import CoveringRows
from blocklist_sdk.recipient.cache.lookup import NumberLookup, answers_of
from blocklist_sdk.recipient.cache.ranges import range_table
from blocklist_sdk.recipient.cache.release_answers import DAMAGE, About, ReleaseAnswers
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import kind_of
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.rows import Rows


class BundleFile:
    """A file that may be a bundle, mapped into memory.

    Attributes:
        path: where it is, absolute.
        data: its bytes.
        members: what it consists of, in order.
        feed: the feed that it says it is of.
    """

    def __init__(self, path: Path) -> None:
        """Map a file; of its members only the small ones are read.

        Raises:
            InvalidInput: it cannot be read, or was made by a newer version of this library.
            Untrusted: it is not a bundle.
        """
        self.path: Path = absolute(path)
        self.data: memoryview
        self.data, self._descriptor = _mapped(self.path)
        weakref.finalize(self, os.close, self._descriptor)
        self._stamp = self._stamp_now()
        self.members: tuple[Member, ...] = members_of(self.data)
        self._by_name: dict[str, Member] = {each.name: each for each in self.members}
        if self.members[:1] != (self._by_name.get(contents.ABOUT),):
            raise Untrusted(f"its first member is not {contents.ABOUT}")
        self.feed: str = contents.feed_of(self.content(contents.ABOUT))
        self._sums = self.content(SUMS) if SUMS in self else b""

    def _stamp_now(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    @property
    def is_touched(self) -> bool:
        """Whether somebody has written to the file since it was mapped, or last found whole; not if it was replaced."""
        return self._stamp_now() != self._stamp

    def check_unaltered(self) -> None:
        """Find out whether a file that somebody has written to is still, byte for byte, the one that was mapped.

        Raises:
            Untrusted: it is another.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self.check_sums()
            self._stamp = stamp

    def check_length(self) -> None:
        """Do nothing if all that was mapped is still there: the system ends a process that reads what is not.

        Raises:
            Untrusted: it was cut off.
        """
        if self._stamp_now()[0] < len(self.data):
            raise Untrusted("it was cut off since it was opened")

    def content(self, name: str, *, bytes_max: int | None = None) -> bytes:
        """The content of a member.

        Raises:
            Untrusted: there is none, or it is longer than it may be.
        """
        member = self._by_name.get(name)
        if member is None:
            raise Untrusted(f"{name} is not in it")
        if bytes_max is not None and member.length > bytes_max:
            raise Untrusted(f"{name} has {member.length} bytes; it may have {bytes_max}")
        return bytes(self.data[member.offset : member.offset + member.length])

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def check_sums(self) -> None:
        """Read every byte, and compare it with the hashes in the file.

        Raises:
            Untrusted: one is another.
        """
        self.check_length()
        if members_of(self.data) != self.members or (SUMS in self and self.content(SUMS) != self._sums):
            raise Untrusted("its members are others than when it was opened")
        check_sums(self.data, self.members)

    def documents(self) -> evidence.Documents:
        """The signed documents.

        Raises:
            Untrusted: one is missing, or members are not those of a bundle.
        """
        names = [each.name for each in self.members]
        roots = [name for name in names if name.endswith(".root.json")]
        signed = [*roots, *evidence.names(self.feed)]
        if len(roots) > evidence.ROOTS_MAX:
            raise Untrusted(f"it has {len(roots)} roots; it may have {evidence.ROOTS_MAX}")
        found = {name: self.content(name, bytes_max=evidence.bytes_max(name)) for name in signed}
        documents = evidence.documents_of(found, self.feed)
        rows = contents.row_members(has_ranges=contents.LAST in self)
        expected = [
            contents.ABOUT,
            *signed,
            *((contents.OWN,) if contents.OWN in self else ()),
            contents.TEXTS,
            *rows,
            *((contents.CELLS, contents.HOMES) if contents.CELLS in self else ()),
            SUMS,
        ]
        if names != expected:
            raise Untrusted("its members are not those of a bundle, in their order")
        return documents

    def rows(self, count: int) -> tuple[Rows, contents.TextCounts]:
        """The rows, where they are mapped, and how many have each text.

        Raises:
            Untrusted: they are not so many, or not those of a release.
        """
        return contents.rows_of(self.data, self._by_name, count)

    def answers(self, rows: Rows, published_ms: int) -> NumberLookup:
        """What look-ups read, worked out from the rows; of the table in the file only what is the same.

        Args:
            rows: rows that have the signed digest.
            published_ms: when the release was published, in milliseconds since 1970 UTC.

        Raises:
            Untrusted: the table has other answers than the rows.
        """
        from blocklist_sdk.recipient.cache.classify import classify  # here, since most look-ups do without it

        found = classify(rows, published_ms, published_ms)
        if contents.CELLS not in self:
            table = fill_cells(found.numbers, found.kinds)
            return answers_of(found, table, published_ms=published_ms)
        homes = contents.read_homes(self.content(contents.HOMES))
        member = self._by_name[contents.CELLS]
        cells = contents.column(self.data, member, np.int64, member.length // 8)
        if not holds_exactly(cells, homes, found.numbers, found.kinds):
            raise Untrusted(f"{contents.CELLS} has other answers than the signed rows")
        return answers_of(found, (cells, homes), published_ms=published_ms)


def _mapped(path: Path) -> tuple[memoryview, int]:
    """A file's bytes, and a descriptor of it, which the caller closes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"cannot read the bundle {path}: {reason}", argument="bundle") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"{path} is not a regular file: give a bundle", argument="bundle")
        if not status.st_size:
            raise Untrusted("it is empty")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)), descriptor
    except OSError as error:
        os.close(descriptor)
        raise InvalidInput(f"cannot read the bundle {path}: {error.strerror}", argument="bundle") from error
    except BaseException:
        os.close(descriptor)
        raise


@dataclass(frozen=True, slots=True)
class Proved:
    """What was found in a bundle that was verified to the last byte.

    Attributes:
        release: the release.
        evidence: what is signed about it.
        own: its maker's own decisions, which are not signed; None if the bundle was made without.
    """

    release: "BundledRelease"
    evidence: evidence.Evidence
    own: bytes | None

    def own_decisions(self) -> OwnDecisions:
        """Its maker's own decisions.

        Raises:
            InvalidInput: the bundle was made without.
            Untrusted: that is not what a bundle has.
        """
        if self.own is None:
            raise InvalidInput(
                f"the bundle {self.release.file.path} has no overrides: make it with them (overrides=True, or "
                "--with-overrides), or open it without",
                argument="overrides",
            )
        return OwnDecisions.read(self.own)


def open_file(path: Path) -> BundleFile:
    """Map a file that may be a bundle.

    Raises:
        InvalidInput: it cannot be read, or was made by a newer version of this library.
        Untrusted: it is not a bundle.
    """
    try:
        return BundleFile(path)
    except Untrusted as error:
        raise untrusted(path, error) from error
    except InvalidInput as error:
        if error.argument is not None:
            raise
        raise InvalidInput(f"the bundle {path} cannot be read: {error}", argument="bundle") from error


def prove(file: BundleFile, *, pinned: bytes) -> Proved:
    """Verify a bundle: every byte, signatures from a pinned root down, the digest, and all that follows from the rows.

    Raises:
        InvalidInput: the pinned root is not root metadata.
        Untrusted: anything is not as it was signed.
    """
    try:
        file.check_length()
    except Untrusted as error:
        raise untrusted(file.path, error) from error
    with ThreadPoolExecutor(1) as pool:
        # Reading all bytes goes beside the rest, and says best what is wrong with a damaged file.
        sums = pool.submit(file.check_sums)
        try:
            try:
                proved = _proved(file, pinned)
            except Untrusted:
                sums.result()
                raise
            sums.result()
        except Untrusted as error:
            raise untrusted(file.path, error) from error
    return proved


def _proved(file: BundleFile, pinned: bytes) -> Proved:
    found = evidence.read_evidence(file.documents(), pinned=pinned, feed=file.feed)
    about = found.about
    try:
        rows, texts = file.rows(about.rows)
        if digest(rows, kind_of(about.digest)) != about.digest:
            raise Untrusted("its rows do not have the digest that was signed")
        answers = file.answers(rows, times.to_ms(about.published_at))
    except (*DAMAGE, Malformed) as error:
        raise Untrusted(f"its rows make no sense: {error}") from error
    own = file.content(contents.OWN) if contents.OWN in file else None
    return Proved(BundledRelease(file, about, rows, texts, answers), found, own)


def untrusted(path: Path, error: Untrusted) -> Untrusted:
    """The error for a bundle that is not to be trusted."""
    return Untrusted(
        f"the bundle {path} is not trusted: {error}. Nothing of it is used. Get another copy, or make it anew, and see "
        "who could write it"
    )


def altered(path: Path, error: Untrusted) -> Untrusted:
    """The error for a bundle that somebody has written to since it was opened."""
    return Untrusted(
        f"the bundle {path} was altered since it was opened: {error}. Nothing of it is used any more. Open it anew, "
        "and replace a bundle in one rename (cp to another name, then mv), never in place"
    )


class BundledRelease(ReleaseAnswers):
    """The release in a bundle, verified; as many processes as open it share its pages.

    Attributes:
        file: the bundle.
    """

    def __init__(
        self, file: BundleFile, about: About, rows: Rows, texts: contents.TextCounts, answers: NumberLookup
    ) -> None:
        """For `prove`."""
        self.file: BundleFile = file
        self.name: str = file.path.name
        self.about: About = about
        self.bytes: int = len(file.data)
        self.answers: NumberLookup = answers
        self._published_ms = answers.published_ms
        self._texts = texts
        self._covering = (CoveringRows(rows, range_table(rows)),)

    def damaged(self) -> Malformed:
        """The error to raise where it turns out to be damaged."""
        return Malformed(
            f"the bundle {self.file.path} was altered since it was opened: open it anew, and replace a bundle in one "
            "rename, never in place"
        )

    @cached_property
    def layers(self) -> LayeredRows:
        """Its rows, all of them base."""
        return LayeredRows.of(self.rows)

    @property
    def rows(self) -> Rows:
        """All rows."""
        return self._covering[0].rows

    @property
    def texts(self) -> Mapping[str, Mapping[str, int]]:
        """For each text column, how many rows have each text."""
        return self._texts

    def is_whole(self) -> bool:
        """Whether every byte is as it was written; reads them all."""
        try:
            self.file.check_sums()
        except Untrusted:
            return False
        return True
