"""Whole columns of numbers, as :func:`blocklist_sdk.numbers.normalize` would read each row in a declared form.

The text of a column is one buffer. In blocks that fit a processor's cache, numpy drops all characters but digits, reads
up to sixteen digits of every row in two loads, and adds what the plan has settled for the row's first digits and
length. Rows that this leaves open go through the scalar reader, each distinct text once. numpy releases the interpreter
lock meanwhile, so two threads can read two columns at the same time.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.numbers.either_form import EitherPlan, either_normalizer
from blocklist_sdk.numbers.fast import CENTURIES, DATE_AND_TIME_DIGITS, DATE_DIGITS_MAX, normalizer, plan_of
from blocklist_sdk.numbers.numbering_plan import LEAD_DIGITS, NumberingPlan
from blocklist_sdk.numbers.text import Form

Int64s: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Block: TypeAlias = tuple[Int64s, Int64s]
"""The rows' digits as integers, and the rows' shapes (see :class:`_Shapes`)."""

_BLOCK_ROWS: Final = 65_536
"""Rows at a time: about 1 MB of text. A quarter of it is as quick alone, but two threads then spend their time passing
the interpreter lock to and fro (measured: 90 ns a row, and 50 ns at this size)."""

_MAX_TEXT_BYTES: Final = 31
"""Longer rows are left to the scalar reader; the widest usual way to write 15 digits takes about 30."""

_MAX_DIGITS: Final = 16
"""What two loads of eight bytes hold: an E.164 number and a trunk prefix."""

_MAX_REMEMBERED: Final = 1 << 16
"""Distinct rows that the scalar reader's answers are kept for; bounds the memory on a column of garbage."""

_UNSHAPED: Final = 0
"""The shape of rows without one: too short, too long, or with other characters."""

_LENGTHS: Final = _MAX_DIGITS + 1

_SHAPES_PER_SIGN: Final = 10**LEAD_DIGITS * _LENGTHS

_OPEN: Final = 1
_NO_NUMBER: Final = 2
_BIAS: Final = 1 << 60
"""Codes of shapes: 0 not asked yet, 1 the rows differ, 2 no number, else what to add to the digits plus this bias,
which is far above any number."""

_WEIGHED: Final = 32
_OTHER: Final = 1024
"""What characters weigh in a row's sum: a digit 1, a space or a dash nothing, a separator whose place matters 32, any
other one 1024. Of 31 characters no lighter kind ever sums up to a heavier one."""

_WEIGHTS = np.full(256, _OTHER, dtype=np.uint16)
_WEIGHTS[list(b"0123456789")] = 1
_WEIGHTS[list(b" -")] = 0
_WEIGHTS[list(b"().")] = _WEIGHED
_PLUS, _OPENING, _CLOSING, _DOT, _ZERO = (np.uint8(ord(character)) for character in "+().0")

_FIRST_CENTURY: Final = int(CENTURIES[0]) * 10 ** (LEAD_DIGITS - 2)
_AFTER_CENTURIES: Final = (int(CENTURIES[1]) + 1) * 10 ** (LEAD_DIGITS - 2)

_LOAD: Final = 8
"""Bytes, and so digits, in one load."""

_KEEP_LAST = np.array([(1 << 64) - (1 << 8 * (_LOAD - count)) for count in range(_LOAD + 1)], dtype=object).astype(
    np.uint64
)
"""Masks that keep the last 0 to 8 digits of a load; the last digit is in its highest byte."""

_POWERS_OF_TEN: Int64s = 10 ** np.arange(19, dtype=np.int64)


def read_column(
    column: "pa.Array[Any] | pa.ChunkedArray[Any]", *, region: str | None, strict: bool = False, form: Form | None
) -> pa.Int64Array:
    """Read a column of which it is known how it is written.

    Args:
        column: strings (also large, view and dictionary-encoded) or integers.
        region: two-letter country code that national forms are read in; None takes international forms only.
        strict: ask for numbers that are valid in their plan, not only possible.
        form: how digits without a plus are read; None if the column does not decide: see `forms.FormDecision`.

    Returns:
        As many rows as the column: the E.164 digits as an integer, or null if the row is null or not a number.

    Raises:
        InvalidInput: the column is of another type, or the region is unknown. Never for a single row.
    """
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        raise InvalidInput(f"numbers are read from an Arrow array, not from {type(column).__name__}")
    reader = _reader(region, strict, form)
    if isinstance(column, pa.Array):
        return reader.read(column)
    if column.num_chunks == 0:
        return reader.read(pa.array([], type=column.type))
    return pa.concat_arrays([reader.read(chunk) for chunk in column.chunks])


