"""``blocklist bundle``, and the commands that ask a bundle in place of a cache."""

import json
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist
from support.bundles import contents_of, doctored
from support.clock import Clock
from support.command_line import Ran, assert_fails, run
from support.world import ADDED, FEED, LISTED, World, make_world

BLOCKED = "+6281277777777"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    assert run("sync", *cached(world)).code == 0
    options = iter(map(str, cached(world)))
    env = {
        f"BLOCKLIST_{name[2:].upper().replace('-', '_')}": value for name, value in zip(options, options, strict=True)
    }
    assert run("override", "block", BLOCKED, "--reason", "ticket 5", env=env).code == 0
    return world


def cached(world: World) -> tuple[str | Path, ...]:
    options = ("--feed", FEED, "--root", world.publisher.root, "--region", "ID")
    return ("--url", world.url, *options, "--cache-dir", world.directory / "cache")


def asked(world: World, bundle: Path, *more: str) -> tuple[str | Path, ...]:
    return ("--bundle", bundle, "--root", world.publisher.root, "--region", "ID", *more)


@pytest.fixture(scope="module")
def bundle(world: World) -> Path:
    path = world.directory / "list.bundle"
    ran = run("bundle", "-o", path, *cached(world))
    assert ran.code == 0, ran
    assert ran.out.startswith(f"{FEED}: release 1 of ")
    for words in ("3,000 entries", "0 protected numbers", "no overrides", "expires ", f"bytes in {path}"):
        assert words in ran.out
    assert "1 override of yours is not in it" in ran.err
    return path


def test_what_is_left_out_of_yours_is_said_and_how_it_counts(world: World, tmp_path: Path) -> None:
    protected = tmp_path / "protected.txt"
    protected.write_text(f"{LISTED}\n{ADDED}\n")
    env = {"BLOCKLIST_PROTECTED": str(protected)}
    path = tmp_path / "list.bundle"
    made = run("bundle", "-o", path, *cached(world), env=env)
    assert (made.code, "0 protected numbers, no overrides" in made.out) == (0, True)
    assert made.err == (
        "blocklist: 2 protected numbers of yours and 1 override are not in it, so the list alone decides there: give "
        "--with-overrides, or --protected to whoever opens it\n"
    )
    document = run("bundle", "-o", path, "--json", *cached(world), env=env).document
    assert (document["own_protected"], document["overrides"]) == (None, None)
    assert (document["own_protected_left_out"], document["overrides_left_out"]) == (2, 1)
    assert run("check", LISTED, *asked(world, path)).code == 1
    assert run("check", LISTED, *asked(world, path), env=env).code == 0
    # Without an override of any kind, it is said as well.
    fresh = (*cached(world)[:-1], tmp_path / "fresh")
    assert run("sync", *fresh).code == 0
    protected.write_text(f"{LISTED}\n")
    made = run("bundle", "-o", path, *fresh, env=env)
    assert "1 protected number of yours is not in it" in made.err
    made = run("bundle", "-o", path, "--with-overrides", *fresh, env=env)
    assert ("0 protected numbers and 1 of yours, 0 overrides" in made.out, made.err) == (True, "")
    assert run("check", LISTED, *asked(world, path, "--bundle-overrides", "count")).code == 0
    assert run("bundle", "-o", path, *fresh).err == ""


@pytest.fixture(scope="module")
def own(world: World) -> Path:
    path = world.directory / "own.bundle"
    ran = run("bundle", "-o", path, "--with-overrides", "--json", *cached(world))
    assert (ran.code, ran.err, ran.document["overrides"], ran.document["path"]) == (0, "", 1, str(path))
    return path


def same(ran: Ran, other: Ran, *left_out: str) -> None:
    assert (ran.code, ran.err) == (other.code, other.err)
    assert [{**each, **dict.fromkeys(left_out)} for each in ran.documents] == [
        {**each, **dict.fromkeys(left_out)} for each in other.documents
    ]


