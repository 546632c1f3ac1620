"""A publisher begins anew with other root keys, and each recipient pins the new root by hand."""

import json
import shutil
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Refused, Untrusted
from blocklist_sdk.enforcement import enforce, open_sink
from blocklist_sdk.publisher import PublisherGuard
from blocklist_sdk.release.fingerprint import fingerprint, spoken
from support.command_line import run
from support.world import FEED, FIRST, LISTED, OTHER_FEED, PASSPHRASE, World, copy_world, make_world, unguarded


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("template"))
    world.release(FIRST[1:])
    world.release(FIRST)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def begun_anew(world: World, numbers: list[str], *, releases: int = 1) -> bytes:
    """A new folder, published under the old URL, with its list as the last of some releases; returns its root."""
    folder = world.directory / "anew"
    Publisher.init(folder, feeds=[FEED, OTHER_FEED], passphrase=PASSPHRASE, region="ID")
    publisher = Publisher.open(folder, passphrase=PASSPHRASE, guard=PublisherGuard.off())
    source = world.directory / "list.txt"
    for count in range(releases):
        source.write_text("\n".join(numbers[: count + 1 - releases or None]) + "\n")
        publisher.release(FEED, source)
    shutil.rmtree(world.repository)
    shutil.copytree(folder / "repository", world.repository)
    return (folder / "root.json").read_bytes()


def opened(world: World, root: bytes) -> Blocklist:
    return Blocklist.open(
        world.url,
        feed=FEED,
        root=root,
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
    )


def test_the_whole_way(world: World) -> None:
    old = world.recipient()
    assert old.sync().after == 3
    old.overrides.allow(FIRST[9], reason="appeal 17")
    sink = open_sink((world.directory / "drop").as_uri(), feed=FEED)
    enforce(old, sink)
    root = begun_anew(world, [number for number in FIRST if number != FIRST[30]])
    with pytest.raises(Untrusted):
        old.sync()
    new = opened(world, root)
    with pytest.raises(Untrusted):
        new.sync()

    digits = fingerprint(root)
    with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
        new.replace_root(digits[:32])
    with pytest.raises(Untrusted, match="is another root"):
        new.replace_root("0" * 64)
    before = everything(world)
    planned = new.replace_root("\n".join(spoken(digits)), dry_run=True)
    assert everything(world) == before
    assert (planned.serial, planned.highest_serial, planned.dry_run) == (3, 3, True)
    done = new.replace_root(digits)
    assert (done.serial, done.highest_serial, done.dry_run) == (3, 3, False)

    for each in (old, new, opened(world, root)):
        assert LISTED in each
        assert each.check(FIRST[9]).reason == "override-allow"
        assert each.status().serial == 3
    result = new.sync()
    assert (result.before, result.after, result.kind) == (3, 1, "snapshot")
    for each in (new, opened(world, root)):
        assert FIRST[30] not in each
        assert each.check(FIRST[9]).reason == "override-allow"
        assert each.verify()
    assert new.sync().kind == "none"
    # The ledger stays, and what the new list lifts is lifted: it is another list, so a larger change would wait.
    lifted = enforce(new, sink)
    assert lifted.outcomes["reversed"] == 1
    assert lifted.waiting is None


def test_a_sink_waits_for_the_new_list_though_its_serials_are_higher(world: World) -> None:
    world.recipient().sync()
    sink = open_sink((world.directory / "drop").as_uri(), feed=FEED)
    enforce(world.recipient(), sink)
    root = begun_anew(world, FIRST[:1500], releases=5)
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    # Nothing came under the new root yet, so this run must not take the list in force for the new one.
    between = enforce(new, sink)
    assert (between.serial, between.waiting, sum(between.planned.values())) == (3, None, 0)
    with pytest.raises(Refused):
        new.sync()
    assert new.sync(accept=5).after == 5
    waiting = enforce(new, sink).waiting
    assert waiting is not None
    assert waiting.removed == 1500
    assert "signed by other keys than before" in waiting.reasons[0]
    assert enforce(new, sink, accept=True).outcomes["reversed"] == 1500
    assert enforce(new, sink).waiting is None


def everything(world: World) -> dict[str, bytes]:
    folders = world.directory / "cache", world.directory / "cache-state"
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_the_new_list_is_judged_by_the_one_in_force(world: World) -> None:
    world.recipient().sync()
    root = begun_anew(world, FIRST[:1500])
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    with pytest.raises(Refused, match="unblock 1,500 numbers"):
        new.sync()
    assert FIRST[-1] in new
    assert new.sync(accept=1).after == 1
    assert FIRST[-1] not in new


def test_the_same_list_under_the_new_root_is_proved_again(world: World) -> None:
    world.recipient().sync()
    root = begun_anew(world, FIRST)
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    assert not new.verify()
    new.sync()
    assert new.verify()


