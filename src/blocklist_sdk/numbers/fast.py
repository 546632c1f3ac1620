"""The quick way from text to number: a look-up in what the plan has settled; all other texts go to the reference."""

from collections.abc import Callable
from functools import lru_cache

from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.numbering_plan import LEAD_DIGITS, MAX_DIGITS, SHORTEST_LEAD, NumberingPlan, Settled
from blocklist_sdk.numbers.text import DECIMAL_ENDS, SEPARATORS

Normalizer = Callable[[str], int]
"""Reads a text as an E.164 integer; raises InvalidNumber."""

_SEPARATORS = SEPARATORS.encode()

_LOOK_CLOSER = (*(end.encode() for end in DECIMAL_ENDS), *(bytes([each]) for each in _SEPARATORS))
"""Texts that end so may be decimal numbers."""

_PLUS = ord("+")

_Rows = dict[bytes, list[int | None]]
"""From the first three or five digits to what must be added to a number of each length; None if that is not settled
(yet), or not by three digits."""


def normalize(text: str, *, region: str | None = None, strict: bool = False) -> int:
    """Read a text as an E.164 number.

    A number is what libphonenumber calls possible, with its area code, of at most 15 digits; nothing is guessed and
    nothing dropped. ``docs/explanation/numbers.md`` has the rules.

    Args:
        text: the number as it was written: ``+62 812-3456-7890``, ``0812 3456 7890``, ``6281234567890``.
        region: two-letter country code that a national form is read in; None takes international forms (with ``+``)
            only.
        strict: ask for a number that is valid in its country's numbering plan, not only possible.

    Returns:
        The digits of the E.164 number as an integer.

    Raises:
        InvalidNumber: ``text`` is not a number; ``reason`` says why.
        InvalidInput: the region is unknown, or ``text`` is not a text.

    >>> normalize("0812-3456-7890", region="ID")
    6281234567890
    >>> normalize("+44 (0)20 7946 0958")
    442079460958
    """
    return normalizer(region, strict)(text)


def normalizer(region: str | None, strict: bool = False) -> Normalizer:
    """Return the function that reads texts as :func:`normalize` does, for many numbers of one region.

    The function may be shared by threads. It learns shapes as it meets them: the first text of a shape costs up to a
    few hundred microseconds, every later one well under one.

    Args:
        region: as for :func:`normalize`.
        strict: as for :func:`normalize`.

    Raises:
        InvalidInput: the region is unknown.

    >>> read = normalizer("ID")
    >>> read("0812-3456-7890"), read("6281234567890")
    (6281234567890, 6281234567890)
    """
    return _normalizer(region, strict)


@lru_cache(maxsize=64)
def _normalizer(region: str | None, strict: bool) -> Normalizer:
    learn = _Learner(region, strict)
    from_inside, international = learn.from_inside, learn.international
    # Everything the function needs is bound here: a closure's variable is the cheapest look-up Python has.
    short, lead, plus, separators, closed = SHORTEST_LEAD, LEAD_DIGITS, _PLUS, _SEPARATORS, _LOOK_CLOSER

    def read(text: str) -> int:
        try:
            written = text.encode()
            rows = from_inside
            if not written.isdigit():
                if written[0] == plus:
                    rows = international
                    written = written[1:]
                if not written.isdigit():
                    if written.endswith(closed):
                        return learn(text)
                    written = written.translate(None, separators)
                    if not written.isdigit():
                        return learn(text)
            add = rows[written[:short]][len(written)]
            if add is None:
                add = rows[written[:lead]][len(written)]
            return int(written) + add  # type: ignore[operator]  # None: not settled
        except (LookupError, TypeError, ValueError, AttributeError):
            return learn(text)  # a new shape, or one that is not settled; not a text; a lone surrogate

    return read


class _Learner:
    """Reads a text of a new shape: by the plan, which is noted for the next time, or by the reference."""

    def __init__(self, region: str | None, strict: bool) -> None:
        self._region = region
        self._strict = strict
        self._plan = plan_of(region, strict)
        self.from_inside: _Rows = {}
        self.international: _Rows = {}

    def __call__(self, text: str) -> int:
        if isinstance(text, str) and text.isascii() and not text.rstrip().endswith(DECIMAL_ENDS):
            written = text.encode().translate(None, _SEPARATORS)
            # A plus counts where the reader above looks for it, at the very beginning.
            international = text[:1] == "+"
            digits = written[international:]
            if digits.isdigit() and LEAD_DIGITS <= len(digits) <= MAX_DIGITS:
                lead = digits[:LEAD_DIGITS]
                settled = self._plan.settle(lead.decode(), len(digits), international=international)
                if settled is not None and settled.add is not None:
                    self._note(self.international if international else self.from_inside, digits, settled)
                    return int(digits) + settled.add
        return reference.number_of(text, region=self._region, strict=self._strict)

    def _note(self, rows: _Rows, digits: bytes, settled: Settled) -> None:
        # A row of few digits sends on to a row of more by its None.
        row = rows.setdefault(digits[:SHORTEST_LEAD], [None] * (MAX_DIGITS + 1))
        if settled.decided_by > SHORTEST_LEAD:
            row = rows.setdefault(digits[:LEAD_DIGITS], [None] * (MAX_DIGITS + 1))
        row[len(digits)] = settled.add


@lru_cache(maxsize=64)
def plan_of(region: str | None, strict: bool) -> NumberingPlan:
    """Return the plan of a region, which all readers of the process share.

    Raises:
        InvalidInput: the region is unknown.
    """
    return NumberingPlan(None if region is None else reference.check_region(region), strict=strict)
