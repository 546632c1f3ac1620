"""Releases change while clients ask a service with two workers: no answer is wrong, and none fails."""

import http.client
import json
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow as pa

from blocklist_sdk.lookup_server.messages import ARROW, JSON
from support.lookup_servers import Service, serving
from support.scale import Tally, scaled
from support.world import FEED, make_world

RELEASES = scaled(5, long=100)
CLIENTS = scaled(4, long=8)

TAILS = random.Random(18).sample(range(10**6), 400)
ODD = [f"+6281277{tail:06}" for tail in TAILS[:300]]
EVEN = [f"+6281277{tail:06}" for tail in TAILS[100:]]
"""Generated; what the releases with odd and with even serials list."""

ASKED = sorted({*ODD, *EVEN})
BLOCKED = {0: [number in set(EVEN) for number in ASKED], 1: [number in set(ODD) for number in ASKED]}
"""What the whole of each release says, by what is left of its serial when divided by two."""


@dataclass
class Seen:
    """What a client saw."""

    answers: int = 0
    serials: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Client:
    """Asks in every way over one connection, and compares with what the release that answers must say."""

    def __init__(self, service: Service, seed: int) -> None:
        address = urlsplit(service.url)
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self.chance = random.Random(seed)
        self.seen = Seen()
        sink = pa.BufferOutputStream()
        table = pa.table({"number": ASKED})
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        self.column = sink.getvalue().to_pybytes()

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = JSON) -> bytes:
        self.connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            self.seen.wrong.append(f"{response.status}: {answer!r}")
        self.seen.answers += 1
        return answer

    def check(self, place: int, verdict: dict[str, object]) -> None:
        serial = verdict["serial"]
        assert isinstance(serial, int)
        self.seen.serials.add(serial)
        if verdict["blocked"] is not BLOCKED[serial % 2][place]:
            self.seen.wrong.append(f"release {serial} says {verdict['blocked']}")

    def turn(self) -> None:
        for _ in range(20):
            place = self.chance.randrange(len(ASKED))
            self.check(place, json.loads(self.ask("GET", f"/v1/verdicts/{quote(ASKED[place])}")))
        places = self.chance.sample(range(len(ASKED)), 10)
        body = json.dumps({"numbers": [ASKED[place] for place in places]}).encode()
        for place, verdict in zip(places, json.loads(self.ask("POST", "/v1/verdicts", body))["verdicts"], strict=True):
            self.check(place, verdict)
        answer = pa.ipc.open_stream(self.ask("POST", "/v1/verdicts", self.column, ARROW)).read_all()
        if answer.column("blocked").to_pylist() not in BLOCKED.values():
            self.seen.wrong.append("a column of more than one release")

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.turn()
        except Exception as error:  # noqa: BLE001 -- shown by the test
            self.seen.wrong.append(repr(error))
        self.connection.close()


def test_no_answer_is_wrong_while_releases_change(tmp_path: Path, tally: Tally) -> None:
    world = make_world(tmp_path)
    writer = world.recipient(is_guarded=False)
    world.release(EVEN)
    assert writer.sync().after % 2 == 0
    settings = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
        "BLOCKLIST_STATE_DIR": str(tmp_path / "cache-state"),
    }
    stop = threading.Event()
    with serving(settings, tmp_path / "log", "--workers", "2") as service:
        clients = [Client(service, seed) for seed in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            for release in range(RELEASES):
                world.release(EVEN if release % 2 else ODD)
                writer.sync()
                # A worker looks at the disk twice a second; some releases come in between, and some do not.
                stop.wait((release % 3) * 0.3)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert service.stop() == 0
    seen = [client.seen for client in clients]
    assert [wrong for each in seen for wrong in each.wrong] == []
    serials = set[int]().union(*(each.serials for each in seen))
    tally(releases=len(serials), answers=sum(each.answers for each in seen))
    assert len(serials) >= RELEASES // 2
