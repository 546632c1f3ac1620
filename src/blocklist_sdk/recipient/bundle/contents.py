"""The members of a bundle, and the list in them.

::

    bundle.json                     what it is, and of which feed
    metadata/, targets/             what proves the list, named as in a repository but for hashes and versions
    own-decisions.json              overrides and own protected numbers; only if they were asked for, since nobody signs
                                    them
    rows/                           the columns of the list: integers, least byte first, one after the other; texts as
                                    positions in texts.json
    answers/cells                   the table of numbers, which look-ups read first
    answers/homes.json              where each number belongs in it
    SHA256SUMS                      the hash of each

Nothing but `metadata/` and `targets/` is signed, and the signed digest is that of the rows. So whoever opens a bundle
works the table out anew from the rows, and compares. What else is worked out from the rows is small, and not in the
file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted
from blocklist_sdk.recipient.bundle.container import Member
from blocklist_sdk.recipient.cache.cells import Homes
from blocklist_sdk.release.limits import DISTINCT_TEXTS_MAX
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Rows, Texts, code_type

FORMAT: Final = 1

ABOUT, OWN, TEXTS = "bundle.json", "own-decisions.json", "rows/texts.json"
CELLS, HOMES = "answers/cells", "answers/homes.json"
LAST: Final = "rows/last"

_SMALL_BYTES_MAX: Final = 4_096
"""More than the documents about the bundle and about the table need."""

_TEXTS_BYTES_MAX: Final = len(TEXT_COLUMNS) * DISTINCT_TEXTS_MAX * 512
"""The most texts of full length take half of it, and what is escaped in them the rest."""

_ROWS_AT_A_TIME: Final = 1 << 17
"""A few columns of this many rows fit in a processor's cache."""

TextCounts = Mapping[str, Mapping[str, int]]


def about_document(feed: str) -> bytes:
    r"""The first member.

    >>> about_document("id-all")
    b'{"format": 1, "feed": "id-all"}\n'
    """
    return _json({"format": FORMAT, "feed": feed})


def _json(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def feed_of(data: bytes) -> str:
    """The feed that a bundle says it is of.

    Raises:
        InvalidInput: it was made by a newer version of this library.
        Untrusted: it is not such a document.
    """
    if len(data) > _SMALL_BYTES_MAX:
        raise Untrusted(f"{ABOUT} is not as it was written")
    try:
        document = json.loads(data)
        if int(document["format"]) > FORMAT:
            raise InvalidInput(f"it was made by a newer blocklist-sdk (format {document['format']}): upgrade this one")
        feed = feed_name(document["feed"])
    except InvalidInput as error:
        if error.argument is None:
            raise
        raise Untrusted(f"{ABOUT} names no feed") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Untrusted(f"{ABOUT} is not as it was written") from error
    if data != about_document(feed):
        raise Untrusted(f"{ABOUT} is not as it was written")
    return feed


def row_members(*, has_ranges: bool) -> tuple[str, ...]:
    """The names of the columns, in order."""
    numeric = (name for name in NUMERIC_COLUMNS if name != "last" or has_ranges)
    return tuple(f"rows/{name}" for name in (*numeric, *TEXT_COLUMNS))


@dataclass(frozen=True, slots=True)
class TextValues:
    """The distinct texts of each text column.

    Attributes:
        values: by column, sorted by their UTF-8 bytes.
    """

    values: Mapping[str, tuple[str, ...]]

    def document(self) -> bytes:
        """As it is in the file."""
        return _json({name: self.values[name] for name in TEXT_COLUMNS})

    @classmethod
    def read(cls, data: bytes) -> "TextValues":
        """What `document` wrote.

        Raises:
            Untrusted: it is not that.
        """
        if len(data) > _TEXTS_BYTES_MAX:
            raise Untrusted(f"{TEXTS} is longer than any list's texts")
        try:
            document = json.loads(data)
            found = cls({name: tuple(document[name]) for name in TEXT_COLUMNS})
            if found.document() != data or not all(map(_is_canonical, found.values.values())):
                raise ValueError("it is in another form")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Untrusted(f"{TEXTS} is not as it was written") from error
        return found

    def type_of(self, name: str) -> type[np.unsignedinteger]:
        """The type of a column's codes."""
        return code_type(len(self.values[name]))


def _is_canonical(values: Sequence[str]) -> bool:
    encoded = [value.encode() for value in values]
    return len(values) <= DISTINCT_TEXTS_MAX and all(one < next_ for one, next_ in pairwise(encoded))


def column(data: memoryview, member: Member, kind: type[np.integer], count: int) -> NDArray[Any]:
    """A column, where it is mapped.

    Raises:
        Untrusted: it is not as long as so many rows.
    """
    size = np.dtype(kind).itemsize
    if member.length != count * size:
        raise Untrusted(f"{member.name} has {member.length} bytes instead of {count * size}")
    if not count:
        return np.empty(0, kind)
    return np.frombuffer(data, kind, count, member.offset)  # pyarrow knows machines of this order of bytes only


def rows_of(data: memoryview, members: Mapping[str, Member], count: int) -> tuple[Rows, TextCounts]:
    """The rows in a file, where they are mapped, and how many have each text; of anybody's making.

    They are what `Rows` says of its own, so that their digest is that of the same list; whether it is the signed one is
    for the caller to see.

    Raises:
        Untrusted: they are not.
    """
    text_member = members[TEXTS]
    texts = TextValues.read(bytes(data[text_member.offset : text_member.offset + text_member.length]))
    numeric: dict[str, Any] = {
        name: column(data, members[f"rows/{name}"], np.int64, count)
        for name in NUMERIC_COLUMNS
        if f"rows/{name}" in members
    }
    numeric.setdefault("last", numeric["number"])
    coded: dict[str, Any] = {}
    counts: dict[str, dict[str, int]] = {}
    for name in TEXT_COLUMNS:
        values = texts.values[name]
        codes = column(data, members[f"rows/{name}"], texts.type_of(name), count)
        found = _counts(codes, len(values))
        if found is None or not found.all():
            raise Untrusted(f"rows/{name} does not fit its texts")
        coded[name] = Texts(codes, values)
        counts[name] = dict(zip(values, found.tolist(), strict=True))
    rows = Rows(**numeric, **coded)
    try:
        rows.validate()
    except Malformed as error:
        raise Untrusted(f"its rows are not a release's: {error}") from error
    return rows.with_last(rows.last) if rows.has_ranges else rows, counts


def _counts(codes: NDArray[np.unsignedinteger], values: int) -> NDArray[np.int64] | None:
    """How many rows have each text; None if a code stands for none."""
    found = np.zeros(values, np.int64)
    for start in range(0, len(codes), _ROWS_AT_A_TIME):
        part = np.bincount(codes[start : start + _ROWS_AT_A_TIME], minlength=values)
        if len(part) > values:
            return None
        found += part
    return found


def homes_document(homes: Homes) -> bytes:
    """What says where each number belongs in the table."""
    return _json({"prime": homes.prime, "multiplier": homes.multiplier, "mask": homes.mask})


def read_homes(data: bytes) -> Homes:
    """What `homes_document` wrote.

    Raises:
        Untrusted: it is not that.
    """
    try:
        document = json.loads(data[:_SMALL_BYTES_MAX])
        homes = Homes(**{name: int(document[name]) for name in ("prime", "multiplier", "mask")})
        if homes_document(homes) != data:
            raise ValueError("it is in another form")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Untrusted(f"{HOMES} is not as it was written") from error
    return homes
