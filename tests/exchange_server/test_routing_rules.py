"""Routing rules: which feeds a decision reaches, on the whole numbering plan, against an oracle of its own."""

import csv
import itertools
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import phonenumbers
import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange_server.casework.routing_rules import FeedRule, RoutingRules
from blocklist_sdk.numbers import register_operators
from blocklist_sdk.records import SCOPES

EVERYWHERE = frozenset(SCOPES)
EVERY_SCOPE = [
    frozenset(chosen) for count in range(1, 5) for chosen in itertools.combinations(sorted(EVERYWHERE), count)
]


@pytest.fixture(scope="module")
def routing() -> RoutingRules:
    return RoutingRules.default("ID")


@pytest.fixture
def no_resolvers() -> Iterator[None]:
    yield
    register_operators(62, None)
    register_operators(47, None)


def prefixes() -> dict[str, str]:
    """The table as it lies in the package: operator by prefix."""
    text = (files("blocklist_sdk.numbers") / "data" / "id.csv").read_text(encoding="utf-8")
    return {
        str(prefix): row["operator"]
        for row in csv.DictReader(text.splitlines())
        for prefix in range(int(row["first"]), int(row["last"]) + 1)
    }


def expected(operator: str | None, scope: frozenset[str]) -> tuple[str, ...]:
    """What `docs/how-to/route-decisions.md` promises, said another way round."""
    if scope == {"messaging"}:
        return ("id-messaging", "id-all")
    home = () if operator is None else (f"id-{operator}",)
    return (*home, *(["id-messaging"] if "messaging" in scope else []), "id-all")


@pytest.mark.parametrize("scope", EVERY_SCOPE, ids=lambda scope: "+".join(sorted(scope)))
def test_every_mobile_prefix_reaches_its_operator_and_those_that_take_all(
    routing: RoutingRules, scope: frozenset[str]
) -> None:
    """All prefixes 0800 to 0899, and the five digits beyond where the table goes on, at every length of a number."""
    table = prefixes()
    asked = 0
    for prefix in range(6280000, 6290000):
        operator = table.get(str(prefix)) or table.get(str(prefix)[:5])
        for digits in range(11, 15):
            number = int(str(prefix).ljust(digits, "3"))
            assert routing.feeds_of(number, scope) == expected(operator, scope), number
            asked += 1
    assert asked == 40_000


def test_the_plan_is_not_only_asked_about_what_it_has() -> None:
    table = prefixes()
    assert set(table.values()) == {"telkomsel", "indosat", "xlsmart", "psn"}
    assert {len(prefix) for prefix in table} == {5, 7}


@pytest.mark.parametrize("area", ["21", "22", "24", "31", "61", "274", "361", "411", "751", "901", "986"])
def test_a_fixed_line_reaches_only_those_who_can_act_on_it(routing: RoutingRules, area: str) -> None:
    for line in ("345678", "3456789", "34567890"):
        assert routing.feeds_of(int(f"62{area}{line}"), EVERYWHERE) == ("id-messaging", "id-all")
        assert routing.feeds_of(int(f"62{area}{line}"), {"voice"}) == ("id-all",)


UNALLOCATED = "810 820 824 827 828 830 834 839 840 849 850 854 860 867 869 870 876 880 890"


@pytest.mark.parametrize("prefix", UNALLOCATED.split())
def test_a_prefix_that_is_given_to_nobody_reaches_no_operator(routing: RoutingRules, prefix: str) -> None:
    for digits in range(9, 13):
        number = int("62" + prefix.ljust(digits, "7"))
        assert routing.feeds_of(number, EVERYWHERE) == ("id-messaging", "id-all")


def test_a_number_of_a_length_that_is_none_reaches_no_operator(routing: RoutingRules) -> None:
    for number in (6281234567, 628123456789012):
        assert routing.feeds_of(number, EVERYWHERE) == ("id-messaging", "id-all")


def foreign_examples() -> list[tuple[str, int]]:
    """Example numbers of all other regions and of the networks that belong to none, of every kind there is."""
    kinds = [
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.TOLL_FREE,
    ]
    found = [
        (region, phonenumbers.example_number_for_type(region, kind))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"ID"})
        for kind in kinds
    ]
    found += [
        (str(code), phonenumbers.example_number_for_non_geo_entity(code))
        for code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
    ]
    return [
        (region, int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)))
        for region, number in found
        if number is not None
    ]


