"""Numbers to protect, as people write them: numbers, ranges and patterns, one on each line of a file.

The signed document of protected numbers holds single numbers only, so a range or a pattern stands for each number in
it.
"""

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

PATTERN_NUMBERS_MAX: Final = 10_000
"""How many numbers one range or pattern may stand for: the block of numbers that a large call centre has."""

SHORT_CODE: Final = "a short code, which no feed can list, since it is not an E.164 number: leave it out"

_SHORT_CODE_DIGITS_MAX: Final = 6
"""ITU-T E.164 leaves short codes to each country; they have 3 to 6 digits."""

_COMMENT = re.compile(r"\s#\s.*")
"""A comment behind a number. Without white space on both sides, ``#`` is a wildcard."""

_WILDCARDS_ALONE = re.compile(r"[#\s]+")
"""Where nothing else follows, the signs are wildcards, with white space or without."""

_SEVERAL_WAYS = re.compile(r"\s#\s+#")
"""The first of these signs may begin a comment, or be a wildcard before one."""

_OTHER_FILES: Final = {
    b"\x1f\x8b": "it is gzipped: unpack it first",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
    b"PK": "it is a spreadsheet or an archive: save its numbers as a text file",
    b"%PDF": "it is a PDF document: save its numbers as a text file",
}
"""How files begin that people take for a list, and what to do."""


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
    """Read a text file with one number, range or pattern on each line.

    Blank lines are skipped, and so are comments: a line that begins with ``#``, and the rest of a line after a ``#``
    with white space on both sides. The first line may be a header, which has no digit.

    Raises:
        InvalidInput: the file cannot be read, or is not UTF-8; or it is not clear where a comment begins.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        raise InvalidInput(f"cannot read the protected numbers in {name}: {error.strerror or error}") from error
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeError as error:
        why = next((why for begin, why in _OTHER_FILES.items() if content.startswith(begin)), "save it as UTF-8")
        raise InvalidInput(f"{name} is not a text file in UTF-8, so nothing was read: {why}") from error
    texts = []
    for line_number, line in enumerate(lines, start=1):
        place = f"{name}, line {line_number}"
        if (text := _without_comment(line, place)) and not text.startswith("#"):
            texts.append(ProtectedText(text, place))
    return texts[1:] if texts and not re.search("[0-9]", to_ascii(texts[0].text)) else texts


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
