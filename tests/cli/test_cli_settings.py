"""Settings: flags > environment > blocklist.toml > defaults, and every way to get them wrong."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.cli.settings import LIMITS, LIST, NAMES, SERVER, STATEMENT, Settings, flag, variable
from blocklist_sdk.enforcement import EnforcementSettings
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher import PublisherGuard
from blocklist_sdk.recipient.from_settings import open_arguments
from blocklist_sdk.recipient.guard import Guard
from blocklist_sdk.release.limits import ROWS_MAX
from blocklist_sdk.settings import values
from blocklist_sdk.settings.values import read_config
from support.command_line import assert_fails, run
from support.scale import LONG
from support.world import FEED, LISTED, make_world


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a settings file, and with a root."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root.json").write_text("{}")


ENV = {"BLOCKLIST_URL": "http://127.0.0.1:9", "BLOCKLIST_FEED": "from-environment", "BLOCKLIST_ROOT": "root.json"}


def feed_in_use(*flags: str, env: dict[str, str]) -> str:
    ran = run("status", "--json", *flags, env={**env, "BLOCKLIST_CACHE_DIR": "cache"})
    assert ran.code == 0, ran.err
    return str(ran.document["feed"])


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    Path("blocklist.toml").write_text('feed = "from-file"\n')
    without = {name: value for name, value in ENV.items() if name != "BLOCKLIST_FEED"}
    assert feed_in_use("--feed", "from-flag", env=ENV) == "from-flag"
    assert feed_in_use(env=ENV) == "from-environment"
    assert feed_in_use(env=without) == "from-file"
    assert feed_in_use(env={**without, "BLOCKLIST_FEED": ""}) == "from-file"


def test_no_setting_on_the_command_line_may_be_empty() -> None:
    Path("blocklist.toml").write_text('protected = "own.txt"\n')
    wrong = []
    for name in (*LIST, *SERVER, "config"):
        ran = run("sync", flag(name), "", env=ENV)
        if ran.code != 2 or f"{flag(name)} must not be empty" not in ran.err:
            wrong.append((name, ran))
    assert wrong == []
    for name in STATEMENT:
        ran = run("statement", "--sink", "hlr", "--month", "2026-10", flag(name), "", env=ENV)
        assert_fails(ran, 2, f"{flag(name)} must not be empty")
    assert_fails(run("override", "--protected", "", "list", env=ENV), 2, "--protected must not be empty")


LIMITED: dict[str, list[tuple[str, ...]]] = {
    "publish": [("publish", command, "authority", "--feed", "id-all") for command in ("release", "add", "remove")],
    "sync": [("sync",)],
    "enforce": [("enforce", "--sink", "file:sink")],
}
"""The commands that ask each guard."""


TEXTS = ("-1", "much", "2.5", "1e-3", "nan", "10 percent", "٣")


@pytest.mark.parametrize(("guard", "command"), [(guard, each) for guard, all_ in LIMITED.items() for each in all_])
def test_a_wrong_limit_is_named_with_its_place(guard: str, command: tuple[str, ...]) -> None:
    Path("list.csv").write_text("+6281200000001\n")
    command = (*command, "--from", "list.csv") if guard == "publish" else command
    for name in LIMITS[guard]:
        # Each text is read in the same way everywhere: in the short form by one command of each guard.
        for text in TEXTS if LONG or command == LIMITED[guard][0] else TEXTS[:1]:
            # Above 1 a share must be a percentage: 10 may mean 10 %.
            for flags, env, file, words in (
                ([flag(name, guard), text], {}, "", flag(name, guard)),
                ([], {variable(name): text}, "", f"{variable(name)} in the environment"),
                ([], {}, f'{name} = "{text}"\n', f"{name} in the settings file blocklist.toml, line 1"),
            ):
                Path("blocklist.toml").write_text(file)
                ran = run(*command, *flags, env={**ENV, **env})
                assert (ran.code, ran.out) == (2, ""), (name, text, ran)
                assert f"{words} must be " in " ".join(ran.err.split()), (name, text, ran)
                assert f"not {text!r}" in ran.err


@pytest.mark.parametrize("text", ["10", "100.1%", "101 %"])
def test_more_than_all_cannot_be_removed(text: str) -> None:
    for guard in LIMITS:
        ran = run(*LIMITED[guard][0], *(["--from", "x"] if guard == "publish" else []), "--max-removed", text, env=ENV)
        assert_fails(ran, 2, "--max-removed must be a share from 0 to 1, or from 0% to 100%, such as 0.1 or 10%")


OTHERS = {"sync_max_rows", "sync_deadline"}
"""Limits of a sync that are not its guard's."""


