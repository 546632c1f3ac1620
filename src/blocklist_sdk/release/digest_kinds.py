"""The kinds of digests, which their texts name.

``tree-`` and 64 hexadecimal digits for a `Tree`, which a delta updates; 64 digits alone for the digest by columns,
which publishers signed before there were trees. Digests of different kinds say nothing about each other.
"""

import re
from typing import Final, Literal

DigestKind = Literal["tree", "columns"]

TREE_PREFIX: Final = "tree-"

PATTERN: Final = rf"^({TREE_PREFIX})?[0-9a-f]{{64}}$"
"""A digest of any kind."""

_IS_DIGEST: Final = re.compile(PATTERN)


def is_digest(text: str) -> bool:
    """Whether a text is a digest of a kind that this version knows.

    >>> is_digest("tree-" + "0" * 64), is_digest("0" * 64), is_digest("leaf-" + "0" * 64)
    (True, True, False)
    """
    return _IS_DIGEST.fullmatch(text) is not None


def kind_of(text: str) -> DigestKind:
    """The kind of a digest.

    >>> kind_of("tree-" + "0" * 64), kind_of("0" * 64)
    ('tree', 'columns')
    """
    return "tree" if text.startswith(TREE_PREFIX) else "columns"


def differ(one: str, other: str) -> bool:
    """Whether two digests are of different lists; those of different kinds do not tell.

    >>> differ("tree-" + "0" * 64, "tree-" + "1" * 64), differ("tree-" + "0" * 64, "1" * 64)
    (True, False)
    """
    return one != other and kind_of(one) == kind_of(other)
