"""Acceptance names a list: a serial that was refused here with that content, or serial and digest anywhere."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import InvalidInput, Refused, Untrusted, times
from blocklist_sdk.recipient.sync.acceptance import Acceptance
from blocklist_sdk.release.release_id import ReleaseId
from support.command_line import run
from support.world import FEED, FIRST, SECOND, Forger, World, assert_still_answers, copy_world, make_world

DIGEST, OTHER = "0" * 64, "1" * 64


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (4, Acceptance(4)),
        ("4", Acceptance(4)),
        ("7.4", Acceptance(4, era=7)),
        (f"4:{'A' * 64}", Acceptance(4, "a" * 64)),
        (f"7.4:{DIGEST}", Acceptance(4, DIGEST, 7)),
    ],
)
def test_what_names_a_list(given: int | str, expected: Acceptance) -> None:
    assert Acceptance.of(given) == expected


@pytest.mark.parametrize("given", [0, -1, True, "", "x", "4:", f"4:{DIGEST[1:]}", "4:0123456789abcdef", "7.", ".4"])
def test_what_names_none(given: Any) -> None:
    with pytest.raises(InvalidInput, match="accept names a list"):
        Acceptance.of(given)


@pytest.mark.parametrize(
    ("given", "refused", "takes"),
    [
        ("4", DIGEST, True),
        ("4", OTHER, False),
        ("4", None, False),
        ("5", DIGEST, False),
        ("2.4", DIGEST, True),
        ("1.4", DIGEST, False),
        (f"4:{DIGEST}", None, True),
        (f"4:{OTHER}", DIGEST, False),
        (f"2.4:{DIGEST}", None, True),
        (f"1.4:{DIGEST}", None, False),
    ],
)
def test_which_list_it_takes(given: str, refused: str | None, takes: bool) -> None:
    assert Acceptance.of(given).takes(ReleaseId(2, 4), DIGEST, refused_digest=refused) is takes


# With a publisher and a recipient


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def resigned(world: World, numbers: list[str]) -> None:
    """The thief of a feed's key publishes another list under the last serial."""
    world.release(numbers)

    def renamed(index: Any) -> None:
        serial = index["serial"] - 1
        last = index["releases"][-1]
        index["serial"] = last["serial"] = serial
        last["delta"] = None
        index["releases"] = [last]

    Forger(world).forge_index(renamed)


def test_another_list_under_a_refused_serial_is_looked_at_again(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(FIRST[:1500])
    with pytest.raises(Refused):
        recipient.sync()
    resigned(world, FIRST[:3])
    with pytest.raises(Refused, match=r"unblock 2,997 numbers.*was not refused on this machine before"):
        recipient.sync(accept=2)
    assert_still_answers(recipient)
    # By then it was refused, so the same words let it in.
    assert recipient.sync(accept=2).after == 2


def test_the_refusal_prints_what_lets_the_list_in_anywhere(world: World) -> None:
    recipient, fresh = world.recipient(), world.recipient(cache="container")
    recipient.sync(), fresh.sync()
    world.release(FIRST[:1500])
    with pytest.raises(Refused) as caught:
        recipient.sync()
    assert caught.value.accept is not None
    assert f"--accept {caught.value.accept}" in str(caught.value)
    with pytest.raises(Refused, match="is for another list under the same serial"):
        fresh.sync(accept=f"2:tree-{OTHER}")
    with pytest.raises(Refused, match="by a digest of another kind than the one that is signed now"):
        fresh.sync(accept=f"2:{OTHER}")
    assert_still_answers(fresh)
    assert fresh.sync(accept=caught.value.accept).after == 2


@pytest.mark.parametrize("hours", [0, 2])
def test_an_acceptance_of_many_rows_is_none_of_what_they_block(
    world: World, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was refused for what it blocks stays so, though a service refuses it again for its rows alone."""
    recipient = world.recipient()
    recipient.sync()
    world.release([f"+62813{i:08d}" for i in range(6_500)])
    with pytest.raises(Refused, match=r"3,500 more rows than .*have it judged") as caught:
        recipient.sync()
    assert caught.value.accept is None
    growth, *judged = recipient.dry_run().refusals
    assert "3,500 more rows" in growth
    assert any("unblock 3,000 numbers" in reason for reason in judged)
    with pytest.raises(Refused, match="unblock 3,000 numbers"):
        recipient.sync(accept=2)
    assert_still_answers(recipient)
    later = times.now() + timedelta(hours=hours)
    monkeypatch.setattr(times, "now", lambda: later)
    for _ in range(2):
        with pytest.raises(Refused, match=r"3,500 more rows|unblock 3,000 numbers") as again:
            recipient.sync()
        assert again.value.accept is not None
        assert len(again.value.reasons) == len(set(again.value.reasons))
    assert recipient.sync(accept=2).after == 2


def test_by_command(world: World) -> None:
    settings = {"url": world.url, "feed": FEED, "root": world.publisher.root, "cache_dir": world.directory / "cache"}
    env = {f"BLOCKLIST_{name.upper()}": str(value) for name, value in settings.items()}
    assert run("sync", env=env).code == 0
    world.release(FIRST[:1500])
    preview = run("sync", "--dry-run", "--json", env=env)
    digest = json.loads(preview.out)["digest"]
    shown = run("sync", "--dry-run", env=env)
    assert (shown.code, f"blocklist sync --accept 2:{digest}" in shown.out) == (6, True)
    first = run("sync", "--accept", "2", env=env)
    assert (first.code, f"--accept 2:{digest}" in first.err) == (6, True)
    assert run("sync", "--accept", "two", env=env).code == 2
    assert run("sync", "--accept", f"2:{digest[:16]}", env=env).code == 2
    assert run("sync", "--accept", f"2:{digest}", env=env).code == 0
    unused = run("sync", "--accept", "9", env=env)
    assert (unused.code, "was not used: the publisher offers release 2" in unused.err) == (0, True)


def test_a_serial_in_force_never_means_another_list_until_a_higher_one_comes(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    recipient.sync()
    resigned(world, [*SECOND, "+6281277777777"])
    for each in (recipient, recipient.anew()):
        with pytest.raises(Untrusted, match="another list as release 2"):
            each.sync()
        assert_still_answers(each, serial=2)
        with pytest.raises(Untrusted):
            each.sync(accept=2)
    world.release(SECOND)
    assert recipient.sync().after > 2


def test_what_was_wiped_does_not_let_another_list_in_either(world: World) -> None:
    import shutil

    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    recipient.sync()
    resigned(world, [*SECOND, "+6281277777777"])
    shutil.rmtree(world.directory / "cache")
    with pytest.raises(Untrusted, match="another list as release 2"):
        world.recipient().sync()


def test_a_refusal_is_not_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a release would block depends on the clock, so it is looked at again."""
    recipient = world.recipient()
    recipient.sync()
    world.release(FIRST[:1500])
    with pytest.raises(Refused):
        recipient.sync()
    delta = world.release_files("*.2.delta.parquet")
    snapshot = world.release_files("*.2.snapshot.parquet")
    for path in (*delta, *snapshot):
        path.rename(path.with_suffix(".away"))
    with pytest.raises(Refused):
        recipient.sync()
    later = times.now() + timedelta(hours=2)
    monkeypatch.setattr(times, "now", lambda: later)
    with pytest.raises(Exception, match=r"404|cannot read|No such file|has no"):
        recipient.sync()
