"""Who may do what, alone or with a second officer: one table, which the rules and docs/reference/permissions.md use.

What blocks a number, or keeps it blocked, needs two people who have no part in the case. What unblocks one number needs
one. Which scopes a request needs, its route says; the page is made from both.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid

DAY: Final = timedelta(days=1)

TRICKLE: Final = timedelta(minutes=15)
"""Beyond the bound an officer may still retract one number alone, if the last one was so long ago: a person who is
blocked by mistake does not wait for a second officer at night, and no list can be emptied at that pace unseen."""


class Eyes(StrEnum):
    """Whether one person may do something."""

    ALONE = "one person"
    BOUNDED = "one person up to a bound a day, then two"
    TWO = "two officers"


class Tie(StrEnum):
    """What an account has to do with a case already."""

    REPORTED = "reported the number"
    APPEALED = "appealed against the listing"
    DECIDED = "decided on the listing, or confirmed it"
    PROPOSED = "made this decision"
    APPELLANT = "sent this appeal"
    SENT = "sent these receipts"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of action needs.

    Attributes:
        does: what it does, in a few words.
        where: the request, as ``POST /v1/…``, or the command on the server.
        eyes: whether one person may do it.
        never: who may not do it, for what they have to do with the case already.
        instead: what somebody who may not can do.
    """

    does: str
    where: str
    eyes: Eyes = Eyes.ALONE
    never: tuple[Tie, ...] = ()
    instead: str = "another officer has to do it"

    def check(self, ties: Collection[Tie], *, two_person: bool) -> None:
        """Refuse an account that has a part in the case; where one person decides alone, nobody is refused.

        Raises:
            Refusal: the account may not do this, and why.
        """
        found = next((tie for tie in self.never if tie in ties), None)
        if two_person and found is not None:
            raise Refusal("conflict", f"your account {found}: {self.instead}")

    def is_proposed(self, *, two_person: bool) -> bool:
        """Whether it has no effect before a second officer confirms it."""
        return two_person and self.eyes is Eyes.TWO


_DECISIONS: Final = "POST /v1/cases/{case}/decisions"
_CONFIRMATION: Final = "POST /v1/decisions/{decision}/confirmation"
_ANSWER: Final = "POST /v1/appeals/{appeal}/answer"
_RECYCLED: Final = "POST /v1/receipts/recycled/answers"
_PARTIES: Final = (Tie.REPORTED, Tie.APPEALED)

LIST: Final = Rule("list a number, extend or strengthen its listing", _DECISIONS, Eyes.TWO, _PARTIES)
CONFIRM_LISTING: Final = Rule("confirm a listing", _CONFIRMATION, never=(Tie.PROPOSED, *_PARTIES))
RETRACT: Final = Rule("retract a number", _DECISIONS, Eyes.BOUNDED)
CONFIRM_RETRACTION: Final = Rule("confirm a retraction beyond the bound", _CONFIRMATION, never=(Tie.PROPOSED,))
REJECT: Final = Rule("reject a case", _DECISIONS)
GRANT: Final = Rule(
    "grant an appeal",
    _ANSWER,
    Eyes.BOUNDED,
    (Tie.APPELLANT,),
    "another officer has to answer it. To unblock the number at once, retract the case",
)
DISMISS: Final = Rule(
    "dismiss an appeal",
    _ANSWER,
    never=(Tie.APPELLANT, Tie.REPORTED, Tie.DECIDED),
    instead="an officer who had no part in it has to dismiss the appeal. Granting it is open to you",
)
CONFIRM_RECYCLED: Final = Rule("confirm a batch of `recycled` receipts", _RECYCLED, never=(Tie.SENT,))
REFUSE_RECYCLED: Final = Rule("refuse a batch of `recycled` receipts", _RECYCLED)

RULES: Final[tuple[Rule, ...]] = (
    Rule("report a number", "POST /v1/reports"),
    Rule("report many numbers", "POST /v1/reports/bulk"),
    Rule("add evidence to one's own report", "POST /v1/reports/{report}/evidence"),
    Rule("appeal", "POST /v1/appeals"),
    Rule("add evidence to one's own appeal", "POST /v1/appeals/{appeal}/evidence"),
    Rule("send receipts for the feeds that one reads", "POST /v1/receipts"),
    Rule("begin to verify a case, or take it over", "POST /v1/cases/{case}/verification"),
    LIST,
    CONFIRM_LISTING,
    RETRACT,
    CONFIRM_RETRACTION,
    REJECT,
    Rule("withdraw a decision that waits", "POST /v1/decisions/{decision}/withdrawal"),
    GRANT,
    DISMISS,
    CONFIRM_RECYCLED,
    REFUSE_RECYCLED,
    Rule("publish what is decided", "POST /v1/publications"),
    Rule("let through what the guard holds back", "POST /v1/publications/acceptances"),
    Rule("add, change, close or reopen an account", "blocklist exchange user"),
    Rule(
        "publish, accept what the guard holds back, say that the clock is right, go on with the audit trail of an "
        "older database",
        "blocklist exchange publish",
    ),
)
"""Every request and command that changes something. Whoever may use the server's shell needs no account."""

DECISION_RULES: Final[Mapping[str, Rule]] = {"block": LIST, "advisory": LIST, "retract": RETRACT, "reject": REJECT}
CONFIRMATION_RULES: Final[Mapping[str, Rule]] = {
    "block": CONFIRM_LISTING,
    "advisory": CONFIRM_LISTING,
    "retract": CONFIRM_RETRACTION,
}


def bound_of(*, recent: int, listed: int, most: int, share: float) -> int:
    """How many numbers an officer may retract alone in a day.

    Args:
        recent: how many numbers the officer retracted alone in the last day. They were listed before, so the bound does
            not shrink with the list.
        listed: how many numbers are listed now.
        most: how many an officer may retract alone in a day.
        share: the same as a share of the numbers listed; the smaller of the two counts, and one is always allowed.

    >>> [bound_of(recent=0, listed=listed, most=20, share=0.1) for listed in (5, 50, 500)]
    [1, 5, 20]
    """
    return max(1, min(most, int((listed + recent) * share)))


def retracts_alone(*, recent: int, bound: int, latest: datetime | None, now: datetime) -> bool:
    """Whether an officer may retract one more number alone.

    Args:
        recent: how many numbers the officer retracted alone in the last day.
        bound: how many the officer may, from `bound_of`.
        latest: when the last of them was; None if there was none.
        now: this moment.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 2, tzinfo=UTC)
    >>> [retracts_alone(recent=recent, bound=20, latest=now, now=now) for recent in (19, 20)]
    [True, False]
    >>> retracts_alone(recent=20, bound=20, latest=now - TRICKLE, now=now)
    True
    """
    return recent < bound or latest is None or now - latest >= TRICKLE


def check_version(case_id: int, events: int, version: int | None, *, required: bool) -> None:
    """Refuse what was decided on a case that has changed since.

    Args:
        case_id: the case.
        events: its version.
        version: the version that the caller looked at; None if the request does not say.
        required: whether the request has to say.

    Raises:
        Refusal: the versions differ, or the request does not say and has to.
    """
    if version is None and required:
        raise invalid("body.version", "send the `version` of the case that you looked at")
    if version is not None and version != events:
        raise Refusal(
            "conflict",
            f"case {case_id} has changed: you looked at version {version}, it has version {events} now. Look at it "
            "again, then decide with that version",
        )
