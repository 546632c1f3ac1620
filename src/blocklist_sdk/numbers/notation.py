"""The notation of patterns: digits, classes of digits and wildcards, without any numbering plan.

A pattern is cut into *heads* and the digits that may follow. A class makes one head for each of its digits, so that
``0812[35]##`` has the heads ``08123`` and ``08125``, and two more digits. What a list or a regular expression may mean
by other signs is refused with the reason: read as separators they would make another number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final

from blocklist_sdk.errors import InvalidNumber

MAX_RANGES: Final = 1_000
"""One pattern may not make more ranges than this. Real lists write a handful; a typing error writes millions."""

REGULAR_EXPRESSION: Final = (
    "a regular expression, or a part of one: write a class such as [0-9], # for a digit, or one number on each line"
)

TOO_MANY_RANGES: Final = f"it makes more than {MAX_RANGES:,} ranges: write several patterns, or list the numbers"

_AT_THE_END: Final = "wildcards stand at the end, after the digits"

_SEVERAL_WAYS: Final = "* and % can be read in several ways here: write # for each digit, or one * for any rest"

AREA_CODE: Final = (
    "its brackets may hold an area code or a class of digits: write (21) for an area code, and a class with a dash, "
    "such as [1-3], or one line for each digit"
)

_NOT_ASCENDING: Final = (
    "the digits of a class ascend, each once: [0-35] is 0, 1, 2, 3 and 5. Write (21) for an area code"
)

_ALL_DIGITS: Final = "0123456789"

_CLASS = re.compile(r"\[([^\[\]]*)\]")

_SIGNS = re.compile(r"[{}|\\^$?]|\.[*+]|[\])]\+")
"""What only regular expressions, globs and alternatives have, and the quantifiers behind a dot, a group or a class."""

_PIECE = re.compile(r"\[[^\[\]]*\]|.", re.DOTALL)

_WILDCARDS: Final = frozenset("#_.*%")

_SEPARATORS: Final = " ()-/"
"""What may stand around a bracket with an area code, or close the digits in front of the wildcards."""

_TAIL_SEPARATORS: Final = " -"
"""What may stand between wildcards."""


@dataclass(frozen=True, slots=True)
class Notation:
    """A text with classes or wildcards, cut into its parts.

    Attributes:
        heads: digits with their separators, as they are written in front of the wildcards; one text for each choice of
            digits from the classes.
        digits: how many digits follow a head.
        is_open: whether any rest may follow these.
        signs: the classes and wildcards behind the last digit, as they are written.
    """

    heads: tuple[str, ...]
    digits: int
    is_open: bool
    signs: str


def read_notation(text: str, body: str) -> Notation | None:
    """Cut a text into heads and wildcards; None if it has neither a class nor a wildcard at its end.

    Args:
        text: the text as it was given, for the error.
        body: the text in ASCII.

    Raises:
        InvalidNumber: it has signs of a notation that is not read, or wildcards elsewhere than at the end.

    >>> read_notation("", "0812[35]##")
    Notation(heads=('08123', '08125'), digits=2, is_open=False, signs='[35]##')
    """
    outside = _CLASS.sub("", body)
    if re.search(r"[\[\]]", outside):
        raise InvalidNumber(text, "a bracket without its counterpart")
    classes = [_digits_of_class(text, inside) for inside in _CLASS.findall(body)]
    if _SIGNS.search(_CLASS.sub("[]", body)) and not re.search("[A-Za-ce-z]", outside):
        raise InvalidNumber(text, REGULAR_EXPRESSION)
    has_letters = re.search("[A-Za-z]", outside) is not None
    if classes and has_letters:
        raise InvalidNumber(text, "it contains letters")
    if classes and "." in outside:
        raise InvalidNumber(text, "a full stop beside a class may be a digit or a separator: write # for a digit")

    pieces = _PIECE.findall(body)
    behind = 1 + max((at for at, piece in enumerate(pieces) if piece in _ALL_DIGITS), default=-1)
    while behind < len(pieces) and pieces[behind] in _SEPARATORS:
        behind += 1  # "(0812) ##": what closes the digits belongs to them
    head, tail = pieces[:behind], pieces[behind:]
    is_misplaced = not set(head).isdisjoint(_WILDCARDS - {"."})
    if has_letters or not (classes or is_misplaced or set(tail) & _WILDCARDS):
        return None
    if not re.match("[+ ()]*[0-9]", body):
        raise InvalidNumber(text, AREA_CODE if body.startswith("[") else _AT_THE_END)
    if is_misplaced:
        raise InvalidNumber(text, _AT_THE_END)
    for at, piece in enumerate(pieces):
        around = {*pieces[at - 1 : at], *pieces[at + 1 : at + 2]}
        if looks_like_area_code(piece) and around <= set(_SEPARATORS):
            raise InvalidNumber(text, AREA_CODE)

    remaining = iter(classes)
    places = [next(remaining) if piece[0] == "[" else piece for piece in head]
    signs = "".join(piece for piece in tail if piece not in _TAIL_SEPARATORS)
    digits, is_open = _digits_of_tail(text, signs, remaining)
    count = 0
    while digits and digits[-1] == _ALL_DIGITS:
        digits.pop()
        count += 1
    if prod(len(place) for place in (*places, *digits)) > MAX_RANGES:
        raise InvalidNumber(text, TOO_MANY_RANGES)
    heads = tuple("".join(choice) for choice in product(*places, *digits))
    return Notation(heads, count, is_open, signs)


def _digits_of_class(text: str, inside: str) -> str:
    """The digits of a class, ascending."""
    if inside.startswith("^"):
        raise InvalidNumber(text, "a class that leaves digits out: write the digits that it has, such as [0-57-9]")
    if not inside:
        raise InvalidNumber(text, "a class without digits")
    if not re.fullmatch("(?:[0-9](?:-[0-9])?)+", inside):
        raise InvalidNumber(text, "a class in brackets holds single digits, and ranges of them, such as [0-35]")
    digits = ""
    for low, high in re.findall("([0-9])(?:-([0-9]))?", inside):
        if high and high <= low:
            raise InvalidNumber(text, f"the range {low}-{high} in its brackets ends before it begins")
        digits += _ALL_DIGITS[int(low) : int(high or low) + 1]
    if list(digits) != sorted(set(digits)):
        # "[021]" is rather an area code, and "[10-15]" is meant as a range of numbers.
        raise InvalidNumber(text, _NOT_ASCENDING)
    return digits


def looks_like_area_code(piece: str) -> bool:
    """Whether a class has several digits and no dash: ``[21]`` may be an area code.

    >>> looks_like_area_code("[21]"), looks_like_area_code("[1-3]"), looks_like_area_code("[0]")
    (True, False, False)
    """
    return piece.startswith("[") and "-" not in piece and len(piece) > len("[0]")


def before_area_code(body: str) -> str | None:
    """What stands in front of the first bracket, if that may hold an area code."""
    found = _CLASS.search(body)
    return body[: found.start()] if found and looks_like_area_code(found[0]) else None


def _digits_of_tail(text: str, signs: str, classes: Iterator[str]) -> tuple[list[str], bool]:
    """What each digit of a tail may be, and whether any rest may follow.

    One ``*`` or ``%`` at the end is any rest; a run of two or more is exactly so many digits.
    """
    digits: list[str] = []
    runs = re.findall(r"\*+|%+|\[[^\]]*\]|.", signs)
    is_open = bool(runs) and runs[-1] in ("*", "%")
    for run in runs[: len(runs) - is_open]:
        if run[0] == "[":
            digits.append(next(classes))
        elif run in ("*", "%"):
            raise InvalidNumber(text, "one * or % means any rest and stands at the very end: write # for a digit")
        elif run[0] in _WILDCARDS:
            digits += [_ALL_DIGITS] * len(run)
        else:
            raise InvalidNumber(text, _AT_THE_END)
    has_run = any(len(run) > 1 and run[0] in "*%" for run in runs)
    if (is_open and has_run) or ("*" in signs and "%" in signs):
        raise InvalidNumber(text, _SEVERAL_WAYS)
    return digits, is_open
