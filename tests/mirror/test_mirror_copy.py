"""A mirror holds what the repository publishes, byte for byte, and its recipients see no difference."""

import json
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from blocklist_sdk import NotSynced, Unreachable
from blocklist_sdk.mirror import mirror
from blocklist_sdk.publisher import serving
from support.mirrors import (
    assert_mirror_answers,
    at_mirror,
    contents,
    make_mirror,
    place,
    published,
    renew_root,
    replace_online_key,
    served,
)
from support.world import FEED, OTHER_FEED, SECOND, Forger, World, copy_world, make_world

THIRD = [*SECOND, "+6281200009778"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world)


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_every_file_is_the_publishers_own(world: World, scheme: str) -> None:
    world.release(SECOND)
    with serving(world.repository) as url:
        result = make_mirror(world, url=url if scheme == "http" else None)
    assert served(place(world)) == published(world)
    assert (result.feeds, result.changed, result.kept) == ((OTHER_FEED, FEED), True, 0)
    assert result.fetched == len([path for path in published(world) if path.startswith("targets/")])
    # Everything but the pinned root came over the wire, and once.
    assert result.bytes == sum(len(data) for path, data in published(world).items() if path != "metadata/1.root.json")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_recipients_sync_as_at_the_source(world: World, scheme: str) -> None:
    make_mirror(world)
    with serving(place(world)) as url:
        at = url if scheme == "http" else None
        there, here = world.recipient(), at_mirror(world, url=at)
        for numbers, kind in ((None, "snapshot"), (SECOND, "delta"), (THIRD, "delta")):
            if numbers is not None:
                world.release(numbers)
                make_mirror(world)
            ours, theirs = here.sync(), there.sync()
            assert (ours.kind, ours.after) == (theirs.kind, theirs.after)
            assert ours.kind == kind
            assert here.status().digest == there.status().digest
            assert here.status().expires == there.status().expires
        newcomer = at_mirror(world, url=at, cache="newcomer")
        assert newcomer.sync().kind == "snapshot"
        assert newcomer.status().digest == there.status().digest
        other = at_mirror(world, url=at, cache="other", feed=OTHER_FEED)
        assert other.sync().after == 1


def test_only_two_folders_are_served(world: World) -> None:
    make_mirror(world)
    private = place(world) / ".mirror"
    assert private.stat().st_mode & 0o777 == 0o700
    files = {path.relative_to(place(world)).as_posix() for path in private.rglob("*") if path.is_file()}
    assert ".mirror/tuf/timestamp.json" in files
    with serving(place(world)) as url:
        for path in files:
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}/{path}", timeout=10)
    for folder in (place(world) / "metadata", place(world) / "targets"):
        for each in (folder, *folder.rglob("*")):
            assert each.stat().st_mode & 0o777 == (0o755 if each.is_dir() else 0o644)


def test_a_run_that_finds_nothing_new_fetches_the_timestamp_alone(world: World) -> None:
    first = make_mirror(world)
    before = contents(place(world))
    again = make_mirror(world)
    assert (again.changed, again.fetched, again.kept) == (False, 0, first.fetched)
    assert again.bytes == (world.metadata / "timestamp.json").stat().st_size
    assert {path: about for path, about in contents(place(world)).items() if ".mirror" not in path.parts} == {
        path: about for path, about in before.items() if ".mirror" not in path.parts
    }


def test_a_later_run_fetches_what_is_new_and_no_byte_more(world: World) -> None:
    make_mirror(world)
    before = served(place(world))
    world.release(SECOND)
    result = make_mirror(world)
    new = {path: data for path, data in served(place(world)).items() if before.get(path) != data}
    assert (result.changed, result.fetched) == (True, 3)  # index, snapshot, delta
    assert result.bytes == sum(map(len, new.values()))
    assert set(published(world)) <= set(served(place(world)))


def test_a_renewal_without_a_release_fetches_no_target(world: World) -> None:
    make_mirror(world)
    world.publisher.refresh()
    result = make_mirror(world)
    assert (result.changed, result.fetched) == (True, 0)
    assert (place(world) / "metadata" / "timestamp.json").read_bytes() == (
        world.metadata / "timestamp.json"
    ).read_bytes()


def test_what_is_dropped_stays_for_a_while_and_then_goes(world: World) -> None:
    make_mirror(world)
    first = set(served(place(world)))
    world.release(SECOND)
    make_mirror(world)
    assert first <= set(served(place(world)))
    make_mirror(world, grace_s=0)
    assert served(place(world)) == published(world)
    assert_mirror_answers(world, 2)


def test_chosen_feeds_only(world: World) -> None:
    result = make_mirror(world, feeds=[FEED])
    assert result.feeds == (FEED,)
    assert served(place(world)) == published(world, [FEED])
    assert_mirror_answers(world, 1)
    world.release(SECOND)
    world.release(SECOND, OTHER_FEED)
    make_mirror(world, feeds=[FEED], grace_s=0)
    assert served(place(world)) == published(world, [FEED])
    assert_mirror_answers(world, 2)


def test_feeds_come_and_go_with_the_choice(world: World, caplog: pytest.LogCaptureFixture) -> None:
    make_mirror(world, feeds=[FEED])
    make_mirror(world, feeds=[OTHER_FEED, FEED, FEED])
    assert served(place(world)) == published(world)
    with caplog.at_level(logging.WARNING):
        make_mirror(world, feeds=[OTHER_FEED])
    assert f"no longer mirrored, and soon deleted in {place(world)}: {FEED}" in caplog.text
    assert served(place(world)) == published(world)
    make_mirror(world, feeds=[OTHER_FEED], grace_s=0)
    assert served(place(world)) == published(world, [OTHER_FEED])


