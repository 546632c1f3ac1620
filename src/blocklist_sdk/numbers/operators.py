"""Which operator a number belongs to.

Indonesia comes with the package: it has no working number portability, so the prefix decides. Where numbers are
ported, only the country's portability database knows; :func:`register_operators` plugs it in.
"""

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.locks import ForkSafeLock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OperatorResolver = Callable[[int], str | None]
"""Takes an E.164 number as an integer and returns the operator's slug, or None when it is unallocated or unknown."""

INDONESIA = 62
"""Country code; ITU-T E.164 list of assigned codes."""

_MOBILE_DIGITS = range(11, 15)
"""Digits of an Indonesian mobile number with its country code: 62 and 9 to 12 more (libphonenumber 9.0.43, mobile).
What is shorter or longer has no operator, however it begins."""

_MAX_COUNTRY_CODE_DIGITS = 3
"""ITU-T E.164 (11/2010), 6.2.2. No code begins with another one."""

_PREFIX_DIGITS: Final = 7
"""The longest prefix of the package's table."""

_PREFIXES_MAX: Final = 100
"""A prefix of five digits has this many of seven."""

_POWERS: Final = [10**power for power in range(19)]

_resolvers: dict[int, OperatorResolver] = {}
_registering = ForkSafeLock()


def operator_of(number: int) -> str | None:
    """Return the slug of the operator that serves a number, or None if it is not known.

    In Indonesia: ``telkomsel``, ``indosat``, ``xlsmart`` (XL, AXIS and Smartfren since their merger on 2025-04-16)
    and the satellite operator ``psn``; fixed lines, service numbers (0800, 0804, 0809) and unallocated prefixes
    give None. ``data/id.csv`` has the source of each prefix.

    Args:
        number: the E.164 digits as an integer.

    Raises:
        InvalidInput: it is not an integer. What a registered resolver raises goes through.

    >>> operator_of(6281234567890), operator_of(6288412345678), operator_of(628001234567)
    ('telkomsel', 'xlsmart', None)
    """
    digits = _digits(number)
    resolver = _resolver_of(digits)
    return _allocated(digits)[0] if resolver is None else resolver(number)


def operator_of_range(first: int, last: int) -> str | None:
    """Return the slug of the operator that serves every number of a range, or None.

    None also if a registered resolver would have to be asked for each number, or if the range is wider than a prefix of
    five digits.

    Args:
        first: the E.164 digits as an integer.
        last: the same.

    >>> operator_of_range(6281234560000, 6281234569999), operator_of_range(6281200000000, 6281999999999)
    ('telkomsel', None)
    """
    if first == last:
        return operator_of(first)
    low, high = _digits(first), _digits(last)
    prefixes = range(int(low[:_PREFIX_DIGITS]), int(high[:_PREFIX_DIGITS]) + 1)
    if len(low) != len(high) or len(prefixes) > _PREFIXES_MAX or _resolver_of(low) or _resolver_of(high):
        return None
    rest = low[_PREFIX_DIGITS:]
    found = {_allocated(f"{prefix}{rest}")[0] for prefix in prefixes}
    return found.pop() if len(found) == 1 else None


def operator_codes(numbers: "NDArray[np.int64]") -> "tuple[NDArray[np.int32], tuple[str, ...]]":
    """Operators of many numbers at once.

    Args:
        numbers: E.164 integers.

    Returns:
        For each number a position among the names, -1 where no operator is known; and the names.

    >>> import numpy as np
    >>> operator_codes(np.array([6281234567890, 14155550100, 6281298765432]))
    (array([ 0, -1,  0], dtype=int32), ('telkomsel',))
    """
    import numpy as np

    digits = np.searchsorted(_POWERS, numbers, "right")
    # The package's table goes by length and leading digits; a resolver may answer differently for each number.
    key = numbers // np.array(_POWERS)[np.maximum(digits - _PREFIX_DIGITS, 0)] * 100 + digits
    for code in _resolvers:
        of_country = numbers // np.array(_POWERS)[np.maximum(digits - len(str(code)), 0)] == code
        key[of_country] = -numbers[of_country]
    _, example, group = np.unique(key, return_index=True, return_inverse=True)
    found = [operator_of(number) for number in numbers[example].tolist()]
    names = tuple(sorted({name for name in found if name is not None}))
    place = {name: i for i, name in enumerate(names)}
    codes = np.array([-1 if name is None else place[name] for name in found] or [-1], np.int32)
    return codes[group] if len(numbers) else np.empty(0, np.int32), names


