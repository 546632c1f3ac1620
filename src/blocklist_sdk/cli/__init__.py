"""The command line: ``blocklist``.

Every command is thin: it reads settings, calls the library and shows the result. Commands write data to standard output
and messages to standard error; ``docs/reference/cli.md`` is the reference.
"""

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator

_ALLOCATIONS_BETWEEN_COLLECTIONS = 200_000
"""Instead of Python's 700: modules that load free nothing, and looking for it takes 5 % of a short command's time."""

_INTERRUPTED = 130
_SOFTWARE = 70
"""As in `exit_codes`, which may not be loaded yet, or may be what cannot be loaded."""


def main() -> None:
    """Run the console script."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        with _exiting_at_once_on_ctrl_c():
            _repair_streams()
            gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
            from blocklist_sdk.cli.app import import_command, run

            import_command(sys.argv[1] if len(sys.argv) > 1 else "")
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- 1, Python's own exit code, means blocked
        from blocklist_sdk.cli.messages import say_bug

        say_bug(error)
        return _SOFTWARE


@contextlib.contextmanager
def _exiting_at_once_on_ctrl_c() -> Iterator[None]:
    """Skip all clean-up on Ctrl-C while modules load, since an interrupted import may raise any error."""
    before = signal.getsignal(signal.SIGINT)
    # A process that was started with Ctrl-C ignored, such as in the background of a shell, keeps ignoring it.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _repair_streams() -> None:
    """Open the streams that were closed before Python started, as `>&-` does: it has set them to None."""
    if sys.stdout is None:
        # Read-only: writing data that nothing can receive must be an error, as on a full disk.
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Escape characters that the terminal's encoding lacks, rather than fail.
        sys.stdout.reconfigure(errors="backslashreplace")