def test_a_feed_without_a_release_is_mirrored_and_one_that_is_added_follows(world: World) -> None:
    world.publisher.add_feed("id-xl")
    assert "id-xl" in make_mirror(world).feeds
    assert served(place(world)) == published(world, [FEED, OTHER_FEED, "id-xl"])
    with pytest.raises(NotSynced, match="no release yet"):
        at_mirror(world, feed="id-xl").sync()
    world.release(SECOND, "id-xl")
    make_mirror(world, feeds=["id-xl"])
    assert at_mirror(world, feed="id-xl").sync().after == 1


def test_a_mirror_of_a_mirror(world: World) -> None:
    """As over an air gap: out on a medium, then in from it."""
    make_mirror(world)
    inside = world.directory / "inside"
    mirror(place(world).as_uri(), inside, root=world.publisher.root)
    assert served(inside) == published(world)
    medium = world.directory / "medium"
    shutil.copytree(place(world), medium, ignore=shutil.ignore_patterns(".mirror"))
    world.release(SECOND)
    shutil.rmtree(medium)
    make_mirror(world, grace_s=0)
    shutil.copytree(place(world), medium, ignore=shutil.ignore_patterns(".mirror"))
    mirror(medium.as_uri(), inside, root=world.publisher.root, grace_s=0)
    assert served(inside) == published(world)


def test_a_whole_mirror_of_some_feeds_says_what_is_wrong(world: World) -> None:
    make_mirror(world, feeds=[FEED])
    with pytest.raises(Unreachable, match=r"404.*is a mirror of some feeds only, name them"):
        mirror(place(world).as_uri(), world.directory / "inside", root=world.publisher.root)
    # What that mirror has is here, for all that.
    assert served(world.directory / "inside") == published(world, [FEED])
    shutil.rmtree(world.directory / "inside")
    mirror(place(world).as_uri(), world.directory / "inside", root=world.publisher.root, feeds=[FEED])
    assert served(world.directory / "inside") == published(world, [FEED])


def test_the_source_may_move(world: World) -> None:
    make_mirror(world)
    world.release(SECOND)
    with serving(world.repository) as url:
        assert make_mirror(world, url=url).fetched == 3
    assert_mirror_answers(world, 2)


@pytest.mark.parametrize("damage", ["flipped", "short", "gone", "a folder gone"])
def test_what_is_damaged_here_is_fetched_again(world: World, damage: str) -> None:
    make_mirror(world)
    snapshot = next((place(world) / "targets" / FEED).glob("*.snapshot.parquet"))
    whole = snapshot.read_bytes()
    if damage == "a folder gone":
        shutil.rmtree(place(world) / "targets")
    elif damage == "gone":
        snapshot.unlink()
    else:
        snapshot.write_bytes(whole[:-1] + (b"?" if damage == "flipped" else b""))
    result = make_mirror(world)
    assert result.fetched == (1 if damage != "a folder gone" else 5)
    assert served(place(world)) == published(world)


def test_damaged_metadata_is_put_right(world: World) -> None:
    make_mirror(world)
    for path in (place(world) / "metadata").iterdir():
        path.write_bytes(b"{}")
    make_mirror(world)
    assert served(place(world)) == published(world)


# Roots


@pytest.mark.parametrize("rotate", [renew_root, replace_online_key])
def test_new_roots_pass_through(world: World, forger: Forger, rotate: Callable[[Forger], None]) -> None:
    make_mirror(world)
    recipient = at_mirror(world)
    recipient.sync()
    for _ in range(3):
        rotate(forger)
    make_mirror(world)
    assert {f"metadata/{version}.root.json" for version in (1, 2, 3, 4)} <= set(served(place(world)))
    assert served(place(world)).items() >= published(world).items()
    assert recipient.sync().kind == "none"
    assert at_mirror(world, cache="newcomer").sync().after == 1


def test_a_later_root_of_the_same_repository_will_do(world: World, forger: Forger) -> None:
    """Recipients may go on with the root that they pinned when the mirror no longer does."""
    make_mirror(world)
    renew_root(forger)
    make_mirror(world)
    world.release(SECOND)
    latest = (world.metadata / "2.root.json").read_bytes()
    mirror(world.url, place(world), root=latest, grace_s=0)
    assert {"metadata/1.root.json", "metadata/2.root.json"} <= set(served(place(world)))
    assert_mirror_answers(world, 2)


def test_the_pinned_root_is_where_the_mirror_begins(world: World, forger: Forger) -> None:
    renew_root(forger)
    latest = (world.metadata / "2.root.json").read_bytes()
    mirror(world.url, place(world), root=latest)
    assert "metadata/1.root.json" not in served(place(world))
    assert "metadata/2.root.json" in served(place(world))


# What is not the protocol's


def test_files_of_others_in_the_folder_are_left_alone(world: World) -> None:
    make_mirror(world)
    (place(world) / "robots.txt").write_text("User-agent: *\nDisallow: /\n")
    world.release(SECOND)
    make_mirror(world, grace_s=0)
    assert (place(world) / "robots.txt").is_file()


def test_the_marker_says_which_feeds(world: World) -> None:
    make_mirror(world, feeds=[FEED])
    assert json.loads((place(world) / ".mirror" / "mirror.json").read_bytes()) == {"format": 1, "feeds": [FEED]}


def test_a_damaged_marker_is_put_right(world: World) -> None:
    make_mirror(world)
    marker = place(world) / ".mirror" / "mirror.json"
    marker.write_bytes(b"\0" * 10)
    make_mirror(world)
    assert json.loads(marker.read_bytes())["feeds"] == [OTHER_FEED, FEED]