def brand_of(number: int) -> str | None:
    """Return the brand a number was issued under, or None.

    Several names joined by ``/`` are brands that share a prefix. Brands come from the package's own
    table only: a resolver given to :func:`register_operators` does not change them.

    Args:
        number: the E.164 digits as an integer.

    Raises:
        InvalidInput: it is not an integer.

    >>> brand_of(6285155123456), brand_of(628381234567), brand_of(14155550100)
    ('by.U', 'AXIS', None)
    """
    return _allocated(_digits(number))[1]


def known_operators() -> frozenset[str]:
    """Return the slugs of all operators in the package's own table.

    >>> sorted(known_operators())
    ['indosat', 'psn', 'telkomsel', 'xlsmart']
    """
    return frozenset(operator for operator, _brand in _indonesia().values())


def register_operators(country_code: int, resolver: OperatorResolver | None) -> None:
    """Let a resolver answer :func:`operator_of` for every number of a country code, such as a portability database.

    It replaces the resolver registered before and the package's own table; None removes it. The registry belongs to the
    process and may be changed while other threads use it; the resolver is called from the calling thread, so it must be
    thread-safe.

    Args:
        country_code: the calling code, 1 to 999; a code that several countries share goes to one resolver.
        resolver: takes the E.164 integer, returns a slug or None.

    Raises:
        InvalidInput: `country_code` is not an integer from 1 to 999.

    >>> register_operators(47, {4791234567: "telenor"}.get)
    >>> operator_of(4791234567)
    'telenor'
    >>> register_operators(47, None)
    """
    global _resolvers
    if type(country_code) is not int or not 1 <= country_code <= 999:
        raise InvalidInput(f"a country code is an integer from 1 to 999, not {country_code!r}")
    with _registering:
        changed = {code: known for code, known in _resolvers.items() if code != country_code}
        if resolver is not None:
            changed[country_code] = resolver
        _resolvers = changed  # one assignment: other threads see the old registry or the new one


def _digits(number: int) -> str:
    if type(number) is not int:
        raise InvalidInput(f"an operator is looked up by an E.164 integer, not by {type(number).__name__}")
    return str(max(number, 0))


def has_resolver() -> bool:
    """Whether a resolver is registered, whose answers may change from one day to the next."""
    return bool(_resolvers)


def _resolver_of(digits: str) -> OperatorResolver | None:
    if not _resolvers:
        return None
    codes = (int(digits[:length]) for length in range(1, _MAX_COUNTRY_CODE_DIGITS + 1))
    return next((_resolvers[code] for code in codes if code in _resolvers), None)


def _allocated(digits: str) -> tuple[str | None, str | None]:
    if len(digits) in _MOBILE_DIGITS and digits.startswith(str(INDONESIA)):
        table = _indonesia()
        return table.get(digits[:7]) or table.get(digits[:5]) or (None, None)
    return None, None


@cache
def _indonesia() -> dict[str, tuple[str, str]]:
    """Read the table: from each prefix, of 5 digits or 7, to operator and brand."""
    table = (files("blocklist_sdk.numbers") / "data" / "id.csv").read_text(encoding="utf-8")
    return {
        str(prefix): (row["operator"], row["brand"])
        for row in csv.DictReader(table.splitlines())
        for prefix in range(int(row["first"]), int(row["last"]) + 1)
    }
