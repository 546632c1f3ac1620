"""The reader in Node under `examples/readers/node` passes the conformance kit."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from blocklist_sdk.conformance import CommandReader, run_kit
from integration.neighbours import missing, program

EXAMPLE = Path(__file__).parents[1] / "examples" / "readers" / "node"
INSTALL_S = 300


@pytest.fixture(scope="module")
def reader(module_folder: Path) -> CommandReader:
    """The reader, compiled in a folder of its own, of the versions that its lock names."""
    node = program("node", package="nodejs.org, in version 20.17 or later,")
    npm = program("npm", package="nodejs.org, with Node,")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if tuple(map(int, version.strip().lstrip("v").split(".")))[:2] < (20, 17):
        missing(f"node is {version.strip()}, and the reader needs 20.17 or later")
    folder = module_folder / "reader"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "*.js"))
    environment = os.environ | {"PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (["ci"], ["run", "build"]):
        done = subprocess.run(
            [npm, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if done.returncode and command == ["ci"]:
            missing(f"npm cannot install what the reader needs: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stdout + done.stderr
    return CommandReader([str(node), str(folder / "reader.js")])


def test_the_reader_in_node_conforms(reader: CommandReader) -> None:
    result = run_kit(reader, jobs=os.cpu_count() or 1)
    assert result.passed, "\n".join(result.lines())
    outcomes = {case.name: case.outcome for case in result.cases if case.outcome != "passed"}
    # It is written for lists that it can hold, and reads no texts; neither is required.
    limits = {case.name: "failed" for case in result.cases if case.group == "limits"}
    assert outcomes == {**limits, "numbers": "not-offered", "look-ups": "not-offered"}