def sync_arguments(settings: Settings) -> dict[str, Any]:
    """The arguments of `Blocklist.open` that bound a sync."""
    names = {"guard", "max_rows", "transport"}
    return {name: value for name, value in open_arguments(settings, {}).items() if name in names}


def test_the_other_limits_of_a_sync_reach_it() -> None:
    limit = next(each for each in fields(Settings) if each.name == "sync_max_rows").metadata["limit"]
    assert limit.read(limit.default) == ROWS_MAX
    given = sync_arguments(Settings(sync_max_rows="1,000", sync_deadline="15m", sync_max_added="50%"))
    assert given["max_rows"] == 1_000
    assert given["transport"].deadline_s == 900
    assert given["guard"] == Guard(max_added=0.5)
    assert sync_arguments(Settings()) == {}


def test_the_limits_of_the_guards_are_their_own_defaults() -> None:
    guards: dict[str, Any] = {"publish": PublisherGuard(), "sync": Guard(), "enforce": EnforcementSettings()}
    known = {field.name: field for field in fields(Settings)}
    for guard, names in LIMITS.items():
        own = guards[guard]
        limits = {name.removeprefix(f"{guard}_"): known[name].metadata["limit"] for name in names if name not in OTHERS}
        assert {name: limit.read(limit.default) for name, limit in limits.items()} == {
            each.name: getattr(own, each.name) for each in fields(own) if each.name.startswith(("max_", "min_"))
        }


def test_a_limit_of_the_command_line_wins_over_the_environment_and_that_over_the_file() -> None:
    Path("blocklist.toml").write_text('publish_max_removed = "20%"\npublish_min_added = "2,000"\n')
    given = Settings(publish_max_removed=None, publish_max_added="250%").complete()
    assert given.limits("publish") == {"max_removed": 0.2, "max_added": 2.5, "min_added": 2000}
    given = Settings(publish_max_removed="0.3").complete()
    assert given.limits("publish")["max_removed"] == 0.3


def test_an_empty_variable_does_not_switch_off_protected_numbers() -> None:
    Path("blocklist.toml").write_text('protected = "nowhere.txt"\n')
    assert_fails(run("status", env={**ENV, "BLOCKLIST_PROTECTED": ""}), 2, "nowhere.txt")


@pytest.mark.parametrize("flags", [("--config", "other.toml"), ()])
def test_another_file_may_be_named(flags: tuple[str, ...]) -> None:
    Path("blocklist.toml").write_text('feed = "from-file"\n')
    Path("other.toml").write_text('feed = "from-other"\n')
    env = {name: value for name, value in ENV.items() if name != "BLOCKLIST_FEED"}
    assert feed_in_use(*flags, env=env if flags else {**env, "BLOCKLIST_CONFIG": "other.toml"}) == "from-other"


def test_every_setting_can_be_set_in_the_file() -> None:
    limits = [name for names in LIMITS.values() for name in names]
    texts = {name: "1" if name in limits else f"/{name}" for name in NAMES}
    Path("blocklist.toml").write_text("".join(f'{name} = "{text}"\n' for name, text in texts.items()))
    assert read_config(None) == values.Settings(**texts)


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "lists.toml"
    file.write_text('root = "root.json"\ncache_dir = "/var/cache"\nurl = "file:relative"\n')
    found = read_config(file)
    assert (found.root, found.cache_dir, found.url) == (str(folder / "root.json"), "/var/cache", "file:relative")


def test_without_a_file_nothing_is_set() -> None:
    assert read_config(None) == values.Settings()