def test_a_foreign_number_reaches_only_those_who_can_act_on_it(routing: RoutingRules) -> None:
    examples = foreign_examples()
    assert len({region for region, _number in examples}) > 240
    for region, number in examples:
        for scope in EVERY_SCOPE:
            assert routing.feeds_of(number, scope) == expected(None, scope), (region, number)


RULES = """
region = "ID"
[[feed]]
name = "any"
numbers = "any"
scopes = ["sms"]
[[feed]]
name = "domestic"
numbers = "domestic"
scopes = ["sms"]
[[feed]]
name = "foreign"
numbers = "foreign"
scopes = ["sms"]
[[feed]]
name = "no-operator"
numbers = "no-operator"
scopes = ["sms"]
[[feed]]
name = "psn-and-foreign"
operators = ["psn"]
numbers = "foreign"
scopes = ["sms", "voice"]
[[feed]]
name = "two"
operators = ["indosat", "psn"]
scopes = ["sms"]
"""


@pytest.mark.parametrize(
    ("number", "feeds"),
    [
        (6281234567890, "any domestic"),
        (6281434567890, "any domestic two"),
        (6286834567890, "any domestic psn-and-foreign two"),
        (6281034567890, "any domestic no-operator"),
        (62211234567, "any domestic no-operator"),
        (14155550100, "any foreign psn-and-foreign"),
        (6591234567, "any foreign psn-and-foreign"),
    ],
)
def test_each_kind_of_numbers_means_what_it_says(number: int, feeds: str) -> None:
    routing = RoutingRules.parse(RULES, source="rules")
    assert routing.feeds_of(number, {"sms"}) == tuple(feeds.split())
    assert routing.feeds_of(number, {"voice"}) == tuple(feed for feed in feeds.split() if feed == "psn-and-foreign")
    assert routing.feeds_of(number, {"data"}) == routing.feeds_of(number, ()) == ()


def test_domestic_is_what_has_the_country_code_of_the_region() -> None:
    rules = '[[feed]]\nname = "home"\nnumbers = "domestic"\nscopes = ["sms"]\n'
    for region, number in (("GB", 447400123456), ("US", 14155550100), ("CA", 14155550100), ("sg", 6581234567)):
        routing = RoutingRules.parse(f'region = "{region}"\n{rules}', source="rules")
        assert routing.region == region.upper()
        assert routing.feeds_of(number, {"sms"}) == ("home",)
        assert routing.feeds_of(6281234567890, {"sms"}) == ()


@pytest.mark.usefixtures("no_resolvers")
def test_a_portability_database_decides_where_there_is_one(routing: RoutingRules) -> None:
    register_operators(62, {6281234567890: "indosat"}.get)
    assert routing.feeds_of(6281234567890, {"voice"}) == ("id-indosat", "id-all")
    assert routing.feeds_of(6281234567891, {"voice"}) == ("id-all",)
    register_operators(47, lambda number: "telenor")
    rules = 'region = "NO"\n[[feed]]\nname = "no-telenor"\noperators = ["telenor"]\nscopes = ["sms"]\n'
    other = RoutingRules.parse(rules, source="rules")
    assert other.feeds_of(4791234567, {"sms"}) == ("no-telenor",)
    assert other.unknown_operators == ("telenor",)


def test_every_operator_of_the_table_has_a_feed_and_the_rules_name_no_other(routing: RoutingRules) -> None:
    assert routing.unknown_operators == ()
    assert {name for rule in routing.rules for name in rule.operators} == set(prefixes().values())


def test_a_decision_always_reaches_somebody_by_default(routing: RoutingRules) -> None:
    for number in (6281234567890, 62211234567, 14155550100):
        assert all(routing.feeds_of(number, scope) for scope in EVERY_SCOPE)


def test_the_order_of_the_feeds_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(RULES, encoding="utf-8")
    routing = RoutingRules.load(path)
    assert routing.feeds == ("any", "domestic", "foreign", "no-operator", "psn-and-foreign", "two")
    assert routing == RoutingRules.parse(RULES, source="elsewhere")
    assert routing.rules[4] == FeedRule("psn-and-foreign", frozenset({"psn"}), "foreign", frozenset({"sms", "voice"}))


