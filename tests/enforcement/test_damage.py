"""Bits that flip in the list on this disk: what was lifted does not stay blocked. All numbers are generated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Malformed
from blocklist_sdk.enforcement import enforce, run
from blocklist_sdk.recipient import upkeep
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.sync import scrub as sync_scrub
from blocklist_sdk.release import arrow_files
from support.memory_sink import MemorySink
from support.world import Recipient, World, copy_world, make_world

NUMBERS = [f"+62811{i:08}" for i in range(40_000)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture(autouse=True)
def long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a long list, few of its bytes are read when it is opened."""
    monkeypatch.setattr(arrow_files, "_END_BYTES", 512)
    for module in (sync_scrub, upkeep, run):
        monkeypatch.setattr(module, "AT_ONCE_BYTES", 1_000)


@pytest.fixture
def recipient(world: World) -> Iterator[Recipient]:
    world.release(NUMBERS)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        yield recipient


def flip(recipient: Recipient, name: str, value: int) -> None:
    """Flip the lowest bit of an integer in a file of the list in force."""
    store = internals_of(recipient).store
    current = store.current()
    assert current
    path = store.directory / "generations" / current.generation / name
    data = path.read_bytes()
    at = data.index(value.to_bytes(8, "little"), 1000)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


GONE, COME = range(0, 20_000, 4), [f"+62812{i:08}" for i in range(1_000)]
KEPT = sorted(set(NUMBERS) - {NUMBERS[at] for at in GONE}) + COME
FLIPS = [
    ("dropped.arrow", GONE[3_000]),
    ("puts.arrow", int(COME[500])),
    ("rows.arrow", int(NUMBERS[GONE[3_000]])),
]


def as_integers(numbers: list[str]) -> set[int]:
    return {int(number[1:]) for number in numbers}


@pytest.mark.parametrize(("name", "value"), FLIPS)
def test_damage_is_not_enforced_and_healed_by_the_next_sync(
    world: World, recipient: Recipient, name: str, value: int
) -> None:
    sink = MemorySink()
    enforce(recipient, sink)
    world.release(KEPT)
    assert recipient.sync().kind == "delta"
    flip(recipient, name, value)
    with world.recipient(is_guarded=False) as again:
        with pytest.raises(Malformed, match="run a sync, which fetches it again"):
            enforce(again, sink)
        assert sink.numbers == as_integers(NUMBERS)
        # Nothing new is offered, and nothing of the list was due to be read.
        assert again.sync().kind == "snapshot"
        enforce(again, sink)
    assert sink.numbers == as_integers(KEPT)


@pytest.mark.parametrize(("name", "value"), FLIPS[:2])
def test_what_a_sink_was_given_of_a_damaged_list_is_looked_at_again_once_it_is_whole(
    world: World, recipient: Recipient, name: str, value: int
) -> None:
    """A first run looks at everything, and checks nothing."""
    world.release(KEPT)
    recipient.sync()
    flip(recipient, name, value)
    sink = MemorySink()
    with world.recipient(is_guarded=False) as again:
        enforce(again, sink)
        assert sink.numbers != as_integers(KEPT)
        assert again.verify().problems
        assert again.sync().kind == "snapshot"
        enforce(again, sink)
    assert sink.numbers == as_integers(KEPT)


@pytest.mark.parametrize(("name", "value"), FLIPS)
def test_damage_that_changes_find_is_healed_by_the_next_sync(
    world: World, recipient: Recipient, name: str, value: int
) -> None:
    recipient.hold("copy", serial=2)
    world.release(KEPT)
    recipient.sync()
    flip(recipient, name, value)
    with world.recipient(is_guarded=False) as again:
        with pytest.raises(Malformed, match="run a sync, which repairs"):
            again.changes(since=2)
        assert again.sync().kind == "snapshot"
        assert not again.verify().problems
        if name == "rows.arrow":
            # The two releases had one base, so the earlier one is lost.
            with pytest.raises(Malformed, match="since=None"):
                again.changes(since=2)
        else:
            assert len(again.changes(since=2)) == len(GONE) + len(COME)


def test_a_fold_does_not_have_everything_looked_at_again(world: World, recipient: Recipient) -> None:
    sink = MemorySink()
    world.release(KEPT)
    recipient.sync()
    enforce(recipient, sink)
    store = internals_of(recipient).store
    opened = store.open()
    assert opened
    assert store.fold(opened[0])
    views: list[bool] = []
    view = run._view

    def watched(*arguments: Any, **more: Any) -> Any:
        made = view(*arguments, **more)
        views.append(made.part is not None)
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "_view", watched)
        enforce(recipient, sink)
        world.release(KEPT[1:])
        assert recipient.sync().kind == "delta"
        enforce(recipient, sink)
    assert views == [True, True]
    assert sink.numbers == as_integers(KEPT[1:])
