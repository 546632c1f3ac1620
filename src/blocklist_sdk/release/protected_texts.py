"""Numbers to protect, as people write them: numbers, ranges and patterns, one on each line of a file or row of a table.

The signed document of protected numbers holds single numbers only, so a range or a pattern stands for each number in
it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.patterns import parse_pattern
from blocklist_sdk.numbers.reference import NOT_FROM_ABROAD
from blocklist_sdk.numbers.text import digits_of, to_ascii
from blocklist_sdk.places import temporary_file

PATTERN_NUMBERS_MAX: Final = 10_000
"""How many numbers one range or pattern may stand for: the block of numbers that a large call centre has."""

SHORT_CODE: Final = "a short code, which no feed can list, since it is not an E.164 number: leave it out"

_SHORT_CODE_DIGITS_MAX: Final = 6
"""ITU-T E.164 leaves short codes to each country; they have 3 to 6 digits."""

_COMMENT = re.compile(r"\s#\s.*")
"""A comment behind a number. Without white space on both sides, ``#`` is a wildcard."""

_DELIMITER: Final = re.compile(r"[,;\t|]")
_JSON: Final = ("{", "[{")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a]")
"""What only a table has: plain numbers, ranges and patterns are written without it."""

_WILDCARDS_ALONE = re.compile(r"[#\s]+")
"""Where nothing else follows, the signs are wildcards, with white space or without."""

_SEVERAL_WAYS = re.compile(r"\s#\s+#")
"""The first of these signs may begin a comment, or be a wildcard before one."""


@dataclass(frozen=True, slots=True)
class ProtectedText:
    """One number, range or pattern, as it was given.

    Attributes:
        text: the text itself.
        place: the file and the line it is from; empty if it is from no file.
    """

    text: str
    place: str = ""


def read_lines(source: Path | BinaryIO) -> list[ProtectedText]:
    """Read a file of numbers, ranges and patterns.

    A plain text has one on each line. Blank lines are skipped, and so are comments: a line that begins with ``#``, and
    the rest of a line after a ``#`` with white space on both sides. The first line may be a header, which has no digit.

    A table, such as a spreadsheet, CSV with several columns or Parquet, has them in the column ``number``, or in its
    only one; with ``last``, a row is a range. Every row must be readable.

    Raises:
        InvalidInput: the file cannot be read, a row has no number, or it is not clear where a comment begins.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        raise InvalidInput(f"cannot read the protected numbers in {name}: {error.strerror or error}") from error
    lines = _plain_lines(content, name)
    if lines is None and isinstance(source, Path):
        return _read_table(source, name)
    if lines is None:
        with io.BufferedRandom(temporary_file()) as file:
            file.write(content)
            file.seek(0)
            return _read_table(file, name)
    texts = [ProtectedText(text, f"{name}, line {number}") for number, text in lines]
    return texts[1:] if texts and not re.search("[0-9]", to_ascii(texts[0].text)) else texts


def _plain_lines(content: bytes, name: str) -> list[tuple[int, str]] | None:
    """The lines of a plain text that are not blank, each with its number; None if it is a table.

    Raises:
        InvalidInput: it is not clear where a comment begins.
    """
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeError:
        return None
    if _CONTROL.search(decoded) or decoded.lstrip().startswith(_JSON):
        return None
    lines = [
        (number, text)
        for number, line in enumerate(decoded.splitlines(), start=1)
        if (text := _without_comment(line, f"{name}, line {number}")) and not text.startswith("#")
    ]
    return None if any(_DELIMITER.search(text) for _, text in lines) else lines


def _read_table(source: Path | BinaryIO, name: str) -> list[ProtectedText]:
    # Here, since most files are plain.
    from blocklist_sdk.tables.header import Meanings
    from blocklist_sdk.tables.rejects import Reject
    from blocklist_sdk.tables.table import open_table

    rejects: list[Reject] = []
    texts: list[ProtectedText] = []
    with open_table(source, meanings=Meanings(known=("number", "last"), options="")) as table:
        for line, row in table.records(rejects):
            place = f"{name}, line {line}"
            number, last = (_COMMENT.sub("", row.get(column, "")).strip() for column in ("number", "last"))
            if not number:
                raise InvalidInput(f"{place}: the row has no number: correct it, or take it out")
            texts.append(ProtectedText(f"{number}..{last}" if last else number, place))
    if rejects:
        raise InvalidInput(f"{name}, line {rejects[0].line}: {rejects[0].reason}")
    return texts


def _without_comment(line: str, place: str) -> str:
    """What stands before a comment.

    Raises:
        InvalidInput: it is not clear where the comment begins.
    """
    found = _COMMENT.search(line)
    if found is None or line.lstrip().startswith("#"):
        return line.strip()
    if _WILDCARDS_ALONE.fullmatch(line, line.index("#")):
        return line.strip()
    if _SEVERAL_WAYS.match(line, found.start()):
        raise InvalidInput(
            f"{place}: the first # may be a digit or begin a comment, so nothing was read: write wildcards without "
            "spaces, such as 70##, and one # before the comment"
        )
    return line[: found.start()].strip()


def numbers_of(texts: Iterable[ProtectedText], *, region: str | None, form: Form = "auto") -> Iterator[frozenset[int]]:
    """Yield the E.164 integers that each text stands for.

    Args:
        texts: numbers, ranges and patterns.
        region: two-letter country code in which national numbers are read.
        form: how digits without a plus are read.

    Raises:
        InvalidNumber: a text that is from no file is not a number, or stands for too many.
        InvalidInput: the same of a line in a file, which is named.
    """
    for each in texts:
        try:
            yield frozenset(_expanded(each.text, region, form))
        except InvalidNumber as error:
            if not each.place:
                raise
            if error.reason == SHORT_CODE:
                # It belongs to nobody, so it need not be masked.
                raise InvalidInput(f"{each.place}: {each.text!r} is {SHORT_CODE}") from error
            raise InvalidInput(f"{each.place}: {error}") from error


def _expanded(text: str, region: str | None, form: Form) -> Iterator[int]:
    try:
        ranges = parse_pattern(text, region=region, form=form)
    except InvalidNumber as error:
        is_short_code = error.reason == NOT_FROM_ABROAD or _is_short_code(text)
        raise InvalidNumber(text, SHORT_CODE if is_short_code else error.reason) from error
    count = sum(found.last - found.first + 1 for found in ranges)
    if count > PATTERN_NUMBERS_MAX:
        raise InvalidNumber(
            text,
            f"it stands for {count:,} numbers, but one range or pattern may stand for {PATTERN_NUMBERS_MAX:,} at most: "
            "write more of its digits, or several narrower ones",
        )
    for found in ranges:
        yield from range(found.first, found.last + 1)


def _is_short_code(text: str) -> bool:
    try:
        digits, is_international = digits_of(text)
    except InvalidNumber:
        return False
    return len(digits) <= _SHORT_CODE_DIGITS_MAX and not is_international and not digits.startswith("0")
