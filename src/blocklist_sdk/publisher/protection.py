"""Changes of the protected numbers: planned, carried to where the targets key is, and applied. Pure."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from blocklist_sdk.errors import InvalidInput, Malformed, mask
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.release.protected import PROTECTED_BYTES_MAX, covered_among, write_protected
from blocklist_sdk.release.protected_texts import ProtectedText
from blocklist_sdk.release.rows import Rows

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ProtectionChange:
    """A change of the protected numbers that is planned.

    Attributes:
        add: E.164 integers to protect from now on, ascending.
        remove: E.164 integers to protect no longer, ascending.
    """

    add: tuple[int, ...] = ()
    remove: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)

    def to_json(self) -> bytes:
        r"""The change as a file, to be taken to where the targets key is.

        >>> ProtectionChange(add=(6281234567890,)).to_json()
        b'{"format": 1, "add": [6281234567890], "remove": []}\n'
        """
        return json.dumps({"format": _FORMAT, "add": self.add, "remove": self.remove}).encode() + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            Malformed: it is not such a file, or it is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        try:
            found = json.loads(document)
            version, add, remove = found["format"], found["add"], found["remove"]
            if not all(_is_number(number) for number in (*add, *remove)):
                raise ValueError("a number is not an E.164 integer")
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(
                f"this is not a proposal of protected numbers, or it is damaged ({error}): write one with `blocklist "
                "publish protect add --propose FILE`"
            ) from error
        if version != _FORMAT:
            raise InvalidInput(
                f"the proposal has format {version!r}, this library reads {_FORMAT}: upgrade blocklist-sdk"
            )
        return cls(tuple(sorted(set(add))), tuple(sorted(set(remove))))

    def applied(self, current: Collection[int]) -> tuple[frozenset[int], Self]:
        """The protected numbers after the change, and the part of it that was not so before."""
        before = frozenset(current)
        after = before.difference(self.remove).union(self.add)
        return after, type(self)(tuple(sorted(after - before)), tuple(sorted(before - after)))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and SMALLEST <= value <= LARGEST


def plan_removal(
    texts: Iterable[ProtectedText], numbers: Iterable[frozenset[int]], current: Collection[int]
) -> ProtectionChange:
    """Plan to protect numbers no longer.

    Args:
        texts: what to remove, as it was given.
        numbers: the numbers that each text stands for.
        current: the protected numbers.

    Raises:
        InvalidInput: a text stands for no protected number, so it may have a mistake in it.
    """
    before = frozenset(current)
    removed: set[int] = set()
    for text, found in zip(texts, numbers, strict=True):
        if found.isdisjoint(before):
            place = f"{text.place}: " if text.place else ""
            raise InvalidInput(
                f"{place}{mask(text.text)!r} is not protected, so nothing was changed. See `blocklist publish protect "
                "list` for what is protected"
            )
        removed |= found & before
    return ProtectionChange(remove=tuple(sorted(removed)))


def protected_document(numbers: Collection[int]) -> bytes:
    """The document to be signed.

    Raises:
        InvalidInput: it would be longer than recipients read.
    """
    document = write_protected(numbers)
    if len(document) > PROTECTED_BYTES_MAX:
        raise InvalidInput(
            f"{len(numbers):,} protected numbers are too many: the signed document would have {len(document):,} bytes, "
            f"and recipients read {PROTECTED_BYTES_MAX:,} at most. Protect narrower ranges"
        )
    return document


def listed_among(rows: Rows, numbers: Sequence[int]) -> tuple[int, ...]:
    """The numbers that an entry covers.

    >>> listed_among(Rows.empty(), [6281234567890])
    ()
    """
    return tuple(covered_among(np.array(numbers, np.int64), rows.number, rows.last).tolist())


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers that follow one another.

    >>> list(runs([6281234567890, 6281234567891, 6281234567893]))
    [(6281234567890, 6281234567891), (6281234567893, 6281234567893)]
    """
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1:
            if last >= 0:
                yield first, last
            first = number
        last = number
    if last >= 0:
        yield first, last
