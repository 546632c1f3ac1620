"""A base that is written while its snapshot is read is the base that the whole list gives."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release import arrow_files, files, stored
from blocklist_sdk.release import tree as trees
from blocklist_sdk.release.arrow_files import ColumnFile, map_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_base, read_snapshot, write_snapshot
from blocklist_sdk.release.layers import BaseFacts
from blocklist_sdk.release.rows import Rows, Texts
from blocklist_sdk.release.stored import StoredList, open_list, write_base
from blocklist_sdk.release.tree import Tree, TreeMaker
from support.strategies import Row, plain_rows, to_plain, to_rows


@given(plain=plain_rows(), sizes=st.tuples(*[st.integers(1, 7)] * 3), leaf_rows=st.sampled_from([1, 2, 5, 64]))
def test_a_base_read_in_parts_is_the_whole_one(
    tmp_path_factory: pytest.TempPathFactory, plain: list[Row], sizes: tuple[int, int, int], leaf_rows: int
) -> None:
    """However many rows are decoded, written and hashed at a time, and wherever leaves are cut."""
    directory = tmp_path_factory.mktemp("base")
    expected = to_rows(plain)
    write_snapshot(expected, directory / "snapshot.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "LEAF_ROWS", leaf_rows)
        whole = TreeMaker()
        whole.add(expected)
        for module, size in zip((files, stored, trees), sizes, strict=True):
            patch.setattr(module, "_ROWS_AT_A_TIME", size)
        seen: list[list[Row]] = []
        made = read_base(
            directory / "snapshot.parquet",
            directory,
            rows=len(expected),
            beside=lambda rows: seen.append(to_plain(rows)),
        )
        assert seen == [plain]
        (directory / "again").mkdir()
        for base in (made, open_list(directory), write_base(directory / "again", expected)):
            assert_is(base, expected, whole.made())


def assert_is(base: StoredList, rows: Rows, tree: Tree) -> None:
    assert to_plain(base.layers.base) == to_plain(rows)
    for name in ("level", "category", "issuer", "scope"):
        kept, own = getattr(base.layers.base, name), getattr(rows, name)
        assert kept.values == own.values
        assert kept.codes.dtype == own.codes.dtype
    assert base.layers.base.has_ranges == rows.has_ranges
    facts = base.layers.facts
    assert facts == BaseFacts.of(rows, base_id=facts.base_id)
    assert base.tree.digest == tree.digest
    assert base.tree.texts == tree.texts
    for name in ("key", "counts", "begin", "hashes"):
        np.testing.assert_array_equal(getattr(base.tree.base, name), getattr(tree.base, name))


def many(count: int, issuers: int) -> Rows:
    number = 628_110_000_000 + 3 * np.arange(count)
    issuer = Texts.encode(np.arange(count) % issuers, [f"issuer {i}" for i in range(issuers)])
    once = Texts.repeat("block", count)
    since, until = np.full(count, 1_700_000_000_000), np.full(count, 1_800_000_000_000)
    return Rows(number, number, np.arange(count) + 1, once, once, issuer, Texts.repeat("sms", count), since, until)


@pytest.mark.parametrize("issuers", [1, 2, 257, 1_500])
def test_more_texts_than_fit_before_the_columns(tmp_path: Path, issuers: int) -> None:
    """Up to a few hundred lie before the columns, in room that was left; with more of them the file is written anew."""
    rows = many(3_000, issuers)
    write_snapshot(rows, tmp_path / "snapshot.parquet")
    base = read_base(tmp_path / "snapshot.parquet", tmp_path, rows=len(rows))
    assert to_plain(base.layers.base) == to_plain(rows)
    assert base.tree.digest == digest(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"snapshot.parquet", *stored.BASE_FILES}


def test_columns_that_are_written_around_are_an_arrow_file(tmp_path: Path) -> None:
    """Also for whoever reads it from its beginning, as a stream of messages, rather than from its end."""
    numbers, entries = np.arange(1_000), np.arange(1_000) * 7
    texts = pa.array(["spam", "fraud"] * 500).dictionary_encode()
    with ColumnFile(tmp_path / "x.arrow", ("number", "entry", "last"), 1_000) as file:
        for at in range(0, 1_000, 300):
            file.write("entry", at, entries[at : at + 300])
            file.write("number", at, numbers[at : at + 300])
        np.testing.assert_array_equal(file.column("entry"), entries)
        table = file.finish(("number", "entry"), {"category": texts}, {b"about": "it"})
        file.flush()
    for found in (table, map_table(tmp_path / "x.arrow")):
        found.validate(full=True)
        assert found.column_names == ["number", "entry", "category"]
        assert found.column("number").to_pylist() == numbers.tolist()
        assert found.column("entry").to_pylist() == entries.tolist()
        assert found.column("category").to_pylist() == texts.to_pylist()
        assert found.schema.metadata[b"about"] == b"it"
    data = (tmp_path / "x.arrow").read_bytes()
    assert pa.ipc.open_stream(data[8:]).read_all().equals(table)
    assert len(data) < 2 * arrow_files._HEADER_BYTES + 20 * 1_000 + 2_000


@pytest.mark.parametrize("rows", [2_999, 3_001])
def test_other_than_the_index_says(tmp_path: Path, rows: int) -> None:
    write_snapshot(many(3_000, 2), tmp_path / "snapshot.parquet")
    for read in (lambda: read_snapshot(tmp_path / "snapshot.parquet", rows=rows), lambda: read_base_of(tmp_path, rows)):
        with pytest.raises(Malformed, match="has 3,000 rows"):
            read()


def read_base_of(directory: Path, rows: int) -> StoredList:
    return read_base(directory / "snapshot.parquet", directory, rows=rows)


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_disk_that_is_full_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whichever write or flush it refuses: those beside the reading are not forgotten."""
    write_snapshot(many(3_000, 2), tmp_path / "snapshot.parquet")
    monkeypatch.setattr(files, "_ROWS_AT_A_TIME", 500)
    real, calls, failing = getattr(os, call), 0, 1

    def full(*given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(os, call, full)
    while True:
        calls = 0
        try:
            read_base_of(tmp_path, 3_000)
        except OSError as error:
            found = error.errno
        else:
            break
        assert found == errno.ENOSPC
        failing += 1
    # All calls were made, and none failed; how often it is flushed beside the reading depends on the disk.
    assert failing > calls > 3
