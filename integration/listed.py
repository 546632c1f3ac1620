"""A published list for gateways, and a recipient of it who uses the commands. All numbers are generated."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from blocklist_sdk import times

FEED: Final = "id-telkomsel"
LISTED: Final = "6281200000001"
LISTED_TOO: Final = "6281200000002"
"""Another that is blocked, for an override."""
ADVISORY: Final = "6281200000003"
SMS_ONLY: Final = "6281200000004"
FREE: Final = "6281299999999"
LATER: Final = "6281200007777"
"""Listed by a later release."""
ENDING: Final = tuple(str(6281200008000 + place) for place in range(15))
"""Listed by a later release, which says when each ends: `Commands.add_ending`."""

ENDS_EVERY_S: Final = 4
RANGE: Final = "+62813000000##"
IN_RANGE: Final = ("6281300000000", "6281300000042", "6281300000099")
BESIDE_RANGE: Final = ("6281299999999", "6281300000100")

_PASSPHRASE: Final = "generated for a test"
_COMMAND_S: Final = 120.0

FILLING_FROM: Final = 6281250000000
_FILLING: Final = 200
"""So many other numbers that no guard finds one more or less to be much."""


class Commands:
    """The command ``blocklist``, in a folder, with a recipient's settings.

    Attributes:
        folder: where the publisher's folder, the cache and the state are.
        environment: of the commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
        self.environment = kept | {
            "BLOCKLIST_PASSPHRASE": _PASSPHRASE,
            "BLOCKLIST_URL": (folder / "publisher" / "repository").as_uri(),
            "BLOCKLIST_FEED": FEED,
            "BLOCKLIST_ROOT": str(folder / "publisher" / "root.json"),
            "BLOCKLIST_REGION": "ID",
            "BLOCKLIST_CACHE_DIR": str(folder / "cache"),
            "BLOCKLIST_STATE_DIR": str(folder / "state"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def words(self, *arguments: str) -> list[str]:
        """The command line of a command."""
        return [sys.executable, "-c", "from blocklist_sdk.cli import main; main()", *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command that must succeed. It returns what the command wrote to standard output."""
        ran = subprocess.run(
            self.words(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        assert ran.returncode == 0, f"blocklist {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def json(self, *arguments: str) -> Any:
        """What a command writes with ``--json``."""
        return json.loads(self.run(*arguments, "--json"))

    def publish_first(self, *, filling: int = _FILLING) -> None:
        """Make a publisher's folder with the list of this module, and `filling` other numbers."""
        self.run("publish", "init", "publisher", "--feed", f"{FEED}=sms+voice", "--region", "ID")
        self.release(
            [
                f"{LISTED},block,,",
                f"{LISTED_TOO},block,,",
                f"{ADVISORY},advisory,,",
                f"{SMS_ONLY},block,sms,",
                f"{RANGE},block,,",
                *(f"{number},block,," for number in range(FILLING_FROM, FILLING_FROM + filling)),
            ]
        )

    def release(self, rows: Sequence[str]) -> None:
        """Publish rows of ``number,level,scope,until``."""
        (self.folder / "list.csv").write_text("\n".join(["number,level,scope,until", *rows, ""]))
        self.run("publish", "release", "publisher", "--feed", FEED, "--from", "list.csv")

    def add(self, number: str) -> None:
        """Publish one more number."""
        self.run("publish", "add", "publisher", "--feed", FEED, f"+{number}")

    def add_ending(self) -> dict[str, datetime]:
        """Publish the numbers `ENDING`, of which one ends every `ENDS_EVERY_S`: their ends, the next one first.

        So there is one that ends soon however long this machine takes to bring the release to a gateway.
        """
        start = times.this_second()
        ends = {number: start + timedelta(seconds=ENDS_EVERY_S * place) for place, number in enumerate(ENDING, start=1)}
        rows = [f"{number},{times.iso(end)}" for number, end in ends.items()]
        (self.folder / "ending.csv").write_text("\n".join(["number,until", *rows, ""]))
        self.run("publish", "add", "publisher", "--feed", FEED, "--from", "ending.csv")
        return ends
