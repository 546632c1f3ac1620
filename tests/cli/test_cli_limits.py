"""The limits of the three guards, by flag, variable and file: what is within is done, and one more is not."""

import signal
from pathlib import Path

import pytest

from support.command_line import Ran, run
from support.lost_overrides import lose
from support.quick_processes import QuickCommand
from support.world import FEED, World, make_world

ENV = {"BLOCKLIST_PASSPHRASE": "generated for a test"}
WAYS = ("flag", "variable", "file")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory in which a settings file is read."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


def limited(way: str, guard: str, limits: dict[str, str], *, prefix: str = "") -> tuple[list[str], dict[str, str]]:
    """Flags and variables that set limits; those of the file are written into it."""
    if way == "file":
        Path("blocklist.toml").write_text("".join(f'{guard}_{name} = "{text}"\n' for name, text in limits.items()))
        return [], {}
    if way == "variable":
        return [], {f"BLOCKLIST_{guard}_{name}".upper(): text for name, text in limits.items()}
    return [part for name, text in limits.items() for part in (f"--{prefix}{name.replace('_', '-')}", text)], {}


# publish


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    folder = tmp_path / "authority"
    assert run("publish", "init", folder, "--feed", "id-all", "--region", "ID", env=ENV).code == 0
    assert publish("release", folder, *written(0, 500)).code == 0
    return folder


def numbers(start: int, stop: int) -> list[str]:
    return [f"0812-0000-{i:04}" for i in range(start, stop)]


def written(start: int, stop: int) -> list[str]:
    file = Path("list.csv")
    file.write_text("\n".join(["number", *numbers(start, stop)]) + "\n")
    return ["--from", str(file)]


def publish(command: str, folder: Path, *options: str, env: dict[str, str] | None = None) -> Ran:
    return run("publish", command, folder, "--feed", "id-all", *options, env={**ENV, **(env or {})})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limits", "most"), [({"max_removed": "20%"}, 100), ({"max_removed": "0.01", "min_removed": "7"}, 7)]
)
def test_how_many_a_release_may_remove(authority: Path, way: str, limits: dict[str, str], most: int) -> None:
    flags, env = limited(way, "publish", limits)
    refused = publish("release", authority, *written(most + 1, 500), *flags, env=env)
    assert (refused.code, f"the guard lets {most:,} pass" in refused.err) == (6, True), refused
    assert publish("release", authority, *written(most + 1, 500), *flags, "--dry-run", env=env).code == 6
    done = publish("release", authority, *written(most, 500), *flags, env=env)
    assert (done.code, f"{most} removed" in done.out) == (0, True), done


@pytest.mark.parametrize("way", WAYS)
def test_how_many_may_be_removed_by_hand(authority: Path, way: str) -> None:
    flags, env = limited(way, "publish", {"min_removed": "7", "max_removed": "0"})
    assert publish("remove", authority, *numbers(0, 8), *flags, env=env).code == 6
    done = publish("remove", authority, *numbers(0, 7), *flags, env=env)
    assert (done.code, "7 removed" in done.out) == (0, True), done


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limits", "most"), [({"max_added": "10%", "min_added": "0"}, 50), ({"max_added": "250%"}, 1_250)]
)
def test_how_many_a_release_may_add(authority: Path, way: str, limits: dict[str, str], most: int) -> None:
    flags, env = limited(way, "publish", limits)
    refused = publish("add", authority, *written(500, 501 + most), *flags, env=env)
    assert (refused.code, f"the guard lets {most:,} pass" in refused.err) == (6, True), refused
    done = publish("add", authority, *written(500, 500 + most), *flags, env=env)
    assert (done.code, f"{most:,} added" in done.out) == (0, True), done


# sync


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


@pytest.fixture
def env(world: World) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "state"),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_SINK": (world.directory / "drop").as_uri(),
    }


def e164(count: int, *, start: int = 0, prefix: str = "+62812") -> list[str]:
    return [f"{prefix}{i:08}" for i in range(start, start + count)]


