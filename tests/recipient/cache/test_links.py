"""Links in a cache are not followed: a root user may sync in a cache where another user can write."""

import json
import shutil
from pathlib import Path

import pytest

from blocklist_sdk import StorageFailed
from support.world import FEED, LISTED, OTHER_FEED, Recipient, World, assert_still_answers, copy_world, make_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def recipient(world: World) -> Recipient:
    opened = world.recipient()
    opened.sync()
    return opened


def linked(path: Path, target: Path) -> Path:
    """Put a link in the place of a file or directory, to what an intruder wants to have read or written."""
    if path.is_dir():
        shutil.move(path, target)
    else:
        path.unlink()
        target.write_text("precious")
    path.symlink_to(target)
    return target


def test_a_link_in_the_place_of_the_protected_numbers(world: World, recipient: Recipient) -> None:
    place = world.directory / "cache" / FEED / "protected.json"
    victim = linked(place, world.directory / "victim")
    with pytest.raises(StorageFailed, match="is a link"):
        assert LISTED in recipient.anew()
    recipient.sync()
    assert victim.read_text() == "precious"
    assert not place.is_symlink()
    assert_still_answers(recipient)


@pytest.mark.parametrize("name", ["", "tuf", "tuf/root_history", "generations", "lock"])
def test_a_link_in_the_place_of_a_directory_or_the_lock(world: World, recipient: Recipient, name: str) -> None:
    place = world.directory / "cache" / FEED / name
    linked(place, world.directory / "elsewhere")
    with pytest.raises(StorageFailed, match="is a link"):
        recipient.sync()
    assert LISTED in recipient


def test_a_link_in_the_place_of_the_pointer(world: World, recipient: Recipient) -> None:
    place = world.directory / "cache" / FEED / "current.json"
    linked(place, world.directory / "victim")
    assert_still_answers(recipient)
    recipient.sync()
    assert not place.is_symlink()
    assert (world.directory / "victim").read_text() == "precious"


@pytest.mark.parametrize("by", ["path", "link", "copy"])
def test_a_generation_of_another_feed_is_noticed(world: World, recipient: Recipient, by: str) -> None:
    other = world.recipient(feed=OTHER_FEED)
    other.sync()
    cache = world.directory / "cache"
    generation = next((cache / OTHER_FEED / "generations").iterdir())
    ours = cache / FEED / "generations" / generation.name
    name = generation.name
    if by == "path":
        name = f"../../{OTHER_FEED}/generations/{generation.name}"
    elif by == "link":
        ours.symlink_to(generation)
    else:
        shutil.copytree(generation, ours)
    pointer = cache / FEED / "current.json"
    document = json.loads(pointer.read_bytes())
    pointer.write_text(json.dumps({**document, "generation": name}))
    found = recipient.anew().verify()
    if by == "copy":
        assert f"it is a release of the feed '{OTHER_FEED}', not of this one" in found.problems
    else:
        assert found
        assert recipient.anew().check(LISTED).feed == FEED
