"""What commands have in common that speak to an exchange: files of rows, evidence, and what is said about both."""

import contextlib
import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from blocklist_sdk.cli.output import say, write_json
from blocklist_sdk.errors import BlocklistError, InvalidInput, StorageFailed

if TYPE_CHECKING:
    from pydantic import BaseModel

    from blocklist_sdk.exchange.client import ExchangeClient
    from blocklist_sdk.exchange.models import Evidence, Problem

T = TypeVar("T")

DEFAULT = "send"
"""What `blocklist report NUMBER` and `blocklist appeal NUMBER` do: the word may be left out."""

_LINE_CHARS_MAX = 1_000_000
_NAME_CHARS_MAX = 100

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="A name of your own for what is sent: the same again under the same name happens once. By default new "
        "each time.",
    ),
]
EvidenceOption = Annotated[
    list[Path] | None, typer.Option("--evidence", metavar="FILE", help="A file that shows it; may be repeated.")
]


class SendsByDefault(TyperGroup):
    """Commands of which `send` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put it in where no other is named."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def write_model(model: "BaseModel") -> None:
    """Write what the exchange answered as one line of JSON."""
    write_json(model.model_dump(mode="json"))


def write_each(models: Iterable["BaseModel"], told: Callable[[Any], str], *, as_json: bool) -> None:
    """Write each as one line, as they come."""
    for model in models:
        if as_json:
            write_model(model)
        else:
            typer.echo(told(model))


def records_in(file: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a CSV file with a header, or objects of a JSONL file, as they are needed; each with its line.

    What is no row is a text that says so. Empty cells and null count as not given.

    Args:
        file: ends with ``.jsonl`` or ``.ndjson``, or is CSV.
        fields: what a CSV file may have as columns.

    Raises:
        InvalidInput: it cannot be read, or its header names other columns.
    """
    is_json = file.suffix.lower() in (".jsonl", ".ndjson")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from _objects(lines) if is_json else _rows(lines, fields, file)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is no UTF-8: save it as such") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from error


def _objects(lines: IO[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    place = 0
    while line := lines.readline(_LINE_CHARS_MAX):
        place += 1
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            yield place, {name: value for name, value in document.items() if value is not None}
        else:
            yield place, "it is no JSON object"


def _rows(lines: IO[str], fields: tuple[str, ...], file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    reader = csv.DictReader(lines, strict=True)
    try:
        unknown = set(reader.fieldnames or ()) - set(fields)
        twice = sorted({name for name in reader.fieldnames or () if list(reader.fieldnames or ()).count(name) > 1})
        if unknown or not reader.fieldnames:
            what = f"has the columns {', '.join(sorted(map(repr, unknown)))}" if unknown else "has no header line"
            raise InvalidInput(f"{file} {what}, but the columns are {', '.join(fields)}")
        if twice:
            raise InvalidInput(f"{file} has the column {twice[0]!r} more than once: leave one")
        for row in reader:
            if None in row:
                yield reader.line_num, "it has more cells than there are columns"
            else:
                yield reader.line_num, {name: value for name, value in row.items() if value}
    except csv.Error as error:
        raise InvalidInput(f"{file}, line {reader.line_num}: {error}") from error


class Rejects:
    """Tells what came of lines that were not taken, and remembers whether there were any.

    Attributes:
        count: how many.
    """

    def __init__(self, *, as_json: bool) -> None:
        """Nothing was rejected yet."""
        self.count = 0
        self._as_json = as_json

    def tell(self, line: int, kind: str, message: str) -> None:
        """Tell of one."""
        self.count += 1
        if self._as_json:
            write_json({"line": line, "error": {"type": kind, "message": message}})
        else:
            say(f"line {line}: {message}")

    def made(
        self, rows: Iterable[tuple[int, dict[str, Any] | str]], make: Callable[[dict[str, Any]], T], lines: list[int]
    ) -> Iterator[T]:
        """What the rows make, without those that are told of here.

        Args:
            rows: as `records_in` gives them.
            make: raises `InvalidInput` where it cannot.
            lines: is added the line of each.
        """
        for line, row in rows:
            if isinstance(row, str):
                self.tell(line, InvalidInput.__name__, row)
                continue
            try:
                item = make(row)
            except InvalidInput as error:
                self.tell(line, InvalidInput.__name__, str(error))
                continue
            lines.append(line)
            yield item


def problem_line(problem: "Problem") -> str:
    """A problem in one line."""
    # The exchange says what is wrong with a single field in so many words already.
    fields = "; ".join(
        f"{each.field}: {each.reason}" for each in problem.errors if not problem.detail.endswith(each.reason)
    )
    return f"{problem.detail}{f' ({fields})' if fields else ''}"


def send_evidence(
    files: Iterable[Path], attach: Callable[..., "Evidence"], *, key: str | None, where: str, again: str
) -> None:
    """Send files one after the other, with a progress bar on a terminal.

    Args:
        files: what to send.
        attach: sends one.
        key: what their idempotency keys begin with.
        where: what they belong to, for messages.
        again: the command that sends one that failed, for messages.

    Raises:
        BlocklistError: one could not be sent; what was sent before is there.
    """
    for place, file in enumerate(files):
        try:
            with _progress(file.name) as progress:
                attach(file, progress=progress, idempotency_key=None if key is None else f"{key}-evidence-{place}")
        except BlocklistError:
            say(f"{where} is there, but not its evidence {file}: send that with {again} {file}")
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


def fetch_evidence(exchange: "ExchangeClient", files: Iterable["Evidence"], folder: Path, *, as_json: bool) -> None:
    """Write files of the exchange into a folder, under names that are harmless, and tell where they are.

    Raises:
        StorageFailed: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(f"cannot make the folder {folder}: {error.strerror}", path=folder) from error
    for file in files:
        path = exchange.download_evidence(file, folder / f"{file.id}-{_harmless(file.name)}")
        if as_json:
            write_json({**file.model_dump(mode="json"), "path": str(path)})
        else:
            typer.echo(f"{path}  {file.media_type}, {file.bytes:,} bytes, SHA-256 {file.sha256}")


def _harmless(name: str) -> str:
    """A file's name with nothing in it that leads elsewhere or confuses a shell.

    >>> _harmless("../../etc/pass wd")
    'etc_pass_wd'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[-_NAME_CHARS_MAX:] or "file"
