"""The quick way from text to number: a look-up in what the plan has settled; all other texts go to the reference."""

import re
from collections.abc import Callable
from functools import lru_cache

from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.numbering_plan import LEAD_DIGITS, MAX_DIGITS, SHORTEST_LEAD, NumberingPlan, Settled
from blocklist_sdk.numbers.text import SEPARATORS, Form, check_form, lookalike

Normalizer = Callable[[str], int]
"""Reads a text as an E.164 integer; raises InvalidNumber."""

_PLAIN_SEPARATORS = b" -"
"""Separators that say nothing by themselves, wherever they stand between digits."""

_WEIGHED_SEPARATORS = b"()."
"""Separators whose place matters."""

_SEPARATORS = SEPARATORS.encode()

_PLUS, _OPENING, _ZERO = b"+(0"

_USUAL = re.compile(r"[+]?[0-9 .\-]*(?:\([0-9][0-9 .\-]*\)[0-9 .\-]*)*")
"""Texts without anything that the grammar of a text would have to weigh, unless they look like something else."""

_HARMLESS = re.compile(
    r"(?:\+?[0-9][0-9 \-]*)?\([0-9][0-9 \-]*\)[0-9 \-]*(?:\.[0-9 \-]*)?"  # a pair of parentheses, a dot behind it
    r"|\+[0-9 .\-]*[0-9]{3}"  # a plus, and no decimals
    r"|[0-9]{3,}(?:\.[0-9]+)+\.[0-9]{4,}|[0-9]{2}(?:\.[0-9]{2}){4}"  # groups that only telephone numbers have
)
"""The commonest texts with parentheses or dots that look like nothing else."""

DATE_DIGITS_MAX = 8
DATE_AND_TIME_DIGITS = (12, 14)
CENTURIES = ("19", "20")
"""What dates have in common when only spaces and dashes separate their digits: few digits, or a year in front and a
time behind. The quickest way does not read such texts."""

_Rows = dict[bytes, list[int | None]]
"""From the first three or five digits to what must be added to a number of each length; None if that is not settled
(yet), or not by three digits."""


def normalize(text: str, *, region: str | None = None, strict: bool = False, form: Form = "auto") -> int:
    """Read a text as an E.164 number.

    A number is what libphonenumber calls possible, with its area code, of at most 15 digits; nothing is guessed and
    nothing dropped. ``docs/explanation/numbers.md`` has the rules.

    Args:
        text: the number as it was written: ``+62 812-3456-7890``, ``0812 3456 7890``, ``6281234567890``.
        region: two-letter country code that a national form is read in; None takes international forms (with ``+``)
            only.
        strict: ask for a number that is valid in its country's numbering plan, not only possible.
        form: how digits without a plus are read: ``international`` takes them as country code and number;
            ``national``, which is also what ``auto`` means for a single text, as dialled in the region.

    Returns:
        The digits of the E.164 number as an integer.

    Raises:
        InvalidNumber: ``text`` is not a number; ``reason`` says why.
        InvalidInput: the region or the form is unknown, or ``text`` is not a text.

    >>> normalize("0812-3456-7890", region="ID")
    6281234567890
    >>> normalize("+44 (0)20 7946 0958")
    442079460958
    >>> normalize("855 12 345 678", form="international")
    85512345678
    """
    return normalizer(region, strict, form)(text)


def normalizer(region: str | None, strict: bool = False, form: Form = "auto") -> Normalizer:
    """Return the function that reads texts as :func:`normalize` does, for many numbers of one region.

    The function may be shared by threads. It learns shapes as it meets them: the first text of a shape costs up to a
    few hundred microseconds, every later one well under one.

    Args:
        region: as for :func:`normalize`.
        strict: as for :func:`normalize`.
        form: as for :func:`normalize`.

    Raises:
        InvalidInput: the region or the form is unknown.

    >>> read = normalizer("ID")
    >>> read("0812-3456-7890"), read("6281234567890")
    (6281234567890, 6281234567890)
    """
    return _normalizer(region, strict, check_form(form) == "international")


@lru_cache(maxsize=64)
def _normalizer(region: str | None, strict: bool, country_code_first: bool) -> Normalizer:
    learn = _Learner(region, strict, "international" if country_code_first else "national")
    bare, separated, international = learn.bare, learn.separated, learn.international
    # Everything the function needs is bound here: a closure's variable is the cheapest look-up Python has.
    short, lead, plus, opening, zero = SHORTEST_LEAD, LEAD_DIGITS, _PLUS, _OPENING, _ZERO
    separators, weighed, is_harmless = _PLAIN_SEPARATORS, _WEIGHED_SEPARATORS, _HARMLESS.fullmatch
    date_digits = DATE_DIGITS_MAX

    def read(text: str) -> int:
        try:
            written = text.encode()
            rows = bare
            if not written.isdigit():
                first = written[0]
                if first == plus:
                    rows = international
                    written = written[1:]
                elif first >= zero:
                    rows = separated
                elif first != opening:
                    return learn(text)
                if not written.isdigit():
                    written = written.translate(None, separators)
                    if not written.isdigit():
                        if not is_harmless(text):
                            return learn(text)
                        if rows is separated:
                            rows = bare
                        written = written.translate(None, weighed)
                        if len(written) <= date_digits:
                            return learn(text)
            add = rows[written[:short]][len(written)]
            if add is None:
                add = rows[written[:lead]][len(written)]
            return int(written) + add  # type: ignore[operator]  # None: not settled
        except (LookupError, TypeError, ValueError, AttributeError):
            return learn(text)  # a new shape, or one that is not settled; not a text; a lone surrogate

    return read


class _Learner:
    """Reads the texts that need a closer look: by what was learnt, by the plan, or by the reference.

    What the plan has settled is noted for the next time, by the way the digits are written.
    """

    def __init__(self, region: str | None, strict: bool, form: Form) -> None:
        self._region = region
        self._strict = strict
        self._form = form
        self._plan = plan_of(region, strict, form)
        self.bare: _Rows = {}
        self.separated: _Rows = {}
        self.international: _Rows = {}

    def __call__(self, text: str) -> int:
        if isinstance(text, str) and _USUAL.fullmatch(body := text.strip(" ")) and not _is_suspicious(body):
            international = body[:1] == "+"
            digits = body.encode().translate(None, _SEPARATORS)[international:]
            rows = self.international if international else self.bare
            try:
                add = rows[digits[:SHORTEST_LEAD]][len(digits)]
                if add is None:
                    add = rows[digits[:LEAD_DIGITS]][len(digits)]
            except LookupError:
                add = None
            if add is None:
                add = self._settle(digits, international=international)
            if add is not None:
                return int(digits) + add
        return reference.number_of(text, region=self._region, strict=self._strict, form=self._form)

    def _settle(self, digits: bytes, *, international: bool) -> int | None:
        """What must be added to digits, if the plan knows that it is the same for their shape."""
        if not LEAD_DIGITS <= len(digits) <= MAX_DIGITS:
            return None
        settled = self._plan.settle(digits[:LEAD_DIGITS].decode(), len(digits), international=international)
        if settled is None or settled.add is None:
            return None
        if international:
            self._note(self.international, digits, settled)
        else:
            self._note(self.bare, digits, settled)
            may_be_date = len(digits) <= DATE_DIGITS_MAX or (
                len(digits) in DATE_AND_TIME_DIGITS and digits[:2].decode() in CENTURIES
            )
            if not may_be_date:
                self._note(self.separated, digits, settled)
        return settled.add

    def _note(self, rows: _Rows, digits: bytes, settled: Settled) -> None:
        # A row of few digits sends on to a row of more by its None.
        row = rows.setdefault(digits[:SHORTEST_LEAD], [None] * (MAX_DIGITS + 1))
        if settled.decided_by > SHORTEST_LEAD:
            row = rows.setdefault(digits[:LEAD_DIGITS], [None] * (MAX_DIGITS + 1))
        row[len(digits)] = settled.add


def _is_suspicious(body: str) -> bool:
    """Whether a usual text looks like something else than a number, which the reference has to weigh."""
    if body.isdigit() or (body[:1] == "+" and "." not in body):
        return False
    return lookalike(body) is not None


@lru_cache(maxsize=64)
def plan_of(region: str | None, strict: bool, form: Form = "national") -> NumberingPlan:
    """Return the plan of a region, which all readers of the process share.

    Raises:
        InvalidInput: the region is unknown.
    """
    return NumberingPlan(None if region is None else reference.check_region(region), strict=strict, form=form)
