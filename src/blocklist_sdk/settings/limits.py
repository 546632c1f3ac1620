"""Limits of guards, as people write them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from blocklist_sdk.errors import InvalidInput

_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"

_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PERIOD_S_MAX: Final = 366 * 86_400
"""A year."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How the text of a limit is read.

    Attributes:
        metavar: a word for its value.
        default: the value where none is given, as text.
        expected: what its text must be.
        parse: returns the value of a text; None if the text is not such a limit.
    """

    metavar: str
    default: str
    expected: str
    parse: Callable[[str], float | None]

    def read(self, text: str, *, where: str = "the limit") -> float:
        """Read a limit.

        Args:
            text: what was given.
            where: what gave it, for messages.

        Raises:
            InvalidInput: it is not such a limit.

        >>> share("10%").read("12.5%"), share("10%").read("0.5"), growth("100%").read("250 %"), count(20).read("1,000")
        (0.125, 0.5, 2.5, 1000)
        """
        value = self.parse(text.strip())
        if value is None:
            raise InvalidInput(f"{where} must be {self.expected}, not {text!r}")
        return value


def share(default: str) -> Limit:
    """A part of a whole."""
    return Limit("SHARE", default, "a share from 0 to 1, or from 0% to 100%, such as 0.1 or 10%", _share)


def growth(default: str) -> Limit:
    """What may come to a whole, which may be more than the whole; then it is a percentage, since 10 may mean 10 %."""
    return Limit(
        "SHARE", default, "a share from 0 to 1, or a percentage, which may exceed 100%, such as 0.1 or 250%", _growth
    )


def count(default: int) -> Limit:
    """A number of things."""
    return Limit("N", f"{default:,}", "a whole number, 0 or more, such as 20 or 1,000", _count)


def period(default: str) -> Limit:
    """A time, in seconds."""
    return Limit("TIME", default, "a time, such as 90, 90s, 15m, 2h or 1d", _seconds)


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    return seconds if 0 < seconds <= _PERIOD_S_MAX else None


def _share(text: str) -> float | None:
    value = _growth(text)
    return value if value is not None and value <= 1 else None


def _growth(text: str) -> float | None:
    found = re.fullmatch(rf"({_NUMBER})( ?%)?", text)
    if found is None:
        return None
    value = float(found[1])
    if found[2]:
        return value / 100
    return value if value <= 1 else None


def _count(text: str) -> int | None:
    return int(text.replace(",", "")) if re.fullmatch(r"[0-9]{1,15}|[0-9]{1,3}(,[0-9]{3}){1,4}", text) else None
