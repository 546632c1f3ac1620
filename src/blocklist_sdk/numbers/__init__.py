"""Telephone numbers: text to E.164 integer and back, ranges, operators.

A number is an integer of at most 15 digits throughout this library: ``+62 812-3456-7890`` is ``6281234567890``. The
numbering plans (phonenumbers) load at the first number that is read, pyarrow and numpy at the first column.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.numbers.e164 import check_e164 as check_e164
    from blocklist_sdk.numbers.e164 import format_e164 as format_e164
    from blocklist_sdk.numbers.fast import normalize as normalize
    from blocklist_sdk.numbers.fast import normalizer as normalizer
    from blocklist_sdk.numbers.forms import FormDecision as FormDecision
    from blocklist_sdk.numbers.forms import decide_form as decide_form
    from blocklist_sdk.numbers.forms import normalize_column as normalize_column
    from blocklist_sdk.numbers.operators import OperatorResolver as OperatorResolver
    from blocklist_sdk.numbers.operators import brand_of as brand_of
    from blocklist_sdk.numbers.operators import operator_of as operator_of
    from blocklist_sdk.numbers.operators import register_operators as register_operators
    from blocklist_sdk.numbers.patterns import NumberRange as NumberRange
    from blocklist_sdk.numbers.patterns import parse_pattern as parse_pattern
    from blocklist_sdk.numbers.text import Form as Form

attach(
    __name__,
    {
        "Form": "text",
        "FormDecision": "forms",
        "NumberRange": "patterns",
        "OperatorResolver": "operators",
        "brand_of": "operators",
        "check_e164": "e164",
        "decide_form": "forms",
        "format_e164": "e164",
        "normalize": "fast",
        "normalize_column": "forms",
        "normalizer": "fast",
        "operator_of": "operators",
        "parse_pattern": "patterns",
        "register_operators": "operators",
    },
)
