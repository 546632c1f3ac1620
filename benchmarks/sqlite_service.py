"""What one would write oneself in an afternoon: a number in, a row of SQLite out, as JSON over HTTP.

It has the look-up server's own HTTP connections, so that only what is behind them differs.
"""

import asyncio
import json
import sqlite3
import sys
import urllib.parse
from functools import partial
from typing import Any

import uvloop

from blocklist_sdk.lookup_server.connection import Connections, HttpConnection
from blocklist_sdk.lookup_server.counters import Counters, DoorCounters
from blocklist_sdk.lookup_server.messages import Request, Response


class SqliteRoutes:
    """Answers ``GET /v1/verdicts/NUMBER``."""

    def __init__(self, path: str) -> None:
        self._ask = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute

    def early_problem(self, request: Request, *, is_trusted: bool, has_certificate: bool = False) -> None:
        """Nobody is refused."""

    def respond(self, request: Request, counters: DoorCounters) -> Response:
        """The row of a number."""
        text = urllib.parse.unquote(request.path.rpartition("/")[2])
        number = int("".join(filter(str.isdigit, text)))
        row = self._ask("select level, category, scope from entry where number = ?", (number,)).fetchone()
        level, category, scope = row or (None, None, None)
        found = {"number": f"+{number}", "blocked": level == "block", "level": level, "category": category}
        return Response(200, json.dumps({**found, "scope": scope}).encode())


async def main(path: str, port: int) -> None:
    """Serve until SIGTERM."""
    routes: Any = SqliteRoutes(path)
    connections, counters = Connections(routes, limit=1_000), Counters(workers=1).of(0, "http")
    connections.tick()
    new = partial(HttpConnection, connections, counters, is_trusted=True)
    server = await asyncio.get_running_loop().create_server(new, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
