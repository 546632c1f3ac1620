"""Whether a service should get questions. Pure."""

from typing import Any

from blocklist_sdk.errors import why_not_synced, why_stale
from blocklist_sdk.lookup_server.problems import RETRY_AFTER, Problem
from blocklist_sdk.recipient.verdict_documents import moment
from blocklist_sdk.records import Status


def readiness(status: Status, *, require_fresh: bool) -> Problem | None:
    """Why a list cannot answer, or must not, and what to do; None if it can.

    Args:
        status: its state.
        require_fresh: whether a list past its signed expiry must not answer.
    """
    members = tuple(described(status).items())
    if status.serial is None:
        detail = why_not_synced(status.feed, status.last_error, is_on_disk=bool(status.generations))
        return Problem("not-synced", detail, more=members, headers=(RETRY_AFTER,))
    if require_fresh and status.clock_behind_s is not None:
        behind = f"this machine's clock is at least {status.clock_behind_s} s behind: set it"
        return Problem("stale", behind, more=members, headers=(RETRY_AFTER,))
    if require_fresh and status.stale:
        detail = why_stale(status.feed, moment(status.expires), is_bundle=status.bundle is not None)
        return Problem("stale", detail, more=members, headers=(RETRY_AFTER,))
    return None


def described(status: Status) -> dict[str, Any]:
    """What whoever watches may know without credentials: no number, no address, and of an error only its class."""
    return {
        "feed": status.feed,
        "serial": status.serial,
        "era": status.era,
        "as_of": status.as_of,
        "expires": status.expires,
        "stale": status.stale,
        "clock_behind_s": status.clock_behind_s,
        "last_sync": status.last_success,
        "last_sync_error": status.last_error and status.last_error.partition(":")[0],
    }
