"""Which exit code each failure gets; scripts rely on it, so this table is the only place that decides.

The reasons stand in ``docs/adr/0004-exit-codes-and-settings.md``.
"""

from typing import Final

from blocklist_sdk.errors import (
    BlocklistError,
    ExchangeError,
    InvalidInput,
    Locked,
    Malformed,
    NotSynced,
    Refused,
    Stale,
    StorageFailed,
    Unreachable,
    Untrusted,
)

FINE: Final = 0
"""Done; for ``check``: none of the numbers is blocked."""

BLOCKED: Final = 1
"""``check``: at least one number is blocked."""

FAILED: Final = 1
"""``demo``: a step did not come out as it must."""

USAGE: Final = 2
"""Usage, or input that cannot be used."""

TRY_AGAIN: Final = 3
"""The network, or a server that cannot just now."""

STALE: Final = 5
"""Past the signed expiry, where ``--require-fresh`` asks for it or a sync found it."""

SOFTWARE: Final = 70
"""Any other error of this library, or one that nobody thought of: EX_SOFTWARE of sysexits.h."""

STORAGE: Final = 74
"""The local disk, or standard output that is closed or full: EX_IOERR of sysexits.h."""

LOCKED: Final = 75
"""Another process holds the lock, try again: EX_TEMPFAIL of sysexits.h."""

NOT_PERMITTED: Final = 77
"""The exchange does not know the account, or does not let it do that: EX_NOPERM of sysexits.h."""

INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT, as shells report it."""

OUTPUT_CLOSED: Final = 141
"""Whoever read standard output has gone: 128 + SIGPIPE, as shells report it."""

ERRORS: Final[dict[type[BlocklistError], int]] = {
    InvalidInput: USAGE,
    NotSynced: USAGE,
    ExchangeError: USAGE,
    Unreachable: TRY_AGAIN,
    Untrusted: 4,
    Malformed: 4,
    Stale: STALE,
    Refused: 6,
    StorageFailed: STORAGE,
    Locked: LOCKED,
    BlocklistError: SOFTWARE,
}
"""By class of error; a subclass has its parent's code. What an exchange refuses goes by its status as well."""

_PASSING = frozenset({408, 425, 429})
_CREDENTIALS = frozenset({401, 403})


def exit_code(error: BlocklistError) -> int:
    """The exit code of an error.

    >>> from blocklist_sdk import InvalidNumber
    >>> exit_code(InvalidNumber("GoPay", "it contains letters"))
    2
    >>> exit_code(ExchangeError("no such account", status=401, problem={}))
    77
    """
    if isinstance(error, ExchangeError):
        if error.status in _PASSING or error.status >= 500:
            return TRY_AGAIN
        # What OAuth refuses (RFC 6749, 5.2) has a name in place of a problem's members.
        if error.status in _CREDENTIALS or "error" in error.problem:
            return NOT_PERMITTED
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
