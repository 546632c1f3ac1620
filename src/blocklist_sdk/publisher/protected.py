"""Protected numbers: those that no feed may list. The targets role signs them, so no feed's key can lift one."""

import numpy as np

from blocklist_sdk.publisher.cells import Reject
from blocklist_sdk.publisher.next_release import Candidate
from blocklist_sdk.release.rows import Int64s

REASON = "a protected number, which no feed may list"


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
