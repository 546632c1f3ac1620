"""A digest of another kind says nothing: neither that two lists are the same, nor that they differ."""

import json
import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklist, Malformed, Refused, Untrusted, times
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.state import BegunBuild, RefusedRelease, load_state, save_state
from blocklist_sdk.records import Tally
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import kind_of
from support.earlier_caches import as_written_earlier
from support.world import ADDED, FIRST, SECOND, Forger, World, copy_world, make_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world)


def earlier(world: World) -> tuple[Blocklist, str]:
    """A recipient whose cache and state an earlier version wrote, and the digest that it knew."""
    with world.recipient() as recipient:
        recipient.sync()
        internals = internals_of(recipient)
    return world.recipient(), as_written_earlier(internals.store.directory, internals.state_file)


def another_digest(index: Any) -> None:
    """Another list under the same serial."""
    index["digest"] = index["releases"][-1]["digest"] = "tree-" + "0" * 64


def test_the_same_list_is_not_fetched_again_and_is_kept_under_its_new_digest(world: World) -> None:
    recipient, before = earlier(world)
    assert (recipient.status().digest, ADDED in recipient, FIRST[1] in recipient) == (before, False, True)
    for path in world.release_files():
        path.unlink()
    assert recipient.sync().kind == "none"
    state = load_state(internals_of(recipient).state_file)
    assert state.highest_digest == recipient.status().digest != before
    assert kind_of(str(state.highest_digest)) == "tree"
    assert not recipient.verify().problems
    assert recipient.sync().kind == "none"


def test_another_list_under_the_same_serial_is_refused(world: World, forger: Forger) -> None:
    recipient, _ = earlier(world)
    forger.forge_index(another_digest)
    with pytest.raises(Untrusted, match="another list as release 1"):
        recipient.sync()
    assert FIRST[1] in recipient


def test_deltas_go_on_from_it(world: World) -> None:
    recipient, _ = earlier(world)
    world.release(SECOND)
    for path in world.release_files("*.snapshot.parquet"):
        path.unlink()
    assert recipient.sync().kind == "delta"
    assert (FIRST[1] in recipient, ADDED in recipient) == (False, True)
    assert not recipient.verify().problems
    assert recipient.sync().kind == "none"


