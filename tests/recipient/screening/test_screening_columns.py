"""Screening answers, row for row, as `check` does for each number."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Blocklist, InvalidInput, InvalidNumber, NotSynced
from blocklist_sdk.recipient.screening import columns
from blocklist_sdk.recipient.screening.columns import SCHEMA
from support.world import FEED, FIRST, LISTED, World, make_world

MESSY = [
    "0812-0000-0001",
    "6281200000001",
    "tel:+62-812-0000-0001",
    "\u200e+62 812 0000 0001",
    "0062 812 0000 0001",
    "+62 899 0000 0001",
    "GoPay",
    "112",
    "+62812000*",
    "nan",
    "",
    None,
]


@pytest.fixture(scope="module")
def blocklist(tmp_path_factory: pytest.TempPathFactory) -> Blocklist:
    world = make_world(tmp_path_factory.mktemp("world"))
    recipient = world.recipient()
    recipient.sync()
    return recipient


def checked(blocklist: Blocklist, text: Any) -> dict[str, Any]:
    """The answer of `check`, as a screened row."""
    try:
        verdict = blocklist.check(str(text)) if text is not None else None
    except InvalidNumber:
        verdict = None
    if verdict is None:
        return dict.fromkeys(SCHEMA.names)
    entry = verdict.entries[0] if verdict.blocked else None
    return {
        "number": verdict.number,
        "blocked": verdict.blocked,
        "level": verdict.level,
        "category": entry and entry.category,
        "reason": verdict.reason,
    }


@given(st.lists(st.sampled_from([*MESSY, *FIRST[:50]]), max_size=30))
def test_row_for_row(blocklist: Blocklist, texts: list[str | None]) -> None:
    found = blocklist.screen(pa.array(texts, pa.string()))
    assert found.schema == SCHEMA
    pa.table(found).validate(full=True)
    assert found.to_pylist() == [checked(blocklist, text) for text in texts]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(MESSY),
        pa.array(MESSY, pa.large_string()),
        pa.array(MESSY, pa.string_view()),
        pa.array(MESSY).dictionary_encode(),
        pa.chunked_array([MESSY[:3], MESSY[3:]]),
        pa.table({"msisdn": MESSY}),
        pl.Series(MESSY),
        pl.Series(MESSY).cast(pl.Categorical),
        pl.DataFrame({"msisdn": MESSY}),
    ],
    ids=lambda column: f"{type(column).__module__}.{type(column).__name__}",
)
def test_whatever_speaks_arrow(blocklist: Blocklist, column: Any) -> None:
    assert blocklist.screen(column).to_pylist() == [checked(blocklist, text) for text in MESSY]


def test_a_duckdb_result(blocklist: Blocklist) -> None:
    with duckdb.connect() as connection:
        found = blocklist.screen(connection.sql("SELECT unnest(['0812-0000-0001', NULL, '0899-0000-0001']) AS msisdn"))
    assert found.column("blocked").to_pylist() == [True, None, False]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.int32(), pa.uint32()], ids=str)
def test_integers(blocklist: Blocklist, kind: pa.DataType) -> None:
    numbers = [6281200000001, 81200000001, 0, None] if kind.bit_width == 64 else [812000001, 7, None]
    found = blocklist.screen(pa.array(numbers, kind)).to_pylist()
    assert found == [checked(blocklist, number) for number in numbers]


def test_many_rows_by_several_threads(blocklist: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_ROWS_PER_BATCH", 1000)
    monkeypatch.setattr(columns, "threads", lambda: 4)
    texts = (FIRST * 10)[:20_001] + MESSY
    found = blocklist.screen(pa.chunked_array([texts[:7], texts[7:], pa.array([], pa.string())]))
    assert found.num_rows == len(texts)
    assert found.column("blocked").to_pylist()[:20_001] == [True] * 20_001
    assert found.to_pylist()[20_001:] == [checked(blocklist, text) for text in MESSY]


@pytest.mark.parametrize(
    "column", [pa.array([], pa.string()), pa.chunked_array([], pa.string()), pl.Series([], dtype=pl.String)]
)
def test_nothing_to_screen(blocklist: Blocklist, column: Any) -> None:
    found = blocklist.screen(column)
    assert (found.schema, found.num_rows) == (SCHEMA, 0)


def test_one_scope(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    source = tmp_path / "scoped.csv"
    source.write_text("number,scope,level\n+6281200000001,sms,block\n+6281200000002,voice,advisory\n")
    world.publisher.release(FEED, source)
    recipient = world.recipient()
    recipient.sync()
    asked = pa.array([6281200000001, 6281200000002, 6281200000003])
    levels = {
        scope: recipient.screen(asked, scope=scope).column("level").to_pylist() for scope in (None, "sms", "voice")
    }
    assert levels == {
        None: ["block", "advisory", None],
        "sms": ["block", None, None],
        "voice": [None, "advisory", None],
    }


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.5]), "double"),
        (pa.array([True]), "bool"),
        (pa.array([[1]]), "list"),
        (pa.table({"a": ["1"], "b": ["2"]}), "a, b"),
        (pa.chunked_array([], pa.float64()), "double"),
        (["+62812"], "pyarrow.array"),
        (None, "NoneType"),
    ],
    ids=str,
)
def test_a_column_of_the_wrong_type(blocklist: Blocklist, column: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        blocklist.screen(column)


def test_a_null_row_of_a_table_is_not_a_number(blocklist: Blocklist) -> None:
    rows = pa.StructArray.from_arrays([pa.array([LISTED, LISTED])], names=["msisdn"], mask=pa.array([False, True]))
    assert blocklist.screen(pa.chunked_array([rows])).column("blocked").to_pylist() == [True, None]


def test_no_such_scope(blocklist: Blocklist) -> None:
    with pytest.raises(InvalidInput, match="not a scope"):
        blocklist.screen(pa.array(["+62812"]), scope="fax")  # type: ignore[arg-type]


def test_before_the_first_sync(tmp_path: Path) -> None:
    recipient = make_world(tmp_path).recipient()
    with pytest.raises(NotSynced):
        recipient.screen(pa.array([LISTED]))


def test_a_screening_holds_on_to_its_release(tmp_path: Path) -> None:
    world: World = make_world(tmp_path)
    recipient = world.recipient()
    recipient.sync()
    screening = recipient.screening()
    world.release(FIRST[1:])
    recipient.sync()
    assert screening.batch(pa.array([LISTED])).column("blocked").to_pylist() == [True]
    assert recipient.screen(pa.array([LISTED])).column("blocked").to_pylist() == [False]
