"""``blocklist mirror``: settings, what it says, and exit codes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from blocklist_sdk.publisher import serving
from support.command_line import Ran, assert_fails, run
from support.mirrors import assert_mirror_answers, place, published, served
from support.world import FEED, OTHER_FEED, SECOND, Forger, World, copy_world, make_world, past, stranger


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return copy_world(template, tmp_path)


def mirrored(world: World, *flags: str | Path, directory: Path | None = None, **changed: object) -> Ran:
    settings = {"url": world.url, "root": world.publisher.root, **changed}
    given = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return run("mirror", directory or place(world), *given, *flags)


def test_a_mirror_is_made_and_brought_up_to_date(world: World) -> None:
    made = mirrored(world)
    assert made.code == 0, made.err
    assert made.out.startswith(f"{OTHER_FEED}, {FEED}: updated, 5 files fetched, 0 kept, fresh until 20")
    assert served(place(world)) == published(world)
    again = mirrored(world)
    assert again.out.startswith(f"{OTHER_FEED}, {FEED}: up to date, 0 files fetched, 5 kept")
    assert made.err == again.err == ""


def test_machines_read_json(world: World) -> None:
    document = mirrored(world, "--json").document
    assert set(document) == {"feeds", "changed", "fetched", "kept", "expires", "bytes", "seconds"}
    assert document["feeds"] == [OTHER_FEED, FEED]
    assert (document["changed"], document["fetched"], document["kept"]) == (True, 5, 0)
    assert document["expires"].endswith("Z")


def test_feeds_may_be_chosen(world: World) -> None:
    assert mirrored(world, "--feed", FEED, "--json").document["feeds"] == [FEED]
    assert served(place(world)) == published(world, [FEED])
    assert mirrored(world, "--feed", OTHER_FEED, "--feed", FEED, "--json").document["feeds"] == [OTHER_FEED, FEED]
    dropped = mirrored(world, "--feed", FEED)
    assert dropped.code == 0
    assert "no longer mirrored" in dropped.err
    assert OTHER_FEED in dropped.err


def test_settings_come_from_flags_the_environment_and_the_file(world: World) -> None:
    env = {"BLOCKLIST_URL": world.url, "BLOCKLIST_ROOT": str(world.publisher.root)}
    wrong = {"BLOCKLIST_URL": "http://127.0.0.1:9", "BLOCKLIST_ROOT": "nowhere.json"}
    assert run("mirror", "by-environment", env=env).code == 0
    flags = ("--url", world.url, "--root", world.publisher.root)
    assert run("mirror", "by-flags", *flags, env=wrong).code == 0
    Path("blocklist.toml").write_text(f'url = "{world.url}"\nroot = "{world.publisher.root}"\n')
    assert run("mirror", "by-file").code == 0
    assert_fails(run("mirror", "by-file", env=wrong), 2, "nowhere.json")
    Path("blocklist.toml").rename("other.toml")
    assert run("mirror", "by-another-file", "--config", "other.toml").code == 0
    for name in ("by-environment", "by-flags", "by-file", "by-another-file"):
        assert served(Path(name)) == published(world)


def test_what_a_recipient_on_the_same_machine_syncs_does_not_count(world: World) -> None:
    Path("blocklist.toml").write_text(f'url = "{world.url}"\nroot = "{world.publisher.root}"\nfeed = "{FEED}"\n')
    assert run("mirror", "mirror", env={"BLOCKLIST_FEED": "id-nobody"}).code == 0
    assert served(Path("mirror")) == published(world)


def test_what_is_missing_is_named(world: World) -> None:
    ran = run("mirror", "mirror")
    assert_fails(ran, 2, "missing url and root", "--url", "BLOCKLIST_ROOT", "blocklist.toml")
    assert "feed" not in ran.err
    assert_fails(run("mirror"), 2, "DIR")


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda world: Forger(world).forge("timestamp", past), 5),
        (lambda world: Forger(world).forge("timestamp", signers=[stranger()]), 4),
        (lambda world: (world.metadata / "timestamp.json").write_text("<html>Please log in</html>"), 4),
        (lambda world: (world.metadata / "timestamp.json").unlink(), 3),
    ],
    ids=["expired", "forged", "captive portal", "not there"],
)
def test_a_source_that_is_refused(world: World, harm: Callable[[World], object], code: int) -> None:
    mirrored(world)
    before = served(place(world))
    harm(world)
    assert_fails(mirrored(world), code)
    assert served(place(world)) == before
    assert_mirror_answers(world, 1)


def test_bad_input(world: World) -> None:
    (world.directory / "full").mkdir()
    (world.directory / "full" / "notes.txt").write_text("mine")
    assert_fails(mirrored(world, directory=world.directory / "full"), 2, "neither empty nor a mirror")
    assert_fails(mirrored(world, directory=world.repository), 2, "neither empty nor a mirror")
    assert_fails(mirrored(world, directory=world.publisher.root), 2, "is not a folder")
    assert_fails(mirrored(world, "--feed", "id-nobody"), 2, "no feed 'id-nobody'")
    assert_fails(mirrored(world, "--feed", "No Feed"), 2, "not a feed name")
    assert_fails(mirrored(world, root="nowhere.json"), 2, "cannot read the root")
    assert_fails(mirrored(world, url="lists.example"), 2, "base URL")
    assert_fails(mirrored(world, directory=Path("/proc/nowhere/mirror")), 74, "cannot use")
    assert not place(world).exists()


def test_the_wrong_root(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = make_world(tmp_path_factory.mktemp("other"))
    assert_fails(mirrored(world, root=other.publisher.root), 4, "does not verify")
    assert not place(world).exists()
    mirrored(world)
    assert_fails(mirrored(world, root=other.publisher.root), 2, "a repository with another root")


def test_a_folder_that_another_run_holds(world: World) -> None:
    mirrored(world)
    with FileLock(place(world) / ".mirror" / "lock"):
        assert_fails(mirrored(world, "--wait", "0"), 75, "another run is mirroring")


def test_recipients_use_a_mirror_like_the_repository(world: World) -> None:
    mirrored(world)
    world.release(SECOND)
    mirrored(world)
    shutil.rmtree(world.repository)
    with serving(place(world)) as url:
        for address in (url, place(world).as_uri()):
            flags = (
                "--url",
                address,
                "--feed",
                FEED,
                "--root",
                world.publisher.root,
                "--cache-dir",
                f"c{len(address)}",
            )
            synced = run("sync", "--json", *flags)
            assert synced.code == 0, synced.err
            assert synced.document["after"] == 2
