"""Every program in examples/ runs."""

import multiprocessing
import os
import runpy
import warnings
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


PATIENCE_S = 60


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes are forked from one that has what programs import, since that takes longer than to run most of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["blocklist_sdk.sandbox", "blocklist_sdk.exchange_server.app", "support.quick_secrets"]
    )
    return context


def run(example: Path, folder: Path, out: Path, err: Path) -> None:
    """In a process of its own: the program."""
    os.chdir(folder)
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    warnings.simplefilter("error")
    runpy.run_path(str(example), run_name="__main__")


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example: Path, tmp_path: Path, processes: ForkServerContext) -> None:
    folder, out, err = tmp_path / "folder", tmp_path / "out", tmp_path / "err"
    folder.mkdir()
    process = processes.Process(target=run, args=(example, folder, out, err))
    process.start()
    process.join(PATIENCE_S)
    process.kill()
    assert (err.read_text(), process.exitcode) == ("", 0)
    assert out.read_text()
    assert not list(folder.iterdir())
