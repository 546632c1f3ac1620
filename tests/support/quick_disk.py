"""Has the tests write into memory where there is room for it: to wait for a disk took a third of the time of a run.

What is written is flushed as ever, which costs nothing there. No test can see the difference: none cuts the power.
Those that mount something over the memory, or that are about the disk, use the fixture `disk_path`.

`TMPDIR=/var/tmp make test` writes where that says.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 3 << 30
"""Several times what the tests of three processes have written at once."""

_DISK: Final = "DISK_OF_TESTS"


def write_into_memory() -> None:
    """From here on, temporary files of this process and of those that it starts lie in memory, if there is room.

    Whatever a killed process leaves is gone at the end. What pytest keeps of failed tests is in `pytest-of-USER`.
    """
    if "TMPDIR" in os.environ:
        return
    disk = tempfile.gettempdir()
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
        return
    folder = tempfile.mkdtemp(prefix="tests-", dir=_MEMORY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o1777)  # as /tmp: servers run as users of their own
    os.environ |= {"TMPDIR": folder, "PYTEST_DEBUG_TEMPROOT": str(_MEMORY), _DISK: disk}
    tempfile.tempdir = None  # found anew


def disk() -> Path:
    """Where temporary files lie on a disk."""
    return Path(os.environ.get(_DISK) or tempfile.gettempdir())
