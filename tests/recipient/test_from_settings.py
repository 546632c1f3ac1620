"""`Blocklist.from_settings` and its siblings: the precedence and the errors of the commands."""

import os
from pathlib import Path

import anyio
import pytest

from blocklist_sdk import AsyncBlocklist, Blocklist, Blocklists, InvalidInput
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.settings.values import NAMES, Settings, variable
from support.command_line import run
from support.world import FEED, OTHER_FEED, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a settings file, and no setting in the environment."""
    for name in [name for name in os.environ if name.startswith("BLOCKLIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(world: World, path: str = "blocklist.toml", **more: str) -> Path:
    settings = {"url": world.repository.as_uri(), "feed": FEED, "root": str(world.publisher.root), "cache_dir": "cache"}
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{name} = '{value}'\n" for name, value in (settings | more).items()))
    return file


def test_arguments_win_over_the_environment_and_that_over_the_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(world, region="ID")
    assert Blocklist.from_settings().region == "ID"
    monkeypatch.setenv("BLOCKLIST_REGION", "MY")
    assert Blocklist.from_settings().region == "MY"
    assert Blocklist.from_settings(region="SG").region == "SG"
    assert Blocklist.from_settings(region=None).region is None
    monkeypatch.setenv("BLOCKLIST_REGION", "")
    assert Blocklist.from_settings().region == "ID"


def test_the_file_is_the_one_of_the_commands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write(world, "etc/lists.toml", region="ID")
    with pytest.raises(InvalidInput, match="missing url and feed and root"):
        Blocklist.from_settings()
    blocklist = Blocklist.from_settings("etc/lists.toml")
    assert internals_of(blocklist).directories[0] == Path("etc/cache", FEED).absolute()
    monkeypatch.setenv("BLOCKLIST_CONFIG", "etc/lists.toml")
    assert Blocklist.from_settings().region == "ID"
    write(world, "third.toml", region="MY")
    assert Blocklist.from_settings("third.toml").region == "MY"
    monkeypatch.setenv("BLOCKLIST_CONFIG", "nowhere.toml")
    with pytest.raises(InvalidInput, match=r"nowhere\.toml does not exist"):
        Blocklist.from_settings()


def test_command_and_program_share_a_list(world: World) -> None:
    write(world, region="ID")
    assert run("sync").code == 0
    with Blocklist.from_settings() as blocklist:
        assert "+6281200000001" in blocklist
        assert blocklist.sync().kind == "none"


def test_errors_name_setting_and_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"give url=… feed=… root=…, or set BLOCKLIST_URL=… .* or write url = "):
        Blocklist.from_settings()
    with pytest.raises(InvalidInput, match="missing feed:"):
        Blocklist.from_settings(url=world.repository.as_uri(), root=world.publisher.root)
    write(world, colour="red")
    with pytest.raises(InvalidInput, match=r"blocklist\.toml sets colour"):
        Blocklist.from_settings()
    write(world, sync_max_removed="many")
    with pytest.raises(InvalidInput, match=r"sync_max_removed in the settings file blocklist\.toml"):
        Blocklist.from_settings()
    write(world)
    monkeypatch.setenv("BLOCKLIST_SYNC_MAX_REMOVED", "many")
    with pytest.raises(InvalidInput, match="BLOCKLIST_SYNC_MAX_REMOVED in the environment"):
        Blocklist.from_settings()


def test_every_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: "1%" if name.endswith(("removed", "added")) and "max" in name else "1" for name in NAMES}
    for name, text in given.items():
        monkeypatch.setenv(variable(name), text)
    settings = Settings.from_environment()
    assert {name: getattr(settings, name) for name in NAMES} == given | {"client_secret": None}
    assert settings.complete().client_secret is None, "a named file goes before the secret in the environment"
    monkeypatch.delenv("BLOCKLIST_CLIENT_SECRET_FILE")
    assert Settings.from_environment().complete().client_secret == "1"


def test_limits_of_a_sync_apply(world: World) -> None:
    write(world, sync_max_rows="10")
    with pytest.raises(Exception, match="10"):
        Blocklist.from_settings().sync()
    assert Blocklist.from_settings(max_rows=100_000).sync().after == 1


def test_who_only_asks_needs_no_secret(world: World) -> None:
    write(world, url="https://lists.example", client_id="gopay", client_secret_file="nowhere")
    with pytest.raises(InvalidInput, match="cannot read the client secret file"):
        Blocklist.from_settings()
    Blocklist.from_settings(auth=None)


def test_several_feeds_of_one_file_and_of_several(world: World, tmp_path: Path) -> None:
    write(world)
    assert Blocklists.from_settings().feeds == (FEED,)
    assert Blocklists.from_settings(feeds=[FEED, OTHER_FEED]).feeds == (FEED, OTHER_FEED)
    write(world, "banks.toml", feed="banks", cache_dir="banks")
    lists = Blocklists.from_settings("blocklist.toml", "banks.toml", protects=["banks"], region="ID")
    assert lists.feeds == (FEED, "banks")
    assert lists["banks"].region == "ID"
    with pytest.raises(InvalidInput, match="each feed once"):
        Blocklists.from_settings("blocklist.toml", "banks.toml", feed="id-all")


def test_asynchronous_programs_open_by_settings_too(world: World) -> None:
    write(world, region="ID")

    async def use() -> bool:
        async with AsyncBlocklist.from_settings() as blocklist:
            await blocklist.sync()
            return "+6281200000001" in blocklist

    assert anyio.run(use)
