"""What a recipient remembers of a feed outside the cache, which may be wiped.

Without its metadata directory TUF accepts an old repository whose timestamp has not expired. So the *mark* is kept
here: the era and serial of the highest release ever in force, and its digest.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.modes import PRIVATE, Access
from blocklist_sdk.release.published import latest
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

_FORMAT = 1

T = TypeVar("T")

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedRelease:
    """A release that the guard refused; it is remembered, so that it is not fetched again to be refused again.

    Attributes:
        serial, digest: the release's.
        guard: the guard's settings, as text; with other settings the guard is asked again.
        reasons: why it was refused.
        era: the release's era; None in a file that was written before eras were known.
        at: when it was refused; None in such a file.
        is_judged: whether it was refused for what it blocks; False if for its number of rows alone, and not fetched.
    """

    serial: int
    digest: str
    guard: str
    reasons: tuple[str, ...]
    era: int | None = None
    at: datetime | None = None
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class BegunBuild:
    """A release that a sync has begun to fetch and build; what is left of it when the process is killed.

    Attributes:
        serial, digest: the release's.
        at: when the last sync began to.
        attempts: how many syncs in a row began to, and did not come to an end.
        era: that of the release.
    """

    serial: int
    digest: str
    at: datetime
    attempts: int
    era: int = FIRST_ERA

    def is_of(self, release: ReleaseId, digest: str) -> bool:
        """Whether it is this release, with this content."""
        return (self.era, self.serial, self.digest) == (*release, digest)


@dataclass(frozen=True, slots=True)
class Scrub:
    """How far the list in force was read again from the disk, byte by byte; a *pass* reads all of it.

    What is written in the meantime needs no reading in that pass, so a pass goes on where it was when a release comes.

    Attributes:
        begun_at: when the pass under way began.
        pieces: so many pieces of the list were read in it, from the first one on.
        whole_at: when the last pass ended that found every byte as it was written; None if none has.
        damaged: the generation in which a piece is not as it was written; None if none is known.
    """

    begun_at: datetime
    pieces: int = 0
    whole_at: datetime | None = None
    damaged: str | None = None


@dataclass(frozen=True, slots=True)
class SyncState:
    """How the last syncs of a feed ended.

    Attributes:
        highest_serial: the serial of the highest release ever in force, 0 for none.
        highest_era: its era; None in a file that was written before eras were known.
        highest_digest: its digest; None in such a file.
        former_generation: the generation that was in force when another root was pinned; None if none was.
        awaited_root: the fingerprint of that root; until the first sync under it, no other is used.
        former_roots: the fingerprints of the roots that were known then, of which none is ever used again.
        last_attempt, last_success: when a sync last ran, and last succeeded.
        last_error: the last sync's error, None if it succeeded.
        refused: the newest release that the guard refused, None if the last one passed.
        failures: scheduled syncs that have failed since the last success.
        next_attempt: when the next scheduled sync may run after failures; None if it need not wait.
        begun: the release that is being built, or was when the process ended; None if none is.
        offered_at: when the newest release that was verified says that it was published, also if it was refused; None
            in a file that was written before that was kept.
        audit_warning: the last audit head that contradicted an earlier one, in words; None if none ever did.
        scrub: how far the list in force was read again; None before the first time.
    """

    highest_serial: int = 0
    last_attempt: datetime | None = None
    last_success: datetime | None = None
    last_error: str | None = None
    refused: RefusedRelease | None = None
    failures: int = 0
    next_attempt: datetime | None = None
    highest_era: int | None = None
    highest_digest: str | None = None
    former_generation: str | None = None
    awaited_root: str | None = None
    former_roots: tuple[str, ...] = ()
    begun: BegunBuild | None = None
    offered_at: datetime | None = None
    audit_warning: str | None = None
    scrub: Scrub | None = None

    @property
    def latest_moment(self) -> datetime | None:
        """A moment that has passed, whatever this machine's clock says; None if none is known.

        What was signed stays; the last sync goes by this machine's clock, so the next sync that goes well puts it
        right, as after a clock that was ahead.
        """
        return latest(self.offered_at, self.last_success)


def load_state(path: Path) -> SyncState:
    """Read the state; a new one if there is no file, or if it is damaged.

    Raises:
        InvalidInput: the file was written by a newer version of this library.
        StorageFailed: the file cannot be read.
    """
    try:
        document = read_json(path, format_version=_FORMAT)
        if document is None:
            return SyncState()
        return SyncState(
            highest_serial=int(document["highest_serial"]),
            last_attempt=_moment(document["last_attempt"]),
            last_success=_moment(document["last_success"]),
            last_error=document["last_error"],
            refused=_refusal(document.get("refused")),
            # These fields are younger: a file without them was written by an older version.
            failures=int(document.get("failures", 0)),
            next_attempt=_moment(document.get("next_attempt")),
            highest_era=_optional(int, document.get("highest_era")),
            highest_digest=_optional(str, document.get("highest_digest")),
            former_generation=_optional(str, document.get("former_generation")),
            awaited_root=_optional(str, document.get("awaited_root")),
            former_roots=tuple(map(str, document.get("former_roots", ()))),
            begun=_begun(document.get("begun")),
            offered_at=_moment(document.get("offered_at")),
            audit_warning=_optional(str, document.get("audit_warning")),
            scrub=_scrub(document.get("scrub")),
        )
    except InvalidInput:
        # It is a ValueError, too; but a newer version's file is not damaged, and must not be overwritten.
        raise
    except (Malformed, KeyError, TypeError, ValueError, OverflowError) as error:
        # A sync must be able to repair this by itself; the generation in force still protects against older releases.
        log.error("%s is damaged and is started again: %s", path, error)
        return SyncState()


def save_state(path: Path, state: SyncState, access: Access = PRIVATE) -> None:
    """Replace the state, which those may read who have the access."""
    document: dict[str, Any] = asdict(state)
    for name in ("last_attempt", "last_success", "next_attempt", "offered_at"):
        moment: datetime | None = document[name]
        document[name] = moment and moment.isoformat()
    if state.refused is not None and state.refused.at is not None:
        document["refused"]["at"] = state.refused.at.isoformat()
    if state.begun is not None:
        document["begun"]["at"] = state.begun.at.isoformat()
    if state.scrub is not None:
        for name in ("begun_at", "whole_at"):
            moment = document["scrub"][name]
            document["scrub"][name] = moment and moment.isoformat()
    with storage(path):
        access.make(path.parent, is_ours=True)
        write_json(path, {"format": _FORMAT, **document}, access)


def _refusal(document: dict[str, Any] | None) -> RefusedRelease | None:
    if document is None:
        return None
    return RefusedRelease(
        serial=int(document["serial"]),
        digest=str(document["digest"]),
        guard=str(document["guard"]),
        reasons=tuple(map(str, document["reasons"])),
        era=_optional(int, document.get("era")),
        at=_moment(document.get("at")),
        is_judged=bool(document.get("is_judged", True)),
    )


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)


def _begun(document: dict[str, Any] | None) -> BegunBuild | None:
    at = _moment(document["at"]) if document is not None else None
    if document is None or at is None:
        return None
    return BegunBuild(
        serial=int(document["serial"]),
        digest=str(document["digest"]),
        at=at,
        attempts=int(document["attempts"]),
        era=int(document.get("era", FIRST_ERA)),
    )


def _scrub(document: dict[str, Any] | None) -> Scrub | None:
    begun_at = _moment(document["begun_at"]) if document is not None else None
    if document is None or begun_at is None:
        return None
    return Scrub(
        begun_at=begun_at,
        pieces=max(0, int(document["pieces"])),
        whole_at=_moment(document["whole_at"]),
        damaged=_optional(str, document["damaged"]),
    )


def _moment(text: str | None) -> datetime | None:
    moment = datetime.fromisoformat(text) if text else None
    if moment is not None and moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment
