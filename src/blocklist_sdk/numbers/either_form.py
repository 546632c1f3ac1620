"""Texts of a column whose form is undecided: each is read in the form in which it is a valid number.

A text that is two valid numbers is not read. One that is valid in neither form, as spoofed numbers are, is read as
dialled in the region.
"""

from functools import lru_cache

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.numbers.fast import Normalizer, normalizer, plan_of
from blocklist_sdk.numbers.numbering_plan import Settled


@lru_cache(maxsize=64)
def either_normalizer(region: str | None, strict: bool) -> Normalizer:
    """Return the function that reads texts in either form.

    >>> read = either_normalizer("ID", False)
    >>> read("0812-3456-7890"), read("14155550100")
    (6281234567890, 14155550100)
    """
    dialled, valid = normalizer(region, strict, "national"), normalizer(region, True, "national")
    abroad = normalizer(region, True, "international")

    def read(text: str) -> int:
        try:
            international = abroad(text)
        except InvalidNumber:
            return dialled(text)
        try:
            national = valid(text)
        except InvalidNumber:
            return international
        if national != international:
            numbers = " and ".join(f"+{number}" for number in sorted((national, international)))
            raise InvalidNumber(
                text, f"it can be read as {numbers}: declare the form: --form national or international (form=)"
            )
        return national

    return read


class EitherPlan:
    """The answers that `either_normalizer` gives to all texts of a shape; like `NumberingPlan`."""

    def __init__(self, region: str | None, *, strict: bool) -> None:
        self._dialled, self._valid = plan_of(region, strict), plan_of(region, True)
        self._abroad = plan_of(region, True, "international")

    def settle(self, lead: str, length: int, *, international: bool) -> Settled | None:
        """Return the answer to texts of a shape; None when they have no common one: see `NumberingPlan.settle`."""
        dialled = self._dialled.settle(lead, length, international=international)
        if international:
            return dialled
        abroad = self._abroad.settle(lead, length, international=False)
        if abroad is None:
            return None
        if abroad.add is None:
            return dialled and dialled._replace(decided_by=max(dialled.decided_by, abroad.decided_by))
        valid = self._valid.settle(lead, length, international=False)
        if valid is None:
            return None
        decided_by = max(abroad.decided_by, valid.decided_by)
        is_one = valid.add is None or valid.add == abroad.add
        return Settled(abroad.add if is_one else None, decided_by)
