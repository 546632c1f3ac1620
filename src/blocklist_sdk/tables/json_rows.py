"""JSON as rows: an array, an object keyed by number, or one object a line."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.batches import Batch, batch_of, storable
from blocklist_sdk.tables.cells import is_like_a_number, scientific, text_of_number
from blocklist_sdk.tables.rejects import Reject

_ROWS_PER_BATCH: Final = 1 << 15

_LINE_BYTES_MAX: Final = 8 << 20

_DOCUMENT_BYTES_MAX: Final = 1 << 30
"""Twenty million objects of fifty bytes; more than that belongs into JSON lines, which are read in pieces."""

_EXPECTED: Final = (
    "an array of numbers or objects, an object keyed by number such as "
    '{"+62…": {"category": "fraud"}}, or one object a line'
)
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class _Decimal(float):
    """A number with a fraction or an exponent, which a whole number has when digits may be gone."""

    has_exponent = False


def _decimal(text: str) -> float:
    value = _Decimal(text)
    value.has_exponent = "e" in text.lower()
    return value


class _Repeated(dict[str, Any]):
    """An object that has a name twice, so that it is not clear which value counts."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeated(found)


def _loads(text: str) -> Any:
    return json.loads(text, parse_float=_decimal, object_pairs_hook=_object)


def document_rows(read: Callable[[int], bytes]) -> tuple[list[str], list[tuple[int, Any]]]:
    """The rows of one JSON document, and their columns' names.

    The line of a row is its place in the document, from 1.

    Raises:
        InvalidInput: it is not JSON, or of another shape.
    """
    parts, size = [], 0
    while part := read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > _DOCUMENT_BYTES_MAX:
            raise InvalidInput(
                f"the JSON document is longer than {_DOCUMENT_BYTES_MAX:,} bytes: write one object a line"
            )
    try:
        document = _loads(b"".join(parts).decode(errors="surrogateescape"))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"line {error.lineno}: this begins like JSON but is not: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this begins like JSON but cannot be read: {error}") from error
    if isinstance(document, _Repeated):
        raise InvalidInput(
            "this JSON object has a key twice, so it is not clear which value counts: remove one of them"
        )
    if isinstance(document, dict):
        rows = _of_object(document)
    elif isinstance(document, list):
        rows = [each if isinstance(each, dict) else {"number": each} for each in document]
    else:
        raise InvalidInput(f"this JSON is not a list: give {_EXPECTED}")
    if not rows:
        return ["number"], []
    names = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row)) or ["number"]
    return names, list(enumerate(rows, 1))


def _of_object(document: dict[str, Any]) -> list[Any]:
    """The rows of an object keyed by number; or by something else, if all of its values have a number of their own."""
    own = [isinstance(value, dict) and any(map(_is_number_name, value)) for value in document.values()]
    if not any(own):
        return [_keyed(key, value) for key, value in document.items()]
    keys = sum(map(is_like_a_number, document))
    if all(own) and (not keys or all(key in value.values() for key, value in document.items())):
        return list(document.values())
    what = (
        f"{keys:,} of its {len(own):,} keys look like numbers as well"
        if keys
        else f"{own.count(False):,} of its {len(own):,} values have none"
    )
    raise InvalidInput(
        f"the values of this JSON object have a 'number' of their own, but {what}, so it is not clear which are the "
        f"numbers: give {_EXPECTED}"
    )


def _is_number_name(name: str) -> bool:
    return name.strip().lower() == "number"


