"""A thief signs the highest serial there is; the feed's key is replaced, and recipients go on by themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklist, Publisher, Refused, Untrusted
from blocklist_sdk.enforcement import enforce, open_sink
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.release.index import SERIAL_MAX
from blocklist_sdk.release.release_id import ReleaseId
from support.world import ADDED, FEED, FIRST, LISTED, SECOND, Forger, World, copy_world, make_world, unguarded

GONE = FIRST[50]
"""On the first list, not on the second."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def thief_takes_the_last_serial(world: World) -> None:
    """The list as it stands, signed with the feed's key under the last serial."""

    def last(index: Any) -> None:
        index["releases"][-1]["serial"] = index["serial"] = SERIAL_MAX

    Forger(world).forge_index(last)


def in_the_thiefs_hands(world: World) -> Blocklist:
    """A recipient in which a person has let that release in."""
    recipient = world.recipient()
    recipient.sync()
    thief_takes_the_last_serial(world)
    with pytest.raises(Refused, match="serial"):
        recipient.sync()
    assert recipient.sync(accept=SERIAL_MAX).after == SERIAL_MAX
    return recipient


def rotated(world: World, *, restart_serials: bool = True) -> Publisher:
    publisher = unguarded(world.directory / "publisher")
    publisher.rotate_keys(f"feed.{FEED}", restart_serials=restart_serials, even_if_serials_are_left=restart_serials)
    return unguarded(world.directory / "publisher")


def test_a_new_era_is_taken_and_the_old_one_never_again(world: World) -> None:
    recipient = in_the_thiefs_hands(world)
    kept = world.directory / "thief"
    shutil.copytree(world.repository, kept)
    publisher = rotated(world)
    first = recipient.sync()
    assert (first.before, first.before_era, first.after) == (SERIAL_MAX, 1, 1)
    assert first.era > 1
    release(publisher, SECOND)
    second = recipient.sync()
    assert (second.after, second.era, second.kind) == (2, first.era, "delta")
    status = recipient.status()
    assert (status.serial, status.era) == (2, first.era)
    assert recipient.check(ADDED).era == first.era
    assert recipient.verify()
    assert recipient.verify().era == first.era

    # Who has the thief's repository, and a recipient's cache that was wiped, gets nowhere.
    shutil.rmtree(world.repository)
    shutil.copytree(kept, world.repository)
    for wiped in (False, True):
        if wiped:
            shutil.rmtree(world.directory / "cache")
        again = world.recipient()
        with pytest.raises(Untrusted):
            again.sync()
        if not wiped:
            for each in (recipient, again):
                assert ADDED in each
                assert GONE not in each
    assert "era" in str(world.recipient().status().last_error)


def release(publisher: Publisher, numbers: list[str]) -> None:
    source = publisher.directory.parent / "list.txt"
    source.write_text("\n".join(numbers) + "\n")
    publisher.release(FEED, source)


