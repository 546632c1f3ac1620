"""JSON with one reading only (RFC 8259; I-JSON, RFC 7493).

Two readers may understand a text differently that has a key twice, is not UTF-8, or holds numbers that they round. A
filter in front of the exchange would then judge something else than the exchange stores. Such a text is refused, and so
is one that costs more to read than its length suggests.
"""

import codecs
import json
import math
import re
from typing import Any, Final

from blocklist_sdk.texts import counted

NESTING_MAX: Final = 8
"""Most objects and lists within each other; the deepest request has three."""

VALUES_MAX: Final = 100_000
"""Most values in a text: twice as many as the longest batch of receipts has. Each takes up to 80 bytes of memory."""

_DIGITS_MAX: Final = 20
"""Most characters of an integer: as many as the lowest of 64 bits has."""

_REAL_CHARS_MAX: Final = 40
"""Most characters of a number that is no integer."""

_STRING: Final = re.compile(rb'"[^"]*"')
_EMPTY: Final = re.compile(rb"\[\]|\{\}")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class NotStrictJson(ValueError):
    """A text is not JSON, or has more than one reading, or costs too much to read; says why."""


def read_json(content: bytes) -> Any:
    """The value that a text stands for.

    The work on anything but valid JSON is in proportion to the text's length, and memory to `VALUES_MAX`.

    Raises:
        NotStrictJson: it is not JSON with one reading, or beyond a limit.

    >>> read_json(b'{"serial": 7}')
    {'serial': 7}
    >>> read_json(b'{"serial": 7, "serial": 8}')
    Traceback (most recent call last):
    blocklist_sdk.exchange_server.http.strict_json.NotStrictJson: an object has a key twice
    """
    if not content:
        raise NotStrictJson("the body is empty")
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise NotStrictJson("the body must be UTF-8, without a byte order mark")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"the body must be UTF-8, which byte {error.start} is not") from error
    _check_structure(content)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"{error.msg} at character {error.pos}") from error


def _check_structure(content: bytes) -> None:
    """Check depth and number of values before anything is made of them.

    Raises:
        NotStrictJson: there are too many, or they are nested too deeply.
    """
    # What is left without strings is structure. In a text that is not JSON more may be left; a parser stops there.
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    has_many = plain.count(b'"') > 4 * VALUES_MAX  # each value may have a key, and each of both two quotes
    plain = b"" if has_many else _STRING.sub(b"", plain)
    if has_many or plain.count(b",") + plain.count(b"[") + plain.count(b"{") > VALUES_MAX:
        raise NotStrictJson(f"the body has more than {counted(VALUES_MAX, 'value')}")
    brackets = plain.translate(None, _NO_BRACKETS)
    for _ in range(NESTING_MAX):
        brackets = _EMPTY.sub(b"", brackets)
    if brackets:
        raise NotStrictJson(f"objects and lists must be closed, and nested at most {NESTING_MAX} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotStrictJson("an object has a key twice")
    return made


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise NotStrictJson(f"an integer has more than {_DIGITS_MAX} characters")
    return int(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= _REAL_CHARS_MAX else math.inf
    if not math.isfinite(value):
        raise NotStrictJson("a number is too large, or has too many digits")
    return value


def _constant(text: str) -> float:
    raise NotStrictJson(f"{text} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