class _Reader:
    """Reads columns in one region and one form."""

    def __init__(self, region: str | None, strict: bool, form: Form | None) -> None:
        if form is None:
            self._shapes = _Shapes(EitherPlan(region, strict=strict))
            self._normalize = either_normalizer(region, strict)
        else:
            self._shapes = _Shapes(plan_of(region, strict, form))
            self._normalize = normalizer(region, strict, form)

    def read(self, column: "pa.Array[Any]") -> pa.Int64Array:
        kind = column.type
        if isinstance(column, pa.DictionaryArray):
            return self.read(column.dictionary).take(column.indices)
        if pa.types.is_string_view(kind):
            return self.read(column.cast(pa.large_string()))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._read_text(column)
        if pa.types.is_integer(kind):
            return self._read_integers(column)
        if pa.types.is_null(kind):
            return pa.nulls(len(column), pa.int64())
        raise InvalidInput(
            f"numbers are read from a column of strings or integers, not of {kind}: cast it first, in pyarrow with "
            "column.cast('int64')"
        )

    def _read_text(self, column: "pa.Array[Any]") -> pa.Int64Array:
        _, offsets_buffer, data_buffer = column.buffers()
        if len(column) == 0 or offsets_buffer is None:
            return pa.array([], type=pa.int64())
        is_large = pa.types.is_large_string(column.type)
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64 if is_large else np.int32)[column.offset :]
        data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
        raw = column.cast(pa.large_binary() if is_large else pa.binary())

        def block(start: int, stop: int) -> Block:
            bounds = offsets[start : stop + 1].astype(np.int64)
            return _text_block(data[bounds[0] : bounds[-1]], bounds - bounds[0])

        def texts(rows: Int64s) -> list[str]:
            # Bytes that are not UTF-8 become the replacement character, which is not part of any number.
            return [(row or b"").decode(errors="replace") for row in raw.take(pa.array(rows)).to_pylist()]

        return self._read_blocks(column, block, texts)

    def _read_integers(self, column: "pa.Array[Any]") -> pa.Int64Array:
        if pa.types.is_uint64(column.type):
            fits = pc.less_equal(column, pa.scalar(np.iinfo(np.int64).max, pa.uint64()))
            column = pc.if_else(fits, column, pa.scalar(0, pa.uint64()))
        present = pc.fill_null(column.cast(pa.int64()), 0)
        values: Int64s = np.maximum(present.to_numpy(zero_copy_only=False), 0)

        def block(start: int, stop: int) -> Block:
            return _integer_block(values[start:stop])

        def texts(rows: Int64s) -> list[str]:
            return [str(value) for value in values[rows].tolist()]

        return self._read_blocks(column, block, texts)

    def _read_blocks(
        self,
        column: "pa.Array[Any]",
        block: Callable[[int, int], Block],
        texts: Callable[[Int64s], Sequence[str]],
    ) -> pa.Int64Array:
        rows = len(column)
        numbers = np.empty(rows, dtype=np.int64)
        found = np.empty(rows, dtype=np.bool_)
        present = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
        known: dict[str, int] = {}
        for start in range(0, rows, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, rows)
            values, shapes = block(start, stop)
            codes = self._shapes.codes(shapes)
            if present is not None:
                codes[~present[start:stop]] = _NO_NUMBER
            settled = codes > _NO_NUMBER
            numbers[start:stop] = np.where(settled, values + (codes - _BIAS), 0)
            still_open = np.flatnonzero(codes == _OPEN)
            if len(still_open):
                still_open += start
                numbers[still_open] = [self._number_or_0(text, known) for text in texts(still_open)]
        np.not_equal(numbers, 0, out=found)
        bitmap = None if found.all() else pa.py_buffer(np.packbits(found, bitorder="little"))
        return pa.Array.from_buffers(pa.int64(), rows, [bitmap, pa.py_buffer(numbers)])

    def _number_or_0(self, text: str, known: dict[str, int]) -> int:
        number = known.get(text)
        if number is None:
            if len(known) >= _MAX_REMEMBERED:
                known.clear()
            try:
                number = self._normalize(text)
            except InvalidNumber:
                number = 0
            known[text] = number
        return number


