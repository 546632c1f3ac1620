"""The command line: ``blocklist``.

Every command is thin: it reads settings, calls the library and shows what came of it. Commands write data to standard
output and talk to standard error; ``docs/cli.md`` is the reference.
"""

import gc
import os
import sys


def main() -> None:
    """Run the console script."""
    # Nothing is thrown away while modules load, so looking for it is a twentieth of a short command's time.
    gc.disable()
    from blocklist_sdk.cli.app import run

    gc.enable()

    for name in ("stdout", "stderr"):
        # Python has None for a stream that was closed before it started, as `>&-` does.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- open until the process ends
    sys.exit(run(sys.argv[1:]))
