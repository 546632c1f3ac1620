"""Batches as files in a directory, for systems that pick files up and do them in their own time.

Without responses a change counts as enforced once its file lies there, whole and durable. With a directory of responses
it counts as pending until its answer comes, which may be hours later: meanwhile it is not written again, and whichever
run asks for it next picks the answer up. What waits for an answer is kept in a small database beside the files.
"""

import contextlib
import json
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from blocklist_sdk.disk import STAGED_PREFIX, storage, write_file, write_json
from blocklist_sdk.enforcement.items import Batch
from blocklist_sdk.enforcement.sink import KINDS, LIFTED, PENDING, Outcome, SinkUnavailable, all_done
from blocklist_sdk.enforcement.sinks.drop_files import (
    FORMATS,
    NAME,
    FileFormat,
    drop_response_name,
    file_of,
    read_drop_response,
)
from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed

log = logging.getLogger(__name__)

_MARKER: Final = ".blocklist-drop.json"
_STATE: Final = ".blocklist-drop.sqlite"

_SETTLED_S: Final = 60.0
"""A response that does not say where it ends is taken as whole once nobody has written to it for so long."""

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
) -> "FileSink":
    """Open a drop directory; it is made if it is not there, but not what it lies in.

    Args:
        url: ``file:///path/drop``; each option may stand in it as well, as in ``?format=jsonl``.
        feed: what is written is of this feed. Several feeds may have one directory.
        format: ``csv`` or ``jsonl``.
        responses: the directory of response files; without it nobody answers.
        wait: seconds to wait for the response to a file before its changes are left pending.

    Raises:
        InvalidInput: an option or the directory cannot be used; it holds something else.
        StorageFailed: the disk refused.
    """
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.fragment:
        raise InvalidInput("that is no URL of a drop directory: give one such as file:///var/spool/blocks?format=csv")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    given = {"format": format, "responses": responses, "wait": wait}
    unknown = options.keys() - given.keys()
    if unknown:
        raise InvalidInput(f"a drop directory has no option {min(unknown)!r}: it has {', '.join(given)}")
    options |= {name: str(value) for name, value in given.items() if value is not None}
    file_format = options.get("format", "csv")
    if file_format not in FORMATS:
        raise InvalidInput(f"files cannot be {file_format!r}: {' or '.join(FORMATS)}")
    answers = options.get("responses")
    if answers is None and "wait" in options:
        raise InvalidInput("there is nothing to wait for without responses: name their directory")
    return FileSink(
        Path(unquote(parts.path)),
        feed=feed,
        format=cast(FileFormat, file_format),
        responses=Path(answers) if answers is not None else None,
        wait_s=_seconds(options.get("wait", "0")),
    )


