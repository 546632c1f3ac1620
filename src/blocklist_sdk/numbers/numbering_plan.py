"""The answer of the reference to all texts with the same first digits and length.

Most texts of one shape get one answer: "these digits, with 62 for the 0 in front". :class:`NumberingPlan` works it out
once for a shape, exactly (see :mod:`blocklist_sdk.numbers.automaton`), as a number to add to the digits read as an
integer; after that, reading such a text costs a look-up and an addition. Shapes whose texts get different answers are
left to :mod:`blocklist_sdk.numbers.reference`, whose rules this module follows one by one.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc

from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.automaton import DigitPattern, Fate, PrefixPattern
from blocklist_sdk.numbers.text import Form

LEAD_DIGITS: Final = 5
"""How many first digits make a shape. Five hold a country code and at least two digits after it, which is what plans
mostly decide by; a table by five digits still fits a processor's cache where the traffic is."""

MAX_DIGITS: Final = 19
"""Longest digits a shape is made for: an international prefix of four and a number of fifteen. Longer texts go to the
reference."""


_settling = ForkSafeLock()
"""Plans share countries, and an automaton grows while it is asked."""


class Settled(NamedTuple):
    """The one answer to all texts of a shape.

    Attributes:
        add: what makes the E.164 number out of the digits read as an integer; None if they are not a number.
        decided_by: how many first digits were enough; every shape that shares them has the same answer.
    """

    add: int | None
    decided_by: int = LEAD_DIGITS


_NO_NUMBER = Settled(None)

SHORTEST_LEAD: Final = 3
"""How many first digits are tried first: with three the country code is known (ITU-T E.164 (11/2010), 6.2.2)."""

_NUMBER_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)
"""The descriptions in libphonenumber's metadata of which a valid number matches at least one."""


class NumberingPlan:
    """Answers by shape for texts read in one region.

    Args:
        region: two-letter code as :func:`reference.check_region` returns it, or None for international forms only.
        strict: answer for valid numbers only.
        form: ``international`` if digits without a plus begin with a country code.

    >>> plan = NumberingPlan("ID", strict=False)
    >>> plan.settle("08123", 12, international=False)
    Settled(add=6200000000000, decided_by=3)
    """

    def __init__(self, region: str | None, *, strict: bool, form: Form = "national") -> None:
        with _settling:
            self._region = None if region is None else _region(region)
        self._strict = strict
        self._country_code_first = form == "international"
        self._settled: dict[tuple[str, int, bool], Settled | None] = {}

    def settle(self, lead: str, length: int, *, international: bool) -> Settled | None:
        """Return the answer to texts of ``length`` digits that begin with ``lead``; None when they have no common one.

        Args:
            lead: the first :data:`LEAD_DIGITS` digits.
            length: how many digits there are in all, from :data:`LEAD_DIGITS` to :data:`MAX_DIGITS`.
            international: whether a ``+`` is in front of them.
        """
        for digits in range(SHORTEST_LEAD, LEAD_DIGITS + 1):
            shape = lead[:digits], length, international
            if shape not in self._settled:
                with _settling:
                    self._settled[shape] = self._answer(*shape)
            answer = self._settled[shape]
            if answer is not None:
                return answer
        return None

    def _answer(self, lead: str, length: int, international: bool) -> Settled | None:
        answer = self._international(lead, length) if international else self._from_inside(lead, length)
        return answer and answer._replace(decided_by=len(lead))

    def _international(self, lead: str, length: int) -> Settled | None:
        country_code = reference.country_code_of(lead)
        if country_code is None:
            return _NO_NUMBER
        country, code = _country(country_code), str(country_code)
        national = country.main.without_trunk(lead[len(code) :], length - len(code))
        if national is None:
            return None
        return self._number(country, national, stripped=lead[: len(lead) - len(national.lead)], code=code)

    def _from_inside(self, lead: str, length: int) -> Settled | None:
        region = self._region
        if self._country_code_first and not lead.startswith("0"):
            return self._international(lead, length)
        if region is None:
            is_open = self._country_code_first and lead.startswith(reference.INTERNATIONAL_PREFIX)
            return None if is_open else _NO_NUMBER
        if any(lead.startswith(prefix) or prefix.startswith(lead) for prefix in region.international_prefixes):
            return None
        if region.own_international_prefix.length_in(lead, length) != 0:
            return None
        if not lead.startswith(region.country.code):
            return self._national(lead, length)
        return self._code_without_plus(lead, length)

    def _code_without_plus(self, lead: str, length: int) -> Settled | None:
        region = self._region
        assert region is not None
        with_code, without = self._international(lead, length), self._national(lead, length)
        if with_code == without:
            return with_code
        code = region.country.code
        rest = region.country.main.without_trunk(lead[len(code) :], length - len(code))
        valid = Fate.SOME if rest is None else region.country.valid(rest)
        if valid is Fate.NONE:
            return without
        return with_code if valid is Fate.ALL and region.has_trunk else None

    def _national(self, lead: str, length: int) -> Settled | None:
        region = self._region
        assert region is not None
        code = region.country.code
        if lead.startswith(code):
            rest = _Digits(lead[len(code) :], length - len(code))
            whole, after_code = region.general.fate(lead, length), region.general.fate(*rest)
            if not (region.has_no_trunk_in(rest) and region.country.main.has_no_trunk_in(rest)):
                return None
            if region.too_long(length) or (whole is Fate.NONE and after_code is Fate.ALL):
                return self._number(region.country, rest, stripped=code, code=code)
            if whole is not Fate.ALL and after_code is not Fate.NONE:
                return None
        national = region.without_trunk(lead, length)
        if national is None:
            return None
        return self._number(region.country, national, stripped=lead[: len(lead) - len(national.lead)], code=code)

    def _number(self, country: "_Country", national: "_Digits", *, stripped: str, code: str) -> Settled | None:
        """Settle a national number; `stripped` is in front of it in the text, `code` belongs there instead."""
        if country.is_maybe_rewritten(national):
            return None
        fate = country.fate(national, strict=self._strict)
        if fate is Fate.SOME:
            return None
        if fate is Fate.NONE:
            return _NO_NUMBER
        if country.main.without_trunk(*national) != national:
            return None  # its E.164 form may be read as another number
        return Settled((int(code) - int(stripped or "0")) * 10**national.length)


