"""Every command and option has help, and the reference is made from it."""

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blocklist_sdk.cli.app import PANELS, command_line
from blocklist_sdk.cli.examples import EXAMPLES
from blocklist_sdk.cli.settings import BUNDLE, FILES, LIMITS, LIST, NAMES, SERVER, SINK, STATEMENT
from blocklist_sdk.doctor.settings_checks import OTHER_VARIABLES
from support.command_line import run

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


ALL = command_line()
COMMANDS = dict(commands(ALL))


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "exit-codes.md"])
def test_the_reference_is_current(generator: ModuleType, name: str) -> None:
    page = DOCS / "reference" / name
    assert page.read_text(encoding="utf-8") == generator.PAGES[page](), "run: python docs/generate_cli.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_has_words_in_brackets_which_a_terminal_does_not_show(name: str) -> None:
    """They would be read as markup, such as [bold]."""
    command = COMMANDS[name]
    assert not [text for text in (command.help, *(each.help for each in command.params)) if "[" in text]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for each in command.params:
        assert each.help, each.name
        assert each.metavar or each.is_flag, each.name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_metavars_and_no_types_of_python(name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.code == 0
    assert not re.search(r"<\w+|\{", shown.out)


GROUPS = ["", *sorted({name.rpartition(" ")[0] for name in COMMANDS if " " in name})]


@pytest.mark.parametrize("name", [*GROUPS, *COMMANDS])
def test_h_is_help(name: str) -> None:
    short, long = (run(*name.split(), flag, env={"COLUMNS": "100"}) for flag in ("-h", "--help"))
    assert (short.code, short.out) == (0, long.out)
    assert "-h" in short.out


def test_help_joins_the_lines_of_a_docstring() -> None:
    shown = run("sync", "--help", env={"COLUMNS": "100"})
    assert any(len(line.strip()) > 80 and line.startswith(" With --watch") for line in shown.lines)


@pytest.mark.parametrize(
    ("name", "example"), [(name, example) for name, examples in EXAMPLES.items() for example in examples]
)
def test_an_example_is_a_command_line_of_its_command(name: str, example: str) -> None:
    """It is parsed as in a shell, and not run."""
    program, *arguments = itertools.takewhile(lambda word: word not in "<>", shlex.split(example))
    assert program == "blocklist"
    command: Any = ALL
    for word in name.split():
        assert arguments.pop(0) == word
        command = command.commands[word]
    command.make_context(name, arguments)


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_examples(name: str) -> None:
    shown = run(*name.split(), "--help", env={"COLUMNS": "200"}).out.partition("Examples:")[2].splitlines()
    assert [line.strip() for line in shown if line.strip()] == list(EXAMPLES[name])


def test_every_command_is_in_a_panel_of_the_help() -> None:
    shown = run("--help", env={"COLUMNS": "100"})
    assert [name for panel in PANELS.values() for name in panel] == list(command_line().commands)
    assert all(f"─ {panel} ─" in shown.out for panel in PANELS)
    assert "─ Commands ─" not in shown.out


SETTINGS = {
    "sync": {*LIST, *FILES, *SERVER, *LIMITS["sync"]},
    "publish release": {*LIMITS["publish"]},
    "publish add": {*LIMITS["publish"]},
    "publish remove": {*LIMITS["publish"]},
    "enforce": {*LIST, *FILES, *SERVER, *SINK, *LIMITS["sync"], *LIMITS["enforce"]},
    "status": {*LIST, *BUNDLE, *FILES},
    "check": {*LIST, *BUNDLE},
    "bundle": {*LIST, *FILES},
    "export": {*LIST, *BUNDLE, *FILES},
    "mirror": {"url", "root", *SERVER},
    "statement": {*LIST, *FILES, *STATEMENT},
    "report send": {*SERVER},
    "case list": {*SERVER},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_commands_share_their_settings(name: str) -> None:
    found = {each.name: each.envvar for each in COMMANDS[name].params if each.envvar}
    # Where figures are written is about the job that runs a command, and not about the list.
    found.pop("metrics_file", None)
    found.pop("sink", None)
    assert found == {each: f"BLOCKLIST_{each.upper()}" for each in {*SETTINGS[name], "config"}}


def test_every_setting_but_the_secret_itself_is_an_option() -> None:
    assert set(NAMES) == {
        *(*LIST, *BUNDLE, *FILES, *SERVER, *SINK, *STATEMENT),
        *itertools.chain(*LIMITS.values()),
        "client_secret",
    }


@pytest.mark.parametrize(
    "name", ["demo", "sync", "status", "check", "publish init", "publish release", "publish keys show"]
)
def test_commands_for_machines_have_json(name: str) -> None:
    assert any(each.opts == ["--json"] for each in COMMANDS[name].params)


def test_every_variable_that_the_doctor_knows_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    others = page.partition("## Other variables")[2]
    assert set(re.findall(r"`(BLOCKLIST_[A-Z_]+)`", others)) == set(OTHER_VARIABLES)
