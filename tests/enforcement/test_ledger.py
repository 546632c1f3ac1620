"""Ledgers on disk: an earlier version's are read, what is lost or damaged is noticed, and a kill damages none."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocklist_sdk import Malformed
from blocklist_sdk.enforcement.items import Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_files import read_table, write_table
from blocklist_sdk.enforcement.plan import PlannedBatch
from blocklist_sdk.enforcement.receipts import receipts_of
from blocklist_sdk.enforcement.statement_sums import monthly_statement
from support.killing import Moment, Say, nursery
from support.ledgers import FIRST, PUBLISHED, items_of, written

FEED = "id-telkomsel"
REPAIR = "--reconcile --repair"


@pytest.mark.parametrize(
    ("operation", "is_urgent", "lifts", "is_capped"),
    [
        ("block", False, False, True),
        ("change", False, False, True),
        ("change", True, True, False),
        ("unblock", True, True, False),
    ],
)
def test_a_record_that_says_only_whether_it_was_urgent_is_read(
    tmp_path: Path, operation: Operation, is_urgent: bool, lifts: bool, is_capped: bool
) -> None:
    with Ledger.open(tmp_path, feed=FEED) as ledger:
        batch = PlannedBatch(operation, items_of([FIRST]), lifts=not lifts, is_capped=not is_capped)
        number = ledger.begin(batch, serial=1, published=PUBLISHED, at=PUBLISHED).number_in_ledger
        (path,) = (path for path in tmp_path.rglob("*") if path.is_file() and b"is_capped" in path.read_bytes())
        table, about = read_table(path)
        del about["lifts"], about["is_capped"]
        write_table(path, table, {**about, "is_urgent": is_urgent})
        record = ledger.record(number)
    assert (record.lifts, record.is_capped) == (lifts, is_capped)


def use(directory: Path) -> None:
    """Everything that is asked of a ledger."""
    with Ledger.open(directory, feed=FEED) as ledger:
        ledger.tries()
        ledger.state()
        ledger.fold(at=PUBLISHED + timedelta(days=500))
    with Ledger.outbox(directory, feed=FEED) as ledger:
        for record in ledger.unacknowledged():
            list(receipts_of(record))
        for number, receipt in ledger.refused_receipts():
            ledger.acknowledged_at(number)
            assert isinstance(receipt["reason"], str)
    with Ledger.read(directory, feed=FEED) as ledger:
        monthly_statement(ledger, f"{PUBLISHED:%Y-%m}", now=PUBLISHED + timedelta(days=500))


def filled(directory: Path) -> None:
    """A ledger with a base, three records after it, and a file of each kind."""
    with Ledger.open(directory, feed=FEED) as ledger:
        written(ledger, items_of([FIRST]))
        ledger.replace(ledger.state())
        for place in (1, 2, 3):
            written(ledger, items_of([FIRST + place]))
        ledger.acknowledge(2, [{"entry": 1, "outcome": "enforced", "reason": "unknown"}], at=PUBLISHED)
        ledger.keep_tries({"key": 1})


def records(directory: Path, *numbers: int) -> list[Path]:
    return [path for number in numbers for path in (directory / "records").glob(f"{number:09d}.*")]


@pytest.mark.parametrize(
    "lost",
    [
        lambda directory: [directory / "records"],
        lambda directory: list((directory / "records").iterdir()),
        lambda directory: records(directory, 2),
        lambda directory: records(directory, 4),
        lambda directory: records(directory, 3, 4),
        lambda directory: list(directory.glob("base-*")),
        lambda directory: [directory / "ledger.json"],
    ],
    ids=["folder", "all records", "first record", "last record", "last records", "base", "ledger.json"],
)
def test_a_ledger_that_has_lost_something_does_not_go_on_without_it(
    tmp_path: Path, lost: Callable[[Path], list[Path]]
) -> None:
    filled(tmp_path)
    use(tmp_path)
    for path in lost(tmp_path):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Malformed, match=f"is missing.*{REPAIR}"):
        Ledger.open(tmp_path, feed=FEED)
    assert sorted(tmp_path.rglob("*")) == before


def test_lost_records_are_noticed_by_statements_and_receipts(tmp_path: Path) -> None:
    filled(tmp_path)
    for path in records(tmp_path, 4):
        path.unlink()
    for way in (Ledger.read, Ledger.outbox):
        with pytest.raises(Malformed, match=f"is missing.*{REPAIR}"):
            way(tmp_path, feed=FEED)


def act(directory: Path, argument: int, say: Say) -> None:
    """A ledger's whole life, step by step."""
    with Ledger.open(directory, feed=FEED) as ledger:
        for place in range(3):
            written(ledger, items_of([FIRST + place]))
            say(str(place + 1))
        ledger.replace(ledger.state(), after=10)
        written(ledger, items_of([FIRST + 5]))
        ledger.fold(at=PUBLISHED + timedelta(days=500))


