"""Generations that earlier versions wrote go on answering, and the next release takes their place."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from blocklist_sdk.recipient.cache.generation import About, Generation, NextList
from blocklist_sdk.recipient.cache.kinds import DAY_MS
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.merge import delta_between
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.earlier_caches import write_earlier
from support.strategies import to_plain

LOW = 6_281_200_000_000
PUBLISHED_DAY = 20_454
"""2026-01-01, counted from 1970."""
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)


def some_rows(count: int = 300) -> Rows:
    number = LOW + np.arange(count) * 10
    block = Texts.encode(np.arange(count) % 2, ("block", "advisory"))
    sms = Texts.encode(np.arange(count) % 3 // 2, ("sms", "sms+voice"))
    fraud = Texts.repeat("fraud", count)
    rows = Rows(
        *(number, number, np.arange(1, count + 1), block, fraud, fraud, sms),
        *(np.zeros(count, np.int64), np.full(count, FOREVER_MS, np.int64)),
    )
    return rows.with_last(number + 3 * (np.arange(count) == 7))


def write(store: Store, rows: Rows, *, format_version: int = 2) -> Path:
    about = About("id-all", 1, digest(rows, "columns"), len(rows), datetime(2026, 1, 1, tzinfo=UTC))
    directory = store.directory / "generations" / "000000000001-1-0a0a0a0a"
    write_earlier(directory, rows, about, {}, format_version=format_version)
    store.switch(directory.name, EXPIRES)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "id-all")


def opened(store: Store) -> Generation:
    found = store.open()
    assert found is not None
    return found[0]


@pytest.mark.parametrize("format_version", [1, 2])
def test_it_answers(store: Store, format_version: int) -> None:
    rows = some_rows()
    write(store, rows, format_version=format_version)
    generation = opened(store)
    assert generation.is_of_earlier_format
    assert generation.is_whole()
    assert (len(generation.layers.overlay), generation.is_to_be_folded) == (0, False)
    assert generation.scope_entries == {"sms": 300, "voice": 100}
    assert [generation.answers.finder(PUBLISHED_DAY)(number) for number in (LOW, LOW + 10, LOW + 11)] == [
        True,
        False,
        False,
    ]
    assert generation.blocks(LOW + 20, PUBLISHED_DAY * DAY_MS)
    assert [entry.entry for entry in generation.covering(LOW + 72)] == [8]
    assert to_plain(generation.rows) == to_plain(generation.layers.whole()) == to_plain(rows)
    assert generation.tree.digest == digest(rows)


@pytest.mark.parametrize("name", ["rows.arrow", "cells.arrow"])
def test_damage_is_found(store: Store, name: str) -> None:
    path = write(store, some_rows(100_000)) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert not opened(store).is_whole()


@pytest.mark.parametrize("format_version", [1, 2])
def test_the_next_release_is_a_base(store: Store, format_version: int) -> None:
    rows = some_rows()
    write(store, rows, format_version=format_version)
    before = opened(store)
    layers, changes = before.layers.applied(delta_between(rows, rows.take(np.arange(5, 300))))
    listed = NextList(layers, before.tree.updated(layers, changes), changes)
    about = About("id-all", 2, listed.tree.digest, len(layers), datetime(2026, 1, 2, tzinfo=UTC))
    store.commit(listed, about, EXPIRES)
    after = opened(store)
    assert not after.is_of_earlier_format
    assert "puts.arrow" not in after.files
    assert after.is_whole()
    assert store.open_release(before.about.release) is not None
    assert len(Changes(before, after, lambda: Rules(frozenset(), {}))) == 5


def test_it_can_be_made_anew_as_the_same_release(store: Store) -> None:
    write(store, some_rows())
    before = opened(store)
    assert store.fold(before)
    after = opened(store)
    assert not after.is_of_earlier_format
    assert after.about == before.about
    assert after.is_whole()
