"""The monthly statement: every change is counted once, the sums come out even, and the page is safe to open."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.enforcement.items import OWN_ENTRY, Items, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import LedgerState
from blocklist_sdk.enforcement.plan import matched
from blocklist_sdk.enforcement.repairs import find_repairs, write_repairs
from blocklist_sdk.enforcement.sink import DONE, Outcome
from blocklist_sdk.enforcement.statement import Statement
from blocklist_sdk.enforcement.statement_chart import axis
from blocklist_sdk.enforcement.statement_page import statement_html
from blocklist_sdk.enforcement.statement_sums import OPERATIONS, monthly_statement
from blocklist_sdk.enforcement.statement_texts import TEXTS, Language
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.exchange.models import Spread
from support.ledgers import FIRST, PUBLISHED, items_of, planned, written

FEED = "id-telkomsel"
MONTH = "2026-10"
AFTER = datetime(2026, 11, 3, 9, tzinfo=UTC)
FAILED = Outcome("failed", "timeout")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "hlr", feed=FEED) as opened:
        yield opened


def statement_of(ledger: Ledger, month: str = MONTH, now: datetime = AFTER) -> Statement:
    statement = monthly_statement(ledger, month, now=now)
    for each in statement.operations.values():
        over = each.enforced + each.nothing_to_do + each.refused + each.set_aside + each.overtaken
        assert each.carried + each.received == over + each.open
        assert min(each.carried, each.open, each.received) >= 0
    check_categories(statement)
    return statement


def check_categories(statement: Statement) -> None:
    """Every category adds up by itself, all of them are the blocks, and what was repaired adds up."""
    for each in statement.categories:
        over = each.blocked + each.nothing_to_do + each.refused + each.set_aside + each.overtaken
        assert each.carried + each.received == over + each.open, each
        assert min(value for value in asdict(each).values() if isinstance(value, int)) >= 0, each
    block = asdict(statement.operations["block"])
    for figure in ("carried", "received", "nothing_to_do", "refused", "set_aside", "overtaken", "open"):
        assert sum(getattr(each, figure) for each in statement.categories) == block[figure]
    assert sum(each.blocked for each in statement.categories) == block["enforced"]
    assert sum(each.lifted for each in statement.categories) == statement.operations["unblock"].enforced
    repairs = statement.repairs
    done = repairs.blocked + repairs.changed + repairs.lifted + repairs.not_done
    assert repairs.carried + repairs.received == done + repairs.open
    assert min(asdict(repairs).values()) >= 0


def test_a_month_has_the_outcome_of_every_change(ledger: Ledger) -> None:
    numbers = range(FIRST, FIRST + 6)
    kinds = [DONE, DONE, Outcome("refused", "not provisioned"), Outcome("recycled"), FAILED, FAILED]
    written(ledger, items_of(numbers, categories=["fraud", "spam", *["fraud"] * 4]), kinds, given_up=[5])
    written(ledger, items_of([FIRST]), operation="unblock", published=PUBLISHED + timedelta(days=1), serial=2)
    statement = statement_of(ledger)
    block, unblock = statement.operations["block"], statement.operations["unblock"]
    assert (block.received, block.enforced, block.nothing_to_do) == (6, 2, 1)
    assert (block.refused, block.set_aside, block.overtaken) == (1, 1, 0)
    assert block.open == 1  # the fifth, which failed and is tried again
    assert (unblock.received, unblock.enforced, unblock.open) == (1, 1, 0)


def test_the_sums_are_even_while_something_is_open(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST, FIRST + 1]), [DONE, FAILED])
    block = statement_of(ledger).operations["block"]
    assert (block.received, block.enforced, block.open) == (2, 1, 1)


def test_what_is_tried_again_is_one_change_and_takes_as_long_as_all_its_tries(ledger: Ledger) -> None:
    item = items_of([FIRST])
    for hours in (1, 2):
        written(ledger, item, [FAILED], begun=PUBLISHED + timedelta(hours=hours))
    later = PUBLISHED + timedelta(hours=5)
    written(ledger, item, published=later, serial=2, begun=later + timedelta(minutes=50), took=timedelta(minutes=10))
    block = statement_of(ledger).operations["block"]
    assert (block.received, block.enforced, block.open) == (1, 1, 0)
    assert block.time == Spread(count=1, median_s=6 * 3600.0, p95_s=6 * 3600.0)


def test_a_change_in_doubt_is_open_until_it_is_sent_again(ledger: Ledger) -> None:
    item = items_of([FIRST])
    batch = ledger.begin(planned("block", item), serial=1, published=PUBLISHED, at=PUBLISHED)
    assert statement_of(ledger).operations["block"].open == 1
    ledger.settle(batch.number_in_ledger, is_applied=False, at=PUBLISHED)
    assert statement_of(ledger).operations["block"].open == 1
    written(ledger, item)
    block = statement_of(ledger).operations["block"]
    assert (block.received, block.enforced, block.open) == (1, 1, 0)


def test_what_is_open_at_the_end_of_a_month_is_carried_over_into_the_next(ledger: Ledger) -> None:
    night = datetime(2026, 10, 31, 23, 55, tzinfo=UTC)
    written(ledger, items_of([FIRST]), published=night, begun=night, took=timedelta(minutes=10))
    written(ledger, items_of([FIRST + 1]), [FAILED], published=night, begun=night, took=timedelta(minutes=1))
    october, november = statement_of(ledger), statement_of(ledger, "2026-11")
    assert (october.operations["block"].received, october.operations["block"].open) == (2, 2)
    block = november.operations["block"]
    assert (block.carried, block.received, block.enforced, block.open) == (2, 0, 1, 1)


def test_a_block_that_an_unblock_overtakes_is_not_open(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]), [FAILED])
    written(ledger, items_of([FIRST]), operation="unblock", serial=2, published=PUBLISHED + timedelta(hours=1))
    block = statement_of(ledger).operations["block"]
    assert (block.overtaken, block.open) == (1, 0)


def test_lifting_what_has_ended_by_itself_is_measured_from_its_end(ledger: Ledger) -> None:
    end = PUBLISHED + timedelta(days=3)
    ended = items_of([FIRST], until=[int(end.timestamp() * 1000)])
    written(ledger, ended, operation="unblock", begun=end + timedelta(minutes=2), took=timedelta(minutes=1))
    assert statement_of(ledger).operations["unblock"].time.median_s == 180.0


def test_a_change_that_fails_and_is_asked_for_again_as_a_block_is_one_change(ledger: Ledger) -> None:
    """What is in doubt is blocked again, whatever it was."""
    written(ledger, items_of([FIRST]))
    later = PUBLISHED + timedelta(days=1)
    written(ledger, items_of([FIRST], scope=3), [FAILED], operation="change", published=later)
    written(ledger, items_of([FIRST], scope=3), published=later, begun=later + timedelta(hours=2))
    statement = statement_of(ledger)
    block, change = statement.operations["block"], statement.operations["change"]
    assert (block.received, block.enforced) == (1, 1)
    assert (change.received, change.enforced, change.overtaken) == (1, 1, 0)


@pytest.mark.parametrize("month", ["2026-09", "2025-10"])
def test_a_month_before_the_oldest_record_has_no_statement(ledger: Ledger, month: str) -> None:
    written(ledger, items_of([FIRST]))
    with pytest.raises(InvalidInput, match=f"has no record of {month}: its oldest one is of 2026-10-05"):
        monthly_statement(ledger, month, now=AFTER)


def test_controls_in_a_sinks_words_reach_nobody(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]), [Outcome("refused", "no\x1b[2J\nsuch\x07 line")])
    statement = statement_of(ledger)
    for text in (statement.to_csv(), statement.to_json(), statement_html(statement)):
        assert not any(sign in text for sign in ("\x1b", "\x07", "\\u001b", "\\u0007"))
    assert [reason.reason for reason in statement.reasons] == ["no [2J such  line"]


def test_own_decisions_are_in_no_other_figure(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST, FIRST + 1], entries=[(), (5,)]))
    statement = statement_of(ledger)
    assert (statement.own_decisions, statement.operations["block"].received) == (1, 1)
    assert [each.category for each in statement.categories] == ["fraud"]


def test_categories_and_days_add_up(ledger: Ledger) -> None:
    for day in (1, 1, 9):
        moment = datetime(2026, 10, day, 3, tzinfo=UTC)
        written(ledger, items_of([FIRST + day, FIRST + 50 + day], categories=["spam", "fraud"]), published=moment)
    statement = statement_of(ledger)
    assert not statement.has_ranges
    assert (statement.first_serial, statement.last_serial) == (1, 1)
    assert {each.category: (each.received, each.blocked) for each in statement.categories} == {
        "fraud": (3, 3),
        "spam": (3, 3),
    }
    assert len(statement.days) == 31
    assert {each.day.day: each.blocked for each in statement.days if each.blocked} == {1: 4, 9: 2}


def test_the_month_so_far_ends_now(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    written(ledger, items_of([FIRST + 1]), begun=datetime(2026, 10, 20, tzinfo=UTC))
    statement = statement_of(ledger, now=datetime(2026, 10, 8, 12, tzinfo=UTC))
    assert not statement.is_whole
    assert statement.days[-1].day == date(2026, 10, 8)
    assert statement.operations["block"].received == 1


@pytest.mark.parametrize("month", ["2026-13", "October", "2026-1", "2027-01"])
def test_a_month_that_is_not_one_or_has_not_begun_is_refused(ledger: Ledger, month: str) -> None:
    with pytest.raises(InvalidInput, match="month"):
        monthly_statement(ledger, month, now=AFTER)


def test_waiting_and_refused_receipts_are_counted(ledger: Ledger) -> None:
    for place in range(3):
        written(ledger, items_of([FIRST + place]))
    ledger.acknowledge(2, [{"entry": 1, "outcome": "enforced", "reason": "no such entry"}], at=AFTER)
    statement = statement_of(ledger)
    assert (statement.receipts_waiting, statement.receipts_refused) == (2, 1)


def test_reasons_hold_no_numbers_and_very_many_are_summed_up(ledger: Ledger) -> None:
    count = 1500
    kinds = [Outcome("refused", f"case {place}") for place in range(count)]
    kinds[0] = Outcome("refused", "+62 812-3456-7890 is not ours")
    written(ledger, items_of(range(FIRST, FIRST + count)), kinds)
    reasons = statement_of(ledger).reasons
    assert sum(each.count for each in reasons) == count
    assert len(reasons) == 1001
    assert reasons[0].reason == "other reasons"
    assert any(each.reason == "+62 …890 is not ours" for each in reasons)


OUTCOMES = st.sampled_from([DONE, FAILED, Outcome("refused"), Outcome("not-ours")])
CATEGORIES = st.sampled_from(["fraud", "spam", None])  # None: only an override
BATCH = st.tuples(
    st.sampled_from(OPERATIONS),
    st.dictionaries(st.integers(0, 4), st.tuples(OUTCOMES, CATEGORIES, st.booleans()), min_size=1),
)
REPAIRED = st.dictionaries(st.sampled_from(OPERATIONS), st.sets(st.integers(0, 4)))
STEPS = st.lists(st.one_of(BATCH, REPAIRED), min_size=1, max_size=12)


@settings(max_examples=60)
@given(steps=STEPS, hours=st.integers(1, 200))
def test_whatever_happens_no_change_is_lost_between_two_months_and_each_category_adds_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], hours: int
) -> None:
    with Ledger.open(tmp_path_factory.mktemp("any") / "hlr", feed=FEED) as ledger:
        begun = datetime(2026, 10, 28, tzinfo=UTC)
        written(ledger, items_of([FIRST]), begun=begun - timedelta(days=60))
        for step in steps:
            if isinstance(step, dict):
                repaired(ledger, {operation: [FIRST + at for at in places] for operation, places in step.items()})
                continue
            operation, by_number = step
            numbers = sorted(by_number)
            of_number = [by_number[number] for number in numbers]
            items = items_of(
                [FIRST + number for number in numbers],
                entries=[() if category is None else (1 + number,) for number, (_, category, _) in by_number_in(step)],
                categories=[category or "" for _, category, _ in of_number],
            )
            given_up = [at for at, (outcome, _, is_last) in enumerate(of_number) if outcome is FAILED and is_last]
            outcomes = [outcome for outcome, _, _ in of_number]
            written(ledger, items, outcomes, operation=operation, begun=begun, given_up=given_up)
            begun += timedelta(hours=hours)
        later = datetime(2027, 6, 1, tzinfo=UTC)
        months = [statement_of(ledger, month, now=later) for month in ("2026-10", "2026-11", "2026-12", "2027-01")]
    for before, after in pairwise(months):
        for operation in OPERATIONS:
            assert before.operations[operation].open == after.operations[operation].carried
        assert before.repairs.open == after.repairs.carried
        left = {each.category: each.open for each in before.categories if each.open}
        assert left == {each.category: each.carried for each in after.categories if each.carried}


def by_number_in(step: tuple[Operation, dict[int, Any]]) -> list[tuple[int, Any]]:
    return sorted(step[1].items())


# Repairs


def repaired(ledger: Ledger, numbers: dict[Operation, list[int]], *, entry: int | None = None) -> None:
    """Name numbers as repaired from now on; by default under the entries that `items_of` gives by place."""
    named: dict[Operation, tuple[Any, Any]] = {}
    for operation, each in numbers.items():
        column = np.array(sorted(each), np.int64)
        entries = column - FIRST + 1 if entry is None else np.full(len(column), entry, np.int64)
        named[operation] = column, entries
    write_repairs(ledger, named, after=ledger.last)


def test_a_repaired_row_is_not_newly_received(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST, FIRST + 1]))
    repaired(ledger, {"block": [FIRST + 1]})
    written(ledger, items_of([FIRST + 1, FIRST + 2], entries=[(2,), (3,)]))
    statement = statement_of(ledger)
    block = statement.operations["block"]
    assert (block.received, block.enforced) == (3, 3)
    assert statement.categories[0].received == 3
    assert sum(day.blocked for day in statement.days) == 3
    assert (statement.repairs.received, statement.repairs.blocked, statement.repairs.open) == (1, 1, 0)


def test_a_stray_row_that_a_repair_takes_out_is_not_an_own_decision(ledger: Ledger) -> None:
    repaired(ledger, {"unblock": [FIRST]}, entry=OWN_ENTRY)
    written(ledger, items_of([FIRST, FIRST + 1], entries=[(), ()]), operation="unblock")
    statement = statement_of(ledger)
    assert (statement.repairs.lifted, statement.own_decisions) == (1, 1)
    assert statement.operations["unblock"].received == 0


def test_a_repair_that_fails_goes_on_as_a_repair(ledger: Ledger) -> None:
    repaired(ledger, {"block": [FIRST, FIRST + 1]})
    written(ledger, items_of([FIRST, FIRST + 1]), [FAILED, Outcome("refused")])
    before = statement_of(ledger).repairs
    assert (before.received, before.not_done, before.open) == (2, 1, 1)
    written(ledger, items_of([FIRST]))
    after = statement_of(ledger).repairs
    assert (after.received, after.blocked, after.open) == (2, 1, 0)
    assert statement_of(ledger).reasons == ()


@pytest.mark.parametrize("operation", ["block", "unblock"])
def test_what_is_asked_for_again_after_a_repair_is_received(ledger: Ledger, operation: Operation) -> None:
    repaired(ledger, {"block": [FIRST]})
    written(ledger, items_of([FIRST]), operation=operation)
    written(ledger, items_of([FIRST]), serial=2)
    assert statement_of(ledger).operations["block"].received == 1


def test_a_number_that_is_listed_anew_is_no_repair(ledger: Ledger) -> None:
    repaired(ledger, {"block": [FIRST]}, entry=7)
    written(ledger, items_of([FIRST], entries=[(8,)]))
    assert statement_of(ledger).operations["block"].received == 1


def test_two_repairs_before_a_run_are_both_to_come(ledger: Ledger) -> None:
    for place in range(2):
        repaired(ledger, {"block": [FIRST + place]})
    repaired(ledger, {})
    written(ledger, items_of([FIRST, FIRST + 1]))
    assert statement_of(ledger).repairs.blocked == 2


def test_files_of_repairs_go_with_the_records(ledger: Ledger) -> None:
    for place in range(3):
        repaired(ledger, {"block": [FIRST + place]})
        written(ledger, items_of([FIRST + place]), published=PUBLISHED - timedelta(days=500))
        ledger.acknowledge(place + 1, [], at=AFTER)
    ledger.replace(ledger.state())
    ledger.fold(at=AFTER)
    repaired(ledger, {"block": [FIRST]})
    assert [path.name for path in ledger.directory.glob("repair-*")] == ["repair-000000003.arrow"]


def test_a_damaged_file_of_repairs_is_named(ledger: Ledger) -> None:
    repaired(ledger, {"block": [FIRST]})
    written(ledger, items_of([FIRST]))
    next(ledger.directory.glob("repair-*")).write_bytes(b"ARROW1")
    with pytest.raises(Malformed, match=r"repair-000000000\.arrow is damaged"):
        statement_of(ledger)


def test_what_the_list_wants_anew_is_no_repair() -> None:
    known = items_of(range(FIRST, FIRST + 4), entries=[(1,), (2,), (3,), (4,)])
    state = LedgerState.of(known, np.zeros(4, np.uint8))
    wider = items_of([FIRST + 2], entries=[(3,)], scope=3)
    in_sink_items = Items.merged(wider, items_of([FIRST + 3, FIRST + 9], entries=[(), ()]))
    target = items_of([FIRST, FIRST + 1, FIRST + 2, FIRST + 5], entries=[(1,), (20,), (3,), (5,)])
    found = find_repairs(state, in_sink_items, target, *matched(in_sink_items, target))
    assert {operation: numbers.tolist() for operation, (numbers, _) in found.items()} == {
        "block": [FIRST],  # not FIRST + 1, which has another entry now, nor FIRST + 5, which is new
        "change": [FIRST + 2],
        "unblock": [FIRST + 9],  # not FIRST + 3, which the list has dropped
    }


# Formats


def hostile(ledger: Ledger) -> Statement:
    kinds = [
        Outcome("refused", "<script>alert('+6281234567890')</script>"),
        Outcome("refused", '=HYPERLINK("x")'),
        DONE,
    ]
    written(ledger, items_of(range(FIRST, FIRST + 3), categories=["a&b<i>", '"x', "fraud"]), kinds)
    written(ledger, items_of([FIRST + 2]), [Outcome("refused", "court")], operation="unblock", serial=2)
    return statement_of(ledger)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_needs_nothing_beside_itself_and_runs_nothing(ledger: Ledger) -> None:
    text = statement_html(hostile(ledger))
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "i", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text
    assert "http:" not in text
    assert "<script>alert(" in page.text
    assert "a&b<i>" in page.text
    assert page.tags.count("svg") == 1


def test_the_page_warns_of_unblocks_that_were_not_carried_out(ledger: Ledger) -> None:
    assert "Not carried out: 1 unblock." in Page(statement_html(hostile(ledger))).text


def test_no_format_shows_a_telephone_number(ledger: Ledger) -> None:
    statement = hostile(ledger)
    for text in (statement_html(statement), statement.to_csv(), statement.to_json()):
        assert not re.search(r"\d{9}", text)


def test_the_csv_can_be_read(ledger: Ledger) -> None:
    rows = list(csv.DictReader(io.StringIO(hostile(ledger).to_csv())))
    assert {(row["month"], row["feed"], row["sink"]) for row in rows} == {(MONTH, FEED, "hlr")}
    found = {(row["part"], row["name"], row["figure"]): row["value"] for row in rows}
    assert found["operation", "block", "refused"] == "2"
    assert found["operation", "change", "time_median_s"] == ""
    assert found["category", "a&b<i>", "refused"] == "1"
    assert not [row for row in rows if row["name"].startswith("=")]


def test_the_json_has_everything(ledger: Ledger) -> None:
    statement = hostile(ledger)
    document: Any = json.loads(statement.to_json())
    assert document["operations"]["block"]["time"] == {"count": 1, "median_s": 900.0, "p95_s": 900.0}
    assert document["days"][4] == {"day": "2026-10-05", "blocked": 1, "lifted": 0}
    assert document["made_at"] == "2026-11-03T09:00:00Z"


def test_a_month_without_changes_has_a_statement_as_well(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]), published=PUBLISHED - timedelta(days=60))
    statement = statement_of(ledger)
    assert statement.operations["block"].received == 0
    assert statement.to_csv().count("\n") > 30


def test_a_ledger_into_which_nothing_was_enforced_has_no_statement(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="nothing has been enforced into hlr yet"):
        statement_of(ledger)
    ledger.replace(ledger.state())
    with pytest.raises(InvalidInput, match="has no record of 2026-10: it has none"):
        statement_of(ledger)


def test_a_shadows_statement_says_that_nothing_has_happened(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "hlr.shadow", feed=FEED) as ledger:
        written(ledger, items_of([FIRST]))
        statement = statement_of(ledger)
    assert statement.is_shadow
    assert "None of it has happened" in statement_html(statement)


# The page


def of_200(ledger: Ledger) -> Statement:
    """150 of 200 are done after 3 min 46 s."""
    kinds = [DONE] * 150 + [Outcome("recycled")] * 34 + [Outcome("refused", "court")] * 6 + [FAILED] * 10
    begun = PUBLISHED + timedelta(seconds=46)
    categories = ["fraud", "phishing"] * 100
    written(
        ledger,
        items_of(range(FIRST, FIRST + 200), categories=categories),
        kinds,
        begun=begun,
        took=timedelta(minutes=3),
    )
    return statement_of(ledger)


def page_of(statement: Statement, language: Language = "en") -> Page:
    return Page(statement_html(statement, language=language))


def test_the_page_begins_with_a_sentence(ledger: Ledger) -> None:
    statement = of_200(ledger)
    assert "150 of 200 numbers blocked (75 %), half of them within 3 min 46 s." in page_of(statement).text
    assert "The other 50: nothing to do 34, refused 6, open 10." in page_of(statement).text
    in_indonesian = page_of(statement, "id").text
    assert "150 dari 200 nomor telah diblokir (75%), separuhnya dalam waktu 3 menit 46 detik." in in_indonesian


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ([DONE], "1 of 1 number blocked (100 %), within 15 min."),
        ([FAILED], "0 of 1 number blocked (0 %). Open 1."),
        ([DONE, FAILED], "1 of 2 numbers blocked (50 %), within 15 min. The other 1: open 1."),
        ([DONE] * 399 + [FAILED], "399 of 400 numbers blocked (over 99 %), half of them within 15 min."),
        ([DONE] + [Outcome("refused")] * 399, "1 of 400 numbers blocked (under 1 %), within 15 min."),
    ],
)
def test_the_sentence_is_true_for_small_counts(ledger: Ledger, outcomes: list[Outcome], sentence: str) -> None:
    written(ledger, items_of(range(FIRST, FIRST + len(outcomes))), outcomes)
    assert sentence in page_of(statement_of(ledger)).text


def test_the_sentence_says_what_was_carried_over_and_what_are_ranges(ledger: Ledger) -> None:
    before = datetime(2026, 9, 30, 12, tzinfo=UTC)
    written(ledger, items_of([(FIRST, FIRST + 9)]), [FAILED], published=before)
    written(ledger, items_of([(FIRST, FIRST + 9)]))
    text = page_of(statement_of(ledger)).text
    assert "1 of 1 number or range blocked (100 %)" in text
    assert "1 is carried over from the month before." in text


def test_a_month_without_changes_has_a_sentence_and_no_zeros(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]), published=PUBLISHED - timedelta(days=60))
    page = page_of(statement_of(ledger))
    assert "No number was to be blocked." in page.text
    assert not {"table", "svg"} & set(page.tags)
    assert "Tidak ada nomor yang harus diblokir." in page_of(statement_of(ledger), "id").text


def test_only_what_occurred_has_a_row_or_a_column(ledger: Ledger) -> None:
    text = page_of(of_200(ledger)).text
    assert "Unblocks" not in text
    assert "Overtaken" not in text
    assert "Set aside" not in text
    assert "overtaken" not in text


def test_the_rows_of_the_categories_add_up_on_the_page(ledger: Ledger) -> None:
    lines = page_of(of_200(ledger)).text.split("\n")
    assert "categoryreceivedblockedrefusednothing to dowaiting or failed" in lines
    assert "total20015063410" in lines  # 200 = 150 + 6 + 34 + 10


def test_who_makes_the_statement_is_on_it_or_left_out(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]), serial=7)
    written(ledger, items_of([FIRST + 1]), serial=12)
    without = page_of(statement_of(ledger)).text
    assert "Organisation" not in without
    assert "Contact" not in without
    statement = monthly_statement(ledger, MONTH, now=AFTER, organisation="PT <Contoh>", contact="=sari@contoh.example")
    text = page_of(statement).text
    for words in (
        *("OrganisationPT <Contoh>", "Contact=sari@contoh.example", "Period1–31 October 2026 (UTC)"),
        *("Releases7–12", "Made on3 November 2026, 09:00 UTC", "Place and date", "Name and position", "Signature"),
    ):
        assert words in text
    assert "<Contoh>" not in statement_html(statement)
    in_indonesian = page_of(statement, "id").text
    for words in ("OrganisasiPT <Contoh>", "Periode1–31 Oktober 2026 (UTC)", "3 November 2026 pukul 09.00 UTC"):
        assert words in in_indonesian
    found = {row["figure"]: row["value"] for row in csv.DictReader(io.StringIO(statement.to_csv()))}
    assert (found["organisation"], found["contact"]) == ("PT <Contoh>", "'=sari@contoh.example")
    assert (found["first_serial"], found["is_whole"], found["made_at"]) == ("7", "true", "2026-11-03T09:00:00Z")


@pytest.mark.parametrize("name", ["organisation", "contact"])
@pytest.mark.parametrize("text", ["", " ", "a\nb", "a\x1b[2J"])
def test_who_makes_the_statement_is_one_line(ledger: Ledger, name: str, text: str) -> None:
    written(ledger, items_of([FIRST]))
    with pytest.raises(InvalidInput, match=f"{name} must be one line"):
        monthly_statement(ledger, MONTH, now=AFTER, **{name: text})


def test_the_month_so_far_is_said_so(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    statement = statement_of(ledger, now=datetime(2026, 10, 8, 12, tzinfo=UTC))
    assert "1–8 October 2026 (UTC), the month so far" in page_of(statement).text
    first = statement_of(ledger, now=datetime(2026, 10, 1, tzinfo=UTC))
    assert "1 Oktober 2026 (UTC), bulan berjalan" in page_of(first, "id").text


def test_the_page_says_what_was_repaired(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST, FIRST + 1]))
    repaired(ledger, {"block": [FIRST, FIRST + 1]})
    written(ledger, items_of([FIRST, FIRST + 1]))
    statement = statement_of(ledger)
    assert "2 changes that only put the sink right" in page_of(statement).text
    assert "(blocked again 2, set right 0, taken out 0, not done 0, open 0)" in page_of(statement).text
    assert "2 perbaikan" in page_of(statement, "id").text
    assert json.loads(statement.to_json())["repairs"]["blocked"] == 2
    rows = csv.DictReader(io.StringIO(statement.to_csv()))
    assert {row["figure"]: row["value"] for row in rows if row["part"] == "repair"}["blocked"] == "2"


def test_every_language_has_its_own_form_of_numbers_and_every_text(ledger: Ledger) -> None:
    written(ledger, items_of(range(FIRST, FIRST + 1234)))
    statement = statement_of(ledger)
    assert "1,234 of 1,234 numbers" in page_of(statement).text
    assert "1.234 dari 1.234 nomor" in page_of(statement, "id").text
    assert '<html lang="id">' in statement_html(statement, language="id")
    english, indonesian = (asdict(TEXTS[language]) for language in ("en", "id"))
    for name in ("operations", "figures", "explanations", "kinds"):
        assert english[name].keys() == indonesian[name].keys()
    with pytest.raises(InvalidInput, match="en or id, not 'fr'"):
        statement_html(statement, language="fr")  # type: ignore[arg-type]


def fields_of(value: Any) -> list[str]:
    """The names in braces in a text, or in each of several."""
    if isinstance(value, str):
        return sorted({name for _, name, _, _ in Formatter().parse(value) if name})
    return [name for each in value for name in [*fields_of(each), "/"]]


def test_the_texts_of_all_languages_are_filled_in_alike() -> None:
    english, indonesian = (asdict(TEXTS[language]) for language in ("en", "id"))
    names = {name for name, text in english.items() if not isinstance(text, dict)}
    assert [name for name in sorted(names) if fields_of(english[name]) != fields_of(indonesian[name])] == []


@pytest.mark.parametrize(
    ("seconds", "english", "indonesian"),
    [
        (None, "–", "–"),
        (0, "0 s", "0 detik"),
        (3.46, "3.5 s", "3,5 detik"),
        (9.97, "10 s", "10 detik"),
        (59.7, "1 min", "1 menit"),
        (226, "3 min 46 s", "3 menit 46 detik"),
        (3599.9, "1 h", "1 jam"),
        (3725, "1 h 2 min", "1 jam 2 menit"),
        (100_000, "1 d 3 h", "1 hari 3 jam"),
    ],
)
def test_durations_are_written_for_people(seconds: float | None, english: str, indonesian: str) -> None:
    written_in = [TEXTS[language].duration(seconds).replace("\N{NO-BREAK SPACE}", " ") for language in ("en", "id")]
    assert written_in == [english, indonesian]


@given(most=st.integers(1, 10**9))
def test_the_axis_fits(most: int) -> None:
    ticks = axis(most)
    assert ticks[-1] >= most > ticks[-2]
    assert len(ticks) <= 6
    assert most / ticks[-1] > 0.6
    assert {after - before for before, after in pairwise(ticks)} == {ticks[1]}


def test_the_chart_has_a_description_and_a_table(ledger: Ledger) -> None:
    page = page_of(of_200(ledger))
    assert ("role", "img") in page.attributes
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert "150 blocked and 0 lifted, 1–31 October 2026 (UTC), by day; at most 150 in one day" in labels
    assert "5 October 2026150" in page.text.split("\n")


def test_the_page_is_made_for_paper(ledger: Ledger) -> None:
    text = statement_html(of_200(ledger))
    assert "size: A4" in text
    assert 'counter(page) " / " counter(pages)' in text
    assert 'content: "id-telkomsel · October 2026"' in text


def test_many_reasons_are_summed_up_on_the_page(ledger: Ledger) -> None:
    kinds = [Outcome("refused", f"reason {place}") for place in range(30)] + [Outcome("refused")] * 3
    written(ledger, items_of(range(FIRST, FIRST + 33)), kinds)
    text = page_of(statement_of(ledger), "id").text
    assert text.count("reason ") == 9
    assert "sistem tidak menyebutkan alasan" in text
    assert "alasan lain––21" in text


def test_acknowledged_receipts_are_said_so(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    ledger.acknowledge(1, [], at=AFTER)
    assert "has acknowledged the receipts of every batch" in page_of(statement_of(ledger)).text
