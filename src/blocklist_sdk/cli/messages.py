"""Messages on standard error, and streams that are closed or full.

Nothing here raises: a message that cannot be written must not change how a command ends.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Final, TextIO

from blocklist_sdk.texts import displayable

DEBUG_VARIABLE: Final = "BLOCKLIST_DEBUG"

_PACKAGE = str(Path(__file__).parents[1])


def say(message: str, *, prefix: str = "") -> None:
    """Write a message to standard error as one line.

    Args:
        message: one or several lines, which are joined. Much in it comes from servers, files and command lines.
        prefix: comes first in the line, for programs that collect logs.
    """
    _write(f"{prefix}blocklist: {displayable(' '.join(message.split()))}\n")


def say_bug(error: Exception) -> None:
    """Write the kind and place of an unexpected error, and its traceback if `DEBUG_VARIABLE` is 1."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        lines = "".join(traceback.format_exception(error)).splitlines()
        _write("".join(f"{displayable(line)}\n" for line in lines))
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename.startswith(_PACKAGE)), frames[-1])
    # The error's own message is left out: it may quote a telephone number.
    say(
        f"internal error: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}. "
        f"Please report it, with the traceback that {DEBUG_VARIABLE}=1 shows"
    )


def flush_or_discard(stream: TextIO) -> None:
    """Write what a stream still buffers, or discard it: Python flushes once more at exit, which must not fail."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
    flush_or_discard(sys.stderr)
