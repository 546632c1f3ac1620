"""What a check finds."""

from dataclasses import dataclass
from typing import Any, Literal

from blocklist_sdk.errors import BlocklistError

Outcome = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: what was checked, in a word or two.
        outcome: ``ok``; ``warn``, which needs a look and stops nothing; ``fail``; ``skipped``.
        message: what was found, or why it was not looked for. It has no secret.
        remedy: what to do, a command where there is one; None if there is nothing to do.
        error: what the fault would raise, or None. Its class says how bad it is.
    """

    name: str
    outcome: Outcome
    message: str
    remedy: str | None = None
    error: BlocklistError | None = None

    def document(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "message": self.message,
            "remedy": self.remedy,
            "error": None if self.error is None else type(self.error).__name__,
        }


def ok(name: str, message: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", message)


def warn(name: str, message: str, remedy: str) -> Finding:
    """Something needs a look, and stops nothing."""
    return Finding(name, "warn", message, remedy)


def fail(name: str, error: BlocklistError, remedy: str) -> Finding:
    """Something is wrong; the error's message says what."""
    return Finding(name, "fail", str(error), remedy, error)


def skipped(name: str, why: str) -> Finding:
    """It was not looked at."""
    return Finding(name, "skipped", why)
