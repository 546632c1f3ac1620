"""Has the tests write into memory where there is room for it: to wait for a disk took a third of the time of a run.

What is written is flushed as ever, which costs nothing there. No test can see the difference: none cuts the power.
Those that mount something over the memory, or that are about the disk, use the fixture `disk_path`.

`TMPDIR=/var/tmp make test` writes where that says.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 3 << 30
"""What the tests of three processes have written at once at most, twice."""

_DISK: Final = "DISK_OF_TESTS"


def write_into_memory() -> None:
    """From here on, temporary files of this process and of those that it starts lie in memory, if there is room."""
    if "TMPDIR" in os.environ:
        return
    disk = tempfile.gettempdir()
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        os.environ |= {"TMPDIR": str(_MEMORY), _DISK: disk}
        tempfile.tempdir = None  # found anew


def disk() -> Path:
    """Where temporary files lie on a disk."""
    return Path(os.environ.get(_DISK) or tempfile.gettempdir())
