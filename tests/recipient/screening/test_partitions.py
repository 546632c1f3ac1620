"""Tables that an engine has cut: every part is answered as the whole would be, and nothing else changes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput
from blocklist_sdk.numbers import decide_form
from blocklist_sdk.numbers.form_sample import FormSample
from blocklist_sdk.recipient.screening.partitions import ANSWERS, RELEASE, joined, place_of, sampled, screened
from support.world import FIRST, LISTED, make_world

MESSY = [LISTED, f"0{LISTED[3:]}", "0899-1111-2222", "GoPay", "", None, *(f"0{number[3:]}" for number in FIRST[:40])]


@pytest.fixture(scope="module")
def blocklist(tmp_path_factory: pytest.TempPathFactory) -> Blocklist:
    recipient = make_world(tmp_path_factory.mktemp("world")).recipient()
    recipient.sync()
    return recipient


def cut(column: pa.Array, sizes: Sequence[int]) -> list[pa.RecordBatch]:
    """A table of one column as an engine hands it over, in batches of these sizes."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        pa.record_batch([column[start : start + size]], ["msisdn"]) for start, size in zip(starts, sizes, strict=True)
    ]


def never() -> NoReturn:
    raise AssertionError("nothing needs to be opened")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_batches_are_answered_as_the_column_is(blocklist: Blocklist, kind: pa.DataType) -> None:
    column = pa.array(MESSY, pa.string()).cast(kind)
    batches = cut(column, [3, 0, 1, len(MESSY) - 4])
    found = list(screened(batches, lambda: blocklist.screening().with_form("national"), 0))
    assert [len(batch) for batch in found] == [len(batch) for batch in batches]
    table = pa.Table.from_batches(found)
    whole = blocklist.screen(column)
    assert table.column("msisdn").to_pylist() == MESSY
    for name in ANSWERS.names:
        assert table.column(f"blocklist_{name}").to_pylist() == whole.column(name).to_pylist(), name
        assert table.schema.field(f"blocklist_{name}").type == ANSWERS.field(name).type


def test_whole_numbers_are_read_as_the_text_of_their_digits(blocklist: Blocklist) -> None:
    column = pa.array([int(LISTED), None, 112, -1], pa.int64())
    (found,) = screened(cut(column, [4]), lambda: blocklist.screening().with_form("international"), 0)
    assert found.column("blocklist_blocked").to_pylist() == [True, None, None, None]


def test_other_columns_stay_as_they_are(blocklist: Blocklist) -> None:
    batch = pa.record_batch(
        {
            "id": pa.array([1, 2], pa.int32()),
            "nested": pa.array([{"a": [1, None], "b": {"c": "x"}}, None]),
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            "msisdn": pa.array([LISTED, None]),
            "at": pa.array([datetime(2026, 1, 2, tzinfo=UTC), None], pa.timestamp("us", "Asia/Jakarta")),
        }
    ).replace_schema_metadata({"of": "the engine"})
    (found,) = screened([batch], blocklist.screening, 3, prefix="_")
    assert found.select(batch.schema.names).equals(batch)
    assert found.schema.names == [*batch.schema.names, *(f"_{name}" for name in ANSWERS.names)]
    assert found.column("_blocked").to_pylist() == [True, None]
    (renamed,) = screened([batch], blocklist.screening, 3, prefix="_", names=["a", "b", "c", "d", "e"])
    assert renamed.schema.names[:6] == ["a", "b", "c", "d", "e", "_number"]
    assert renamed.columns == found.columns


def test_a_part_without_rows_opens_nothing() -> None:
    empty = pa.record_batch([pa.array([], pa.string())], ["msisdn"])
    (found,) = screened([empty], never, 0)
    assert len(found) == 0
    assert [field.type for field in found.schema][1:] == [field.type for field in ANSWERS]
    assert list(screened([], never, 0)) == []


def test_the_list_is_opened_once_for_a_part(blocklist: Blocklist) -> None:
    opened: list[int] = []

    def open_screening() -> Any:
        opened.append(1)
        return blocklist.screening()

    assert len(list(screened(cut(pa.array([LISTED] * 6), [2, 2, 2]), open_screening, 0))) == 3
    assert opened == [1]


def decided(parts: list[list[pa.RecordBatch]], region: str = "ID") -> Any:
    """The form that parts decide together, as an engine has them do it."""
    samples = [batch for part in parts for batch in sampled(part)]
    sample = FormSample()
    for batch in joined(samples):
        sample.add_packed(batch.column(0)[0].as_py())
    return decide_form(sample.column, region=region)


def test_no_part_decides_the_form_alone() -> None:
    """The first part fits both forms, and would be taken as national; the others show that it is not."""
    texts = ["85512345678", "85251234567", "819012345678"] * 10 + ["14155550100"] * 40
    column = pa.array(texts)
    assert decide_form(column[:30], region="ID").form != decide_form(column, region="ID").form
    for sizes in ([70], [30, 40], [1, 29, 0, 39, 1]):
        assert decided([[batch] for batch in cut(column, sizes)]) == decide_form(column, region="ID")
    assert decided([[], cut(column, [70]), []]).form == "international"


def test_a_table_without_rows_decides_as_an_empty_column() -> None:
    assert list(sampled([])) == []
    assert list(sampled(cut(pa.array([], pa.string()), [0]))) == []
    assert list(joined([])) == []
    assert decided([[], []]) == decide_form(pa.array([], pa.string()), region="ID")


def test_whole_numbers_decide_as_well() -> None:
    column = pa.array([85512345678, 14155550100, None, 14155550101], pa.int64())
    assert decided([[batch] for batch in cut(column, [1, 3])]) == decide_form(column, region="ID")


def test_where_the_column_is() -> None:
    assert place_of("msisdn", ["id", "msisdn", "a.b"], prefix="blocklist_") == 1
    assert place_of("a.b", ["id", "msisdn", "a.b"], prefix="blocklist_") == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["id"], "there is no column 'msisdn', only 'id'"),
        (["msisdn", "id", "ID"], "several columns are called 'ID' or 'id'"),
        (["msisdn", "msisdn"], "several columns are called 'msisdn'"),
        *((["msisdn", f"Blocklist_{name}"], "choose another prefix=") for name in (*ANSWERS.names, *RELEASE)),
    ],
)
def test_names_that_would_not_be_clear_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        place_of("msisdn", names, prefix="blocklist_")
