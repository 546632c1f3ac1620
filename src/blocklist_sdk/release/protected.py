"""Protected numbers: those that no feed may list. The targets role signs them, so no feed's key can lift one."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from blocklist_sdk.disk import read_unlinked
from blocklist_sdk.errors import Malformed
from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.release.names import PROTOCOL
from blocklist_sdk.release.rows import Int64s

PROTECTED_BYTES_MAX = 4 << 20
"""Room for two hundred thousand numbers; an authority protects some hundreds."""


def write_protected(numbers: Iterable[int]) -> bytes:
    r"""The signed document with these E.164 integers.

    >>> write_protected([6281234567890]).decode()
    '{"protocol": 1, "numbers": [6281234567890]}\n'
    """
    return json.dumps({"protocol": PROTOCOL, "numbers": sorted(set(numbers))}).encode() + b"\n"


def read_protected(document: bytes) -> Int64s:
    """The numbers of a signed document, in order.

    Raises:
        Malformed: it is damaged, or not as the protocol requires.
    """
    try:
        found: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the list of protected numbers is damaged: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("numbers"), list):
        raise Malformed("the list of protected numbers is damaged: it must be an object with the array numbers")
    protocol = found.get("protocol")
    if type(protocol) is not int or protocol != PROTOCOL:
        raise Malformed(
            f"the list of protected numbers is of protocol {str(protocol)[:20]}, this library reads {PROTOCOL}: "
            "upgrade blocklist-sdk, or tell the publisher"
        )
    if not all(type(number) is int and 1 <= number <= LARGEST for number in found["numbers"]):
        raise Malformed("the list of protected numbers holds something that is not an E.164 number as an integer")
    numbers: Int64s = np.array(found["numbers"], np.int64)
    if bool((np.diff(numbers) <= 0).any()):
        raise Malformed("the list of protected numbers is not in ascending order, or has a number twice")
    return numbers


def read_protected_file(path: Path) -> frozenset[int]:
    """The numbers of a signed document on disk; empty if the file does not exist.

    Raises:
        Malformed: it is damaged.
        StorageFailed: it cannot be read, or is a link.
    """
    document = read_unlinked(path)
    return frozenset() if document is None else frozenset(read_protected(document).tolist())
