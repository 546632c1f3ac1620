"""Passwords of sinks: from where commands take them, and what is said of one on the command line."""

from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from blocklist_sdk.cli.visible_secrets import warn_of_visible_secrets
from support.command_line import run
from support.redis_servers import RedisServer
from support.world import FEED, World, make_world

PASSWORD = "JjXx#/@:?%\\ QqZz"
VISIBLE = "other users see in the list of processes"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def env(world: World) -> dict[str, str]:
    settings = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_REGION": "ID",
    }
    world.release(["+628120000101"])
    assert run("sync", "--accept", "1", env=settings).code == 0
    return settings


@pytest.fixture
def address(redis_running: RedisServer) -> str:
    """Where a Redis is that knows an account with a password full of marks."""
    with redis.Redis.from_url(redis_running.url) as client:
        client.acl_setuser(
            "enforcer", enabled=True, reset=True, passwords=[f"+{PASSWORD}"], categories=["+@all"], keys=["*"]
        )
    return redis_running.url.partition("://")[2].partition("?")[0]


def test_the_password_of_a_sink_comes_from_a_file_or_the_environment(
    env: dict[str, str], address: str, tmp_path: Path
) -> None:
    file, config = tmp_path / "password", tmp_path / "blocklist.toml"
    file.write_text(PASSWORD + "\n")
    config.write_text('sink_password_file = "password"\n')
    other, credentials, other_credentials = tmp_path / "other.toml", tmp_path / "right", tmp_path / "wrong"
    other.write_text('sink_password_file = "wrong/sink_password"\n')
    for folder, password in ((credentials, PASSWORD), (other_credentials, "another")):
        folder.mkdir()
        (folder / "sink_password").write_text(password)
    sink = f"redis://enforcer@{address}?prefix=secrets"
    ways: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "flag": (("--sink-password-file", str(file)), {}),
        "its-variable": ((), {"BLOCKLIST_SINK_PASSWORD_FILE": str(file)}),
        "settings": (("--config", str(config)), {}),
        "variable": ((), {"BLOCKLIST_SINK_PASSWORD": PASSWORD}),
        "variable-before-settings": (("--config", str(other)), {"BLOCKLIST_SINK_PASSWORD": PASSWORD}),
        "credential": ((), {"CREDENTIALS_DIRECTORY": str(credentials)}),
        "credential-before-settings": (("--config", str(other)), {"CREDENTIALS_DIRECTORY": str(credentials)}),
        "variable-before-credential": (
            (),
            {"BLOCKLIST_SINK_PASSWORD": PASSWORD, "CREDENTIALS_DIRECTORY": str(other_credentials)},
        ),
        "empty-variable": ((), {"BLOCKLIST_SINK_PASSWORD": "", "CREDENTIALS_DIRECTORY": str(credentials)}),
        "file-wins": (("--sink-password-file", str(file)), {"BLOCKLIST_SINK_PASSWORD": "another"}),
    }
    for name, (arguments, more) in ways.items():
        ran = run("enforce", "--sink", f"{sink}-{name}", "--name", name, *arguments, env=env | more)
        assert ran.code == 0, ran
        assert VISIBLE not in ran.err
    ran = run("enforce", "--sink", f"{sink}-none", "--name", "none", env=env)
    assert ran.code != 0
    ran = run(
        "enforce", "--sink", f"{sink}-wrong", "--name", "wrong", env=env | {"BLOCKLIST_SINK_PASSWORD": "WrOnG123"}
    )
    assert ran.code != 0
    assert "WrOnG" not in ran.err


def test_the_doctor_takes_the_password_from_where_enforce_takes_it(
    env: dict[str, str], address: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(PASSWORD + "\n")
    sinks = ("--sink", f"redis://enforcer@{address}?prefix=doctor", "--sink", f"file:{tmp_path / 'drop'}")

    def outcomes(*flags: str, more: dict[str, str] | None = None) -> list[str]:
        ran = run("doctor", "--json", *sinks, *flags, env=env | (more or {}))
        assert not any(part in ran.out + ran.err for part in ("JjXx", "QqZz")), ran
        return [each["outcome"] for each in ran.document["findings"] if each["name"] == "sink"]

    assert outcomes("--sink-password-file", str(file)) == ["ok", "ok"]
    assert outcomes(more={"BLOCKLIST_SINK_PASSWORD": PASSWORD}) == ["ok", "ok"]
    assert outcomes(more={"BLOCKLIST_SINK_PASSWORD": "another"}) == ["fail", "ok"]
    assert outcomes("--sink-password-file", str(tmp_path / "missing")) == ["fail", "ok"]


def test_a_password_on_the_command_line_is_said_to_be_visible_once(env: dict[str, str], address: str) -> None:
    sink = f"redis://enforcer:{quote(PASSWORD, safe='')}@{address}?prefix=visible"
    ran = run("enforce", "--sink", sink, "--name", "visible", env=env)
    assert ran.code == 0, ran
    assert ran.err.count(VISIBLE) == 1
    assert "JjXx" not in ran.err
    assert "--sink-password-file" in ran.err
    ran = run("enforce", "--name", "visible", env=env | {"BLOCKLIST_SINK": sink})
    assert (ran.code, VISIBLE in ran.err) == (0, False)


@pytest.mark.parametrize(
    "argument",
    [
        "redis://:JjXx@cache/0",
        "--sink=redis://:JjXx@cache/0",
        "redis://:Jj#Xx@cache/0",
        "https://hook.example/?api_key=JjXx",
        "--url=https://me:JjXx@lists.example/",
    ],
)
def test_every_credential_in_an_argument_counts(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_visible_secrets(["enforce", argument, argument])
    assert capsys.readouterr().err.count(VISIBLE) == 1


@pytest.mark.parametrize(
    "argument", ["redis://me@cache/0?prefix=a", "https://lists.example/?page=2", "me@example", "+628120000101", "--x"]
)
def test_what_has_no_credential_does_not(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_visible_secrets(["enforce", argument])
    assert capsys.readouterr().err == ""


def test_a_password_that_ends_the_url_is_not_printed(env: dict[str, str]) -> None:
    for url in ("redis://u:S3cret#x@127.0.0.1:6379/0", "redis://u:S3cret/x@127.0.0.1:6379/0"):
        ran = run("enforce", "--sink", url, "--name", "s", env=env)
        assert ran.code == 2
        assert "S3c" not in ran.err
        assert "the sink's URL" in ran.err
        assert "%23" in ran.err
