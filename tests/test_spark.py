"""Spark is an extra; what needs it is tested in `integration/spark`."""

import errno
import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

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


class Session:
    """What is asked of a session to send a file."""

    def __init__(self) -> None:
        self.sent: list[Path] = []

    def addArtifacts(self, path: str, *, file: bool) -> None:  # noqa: N802
        assert file
        self.sent.append(Path(path))


@pytest.mark.parametrize("disk", ["same", "another"])
@pytest.mark.parametrize("target", ["relative", "absolute"])
def test_a_bundle_behind_a_symbolic_link_is_sent_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, disk: str, target: str
) -> None:
    """Also when the link leads to the next bundle before the job has ended. No part of Spark takes part in this."""
    for name in ("pyspark", "pyspark.sql", "pyspark.sql.types", "blocklist_sdk.spark"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["pyspark.sql"].types = sys.modules["pyspark.sql.types"]  # type: ignore[attr-defined]
    del sys.modules["blocklist_sdk.spark"]
    spark = importlib.import_module("blocklist_sdk.spark")
    if disk == "another":

        def refuse(*_: object) -> NoReturn:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "link", refuse)
    data = os.urandom(32)
    (tmp_path / "list-1.bundle").write_bytes(data)
    (tmp_path / "list-2.bundle").write_bytes(b"the next")
    link, session = tmp_path / "list.bundle", Session()
    folder = Path() if target == "relative" else tmp_path
    link.symlink_to(folder / "list-1.bundle")
    name = spark._ship(session, link, hashlib.sha256(data).hexdigest())
    link.unlink()
    link.symlink_to(folder / "list-2.bundle")
    (sent,) = session.sent
    assert (sent.name, sent.is_symlink(), sent.read_bytes()) == (name, False, data)
    spark._shipped_files.close()
