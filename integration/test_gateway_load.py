"""The measurement of what a question costs runs, and has its row."""

import re
import subprocess
import sys
from pathlib import Path

from integration.neighbours import program

ROOT = Path(__file__).parents[1]


def test_the_measurement_prints_a_row() -> None:
    program("kamailio", package="Debian's kamailio")
    command = [sys.executable, "-m", "integration.gateway_load", "--calls", "200", "--rows", "200", "--way", "REDIS"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"REDIS(\s+[-+]?[\d.,]+){9}", ran.stdout.splitlines()[-1]), ran.stdout