def test_commands_answer_from_it_as_from_the_cache(world: World, own: Path, tmp_path: Path) -> None:
    options = asked(world, own, "--bundle-overrides", "count")
    for command in (("check", LISTED, ADDED, BLOCKED), ("explain", LISTED), ("explain", BLOCKED), ("verify",)):
        same(run(*command, *options, "--json"), run(*command, *cached(world), "--json"))
    for form in ("csv", "txt", "prefixes", "fritzbox"):
        exported = run("export", "--format", form, *options)
        assert exported.code == 0
        assert exported.out == run("export", "--format", form, *cached(world)).out
    (tmp_path / "users.csv").write_text(f"number\n{LISTED}\n{BLOCKED}\n{ADDED}\n")
    for name, its_options in (("bundle", options), ("cache", cached(world))):
        assert run("screen", tmp_path / "users.csv", "-o", tmp_path / f"{name}.csv", *its_options).code == 0
    assert (tmp_path / "bundle.csv").read_text() == (tmp_path / "cache.csv").read_text()


def test_the_status_of_a_bundle(world: World, bundle: Path, tmp_path: Path) -> None:
    ran = run("status", *asked(world, bundle), "--metrics-file", tmp_path / "metrics")
    assert (ran.code, ran.err) == (0, "")
    assert f"bundle            {bundle}" in ran.lines
    assert not any(line.startswith(("last success", "on disk", "kept")) for line in ran.lines)
    document = run("status", *asked(world, bundle), "--json").document
    assert (document["bundle"], document["serial"], document["last_success"]) == (str(bundle), 1, None)
    assert run("status", *cached(world), "--json").document["bundle"] is None


def test_overrides_count_by_an_explicit_word(world: World, own: Path, bundle: Path) -> None:
    for word, code in (("count", 1), ("ignore", 0)):
        assert run("check", BLOCKED, *asked(world, own, "--bundle-overrides", word)).code == code
    ran = run("check", BLOCKED, *asked(world, own))
    assert (ran.code, "they do not count" in ran.err) == (0, True)
    assert_fails(run("check", BLOCKED, *asked(world, own, "--bundle-overrides", "yes")), 2, "count or ignore")
    assert_fails(run("check", BLOCKED, *asked(world, bundle, "--bundle-overrides", "count")), 2, "has no overrides")


def test_one_of_an_older_release_is_refused_if_the_oldest_is_named(world: World, bundle: Path) -> None:
    assert run("check", LISTED, *asked(world, bundle, "--bundle-min-release", "1")).code == 1
    assert run("check", LISTED, *asked(world, bundle, "--bundle-min-release", "1.1")).code == 1
    for oldest in ("2", "2.1"):
        for command in (("check", LISTED), ("status",), ("export",), ("explain", LISTED), ("verify",)):
            ran = run(*command, *asked(world, bundle, "--bundle-min-release", oldest))
            assert_fails(ran, 4, "has release 1, and min_release (--bundle-min-release)", f"at least {oldest}: take")
    oldest_by_environment = {"BLOCKLIST_BUNDLE_MIN_RELEASE": "2"}
    assert_fails(run("check", LISTED, *asked(world, bundle), env=oldest_by_environment), 4, "at least 2")


def test_what_is_about_a_bundle_needs_one(world: World) -> None:
    for options in (("--bundle-min-release", "1"), ("--bundle-overrides", "ignore")):
        assert_fails(run("check", LISTED, *cached(world), *options), 2, options[0], "there is no bundle")


def test_who_may_read_it(bundle: Path, own: Path, world: World) -> None:
    assert [stat.S_IMODE(path.stat().st_mode) for path in (bundle, own)] == [0o640, 0o600]
    path = world.directory / "all.bundle"
    assert run("bundle", "-o", path, "--file-mode", "0644", *cached(world)).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_environment_and_the_file_name_it(world: World, bundle: Path, tmp_path: Path) -> None:
    by_environment = {"BLOCKLIST_BUNDLE": str(bundle), "BLOCKLIST_ROOT": str(world.publisher.root)}
    assert run("check", LISTED, env=by_environment).code == 1
    settings = tmp_path / "blocklist.toml"
    (tmp_path / "list.bundle").write_bytes(bundle.read_bytes())
    (tmp_path / "root.json").write_bytes(Path(world.publisher.root).read_bytes())
    settings.write_text('bundle = "list.bundle"\nroot = "root.json"\n')
    assert run("check", LISTED, "--config", settings).code == 1
    # What needs a cache goes on as if there were no bundle.
    assert_fails(run("sync", "--config", settings), 2, "missing url and feed")
    assert run("changes", "--since", "0", *cached(world), env=by_environment).code == 0


