"""What the commands for an exchange share: reading files of rows, sending and fetching evidence, and output."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from blocklist_sdk.cli.inputs import input_of, place_in
from blocklist_sdk.cli.output import say, write_json, write_line
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, ExchangeError, InvalidInput, StorageFailed
from blocklist_sdk.modes import PRIVATE

if TYPE_CHECKING:
    from pydantic import BaseModel

    from blocklist_sdk.exchange.client import ExchangeClient
    from blocklist_sdk.exchange.models import Evidence, Problem

T = TypeVar("T")

DEFAULT = "send"
"""The command that `blocklist report NUMBER` and `blocklist appeal NUMBER` run; its name may be left out."""

_NAME_CHARS_MAX = 100
_NO_COPY = 409

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="A key of your own: the same sent again with the same key counts once. By default a new one each time.",
    ),
]
FolderOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The folder for the files; made if it does not exist.")
]
OriginalOption = Annotated[
    bool,
    typer.Option(
        "--original", help="The files as they were sent, not copies without positions, names of authors and comments."
    ),
]
EvidenceOption = Annotated[
    list[Path] | None, typer.Option("--evidence", metavar="FILE", help="A file of evidence; may be repeated.")
]


class SendsByDefault(TyperGroup):
    """A group of commands in which `send` may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `send` if no command is named."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def write_model(model: "BaseModel") -> None:
    """Write a model as one line of JSON."""
    write_json(model.model_dump(mode="json"))


def write_each(models: Iterable["BaseModel"], line_of: Callable[[Any], str], *, as_json: bool) -> None:
    """Write each model as one line, as they come."""
    for model in models:
        if as_json:
            write_model(model)
        else:
            write_line(line_of(model))


def records_in(file: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Read the rows of a table; yields each with its line number.

    A row that cannot be read yields a text with the reason. Empty cells count as not given.

    Args:
        file: the table, such as CSV with a header or JSON lines; ``-`` is standard input.
        fields: the columns that are read; others are ignored, and named.

    Raises:
        InvalidInput: the file cannot be read, or has none of the columns.
    """
    from blocklist_sdk.tables.header import Meanings
    from blocklist_sdk.tables.rejects import Reject
    from blocklist_sdk.tables.table import open_table, told

    rejects: list[Reject] = []
    with open_table(input_of(file), meanings=Meanings(known=fields, number=None, needed=(), options="")) as table:
        if not table.places:
            raise InvalidInput(f"{file} has none of the columns {', '.join(fields)}: it needs a header line with some")
        for note in told(table.notes, table.ignored):
            say(note)
        for line, row in table.records(rejects):
            yield from _before(line, rejects)
            yield line, row
        yield from _before(sys.maxsize, rejects)


def _before(line: int, rejects: list[Any]) -> Iterator[tuple[int, str]]:
    """Take the rejects that come before a line."""
    while rejects and rejects[0].line < line:
        reject = rejects.pop(0)
        yield reject.line, reject.reason


class Rejects:
    """Writes the lines that were rejected, and counts them.

    Attributes:
        count: number of rejected lines.
    """

    def __init__(self, file: Path, *, as_json: bool) -> None:
        """Nothing was rejected yet."""
        self.count: int = 0
        self._file = file
        self._as_json = as_json

    def add(self, line: int, kind: str, message: str) -> None:
        """Write one rejected line."""
        self.count += 1
        if self._as_json:
            write_json({"line": line, "error": {"type": kind, "message": message}})
        else:
            say(f"{place_in(self._file, line)}: {message}")

    def readable(
        self, rows: Iterable[tuple[int, dict[str, Any] | str]], make: Callable[[dict[str, Any]], T], lines: list[int]
    ) -> Iterator[T]:
        """Make an item of each row, and reject rows that cannot be used.

        Args:
            rows: from `records_in`.
            make: makes an item, or raises `InvalidInput`.
            lines: gets the line number of each item.
        """
        for line, row in rows:
            if isinstance(row, str):
                self.add(line, InvalidInput.__name__, row)
                continue
            try:
                item = make(row)
            except InvalidInput as error:
                self.add(line, InvalidInput.__name__, str(error))
                continue
            lines.append(line)
            yield item


def problem_line(problem: "Problem") -> str:
    """A problem in one line."""
    # The detail of a problem with a single field has the same text already.
    fields = "; ".join(
        f"{each.field}: {each.reason}" for each in problem.errors if not problem.detail.endswith(each.reason)
    )
    return f"{problem.detail}{f' ({fields})' if fields else ''}"


def send_evidence(
    files: Iterable[Path], attach: Callable[..., "Evidence"], *, key: str | None, owner: str, again: str
) -> None:
    """Send files one after the other, with a progress bar on a terminal.

    Args:
        files: the files.
        attach: sends one.
        key: the beginning of their idempotency keys; None for new ones.
        owner: the report or appeal that they belong to, for messages.
        again: the command to send a file that failed, for messages.

    Raises:
        BlocklistError: a file could not be sent; those before it were.
    """
    for index, file in enumerate(files):
        try:
            with _progress(file.name) as progress:
                attach(file, progress=progress, idempotency_key=None if key is None else f"{key}-evidence-{index}")
        except BlocklistError:
            say(f"{owner} was sent, but not its evidence {file}: send it with {again} {file}")
            raise


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name)
        yield lambda sent, total: bars.update(task, completed=sent, total=total)


def fetch_evidence(
    exchange: "ExchangeClient", files: Iterable["Evidence"], folder: Path, *, original: bool, as_json: bool
) -> None:
    """Download files into a folder, under safe names, and write their paths.

    Args:
        exchange: the client.
        files: the files.
        folder: the folder; it is made if it does not exist.
        original: as they were sent, instead of copies without positions, names and comments.
        as_json: write lines of JSON.

    Raises:
        StorageFailed: the folder cannot be made.
        ExchangeError: of a file no such copy can be made; the others were downloaded.
    """
    try:
        PRIVATE.make(folder)
    except OSError as error:
        raise StorageFailed(f"cannot make the folder {folder}: {error.strerror}", path=folder) from error
    refused: ExchangeError | None = None
    for file in files:
        target = folder / f"{file.id}-{_safe_name(file.name)}"
        try:
            path = exchange.download_evidence(file, target, original=original)
        except ExchangeError as error:
            if error.status != _NO_COPY:
                raise
            if refused is not None:
                say(str(refused))
            refused = error
            continue
        _write_file(file, path, as_json=as_json)
    if refused is not None:
        raise refused


def _write_file(file: "Evidence", path: Path, *, as_json: bool) -> None:
    """Write where a file is, and whether it is a copy."""
    with storage(path), path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        length = os.fstat(content.fileno()).st_size
    if as_json:
        copy = {"path": str(path), "copy_sha256": sha256, "copy_bytes": length}
        write_json({**file.model_dump(mode="json"), **copy})
    elif sha256 == file.sha256:
        write_line(f"{path}  {file.media_type}, {file.bytes:,} bytes, SHA-256 {file.sha256}")
    else:
        write_line(
            f"{path}  {file.media_type}, {length:,} bytes, a copy without positions, names and comments; "
            f"the original has {file.bytes:,} bytes, SHA-256 {file.sha256}"
        )


def _safe_name(name: str) -> str:
    """A file's name without anything that leads elsewhere or confuses a shell.

    >>> _safe_name("../../etc/pass wd")
    'etc_pass_wd'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[-_NAME_CHARS_MAX:] or "file"
