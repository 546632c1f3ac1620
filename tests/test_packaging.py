"""The units for systemd and the files for cron: valid, hardened, and calling commands that exist."""

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.exit_codes import MEANINGS, USAGE
from blocklist_sdk.cli.watch import duration
from support.command_line import run

FOLDER = Path(__file__).parents[1] / "packaging" / "systemd"
UNITS = sorted(FOLDER.iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXCHANGE = FOLDER / "blocklist-exchange.service"
REFRESH = FOLDER / "blocklist-refresh.service"
MIRROR = FOLDER / "blocklist-mirror.service"
RECIPIENTS = [unit for unit in SERVICES if unit not in (EXCHANGE, REFRESH, MIRROR)]
CRON = FOLDER.parent / "cron"
ROOT = FOLDER.parents[1]

SOURCES = {".md", ".py", ".sh", ".txt"}

EXPOSURE_MAX = 2.0
"""Of 10, by `systemd-analyze security`; below 5 it calls a service OK. Network access alone is most of what is left."""


RUNNING = {
    *("Type", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "SuccessExitStatus"),
    *("TimeoutStartSec", "TimeoutStopSec", "Environment", "EnvironmentFile", "LoadCredential"),
    *(
        "LimitNOFILE",
        "MemoryMax",
        "User",
        "Group",
        "StateDirectory",
        "StateDirectoryMode",
        "CacheDirectory",
        "CacheDirectoryMode",
        "RuntimeDirectory",
        "RuntimeDirectoryMode",
        "UMask",
    ),
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

    exchange, recipient, mirror, refresh = map(hardening, (EXCHANGE, RECIPIENTS[0], MIRROR, REFRESH))
    # A recipient writes its metrics where node_exporter reads them.
    assert recipient.pop("ReadWritePaths") == "-/var/lib/prometheus/node-exporter"
    # An exchange verifies hashes from before at the lowest priority.
    assert exchange.pop("SystemCallFilter") == "setpriority"
    assert recipient.pop("SystemCallFilter") == mirror.pop("SystemCallFilter") == refresh.pop("SystemCallFilter")
    assert exchange == recipient == mirror
    # To sign takes no network.
    assert refresh.pop("PrivateNetwork") == "yes"
    assert refresh | {"RestrictAddressFamilies": exchange["RestrictAddressFamilies"]} == exchange
    assert len(exchange) > 20


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_what_a_restart_does_not_correct_stays_failed(unit: Path) -> None:
    """Another start would write the same line to the journal for ever, or be refused once more."""
    service = read(unit)["Service"]
    if "Restart" not in service:
        assert service["Type"] == "oneshot"  # a timer starts it again, and it stays failed until then
        return
    codes = service["RestartPreventExitStatus"].split()
    assert str(USAGE) in codes
    _, _, before = unit.read_text().partition("RestartSec=")
    comment = before.partition("RestartPreventExitStatus=")[0]
    assert all(f" {code}: " in comment for code in codes)  # each has its reason
    assert {int(code) for code in codes} <= MEANINGS.keys()


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_command_without_its_settings_ends_with_the_code_that_keeps_it_failed(unit: Path) -> None:
    _, *words = shlex.split(read(unit)["Service"]["ExecStart"].replace("/var/lib/", "/nowhere/"))
    ran = run(*words, env={"BLOCKLIST_SINK": "file:///nowhere/commands"})
    assert ran.code == USAGE, ran.err


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_has_limits_and_no_secret(unit: Path) -> None:
    service = read(unit)["Service"]
    assert service["LimitNOFILE"].isdecimal()
    assert re.fullmatch(r"\d+G", service["MemoryMax"])
    for line in service.get("Environment", "").splitlines():
        assert not re.search(r"SECRET|PASS|TOKEN|://[^/]*@", line)


def test_the_command_is_where_the_docs_install_it() -> None:
    (program,) = {read(unit)["Service"]["ExecStart"].split()[0] for unit in SERVICES}
    page = (ROOT / "docs" / "how-to" / "run-as-a-service.md").read_text()
    assert f"ln -s /opt/blocklist/bin/blocklist {program}" in page
    assert f"{program}" in page
    assert f"BLOCKLIST:-{program}}}" in (CRON / "blocklist-hourly").read_text()
    assert all(f"{unit.name}" in page for unit in UNITS)


def test_a_oneshot_has_a_timer() -> None:
    for unit in SERVICES:
        if read(unit)["Service"]["Type"] == "oneshot":
            timer = read(unit.with_suffix(".timer"))
            assert timer["Timer"]["OnUnitInactiveSec"]
            assert timer["Install"]["WantedBy"] == "timers.target"
        else:
            assert read(unit)["Install"]["WantedBy"] == "multi-user.target"


def test_the_publisher_and_the_mirror_call_commands_that_exist() -> None:
    given, service = command_of(REFRESH).params, read(REFRESH)["Service"]
    assert str(given["passphrase_file"]) == f"%d/{service['LoadCredential'].partition(':')[0]}"
    assert given["directory"].parts[:-1] == ("/", "var", "lib", service["StateDirectory"])
    assert command_of(MIRROR).params["directory"].parts[:-1] == (
        "/",
        "var",
        "lib",
        read(MIRROR)["Service"]["StateDirectory"],
    )
    for unit in (REFRESH, MIRROR):  # a web server reads them
        assert read(unit)["Service"]["StateDirectoryMode"] == "0755"


def test_the_timers_spread_recipients() -> None:
    for name in ("sync", "mirror"):
        assert read(FOLDER / f"blocklist-{name}.timer")["Timer"]["RandomizedDelaySec"]
    assert (FOLDER / "blocklist-sync.service").is_file()


# Cron


def crontab_lines(text: str) -> list[str]:
    """The lines of a crontab that run something."""
    return [line for line in text.splitlines() if re.match(r"[\d*]", line)]


def test_the_line_for_cron_names_a_user_and_a_whole_path() -> None:
    """A word in front of the command must not read as a part of it."""
    text = (CRON / "blocklist").read_text()
    (line,) = crontab_lines(text)
    *moments, user, command = line.split(maxsplit=6)
    assert len(moments) == 5
    assert user == "blocklist"
    assert command == "/usr/local/bin/blocklist-hourly"
    assert re.search(r"(?m)^MAILTO=\S+@\S+$", text)
    assert "SECRET" not in text
    assert "PASSPHRASE" not in text


def test_no_page_shows_a_crontab_that_swallows_failures_or_holds_a_secret() -> None:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    shown = 0
    for page in [CRON / "blocklist", *pages]:
        text = page.read_text()
        for block in re.findall(r"(?s)```(?:text|console)\n(.*?)```", text) if page.suffix == ".md" else [text]:
            lines = [line for line in crontab_lines(block) if re.match(r"(\S+\s+){5}[a-z-]+\s", line)]
            if not any("blocklist" in line for line in lines):
                continue
            shown += 1
            assert not re.search(r'(?m)^MAILTO=("")?$', block), page
            assert not re.search(r"PASSPHRASE=|SECRET=", block), page
            for line in lines:
                assert "| logger" not in line, page
                assert "2>" not in line, page
                # The command is a path: `lists  sleep …` reads as if it were the command's own.
                assert re.match(r"(\S+\s+){5}[a-z-]+\s+/", line), (page, line)
    assert shown > 3


@pytest.fixture
def hourly(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the script of cron, with a command that notes what it was called with, and ends as it is told to."""
    command = tmp_path / "blocklist"
    command.write_text(
        '#!/bin/sh\necho "$1 ${BLOCKLIST_SINK:-}" >> calls\necho result\necho "$1 says" >&2\neval "exit \\$$1"\n'
    )
    command.chmod(0o755)

    def run_hourly(**environment: str) -> "subprocess.CompletedProcess[str]":
        given = {"PATH": "/usr/bin:/bin", "BLOCKLIST": str(command), "SPREAD_S": "0", "sync": "0", "enforce": "0"}
        return subprocess.run(
            [CRON / "blocklist-hourly"],
            cwd=tmp_path,
            env=given | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run_hourly


def test_cron_enforces_whatever_the_sync_does_and_passes_failures_on(
    hourly: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    assert hourly(sync="3").returncode == 3
    assert (tmp_path / "calls").read_text() == "sync \n"
    both = hourly(sync="3", SINK="file:/srv/commands")
    assert (both.returncode, both.stdout, both.stderr) == (3, "", "sync says\nenforce says\n")
    assert (tmp_path / "calls").read_text().endswith("sync \nenforce file:/srv/commands\n")
    assert hourly(enforce="8", SINK="file:/srv/commands").returncode == 8
    assert hourly(SINK="file:/srv/commands").returncode == 0


NGINX = FOLDER.parent / "nginx" / "blocklist-exchange.conf"


def test_the_proxy_takes_the_longest_body_that_the_exchange_takes() -> None:
    from blocklist_sdk.exchange.models import EVIDENCE_BYTES_MAX
    from blocklist_sdk.exchange_server.http.bodies import BULK_BYTES_MAX, RECEIPTS_BYTES_MAX

    found = re.search(r"client_max_body_size (\d+);", NGINX.read_text())
    assert found
    assert int(found[1]) == max(BULK_BYTES_MAX, RECEIPTS_BYTES_MAX, EVIDENCE_BYTES_MAX)


def test_nginx_takes_the_proxys_configuration(tmp_path: Path) -> None:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    import trustme

    made = trustme.CA().issue_cert("exchange.example")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    text = NGINX.read_text().replace("/etc/ssl/private/exchange.example.key", str(tmp_path / "key.pem"))
    text = text.replace("/etc/ssl/exchange.example.pem", str(tmp_path / "certificate.pem"))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n")
    subprocess.run([program, "-t", "-c", str(whole), "-p", str(tmp_path)], check=True, timeout=30)
