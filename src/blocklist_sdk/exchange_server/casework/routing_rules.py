"""Which feeds a decision reaches. The rules are in a file; ``docs/how-to/route-decisions.md`` has its format."""

import re
import tomllib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, get_args

from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import operator_of
from blocklist_sdk.numbers.operators import known_operators
from blocklist_sdk.numbers.reference import check_region, country_code_of, metadata_of
from blocklist_sdk.records import SCOPES, Scope
from blocklist_sdk.release.names import feed_name

NumberKind = Literal["any", "domestic", "foreign", "no-operator"]
"""Kinds of numbers: all; those with the region's country code; all others; and domestic ones of no known operator, such
as fixed lines and unassigned prefixes."""

_KEYS: Final = ("region", "feed")
_FEED_KEYS: Final = ("name", "operators", "numbers", "scopes")
_OPERATOR: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BYTES_MAX: Final = 1_000_000
"""Longest rules file, far more than any country's operators need."""


@dataclass(frozen=True, slots=True)
class FeedRule:
    """The numbers and scopes that one feed takes.

    Attributes:
        name: the feed's name.
        operators: the operators whose numbers it takes.
        numbers: the kind of other numbers that it takes; None if it takes no others.
        scopes: the scopes in which its recipients can block.
    """

    name: str
    operators: frozenset[str]
    numbers: NumberKind | None
    scopes: frozenset[Scope]

    def takes(self, *, operator: str | None, domestic: bool) -> bool:
        """Whether the feed takes a number.

        Args:
            operator: the number's operator; None if unknown.
            domestic: whether it has the region's country code.
        """
        if operator is not None and operator in self.operators:
            return True
        match self.numbers:
            case None:
                return False
            case "any":
                return True
            case "domestic":
                return domestic
            case "foreign":
                return not domestic
            case "no-operator":
                return domestic and operator is None


@dataclass(frozen=True)
class RoutingRules:
    """The rules of all feeds.

    Attributes:
        region: the country whose numbers are domestic.
        rules: one for each feed, in the order of the file.

    >>> routing = RoutingRules.default("ID")
    >>> routing.feeds
    ('id-telkomsel', 'id-indosat', 'id-xlsmart', 'id-psn', 'id-messaging', 'id-all')
    >>> routing.feeds_of(6281234567890, {"voice", "sms", "data", "messaging"})
    ('id-telkomsel', 'id-messaging', 'id-all')
    >>> routing.feeds_of(14155550100, {"voice", "sms"})
    ('id-all',)
    """

    region: str
    rules: tuple[FeedRule, ...]

    @classmethod
    def load(cls, path: Path) -> "RoutingRules":
        """Read rules from a file.

        Raises:
            InvalidInput: the file cannot be read, is not TOML, or has a rule that cannot be used.
        """
        try:
            if path.exists() and not path.is_file():
                raise InvalidInput(f"the rules {path} are not a regular file: give one")
            with path.open("rb") as file:
                data = file.read(_BYTES_MAX + 1)
            if len(data) > _BYTES_MAX:
                raise InvalidInput(f"the rules {path} have more than {_BYTES_MAX:,} bytes: give another file")
            text = decoded(data, f"the rules {path}")
        except (OSError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"cannot read the rules {path}: {error}") from error
        return cls.parse(text, source=str(path))

    @classmethod
    def default(cls, region: str) -> "RoutingRules":
        """The rules that come with the package for a region.

        Raises:
            InvalidInput: the region is unknown, or the package has no rules for it.
        """
        return cls.parse(cls.shipped(region), source=f"the rules for {region}")

    @classmethod
    def shipped(cls, region: str) -> str:
        """The text of the rules that come with the package for a region.

        Raises:
            InvalidInput: the region is unknown, or the package has no rules for it.
        """
        known = check_region(region)
        shipped = files("blocklist_sdk.exchange_server.casework") / "data" / f"routing-{known.lower()}.toml"
        if not shipped.is_file():
            raise InvalidInput(f"the package has no rules for the region {known}: write a file of your own")
        return shipped.read_text(encoding="utf-8")

    @classmethod
    def parse(cls, text: str, *, source: str) -> "RoutingRules":
        """Read rules from TOML.

        Args:
            text: the rules.
            source: where they are from, for messages, such as the file's name.

        Raises:
            InvalidInput: as for `load`.
        """
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{source} is not TOML: {error}") from error
        _check_keys(document, _KEYS, source)
        try:
            region = check_region(document.get("region", ""))
        except InvalidInput as error:
            raise InvalidInput(f"{source}, region: {error}") from error
        feeds = document.get("feed", [])
        if not isinstance(feeds, list) or not feeds or not all(isinstance(feed, dict) for feed in feeds):
            raise InvalidInput(f"{source} has no feed: write one [[feed]] for each")
        rules: dict[str, FeedRule] = {}
        for number, feed in enumerate(feeds, 1):
            rule = _rule(feed, f"{source}, feed {number}")
            if rule.name in rules:
                raise InvalidInput(f"{source}, feed {number}: {rule.name!r} is there twice")
            rules[rule.name] = rule
        return cls(region, tuple(rules.values()))

    @property
    def feeds(self) -> tuple[str, ...]:
        """The names of all feeds, in the order of the rules."""
        return tuple(rule.name for rule in self.rules)

    @property
    def scopes(self) -> dict[str, str]:
        """What each feed's recipients can act on, as the scope of a feed.

        >>> RoutingRules.default("ID").scopes["id-telkomsel"]
        'data+sms+voice'
        """
        return {rule.name: "+".join(sorted(rule.scopes)) for rule in self.rules}

    @property
    def unknown_operators(self) -> tuple[str, ...]:
        """Operators in the rules that are not in the package's table, for a warning about a possible misspelling.

        This is not an error, since a portability database (`register_operators`) may know others.
        """
        known = known_operators()
        return tuple(sorted({name for rule in self.rules for name in rule.operators} - known))

    def feeds_of(self, number: int, scope: Collection[str]) -> tuple[str, ...]:
        """The names of the feeds that a decision reaches, in the order of the rules.

        These are the feeds that take the number, and whose recipients can block in at least one of the scopes.

        Args:
            number: the number, as an E.164 integer.
            scope: where it is to be blocked.

        Raises:
            InvalidInput: the number is not an integer, or a scope is unknown. Errors of a registered resolver are
                not changed.
        """
        wanted = frozenset(scope)
        if unknown := sorted(wanted.difference(SCOPES)):
            raise InvalidInput(f"unknown scope {unknown[0]!r}: the scopes are {', '.join(SCOPES)}")
        operator = operator_of(number)
        domestic = country_code_of(str(number)) == self._country_code
        return tuple(
            rule.name
            for rule in self.rules
            if not rule.scopes.isdisjoint(wanted) and rule.takes(operator=operator, domestic=domestic)
        )

    def is_home(self, feed: str, number: int) -> bool:
        """Whether a feed's rule names the number's operator, whose word on the number's owner counts.

        >>> routing = RoutingRules.default("ID")
        >>> routing.is_home("id-telkomsel", 6281234567890), routing.is_home("id-all", 6281234567890)
        (True, False)
        """
        operator = operator_of(number)
        return any(rule.name == feed and operator in rule.operators for rule in self.rules)

    @cached_property
    def _country_code(self) -> int | None:
        return metadata_of(self.region).country_code


