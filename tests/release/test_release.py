"""Promises of release files, digests, differences and their application."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release import files as files_module
from blocklist_sdk.release import rows as rows_module
from blocklist_sdk.release.arrow import from_table, to_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_delta, read_snapshot, write_delta, write_snapshot
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.merge import Delta, delta_between, difference
from blocklist_sdk.release.rows import FOREVER_MS, Rows, joined
from support.strategies import Row, plain_rows, successive_rows, to_plain, to_rows

VECTORS = Path(__file__).parents[2] / "docs" / "protocol" / "vectors"


@given(plain_rows())
def test_rows_survive_the_way_to_arrow_and_back(plain: list[Row]) -> None:
    assert to_plain(from_table(to_table(to_rows(plain)))) == plain


@given(plain_rows())
def test_rows_survive_a_snapshot_file(tmp_path_factory: pytest.TempPathFactory, plain: list[Row]) -> None:
    path = tmp_path_factory.mktemp("snapshot") / "1.snapshot.parquet"
    write_snapshot(to_rows(plain), path)
    assert to_plain(read_snapshot(path)) == plain


@given(plain_rows(), st.integers(1, 7), st.integers(1, 7))
def test_a_snapshot_is_read_and_checked_a_part_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, plain: list[Row], read: int, checked: int
) -> None:
    path = tmp_path_factory.mktemp("snapshot") / "1.snapshot.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "_ROWS_PER_GROUP", 5)
        patch.setattr(files_module, "_ROWS_AT_A_TIME", read)
        patch.setattr(rows_module, "_ROWS_AT_A_TIME", checked)
        write_snapshot(to_rows(plain), path)
        found = read_snapshot(path)
        assert to_plain(found) == plain
        assert found.has_ranges == to_rows(plain).has_ranges
        assert digest(found) == digest(to_rows(plain))
        if len(plain) > 1:
            write_snapshot(to_rows(plain[::-1]), path)
            with pytest.raises(Malformed, match="not in order"):
                read_snapshot(path)


def test_parts_that_are_not_as_many_rows_as_they_should_be_are_malformed() -> None:
    part = to_rows([a_row()])
    for count, match in (
        (0, "does not have the 0 rows"),
        (2, "does not have the 2 rows"),
        (1 << 62, "cannot hold"),
        (-1, "cannot hold"),
    ):
        with pytest.raises(Malformed, match=match):
            joined([part], count)
    assert to_plain(joined([], 0)) == []
    assert to_plain(joined([Rows.empty(), part], 1)) == [a_row()]


def test_parts_with_many_texts_fit() -> None:
    """The codes of the first part are narrower than those of the last."""
    parts = [
        to_rows([a_row(number=i, entry=i, issuer=f"i{i:06}") for i in range(a, a + 300)]) for a in (1, 400, 70_000)
    ]
    parts.append(to_rows([a_row(number=i, entry=i, issuer=f"i{i:06}") for i in range(80_000, 150_000)]))
    found = joined(parts, sum(map(len, parts)))
    assert found.issuer.tolist() == [f"i{number:06}" for number in found.number.tolist()]


@given(successive_rows())
def test_a_delta_leads_from_one_release_to_the_next(
    tmp_path_factory: pytest.TempPathFactory, releases: tuple[list[Row], list[Row]]
) -> None:
    old, new = map(to_rows, releases)
    path = tmp_path_factory.mktemp("delta") / "2.delta.parquet"
    write_delta(delta_between(old, new), path)
    result, changes = apply(old, read_delta(path))
    assert to_plain(result) == releases[1]
    assert digest(result) == digest(new)
    found = difference(old, new)
    for name in ("added", "removed", "changed_old", "changed_new"):
        assert to_plain(getattr(changes, name)) == to_plain(getattr(found, name)), name
    for name in ("added", "removed", "changed_new"):
        part = getattr(found, name)
        assert to_plain(part.sort()) == to_plain(part), name


@given(successive_rows())
def test_the_difference_is_what_a_dictionary_of_entries_says(releases: tuple[list[Row], list[Row]]) -> None:
    old, new = ({row.entry: row for row in rows} for rows in releases)
    found = difference(*map(to_rows, releases))
    assert {*found.added.entry.tolist()} == new.keys() - old.keys()
    assert {*found.removed.entry.tolist()} == old.keys() - new.keys()
    assert {*found.changed_new.entry.tolist()} == {
        entry for entry in old.keys() & new.keys() if old[entry] != new[entry]
    }


@given(plain_rows(), st.randoms(use_true_random=False))
def test_the_digest_depends_on_the_entries_alone(plain: list[Row], random: object) -> None:
    rows = to_rows(plain)
    shuffled = list(plain)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digest(to_rows(shuffled).sort()) == digest(rows)
    half = len(plain) // 2
    halves = [to_table(to_rows(part)) for part in (plain[:half], plain[half:])]
    assert digest(from_table(pa.concat_tables(halves))) == digest(rows)


@given(successive_rows())
def test_digests_are_equal_just_where_rows_are(releases: tuple[list[Row], list[Row]]) -> None:
    old, new = releases
    assert (digest(to_rows(old)) == digest(to_rows(new))) == (old == new)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_digest_vectors(path: Path) -> None:
    vector = json.loads(path.read_text())
    plain = [
        Row(
            **{
                **row,
                "last": row["last"] or row["number"],
                "until": FOREVER_MS if row["until"] is None else row["until"],
            }
        )
        for row in vector["rows"]
    ]
    assert digest(to_rows(plain)) == vector["digest"]


def test_there_are_digest_vectors() -> None:
    assert len(list(VECTORS.glob("*.json"))) >= 5


def a_row(**values: object) -> Row:
    base: dict[str, object] = {
        "number": 6_281_234_567_890,
        "last": 6_281_234_567_890,
        "entry": 1,
        "level": "block",
        "category": "fraud",
        "issuer": "komdigi",
        "scope": "sms+voice",
        "since": 0,
        "until": FOREVER_MS,
    }
    return Row(**{**base, **values})  # type: ignore[arg-type]


def test_a_removal_of_what_is_not_there_is_malformed() -> None:
    other = delta_between(to_rows([a_row(entry=7)]), Rows.empty())
    with pytest.raises(Malformed, match="does not have"):
        apply(to_rows([a_row()]), other)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([a_row(number=10**15, last=10**15)], "not E.164"),
        ([a_row(number=0, last=0)], "not E.164"),
        ([a_row(last=6_281_234_567_000)], "ends before it starts"),
        ([a_row(entry=0)], "entry id"),
        ([a_row(since=1)], "moment"),
        ([a_row(since=-1000)], "moment"),
        ([a_row(until=10**17)], "moment"),
        ([a_row(entry=2), a_row(entry=1)], "not in order"),
        ([a_row(), a_row()], "twice"),
        ([a_row(number=5_000_000), a_row(number=4_000_000)], "not in order"),
    ],
)
def test_a_snapshot_that_breaks_the_protocol_is_malformed(tmp_path: Path, rows: list[Row], message: str) -> None:
    path = tmp_path / "1.snapshot.parquet"
    if "last" not in message:
        rows = [row if row.last >= row.number or "ends" in message else a_row(number=row.number) for row in rows]
    write_snapshot(to_rows(rows), path)
    with pytest.raises(Malformed, match=message):
        read_snapshot(path)


def test_files_are_packed_as_their_size_relies_on(tmp_path: Path) -> None:
    numbers = range(6_281_200_000_000, 6_281_200_000_999, 7)
    rows = to_rows([a_row(entry=i, number=number, last=number) for i, number in enumerate(numbers, start=1)])
    write_snapshot(rows, tmp_path / "1.snapshot.parquet")
    write_delta(delta_between(Rows.empty(), rows), tmp_path / "2.delta.parquet")
    for path in sorted(tmp_path.iterdir()):
        with pq.ParquetFile(path) as file:
            group = file.metadata.row_group(0)
            columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        for name in ("number", "last", "entry"):
            assert "DELTA_BINARY_PACKED" in columns[name].encodings
            assert not {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(columns[name].encodings)
            assert not columns[name].has_dictionary_page
        for name in ("level", "category", "issuer", "scope"):
            assert columns[name].has_dictionary_page


def test_columns_of_a_later_protocol_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "1.snapshot.parquet"
    table = to_table(to_rows([a_row()])).append_column("confidence", pa.array([0.5]))
    pq.write_table(table, path)
    assert to_plain(read_snapshot(path)) == [a_row()]


def test_plain_strings_read_like_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "1.snapshot.parquet"
    table = to_table(to_rows([a_row()]))
    for name in ("level", "category", "issuer", "scope"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(name).cast(pa.string()))
    pq.write_table(table, path, store_schema=False)
    assert to_plain(read_snapshot(path)) == [a_row()]


@pytest.mark.parametrize("name", ["number", "last", "entry", "level", "category", "issuer", "scope", "since", "until"])
def test_a_missing_column_is_malformed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "1.snapshot.parquet"
    pq.write_table(to_table(to_rows([a_row()])).drop_columns([name]), path)
    with pytest.raises(Malformed, match=name):
        read_snapshot(path)


@pytest.mark.parametrize("name", ["number", "entry", "level", "issuer", "since"])
def test_an_empty_cell_is_malformed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "1.snapshot.parquet"
    table = to_table(to_rows([a_row()]))
    at = table.schema.get_field_index(name)
    field = table.schema.field(name).with_nullable(True)
    pq.write_table(table.set_column(at, field, pa.nulls(1, field.type)), path)
    with pytest.raises(Malformed, match=name):
        read_snapshot(path)


@pytest.mark.parametrize("name", ["level", "category", "issuer", "scope"])
@pytest.mark.parametrize("encoded", [True, False])
def test_text_that_is_not_utf_8_is_malformed(tmp_path: Path, name: str, encoded: bool) -> None:
    path = tmp_path / "1.snapshot.parquet"
    table = to_table(to_rows([a_row()]))
    broken = pa.array([b"fr\xffaud"]).view(pa.string())
    column = broken.dictionary_encode() if encoded else broken
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), path)
    with pytest.raises(Malformed, match=f"{name}.*UTF-8"):
        read_snapshot(path)


def test_a_column_name_that_is_not_utf_8_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "1.snapshot.parquet"
    pq.write_table(to_table(to_rows([a_row()])), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"issuer", b"iss\xffer"))
    with pytest.raises(Malformed):
        read_snapshot(path)


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"<html>Log in to the hotel's network</html>", b"PAR1" + b"\0" * 99 + b"PAR1"]
)
def test_a_file_that_is_not_parquet_is_malformed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1.snapshot.parquet"
    path.write_bytes(data)
    with pytest.raises(Malformed):
        read_snapshot(path)
    with pytest.raises(Malformed):
        read_delta(path)


def test_an_unknown_operation_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "2.delta.parquet"
    write_delta(delta_between(Rows.empty(), to_rows([a_row()])), path)
    table = pq.read_table(path)
    table = table.set_column(table.schema.get_field_index("op"), "op", pa.array(["upsert"]))
    pq.write_table(table, path)
    with pytest.raises(Malformed, match="unknown operation"):
        read_delta(path)


def test_an_empty_delta_changes_nothing(tmp_path: Path) -> None:
    rows = to_rows([a_row()])
    path = tmp_path / "2.delta.parquet"
    write_delta(delta_between(rows, rows), path)
    delta = read_delta(path)
    assert len(delta) == 0
    assert to_plain(apply(rows, delta)[0]) == [a_row()]


def test_many_issuers_fit() -> None:
    plain = [a_row(number=i + 1, last=i + 1, entry=i + 1, issuer=f"issuer-{i}") for i in range(70_000)]
    rows = to_rows(plain)
    assert rows.issuer.codes.dtype == np.uint32
    one = Delta(puts=to_rows([a_row(entry=99_999, issuer="one more")]), removes=delta_between(rows, rows).removes)
    assert len(apply(rows, one)[0].issuer.values) == 70_001


@given(successive_rows(), successive_rows())
def test_a_delta_that_does_not_fit_is_malformed_or_gives_whole_rows(
    first: tuple[list[Row], list[Row]], second: tuple[list[Row], list[Row]]
) -> None:
    """Whatever a publisher signs, the recipient gets rows in order or `Malformed`, and nothing else."""
    halves = delta_between(*map(to_rows, first)), delta_between(*map(to_rows, second))
    mixed = Delta(puts=halves[0].puts, removes=halves[1].removes)
    try:
        rows, _ = apply(to_rows(second[0]), mixed)
        rows.validate()
    except Malformed:
        pass


def test_a_delta_that_names_an_entry_twice_is_malformed() -> None:
    rows = to_rows([a_row()])
    both = Delta(puts=to_rows([a_row(category="spam")]), removes=delta_between(rows, Rows.empty()).removes)
    with pytest.raises(Malformed, match="twice"):
        apply(rows, both)