class _Shapes:
    """What a plan has settled, as one table that numpy can index.

    A shape is an index made of sign, first digits and length. The table is mostly untouched zeros, which take no
    memory until they are written.
    """

    def __init__(self, plan: NumberingPlan | EitherPlan) -> None:
        self._plan = plan
        self._table = np.zeros(2 * _SHAPES_PER_SIGN, dtype=np.int64)
        self._learning = ForkSafeLock()

    def codes(self, shapes: Int64s) -> Int64s:
        codes = self._table[shapes]
        if not codes.all():
            with self._learning:
                for shape in np.unique(shapes[codes == 0]).tolist():
                    if not self._table[shape]:
                        self._learn(shape)
            codes = self._table[shapes]
        return codes

    def _learn(self, shape: int) -> None:
        sign, rest = divmod(shape, _SHAPES_PER_SIGN)
        lead, length = divmod(rest, _LENGTHS)
        settled = None
        if shape != _UNSHAPED:
            settled = self._plan.settle(f"{lead:0{LEAD_DIGITS}}", length, international=bool(sign))
        if settled is None:
            self._table[shape] = _OPEN
            return
        # Fewer digits often decide: then all shapes that share them are learnt at once.
        alike = 10 ** (LEAD_DIGITS - settled.decided_by)
        first = shape - lead % alike * _LENGTHS
        code = _NO_NUMBER if settled.add is None else settled.add + _BIAS
        self._table[first : first + alike * _LENGTHS : _LENGTHS] = code


def _text_block(text: Bytes, bounds: Int64s) -> Block:
    """Read rows of text; ``bounds`` has one more than there are rows."""
    lengths = np.diff(bounds)
    if len(text) == 0:
        return np.zeros_like(lengths), np.zeros_like(lengths)
    if lengths.max() > _MAX_TEXT_BYTES:
        text = np.where(np.repeat(lengths > _MAX_TEXT_BYTES, lengths), np.uint8(ord("?")), text)
    weights = np.zeros(len(text) + 1, dtype=np.uint16)  # one more, for empty rows at the end to begin at
    np.take(_WEIGHTS, text, out=weights[:-1], mode="clip")
    sums = np.add.reduceat(weights, bounds[:-1], dtype=np.uint16)
    sums[lengths == 0] = _OTHER  # reduceat has no empty sum
    first = np.take(text, bounds[:-1], mode="clip")
    is_international = first == _PLUS
    sums -= is_international * np.uint16(_OTHER)
    counts = (sums & (_WEIGHED - 1)).astype(np.int64)

    # All rows' digits in one piece, with room for a load before the first and after the last one.
    digits = np.zeros(2 * _LOAD + int(counts.sum()) + _LOAD, dtype=np.uint8)
    digits[2 * _LOAD : -_LOAD] = np.compress((text - _ZERO) < 10, text)  # quicker than text[mask]
    loads: npt.NDArray[np.uint64] = np.ndarray(len(digits) - _LOAD + 1, dtype="<u8", buffer=digits, strides=(1,))
    ends = np.cumsum(counts) + 2 * _LOAD
    low = _number_of_load(loads[ends - _LOAD] & _KEEP_LAST[np.minimum(counts, _LOAD)])
    high = _number_of_load(loads[ends - 2 * _LOAD] & _KEEP_LAST[np.clip(counts - _LOAD, 0, _LOAD)])
    leads = _number_of_load(loads[ends - counts] << np.uint64(8 * (_LOAD - LEAD_DIGITS)))

    shaped = (counts >= LEAD_DIGITS) & (counts <= _MAX_DIGITS) & (sums < _OTHER)
    shaped &= (first - _ZERO < 10) | is_international | (first == _OPENING)
    in_century = (leads >= _FIRST_CENTURY) & (leads < _AFTER_CENTURIES)
    separators = lengths - counts
    may_be_date = (counts <= DATE_DIGITS_MAX) & ((separators >= 2) | (counts < DATE_DIGITS_MAX) | in_century)
    may_be_date |= (counts >= min(DATE_AND_TIME_DIGITS)) & in_century
    shaped &= ~may_be_date | is_international | (separators == 0)
    rows = np.flatnonzero(shaped & (sums >= _WEIGHED))
    if len(rows):
        shaped[rows] = _is_harmless(text, bounds[rows], bounds[rows + 1], counts[rows], is_international[rows])
    shapes = leads * _LENGTHS + counts + is_international * _SHAPES_PER_SIGN
    return high * 10**_LOAD + low, np.where(shaped, shapes, _UNSHAPED)