def test_no_service_with_the_old_root_undoes_it(world: World) -> None:
    """Neither before the first sync under the new root nor after it, though the old serials are higher."""
    old = world.recipient()
    old.sync()
    kept = world.directory / "kept"
    shutil.copytree(world.repository, kept)
    root = begun_anew(world, FIRST)
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    renewed = world.directory / "renewed"
    shutil.move(world.repository, renewed)
    shutil.copytree(kept, world.repository)

    def assert_is_refused() -> None:
        for run_it in (old.sync, old.dry_run):
            with pytest.raises(InvalidInput, match=r"another root was pinned .*name the new root"):
                run_it()
        assert LISTED in old

    assert_is_refused()
    shutil.rmtree(world.repository)
    shutil.copytree(renewed, world.repository)
    assert new.sync().after == 1
    assert_is_refused()
    shutil.rmtree(world.repository)
    shutil.copytree(kept, world.repository)
    assert_is_refused()
    assert new.status().serial == 1


def test_a_later_root_of_the_new_ones_may_be_pinned(world: World) -> None:
    world.recipient().sync()
    root = begun_anew(world, FIRST)
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    Publisher.open(world.directory / "anew", passphrase=PASSPHRASE).rotate_keys("root")
    later = (world.directory / "anew" / "root.json").read_bytes()
    assert later != root
    with pytest.raises(InvalidInput, match="another root was pinned"):
        opened(world, later).sync()
    shutil.rmtree(world.repository)
    shutil.copytree(world.directory / "anew" / "repository", world.repository)
    assert new.sync().after == 1
    assert opened(world, later).sync().kind == "none"


def test_the_old_repository_is_not_trusted_any_more(world: World) -> None:
    world.recipient().sync()
    kept = world.directory / "kept"
    shutil.copytree(world.repository, kept)
    root = begun_anew(world, FIRST)
    new = opened(world, root)
    new.replace_root(fingerprint(root))
    new.sync()
    shutil.rmtree(world.repository)
    shutil.copytree(kept, world.repository)
    with pytest.raises(Untrusted):
        new.sync()
    assert LISTED in new


def test_by_command(world: World) -> None:
    world.recipient().sync()
    root = begun_anew(world, FIRST)
    file = world.directory / "new-root.json"
    file.write_bytes(root)
    settings = {"url": world.url, "feed": FEED, "root": file, "cache_dir": world.directory / "cache"}
    settings["state_dir"] = world.directory / "cache-state"
    env = {f"BLOCKLIST_{name.upper()}": str(value) for name, value in settings.items()}
    assert run("sync", env=env).code == 4
    assert run("trust", "replace", env=env).code == 2
    assert run("trust", "replace", "--fingerprint", "0" * 64, env=env).code == 4
    shown = run("trust", "replace", "--fingerprint", fingerprint(root), "--dry-run", env=env)
    assert (shown.code, "would be given up: release 3" in shown.out) == (0, True), shown
    done = run("trust", "replace", "--fingerprint", " ".join(spoken(fingerprint(root))), "--json", env=env)
    assert (done.code, json.loads(done.out)["highest_serial"]) == (0, 3)
    assert run("sync", env=env).code == 0
    assert run("check", LISTED, env=env).code == 1


def test_feeds_that_remain_to_be_done_are_named(world: World) -> None:
    folders = {"cache_dir": world.directory / "cache", "state_dir": world.directory / "cache-state"}
    source = world.directory / "list.txt"
    source.write_text("\n".join(FIRST[:100]))
    world.publisher.release(OTHER_FEED, source)
    for feed in (FEED, OTHER_FEED):
        world.recipient(feed=feed).sync()
    root = begun_anew(world, FIRST)
    file = world.directory / "new-root.json"
    file.write_bytes(root)
    settings = {"url": world.url, "root": file, **folders}
    env = {f"BLOCKLIST_{name.upper()}": str(value) for name, value in settings.items()}
    digits = fingerprint(root)
    for feed, other, is_left in ((FEED, OTHER_FEED, True), (OTHER_FEED, FEED, False)):
        plan = run("trust", "replace", "--feed", feed, "--fingerprint", digits, "--dry-run", env=env)
        assert (f"run the same command with --feed {other}" in plan.err) is is_left
        done = run("trust", "replace", "--feed", feed, "--fingerprint", digits, env=env)
        assert (done.code, f"run the same command with --feed {other}" in done.err) == (0, is_left)
    assert run("sync", "--feed", FEED, env=env).code == 0
    again = run("trust", "replace", "--feed", OTHER_FEED, "--fingerprint", digits, "--json", env=env)
    assert again.document["remaining"] == []


def test_before_the_new_root_is_pinned_it_is_said_what_to_do(world: World) -> None:
    old = world.recipient()
    old.sync()
    root = begun_anew(world, FIRST)
    for each in (old, opened(world, root)):
        with pytest.raises(Untrusted, match=r"begun anew with other root keys, .*blocklist trust replace"):
            each.sync()
        assert "blocklist trust replace" in (each.status().last_error or "")
    (problem,) = opened(world, root).verify().problems
    assert "does not follow from the pinned one" in problem
    assert "run blocklist trust replace" in problem


def test_a_folder_of_a_publisher_is_no_root(world: World) -> None:
    world.recipient().sync()
    other = unguarded(world.directory / "publisher")
    with pytest.raises(InvalidInput):
        opened(world, b"{}").replace_root(fingerprint(b"{}"))
    assert other.feeds