def test_what_is_missing_is_named_with_every_way_to_give_it() -> None:
    ran = run("status", "--root", "root.json")
    assert_fails(ran, 2, "url and feed", "--url", "BLOCKLIST_FEED", 'feed = "…"', "blocklist.toml")
    assert "--root" not in ran.err


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Settings(), "none"),
        (Settings(client_secret="secret", client_key="key.pem"), "client_secret and client_key"),
    ],
)
def test_an_account_proves_itself_in_one_way(settings: Settings, given: str) -> None:
    with pytest.raises(InvalidInput, match=f"given: {given}$"):
        replace(settings, client_id="gopay", exchange="https://exchange.example").auth()


def test_a_proof_by_flag_goes_before_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKLIST_CLIENT_SECRET", "secret")
    given = Settings(
        client_key="key.pem",
        client_secret_file="secret",
        places={
            "client_key": "--client-key",
            "client_secret_file": "BLOCKLIST_CLIENT_SECRET_FILE in the environment",
        },
    )
    for settings in (given, replace(given, client_secret_file=None)):
        for complete in (settings.complete(), settings.complete().complete()):
            found = (complete.client_key, complete.client_secret, complete.client_secret_file)
            assert found == ("key.pem", None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('fed = "x"\ncach_dir = "y"\n', ("cach_dir, fed", "cache_dir")),
        ("feed = 7\n", ("feed", "quotes")),
        ('feed = ""\n', ("feed", "quotes")),
        ("feed = \n", ("not TOML",)),
        ('[blocklist]\nfeed = "x"\n', ("sets blocklist",)),
        ('root = "~no-such-user/root.json"\n', ("root", "does not exist")),
        ('root = "a\\u0000b"\n', ("root", "quotes")),
        ('url = "http://a\\u0000b"\n', ("url", "quotes")),
        ("feed = " + "9" * 5000 + "\n", ("not TOML",)),
        ("#" * 1_000_001, ("1,000,000 bytes",)),
    ],
)
def test_a_wrong_file(text: str, words: tuple[str, ...]) -> None:
    Path("blocklist.toml").write_text(text)
    assert_fails(run("status", env=ENV), 2, "blocklist.toml", *words)


def test_a_file_that_is_not_text() -> None:
    Path("blocklist.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"is UTF-16.*save it as UTF-8"):
        read_config(None)


def test_a_file_that_does_not_exist() -> None:
    assert_fails(run("status", "--config", "nowhere.toml", env=ENV), 2, "nowhere.toml", "--config")


@pytest.mark.parametrize("flags", [("--config", "other.toml"), ()])
def test_only_a_regular_file_is_read(flags: tuple[str, ...]) -> None:
    os.mkfifo(flags[1] if flags else "blocklist.toml")
    assert_fails(run("status", *flags, env=ENV), 2, "not a regular file")


def test_a_device_without_an_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("this system has no /dev/zero")
    assert_fails(run("status", "--config", "/dev/zero", env=ENV), 2, "not a regular file")
    ran = run("publish", "init", "authority", "--feed", "x", "--passphrase-file", "/dev/zero")
    assert_fails(ran, 2, "10,000 bytes")


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "url": (("status",), "ftp://lists.example"),
    "feed": (("status",), "Not A Feed"),
    "root": (("status",), "missing.json"),
    "region": (("status",), "Narnia"),
    "form": (("status",), "upside-down"),
    "protected": (("status",), "missing.txt"),
    "bundle": (("status",), "missing.bundle"),
    "bundle_overrides": (("status",), "perhaps"),
    "bundle_min_release": (("status",), "the newest"),
    "ca": (("sync",), "missing.pem"),
    "client_cert": (("sync",), "missing.pem"),
    "client_key": (("sync",), "missing.pem"),
    "client_secret_file": (("sync",), "missing.txt"),
    "client_id": (("sync",), "\u00e9"),
    "exchange": (("case", "list"), "ftp://exchange.example"),
    "group": (("sync",), "no-such-group"),
    "file_mode": (("sync",), "0777"),
    "sink_password_file": (("enforce", "--sink", "redis://127.0.0.1:9/0"), "missing.txt"),
}
"""For each setting that can be wrong, a command and a value that it cannot have."""


