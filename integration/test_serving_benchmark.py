"""The measurement of the look-up server runs, has every row, and finds no wrong answer while releases change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from integration.neighbours import program

ROWS: Final = (
    *("Redis", "Redis door", "Redis, pipelines of 16", "Redis door, pipelines of 16", "HTTP and SQLite", "HTTP"),
    *("HTTP over a Unix socket", "Redis door, two workers", "HTTP, two workers", "the library, `text in bl`"),
    *("Arrow batches of 1,000, two workers", "JSON batches of 1,000, two workers"),
)


def test_a_small_run_has_every_row_and_nothing_wrong(tmp_path: Path) -> None:
    """Whether bars are met is not asked: that takes a quiet machine and a longer list."""
    program("redis-server", package="Debian's redis-server")
    program("wrk", package="Debian's wrk")
    program("cc", package="Debian's gcc")
    out = tmp_path / "results.json"
    options = ["--rows", "2000", "--seconds", "0.5", "--repeats", "1", "--changes", "10", "--json", str(out)]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", *options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert set(ROWS) <= {row["what"] for row in document["results"]}
    for row in document["results"]:
        assert row["full"]["failures"] == 0, row
        assert row["full"]["per_second"] > 0, row
        if row["half"] is not None:
            assert row["half"]["failures"] == 0, row
            assert 0.3 < row["half"]["per_second"] / row["full"]["per_second"] < 0.6, row
    assert "every question is answered: 0 failed" in run.stdout
    changed = document["changed"]
    assert (changed["releases"], changed["clients"], changed["wrong"], changed["errors"]) == (10, 8, 0, 0), changed
    assert changed["answers"] > 100
