"""The units for systemd: valid, hardened, and calling commands that exist."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.exit_codes import USAGE
from blocklist_sdk.cli.watch import duration

FOLDER = Path(__file__).parents[1] / "packaging" / "systemd"
UNITS = sorted(FOLDER.iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXCHANGE = FOLDER / "blocklist-exchange.service"
RECIPIENTS = [unit for unit in SERVICES if unit != EXCHANGE]

SOURCES = {".md", ".py", ".sh", ".txt"}

EXPOSURE_MAX = 2.5
"""Of 10, by `systemd-analyze security`; below 5 it calls a service OK. Network access alone is most of what is left."""


RUNNING = {
    *("Type", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "SuccessExitStatus"),
    *("TimeoutStartSec", "TimeoutStopSec", "Environment", "EnvironmentFile", "LoadCredential"),
    *("User", "Group", "StateDirectory", "StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode", "UMask"),
}
"""What a service is, as against what it may not do."""


class _Repeated(dict[str, str]):
    """Keys of a unit may come more than once."""

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, f"{self[key]}\n{value}" if key in self and isinstance(value, str) else value)


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(unit)
    return parser


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def installed(unit: Path, directory: Path) -> Path:
    """The units as on a machine where the command is: systemd looks for it."""
    for each in UNITS:
        (directory / each.name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", each.read_text()))
    return directory / unit.name


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    ran = analyze("verify", "--man=no", str(installed(unit, tmp_path)))
    about_ours = [line for line in ran.stderr.splitlines() if "blocklist" in line]
    assert (ran.returncode, about_ours) == (0, []), ran.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_hardened(unit: Path, tmp_path: Path) -> None:
    ran = analyze("security", "--offline=true", "--no-pager", str(installed(unit, tmp_path)))
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", ran.stdout)
    assert found, ran.stdout + ran.stderr
    assert float(found[1]) <= EXPOSURE_MAX, ran.stdout


def command_of(unit: Path) -> typer.Context:
    """What a service calls."""
    program, *words = shlex.split(read(unit)["Service"]["ExecStart"])
    assert program.endswith("/blocklist")
    command: Any = command_line()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context: typer.Context = command.make_context(command.name, words)
    return context


def test_enforcement_does_not_depend_on_the_success_of_a_sync() -> None:
    """systemd leaves out what stands behind a command, or a unit, that failed."""
    for unit in RECIPIENTS:
        service, words = read(unit), read(unit)["Service"]["ExecStart"].split()
        assert not {"Requires", "BindsTo", "Requisite"} & set(service["Unit"])
        assert "\n" not in read(unit)["Service"]["ExecStart"]
        assert "enforce" not in words or "--watch" in words
    assert any("enforce" in read(unit)["Service"]["ExecStart"].split() for unit in RECIPIENTS)


def test_no_page_script_or_unit_makes_enforcement_wait_for_a_sync_that_succeeds() -> None:
    root = FOLDER.parents[1]
    texts = [root / "README.md", *UNITS]
    texts += [path for folder in ("docs", "examples") for path in (root / folder).rglob("*") if path.suffix in SOURCES]
    joined = re.compile(r"sync\b[^\n|;`]*&&[^\n;]*\benforce\b")
    assert [path.name for path in texts if joined.search(path.read_text())] == []


@pytest.mark.parametrize("unit", RECIPIENTS, ids=lambda unit: unit.name)
def test_a_recipient_calls_a_command_that_exists(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKLIST_SINK", "file:///srv/commands")
    every = command_of(unit).params["every"]
    assert every is None or duration(every)


def test_the_exchange_calls_a_command_that_exists() -> None:
    service = read(EXCHANGE)["Service"]
    given = command_of(EXCHANGE).params
    assert given["publish"]
    assert str(given["passphrase_file"]) == f"%d/{service['LoadCredential'].partition(':')[0]}"
    assert given["directory"].parts[:-1] == ("/", "var", "lib", service["StateDirectory"])
    assert service["User"] == service["StateDirectory"]


@pytest.mark.parametrize("unit", RECIPIENTS, ids=lambda unit: unit.name)
def test_a_service_sets_settings_that_exist(unit: Path) -> None:
    command = command_line().commands["sync"]
    known = {parameter.envvar for parameter in command.params}
    names = re.findall(r"(?m)^Environment=(\w+)=", unit.read_text())
    assert names
    assert set(names) <= known


def test_the_services_differ_in_how_they_run_and_not_in_what_they_may() -> None:
    """So that a hardening of one is not forgotten in the other."""

    def sandbox(unit: Path) -> list[str]:
        _, found, rest = unit.read_text().partition("Environment=BLOCKLIST_CONFIG")
        assert found
        return rest.partition("\n[Install]")[0].strip().splitlines()

    first, *others = map(sandbox, RECIPIENTS)
    assert all(other == first for other in others)

    def hardening(unit: Path) -> dict[str, str]:
        service = dict(read(unit)["Service"])
        return {name: value for name, value in service.items() if name not in RUNNING}

    exchange, recipient = hardening(EXCHANGE), hardening(RECIPIENTS[0])
    # A recipient writes its metrics where node_exporter reads them.
    assert recipient.pop("ReadWritePaths") == "-/var/lib/prometheus/node-exporter"
    assert exchange == recipient
    assert len(exchange) > 20


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_wrong_setting_or_passphrase_does_not_restart_a_service(unit: Path) -> None:
    """Another start does not correct it, and would write the same line to the journal for ever."""
    service = read(unit)["Service"]
    if "Restart" in service:
        assert str(USAGE) in service["RestartPreventExitStatus"].split()


def test_the_timer_spreads_recipients() -> None:
    timer = read(FOLDER / "blocklist-sync.timer")["Timer"]
    assert timer["RandomizedDelaySec"]
    assert (FOLDER / "blocklist-sync.service").is_file()
