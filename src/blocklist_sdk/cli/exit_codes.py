"""The exit codes, on which scripts rely: this is the only place that decides them.

``docs/adr/0004-exit-codes-and-settings.md`` has the reasons.
"""

from typing import TYPE_CHECKING, Final

from blocklist_sdk.errors import (
    BlocklistError,
    ExchangeError,
    InvalidInput,
    Locked,
    Malformed,
    NotPermitted,
    NotSynced,
    Refused,
    Stale,
    StorageFailed,
    Unreachable,
    Untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blocklist_sdk.enforcement import EnforcementResult

FINE: Final = 0
BLOCKED: Final = 1
FAILED: Final = 1
USAGE: Final = 2
TRY_AGAIN: Final = 3
UNTRUSTED: Final = 4
STALE: Final = 5
REFUSED: Final = 6
REJECTED: Final = 7
IN_PART: Final = 8
NOTHING_DONE: Final = 9
SOFTWARE: Final = 70
STORAGE: Final = 74
LOCKED: Final = 75
NOT_PERMITTED: Final = 77
INTERRUPTED: Final = 130
OUTPUT_CLOSED: Final = 141

MEANINGS: Final = {
    FINE: "Done. `check`: no number is blocked. `enforce`: done, or given to the sink and not answered yet, which is "
    "counted as `in doubt`: look at that figure. `doctor`: nothing failed; of several faults, it ends with the code "
    "of the worst.",
    BLOCKED: "`check`, `explain`: at least one number is blocked. `enforce --reconcile`: the sink differs. "
    "`demo`: a step failed. `exchange verify`: something is damaged.",
    USAGE: "Wrong usage; input that cannot be used, or that an exchange refuses; a list that was never synced, "
    "or is damaged on this disk. `check`: no number is blocked, but at least one text is not a number.",
    TRY_AGAIN: "Try again later: the network failed, or an exchange answered with status 408, 425, 429, or 500 and "
    "above.",
    UNTRUSTED: "Data is not as it was signed, or not what the protocol requires. The list in force still answers. "
    "`enforce`: a response of the sink cannot be read; the rest of the run is done.",
    STALE: "The list is past its signed expiry, as a sync found, or as `--require-fresh` asked; then also if this "
    "machine's clock is known to be behind.",
    REFUSED: "A guard or `--max-rows` refused a release, or a guard a list to publish: too many of its rows are "
    "rejects, a pattern covers too many numbers, or more numbers cease or begin to be blocked than in an ordinary "
    "month. `screen`: too many rows cannot be read. `exchange publish`: a part waits for an officer; the rest is "
    "published. `enforce`: a part of the run is unexplained, and waits, or `--accept` was not taken; the rest is "
    "done.",
    REJECTED: "Done, but a part was rejected. Rows that cannot be read: `override import`, `publish add`, `publish "
    "remove`, `report bulk`; with `--strict` also `publish release` and `screen`. Receipts that the exchange refused: "
    "`receipts send`, `enforce --receipts`.",
    IN_PART: "`enforce`: done in part. A change failed, or the sink refused it, or an item was set aside today, or the "
    "sink's system has not answered for more than a day. "
    "Until midnight UTC, a run with nothing to do ends with it as well. What a daily cap left, and items set aside on "
    "earlier days, are only counted.",
    NOTHING_DONE: "`enforce`: nothing could be enforced. Every change failed, or the sink refused it.",
    SOFTWARE: "A bug: please report it. `BLOCKLIST_DEBUG=1` shows its traceback. `serve`: one of its processes has "
    "ended by itself.",
    STORAGE: "The disk is full or may not be used, memory does not suffice for a release, or standard output is full "
    "or closed.",
    LOCKED: "Another process held the lock for longer than `--wait`: try again.",
    NOT_PERMITTED: "The exchange, the repository, a sink or a proxy does not know the account or does not permit this. "
    "An exchange gave no token, or answered with status 401 or 403; a proxy asks for an account (407).",
    INTERRUPTED: "Interrupted with Ctrl-C. Commands that run until Ctrl-C, such as `publish serve`, end with 0.",
    OUTPUT_CLOSED: "The reader of standard output, such as `head`, has gone.",
}
"""What each code means. From 70 on they are those of sysexits.h, and from 128 on those of shells: 128 + the signal."""

ERRORS: Final[dict[type[BlocklistError], int]] = {
    InvalidInput: USAGE,
    NotSynced: USAGE,
    ExchangeError: USAGE,
    Unreachable: TRY_AGAIN,
    NotPermitted: NOT_PERMITTED,
    Untrusted: UNTRUSTED,
    Malformed: UNTRUSTED,
    Stale: STALE,
    Refused: REFUSED,
    StorageFailed: STORAGE,
    Locked: LOCKED,
    BlocklistError: SOFTWARE,
}
"""The code of each class of error; a subclass has its parent's. That of `ExchangeError` also depends on its status."""

_STATUSES_TO_TRY_AGAIN: Final = frozenset({408, 425, 429})
_STATUSES_NOT_PERMITTED: Final = frozenset({401, 403})


def exit_code(error: BlocklistError) -> int:
    """The exit code of an error.

    >>> from blocklist_sdk import InvalidNumber
    >>> exit_code(InvalidNumber("GoPay", "it contains letters"))
    2
    >>> exit_code(ExchangeError("no such account", status=401, problem={}))
    77
    """
    if isinstance(error, ExchangeError):
        if error.status in _STATUSES_TO_TRY_AGAIN or error.status >= 500:
            return TRY_AGAIN
        # OAuth's refusals (RFC 6749, 5.2) have an `error` instead of a problem's members.
        if error.status in _STATUSES_NOT_PERMITTED or "error" in error.problem:
            return NOT_PERMITTED
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


_WORST_FIRST: Final = (
    SOFTWARE,
    UNTRUSTED,
    STORAGE,
    USAGE,
    NOT_PERMITTED,
    STALE,
    REFUSED,
    LOCKED,
    TRY_AGAIN,
)
"""Of several faults, the one that is furthest from passing by itself."""


def worst_code(errors: "Iterable[BlocklistError]") -> int:
    """The exit code of several faults: that of the worst; 0 if there is none.

    >>> worst_code([Stale("past its expiry"), Untrusted("not as it was signed")]), worst_code([])
    (4, 0)
    """
    codes = {exit_code(error) for error in errors}
    return next((code for code in _WORST_FIRST if code in codes), max(codes, default=FINE))


def enforcement_code(result: "EnforcementResult") -> int:
    """The exit code of a run into a sink; of several, the one that needs a person most."""
    if any(warning.kind == "unreadable response" for warning in result.warnings):
        return UNTRUSTED
    if result.waiting is not None or result.not_accepted is not None:
        return REFUSED
    if result.is_hopeless:
        return NOTHING_DONE
    if result.newly_set_aside or result.unanswered or not {"failed", "refused"}.isdisjoint(result.outcomes):
        return IN_PART
    if result.receipts is not None and result.receipts.refused:
        return REJECTED
    return FINE
