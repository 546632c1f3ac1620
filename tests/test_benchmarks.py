"""The benchmarks run, and have every row."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks import bundles
from benchmarks.change_rows import Figures, rows_of, table

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


def changes(cache: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.changes",
            "--sizes",
            "0.002",
            "--rounds",
            "1",
            "--cache",
            str(cache),
            *arguments,
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_small_run_measures_changes(tmp_path: Path) -> None:
    out = tmp_path / "changes.json"
    names = ("wire", "cold", "plain", "deltas", "differences", "chain", "publish")
    run = changes(tmp_path / "cache", "--before", "none", "--chain", "2", "--json", str(out), "--only", *names)
    assert run.returncode == 0, run.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["generated"]
    assert not document["failures"]
    assert all(result["now"]["median"] > 0 for result in document["results"] if result["unit"] == "s")
    expected = (
        "cold sync over loopback",
        "sync of a delta",
        "mean over a chain of deltas",
        "`changes(since=…)` over one delta",
        "`publish add` of few numbers",
        "a snapshot row on the wire",
        "| 2,000 | httpx download + SHA-256 + Parquet read |",
    )
    for what in expected:
        assert what in run.stdout


def test_a_commit_that_lacks_something_does_not_end_the_run(tmp_path: Path) -> None:
    package = tmp_path / "before" / "src" / "blocklist_sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this commit has no such thing')\n")
    run = changes(tmp_path / "cache", "--before", str(tmp_path / "before"), "--chain", "1", "--only", "wire", "digest")
    assert run.returncode == 1, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("| 2,000 |")]
    assert len(rows) == 2
    assert all("failed: nothing could be published: ImportError: this commit has no such thing" in row for row in rows)
    assert all(row.split(" | ")[2].endswith((" ms", " s", " B", "s)")) for row in rows)


def test_bars_are_for_long_lists_and_a_failure_meets_none() -> None:
    figures = Figures()
    for rows, seconds in ((1_000_000, 0.1), (10_000_000, 0.2), (100_000_000, 0.31)):
        figures.add(rows, "now", {"delta_s": [seconds, seconds, 9.0]})
        figures.add(rows, "before", {"cold_s": 2.0})
    figures.fail(10_000_000, "now", "publish", "no such thing")
    found = {(row.name, row.rows): row for row in rows_of(figures)}
    assert found["delta_s", 1_000_000].met is None
    assert found["delta_s", 10_000_000].met is False
    assert found["delta_s", 10_000_000].judged.value == pytest.approx(0.1)  # type: ignore[union-attr]
    assert found["delta_s", 100_000_000].met is False
    assert found["delta_s", 100_000_000].judged.value == pytest.approx(1.55)  # type: ignore[union-attr]
    assert found["add_s", 10_000_000].met is False
    assert "failed: no such thing" in table(rows_of(figures))
    figures.add(100_000_000, "now", {"delta_s": [0.29] * 4})
    assert {(row.name, row.rows): row.met for row in rows_of(figures)}["delta_s", 100_000_000]


def test_bundles_are_measured() -> None:
    found = bundles.measure(2000, repeats=1)
    assert [result.rows for result in found] == [2000] * len(found)
    assert {"size of the file", "open it and ask once"} <= {result.what for result in found}
