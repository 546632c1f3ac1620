"""The sink for files: batches go into a drop directory, from which another system picks them up in its own time.

Without responses a change counts as enforced once its file is in the directory, whole and durable. With a directory of
responses it is pending until its response comes, which may be hours later. Until then it is not written again, and the
next run that asks for it reads the response. A small database beside the files has the changes that wait for one.
"""

import contextlib
import json
import logging
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote

import numpy as np

from blocklist_sdk.disk import (
    STAGED_PREFIX,
    check_owners,
    forbid_links,
    make_empty,
    read_unlinked,
    storage,
    write_file,
    write_json,
)
from blocklist_sdk.enforcement.items import Batch
from blocklist_sdk.enforcement.sink import (
    PENDING,
    Outcome,
    SinkIdentity,
    SinkUnavailable,
    SinkWarning,
    all_done,
    outcome_of_word,
)
from blocklist_sdk.enforcement.sinks import drop_files
from blocklist_sdk.enforcement.sinks.drop_files import FileFormat, drop_response_name, file_of
from blocklist_sdk.enforcement.sinks.options import read_sink_url
from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed
from blocklist_sdk.locks import sqlite_locked
from blocklist_sdk.modes import PRIVATE, access
from blocklist_sdk.places import absolute
from blocklist_sdk.release.names import feed_name

log: logging.Logger = logging.getLogger(__name__)

_MARKER: Final = ".blocklist-drop.json"
_STATE: Final = ".blocklist-drop.sqlite"
_FEED_PREFIX: Final = ".blocklist-drop.feed."
"""Begins the name of an empty file for each feed of which something was written, since the files are picked up."""

_MARKER_BYTES_MAX: Final = 10_000

_SETTLED_S: Final = 60.0
"""After how long without a write a response counts as whole, even if it does not mark its end."""

_POLL_MIN_S, _POLL_MAX_S = 0.05, 1.0
_WAIT_MAX_S: Final = 86_400.0
_BUSY_S: Final = 10.0

_SCHEMA: Final = """
create table if not exists waiting (
    feed text not null,
    number integer not null,
    key text not null,
    file text not null,
    outcome text,
    detail text,
    taken integer,
    primary key (feed, number)
) without rowid;
create index if not exists by_file on waiting (feed, file) where outcome is null;
"""


def open_file_sink(
    url: str,
    *,
    feed: str,
    format: FileFormat | None = None,
    responses: str | Path | None = None,
    wait: float | str | None = None,
    group: str | int | None = None,
    file_mode: str | int | None = None,
) -> "FileSink":
    """Open a drop directory. The first batch makes it if it does not exist, but not its parent.

    Args:
        url: such as ``file:///path/drop``; may have the options, as in ``?format=jsonl``.
        feed: the feed of what is written. Several feeds may share a directory.
        format: ``csv`` or ``jsonl``; by default ``csv``.
        responses: the directory of responses; None if the other system does not respond.
        wait: how long to wait for the response to a file before its changes are left pending, seconds; by default 0.
        group: the group that may read the files, by name or number; by default the process's own. A directory with the
            setgid bit gives its own group.
        file_mode: the mode of the files, such as ``"0644"``; by default ``"0640"``. With ``"0660"`` the group may also
            remove them from a directory that the first batch makes.

    Raises:
        InvalidInput: an option cannot be used, or the directory has other content.
        StorageFailed: the disk refused, or the directory's parent does not exist.
    """
    given = {"format": format, "responses": responses, "wait": wait, "group": group, "file_mode": file_mode}
    read, options = read_sink_url(
        url, kind="a drop directory", known=given.keys(), example="file:///var/spool/blocks?format=csv"
    )
    if read.scheme != "file":
        raise InvalidInput("not the URL of a drop directory: give one such as file:///var/spool/blocks?format=csv")
    options |= {name: str(value) for name, value in given.items() if value is not None}
    file_format = options.get("format", "csv")
    if file_format not in drop_files.FORMATS:
        raise InvalidInput(f"format must be {' or '.join(drop_files.FORMATS)}, not {file_format!r}")
    directory = options.get("responses")
    if directory is None and "wait" in options:
        raise InvalidInput("wait needs responses: name the directory in which they arrive")
    return FileSink(
        Path(unquote(read.path)),
        feed=feed,
        format=cast(FileFormat, file_format),
        responses=Path(directory) if directory is not None else None,
        wait_s=_seconds(options.get("wait", "0")),
        group=options.get("group"),
        file_mode=options.get("file_mode"),
    )


