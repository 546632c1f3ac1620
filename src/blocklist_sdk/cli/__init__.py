"""The command line: ``blocklist``.

Every command is thin: it reads settings, calls the library and shows what came of it. Commands write data to standard
output and talk to standard error; ``docs/reference/cli.md`` is the reference.
"""

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator

_ALLOCATIONS_BETWEEN_COLLECTIONS = 200_000
"""Python's own 700 are for programs that make cycles."""

_INTERRUPTED = 130
_SOFTWARE = 70
"""As in `exit_codes`, which may not be loaded yet, or may be what cannot be loaded."""


def main() -> None:
    """Run the console script."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        with _nothing_to_clean_up():
            _mend_streams()
            # Modules that load throw nothing away, and looking for it would be a twentieth of a short command's time.
            gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
            from blocklist_sdk.cli.app import load, run

            load(sys.argv[1] if len(sys.argv) > 1 else "")
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- 1, Python's own exit code, means blocked
        from blocklist_sdk.cli.prompts import say_bug

        say_bug(error)
        return _SOFTWARE


@contextlib.contextmanager
def _nothing_to_clean_up() -> Iterator[None]:
    """End at once on Ctrl-C, while modules load: an interrupt among them may come out as any error."""
    before = signal.getsignal(signal.SIGINT)
    # Whoever is started with Ctrl-C ignored, as in the background, goes on ignoring it.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _mend_streams() -> None:
    """Python has None for a stream that was closed before it started, as `>&-` does."""
    if sys.stdout is None:
        # Not writable: data that has nowhere to go is an error, as on a full disk.
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal's encoding does not have is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