def _rule(feed: dict[str, Any], source: str) -> FeedRule:
    """One rule, checked."""
    try:
        name = feed_name(feed.get("name", ""))
    except InvalidInput as error:
        raise InvalidInput(f"{source}, name: {error}") from error
    source = f"{source} ({name})"
    _check_keys(feed, _FEED_KEYS, source)
    numbers = feed.get("numbers")
    if "numbers" in feed and numbers not in get_args(NumberKind):
        raise InvalidInput(f"{source}, numbers: {numbers!r} is not one of {', '.join(get_args(NumberKind))}")
    if numbers is None and "operators" not in feed:
        raise InvalidInput(f"{source} does not say which numbers it covers: give operators, numbers or both")
    operators = _texts(feed, "operators", source) if "operators" in feed else frozenset()
    for operator in sorted(operators):
        if not _OPERATOR.fullmatch(operator):
            raise InvalidInput(f"{source}, operators: {operator!r} is not an operator name such as 'telkomsel'")
    scopes = _texts(feed, "scopes", source)
    if unknown := sorted(scopes.difference(SCOPES)):
        raise InvalidInput(f"{source}, scopes: unknown scope {unknown[0]!r}; the scopes are {', '.join(SCOPES)}")
    return FeedRule(name, operators, numbers, frozenset(known for known in SCOPES if known in scopes))


def _texts(feed: dict[str, Any], key: str, source: str) -> frozenset[str]:
    """A non-empty list of different texts."""
    values = feed.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise InvalidInput(f'{source}, {key}: give a list with at least one text, such as {key} = ["…"]')
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise InvalidInput(f"{source}, {key}: {twice[0]!r} is there twice")
    return frozenset(values)


def _check_keys(table: dict[str, Any], known: tuple[str, ...], source: str) -> None:
    if unknown := sorted(table.keys() - set(known)):
        raise InvalidInput(f"{source}: unknown key {unknown[0]!r}; the keys are {', '.join(known)}")