def _is_harmless(
    text: Bytes, starts: Int64s, stops: Int64s, counts: Int64s, is_international: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Rows whose parentheses and dots are separators for certain: see `numbers.text`.

    The rows of a well-kept column have one pair of parentheses each, so these are looked at all at once.
    """
    opening, closing = np.flatnonzero(text == _OPENING), np.flatnonzero(text == _CLOSING)
    if len(opening) == len(closing) and len(opening):
        before = np.searchsorted(opening, starts)
        if (
            (opening < closing).all()
            and (closing[:-1] < opening[1:]).all()
            and (text[opening + 1] - _ZERO < 10).all()
            and (np.searchsorted(closing, starts) == before).all()
        ):
            found = np.searchsorted(opening, stops) > before
            # Behind the parentheses one dot may stand, in a text with more digits than a date.
            dots = np.append(np.flatnonzero(text == _DOT), len(text))
            dots_before = np.searchsorted(dots, starts)
            dotted = np.searchsorted(dots, stops) - dots_before
            last_closing = closing[np.maximum(np.searchsorted(closing, stops) - 1, 0)]
            fits = (dotted == 0) | ((dotted == 1) & (dots[dots_before] > last_closing))
            is_open = found & ~((fits & (counts > DATE_DIGITS_MAX)) | (is_international & (dotted == 0)))
            rest = np.flatnonzero(~found)
            if len(rest):
                found[rest] = _is_harmless_row(text, starts[rest], stops[rest], counts[rest], is_international[rest])
            harmless: npt.NDArray[np.bool_] = found & ~is_open
            return harmless
    return _is_harmless_row(text, starts, stops, counts, is_international)


def _is_harmless_row(
    text: Bytes, starts: Int64s, stops: Int64s, counts: Int64s, is_international: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """The same, row by row."""
    # Every row's characters side by side, and zeros behind them.
    width = int((stops - starts).max())
    at = starts[:, np.newaxis] + np.arange(width)
    characters = np.where(at < stops[:, np.newaxis], np.take(text, at, mode="clip"), np.uint8(0))
    opening, closing, dots = ((characters == each) for each in (_OPENING, _CLOSING, _DOT))
    begins, ends = opening.argmax(axis=1), closing.argmax(axis=1)
    row = np.arange(len(starts))
    parentheses = opening.sum(axis=1) + closing.sum(axis=1)
    is_pair = (parentheses == 2) & opening[row, begins] & closing[row, ends] & (begins < ends)
    is_pair &= characters[row, np.minimum(begins + 1, width - 1)] - _ZERO < 10

    separating = dots.sum(axis=1)
    lengths = stops - starts
    tail = [characters[row, np.maximum(lengths - back, 0)] for back in (1, 2, 3, 4)]
    ends_with_digit = tail[0] - _ZERO < 10
    is_decimal = ~ends_with_digit | (tail[1] == _DOT) | (tail[2] == _DOT)
    # Dates have few digits or spaces, addresses three dots, amounts three digits at the end.
    is_grouped = (lengths == counts + separating) & (counts > DATE_DIGITS_MAX) & (separating >= 2) & (separating != 3)
    is_grouped &= ends_with_digit & (tail[3] != _DOT)
    is_pair &= (separating == 0) & (counts > DATE_DIGITS_MAX)
    found: npt.NDArray[np.bool_] = is_pair | ((parentheses == 0) & np.where(is_international, ~is_decimal, is_grouped))
    return found


def _integer_block(values: Int64s) -> Block:
    """Read integers, none of them negative, as the text of their digits."""
    counts = np.searchsorted(_POWERS_OF_TEN, values, side="right")
    shaped = (counts >= LEAD_DIGITS) & (counts <= _MAX_DIGITS)
    leads = values // _POWERS_OF_TEN[np.where(shaped, counts - LEAD_DIGITS, 0)]
    return values, np.where(shaped, leads * _LENGTHS + counts, _UNSHAPED)


def _number_of_load(loads: npt.NDArray[np.uint64]) -> Int64s:
    """Read eight ASCII digits, or zero bytes in front of fewer, from each load: pairs, then fours, then all eight."""
    numbers = ((loads & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)
    numbers = ((numbers & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)
    numbers = ((numbers & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10_000 * 2**32 + 1)) >> np.uint64(32)
    return numbers.view(np.int64)


_reader = lru_cache(maxsize=16)(_Reader)
