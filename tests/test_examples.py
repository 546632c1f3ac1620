"""Every program in examples/ runs; services run against a sandbox, from their settings to SIGTERM."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from blocklist_sdk import InvalidNumber
from blocklist_sdk.sandbox import RECIPIENTS, Sandbox, sandbox, screenshot
from support import quick_secrets  # noqa: F401 -- accounts are made in no time
from support.lookup_servers import serving
from support.mixed_list import FREE, VOICE_ONLY, MixedList

FOLDER: Final = Path(__file__).parents[1] / "examples"
SERVICES: Final = ("keep_synced", "provisioning_daemon", "account_worker", "monthly_cron", "messaging_provider")
"""Programs that get their settings from the environment."""

TESTS: Final = ("test_my_integration",)
"""Tests, which `tests/testing/test_plugin.py` runs."""

ELSEWHERE: Final = ("screen_in_spark",)
"""Programs that need what these tests do not have; `integration/` runs them."""

EXAMPLES: Final = sorted(path for path in FOLDER.glob("*.py") if path.stem not in (*SERVICES, *TESTS, *ELSEWHERE))
PATIENCE_S: Final = 60

ENDINGS: Final = (
    "?",
    "?scope=sms",
    "#",
    "#1",
    "%",
    "%20",
    "%00",
    "&x",
    "[1-3]",
    "{1,2}",
    "/",
    "/..",
    "\\",
    '"',
    "'",
    "é",
    "\r",
)
"""What a shell, curl or an address could take for something else than a part of the number."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox") / "box", cases=30, two_person=False) as running:
        yield running