def test_no_ledger_is_refused_because_a_run_was_killed(tmp_path: Path) -> None:
    with nursery(partial(act, tmp_path / "ledger")) as children:
        for step in range(100):
            end = children.run(0, Moment(step=step))
            with Ledger.open(tmp_path / "ledger", feed=FEED) as ledger:
                numbers = [record.batch.number_in_ledger for record in ledger.records()]
                assert len(ledger.state().whole().items) >= len(end.said)
            assert numbers[: len(end.said)] == list(range(1, len(end.said) + 1))
            shutil.rmtree(tmp_path / "ledger")
            if not end.was_killed:
                break
    assert 10 < step < 99


def test_a_ledger_that_does_not_say_its_last_record_is_read_and_says_it_from_then_on(tmp_path: Path) -> None:
    filled(tmp_path)
    file = tmp_path / "ledger.json"
    document = json.loads(file.read_text())
    assert document.pop("last") == 4
    file.write_text(json.dumps(document))
    use(tmp_path)
    with Ledger.open(tmp_path, feed=FEED) as ledger:
        written(ledger, items_of([FIRST + 4]))
    assert json.loads(file.read_text())["last"] == 5


BAD_MEMBERS: list[Any] = [None, [], {}, 1.5]
BAD_FACTS: list[Any] = [None, [], "soon", "2026-10-05T06:00:00"]


def set_member(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({name: value})


JSON_DAMAGE: list[Callable[[dict[str, Any]], object]] = [
    *(lambda document, name=name: document.pop(name) for name in ("id", "feed", "base", "folded")),
    *(set_member(name, value) for name in ("id", "feed", "folded", "last") for value in BAD_MEMBERS),
    set_member("base", 7),
    set_member("folded", "1"),
    set_member("folded", -1),
    set_member("last", True),
    set_member("tries", ["key"]),
    set_member("tries", {"key": "1"}),
    lambda document: document.pop("tries"),
    lambda document: document.pop("refused"),
    lambda document: document.pop("at"),
    set_member("refused", 7),
    set_member("refused", [7]),
    set_member("refused", [{"entry": 1}]),
    set_member("refused", [{"entry": "1", "outcome": "enforced", "reason": "x"}]),
    set_member("at", 7),
    set_member("at", "yesterday"),
    set_member("at", "2026-10-05T06:00:00"),
]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("ledger.json", REPAIR),
        ("tries.json", "remove this file; failures"),
        ("records/000000002.receipts.json", "remove this file, and the receipts are sent again"),
    ],
)
def test_a_damaged_document_is_an_error_that_says_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    filled(tmp_path)
    file = tmp_path / name
    whole = file.read_text()
    wrong = ["", "[]", "{}", "null", '{"format": "1"}', whole[: len(whole) // 2]]
    for damage in JSON_DAMAGE:
        document = json.loads(whole)
        try:
            damage(document)
        except KeyError:
            continue
        if document.keys() <= json.loads(whole).keys():
            wrong.append(json.dumps(document))
    assert len(wrong) > 8
    for text in wrong:
        file.write_text(text)
        with pytest.raises(Malformed) as caught:
            use(tmp_path)
        assert str(file) in str(caught.value), text
        assert advice in str(caught.value), text


ABOUT_DAMAGE: list[Callable[[dict[str, Any]], object]] = [
    *(lambda about, name=name: about.pop(name) for name in ("operation", "serial", "published", "begun", "done")),
    *(set_member(name, value) for name in ("operation", "serial", "published", "begun", "done") for value in BAD_FACTS),
]


@pytest.mark.parametrize("kind", ["batch", "done"])
def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path: Path, kind: str) -> None:
    filled(tmp_path)
    file = tmp_path / f"records/000000003.{kind}.arrow"
    table, about = read_table(file)
    wrong: list[tuple[pa.Table, Any]] = [(table, []), (table, None), (table.slice(0, 0), about)]
    wrong += [(table.drop_columns(name), about) for name in table.column_names if len(table.column_names) > 1]
    wrong += [
        (table.set_column(place, name, pa.nulls(len(table), table.column(name).type)), about)
        for place, name in enumerate(table.column_names)
        if name not in ("detail", "entries", "lifted")
    ]
    for damage in ABOUT_DAMAGE:
        other = dict(about)
        try:
            damage(other)
        except KeyError:
            continue
        if other.keys() <= about.keys():
            wrong.append((table, other))
    if kind == "done":
        wrong.append((pa.table({"outcome": pa.array([99], pa.uint8()), "detail": table.column("detail")}), about))
        wrong.append((pa.table({"outcome": pa.array(["done"]), "detail": table.column("detail")}), about))
    for each, facts in wrong:
        file.unlink()
        write_raw(file, each, facts)
        with pytest.raises(Malformed, match=REPAIR) as caught:
            use(tmp_path)
        assert "records/000000003." in str(caught.value), (each.schema, facts)


def write_raw(path: Path, table: pa.Table, about: Any) -> None:
    table = table.replace_schema_metadata({"about": json.dumps(about)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