class FileSink:
    """A drop directory. It cannot be read back: what has been picked up lies somewhere else."""

    def __init__(
        self, directory: Path, *, feed: str, format: FileFormat, responses: Path | None = None, wait_s: float = 0.0
    ) -> None:
        """Use `open_file_sink`."""
        self.directory = directory
        self.feed = feed
        self._format = format
        self._responses = responses
        self._wait_s = wait_s
        self._highest: int | None = None
        self._told: set[str] = set()
        self._waiting: _Waiting | None = None
        with storage(directory):
            directory.mkdir(exist_ok=True)
            _claim(directory)
        if responses is not None:
            if not responses.is_dir():
                raise InvalidInput(f"{responses} is no directory: make it, so that responses can come")
            self._waiting = _Waiting(directory / _STATE, feed)

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Write the changes that are not waiting for an answer already into one file.

        Raises:
            SinkUnavailable: the disk refused, or the directory holds files of a later batch.
        """
        try:
            self._check_order(batch.number_in_ledger)
            if self._waiting is None or self._responses is None:
                name, data = file_of(batch, self._format)
                # Whoever picks it up is another user.
                write_file(self.directory / name, data)
                return all_done(batch)
            return self._answered(batch, self._waiting, self._responses)
        except (OSError, StorageFailed, sqlite3.Error) as error:
            raise SinkUnavailable(f"the drop directory {self.directory} cannot be used: {error}") from error

    def close(self) -> None:
        """Forget answers that have been taken."""
        if self._waiting is not None:
            self._waiting.close()

    def _answered(self, batch: Batch, waiting: "_Waiting", responses: Path) -> Sequence[Outcome]:
        waiting.begin(batch.number_in_ledger)
        self._take_in(waiting, responses)
        keys = [change.key for change in batch]
        unknown = waiting.unknown(batch, keys)
        if unknown:
            part = Batch(
                batch.number_in_ledger, batch.operation, batch.items.take(np.array(unknown)), batch.feed, batch.serial
            )
            name, data = file_of(part, self._format)
            if (responses / drop_response_name(name)).exists():
                raise SinkUnavailable(
                    f"{responses} holds a response to {name}, which is only now about to be written: its ledger has "
                    "been begun anew. Move the old responses away."
                )
            # Whatever was known of these numbers is past before the file lies there: should a run be killed between
            # the steps, nobody knows of them, and whatever is asked for next is written.
            waiting.forget(part)
            write_file(self.directory / name, data)
            waiting.add(part, [keys[place] for place in unknown], name)
        end, pause_s = time.monotonic() + self._wait_s, _POLL_MIN_S
        while waiting.is_unanswered(batch) and (left_s := end - time.monotonic()) > 0:
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _POLL_MAX_S)
            self._take_in(waiting, responses)
        return waiting.take(batch)

    def _take_in(self, waiting: "_Waiting", responses: Path) -> None:
        """Note the answers that have come."""
        for name in waiting.files():
            path = responses / drop_response_name(name)
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                is_settled = time.time() - status.st_mtime > _SETTLED_S
                answer = read_drop_response(path)
            except FileNotFoundError:
                continue
            except (Malformed, StorageFailed) as error:
                # It may still be on its way. If it is not, what was written stays pending until somebody sees to it.
                if is_settled and name not in self._told:
                    self._told.add(name)
                    log.warning("%s", error)
                continue
            if is_settled or answer.is_whole:
                waiting.answer(name, answer.outcomes, is_whole=True)
            elif not answer.is_cut:
                waiting.answer(name, answer.outcomes, is_whole=False)

    def _check_order(self, number: int) -> None:
        """Files are done in the order of their names, so none may come before one that lies there already."""
        if self._highest is None:
            found = [NAME.fullmatch(name) for name in os.listdir(self.directory)]
            self._highest = max(
                (int(each["number"]) for each in found if each and each["feed"] == self.feed), default=0
            )
        if number < self._highest:
            raise SinkUnavailable(
                f"{self.directory} holds files of {self.feed} up to batch {self._highest}, and this is batch {number}: "
                "its ledger has been begun anew. Have them done and moved away first."
            )
        self._highest = number


class _Waiting:
    """Changes that wait for their answers, and answers that wait to be taken: the last word on each number.

    An answer is taken once. It is forgotten when the next batch comes, since what came of this one is written down by
    then; a run that is killed before that finds it again.
    """

    def __init__(self, path: Path, feed: str) -> None:
        self._feed = feed
        try:
            # A sink is used by one thread at a time, but not always by the one that opened it.
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._database.execute("pragma synchronous = full")
                self._database.executescript(_SCHEMA)
            except BaseException:
                self._database.close()
                raise
        except sqlite3.Error as error:
            raise InvalidInput(
                f"{path} cannot be used ({error}). If it is damaged, remove it: what waits for an answer is then "
                "written again."
            ) from error
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(sqlite3.Error):
                self._forget_taken(None)
            self._database.close()

    def begin(self, batch_number: int) -> None:
        """A batch comes: what was taken by others is written down."""
        self._forget_taken(batch_number)

    def files(self) -> list[str]:
        """Files that are not answered in full."""
        rows = self._database.execute(
            "select distinct file from waiting where feed = ? and outcome is null", [self._feed]
        )
        return sorted(name for (name,) in rows)

    def answer(self, file: str, outcomes: Mapping[int, Outcome], *, is_whole: bool) -> None:
        """Note what a response says. One that may still grow counts only once it has everything that waits for it."""
        with self._transaction() as database:
            rows = database.execute(
                "select number from waiting where feed = ? and file = ? and outcome is null", [self._feed, file]
            )
            asked = [number for (number,) in rows]
            unsaid = Outcome("failed", "the response does not mention it")
            if not is_whole and not outcomes.keys() >= set(asked):
                return
            said = ((number, outcomes.get(number, unsaid)) for number in asked)
            database.executemany(
                "update waiting set outcome = ?, detail = ? where feed = ? and number = ?",
                [(outcome.kind, outcome.detail, self._feed, number) for number, outcome in said],
            )

    def unknown(self, batch: Batch, keys: Sequence[str]) -> list[int]:
        """Places of changes that nobody has been asked for yet."""
        found = self._rows(batch)
        numbers = batch.items.number.tolist()
        return [place for place, number in enumerate(numbers) if found.get(number, ("",))[0] != keys[place]]

    def forget(self, batch: Batch) -> None:
        """What was asked for the numbers of a batch is past."""
        with self._transaction() as database:
            database.executemany(
                "delete from waiting where feed = ? and number = ?",
                [(self._feed, number) for number in batch.items.number.tolist()],
            )

    def add(self, batch: Batch, keys: Sequence[str], file: str) -> None:
        """Changes wait for the answer to a file."""
        rows = [(self._feed, number, key, file) for number, key in zip(batch.items.number.tolist(), keys, strict=True)]
        with self._transaction() as database:
            database.executemany("insert or replace into waiting (feed, number, key, file) values (?, ?, ?, ?)", rows)

    def is_unanswered(self, batch: Batch) -> bool:
        """Whether any change of a batch still waits."""
        found = self._rows(batch)
        return any(found[number][1] is None for number in batch.items.number.tolist())

    def take(self, batch: Batch) -> list[Outcome]:
        """What has come of the changes of a batch."""
        found = self._rows(batch)
        outcomes = [_outcome(batch, *found[number][1:]) for number in batch.items.number.tolist()]
        taken = [
            (batch.number_in_ledger, self._feed, number)
            for number, outcome in zip(batch.items.number.tolist(), outcomes, strict=True)
            if not outcome.pending
        ]
        with self._transaction() as database:
            database.executemany("update waiting set taken = ? where feed = ? and number = ?", taken)
        return outcomes

    def _rows(self, batch: Batch) -> dict[int, tuple[str, str | None, str | None]]:
        numbers = batch.items.number
        rows: dict[int, tuple[str, str | None, str | None]] = {}
        if len(numbers):
            found = self._database.execute(
                "select number, key, outcome, detail from waiting where feed = ? and number between ? and ?",
                [self._feed, int(numbers[0]), int(numbers[-1])],
            )
            rows = {number: (key, outcome, detail) for number, key, outcome, detail in found}
        return rows

    def _forget_taken(self, but: int | None) -> None:
        self._database.execute(
            "delete from waiting where feed = ? and taken is not null and taken is not ?", [self._feed, but]
        )

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
    is_lifting = batch.operation == "unblock"
    if is_lifting and kind == "enforced":
        return Outcome(LIFTED.kind, detail or "")
    if not is_lifting and kind == "reversed":
        return Outcome("failed", "the response says that a block is reversed")
    return Outcome(KINDS[KINDS.index(kind)], detail or "")


def _claim(directory: Path) -> None:
    """Make sure that a directory is a drop directory, which nobody uses for something else."""
    marker = directory / _MARKER
    if marker.exists():
        with contextlib.suppress(ValueError):
            document: Any = json.loads(marker.read_bytes())
            if isinstance(document, dict) and document.get("format") == 1:
                return
        raise InvalidInput(f"{directory} is a drop directory of a newer version of this library: upgrade this one")
    others = [name for name in os.listdir(directory) if name != _MARKER and not name.startswith(STAGED_PREFIX)]
    # Another process may have made one of it meanwhile.
    if others and not marker.exists():
        raise InvalidInput(f"{directory} holds something else already: a drop directory has to be empty at first")
    write_json(marker, {"format": 1, "what": "drop directory of blocklist-sdk"})


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _WAIT_MAX_S:
        raise InvalidInput(f"wait must be seconds, 0 to {_WAIT_MAX_S:,.0f}, not {text!r}")
    return seconds