SYNC_LIMITS = [
    ({"max_removed": "0", "min_removed": "7"}, e164(8, start=0), e164(7)),
    ({"max_removed": "60%"}, e164(601), e164(600)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("limits", "beyond", "within"), SYNC_LIMITS)
def test_how_much_a_recipient_lets_a_release_remove(
    world: World, env: dict[str, str], way: str, limits: dict[str, str], beyond: list[str], within: list[str]
) -> None:
    every = e164(1_000)
    world.release(every)
    assert run("sync", env=env).code == 0
    flags, variables = limited(way, "sync", limits)
    world.release(sorted(set(every) - set(beyond)))
    assert run("sync", *flags, env={**env, **variables}).code == 6
    assert run("sync", "--dry-run", *flags, env={**env, **variables}).code == 6
    world.release(sorted(set(every) - set(within)))
    assert run("sync", *flags, env={**env, **variables}).code == 0


@pytest.mark.parametrize("way", WAYS)
def test_how_much_a_recipient_lets_a_release_add_and_cover(world: World, env: dict[str, str], way: str) -> None:
    world.release(e164(500))
    assert run("sync", env=env).code == 0
    flags, variables = limited(way, "sync", {"max_added": "40%", "min_added": "0"})
    world.release(e164(701))
    assert run("sync", *flags, env={**env, **variables}).code == 6
    world.release(e164(700))
    assert run("sync", *flags, env={**env, **variables}).code == 0
    flags, variables = limited(way, "sync", {"max_cover": "99"})
    world.release([*e164(700), "+62813000000##"])
    assert run("sync", *flags, env={**env, **variables}).code == 6
    flags, variables = limited(way, "sync", {"max_cover": "100"})
    assert run("sync", *flags, env={**env, **variables}).code == 0


@pytest.mark.parametrize("way", WAYS)
def test_how_much_the_ranges_of_a_first_release_may_cover(world: World, env: dict[str, str], way: str) -> None:
    world.release([*e164(500), "+62813000000##", "+62813000001##"])
    flags, variables = limited(way, "sync", {"max_first_cover": "199"})
    assert run("sync", *flags, env={**env, **variables}).code == 6
    flags, variables = limited(way, "sync", {"max_first_cover": "200"})
    assert run("sync", *flags, env={**env, **variables}).code == 0


def started(command: list[str], env: dict[str, str]) -> QuickCommand:
    return QuickCommand(*command, "--json", env=env)


@pytest.mark.parametrize(("most", "line"), [("9", '"error"'), ("10", '"removed": 10')])
@pytest.mark.parametrize("way", WAYS)
def test_watching_asks_a_guard_with_the_same_limits(
    world: World, env: dict[str, str], way: str, most: str, line: str
) -> None:
    every = e164(1_000)
    world.release(every)
    assert run("sync", env=env).code == 0
    world.release(every[10:])
    flags, variables = limited(way, "sync", {"max_removed": "0%", "min_removed": most})
    with started(["sync", "--watch", "--every", "0.2", *flags], {**env, **variables}) as process:
        try:
            assert line in process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)


# enforce


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limits", "most"),
    [({"max_removed": "20%", "max_added": "20%"}, 40), ({"min_removed": "7", "max_removed": "0"}, 7)],
)
def test_how_much_a_run_may_lift_unexplained(
    world: World, env: dict[str, str], way: str, limits: dict[str, str], most: int
) -> None:
    """Overrides that vanish explain nothing; each is an item, since they are not next to each other."""
    own = e164(2 * most + 2, start=5_000)[::2]
    world.release(e164(199 - most))
    assert run("sync", "--accept", "2", env=env).code == 0
    for number in own:
        assert run("override", "block", number, "--reason", "own", env=env).code == 0
    assert run("enforce", env=env).code == 0
    flags, variables = limited(way, "enforce", limits)
    assert lose(world.directory, map(int, own)) == most + 1
    assert run("enforce", *flags, env={**env, **variables}).code == 6
    assert run("override", "block", own[0], "--reason", "own", env=env).code == 0
    done = run("enforce", *flags, env={**env, **variables})
    assert (done.code, f"{most} unblocked" in done.out) == (0, True), done


@pytest.mark.parametrize(("most", "is_done"), [("9", False), ("10", True)])
@pytest.mark.parametrize("way", WAYS)
def test_watching_enforces_with_both_guards(
    world: World, env: dict[str, str], way: str, most: str, is_done: bool
) -> None:
    """`enforce --watch` syncs too, and the limits of that guard have its name in front."""
    every = e164(1_000)
    world.release(every)
    assert run("sync", env=env).code == 0
    assert run("enforce", env=env).code == 0
    world.release(every[10:])
    flags, variables = limited(way, "sync", {"max_removed": "0%", "min_removed": most}, prefix="sync-")
    with started(["enforce", "--watch", "--every", "0.2", *flags], {**env, **variables}) as process:
        try:
            assert ('"reversed": 10' in process.stdout.readline()) is is_done
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("way", WAYS)
def test_how_much_a_run_may_add_unexplained(world: World, env: dict[str, str], way: str) -> None:
    """A filter that is gone explains nothing."""
    indosat = e164(9, prefix="+62815")
    world.release([*e164(200), *indosat])
    assert run("sync", env=env).code == 0
    assert run("enforce", "--only-operator", "telkomsel", env=env).code == 0
    flags, variables = limited(way, "enforce", {"max_added": "0", "min_added": "8"})
    assert run("enforce", *flags, env={**env, **variables}).code == 6
    flags, variables = limited(way, "enforce", {"max_added": "0", "min_added": "9"})
    done = run("enforce", *flags, env={**env, **variables})
    assert (done.code, "9 enforced" in done.out) == (0, True), done
