"""The command-line reference is what the commands say, and they all say something."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.settings import CREDENTIALS, LIST, NAMES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*path, name))
        else:
            yield " ".join((*path, name)), each


COMMANDS = dict(commands(get_command(command_line())))


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "exit-codes.md"])
def test_the_reference_is_current(generator: ModuleType, name: str) -> None:
    page = DOCS / "reference" / name
    assert page.read_text(encoding="utf-8") == generator.PAGES[page](), "run: python docs/generate_cli.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_is(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for each in command.params:
        assert each.help, each.name
        assert each.metavar or each.is_flag, each.name


SETTINGS = {
    "sync": {*LIST, *CREDENTIALS},
    "status": {*LIST},
    "check": {*LIST},
    "export": {*LIST},
    "mirror": {"url", "root", *CREDENTIALS},
    "report send": {*CREDENTIALS},
    "case list": {*CREDENTIALS},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_commands_share_their_settings(name: str) -> None:
    found = {each.name: each.envvar for each in COMMANDS[name].params if each.envvar}
    # Where figures go is about the job that runs a command, and not about the list.
    found.pop("metrics_file", None)
    assert found == {each: f"BLOCKLIST_{each.upper()}" for each in {*SETTINGS[name], "config"}}


def test_every_setting_but_the_secret_itself_is_an_option() -> None:
    assert set(NAMES) == {*LIST, *CREDENTIALS, "client_secret"}


@pytest.mark.parametrize("name", ["demo", "sync", "status", "check", "publish init", "publish release", "publish keys"])
def test_what_machines_read_has_json(name: str) -> None:
    assert any(each.opts == ["--json"] for each in COMMANDS[name].params)
