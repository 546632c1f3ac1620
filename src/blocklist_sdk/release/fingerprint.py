"""The fingerprint of a root: what people read to each other to make sure that they have the same one."""

import hashlib
from typing import Final

_GROUP: Final = 4
_GROUPS_PER_LINE: Final = 4


def fingerprint(root: bytes) -> str:
    """SHA-256 of a root's file, 64 lower-case hexadecimal digits, as `sha256sum root.json` shows it.

    >>> fingerprint(b"{}")[:16]
    '44136fa355b3678a'
    """
    return hashlib.sha256(root).hexdigest()


def spoken(digits: str) -> list[str]:
    """A fingerprint to be read aloud: four lines of four groups of four digits.

    A group is about as much as people keep in mind while they compare it. None is left out: whoever compares a part
    only would miss a root that was made to have the same part.

    >>> for line in spoken(fingerprint(b"{}")):
    ...     print(line)
    4413 6fa3 55b3 678a
    1146 ad16 f7e8 649e
    94fb 4fc2 1fe7 7e83
    10c0 60f6 1caa ff8a
    """
    groups = [digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP)]
    return [" ".join(groups[at : at + _GROUPS_PER_LINE]) for at in range(0, len(groups), _GROUPS_PER_LINE)]
