"""The benchmarks run, and have every row."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXPECTED = (
    "`text in bl`",
    "`integer in bl`",
    "private memory after these questions",
    "open and first `integer in bl`",
    "first `text in bl`",
    "private memory after both",
    "cold sync over loopback",
    "sync of a delta of 400",
    "peak memory of a cold sync",
    "peak memory of a delta's sync",
    "numbers on the wire",
    "a whole snapshot row",
    "digest of a release",
    "`blocklist check`",
    "screen 2,000 texts",
    "from nothing to every answer",
    "texts read wrongly",
    "`import blocklist_sdk`",
)


ONCE = """
from benchmarks import __main__, processes
processes._TIMES = 1
__main__.main()
"""
"""The same, but whole processes are started no more often than anything else is done."""


def test_a_small_run_has_every_row(tmp_path: Path) -> None:
    """Whether bars are met is not asked: that takes a quiet machine and larger lists."""
    out = tmp_path / "out" / "results.json"
    run = subprocess.run(
        [sys.executable, "-c", ONCE, "--rows", "2000", "--repeats", "1", "--json", str(out)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["generated"]
    measured = [result["what"] for result in document["results"]]
    for what in EXPECTED:
        assert what in run.stdout
        assert any(what in each for each in measured)
    has_row = any(result["against"] == "`rphonenumbers.parse` + set" for result in document["results"])
    assert has_row is (find_spec("rphonenumbers") is not None)
    assert has_row is ("rphonenumbers is not installed" not in run.stderr)


def test_a_wrong_size_is_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rows", "many"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "whole numbers" in run.stderr


@pytest.mark.usefixtures("postgres", "redis_running")
def test_a_small_run_writes_into_every_sink() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.enforcement", "--rows", "1000", "--batch", "300"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    for name in ("postgresql", "redis", "kafka", "file"):
        assert f"| 1,000 | `{name}:`, a change, batches of 300 |" in run.stdout
