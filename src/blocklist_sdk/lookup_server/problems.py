"""Problem documents (RFC 9457): what every refusal of the look-up server says."""

from dataclasses import dataclass
from typing import Any, Final

from blocklist_sdk.errors import (
    BlocklistError,
    InvalidInput,
    InvalidNumber,
    Malformed,
    NotSynced,
    Stale,
    StorageFailed,
    Untrusted,
)

MEDIA_TYPE: Final = "application/problem+json"

_TYPE: Final = "urn:blocklist:problem:"
"""As in the exchange's API, so that a kind means the same everywhere."""

TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "Valid credentials are required"),
    "certificate-required": (403, "A client certificate is required"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "too-slow": (408, "Request too slow"),
    "too-large": (413, "Too large"),
    "target-too-long": (414, "Address too long"),
    "wrong-type": (415, "Type not accepted"),
    "misdirected": (421, "Not a name of this service"),
    "not-a-number": (422, "Not a telephone number"),
    "invalid": (422, "Invalid request"),
    "head-too-large": (431, "Headers too large"),
    "fault": (500, "Internal error"),
    "not-synced": (503, "No list on this machine yet"),
    "stale": (503, "The list is past its expiry"),
    "unavailable": (503, "Temporarily unavailable"),
}
"""The kinds of problems, with status and title."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a question has no answer, and what to do.

    Attributes:
        kind: one of `TITLES`.
        detail: what is wrong, what is expected, what to do. Never a whole telephone number.
        more: further members of the document.
        headers: headers of an HTTP response.
    """

    kind: str
    detail: str
    more: tuple[tuple[str, Any], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return TITLES[self.kind][0]

    @property
    def title(self) -> str:
        """The title, the same for all problems of a kind."""
        return TITLES[self.kind][1]

    def document(self) -> dict[str, Any]:
        """The document.

        >>> Problem("invalid", "scope must be one of data, messaging, sms, voice").document()["status"]
        422
        """
        return {
            "type": _TYPE + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **dict(self.more),
        }


FAULT: Final = Problem("fault", "a fault of this server: its log on standard error has more; please report it")

RETRY_AFTER: Final = ("Retry-After", "5")
"""Asks to come again in five seconds: a sync may have brought a list by then."""


def problem_of(error: BlocklistError) -> Problem:
    """The problem that an error of the library is to whoever asked.

    >>> problem_of(InvalidNumber("GoPay", "it has letters")).document()["reason"]
    'it has letters'
    """
    if isinstance(error, InvalidNumber):
        return Problem("not-a-number", str(error), more=(("reason", error.reason),))
    if isinstance(error, InvalidInput):
        return Problem("invalid", str(error))
    if isinstance(error, NotSynced):
        return Problem("not-synced", str(error), headers=(RETRY_AFTER,))
    if isinstance(error, Stale):
        return Problem("stale", str(error), headers=(RETRY_AFTER,))
    if isinstance(error, StorageFailed | Malformed | Untrusted):
        return Problem("unavailable", str(error), headers=(RETRY_AFTER,))
    return FAULT
