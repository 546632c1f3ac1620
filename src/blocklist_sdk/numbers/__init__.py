"""Telephone numbers: text to E.164 integer and back, ranges, operators.

A number is an integer of at most 15 digits throughout this library: ``+62 812-3456-7890`` is ``6281234567890``. The
numbering plans (phonenumbers) load at the first number that is read, pyarrow and numpy at the first column.
"""

from typing import TYPE_CHECKING, Any

from blocklist_sdk.numbers.e164 import check_e164, format_e164
from blocklist_sdk.numbers.operators import OperatorResolver, brand_of, operator_of, register_operators

if TYPE_CHECKING:
    from blocklist_sdk.numbers.columns import normalize_column as normalize_column
    from blocklist_sdk.numbers.fast import normalize as normalize
    from blocklist_sdk.numbers.fast import normalizer as normalizer
    from blocklist_sdk.numbers.patterns import NumberRange as NumberRange
    from blocklist_sdk.numbers.patterns import parse_pattern as parse_pattern

_HOME = {
    "NumberRange": "patterns",
    "normalize": "fast",
    "normalize_column": "columns",
    "normalizer": "fast",
    "parse_pattern": "patterns",
}
"""Where each name lives that loads something heavy."""

__all__ = [
    "NumberRange",
    "OperatorResolver",
    "brand_of",
    "check_e164",
    "format_e164",
    "normalize",
    "normalize_column",
    "normalizer",
    "operator_of",
    "parse_pattern",
    "register_operators",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
