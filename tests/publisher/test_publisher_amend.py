"""Numbers are added to the current list, and removed from it, one by one or by a file."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Refused
from blocklist_sdk.publisher import Timing
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.rows import FOREVER_MS

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
    with pytest.raises(InvalidInput, match=r"the number to remove is not on the list: \+628…001\. Nothing"):
        publisher.remove(FEED, ["0812-9999-0001"])
    with pytest.raises(InvalidInput, match="the number to remove is not on the list"):
        publisher.remove(FEED, ["0812-0000-0002"], issuer="nobody")
    with pytest.raises(InvalidInput, match="none of 2 numbers to remove is on the list, for instance"):
        publisher.remove(FEED, ["0812-9999-0001", "0812-9999-0002"])
    with pytest.raises(InvalidInput, match="0 of 1 rows"):
        publisher.remove(FEED, ["GoPay"])
    for allow_empty in (False, True):
        with pytest.raises(InvalidInput, match="no numbers to remove"):
            publisher.remove(FEED, [], allow_empty=allow_empty)


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


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def later(tmp_path: Path, clock: Clock) -> Publisher:
    """A feed whose entries have ended, will end, are advisories or have one scope; authority is the issuer of all."""
    made = Publisher.init(
        tmp_path / "later", feeds=[FEED], passphrase="generated for a test", region="ID", timing=Timing(clock=clock)
    )
    made.release(
        FEED,
        pa.table(
            {
                "number": [f"0812-0000-000{i}" for i in range(1, 6)],
                "level": ["block", "block", "advisory", "block", "block"],
                "scope": ["sms+voice", "sms+voice", "sms+voice", "sms", "sms+voice"],
                "until": ["2026-02-01", "2027-01-01", "", "", ""],
                "since": ["", "", "", "", "2026-12-01"],
            }
        ),
    )
    clock.moment = datetime(2026, 6, 1, tzinfo=UTC)
    return made


def list_of(publisher: Publisher) -> list[tuple[int, int, str, str, str]]:
    """Number, entry, level, scope and the year of the end of each entry."""
    rows = SignedFeed.find(publisher._folder.load(), FEED).rows()
    years = [until.astype("datetime64[ms]").astype(object).year if until != FOREVER_MS else "" for until in rows.until]
    return [
        (number % 10, entry, level, scope, str(year))
        for number, entry, level, scope, year in zip(
            rows.number.tolist(), rows.entry.tolist(), rows.level.tolist(), rows.scope.tolist(), years, strict=True
        )
    ]


@pytest.mark.parametrize(
    ("number", "options", "expected"),
    [
        (1, {}, (0, 0, (1, 6, "block", "sms+voice", ""))),  # it has ended
        (2, {}, (0, 1, (2, 2, "block", "sms+voice", ""))),  # it would end before
        (2, {"until": datetime(2028, 1, 1, tzinfo=UTC)}, (0, 1, (2, 2, "block", "sms+voice", "2028"))),
        (2, {"until": datetime(2026, 7, 1, tzinfo=UTC)}, (1, 0, None)),
        (2, {"scope": "sms"}, (0, 0, (2, 6, "block", "sms", ""))),  # not for voice as well
        (2, {"level": "advisory"}, (0, 0, (2, 6, "advisory", "sms+voice", ""))),
        (3, {}, (0, 0, (3, 6, "block", "sms+voice", ""))),  # it is an advisory
        (3, {"level": "advisory"}, (1, 0, None)),
        (4, {}, (0, 0, (4, 6, "block", "sms+voice", ""))),  # it is for one scope
        (4, {"scope": "sms"}, (1, 0, None)),
        (4, {"scope": "sms", "level": "advisory"}, (1, 0, None)),
        (5, {}, (0, 0, (5, 6, "block", "sms+voice", ""))),  # it has not begun
    ],
)
def test_a_number_is_listed_already_only_if_it_is_blocked_as_much(
    later: Publisher,
    number: int,
    options: dict[str, Any],
    expected: tuple[int, int, tuple[int, int, str, str, str] | None],
) -> None:
    before = list_of(later)
    result = later.add(FEED, [f"0812-0000-000{number}"], **options)
    already_listed, extended, entry = expected
    assert (result.already_listed, result.extended) == (already_listed, extended)
    new = [each for each in list_of(later) if each not in before]
    assert new == ([] if entry is None else [entry])
    assert (result.added, result.removed, result.changed) == (len(new) - extended, 0, extended)
    assert later.add(FEED, [f"0812-0000-000{number}"], **options).already_listed == 1


def test_a_slow_clock_lists_no_number_twice(later: Publisher, clock: Clock) -> None:
    later.add(FEED, ["0812-0000-0009"])
    clock.moment -= timedelta(days=2)
    result = later.add(FEED, ["0812-0000-0009"])
    assert (result.added, result.already_listed) == (0, 1)


def test_two_rows_that_extend_an_entry_give_it_the_later_end(later: Publisher) -> None:
    table = pa.table({"number": ["0812-0000-0002"] * 2, "until": ["2028-01-01", "2029-01-01"]})
    assert later.add(FEED, table).extended == 2
    assert (2, 2, "block", "sms+voice", "2029") in list_of(later)


def test_only_a_range_that_blocks_holds_a_number_back(publisher: Publisher, tmp_path: Path) -> None:
    for level, options in (("advisory", {}), ("block", {"until": "2020-01-01", "since": "2019-01-01"})):
        row = {"number": ["+62814000####", "+628140001234"], "level": [level, "block"]}
        row |= {name: [value, ""] for name, value in options.items()}
        publisher.add(FEED, pa.table(row))
        assert publisher.remove(FEED, ["+628140001234"]).removed == 1
    with pytest.raises(InvalidInput, match=r"lies inside a range \(entry \d of authority, \+62814000####\): remove"):
        publisher.remove(FEED, ["+628140001234"])  # it is in the range of advisories only


def test_a_protected_number_is_removed_as_any_other(publisher: Publisher, entries: Any) -> None:
    publisher.protect(["0812-0000-0001", "0812-0000-0002"])
    said: list[str] = []
    result = publisher.remove(FEED, ["0812-0000-0001"], notify=said.append)
    assert (result.removed, result.not_listed) == (3, 0)
    assert said == [
        "2 entries of the current list on numbers that are protected now: a single number will be removed, and a range "
        "cut around it"
    ]
    assert {number for number, *_ in entries().values()} == {628130000000}


def test_the_last_entry_needs_a_word(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "new", feeds=[FEED], passphrase="generated for a test", region="ID")
    publisher.release(FEED, ["0812-0000-0001", "0812-0000-0002"])
    both = ["0812-0000-0001", "0812-0000-0002"]
    for act in (publisher.remove, partial(publisher.dry_run, edit="remove")):
        with pytest.raises(InvalidInput, match=r"no entry would be left .* 2 entries.*--allow-empty"):
            act(FEED, both)
    assert publisher.remove(FEED, both[:1]).rows == 1
    assert publisher.dry_run(FEED, both[1:], edit="remove", allow_empty=True).rows_after == 0
    assert publisher.remove(FEED, both[1:], allow_empty=True).rows == 0


def test_ends_in_the_past_are_said(later: Publisher, clock: Clock) -> None:
    said: list[str] = []
    later.release(FEED, [f"0812-0000-000{i}" for i in range(1, 6)], notify=said.append)
    assert "1 of 5 entries keeps an end in the past" in said.pop()
    table = pa.table({"number": ["0812-0000-0007", "0812-0000-0008"], "since": ["2024-01-01"] * 2})
    later.add(FEED, table.append_column("until", pa.array(["2025-01-01"] * 2)), notify=said.append)
    assert "2 of 2 rows of the list end in the past: nobody is blocked by them" in said.pop()
    later.add(FEED, ["0812-0000-0009"], notify=said.append)
    assert said == []