def test_what_does_not_go_together(world: World, bundle: Path, tmp_path: Path) -> None:
    assert_fails(run("check", LISTED, "--bundle", bundle), 2, "missing root")
    assert_fails(run("check", LISTED, *asked(world, bundle), "--url", world.url), 2, "--url", "contradict")
    assert_fails(run("check", LISTED, *asked(world, tmp_path / "none")), 2, "cannot read the bundle")
    assert_fails(run("check", LISTED, *asked(world, bundle, "--feed", "id-messaging")), 4, "of the feed")
    assert_fails(run("verify", "--audit", *asked(world, bundle)), 2, "is a bundle")
    assert_fails(run("export", "-o", bundle, *asked(world, bundle)), 2, "own files")
    assert_fails(run("bundle", "-o", "-", "--json", *cached(world)), 2, "standard output")
    assert_fails(run("bundle", "-o", world.directory / "cache" / FEED / "x", *cached(world)), 2, "own files")
    assert_fails(run("bundle", "-o", tmp_path, *cached(world)), 2, "not a regular file")
    assert_fails(run("bundle", "-o", tmp_path / "none" / "x", *cached(world)), 74, "cannot use")
    assert_fails(run("bundle", "-o", tmp_path / "x", *cached(world)[:-1], tmp_path / "cache"), 2, "sync")


def test_one_that_was_altered_is_refused(world: World, bundle: Path, tmp_path: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "altered").write_bytes(data)
    shorter = contents_of(bundle)["answers/cells"][:-8]
    other = doctored(bundle, tmp_path / "doctored", {"answers/cells": shorter})
    for path in (tmp_path / "altered", other):
        for command in (("check", LISTED), ("explain", LISTED), ("verify",), ("status",), ("export",)):
            assert_fails(run(*command, *asked(world, path)), 4, "is not trusted", str(path))


def test_standard_output(world: World, tmp_path: Path) -> None:
    """In a process of its own, since a bundle is no text."""
    command = [
        sys.executable,
        "-c",
        "from blocklist_sdk.cli import main; main()",
        "bundle",
        "-o",
        "-",
        *map(str, cached(world)),
    ]
    ran = subprocess.run(command, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert b"in standard output" in ran.stderr
    (tmp_path / "list.bundle").write_bytes(ran.stdout)
    assert LISTED in Blocklist.open_bundle(tmp_path / "list.bundle", root=world.publisher.root)


def test_a_damaged_list_is_not_bundled(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    assert run("sync", *cached(world)).code == 0
    (path,) = (tmp_path / "cache").glob("*/generations/*-*/rows.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert_fails(run("bundle", "-o", tmp_path / "list.bundle", *cached(world)), 4, "damaged", "run a sync")
    assert not list(tmp_path.glob("*.bundle"))
    assert run("sync", *cached(world)).code == 0
    assert run("bundle", "-o", tmp_path / "list.bundle", *cached(world)).code == 0


def test_a_stale_one_says_so(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = run("status", *cached(world), "--json").document
    expires = (
        Blocklist.open(world.url, feed=FEED, root=world.publisher.root, cache_dir=world.directory / "cache")
        .status()
        .expires
    )
    assert expires is not None
    Clock(expires + timedelta(hours=1)).install(monkeypatch)
    ran = run("bundle", "-o", tmp_path / "old.bundle", *cached(world))
    assert (ran.code, "past its signed expiry already" in ran.err) == (0, True)
    fresh = run("check", ADDED, "--require-fresh", *asked(world, tmp_path / "old.bundle"))
    assert_fails(fresh, 5, "make the bundle anew")
    document = json.loads(run("check", ADDED, "--json", *asked(world, tmp_path / "old.bundle")).out)
    assert (document["stale"], document["serial"]) == (True, status["serial"])
