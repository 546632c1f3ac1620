"""Shadow mode: the sink is not used, and the impact on a log is what a plain loop over it finds."""

import gzip
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import InvalidInput, InvalidNumber, normalize
from blocklist_sdk.enforcement import enforce
from blocklist_sdk.enforcement.items import Batch, Items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import is_shadow, ledger_path
from blocklist_sdk.enforcement.shadow import DayImpact, Shadow, ShadowImpact, shadow_impact
from blocklist_sdk.enforcement.sink import Outcome, ReadableSink, Sink, TransactionalSink
from blocklist_sdk.records import Scope
from support.ledgers import FIRST, PUBLISHED, items_of, planned
from support.scale import scaled
from support.world import make_world

ROWS = scaled(70_000, long=150_000)
DAY = date(2026, 10, 1)


class Untouchable:
    """A sink that must not be used."""

    def __init__(self) -> None:
        self.is_closed = False

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        raise AssertionError("the sink was touched")

    def current(self) -> Any:
        raise AssertionError("the sink was touched")

    def applied(self) -> int | None:
        raise AssertionError("the sink was touched")

    def close(self) -> None:
        self.is_closed = True


def test_a_shadow_takes_notes_and_touches_nothing(tmp_path: Path) -> None:
    sink = Untouchable()
    shadow = Shadow(sink)
    items = items_of([FIRST, (FIRST + 10, FIRST + 19)])
    with Ledger.open(tmp_path / "hlr.shadow", feed="id-all") as ledger:
        assert is_shadow(ledger.directory.name)
        for operation in ("block", "unblock"):
            batch = ledger.begin(planned(operation, items), serial=1, published=PUBLISHED, at=PUBLISHED)
            ledger.finish(batch, shadow.apply(batch), at=PUBLISHED)
            assert len(ledger.state().whole().items) == (2 if operation == "block" else 0)
    assert shadow.would_do == {"block": 2, "unblock": 2}
    shadow.close()
    assert sink.is_closed


def test_a_shadow_is_enforced_into_under_a_name_of_its_own(tmp_path: Path) -> None:
    with make_world(tmp_path).recipient() as blocklist:
        blocklist.sync()
        shadow = Shadow(Untouchable())
        with pytest.raises(InvalidInput, match=r"a shadow must have a name that ends with \.shadow: the name is 'hlr'"):
            enforce(blocklist, shadow, name="hlr")
        with pytest.raises(InvalidInput, match=r"only a shadow may have .*: the name is 'hlr\.shadow'"):
            enforce(blocklist, Untouchable(), name="hlr.shadow")
        ledgers = ledger_path(blocklist, "hlr").parent
        assert not ledgers.exists()
        done = enforce(blocklist, shadow, name="hlr.shadow")
        assert shadow.would_do["block"] == done.outcomes["enforced"] > 0
        assert enforce(blocklist, shadow, name="hlr.shadow").outcomes == {}
        assert [path.name for path in ledgers.iterdir()] == ["hlr.shadow"]


def test_a_shadow_is_a_sink_that_cannot_be_read() -> None:
    shadow: Sink = Shadow()
    assert isinstance(shadow, Sink)
    assert not isinstance(shadow, ReadableSink | TransactionalSink)
    shadow.close()


# Impact


HELD = items_of(
    [FIRST, FIRST + 2, (FIRST + 10, FIRST + 19), (FIRST + 30, FIRST + 39)],
    categories=["fraud", "spam", "fraud", "phishing"],
)


def log_of(path: Path, rows: Sequence[tuple[object, object]]) -> Path:
    path.write_text("number,at\n" + "".join(f"{number},{at}\n" for number, at in rows), encoding="utf-8")
    return path


def test_an_impact_counts_rows_numbers_days_and_categories(tmp_path: Path) -> None:
    rows = [
        (f"+{FIRST}", "2026-10-01T08:00:00Z"),
        (f"+{FIRST}", "2026-10-02 08:00:00"),
        (f"0{FIRST - 62 * 10**11}", "2026-10-02T02:00:00+07:00"),
        (FIRST + 11, "1790845200"),
        (FIRST + 12, "1790845200000"),
        (FIRST + 1, "2026-10-02"),
        ("GoPay", "2026-10-01"),
        (FIRST + 2, "soon"),
        ("", ""),
    ]
    found = shadow_impact(HELD, log_of(tmp_path / "calls.csv", rows), region="ID", time_column="at")
    assert found == ShadowImpact(
        rows=9,
        rows_hit=6,
        numbers_hit=4,
        by_day={DAY: DayImpact(4, 4), date(2026, 10, 2): DayImpact(2, 1)},
        by_category={"fraud": 5, "spam": 1},
        rejects={"no-number": 2, "no-time": 2},
    )


def test_unreadable_lines_of_a_csv_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "calls.csv"
    log.write_text(f"number,at\n{FIRST},2026-10-01\n{FIRST},2026-10-01,x\n", encoding="utf-8")
    found = shadow_impact(HELD, log, region="ID", time_column="at")
    assert (found.rows, found.rows_hit, found.rejects) == (1, 1, {"unreadable": 1})