class FileSink:
    """A drop directory. It cannot be read back, since files are picked up from it. Made by `open_file_sink`."""

    def __init__(
        self,
        directory: Path,
        *,
        feed: str,
        format: FileFormat,
        responses: Path | None = None,
        wait_s: float = 0.0,
        group: str | int | None = None,
        file_mode: str | int | None = None,
    ) -> None:
        self.directory = directory
        self.feed: str = feed_name(feed)  # it begins the names of files
        self._access = access(group, file_mode)
        self._format = format
        self._responses = responses
        self._wait_s = wait_s
        self._highest: int | None = None
        self._warnings: dict[str, SinkWarning] = {}
        self._waiting: _Waiting | None = None
        self._is_claimed = False
        with storage(directory):
            check_owners(directory)
            _check_usable(directory)
        if responses is not None:
            if not responses.is_dir():
                raise InvalidInput(f"{responses} is not a directory: make it, so that responses can arrive")
            if (directory / _STATE).exists() or (directory / _STATE).is_symlink():
                self._waiting = _Waiting(directory / _STATE, feed)

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Write the changes that do not wait for a response already into one file.

        Raises:
            SinkUnavailable: the disk refused, or the directory has files of a later batch.
        """
        try:
            self._claim()
            self._check_order(batch.number_in_ledger)
            if self._waiting is None or self._responses is None:
                name, data = file_of(batch, self._format)
                write_file(self.directory / name, data, self._access)
                return all_done(batch)
            return self._outcomes(batch, self._waiting, self._responses)
        except (OSError, StorageFailed, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def warnings(self) -> Sequence[SinkWarning]:
        """The responses that cannot be read. Their changes stay pending until the responses are corrected."""
        return tuple(self._warnings.values())

    def is_empty(self) -> bool:
        """Whether no file of the feed was ever written here, as far as the directory says.

        Raises:
            SinkUnavailable: the directory cannot be used.
        """
        try:
            marker = _marker_of(self.directory)
            if marker is None:
                return True
            # The directory of an earlier version does not say of which feeds it had files.
            return marker.get("feeds") is True and not (self.directory / f"{_FEED_PREFIX}{self.feed}").exists()
        except (OSError, StorageFailed) as error:
            raise self._unusable(error) from error

    def identity(self) -> SinkIdentity:
        """The directory, and the id that it was given when it was made.

        Raises:
            SinkUnavailable: the directory cannot be used.
        """
        try:
            return SinkIdentity(absolute(self.directory).as_uri(), _mark_of(self.directory))
        except (OSError, StorageFailed) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> SinkUnavailable:
        is_permitted = not any(isinstance(each, PermissionError) for each in (error, error.__cause__))
        return SinkUnavailable(
            f"the drop directory {self.directory} cannot be used: {error}", is_permitted=is_permitted
        )

    def close(self) -> None:
        """Close the database, and forget the responses that were used."""
        if self._waiting is not None:
            self._waiting.close()

    def _claim(self) -> None:
        """Make the directory and what is in it from the beginning, unless that was done. To open makes nothing."""
        if self._is_claimed:
            return
        check_owners(self.directory)
        if not self.directory.is_dir():
            self._access.make(self.directory)
        _check_usable(self.directory)
        if _mark_of(self.directory) is None:
            marker = {
                "format": 1,
                "what": "drop directory of blocklist-sdk",
                "id": secrets.token_hex(8),
                "feeds": True,
            }
            write_json(self.directory / _MARKER, marker)
        make_empty(self.directory / f"{_FEED_PREFIX}{self.feed}")
        if self._responses is not None and self._waiting is None:
            self._waiting = _Waiting(self.directory / _STATE, self.feed)
        self._is_claimed = True

    def _outcomes(self, batch: Batch, waiting: "_Waiting", responses: Path) -> Sequence[Outcome]:
        waiting.forget_used(but=batch.number_in_ledger)
        self._read_responses(waiting, responses)
        keys = [change.key for change in batch]
        unknown = waiting.unknown(batch, keys)
        if unknown:
            part = replace(batch, items=batch.items.take(np.array(unknown)))
            name, data = file_of(part, self._format)
            if (responses / drop_response_name(name)).exists():
                raise SinkUnavailable(
                    f"{responses} has a response to {name}, which is not written yet: the response is from an earlier "
                    "ledger. Move the old responses away."
                )
            # First forget what was known about these numbers: if the run is killed between the steps, whatever is
            # asked for next is written.
            waiting.forget(part)
            write_file(self.directory / name, data, self._access)
            waiting.add(part, [keys[index] for index in unknown], name)
        end, pause_s = time.monotonic() + self._wait_s, _POLL_MIN_S
        while waiting.is_unanswered(batch) and (left_s := end - time.monotonic()) > 0:
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _POLL_MAX_S)
            self._read_responses(waiting, responses)
        return waiting.take(batch)

    def _read_responses(self, waiting: "_Waiting", responses: Path) -> None:
        """Read the responses that have arrived."""
        earlier, self._warnings = self._warnings, {}
        for name in waiting.files():
            path = responses / drop_response_name(name)
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                is_settled = time.time() - status.st_mtime > _SETTLED_S
                response = drop_files.read_drop_response(path)
                if not response.outcomes:
                    # Nothing in it is about a change, so none of them has failed.
                    raise Malformed(f"{path} has the outcome of no change: send it again, with a line for each change")
            except FileNotFoundError:
                continue
            except (Malformed, StorageFailed) as error:
                # It may still be on its way. If not, its changes stay pending until it is corrected.
                if is_settled:
                    self._warnings[name] = SinkWarning("unreadable response", str(error))
                    if name not in earlier:
                        log.warning("%s", error)
                continue
            is_whole = is_settled or response.is_whole
            if is_whole or not response.is_cut:
                waiting.answer(name, response.outcomes, is_whole=is_whole)

    def _check_order(self, number: int) -> None:
        """Check that the file would not sort before another: files are done in the order of their names."""
        if self._highest is None:
            names = [drop_files.NAME.fullmatch(name) for name in os.listdir(self.directory)]
            numbers = [int(name["number"]) for name in names if name and name["feed"] == self.feed]
            self._highest = max(numbers, default=0)
        if number < self._highest:
            raise SinkUnavailable(
                f"{self.directory} has files of {self.feed} up to batch {self._highest}, and this is batch {number}: "
                "they are from an earlier ledger. Wait until they are done, and move them away."
            )
        self._highest = number


class _Waiting:
    """The database: changes that wait for a response, and outcomes that wait for a run. One row per number.

    An outcome is used once. It is deleted when the next batch comes, since it is in the ledger by then; if the run is
    killed before that, the next one finds it again.
    """

    def __init__(self, path: Path, feed: str) -> None:
        self._feed = feed
        try:
            # One thread at a time uses a sink, but not always the one that opened it.
            PRIVATE.prepare_database(path)
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._database.execute("pragma schema_version")  # which opens the file, and writes nothing
                # Somebody else may have put a link in its place since it was prepared.
                forbid_links(path)
                self._database.execute("pragma synchronous = full")
                self._database.executescript(_SCHEMA)
            except BaseException:
                self._database.close()
                raise
        except (OSError, sqlite3.Error) as error:
            locked = None
            if isinstance(error, sqlite3.Error):
                locked = sqlite_locked(error, path, busy=f"another process uses {path}")
            if locked is not None:
                raise locked from error
            raise InvalidInput(
                f"{path} cannot be used ({error}). If it is damaged, remove it: changes that wait for a response are "
                "then written again."
            ) from error
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(sqlite3.Error):
                self.forget_used()
            self._database.close()

    def files(self) -> list[str]:
        """The files with changes that wait for a response."""
        rows = self._database.execute(
            "select distinct file from waiting where feed = ? and outcome is null", [self._feed]
        )
        return sorted(name for (name,) in rows)

    def answer(self, file: str, outcomes: Mapping[int, Outcome], *, is_whole: bool) -> None:
        """Store the outcomes in a response. One that may still grow counts once it has every change of its file."""
        with self._transaction() as database:
            rows = database.execute(
                "select number from waiting where feed = ? and file = ? and outcome is null", [self._feed, file]
            )
            asked = [number for (number,) in rows]
            missing = Outcome("failed", "the response does not mention it")
            if not is_whole and not outcomes.keys() >= set(asked):
                return
            answers = ((number, outcomes.get(number, missing)) for number in asked)
            database.executemany(
                "update waiting set outcome = ?, detail = ? where feed = ? and number = ?",
                [(outcome.kind, outcome.detail, self._feed, number) for number, outcome in answers],
            )

    def unknown(self, batch: Batch, keys: Sequence[str]) -> list[int]:
        """The indexes of changes that are not in the database."""
        rows = self._rows(batch)
        numbers = batch.items.number.tolist()
        return [index for index, number in enumerate(numbers) if rows.get(number, ("",))[0] != keys[index]]

    def forget(self, batch: Batch) -> None:
        """Delete what is known about the numbers of a batch."""
        with self._transaction() as database:
            database.executemany(
                "delete from waiting where feed = ? and number = ?",
                [(self._feed, number) for number in batch.items.number.tolist()],
            )

    def add(self, batch: Batch, keys: Sequence[str], file: str) -> None:
        """Add changes that wait for the response to a file."""
        rows = [(self._feed, number, key, file) for number, key in zip(batch.items.number.tolist(), keys, strict=True)]
        with self._transaction() as database:
            database.executemany("insert or replace into waiting (feed, number, key, file) values (?, ?, ?, ?)", rows)

    def is_unanswered(self, batch: Batch) -> bool:
        """Whether any change of a batch still waits for its response."""
        rows = self._rows(batch)
        return any(rows[number][1] is None for number in batch.items.number.tolist())

    def take(self, batch: Batch) -> list[Outcome]:
        """The outcome of each change of a batch; those that have one are marked as used."""
        rows = self._rows(batch)
        outcomes = [_outcome(batch, *rows[number][1:]) for number in batch.items.number.tolist()]
        used = [
            (batch.number_in_ledger, self._feed, number)
            for number, outcome in zip(batch.items.number.tolist(), outcomes, strict=True)
            if not outcome.pending
        ]
        with self._transaction() as database:
            database.executemany("update waiting set taken = ? where feed = ? and number = ?", used)
        return outcomes

    def forget_used(self, *, but: int | None = None) -> None:
        """Delete outcomes that batches have used, except those that one batch has used."""
        self._database.execute(
            "delete from waiting where feed = ? and taken is not null and taken is not ?", [self._feed, but]
        )

    def _rows(self, batch: Batch) -> dict[int, tuple[str, str | None, str | None]]:
        numbers = batch.items.number
        if not len(numbers):
            return {}
        rows = self._database.execute(
            "select number, key, outcome, detail from waiting where feed = ? and number between ? and ?",
            [self._feed, int(numbers[0]), int(numbers[-1])],
        )
        return {number: (key, outcome, detail) for number, key, outcome, detail in rows}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("begin immediate")
        try:
            yield self._database
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")


def _outcome(batch: Batch, kind: str | None, detail: str | None) -> Outcome:
    if kind is None:
        return PENDING
    return outcome_of_word(kind, detail or "", operation=batch.operation, source="response")


def _check_usable(directory: Path) -> bool:
    """Check that a directory is a drop directory or may become one; returns whether it is marked as one already."""
    marker = directory / _MARKER
    data = read_unlinked(marker, _MARKER_BYTES_MAX)
    if data is not None:
        with contextlib.suppress(ValueError):
            document: Any = json.loads(data)
            if isinstance(document, dict) and document.get("format") == 1:
                return True
        raise InvalidInput(f"{directory} is a drop directory of a newer version of this library: upgrade the library")
    if not directory.exists():
        os.scandir(absolute(directory).parent).close()  # which fails if the directory could not be made, either
        return False
    others = [name for name in os.listdir(directory) if name != _MARKER and not name.startswith(STAGED_PREFIX)]
    # Another process may have marked it just now.
    if others and not marker.exists():
        raise InvalidInput(f"{directory} has other content: a drop directory must be empty at first")
    return marker.exists()


def _mark_of(directory: Path) -> str | None:
    """The id of a drop directory; None if it has none, as before its first batch, or if an earlier version made it."""
    mark = (_marker_of(directory) or {}).get("id")
    return mark if isinstance(mark, str) else None


def _marker_of(directory: Path) -> dict[str, Any] | None:
    """What marks a drop directory; None before its first batch."""
    try:
        document: Any = json.loads(read_unlinked(directory / _MARKER, _MARKER_BYTES_MAX) or b"null")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _WAIT_MAX_S:
        raise InvalidInput(f"wait must be seconds, 0 to {_WAIT_MAX_S:,.0f}, not {text!r}")
    return seconds
