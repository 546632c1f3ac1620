"""Which operator serves a number."""

import csv
import threading
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import brand_of, operator_of, register_operators


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    yield
    for code in (1, 47, 62, 353):
        register_operators(code, None)


@pytest.mark.parametrize(
    ("prefixes", "operator", "brand"),
    [
        ("811 812 813 821 822 823 852 853", "telkomsel", "Halo/simPATI/AS"),
        ("8510 8519", "telkomsel", "AS"),
        ("85155 85156 85157 85158", "telkomsel", "by.U"),
        ("814 815 816 855 856 857 858", "indosat", "IM3/Matrix/Mentari"),
        ("895 896 897 898 899", "indosat", "Tri"),
        ("817 818 819 859 877 878 879", "xlsmart", "XL"),
        ("831 832 833 838", "xlsmart", "AXIS"),
        ("881 882 883 884 885 886 887 888 889", "xlsmart", "Smartfren"),
        ("868", "psn", "Byru"),
        ("810 820 824 827 828 830 834 839 840 849 850 854 860 867 869 870 876 880 890 894", None, None),
    ],
)
def test_indonesian_prefixes(prefixes: str, operator: str | None, brand: str | None) -> None:
    for prefix in prefixes.split():
        for digits in range(9, 13):
            number = int("62" + prefix.ljust(digits, "3"))
            assert operator_of(number) == operator, number
            assert brand_of(number) == brand, number


@pytest.mark.parametrize(
    "number",
    [
        *(62211234567, 628001234567, 628041234567, 628091234567, 6280012345678),  # fixed lines, service numbers
        *(6281234567, 628123456789012, 62812),  # too short, too long
        *(6311812345678, 14155550100, 811234567890),  # other countries, no country code
        *(0, -6281234567890),
    ],
)
def test_what_has_no_operator(number: int) -> None:
    assert operator_of(number) is None
    assert brand_of(number) is None


@pytest.mark.parametrize("number", ["6281234567890", 6281234567890.0, True, None])
def test_only_integers_have_an_operator(number: object) -> None:
    for question in (operator_of, brand_of):
        with pytest.raises(InvalidInput, match="integer"):
            question(number)  # type: ignore[arg-type]


def test_a_registered_resolver_answers_for_its_country() -> None:
    asked: list[int] = []

    def ported(number: int) -> str | None:
        asked.append(number)
        return {35387123456: "three"}.get(number)

    register_operators(353, ported)
    assert operator_of(35387123456) == "three"
    assert operator_of(35387123457) is None
    assert asked == [35387123456, 35387123457]
    assert operator_of(6281234567890) == "telkomsel"
    register_operators(353, None)
    assert operator_of(35387123456) is None


def test_a_resolver_replaces_the_table_until_it_is_taken_away() -> None:
    register_operators(62, lambda number: "ported")
    assert operator_of(6281234567890) == operator_of(62211234567) == "ported"
    assert brand_of(6281234567890) == "Halo/simPATI/AS"
    register_operators(62, None)
    assert operator_of(6281234567890) == "telkomsel"


def test_what_a_resolver_raises_goes_through() -> None:
    def unreachable(number: int) -> str | None:
        raise ConnectionError("portability database")

    register_operators(47, unreachable)
    with pytest.raises(ConnectionError):
        operator_of(4791234567)


@pytest.mark.parametrize("code", [0, -1, 1000, "62", "ID", True, None])
def test_invalid_country_codes(code: object) -> None:
    with pytest.raises(InvalidInput, match="country code"):
        register_operators(code, lambda number: None)  # type: ignore[arg-type]


def test_threads_register_and_ask_at_once() -> None:
    wrong: list[object] = []

    def work(code: int, name: str) -> None:
        for _ in range(300):
            register_operators(code, lambda number: name)
            if operator_of(int(f"{code}12345678")) != name:
                wrong.append(code)
            register_operators(code, None)

    threads = [threading.Thread(target=work, args=(code, str(code))) for code in (1, 47, 353)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_every_row_of_the_table_has_its_source_and_date() -> None:
    text = (files("blocklist_sdk.numbers") / "data" / "id.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    seen: set[int] = set()
    for row in rows:
        first, last = int(row["first"]), int(row["last"])
        assert len(row["first"]) == len(row["last"]) in (5, 7)
        assert first <= last
        assert not seen & set(range(first, last + 1))
        seen |= set(range(first, last + 1))
        assert row["source"]
        assert date.fromisoformat(row["as_of"])


def test_the_table_says_what_the_evidence_says(shared_data: Path) -> None:
    owners = {"PT Telkomsel": "telkomsel", "PT Indosat Tbk": "indosat", "PT Pasifik Satelit Nusantara": "psn"}
    with (shared_data / "id-prefix-operator.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            owner = row["legal_owner_since_2025-04-16"]
            expected = "xlsmart" if owner.startswith("PT XLSMART") else owners.get(owner)
            for part in row["prefixes"].replace("/", " ").split():
                first, _, last = part.partition("-")
                for prefix in range(int(first), int(last or first) + 1):
                    assert operator_of(int(f"62{prefix}3333333")) == expected, prefix
