"""What commands say on standard error, and what becomes of streams that are closed or full.

Nothing here raises: what cannot be told is no reason to end otherwise than a command would have.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Final, TextIO

DEBUG_VARIABLE: Final = "BLOCKLIST_DEBUG"

_PACKAGE = str(Path(__file__).parents[1])


def say(message: str, *, mark: str = "") -> None:
    """Tell the person at the terminal, on standard error, in one line.

    Args:
        message: in one or several lines.
        mark: is written in front, for programs that collect logs.
    """
    _write(f"{mark}blocklist: {' '.join(message.split())}\n")


def say_bug(error: Exception) -> None:
    """Tell of an error that nobody thought of: its kind and place, with the traceback where it is asked for."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        _write("".join(traceback.format_exception(error)))
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if frame.filename.startswith(_PACKAGE)), frames[-1])
    # Its own message may quote what it stumbled over, such as a telephone number.
    say(
        f"internal error: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}. "
        f"Please report it, with the traceback that {DEBUG_VARIABLE}=1 shows"
    )


def settle(stream: TextIO) -> None:
    """Write what a stream still holds, or let go of it: Python flushes once more at exit, which must not fail."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
    settle(sys.stderr)
