"""Protected numbers: those that no feed may list. The targets role signs them, so no feed's key can lift one."""

import json
from collections.abc import Iterable

import numpy as np

from blocklist_sdk.errors import Malformed
from blocklist_sdk.publisher.release import Candidate
from blocklist_sdk.publisher.source import Reject
from blocklist_sdk.release.index import PROTOCOL
from blocklist_sdk.release.rows import Int64s

REASON = "a protected number, which no feed may list"


def write_protected(numbers: Iterable[int]) -> bytes:
    r"""The signed document with these E.164 integers.

    >>> write_protected([6281234567890]).decode()
    '{"protocol": 1, "numbers": [6281234567890]}\n'
    """
    return json.dumps({"protocol": PROTOCOL, "numbers": sorted(set(numbers))}).encode() + b"\n"


def read_protected(document: bytes) -> Int64s:
    """The numbers of a signed document, in order.

    Raises:
        Malformed: it is none.
    """
    try:
        numbers = json.loads(document)["numbers"]
        return np.sort(np.array(numbers, np.int64))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Malformed(f"the list of protected numbers is damaged: {error}") from error


def without_protected(candidate: Candidate, protected: Int64s) -> tuple[Candidate, list[Reject]]:
    """The rows that cover no protected number, and the others as rejects."""
    hit = np.searchsorted(protected, candidate.last, "right") > np.searchsorted(protected, candidate.number, "left")
    if not hit.any():
        return candidate, []
    refused = candidate.take(hit)
    rejects = [
        Reject(line, REASON, f"+{first}" if first == last else f"+{first}-+{last}")
        for line, first, last in zip(refused.line.tolist(), refused.number.tolist(), refused.last.tolist(), strict=True)
    ]
    return candidate.take(~hit), rejects
