"""Overrides beside a plain dictionary of them."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from blocklist_sdk import Blocklist

Decisions = dict[int, tuple[str, str]]
"""Decision and reason, by number."""

Step = tuple[str, str, str]
"""``allow``, ``block`` or ``remove``; the number; and the reason."""


def decide(recipient: Blocklist, step: Step) -> None:
    what, number, reason = step
    # Some of them have an end, far enough ahead not to come in a test.
    until = datetime.now(UTC) + timedelta(days=1) if reason.endswith("7") else None
    match what:
        case "allow":
            recipient.overrides.allow(number, reason=reason, until=until)
        case "block":
            recipient.overrides.block(number, reason=reason, until=until)
        case _:
            recipient.overrides.remove(number)


def after(decisions: Decisions, step: Step) -> Decisions:
    """The same step on the dictionary."""
    what, number, reason = step
    left = {each: decision for each, decision in decisions.items() if each != int(number[1:])}
    return left if what == "remove" else left | {int(number[1:]): (what, reason)}


def standing(recipient: Blocklist) -> Decisions:
    return {override.number: (override.decision, override.reason) for override in recipient.overrides}


def assert_answers_follow(
    recipient: Blocklist, decisions: Decisions, numbers: Collection[str], *, listed: Collection[str]
) -> None:
    for number in numbers:
        decision = decisions.get(int(number[1:]))
        assert (number in recipient) is (decision[0] == "block" if decision else number in listed)