def test_a_damaged_cache_is_no_other_list(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.release([f"+62811{i:08}" for i in range(20_000)])
    recipient, _ = earlier(world)
    (rows,) = internals_of(recipient).store.directory.glob("generations/*/rows.arrow")
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        assert recipient.sync().kind == "snapshot"
    assert "on this disk is damaged" in caplog.text
    assert not recipient.verify().problems


@pytest.mark.parametrize("is_other", [False, True])
def test_the_mark_alone_still_tells_lists_apart(world: World, is_other: bool) -> None:
    """A wiped cache, and the state of before: the list that comes is compared in the kind of the mark."""
    recipient, before = earlier(world)
    internals = internals_of(recipient)
    shutil.rmtree(internals.store.directory)
    if is_other:
        mark = before[::-1]
        save_state(internals.state_file, replace(load_state(internals.state_file), highest_digest=mark))
        with pytest.raises(Untrusted, match="another list as release 1"):
            recipient.sync()
        assert load_state(internals.state_file).highest_digest == mark
    else:
        assert recipient.sync().kind == "snapshot"
        assert kind_of(str(load_state(internals.state_file).highest_digest)) == "tree"


def test_what_was_refused_under_another_kind_is_judged_anew(world: World) -> None:
    recipient, _ = earlier(world)
    state_file = internals_of(recipient).state_file
    world.release(FIRST[:1500])
    with pytest.raises(Refused) as caught:
        recipient.sync()
    state = load_state(state_file)
    assert state.refused is not None
    known = RefusedRelease(2, "1" * 64, state.refused.guard, ("of before",), 1, times.now())
    save_state(state_file, replace(state, refused=known))
    with pytest.raises(Refused, match="unblock 1,500") as caught:
        recipient.sync()
    assert "of before" not in caught.value.reasons
    # Nor does the serial alone let in what was refused under it.
    save_state(state_file, replace(state, refused=known))
    with pytest.raises(Refused, match="was not refused on this machine before"):
        recipient.sync(accept=2)
    with pytest.raises(Refused, match="of another kind than the one that is signed now"):
        recipient.sync(accept="2:" + "1" * 64)
    assert recipient.sync(accept=2).after == 2


def test_a_build_that_was_begun_under_another_kind_holds_nothing(world: World) -> None:
    recipient, before = earlier(world)
    state_file = internals_of(recipient).state_file
    world.release(SECOND)
    begun = BegunBuild(2, before, times.now() - timedelta(seconds=1), attempts=5)
    save_state(state_file, replace(load_state(state_file), begun=begun))
    assert recipient._sync(wait_s=0, accept=None, stop=None, is_scheduled=True).after == 2
    assert load_state(state_file).begun is None


def by_columns(world: World, forger: Forger, lists: list[list[str]]) -> None:
    """Sign the index with digests by columns, as a publisher of before does."""
    known = {}
    for serial in range(1, len(lists) + 1):
        with world.recipient(cache=f"reader-{serial}", is_guarded=False) as reader:
            if serial > 1:
                world.release(lists[serial - 1])
            reader.sync()
            known[serial] = digest(from_table(reader.to_arrow()), "columns")

    def change(index: Any) -> None:
        for release in index["releases"]:
            release["digest"] = known[release["serial"]]
        index["digest"] = known[index["serial"]]

    forger.forge_index(change)


def test_a_list_that_is_signed_by_columns_is_verified_by_columns(world: World, forger: Forger) -> None:
    by_columns(world, forger, [FIRST])
    recipient = world.recipient()
    assert recipient.sync().kind == "snapshot"
    assert kind_of(str(recipient.status().digest)) == "columns"
    assert not recipient.verify().problems
    assert recipient.sync().kind == "none"
    # The publisher goes on by trees: deltas start from the list that is here.
    world.release(SECOND)
    assert recipient.sync().kind == "delta"
    assert kind_of(str(recipient.status().digest)) == "tree"
    assert not recipient.verify().problems


def test_deltas_of_a_list_that_is_signed_by_columns(world: World, forger: Forger) -> None:
    recipient, _ = earlier(world)
    by_columns(world, forger, [FIRST, SECOND])
    assert recipient.sync().kind == "delta"
    assert kind_of(str(recipient.status().digest)) == "columns"
    assert not recipient.verify().problems

    def wrong(index: Any) -> None:
        index["digest"] = index["releases"][-1]["digest"] = "0" * 64

    world.release([*SECOND, FIRST[1]])
    forger.forge_index(wrong)
    with pytest.raises(Malformed, match="does not have the digest"):
        recipient.sync()


def test_no_list_goes_back_to_digests_by_columns(world: World, forger: Forger) -> None:
    """They cost a pass over all rows at each sync, whatever the index that names them costs."""
    recipient = world.recipient()
    recipient.sync()
    by_columns(world, forger, [FIRST, SECOND])
    with pytest.raises(Malformed, match="digests of a tree already"):
        recipient.sync()
    assert kind_of(str(recipient.status().digest)) == "tree"
    with world.recipient(cache="another") as newcomer:
        assert newcomer.sync().kind == "snapshot"


def test_a_preview_compares_under_one_kind_too(world: World) -> None:
    recipient, _ = earlier(world)
    assert recipient.dry_run().total == Tally(0, 0, 0)
    world.release(SECOND)
    impact = recipient.dry_run()
    assert (impact.total.added, impact.total.removed) == (1, 99)
    assert json.loads((internals_of(recipient).store.pointer).read_text())["generation"].endswith("0e0e0e0e")