FEED = '[[feed]]\nname = "id-x"\nnumbers = "any"\nscopes = ["sms"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"region: unknown region ''"),
        ("region = ", r"is not TOML: Invalid value \(at end of document\)"),
        ('region = "ID"\nregion = "ID"\n', r"is not TOML: .*line 2"),
        ("a = [" * 5000, r"is not TOML"),
        (FEED, r"region: unknown region ''"),
        (f'region = "XX"\n{FEED}', r"region: unknown region 'XX'"),
        (f"region = 62\n{FEED}", r"region: unknown region 62"),
        ('region = "ID"\n', r"has no feed: write one \[\[feed\]\] for each"),
        ('region = "ID"\nfeed = []\n', r"has no feed"),
        ('region = "ID"\nfeed = "id-all"\n', r"has no feed"),
        ('region = "ID"\nfeed = ["id-all"]\n', r"has no feed"),
        ('region = "ID"\n[feed]\nname = "id-all"\n', r"has no feed"),
        (f'region = "ID"\nfeeds = 1\n{FEED}', r": unknown key 'feeds'; the keys are region, feed"),
        (
            f'region = "ID"\n{FEED}level = "block"\n',
            r", feed 1 \(id-x\): unknown key 'level'; the keys are name",
        ),
        (f'region = "ID"\n{FEED}{FEED}', r", feed 2: 'id-x' is there twice"),
        ('region = "ID"\n[[feed]]\nnumbers = "any"\nscopes = ["sms"]', r", feed 1, name: '' is not a feed name"),
        (f'region = "ID"\n{FEED.replace("id-x", "ID X")}', r", feed 1, name: 'ID X' is not a feed name"),
        (f'region = "ID"\n{FEED.replace("id-x", "snapshot")}', r", feed 1, name: 'snapshot' is not a feed name"),
        (f'region = "ID"\n{FEED.replace("id-x", "x" * 65)}', r"is not a feed name"),
        (f'region = "ID"\n{FEED.replace(chr(34) + "id-x" + chr(34), "7")}', r"name: 7 is not a feed name"),
        (
            f'region = "ID"\n{FEED.replace("any", "some")}',
            r"numbers: 'some' is not one of any, domestic, foreign",
        ),
        (f'region = "ID"\n{FEED.replace(chr(34) + "any" + chr(34), "[1]")}', r"numbers: \[1\] is not one of"),
        (f'region = "ID"\n{FEED.replace("numbers", "#")}', r"\(id-x\) does not say which numbers it covers"),
        (f'region = "ID"\n{FEED}operators = []\n', r"operators: give a list with at least one text"),
        (f'region = "ID"\n{FEED}operators = "telkomsel"\n', r"operators: give a list"),
        (f'region = "ID"\n{FEED}operators = [1]\n', r"operators: give a list"),
        (f'region = "ID"\n{FEED}operators = ["Telkomsel"]\n', r"operators: 'Telkomsel' is not an operator name"),
        (f'region = "ID"\n{FEED}operators = ["psn", "psn"]\n', r"operators: 'psn' is there twice"),
        (
            f'region = "ID"\n{FEED.replace("sms", "fax")}',
            r"scopes: unknown scope 'fax'; the scopes are data",
        ),
        (f'region = "ID"\n{FEED.replace("[" + chr(34) + "sms" + chr(34) + "]", "[]")}', r"scopes: give a list"),
        (f'region = "ID"\n{FEED.replace("scopes", "#")}', r"scopes: give a list"),
        (f'region = "ID"\n{FEED}'.replace('["sms"]', '["sms", "sms"]'), r"scopes: 'sms' is there twice"),
    ],
)
def test_a_bad_rule_is_refused_with_its_file_and_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=message) as refused:
        RoutingRules.load(path)
    assert str(path) in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"# \xe9\n")
    (tmp_path / "long").write_bytes(b"#" * 1_000_001)
    for name in ("missing", "latin", "long", "."):
        with pytest.raises(InvalidInput, match="the rules"):
            RoutingRules.load(tmp_path / name)


def test_no_rules_come_for_other_regions() -> None:
    with pytest.raises(InvalidInput, match="region DE: write a file"):
        RoutingRules.default("DE")
    with pytest.raises(InvalidInput, match="unknown region"):
        RoutingRules.default("../id")


def test_only_known_scopes_and_numbers_are_asked_about(routing: RoutingRules) -> None:
    with pytest.raises(InvalidInput, match="unknown scope 'fax'"):
        routing.feeds_of(6281234567890, {"sms", "fax"})
    with pytest.raises(InvalidInput, match="integer"):
        routing.feeds_of("6281234567890", {"sms"})  # type: ignore[arg-type]
