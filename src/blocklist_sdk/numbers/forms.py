"""In which form a column's numbers are written: international, or as dialled in the region.

Digits without a plus often have two valid readings: ``85512345678`` is an Indonesian number whose zero a spreadsheet
dropped, and a Cambodian one on a list of international numbers. One text cannot tell, but its column can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.either_form import either_normalizer
from blocklist_sdk.numbers.fast import Normalizer, normalize, normalizer
from blocklist_sdk.numbers.form_sample import FormSample
from blocklist_sdk.numbers.text import Form, check_form
from blocklist_sdk.texts import counted

DECIDING_SHARE: Final = 0.95
"""The reading that decides explains at least this share of the texts that can be explained. Of the US FTC's lists the
national reading explains 99.8 %."""

OTHER_SHARE_MAX: Final = 0.8
OTHER_SHARE_MAX_OF_MANY: Final = 0.9
MANY: Final = 20
"""The other reading explains clearly fewer: at most 80 %, or 90 % where that is at least 20 texts fewer. It explains 8
% of the FTC's texts, and of Indonesian numbers without their zeros from none to nine tenths, by prefix."""


@dataclass(frozen=True, slots=True)
class FormDecision:
    """The form in which a column's digits without a plus are read.

    Attributes:
        form: ``international`` or ``national``; None if neither reading decides. Then a text that is valid both ways is
            not a number, and any other one is read in the form in which it is valid.
        by: what decided: the ``column``, a ``declaration``, or the ``header`` of an export.
        texts: the texts without a plus that were looked at and are valid in at least one form.
        national: how many of them the national reading explains.
        international: how many of them the international reading explains.
        ambiguous: how many are valid in both forms, as different numbers.
    """

    form: Form | None
    by: Literal["column", "declaration", "header"] = "column"
    texts: int = 0
    national: int = 0
    international: int = 0
    ambiguous: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether a form was declared, and the texts show the other one."""
        counts = {"national": self.national, "international": self.international}
        if self.by != "declaration" or self.form not in counts:
            return False
        declared = counts.pop(self.form)
        (other,) = counts.values()
        return self.texts > 0 and _decides(other, declared, self.texts)

    def __str__(self) -> str:
        """The decision and its counts, in one sentence."""
        counts = (
            f"of {counted(self.texts, 'valid number')} without +, {self.national:,} fit the national form, "
            f"{self.international:,} the international one"
        )
        if self.form is None:
            return f"the form is undecided: {counts}"
        how = {
            "column": f"read as {self.form}",
            "declaration": f"declared as {self.form}",
            "header": f"read as {self.form}, as the header of an export says",
        }[self.by]
        return f"{how}: {counts}" if self.texts else how


def normalize_column(
    column: "pa.Array[Any] | pa.ChunkedArray[Any]", *, region: str | None, strict: bool = False, form: Form = "auto"
) -> pa.Int64Array:
    """Read a column of numbers, row for row.

    Args:
        column: strings (also large, view and dictionary-encoded) or integers. An integer is read as the text of its
            digits; a negative one is not a number.
        region: two-letter country code that national forms are read in; None takes international forms only.
        strict: ask for numbers that are valid in their plan, not only possible.
        form: how digits without a plus are read: ``international``, ``national``, or ``auto``, which the column
            decides: see `decide_form`. Where it does not, a row that is valid in both forms becomes null.

    Returns:
        As many rows as the column: the E.164 digits as an integer, or null if the row is null or not a number.

    Raises:
        InvalidInput: the column is of another type, or the region or the form is unknown. Never for a single row.

    >>> import pyarrow as pa
    >>> normalize_column(pa.array(["0812-3456-7890", "GoPay", None]), region="ID").to_pylist()
    [6281234567890, None, None]
    """
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        raise InvalidInput(f"numbers are read from an Arrow array, not from {type(column).__name__}")
    return read_column(column, region=region, strict=strict, form=resolve_form(column, region=region, form=form).form)


def decide_form(
    column: "pa.Array[Any] | pa.ChunkedArray[Any]", *, region: str | None, form: Form = "auto"
) -> FormDecision:
    """Decide in which form a column is written.

    Every text without a plus is read in both forms, as a valid number. A text with a trunk prefix counts for the
    national form; one that begins with an international prefix, or with the region's own country code, for the
    international form. The form that explains at least 95 % of the texts decides, if the other one explains clearly
    fewer: at most 80 %, or 90 % where that is at least 20 texts fewer. Rows that are blank, or not UTF-8, or that a
    spreadsheet wrote with an exponent do not count. If more than 20,000 rows are left, 10,000 to 20,000 of them, at
    nearly equal distances, are read.

    Args:
        column: as for `normalize_column`.
        region: two-letter country code; without one, texts have a plus, and integers are in international form.
        form: a declared form, which is kept whatever the column shows; `FormDecision.is_doubtful` compares.

    Raises:
        InvalidInput: as for `normalize_column`.

    >>> import pyarrow as pa
    >>> decide_form(pa.array(["85512345678", "85251234567", "14155550100"]), region="ID").form
    'international'
    >>> decide_form(pa.array(["85512345678", "81234567890", "0812-3456-7890"]), region="ID").form
    'national'
    """
    is_declared = check_form(form) != "auto"
    if region is None:
        shown: Form = "international" if pa.types.is_integer(column.type) else "national"
        return FormDecision(form, by="declaration") if is_declared else FormDecision(shown)
    place = reference.check_region(region)
    sample = FormSample()
    sample.add(column)
    rows = sample.column

    def read(region: str | None, form: Form) -> Any:
        return np.asarray(read_column(rows, region=region, strict=True, form=form).fill_null(0))

    if _may_have_plus(rows):
        # Texts with a plus say nothing, and need not be read in both forms.
        rows = rows.filter(pa.array(read(None, "national") == 0))
    national, international = read(place, "national"), read(None, "international")
    is_asked = (national != 0) | (international != 0)
    # The same number both ways begins with the region's own country code, or with an international prefix.
    shows_code = (national == international) & (_trunk_prefix(place) != _country_code(place))
    explained = {"national": is_asked & (national != 0) & ~shows_code, "international": is_asked & (international != 0)}
    ambiguous = explained["national"] & explained["international"] & (national != international)
    texts = int(is_asked.sum())
    counts = {form: int(each.sum()) for form, each in explained.items()}
    decided: Form | None = None
    if is_declared:
        decided = form
    elif _decides(counts["national"], counts["international"], texts):
        decided = "national"
    elif _decides(counts["international"], counts["national"], texts):
        decided = "international"
    by: Literal["column", "declaration"] = "declaration" if is_declared else "column"
    return FormDecision(decided, by, texts, ambiguous=int(ambiguous.sum()), **counts)


def _may_have_plus(rows: pa.ChunkedArray) -> bool:
    """Whether any of some rows may have a plus; those of other scripts are beyond ASCII."""
    if not pa.types.is_large_string(rows.type):
        return False
    for chunk in rows.chunks:
        _, offsets, data = chunk.buffers()
        if data is not None and len(chunk):
            first, last = np.frombuffer(offsets, np.int64)[[chunk.offset, chunk.offset + len(chunk)]]
            text = data[first:last].to_pybytes()
            if b"+" in text or not text.isascii():
                return True
    return False


def _decides(explained: int, other: int, texts: int) -> bool:
    """Whether a reading explains nearly all texts, and the other one clearly fewer."""
    is_fewer = other <= OTHER_SHARE_MAX * texts or (
        other <= OTHER_SHARE_MAX_OF_MANY * texts and explained - other >= MANY
    )
    return explained >= DECIDING_SHARE * texts and is_fewer


def resolve_form(column: "pa.Array[Any] | pa.ChunkedArray[Any]", *, region: str | None, form: Form) -> FormDecision:
    """The declared form, without a look at the column, or the one that the column decides."""
    return decide_form(column, region=region) if check_form(form) == "auto" else FormDecision(form, by="declaration")


def column_reader(texts: Sequence[str], *, region: str | None, form: Form) -> tuple[Normalizer, FormDecision]:
    """The function that reads the texts of a column one by one, in the declared form or in that of the column.

    >>> read, decision = column_reader(["85512345678", "14155550100"], region="ID", form="auto")
    >>> read("85512345678")
    85512345678
    """
    decision = resolve_form(pa.array(texts, pa.string()), region=region, form=form)
    if decision.form is None:
        return either_normalizer(region, False), decision
    return normalizer(region, form=decision.form), decision


def other_reading(text: str | int, *, region: str | None, form: Form = "auto") -> int | None:
    """The valid number that a text would be in the other form; None if it has one reading only, as integers have.

    >>> other_reading("85512345678", region="ID"), other_reading("0812-3456-7890", region="ID")
    (85512345678, None)
    """
    if not isinstance(text, str):
        return None
    other: Form = "national" if form == "international" else "international"
    numbers = []
    for each in (form, other):
        try:
            numbers.append(normalize(text, region=region, form=each, strict=each == other))
        except InvalidNumber:
            numbers.append(0)
    return numbers[1] if numbers[1] and numbers[1] != numbers[0] else None


def _trunk_prefix(region: str) -> str | None:
    return reference.metadata_of(region).national_prefix


def _country_code(region: str) -> str:
    return str(reference.metadata_of(region).country_code)