class _Digits(NamedTuple):
    """All digit strings of one length that begin alike."""

    lead: str
    length: int


class _Description:
    """One region's numbering plan, as far as it depends on the shape alone."""

    def __init__(self, metadata: PhoneMetadata) -> None:
        general = metadata.general_desc
        assert general is not None
        self._lengths = general.possible_length
        self._local_lengths = general.possible_length_local_only
        self.general = DigitPattern(general.national_number_pattern)
        self._trunk = PrefixPattern(
            metadata.national_prefix_for_parsing, rewrites=bool(metadata.national_prefix_transform_rule)
        )
        self._kinds = [kind for name in _NUMBER_KINDS if (kind := getattr(metadata, name))]
        self._valid: dict[int, DigitPattern] = {}

    def too_long(self, length: int) -> bool:
        return length > self._lengths[-1] and length not in self._local_lengths

    def possible(self, length: int) -> bool:
        return length in self._lengths

    def valid(self, digits: _Digits) -> Fate:
        """Whether the digits match the plan and one of its kinds of number."""
        if not self.possible(digits.length):
            return Fate.NONE
        if digits.length not in self._valid:
            self._valid[digits.length] = _any_of(self._kinds, digits.length)
        general, kinds = self.general.fate(*digits), self._valid[digits.length].fate(*digits)
        if Fate.NONE in (general, kinds):
            return Fate.NONE
        return general | kinds

    def has_no_trunk_in(self, digits: _Digits) -> bool:
        return self._trunk.length_in(*digits) == 0

    def without_trunk(self, lead: str, length: int) -> _Digits | None:
        """Strip the national prefix as libphonenumber does; None when that differs from text to text."""
        digits = _Digits(lead, length)
        trunk_length = self._trunk.length_in(lead, length)
        if trunk_length is None:
            return None
        rest = _Digits(lead[trunk_length:], length - trunk_length)
        if self.general.fate(*digits) is not Fate.NONE and self.general.fate(*rest) is not Fate.ALL:
            return digits if rest == digits else None
        return rest if self.possible(rest.length) or self.too_long(rest.length) else digits


