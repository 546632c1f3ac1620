"""Serve a repository over loopback until standard input ends: ``python -m benchmarks.server REPOSITORY``.

The first line of standard output is the URL.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from blocklist_sdk.publisher import serving


@contextmanager
def served(repository: Path, *, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve from a process of its own; the URL.

    Args:
        repository: the folder with ``metadata/`` and ``targets/``.
        environment: of the process.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", str(repository)],
        cwd=Path(__file__).parents[1],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        url = process.stdout.readline().strip()
        try:
            if not url:
                raise RuntimeError(f"{repository} cannot be served")
            yield url
        finally:
            process.stdin.close()


if __name__ == "__main__":
    with serving(Path(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Thread(target=sys.stdin.read).run()
