"""A missing neighbour is said, and whoever requires it sees a failure; what was started is stopped."""

import sys
from pathlib import Path

import pytest

from integration import neighbours
from support.waiting import until


def has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return state.rpartition(")")[2].split()[0] == "Z"  # its new parent has not waited for it yet


def test_a_missing_program_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(neighbours.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed: the package x has it"):
        neighbours.program("no-such-program", package="the package x")


def test_a_missing_program_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(neighbours.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        neighbours.program("no-such-program", package="the package x")
    with pytest.raises(pytest.fail.Exception, match="is not installed"):
        neighbours.installed_file("no/such/*", package="the package x")


def test_a_neighbour_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "open('ready', 'w').close()\n"
        "time.sleep(600)\n"
    )
    with neighbours.running(
        [sys.executable, "-c", code], folder=tmp_path, name="parent", ready=(tmp_path / "ready").exists
    ) as parent:
        child = int((tmp_path / "child").read_text())
        assert parent.is_running
    assert not parent.is_running
    until(lambda: has_ended(child))


def test_a_neighbour_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('wrong settings')"]
    with (
        pytest.raises(AssertionError, match="wrong settings"),
        neighbours.running(command, folder=tmp_path, name="short", ready=lambda: False),
    ):
        pass