class _Country:
    """The plans that numbers of one country code must match."""

    def __init__(self, country_code: int) -> None:
        self.code = str(country_code)
        regions = COUNTRY_CODE_TO_REGION_CODE[country_code]
        self._alone = len(regions) == 1
        self._goes_by_lead = reference.main_metadata(country_code).leading_digits is not None
        self.main = _Description(reference.main_metadata(country_code))
        self._zero_is_trunk = reference.trunk_is_zero(country_code)
        undiallable = reference.UNDIALLABLE.get(country_code)
        self._undiallable = DigitPattern(undiallable.pattern if undiallable else None)
        rewriting = reference.REWRITINGS.get(country_code)
        self._rewritten = DigitPattern(rewriting.old.pattern if rewriting else None)
        short_plans = [PhoneMetadata.short_metadata_for_region(region) for region in regions]
        shorts = [plan.short_code for plan in short_plans if plan and plan.short_code]
        self._short = {length: _any_of(shorts, length) for short in shorts for length in short.possible_length}

    def valid(self, national: _Digits) -> Fate:
        """Whether the numbers are valid in their plan; SOME also if only another region's plan can answer."""
        valid = self.main.valid(national)
        return valid if self._alone or (valid is Fate.ALL and not self._goes_by_lead) else Fate.SOME

    def fate(self, national: _Digits, *, strict: bool) -> Fate:
        """Whether they are E.164 numbers at all: :func:`reference.why_not`, for a shape."""
        if not self.main.possible(national.length):
            return Fate.NONE
        if len(self.code) + national.length > reference.MAX_E164_DIGITS:
            return Fate.NONE
        undiallable = self._undiallable.fate(*national)
        if undiallable is not Fate.NONE:
            return Fate.NONE if undiallable is Fate.ALL else Fate.SOME
        maybe_zero = self._zero_is_trunk and national.lead[:1] in ("0", "")
        if not (strict or maybe_zero or self._is_maybe_short(national)):
            return Fate.ALL
        # A valid one is always a number; an invalid one is not if validity is required. Otherwise it remains open: the
        # text may begin with the trunk zero, or may be a short code.
        valid = self.valid(national)
        return valid if strict or valid is Fate.ALL or (maybe_zero and national.lead) else Fate.SOME

    def is_maybe_rewritten(self, national: _Digits) -> bool:
        """Whether one of them may be in an older form: :data:`reference.REWRITINGS`."""
        return self._rewritten.fate(*national) is not Fate.NONE

    def _is_maybe_short(self, national: _Digits) -> bool:
        short = self._short.get(national.length)
        return short is not None and short.fate(*national) is not Fate.NONE


def valid_numbers(country_code: int, length: int) -> DigitPattern:
    """Return what the valid national numbers of a length match, in any region that has the country code."""
    regions = COUNTRY_CODE_TO_REGION_CODE[country_code]
    plans = [PhoneMetadata.metadata_for_region_or_calling_code(country_code, region) for region in regions]
    return _any_of([kind for plan in plans for name in _NUMBER_KINDS if (kind := getattr(plan, name, None))], length)


def _any_of(kinds: Iterable[PhoneNumberDesc], length: int) -> DigitPattern:
    """Join the patterns of those kinds that have numbers of a length; no lengths stand for every one."""
    patterns = {
        kind.national_number_pattern
        for kind in kinds
        if kind.national_number_pattern and (not kind.possible_length or length in kind.possible_length)
    }
    return DigitPattern("|".join(f"(?:{pattern})" for pattern in sorted(patterns)))


class _Region(_Description):
    """A region that texts are read in."""

    def __init__(self, region: str) -> None:
        metadata = reference.metadata_of(region)
        super().__init__(metadata)
        assert metadata.country_code is not None
        self.country = _country(metadata.country_code)
        self.has_trunk = reference.has_trunk_prefix(region)
        self.international_prefixes = (
            reference.INTERNATIONAL_PREFIX,
            *reference.MORE_INTERNATIONAL_PREFIXES.get(region, ()),
        )
        self.own_international_prefix = PrefixPattern(metadata.international_prefix)


_country = lru_cache(maxsize=None)(_Country)
_region = lru_cache(maxsize=None)(_Region)