def test_a_log_may_be_gzipped_have_more_columns_and_no_times(tmp_path: Path) -> None:
    log = tmp_path / "calls.csv.gz"
    log.write_bytes(gzip.compress(f"id;caller;seconds\n1;+{FIRST};3\n2;+{FIRST + 1};4\n".encode()))
    found = shadow_impact(HELD, log, region=None, number_column="caller")
    assert (found.rows, found.rows_hit, dict(found.by_day)) == (2, 1, {})


MOMENTS = {
    "timestamp": pa.array([datetime(2026, 10, 1, 8, tzinfo=UTC)] * 3, pa.timestamp("us")),
    "timestamp with a zone": pa.array([datetime(2026, 10, 1, 8, tzinfo=UTC)] * 3, pa.timestamp("ns", "Asia/Jakarta")),
    "date": pa.array([DAY] * 3, pa.date32()),
    "seconds": pa.array([1790845200] * 3, pa.int64()),
    "milliseconds": pa.array([1790845200123] * 3, pa.int64()),
    "fractions": pa.array([1790845200.25] * 3, pa.float64()),
    "text": pa.array(["2026-10-01T08:00:00.5Z"] * 3, pa.large_string()),
    "dictionary": pa.array(["2026-10-01"] * 3).dictionary_encode(),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_parquet_may_have_times_of_many_types(tmp_path: Path, kind: str) -> None:
    numbers = pa.array([FIRST, FIRST + 1, None])
    pq.write_table(pa.table({"at": MOMENTS[kind], "b_number": numbers, "x": [1, 2, 3]}), tmp_path / "log.parquet")
    found = shadow_impact(HELD, tmp_path / "log.parquet", region="ID", number_column="b_number", time_column="at")
    assert found.by_day == {DAY: DayImpact(2, 1)}
    assert found.rejects == {"no-number": 1}


def test_an_impact_may_be_counted_for_one_scope(tmp_path: Path) -> None:
    held = items_of([FIRST], scope=4)
    log = log_of(tmp_path / "calls.csv", [(FIRST, "2026-10-01")])
    scopes: tuple[Scope, ...] = ("voice", "sms", "messaging")
    assert [shadow_impact(held, log, region="ID", scope=scope).rows_hit for scope in scopes] == [0, 1, 0]


def test_no_items_hit_nothing(tmp_path: Path) -> None:
    log = log_of(tmp_path / "calls.csv", [(FIRST, "2026-10-01")])
    found = shadow_impact(Items.empty(), log, region="ID", time_column="at")
    assert (found.rows, found.rows_hit, found.numbers_hit) == (1, 0, 0)
    assert found.by_day == {DAY: DayImpact(1, 0)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"number_column": "caller"}, "no column 'caller'"),
        ({"time_column": "when"}, "must have one column 'when'"),
        ({"region": "XX"}, "XX"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    log = log_of(tmp_path / "calls.csv", [(FIRST, "2026-10-01")])
    with pytest.raises(InvalidInput, match=words):
        shadow_impact(HELD, log, **{"region": "ID", "number_column": "number", **options})


def test_a_column_without_times_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"at": [True], "number": [FIRST]}), tmp_path / "log.parquet")
    with pytest.raises(InvalidInput, match=r"'at' .* has no times"):
        shadow_impact(HELD, tmp_path / "log.parquet", region="ID", time_column="at")


def test_an_impact_is_what_a_plain_loop_finds(tmp_path: Path) -> None:
    """Over several pieces of a file, with numbers written in many ways."""
    chance = random.Random(9)
    spans = [(FIRST + 40 * place, FIRST + 40 * place + chance.choice([0, 0, 0, 17])) for place in range(2000)]
    names = ["fraud", "spam", "phishing"]
    categories = [chance.choice(names) for _ in spans]
    held = items_of(spans, categories=categories)
    forms = ("+{}", "{}", "00{}", "+{} ", "x{}")
    rows = [
        (
            chance.choice(forms).format(FIRST + chance.randrange(-100, 90_000)),
            (datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(10_000))).isoformat(),
        )
        for _ in range(ROWS)
    ]
    hits, numbers, days, by_category = 0, set[int](), Counter[date](), Counter[str]()
    for text, at in rows:
        try:
            number = normalize(text, region="ID")
        except InvalidNumber:
            continue
        place = (number - FIRST) // 40
        if 0 <= place < len(spans) and spans[place][0] <= number <= spans[place][1]:
            hits += 1
            numbers.add(number)
            days[datetime.fromisoformat(at).date()] += 1
            by_category[categories[place]] += 1
    pq.write_table(
        pa.table({"number": [row[0] for row in rows], "at": [row[1] for row in rows]}), tmp_path / "l.parquet"
    )
    for log in (tmp_path / "l.parquet", log_of(tmp_path / "calls.csv", rows)):
        found = shadow_impact(held, log, region="ID", time_column="at")
        assert (found.rows, found.rows_hit, found.numbers_hit) == (len(rows), hits, len(numbers))
        assert {day: each.rows_hit for day, each in found.by_day.items()} == dict(days)
        assert found.by_category == dict(by_category)
        assert found.rejects["no-number"] == sum(text.startswith("x") for text, _ in rows)
