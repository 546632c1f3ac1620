"""Ask a look-up server over its Unix socket, with nothing but Python's standard library: as any language would.

It starts a service of its own first, on a list of generated numbers.
"""

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from blocklist_sdk import Publisher

TIMEOUT_S = 1.0
"""A caller does not wait longer."""


class Lookups:
    """A client with one connection that is kept."""

    def __init__(self, path: Path) -> None:
        self._connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_S)
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.settimeout(TIMEOUT_S)
        self._connection.sock.connect(str(path))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def is_blocked(self, number: str, scope: str) -> bool:
        """Whether a number is blocked; a number is let through if there is no answer, and if it is none."""
        try:
            self._connection.request("GET", f"/v1/verdicts/{quote(number)}?scope={scope}")
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            print(f"no answer ({type(error).__name__}): let through")
            return False
        if response.status != http.client.OK:
            print(f"{answer['title']}: {answer['detail']}: let through")
            return False
        return bool(answer["blocked"])


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Publish a list, and serve it; a real service runs on a list that `blocklist init` and `blocklist sync` got."""
    publisher = Publisher.init(
        folder / "authority", feeds={"id-messaging": "sms+voice"}, passphrase=secrets.token_urlsafe(), region="ID"
    )
    complaints = folder / "complaints.csv"
    complaints.write_text("number,category\n0812-0000-0001,fraud\n0812-0000-0002,phishing\n")
    publisher.release("id-messaging", complaints)
    settings = {
        "BLOCKLIST_URL": publisher.repository.as_uri(),
        "BLOCKLIST_FEED": "id-messaging",
        "BLOCKLIST_ROOT": str(publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(folder / "cache"),
    }
    program = [sys.executable, "-c", "from blocklist_sdk.cli import main; main()"]
    command = [*program, "serve", "--watch", "--uds", str(folder / "lookups.sock")]
    return subprocess.Popen(  # noqa: S603 -- the command is ours
        command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_until_ready(path: Path) -> None:
    """Wait until the first sync has put a list in force."""
    for _ in range(300):
        time.sleep(0.1)
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                probe.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                if b" 200 " in probe.recv(100):
                    return
        except OSError:
            continue
    raise SystemExit("the service is not ready")


def main(folder: Path) -> None:
    """Start a service, and ask it."""
    with start(folder) as service:
        try:
            wait_until_ready(folder / "lookups.sock")
            with closing(Lookups(folder / "lookups.sock")) as lookups:
                for number in ("0812-0000-0001", "+62 812 0000 0002", "+628120009999", "GoPay"):
                    print(f"{number:<20} {'blocked' if lookups.is_blocked(number, 'voice') else 'free'}")
        finally:
            service.terminate()
        assert service.wait() == 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
