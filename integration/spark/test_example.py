"""The example of the documents runs; the package offers what the reference has."""

import os
import subprocess
import sys
from pathlib import Path

from integration.spark.sessions import need_spark

EXAMPLE = Path(__file__).parents[2] / "examples" / "screen_in_spark.py"
PATIENCE_S = 180


def test_the_example_runs(tmp_path: Path) -> None:
    need_spark()
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "2,000 of 20,000" in ran.stdout


def test_the_public_names() -> None:
    need_spark()
    from blocklist_sdk import spark

    assert spark.__all__ == ["column_form", "with_verdicts"]
    assert {spark.column_form.__module__, spark.with_verdicts.__module__} == {"blocklist_sdk.spark"}
