"""Spark is an extra; what needs it is tested in `integration/spark`."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "screen_in_spark.py"


def test_without_spark_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "blocklist_sdk.spark", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[spark\]'"):
        importlib.import_module("blocklist_sdk.spark")


def test_the_example_compiles() -> None:
    compile(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name, "exec")


def test_workers_need_no_spark() -> None:
    """What they load is this library and Arrow; Spark gives them its own."""
    code = "import sys, blocklist_sdk.recipient.jobs; assert 'pyspark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
