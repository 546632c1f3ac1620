"""Ledgers on disk: those that an earlier version wrote are read with the same meaning."""

from pathlib import Path

import pytest

from blocklist_sdk.enforcement.items import Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_files import read_table, write_table
from blocklist_sdk.enforcement.plan import PlannedBatch
from support.ledgers import FIRST, PUBLISHED, items_of

FEED = "id-telkomsel"


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
