"""The book: what the audit trail says of each listing that may be on a feed, outside the database.

It is a file in the exchange's folder. It advances over the lines after the last one that it has read, whose hash it
remembers: so each line is read once, and a line that was changed after that is noticed. Where the file is lost, it is
written again from the first line.

Whoever can write the database alone cannot bring a row into a release by it, nor change lines behind it unseen. A
whole new line with the right hash is beyond this: who can write the trail can make one, and `exchange verify` names
what it does not account for.
"""

import contextlib
import json
import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import StorageFailed
from blocklist_sdk.exchange_server.casework.accounted import (
    ListingImage,
    image_after,
    is_lifted,
    is_retracted,
    listing_changes,
)
from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE, SYSTEM
from blocklist_sdk.exchange_server.store.audited import IMAGES
from blocklist_sdk.exchange_server.store.tables import AccountRow, AuditRow, ListingRow
from blocklist_sdk.exchange_server.store.trail import UNREADABLE, head, lines
from blocklist_sdk.exchange_server.store.trail_lines import TrailEnd, TrailLine
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.places import absolute
from blocklist_sdk.release.audit import AuditHead

FILE: Final = "trail-book.sqlite"

EMPTY: Final = AuditHead(0, "0" * 64)
"""The head of a trail without lines."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS reached (one INTEGER PRIMARY KEY CHECK (one = 1), length INTEGER, head TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS listings "
    "(id INTEGER PRIMARY KEY, feed TEXT, entry INTEGER, retracted INTEGER, image TEXT) STRICT",
    "CREATE INDEX IF NOT EXISTS by_entry ON listings (feed, entry)",
    "CREATE INDEX IF NOT EXISTS by_retraction ON listings (feed, id) WHERE retracted",
    "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, name TEXT, image TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS accepted (length INTEGER, head TEXT, PRIMARY KEY (length, head)) STRICT, WITHOUT ROWID",
)
"""`accepted` has heads of signed releases that the trail does not have, with which a person has said to go on."""

LINES_AT_ONCE: Final = 20_000
"""So many lines are read in one run: publishing an unblock waits no longer for a book that is far behind."""

_ENTRIES_AT_ONCE: Final = 500
"""Parameters of one statement."""

_WAIT_S: Final = 10.0


log: logging.Logger = logging.getLogger(__name__)


class _Damaged(StorageFailed):
    """The book cannot be read."""


class Unread(NamedTuple):
    """The book has not read all lines yet; the next run goes on.

    Attributes:
        lines: how many it has not read.
    """

    lines: int


class TrailBook:
    """The book of one exchange. One process at a time writes it: the one that publishes.

    Attributes:
        path: its file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        """Reads and writes nothing yet."""
        self.path: Path = path

    def catch_up(self, session: Session, anchors: Iterable[AuditHead] = ()) -> str | Unread | None:
        """Read the lines that were written since, at most `LINES_AT_ONCE`, and store what they say.

        Args:
            session: one that sees committed lines only.
            anchors: heads that stand in signed releases; the trail must have them.

        Returns:
            None if it has read all lines; how many it has not read; or why the trail is not the one that was read
            before, or that releases were signed with. Then nothing that its later lines say is in the book.

        Raises:
            StorageFailed: the file or the database cannot be used.
        """
        try:
            return self._catch_up(session, tuple(anchors))
        except _Damaged as error:
            log.error("%s", error)
            for suffix in ("", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return self._catch_up(session, tuple(anchors))

    def _catch_up(self, session: Session, anchors: Collection[AuditHead]) -> str | Unread | None:
        with self._open() as book, contextlib.ExitStack() as stack:
            reached = _reached(book)
            doubt = _doubt(session, book, anchors)
            if doubt is not None:
                return doubt
            unread = head(session).length - reached.length - LINES_AT_ONCE
            changed: dict[int, ListingImage | None] = {}
            reading = stack.enter_context(
                contextlib.closing(lines(session, after=reached.length, at_most=LINES_AT_ONCE))
            )
            while True:
                try:
                    line = next(reading, None)
                except UNREADABLE:  # lines are read some at a time, so it may be a later one than the next
                    _store(book, reached, changed)
                    return "the audit trail has a line that cannot be read"
                if line is None:
                    break
                if line.sequence != reached.length + 1 or line.hash != line.expected_hash(_chained(reached)):
                    _store(book, reached, changed)
                    return f"line {reached.length + 1:,} of the audit trail is missing or damaged"
                _fold(book, changed, line)
                reached = AuditHead(line.sequence, line.hash)
            _store(book, reached, changed)
            return Unread(unread) if unread > 0 else _foreign_account(session, book)

    def doubt(self, session: Session, anchors: Iterable[AuditHead]) -> str | None:
        """Why the trail is not the one that was read before, or that releases were signed with; None if it is.

        Args:
            session: one that sees committed lines only.
            anchors: heads that stand in signed releases.

        Raises:
            StorageFailed: the file or the database cannot be used.
        """
        if not self.path.exists():  # not made here: whoever publishes has to own it
            return _contradicted(session, EMPTY, tuple(anchors))
        with self._open() as book:
            doubt = _doubt(session, book, tuple(anchors))
            has_read_all = signed_head(head(session)) == _reached(book)
            return _foreign_account(session, book) if doubt is None and has_read_all else doubt

    def head(self) -> AuditHead:
        """How far it has read."""
        with self._open() as book:
            return _reached(book)

    def listings(self, feed: str) -> dict[int, ListingImage]:
        """The listings of a feed that the lines say are not lifted, by ID."""
        with self._open() as book:
            found = book.execute("SELECT id, image FROM listings WHERE feed = ?", (feed,))
            return {listing: json.loads(image) for listing, image in found}

    def later_images(self, session: Session, known: Mapping[int, ListingImage]) -> dict[int, list[ListingImage]]:
        """What lines that it has not read yet say of listings, in order; nothing is stored, nor is the chain checked.

        Args:
            session: one that may see lines that are not committed.
            known: what the book has, as `listings` returns it.
        """
        found: dict[int, list[ListingImage]] = {}
        for line in lines(session, after=self.head().length):
            for listing, operation, columns in listing_changes(line):
                images = found.setdefault(listing, [])
                after = image_after(images[-1] if images else known.get(listing), operation, columns)
                if after is not None:
                    images.append(after)
        return found

    def retracted(self) -> dict[str, list[int]]:
        """The listings that the lines say were retracted, or have ended, and are not lifted yet, by feed."""
        found: dict[str, list[int]] = {}
        with self._open() as book:
            for feed, listing in book.execute("SELECT feed, id FROM listings WHERE retracted ORDER BY feed, id"):
                found.setdefault(feed, []).append(listing)
        return found

    def lifts(self, feed: str, entries: Collection[int]) -> set[int]:
        """Those of the entries of a feed that the lines say were retracted, or have ended."""
        wanted, found = sorted(entries), set[int]()
        with self._open() as book:
            for start in range(0, len(wanted), _ENTRIES_AT_ONCE):
                some = wanted[start : start + _ENTRIES_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT entry FROM listings WHERE retracted AND feed = ? AND entry IN ({marks})"  # noqa: S608 -- question marks
                found |= {entry for (entry,) in book.execute(query, (feed, *some))}
        return found

    def adopt(self, session: Session, anchors: Iterable[AuditHead]) -> None:
        """Go on from the database as it is, whatever the lines say up to now: a person has said so.

        Args:
            session: one that sees committed rows only.
            anchors: heads that stand in signed releases.
        """
        reached = head(session)
        images = IMAGES[ListingRow]
        with self._open() as book:
            known = (_reached(book), *anchors)
            lost = {each for each in known if head_at(session, each.length) != each.head}
            book.execute("DELETE FROM listings")
            book.executemany(
                "INSERT OR IGNORE INTO accepted VALUES (?, ?)", [(each.length, each.head) for each in lost]
            )
            rows = session.scalars(select(ListingRow).where(ListingRow.lifted_at.is_(None)))
            changed: dict[int, ListingImage | None] = {row.id: images.of(partial(getattr, row)) for row in rows}
            book.execute("DELETE FROM accounts")
            for account, image in _accounts(session).items():
                _store_account(book, account, image)
            _store(book, signed_head(reached), changed)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, in a transaction that is durable at the end."""
        with storage(self.path):
            PRIVATE.prepare_database(self.path)
        try:
            connection = sqlite3.connect(
                f"{absolute(self.path).as_uri()}?mode=rw", uri=True, timeout=_WAIT_S, isolation_level=None
            )
            with contextlib.closing(connection):
                connection.execute("PRAGMA synchronous = FULL")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StorageFailed(f"cannot use {self.path}: {error}", path=self.path) from error
        except sqlite3.DatabaseError as error:
            text = f"{self.path} is damaged ({error}) and is written again from the audit trail"
            raise _Damaged(text, path=self.path) from error


def signed_head(end: TrailEnd) -> AuditHead:
    """The end of the trail as releases have it."""
    return AuditHead(end.length, end.hash) if end.length else EMPTY


def _doubt(session: Session, book: sqlite3.Connection, anchors: Collection[AuditHead]) -> str | None:
    forgiven = {AuditHead(*each) for each in book.execute("SELECT length, head FROM accepted")}
    return _contradicted(session, _reached(book), anchors, forgiven)


def _contradicted(
    session: Session, reached: AuditHead, anchors: Collection[AuditHead], forgiven: Collection[AuditHead] = frozenset()
) -> str | None:
    for known in (reached, *anchors):
        if known not in forgiven and head_at(session, known.length) != known.head:
            by = "this exchange read" if known == reached else "a release was signed with"
            return f"line {known.length:,} of the audit trail is not the one that {by}: lines were changed or removed"
    return None


def _reached(book: sqlite3.Connection) -> AuditHead:
    found = book.execute("SELECT length, head FROM reached").fetchone()
    return EMPTY if found is None else AuditHead(*found)


def _chained(head: AuditHead) -> str:
    """What the hash of the next line covers of the line before."""
    return head.head if head.length else ""


def head_at(session: Session, length: int) -> str | None:
    """The hash of the line with a number; None if the trail has no such line."""
    if not length:
        return EMPTY.head
    return session.scalar(select(AuditRow.hash).where(AuditRow.sequence == length))


def _fold(book: sqlite3.Connection, changed: dict[int, ListingImage | None], line: TrailLine) -> None:
    for table, (key, *_), operation, columns in line.changes:
        if table == AccountRow.__tablename__:
            found = book.execute("SELECT image FROM accounts WHERE id = ?", (key,)).fetchone()
            _store_account(book, key, image_after(json.loads(found[0]) if found else None, operation, columns))
    changes = list(listing_changes(line))
    if changes and not _is_known(book, line.actor):
        return  # what an account decides that no line has made accounts for nothing
    for listing, operation, columns in changes:
        if listing not in changed:
            found = book.execute("SELECT image FROM listings WHERE id = ?", (listing,)).fetchone()
            changed[listing] = None if found is None else json.loads(found[0])
        changed[listing] = image_after(changed[listing], operation, columns)


def _is_known(book: sqlite3.Connection, actor: str) -> bool:
    """Whether the lines say that there is, or was, an account of this name."""
    if actor in (SYSTEM, COMMAND_LINE):
        return True
    return book.execute("SELECT 1 FROM accounts WHERE name = ?", (actor,)).fetchone() is not None


def _store_account(book: sqlite3.Connection, account: int, image: Mapping[str, Any] | None) -> None:
    if image is None:
        book.execute("DELETE FROM accounts WHERE id = ?", (account,))
        return
    kept = {name: value for name, value in image.items() if value is not None}
    row = (account, kept.get("name"), json.dumps(kept, sort_keys=True))
    book.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", row)


def _accounts(session: Session) -> dict[int, dict[str, Any]]:
    """The images of the accounts in the database, by ID."""
    images = IMAGES[AccountRow]
    return {row.id: images.of(partial(getattr, row)) for row in session.scalars(select(AccountRow))}


def _foreign_account(session: Session, book: sqlite3.Connection) -> str | None:
    """Why the accounts are not those that the lines made; None if they are. An officer who is put there can list."""
    known = dict(book.execute("SELECT id, image FROM accounts"))
    there = {account: json.dumps(image, sort_keys=True) for account, image in _accounts(session).items()}
    differing = sorted(account for account in known.keys() | there.keys() if known.get(account) != there.get(account))
    if not differing:
        return None
    image = json.loads(there.get(differing[0]) or known[differing[0]])
    return f"the account {image.get('name')!r} is not what the audit trail says of it"


def _store(book: sqlite3.Connection, reached: AuditHead, changed: Mapping[int, ListingImage | None]) -> None:
    """Store where the book is, and the listings that have changed; what is lifted is no longer needed."""
    if reached == _reached(book):
        return
    kept: list[tuple[Any, ...]] = []
    gone: list[tuple[int]] = []
    for listing, image in changed.items():
        if image is None or is_lifted(image):
            gone.append((listing,))
        else:
            row = (listing, image.get("feed"), image.get("entry"), int(is_retracted(image)), json.dumps(image))
            kept.append(row)
    book.executemany("DELETE FROM listings WHERE id = ?", gone)
    book.executemany("INSERT OR REPLACE INTO listings VALUES (?, ?, ?, ?, ?)", kept)
    book.execute("INSERT OR REPLACE INTO reached VALUES (1, ?, ?)", (reached.length, reached.head))
