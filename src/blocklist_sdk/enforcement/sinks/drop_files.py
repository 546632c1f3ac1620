"""The files of a drop directory: how a batch is written and read, and how the response to it is.

One file has one batch. The first line says what it is; the last line has the number of changes and the SHA-256 of all
bytes before it, so that a file that was cut on its way is not accepted.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from blocklist_sdk import times
from blocklist_sdk.disk import read_unlinked, replaced, storage
from blocklist_sdk.enforcement.items import Batch, Operation, SinkChange, era_field, scopes_of, until_text
from blocklist_sdk.enforcement.sink import OUTCOME_KINDS, Outcome, plain
from blocklist_sdk.errors import Malformed, StorageFailed
from blocklist_sdk.modes import SHARED
from blocklist_sdk.release.release_id import FIRST_ERA
from blocklist_sdk.texts import from_spreadsheet_cell, spreadsheet_cell

FileFormat = Literal["csv", "jsonl"]
FORMATS: Final = get_args(FileFormat)

FORMAT_VERSION: Final = 1

COLUMNS: Final = ("operation", "number", "last", "scope", "category", "entries", "until")

RESPONSE_COLUMNS: Final = ("number", "outcome", "detail")

NAME: Final = re.compile(
    r"(?P<feed>[a-z0-9]+(?:-[a-z0-9]+)*)\.(?P<number>\d{9,})\.(?P<operation>block|change|unblock)\.(?P<digest>[0-9a-f]{8})"
    r"\.(?P<format>csv|jsonl)",
    re.ASCII,
)
"""The name of a file. The files of one feed must be done in the order of their names."""

_MARK: Final = "# blocklist-sdk"
_END: Final = "# end"
_RESPONSE_BYTES_MAX: Final = 256_000_000
"""As long as a response to a million changes with long details."""


@dataclass(frozen=True, slots=True)
class DropFile:
    """The content of a file.

    Attributes:
        feed: the feed.
        serial: the serial of the release in force when the file was written.
        number: the number of the batch; it counts up from file to file of a feed.
        operation: the operation of all changes.
        changes: the changes, ascending by number.
        era: the release's era.
    """

    feed: str
    serial: int
    number: int
    operation: Operation
    changes: tuple[SinkChange, ...]
    era: int = FIRST_ERA


def file_of(batch: Batch, format: FileFormat) -> tuple[str, bytes]:
    """The name and the bytes of a batch as a file; they are the same for the same batch.

    >>> from blocklist_sdk.testing import make_batch
    >>> name, data = file_of(make_batch("block", [6281200000001], feed="id-telkomsel", number_in_ledger=17), "csv")
    >>> name
    'id-telkomsel.000000017.block.47025983.csv'
    >>> print(data.decode().partition("# end")[0], end="")
    # blocklist-sdk format=1 feed=id-telkomsel serial=1 batch=17 operation=block count=1
    operation,number,last,scope,category,entries,until
    block,+6281200000001,+6281200000001,sms+voice,fraud,1,
    """
    content = (_csv(batch) if format == "csv" else _jsonl(batch)).encode()
    digest = hashlib.sha256(content).hexdigest()
    if format == "csv":
        end = f"{_END} count={len(batch)} sha256={digest}\n"
    else:
        end = _line({"type": "end", "count": len(batch), "sha256": digest})
    name = f"{batch.feed}.{batch.number_in_ledger:09d}.{batch.operation}.{digest[:8]}.{format}"
    return name, content + end.encode()


def read_drop_file(path: str | Path) -> DropFile:
    """Read a file of a drop directory, and check that it is whole.

    Raises:
        Malformed: the file is cut, damaged, or of another kind.
        StorageFailed: the file cannot be read.
    """
    path = Path(path)
    with storage(path):
        data = path.read_bytes()
    try:
        content, end = _split(data)
        is_csv = data.startswith(b"#")
        ending = _pairs(end.decode(), _END) if is_csv else json.loads(end)
        if not is_csv and ending["type"] != "end":
            raise ValueError("its last line does not mark the end")
        if hashlib.sha256(content).hexdigest() != ending["sha256"]:
            raise Malformed(f"{path} is damaged: its checksum does not match. Fetch it again.")
        file = _from_csv(content.decode()) if is_csv else _from_jsonl(content.decode())
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error, RecursionError) as error:
        raise Malformed(f"{path} is not a whole file of a drop directory ({error}): fetch it again") from error
    if len(file.changes) != int(ending["count"]):
        raise Malformed(f"{path} is damaged: its last line says count={ending['count']}, not {len(file.changes)}")
    return file


def drop_response_name(name: str) -> str:
    """The name of the response to a file.

    >>> drop_response_name("id-telkomsel.000000017.block.47025983.csv")
    'id-telkomsel.000000017.block.47025983.response.csv'
    """
    return f"{name.rpartition('.')[0]}.response.csv"


def write_drop_response(path: str | Path, outcomes: Mapping[int, Outcome]) -> None:
    """Write the response to a file, as the system that carries out the file does.

    Args:
        path: a path in the directory of responses, with the name from `drop_response_name`.
        outcomes: the outcome of each change, by its first number.

    Raises:
        StorageFailed: the response cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(RESPONSE_COLUMNS)
    rows.writerows(
        (f"+{number}", outcome.kind, spreadsheet_cell(outcome.detail)) for number, outcome in outcomes.items()
    )
    with replaced(Path(path), SHARED) as temporary:
        temporary.write_text(f"{text.getvalue()}{_END} count={len(outcomes)}\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class DropResponse:
    """The content of a response.

    Attributes:
        outcomes: the outcome of each change, by first number; of several, the last one.
        is_whole: whether it has a line that marks its end.
        is_cut: whether its last line is not ended, so that something is missing.
    """

    outcomes: Mapping[int, Outcome]
    is_whole: bool
    is_cut: bool


def read_drop_response(path: str | Path) -> DropResponse:
    """Read a response: a header line, lines of ``number,outcome,detail``, and maybe ``# end count=N``.

    An unknown outcome is read as `failed`, so that the change is asked for again.

    Raises:
        Malformed: the file is not a response, or its end is still missing.
        StorageFailed: the file cannot be read.
    """
    path = Path(path)
    # A planted link would have us report the words of another file.
    data = read_unlinked(path, _RESPONSE_BYTES_MAX + 1)
    if data is None:
        raise StorageFailed(f"{path} does not exist", path=path)
    if len(data) > _RESPONSE_BYTES_MAX:
        raise Malformed(
            f"{path} has more than {_RESPONSE_BYTES_MAX:,} bytes: it is not a response to a file of this drop directory"
        )
    try:
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
        is_cut = bool(lines.pop())
        count = None
        if lines and lines[-1].startswith(_END) and not is_cut:
            count = int(_pairs(lines.pop(), _END)["count"])
        rows = csv.DictReader((f"{line}\n" for line in lines), strict=True)
        names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
        rows.fieldnames = names
        if not {"number", "outcome"} <= set(names):
            raise Malformed(f"{path} is not a response: its first line must be {','.join(RESPONSE_COLUMNS)}")
        outcomes = [
            (_number(row["number"]), _outcome(row["outcome"], from_spreadsheet_cell(row.get("detail") or "")))
            for row in rows
        ]
    except (ValueError, KeyError, csv.Error) as error:
        raise Malformed(f"{path} cannot be read ({error}): its lines must be {','.join(RESPONSE_COLUMNS)}") from error
    if count is not None and count != len(outcomes):
        raise Malformed(f"the last line of {path} says count={count}, not {len(outcomes)}: send it again")
    return DropResponse(dict(outcomes), count is not None, is_cut)


def _csv(batch: Batch) -> str:
    text = io.StringIO()
    era = "".join(f" {name}={value}" for name, value in era_field(batch).items())
    about = f"feed={batch.feed} serial={batch.serial}{era} batch={batch.number_in_ledger} operation={batch.operation}"
    text.write(f"{_MARK} format={FORMAT_VERSION} {about} count={len(batch)}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(
        (
            *(batch.operation, f"+{number}", f"+{last}", "+".join(scope)),
            *(spreadsheet_cell(category), " ".join(map(str, entries)), until),
        )
        for number, last, scope, category, entries, until in _rows(batch)
    )
    return text.getvalue()


def _jsonl(batch: Batch) -> str:
    head = {
        "type": "blocklist-sdk",
        "format": FORMAT_VERSION,
        "feed": batch.feed,
        "serial": batch.serial,
        **era_field(batch),
        "batch": batch.number_in_ledger,
        "operation": batch.operation,
        "count": len(batch),
    }
    lines = [_line(head)]
    for number, last, scope, category, entries, until in _rows(batch):
        lines.append(
            _line(
                {
                    "type": batch.operation,
                    "number": f"+{number}",
                    "last": f"+{last}",
                    "scope": list(scope),
                    "category": category,
                    "entries": list(entries),
                    "until": until or None,
                }
            )
        )
    return "".join(lines)


def _rows(batch: Batch) -> Iterator[tuple[int, int, tuple[str, ...], str, tuple[int, ...], str]]:
    items = batch.items
    categories = [plain(category) for category in items.categories]
    ends = {end: until_text(end) or "" for end in set(items.until.tolist())}
    columns = zip(
        items.number.tolist(),
        items.last.tolist(),
        items.scope.tolist(),
        items.category.tolist(),
        items.until.tolist(),
        strict=True,
    )
    for index, (number, last, scope, category, until) in enumerate(columns):
        yield number, last, scopes_of(scope), categories[category], items.entries(index), ends[until]


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


# Reading


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The bytes that the checksum is of, and the last line."""
    if not data.endswith(b"\n"):
        raise ValueError("its last line is cut")
    end = data.rfind(b"\n", 0, -1) + 1
    return data[:end], data[end:]


def _pairs(line: str, mark: str) -> dict[str, str]:
    if not line.startswith(f"{mark} "):
        raise ValueError(f"a line does not begin with {mark}")
    return dict(pair.split("=", 1) for pair in line[len(mark) :].split())


def _from_csv(text: str) -> DropFile:
    lines = io.StringIO(text, newline="")
    head = _pairs(lines.readline(), _MARK)
    rows = csv.DictReader(lines, strict=True)
    changes = (
        row
        | {
            "scope": tuple(row["scope"].split("+")),
            "category": from_spreadsheet_cell(row["category"]),
            "entries": tuple(map(int, row["entries"].split())),
        }
        for row in rows
    )
    return _drop_file(head, changes)


def _from_jsonl(text: str) -> DropFile:
    head, *rows = map(json.loads, text.split("\n")[:-1])
    if head["type"] != "blocklist-sdk":
        raise ValueError("its first line has another type")
    changes = (row | {"scope": tuple(row["scope"]), "entries": tuple(row["entries"])} for row in rows)
    return _drop_file(head, changes)


def _drop_file(head: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> DropFile:
    if int(head["format"]) > FORMAT_VERSION:
        raise ValueError("it was written by a newer version of this library")
    feed, serial, operation = head["feed"], int(head["serial"]), head["operation"]
    era = int(head.get("era", FIRST_ERA))
    changes = tuple(
        SinkChange(
            operation=operation,
            number=_number(row["number"]),
            last=_number(row["last"]),
            scope=row["scope"],
            category=row["category"],
            entries=row["entries"],
            until=_moment(row["until"]),
            feed=feed,
            serial=serial,
            era=era,
        )
        for row in rows
    )
    return DropFile(feed, serial, int(head["batch"]), operation, changes, era)


def _moment(text: str | None) -> int | None:
    return times.to_ms(datetime.fromisoformat(text)) if text else None


def _number(text: str | None) -> int:
    digits = (text or "").strip().removeprefix("+")
    if not re.fullmatch(r"\d{1,15}", digits, re.ASCII):
        raise ValueError("a number is not + and E.164 digits")
    return int(digits)


def _outcome(kind: str | None, detail: str | None) -> Outcome:
    word = (kind or "").strip().lower()
    for known in OUTCOME_KINDS:
        if word == known:
            return Outcome(known, plain(detail or ""))
    return Outcome("failed", plain(f"the response says {word[:40]!r}, which is not an outcome"))