@pytest.mark.parametrize("name", WRONG)
def test_an_error_about_a_setting_says_where_it_was_found(name: str, tmp_path: Path) -> None:
    command, text = WRONG[name]
    (tmp_path / "root.json").write_text("{}")
    right = {"url": "https://127.0.0.1:9", "feed": "id-all", "root": str(tmp_path / "root.json"), "region": "ID"}
    account = {"client_id": "gopay", "client_secret_file": str(tmp_path / "secret")}
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "secret").chmod(0o600)
    if name.startswith("client"):
        right |= {key: value for key, value in account.items() if name not in ("client_key", "client_secret_file")}
        right |= {"client_id": "gopay"}
    if name in ("bundle_overrides", "bundle_min_release"):
        right |= {"bundle": "list.bundle"}
    right.pop(name, None)
    (tmp_path / "blocklist.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in right.items()))
    config = ("--config", str(tmp_path / "blocklist.toml"))
    assert_fails(run(*command, *config, flag(name), text), 2, f"blocklist: {flag(name)}: ")
    ran = run(*command, *config, env={variable(name): text})
    assert_fails(ran, 2, f"blocklist: {variable(name)} in the environment: ")
    with (tmp_path / "blocklist.toml").open("a") as file:
        file.write(f'{name}="{text}"\n')
    ran = run(*command, env={"BLOCKLIST_CONFIG": str(tmp_path / "blocklist.toml")})
    assert_fails(ran, 2, f"{name} in the settings file {tmp_path / 'blocklist.toml'}, line {len(right) + 1}: ")


def test_a_root_that_is_none_is_found_by_a_sync_and_named(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("{}")
    env = {"BLOCKLIST_URL": "file:///nowhere", "BLOCKLIST_FEED": "id-all", "BLOCKLIST_CACHE_DIR": str(tmp_path)}
    ran = run("sync", env={**env, "BLOCKLIST_ROOT": str(tmp_path / "root.json")})
    assert_fails(ran, 2, "blocklist: BLOCKLIST_ROOT in the environment: the pinned root is not root metadata")


def test_every_setting_that_can_be_wrong_is_tried() -> None:
    paths_made = {"cache_dir", "state_dir"}
    texts = {"client_secret", *STATEMENT}
    tried_elsewhere = {"group", "file_mode", "sink_password_file"}
    limits = {name for names in LIMITS.values() for name in names}
    assert WRONG.keys() | paths_made | texts | tried_elsewhere | limits == set(NAMES)


@pytest.mark.parametrize("address", ["https://lists.example/v1?key=S3cret", "https://lists.example?", "file:///srv?x"])
def test_an_address_to_which_no_name_can_be_added_is_refused(address: str) -> None:
    ran = run("sync", env={**ENV, "BLOCKLIST_URL": address})
    assert_fails(ran, 2, "BLOCKLIST_URL in the environment", "a question mark")
    assert "S3cret" not in ran.err


@pytest.mark.parametrize("as_link", [False, True])
def test_settings_that_a_stranger_has_laid_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_link: bool
) -> None:
    """In a folder such as /tmp anybody can lay a file for whoever comes along, and it decides what is trusted."""
    world = make_world(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.chdir(shared)
    laid = Path("blocklist.toml")
    text = f'url = "{world.url}"\nfeed = "{FEED}"\nroot = "{world.publisher.root}"\ncache_dir = "cache"\n'
    if as_link:
        Path("real.toml").write_text(text)
        laid.symlink_to("real.toml")
    else:
        laid.write_text(text)
    own = os.geteuid()
    assert run("sync").code == 0
    if own == 0:
        os.lchown(laid, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for ran in (run("sync"), run("check", LISTED)):
        assert (ran.code, ran.out) == (2, "")
        assert "was made by another user, in a folder where everybody may write" in ran.err
    with pytest.raises(InvalidInput, match="was made by another user"):
        Blocklist.from_settings()
    if own == 0:
        assert run("sync", "--config", "blocklist.toml").code == 0
    shared.chmod(0o755)
    assert run("sync").code == 0
