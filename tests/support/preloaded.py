"""Libraries that are loaded before the C library, so that real calls of child processes go as a test says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

needs_preloading = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler, and a loader as Linux has it"
)


def built(name: str, directory: Path) -> Path:
    """The library from ``<name>.c`` in this folder, made in a directory; a process has it by ``LD_PRELOAD``."""
    target = directory / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", target, source, "-ldl"], check=True, timeout=60)
    return target