def _keyed(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        row = {"number": key, **value}
        return _Repeated(row) if isinstance(value, _Repeated) else row
    if value is None or isinstance(value, str):
        return {"number": key, "category": value}
    if value is True:
        return {"number": key}
    raise InvalidInput(f"this JSON object is not keyed by number: give {_EXPECTED}")


@dataclass(frozen=True, slots=True)
class _Broken:
    """A line that is not a JSON object."""

    reason: str
    text: str


def line_rows(read: Callable[[int], bytes]) -> Iterator[tuple[int, Any]]:
    """The lines of a text, each as the object in it, None if blank, or what is wrong with it.

    Raises:
        InvalidInput: a line is too long.
    """
    line, pending = 0, b""
    at_end = False
    while not at_end:
        more = read(1 << 20)
        at_end = not more
        data = pending + more
        parts = _LINE_END.split(data)
        keep = not at_end or not parts[-1]
        # A carriage return at the end may be half of a line end.
        if keep and not at_end and data.endswith(b"\r"):
            pending = parts[-2] + b"\r"
            parts = parts[:-2]
        else:
            pending = parts[-1] if keep else b""
            parts = parts[:-1] if keep else parts
        for part in parts:
            line += 1
            yield line, _row_of(part)
        if len(pending) > _LINE_BYTES_MAX:
            raise InvalidInput(f"line {line + 1} is longer than {_LINE_BYTES_MAX:,} bytes: write one object a line")


def _row_of(data: bytes) -> Any:
    if not data.strip():
        return None
    text = data.decode(errors="surrogateescape")
    try:
        row = _loads(text)
    except (ValueError, RecursionError) as error:
        return _Broken(f"not JSON: {error}", _printable(text.strip()))
    return row if isinstance(row, dict) else _Broken("not a JSON object", _printable(text.strip()))


def names_in(rows: Iterator[tuple[int, Any]]) -> list[str]:
    """The names that objects have, in the order in which they first come."""
    names: dict[str, None] = {}
    for _, row in rows:
        if isinstance(row, dict):
            names.update(dict.fromkeys(row))
    return list(names)


def row_batches(rows: Iterator[tuple[int, Any]], names: list[str], numbers: frozenset[int]) -> Iterator[Batch]:
    """Rows in batches of texts.

    Args:
        rows: from `document_rows` or `line_rows`.
        names: the columns.
        numbers: the positions of columns with telephone numbers.
    """
    cells: list[list[str | None]] = []
    lines: list[int] = []
    rejects: dict[int, Reject] = {}
    empty: list[str | None] = [None] * len(names)
    for line, row in rows:
        if isinstance(row, dict):
            try:
                if isinstance(row, _Repeated):
                    raise InvalidInput("an object that has a name twice")
                cells.append([_cell(row.get(name), name, is_number=i in numbers) for i, name in enumerate(names)])
            except InvalidInput as error:
                given = row.get(names[min(numbers)]) if numbers else None
                text = _printable(str(given)) if isinstance(given, str | int) else ""
                rejects[len(cells)] = Reject(line, str(error), text)
                cells.append(empty)
        else:
            if row is not None:
                rejects[len(cells)] = Reject(line, row.reason, row.text)
            cells.append(empty)
        lines.append(line)
        if len(cells) == _ROWS_PER_BATCH:
            yield batch_of(cells, lines, len(names), rejects)
            cells, lines, rejects = [], [], {}
    if cells:
        yield batch_of(cells, lines, len(names), rejects)


def _cell(value: Any, name: str, *, is_number: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"its {storable(name)!r} is not UTF-8") from error
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return text_of_number(value, is_number=is_number) if abs(value) < 10**30 else scientific(value)
    if isinstance(value, float):
        return scientific(value) if is_number and getattr(value, "has_exponent", False) else _of_float(value, is_number)
    if isinstance(value, list) and not is_number and all(isinstance(part, str) for part in value):
        return "+".join(value)
    if is_number:
        raise InvalidInput(f"its {storable(name)!r} is neither text nor a whole number")
    return storable(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | dict) else str(value)


def _of_float(value: float, is_number: bool) -> str:
    return text_of_number(float(value), is_number=is_number) if value == value and abs(value) < 1e300 else "nan"


def _printable(text: str) -> str:
    """Text that can be written: bytes that are not UTF-8, and halves of JSON's escapes, with backslashes."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
