"""Telephone numbers for tests."""

from typing import Final

_FIRST: Final = 6281200000000
_MOST: Final = 100_000_000
_STEP: Final = 7_777_777
"""Shares no factor with `_MOST`, so that no number comes twice."""


def generated_numbers(count: int, *, start: int = 0) -> list[str]:
    """Generated numbers in international form: distinct, in no order, and the same ones on every call.

    All have the prefix +62 812 and a valid length; they may belong to somebody, so never
    call them or write to them.

    Args:
        count: how many.
        start: how many to leave out at the beginning, for numbers that another call did not return.

    Raises:
        ValueError: there are fewer: `start` and `count` may be 100 million together.

    >>> generated_numbers(2), generated_numbers(1, start=2)
    (['+6281200000000', '+6281207777777'], ['+6281215555554'])
    """
    if start < 0 or count < 0 or start + count > _MOST:
        raise ValueError(f"start and count must not be negative, and together at most {_MOST:,}")
    return [f"+{_FIRST + index * _STEP % _MOST}" for index in range(start, start + count)]
