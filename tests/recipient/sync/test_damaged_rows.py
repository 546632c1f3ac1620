"""A flipped bit in any column of a long list is found when the rows are read, and healed; nothing is stuck by it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from blocklist_sdk import Malformed
from blocklist_sdk.enforcement import enforce
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.sync import scrub
from blocklist_sdk.release import arrow_files
from support.memory_sink import MemorySink
from support.world import FEED, Recipient, World, copy_world, make_world

NUMBERS = [f"+62811{i:08}" for i in range(15_998)]
ROW = 8_000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("template"))
    world.release(NUMBERS)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(arrow_files, "_END_BYTES", 512)
    monkeypatch.setattr(scrub, "AT_ONCE_BYTES", 1_000)  # as in a long list
    return copy_world(template, tmp_path)


def in_force(recipient: Recipient) -> Generation:
    opened = internals_of(recipient).store.open()
    assert opened
    return opened[0]


def flip(recipient: Recipient, column: str, bit: int) -> None:
    """Flip a bit of one row."""
    path = in_force(recipient).directory / "rows.arrow"
    with pa.memory_map(str(path)) as file:
        place = np.frombuffer(file.read_buffer(), np.uint8).ctypes.data
        chunk = pa.ipc.open_file(file).read_all().column(column).chunk(0)
        values = chunk.indices if isinstance(chunk, pa.DictionaryArray) else chunk
        at = values.buffers()[1].address - place + ROW * values.type.bit_width // 8 + bit // 8
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit % 8
    path.write_bytes(data)


FLIPS = [("level", 5), ("scope", 0), ("until", 40), ("number", 45), ("entry", 3), ("number", 1)]


@pytest.mark.parametrize(("column", "bit"), FLIPS)
@pytest.mark.parametrize("is_touched", [True, False])
def test_a_list_is_healed_whatever_was_flipped(world: World, column: str, bit: int, is_touched: bool) -> None:
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        world.release(NUMBERS[1:])
        recipient.sync()
        flip(recipient, column, bit)
    with world.recipient(is_guarded=False) as recipient:
        if not is_touched:
            assert recipient.verify().problems
        world.release([*NUMBERS[2:ROW], *NUMBERS[ROW + 1 :]] if is_touched else NUMBERS[2:])
        assert recipient.sync().kind == "snapshot"
        assert not recipient.verify().problems
        assert (NUMBERS[ROW] in recipient) is not is_touched
        sink = MemorySink()
        enforce(recipient, sink)
        assert len(sink.numbers) == len(NUMBERS) - 2 - is_touched


def test_what_cannot_be_read_is_not_enforced(world: World) -> None:
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        flip(recipient, "scope", 5)
    with world.recipient(is_guarded=False) as recipient:
        with pytest.raises(Malformed, match="run a sync, which fetches it again"):
            enforce(recipient, MemorySink())
        assert recipient.sync().kind == "snapshot"
        assert enforce(recipient, MemorySink()).outcomes == {"enforced": len(NUMBERS)}


@pytest.mark.parametrize(("bit", "is_noted"), [(43, True), (43, False), (2, True), (63, True), (63, False)])
def test_a_list_is_healed_where_its_overlay_leads_nowhere(world: World, bit: int, is_noted: bool) -> None:
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        world.release(NUMBERS[200:])
        recipient.sync()
        path = in_force(recipient).directory / "dropped.arrow"
    data, value = path.read_bytes(), 150
    at = data.index(value.to_bytes(8, "little"))
    path.write_bytes(data[:at] + (value ^ 1 << bit).to_bytes(8, "little") + data[at + 8 :])
    with world.recipient() as recipient:
        if is_noted:
            assert recipient.verify().problems
        else:
            with pytest.raises(Malformed, match="damaged"):
                recipient.changes(since=2)
        world.release(NUMBERS[300:])
        assert recipient.sync().kind == "snapshot"
        assert not recipient.verify().problems
        assert NUMBERS[299] not in recipient
        assert NUMBERS[300] in recipient


@pytest.mark.parametrize(("column", "bit"), [("level", 6), ("category", 6), ("last", 45)])
@pytest.mark.parametrize("is_noted", [True, False])
def test_a_list_with_several_texts_is_healed(world: World, column: str, bit: int, is_noted: bool) -> None:
    """Also where its rows cannot even be compared with those that come."""
    rows = {
        "number": [*NUMBERS, "+6281200000000"],
        "last": [*[None] * len(NUMBERS), "+6281200000999"],
        "level": ["block", "block", "advisory"] * 5_333,
        "category": ["fraud", "spam", "other"] * 5_333,
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in rows.items()})
    world.publisher.release(FEED, table)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        flip(recipient, column, bit)
    with world.recipient() as recipient:
        if is_noted:
            assert recipient.verify().problems
        world.publisher.release(FEED, pa.concat_tables([table.slice(1, ROW - 1), table.slice(ROW + 1)]))
        assert recipient.sync().kind == "snapshot"
        assert not recipient.verify().problems
        assert NUMBERS[0] not in recipient
        assert NUMBERS[3] in recipient