def settings_of(box: Sandbox, account: str, folder: Path) -> dict[str, str]:
    """The environment of a service with an account of the sandbox; its folders are new."""
    for name in ("statements", "accounts"):
        (folder / name).mkdir()
    secret = folder / "client_secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{box.secrets[account]}\n")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    return kept | {
        "PYTHONWARNINGS": "error",
        "BLOCKLIST_URL": f"{box.url}/repository",
        "BLOCKLIST_FEED": RECIPIENTS[account],
        "BLOCKLIST_ROOT": str(box.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(folder / "cache"),
        "BLOCKLIST_STATE_DIR": str(folder / "state"),
        "BLOCKLIST_EXCHANGE": box.url,
        "BLOCKLIST_CLIENT_ID": account,
        "BLOCKLIST_CLIENT_SECRET_FILE": str(secret),
        "BLOCKLIST_SINK": (folder / "drop").as_uri(),
        "BLOCKLIST_METRICS_FILE": str(folder / "blocklist.prom"),
        "STATEMENTS_DIR": str(folder / "statements"),
        "ACCOUNTS_DIR": str(folder / "accounts"),
        "EVERY_S": "0.3",
    }


def run(name: str, *arguments: str, env: dict[str, str] | None = None, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@contextmanager
def running(name: str, env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A service, which is ended by SIGTERM and must take it well."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, FOLDER / f"{name}.py"], env=env, stderr=file, cwd=log.parent)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert "ended" in log.read_text()
    finally:
        process.kill()
        process.wait()


def wait_for(log: Path, *texts: str) -> None:
    """Wait until a log has these texts."""
    end = time.monotonic() + PATIENCE_S
    while not all(text in log.read_text() for text in texts):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def test_there_are_examples() -> None:
    assert EXAMPLES
    assert all((FOLDER / f"{name}.py").is_file() for name in (*SERVICES, *TESTS, *ELSEWHERE))


def test_every_example_is_in_their_table() -> None:
    table = (FOLDER / "README.md").read_text()
    programs = [path.name for path in FOLDER.iterdir() if path.suffix in {".py", ".sh"}]
    assert [name for name in sorted(programs) if f"`{name}`" not in table] == []
    assert all((FOLDER / name).exists() for name in ("gateways", "readers/node"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    ran = run(example.stem, env={**os.environ, "PYTHONWARNINGS": "error"}, cwd=tmp_path)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout
    assert not list(tmp_path.iterdir())


def test_a_shell_asks_a_service(tmp_path: Path) -> None:
    published = MixedList(tmp_path)
    published.recipient().sync()
    path = tmp_path / "lookups.sock"
    lines = [VOICE_ONLY, FREE, "0812 3456 0042", "GoPay", *(f"{VOICE_ONLY}{ending}" for ending in ENDINGS)]
    lines += [
        VOICE_ONLY.replace("8", "[8]"),
        VOICE_ONLY.replace("8", "{8,9}"),
        VOICE_ONLY.replace("8", "%38"),
        "０８１２",
    ]
    lines += ["..", "../../readyz", VOICE_ONLY]
    blocked, unanswered = [], 0
    with published.recipient() as recipient:
        for line in lines:
            try:
                blocked += [line] if recipient.check(line, scope="voice").blocked else []
            except InvalidNumber:
                unanswered += 1
    with serving(published.settings(), tmp_path / "log", "--uds", str(path), port=None):
        command = ["sh", str(FOLDER / "ask_service.sh"), str(path), "voice"]
        text = "\n".join(lines).encode()  # the last line has no newline
        ran = subprocess.run(command, input=text, capture_output=True, timeout=PATIENCE_S, check=False)
        fine = subprocess.run(command, input=VOICE_ONLY.encode(), capture_output=True, timeout=PATIENCE_S, check=False)
    assert (ran.returncode, fine.returncode, fine.stderr) == (1, 0, b"")
    assert ran.stdout.decode().split("\n") == [*blocked, ""]
    assert [blocked[0], blocked[1], blocked[-1]] == [VOICE_ONLY, "0812 3456 0042", VOICE_ONLY]
    assert ran.stderr.count(b"no answer about one number: it is let through") == unanswered
    assert unanswered > len(ENDINGS) // 2


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_nothing_from_a_sandbox_and_says_which_setting_is_missing(
    name: str, box: Sandbox, tmp_path: Path
) -> None:
    assert "sandbox" not in (FOLDER / f"{name}.py").read_text()
    arguments = ["act"] if name == "messaging_provider" else []
    settings = settings_of(box, "telkomsel", tmp_path)
    del settings["BLOCKLIST_ROOT"]
    ran = run(name, *arguments, env=settings, cwd=tmp_path)
    assert ran.returncode == 2
    assert "BLOCKLIST_ROOT" in ran.stderr
    assert "Traceback" not in ran.stderr
    settings["BLOCKLIST_ROOT"] = str(tmp_path / "nowhere.json")
    assert "Traceback" not in run(name, *arguments, env=settings, cwd=tmp_path).stderr


def test_a_list_is_kept_synced_with_figures(box: Sandbox, tmp_path: Path) -> None:
    settings, log = settings_of(box, "telkomsel", tmp_path), tmp_path / "log"
    with running("keep_synced", settings | {"BLOCKLIST_URL": copy_of(box)}, log):
        wait_for(log, "is in force")
    assert "blocklist_up" in (tmp_path / "blocklist.prom").read_text()


def copy_of(box: Sandbox) -> str:
    """The address of the lists on this disk, which takes no account."""
    return (box.directory / "exchange" / "publisher" / "repository").as_uri()


def published(box: Sandbox, operator: str) -> int:
    """A case that is on the operator's list."""
    with box.client("officer") as officer:
        return next(case.id for case in officer.cases() if case.operator == operator and case.state == "published")


def test_the_daemon_blocks_and_unblocks(box: Sandbox, tmp_path: Path) -> None:
    settings, log = settings_of(box, "telkomsel", tmp_path), tmp_path / "log"
    with running("provisioning_daemon", settings, log), box.client("officer") as officer:
        wait_for(log, "'enforced'")
        officer.decide(published(box, "telkomsel"), "retract", reason="It was the wrong number.")
        wait_for(log, "'reversed'")
    assert {path.name.split(".")[2] for path in (tmp_path / "drop").glob("*.csv")} == {"block", "unblock"}


def test_the_daemon_waits_while_its_sink_is_away_and_loses_nothing(box: Sandbox, tmp_path: Path) -> None:
    settings, log, drop = settings_of(box, "indosat", tmp_path), tmp_path / "log", tmp_path / "drop"
    drop.mkdir()
    (drop / ".blocklist-drop.json").write_text('{"format": 1, "id": "x", "feeds": true}')
    in_the_way = drop / f".blocklist-drop.feed.{RECIPIENTS['indosat']}"
    in_the_way.symlink_to(tmp_path / "nowhere")
    with running("provisioning_daemon", settings, log):
        wait_for(log, "the next try is in")
        in_the_way.unlink()
        wait_for(log, "'enforced'")
    assert "Traceback" not in log.read_text()


def test_the_worker_waits_while_nothing_answers(box: Sandbox, tmp_path: Path) -> None:
    settings, log = settings_of(box, "chat", tmp_path), tmp_path / "log"
    with running("account_worker", settings | {"BLOCKLIST_URL": "http://127.0.0.1:9"}, log):
        wait_for(log, "was not synced", "the next try is in")
    assert "Traceback" not in log.read_text()


def test_the_worker_suspends_accounts(box: Sandbox, tmp_path: Path) -> None:
    settings, log = settings_of(box, "chat", tmp_path), tmp_path / "log"
    with running("account_worker", settings, log):
        wait_for(log, "'enforced'", "receipts sent")


def test_the_cron_script_is_quiet_goes_on_after_failures_and_writes_a_statement(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_of(box, "indosat", tmp_path)
    month = time.strftime("%Y-%m", time.gmtime())
    for _ in range(2):
        ran = run("monthly_cron", month, env=settings, cwd=tmp_path)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (tmp_path / "statements" / f"{month}.html").read_text().startswith("<!")
    assert list((tmp_path / "drop").glob("*.csv"))
    settings["BLOCKLIST_SINK"] = (tmp_path / "missing" / "drop").as_uri()
    ran = run("monthly_cron", env=settings | {"VERBOSE": "1"}, cwd=tmp_path)
    assert ran.returncode == 1
    assert "enforcement failed" in ran.stderr
    assert "receipts: 0 sent" in ran.stderr


def test_a_provider_reports_suspends_and_restores(box: Sandbox, tmp_path: Path) -> None:
    settings, number = settings_of(box, "chat", tmp_path), "6281355501234"
    (tmp_path / "conversation.png").write_bytes(screenshot())
    ran = run("messaging_provider", "report", f"+{number}", "conversation.png", env=settings, cwd=tmp_path)
    assert ran.stdout.startswith("report "), ran.stderr

    def act_until(*, is_suspended: bool) -> None:
        end = time.monotonic() + PATIENCE_S
        while (tmp_path / "accounts" / number).exists() is not is_suspended:
            assert time.monotonic() < end
            acted = run("messaging_provider", "act", env=settings, cwd=tmp_path)
            assert (acted.returncode, acted.stderr) == (0, "")

    with box.client("officer") as officer:
        (opened,) = officer.cases(number=f"+{number}")
        case = opened.id
        version = officer.start_verification(case).version
        officer.decide(case, "block", reason="The conversation shows it.", urgent=True, version=version)
        act_until(is_suspended=True)
        officer.decide(case, "retract", reason="Two digits were swapped.")
        act_until(is_suspended=False)
