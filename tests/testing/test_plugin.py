"""The pytest plug-in, used as an integrator would: a small project whose tests pytest runs in a process of its own."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_my_integration.py"
PATIENCE_S = 120

CONFTEST = """
import socket
import pytest

pytest_plugins = ["blocklist_sdk.testing.plugin"]

@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was connected")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
"""

NOTHING_USED = """
import sys

def test_nothing_is_loaded_before_a_fixture_is_used():
    assert "blocklist_sdk.testing.plugin" in sys.modules
    heavy = {"httpx", "tuf", "pyarrow", "numpy", "pydantic", "fastapi", "sqlalchemy", "phonenumbers"}
    assert not heavy & set(sys.modules)
    assert not [name for name in sys.modules if name.startswith("blocklist_sdk.testing.") and "plugin" not in name]
"""

CLOCK = """
from datetime import UTC, datetime
from blocklist_sdk import times

def test_the_clock(blocklist_clock, blocklist_repository):
    blocklist_clock.set(datetime(2030, 1, 1, tzinfo=UTC))
    assert blocklist_repository.clock.now.year == 2030

def test_it_is_the_machines_again():
    assert times.moment is None
"""

SETTINGS = """
import os
from blocklist_sdk import Blocklist

def test_other_settings_of_the_machine_do_not_count(blocklist_environment):
    assert "BLOCKLIST_WHEN_STALE" not in os.environ
    blocklist_environment.publish(["+6281200000001"])
    with Blocklist.from_settings() as blocklist:
        blocklist.sync()
        assert "+6281200000001" in blocklist

def test_they_are_back_afterwards():
    assert os.environ["BLOCKLIST_WHEN_STALE"] == "raise"
    assert "BLOCKLIST_URL" not in os.environ
"""


def run_tests(folder: Path, **files: str) -> str:
    """Run pytest in a folder with these files, and no other plug-in; what it prints."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    env = {
        **os.environ,
        "BLOCKLIST_WHEN_STALE": "raise",
        "HOME": str(folder / "home"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_integrators_tests_run_without_a_network(tmp_path: Path) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    files = {"conftest": CONFTEST, "test_clock": CLOCK, "test_my_integration": example, "test_settings": SETTINGS}
    shown = run_tests(tmp_path, **files)
    assert f"{2 + example.count('def test_') + 2} passed" in shown
    left = {path.name for path in tmp_path.iterdir()} - {f"{name}.py" for name in files}
    assert left == {"pytest.ini"}, "nothing is left, not even in the home directory"


def test_the_plugin_loads_nothing_before_a_fixture_is_used(tmp_path: Path) -> None:
    assert "1 passed" in run_tests(tmp_path, conftest=CONFTEST, test_nothing_used=NOTHING_USED)


def test_pytest_loads_it_only_where_it_is_asked_for() -> None:
    """An entry point would load it in every run of whoever has this library installed."""
    assert not [each for each in entry_points(group="pytest11") if each.value.startswith("blocklist_sdk")]