def test_a_new_era_is_no_free_pass(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    publisher = rotated(world)
    release(publisher, FIRST[:1500])
    with pytest.raises(Refused, match=r"release [0-9]+\.2 .*unblock 1,500 numbers"):
        recipient.sync()
    assert all(number in each for each in (recipient, recipient.anew()) for number in (FIRST[0], FIRST[2000]))
    assert recipient.status().refused_era == recipient.sync(accept=2).era
    assert FIRST[2000] not in recipient


def test_keys_that_are_replaced_in_peace_cost_nothing(world: World) -> None:
    """The serials go on: the list in force becomes the new era's without being fetched, cursors stay good."""
    recipient = world.recipient()
    recipient.sync()
    recipient.hold("hlr", 1)
    publisher = rotated(world, restart_serials=False)
    result = recipient.sync()
    assert (result.kind, result.after, result.before_era) == ("none", 1, 1)
    assert result.era > 1
    for each in (recipient, recipient.anew()):
        assert each.verify()
        assert each.status().era == result.era
        assert LISTED in each
    assert recipient.explain(LISTED).signers == tuple(
        key.keyid for role in publisher.key_roles() if role.role == FEED for key in role.keys
    )
    release(publisher, SECOND)
    assert recipient.sync().kind == "delta"
    assert len(recipient.changes(since=1)) == len(recipient.changes(since=1, era=result.era)) == 100
    assert len(recipient.changes(since=1, era=1)) == 100, "the hold keeps what it was made for"
    assert recipient.status().held == {"hlr": 1}
    assert recipient.status().held_eras == {"hlr": 1}


def test_serials_that_go_on_below_the_thiefs_are_no_jump(world: World) -> None:
    """The publisher does not begin anew: its next serial is thousands, and still below the one in force."""

    def renumbered(serial: int) -> None:
        def change(index: Any) -> None:
            index["releases"][-1]["serial"] = index["serial"] = serial

        Forger(world).forge_index(change)

    renumbered(5_000)
    kept = world.directory / "kept"
    shutil.copytree(world.repository, kept)
    recipient = world.recipient()
    recipient.sync()
    renumbered(5_050)
    assert recipient.sync().after == 5_050
    shutil.rmtree(world.repository)
    shutil.copytree(kept, world.repository)
    publisher = unguarded(world.directory / "publisher")
    publisher.rotate_keys("online")
    publisher.rotate_keys(f"feed.{FEED}")
    result = recipient.sync()
    assert (result.after, result.before, result.before_era) == (5_000, 5_050, 1)
    assert result.era > 1


def test_serials_name_releases_of_the_era_in_force(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    recipient.hold("hlr", 1)
    publisher = rotated(world)
    era = recipient.sync().era
    release(publisher, SECOND)
    recipient.sync()
    changes = recipient.changes(since=1)
    assert (changes.before, changes.before_era, changes.after_era) == (1, era, era)
    assert recipient.changes(since=1, era=1).before_era == 1
    with pytest.raises(InvalidInput, match="is not on this disk, only"):
        recipient.changes(since=7)
    status = recipient.status()
    assert list(zip(status.generation_eras, status.generations, strict=True)) == [(era, 2), (era, 1), (1, 1)]


def test_enforcement_goes_on_and_lifts(world: World) -> None:
    recipient = in_the_thiefs_hands(world)
    sink = open_sink((world.directory / "drop").as_uri(), feed=FEED)
    blocked = enforce(recipient, sink)
    assert blocked.outcomes == {"enforced": len(FIRST)}
    assert blocked.era == 1
    publisher = rotated(world)
    recipient.sync()
    nothing = enforce(recipient, sink)
    assert (nothing.serial, nothing.outcomes, nothing.waiting) == (1, {}, None)
    assert nothing.era > 1
    release(publisher, SECOND)
    recipient.sync()
    lifted = enforce(recipient, sink)
    assert lifted.waiting is None
    assert sum(lifted.outcomes.values()) == 100
    assert lifted.outcomes["reversed"] == 99
    assert sorted(path.name for path in (world.directory / "drop").rglob("*unblock*"))


@pytest.fixture
def of_before(world: World) -> tuple[World, Blocklist]:
    """A recipient whose files were written before eras were known."""
    recipient = world.recipient()
    recipient.sync()
    recipient.hold("hlr", 1)
    make_old(world)
    return world, world.recipient()


def make_old(world: World) -> None:
    cache, state = world.directory / "cache" / FEED, world.directory / "cache-state" / FEED
    path = state / "state.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in document.items() if k not in ("highest_era", "highest_digest")}))
    (generation,) = (cache / "generations").iterdir()
    about = json.loads((generation / "about.json").read_text())
    del about["era"]
    (generation / "about.json").write_text(json.dumps(about))
    serial, _, random = generation.name.split("-")
    old = generation.rename(generation.with_name(f"{serial}-{random}"))
    pointer = json.loads((cache / "current.json").read_text())
    (cache / "current.json").write_text(json.dumps({**pointer, "generation": old.name}))


def test_files_of_before_are_of_the_first_era(of_before: tuple[World, Blocklist]) -> None:
    world, recipient = of_before
    assert LISTED in recipient
    assert recipient.status().era == 1
    rotated(world)
    result = recipient.sync()
    assert (result.before_era, result.before, result.after) == (1, 1, 1)
    assert result.era > 1
    assert internals_of(recipient).store.releases() == [ReleaseId(result.era, 1), ReleaseId(1, 1)]
    assert recipient.status().held_eras == {"hlr": 1}


def test_a_list_that_was_synced_in_a_later_era_without_knowing_it(world: World) -> None:
    """The signed metadata beside the list says which era it was."""
    rotated(world)
    recipient = world.recipient()
    era = recipient.sync().era
    make_old(world)
    assert recipient.anew().status().era == era > 1
    assert world.recipient().sync().kind == "none"
    assert world.recipient().status().era == era
