"""Numbers are added to the current list, and removed from it, one by one or by a file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Refused

FEED = "id-all"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher.init(tmp_path / "authority", feeds=[FEED], passphrase="generated for a test", region="ID")
    made.release(
        FEED,
        pa.table(
            {
                "number": ["0812-0000-0001", "0812-0000-0002", "0812-0000-0002", "+62813000####", "+62813000####"],
                "issuer": ["authority", "authority", "ojk", "authority", "ojk"],
                "category": ["phishing", "fraud", "fraud", "spam", "spam"],
            }
        ),
    )
    return made


@pytest.fixture
def entries(publisher: Publisher, tmp_path: Path) -> Any:
    """Every entry of the current release, as recipients get it."""

    def read() -> dict[int, tuple[int, str, str]]:
        with Blocklist.open(
            publisher.repository.as_uri(), feed=FEED, root=publisher.root, region="ID", cache_dir=tmp_path / "cache"
        ) as blocklist:
            blocklist.sync()
            rows = blocklist.to_arrow().to_pylist()
        return {row["entry"]: (row["number"], row["category"], row["issuer"]) for row in rows}

    return read


def test_numbers_are_added_and_all_others_stay(publisher: Publisher, entries: Any) -> None:
    before = entries()
    result = publisher.add(FEED, ["0812-0000-0003", "0812-0000-0004"], category="gambling", issuer="komdigi")
    assert (result.serial, result.added, result.removed, result.changed, result.rows) == (2, 2, 0, 0, 7)
    added = {6: (6281200000003, "gambling", "komdigi"), 7: (6281200000004, "gambling", "komdigi")}
    assert entries() == before | added


def test_what_the_issuer_lists_already_changes_nothing(publisher: Publisher, entries: Any) -> None:
    before = entries()
    result = publisher.add(FEED, ["0812-0000-0001", "+62813000####", "0812-0000-0009"], category="other")
    assert (result.added, result.changed, result.already_listed) == (1, 0, 2)
    assert entries() == before | {6: (6281200000009, "other", "authority")}
    result = publisher.add(FEED, ["0812-0000-0001"], issuer="ojk")
    assert (result.added, result.already_listed) == (1, 0)


def test_a_file_is_added_with_its_columns(publisher: Publisher, tmp_path: Path, entries: Any) -> None:
    file = tmp_path / "december.csv"
    file.write_text("number,category,until\n0812-0000-0005,phishing,2099-01-31\n0812-0000-0006,,\nGoPay,,\n")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=180)
    result = publisher.add(FEED, file, until=end)
    assert (result.added, result.invalid) == (2, 1)
    assert result.rejects_path is not None
    assert "GoPay" in result.rejects_path.read_text()
    assert entries()[6] == (6281200000005, "phishing", "authority")
    with pytest.raises(InvalidInput, match=r"until is .* in the past"):
        publisher.add(FEED, ["0812-0000-0007"], until=datetime(2020, 1, 1, tzinfo=UTC))


def test_the_first_release_may_be_added(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "new", feeds=[FEED], passphrase="generated for a test", region="ID")
    assert publisher.add(FEED, ["0812-0000-0001"]).rows == 1


def test_a_number_is_removed_and_all_others_stay(publisher: Publisher, entries: Any) -> None:
    before = entries()
    result = publisher.remove(FEED, ["0812-0000-0001"])
    assert (result.added, result.removed, result.changed) == (0, 1, 0)
    gone = {entry for entry, (number, *_) in before.items() if number == 6281200000001}
    assert entries() == {entry: row for entry, row in before.items() if entry not in gone}


def test_a_number_of_several_issuers_needs_one(publisher: Publisher) -> None:
    with pytest.raises(
        InvalidInput, match=r"line 1: \+628…002 has entries of several issuers \(entry \d of \w+, entry"
    ):
        publisher.remove(FEED, ["0812-0000-0002"])
    assert publisher.status().feeds[0].serial == 1
    assert publisher.remove(FEED, ["0812-0000-0002"], issuer="ojk").removed == 1
    assert publisher.remove(FEED, ["0812-0000-0002"]).removed == 1


def test_the_file_may_name_the_issuer(publisher: Publisher) -> None:
    table = pa.table({"number": ["0812-0000-0002", "0812-0000-0001"], "issuer": ["ojk", None]})
    assert publisher.remove(FEED, table).removed == 2


def test_a_number_inside_a_range_is_not_removed(publisher: Publisher) -> None:
    with pytest.raises(InvalidInput, match=r"lies inside a range \(entry \d of \w+, \+62813000####, entry"):
        publisher.remove(FEED, ["+628130001234"])
    publisher.add(FEED, ["+628130001234"])
    with pytest.raises(InvalidInput, match="lies inside a range"):
        publisher.remove(FEED, ["+628130001234"])
    with pytest.raises(InvalidInput, match="lies inside a range"):
        publisher.remove(FEED, ["+628130001###"])


def test_what_is_not_listed_is_said(publisher: Publisher) -> None:
    said: list[str] = []
    result = publisher.remove(FEED, ["0812-0000-0001", "0812-9999-0001", "0812-9999-0002"], notify=said.append)
    assert (result.removed, result.not_listed) == (1, 2)
    assert said == ["2 numbers to remove are not listed: line 2, 3"]
    with pytest.raises(InvalidInput, match=r"none of 1 number to remove is on the list, for instance \+628…001"):
        publisher.remove(FEED, ["0812-9999-0001"])
    with pytest.raises(InvalidInput, match="none of 1 number"):
        publisher.remove(FEED, ["0812-0000-0002"], issuer="nobody")
    with pytest.raises(InvalidInput, match="0 of 1 rows"):
        publisher.remove(FEED, ["GoPay"])
    with pytest.raises(InvalidInput, match="no numbers to remove"):
        publisher.remove(FEED, [])


def test_both_are_guarded_and_have_a_dry_run(publisher: Publisher) -> None:
    many = [f"+6281299{i:06}" for i in range(20_000)]
    impact = publisher.dry_run(FEED, many, edit="add")
    assert (impact.total.added, impact.total.removed, len(impact.refusals)) == (20_000, 0, 1)
    with pytest.raises(Refused, match="begin to block 20,000"):
        publisher.add(FEED, many)
    with pytest.raises(InvalidInput, match="was another one"):
        publisher.release(FEED, pa.table({"number": many}), accept=True)
    publisher.add(FEED, many, accept=True)
    assert publisher.dry_run(FEED, many, edit="remove").refusals
    with pytest.raises(Refused, match="unblock 20,000"):
        publisher.remove(FEED, many)
    assert publisher.remove(FEED, many, accept=True).rows == 5


def test_what_was_protected_since_is_not_listed_again(publisher: Publisher) -> None:
    publisher.protect(["0812-0000-0001"])
    said: list[str] = []
    result = publisher.add(FEED, ["0812-0000-0003", "0812-0000-0001"], notify=said.append)
    assert (result.added, result.removed, result.invalid) == (1, 1, 1)
    assert said == [
        "1 entry of the current list on numbers that are protected now: a single number will be removed, and a range "
        "cut around it"
    ]


def test_a_range_is_removed_as_it_is_listed(publisher: Publisher) -> None:
    assert publisher.remove(FEED, ["+62813000####"], issuer="ojk").removed == 1  # the other issuer blocks it still
    with pytest.raises(Refused, match="unblock 10,000"):
        publisher.remove(FEED, ["+62813000####"])
    assert publisher.remove(FEED, ["+62813000####"], accept=True).removed == 1
