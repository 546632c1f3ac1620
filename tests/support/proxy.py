"""A proxy that cuts, delays, corrupts, duplicates and reorders what passes through it, chunk by chunk and whole."""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CHUNK_BYTES = 1500
"""About what one packet carries."""

STALL_S = 0.8
"""Longer than `world.IMPATIENT` recipients wait for a byte, seconds."""

STATUSES = ("204 No Content", "206 Partial Content", "304 Not Modified", "404 Not Found", "503 Busy")

Chunks = list[bytes]
Fault = Callable[["Chaos", Chunks], Chunks]
"""What becomes of a response, head and body; an empty chunk is the end of the connection."""


class Chaos:
    """Decides what happens to each response, from a seed.

    Attributes:
        share: of the responses that something happens to; 0 is an honest proxy.
        done: how often each fault was chosen.
    """

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self.done: Counter[str] = Counter()
        self.chance = random.Random(seed)
        self._earlier: list[Chunks] = []
        self._turn = threading.Lock()

    def passed(self, chunks: Chunks) -> Chunks:
        with self._turn:
            honest = list(chunks)
            if self.chance.random() < self.share:
                fault = self.chance.choice(FAULTS)
                self.done[fault.__name__] += 1
                chunks = fault(self, honest)
            self._earlier = [*self._earlier[-20:], honest]
            return chunks

    def earlier(self) -> Chunks:
        """Another response: one of the last ones that passed."""
        return list(self.chance.choice(self._earlier)) if self._earlier else []

    def place(self, chunks: Chunks) -> int:
        return self.chance.randrange(len(chunks))


def cut(chaos: Chaos, chunks: Chunks) -> Chunks:
    """In the middle of a chunk, which may be that of the head."""
    at = chaos.place(chunks)
    return [*chunks[:at], chunks[at][: chaos.chance.randrange(len(chunks[at]) + 1)], b""]


def delay(chaos: Chaos, chunks: Chunks) -> Chunks:
    """For a moment, or for longer than anybody waits."""
    seconds = chaos.chance.choice((0.02, 0.02, 0.05, 0.1, STALL_S))
    at = chaos.place(chunks)
    return [*chunks[:at], Wait(seconds), *chunks[at:]]


def corrupt(chaos: Chaos, chunks: Chunks) -> Chunks:
    """One byte, anywhere."""
    at = chaos.place(chunks)
    if chunks[at]:
        damaged = bytearray(chunks[at])
        damaged[chaos.chance.randrange(len(damaged))] ^= 1 << chaos.chance.randrange(8)
        chunks[at] = bytes(damaged)
    return chunks


def garble(chaos: Chaos, chunks: Chunks) -> Chunks:
    """A stretch of the body, with the length as it was."""
    at = chaos.place(chunks)
    if at:
        chunks[at] = chaos.chance.randbytes(len(chunks[at]))
    return chunks


def duplicate_chunk(chaos: Chaos, chunks: Chunks) -> Chunks:
    at = chaos.place(chunks)
    return [*chunks[: at + 1], *chunks[at:]]


def drop_chunk(chaos: Chaos, chunks: Chunks) -> Chunks:
    at = chaos.place(chunks)
    return [*chunks[:at], *chunks[at + 1 :], b""]


def reorder_chunks(chaos: Chaos, chunks: Chunks) -> Chunks:
    """Those of the body, or with the head among them."""
    body = chunks[chaos.chance.randrange(2) :]
    chaos.chance.shuffle(body)
    return [*chunks[: len(chunks) - len(body)], *body]


def duplicate_response(chaos: Chaos, chunks: Chunks) -> Chunks:
    """So that whoever asks next on the same connection finds an answer that is not his."""
    return [*chunks, *chunks]


def another_response(chaos: Chaos, chunks: Chunks) -> Chunks:
    """An earlier one in its place: an old file, or that of another path."""
    return chaos.earlier() or chunks


def reorder_responses(chaos: Chaos, chunks: Chunks) -> Chunks:
    """An earlier one before it."""
    return [*chaos.earlier(), *chunks]


def no_response(chaos: Chaos, chunks: Chunks) -> Chunks:
    return [b""]


def other_status(chaos: Chaos, chunks: Chunks) -> Chunks:
    """With the body as it was."""
    words = chaos.chance.choice(
        ("204 No Content", "206 Partial Content", "304 Not Modified", "404 Not Found", "503 Busy")
    )
    head = chunks[0].partition(b"\r\n")[2]
    return [f"HTTP/1.1 {words}\r\n".encode() + head, *chunks[1:]]


FAULTS: tuple[Fault, ...] = (
    cut,
    delay,
    corrupt,
    garble,
    duplicate_chunk,
    drop_chunk,
    reorder_chunks,
    duplicate_response,
    another_response,
    reorder_responses,
    no_response,
    other_status,
)


class Wait(bytes):
    """A pause between chunks."""

    seconds: float

    def __new__(cls, seconds: float) -> "Wait":
        made = super().__new__(cls, b"wait")
        made.seconds = seconds
        return made


class _Handler(BaseHTTPRequestHandler):
    """One connection of a recipient."""

    protocol_version = "HTTP/1.1"
    # Whoever gets no answer leaves; so does this.
    timeout = 5
    server: "_Server"

    def do_GET(self) -> None:
        try:
            for chunk in self.server.chaos.passed(self._fetched()):
                if isinstance(chunk, Wait):
                    time.sleep(chunk.seconds)
                elif chunk:
                    self.wfile.write(chunk)
                    self.wfile.flush()
                else:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
        except OSError:
            self.close_connection = True

    def _fetched(self) -> Chunks:
        """The honest response: the head, and the body in chunks."""
        upstream = http.client.HTTPConnection(self.server.address, timeout=10)
        with contextlib.closing(upstream):
            asked = {name: value for name, value in self.headers.items() if name.lower() in ("range", "if-range")}
            upstream.request("GET", self.path, headers=asked)
            response = upstream.getresponse()
            body = response.read()
        passed_on = {"content-type", "content-range", "etag", "last-modified", "accept-ranges"}
        lines = [f"HTTP/1.1 {response.status} {response.reason}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders() if name.lower() in passed_on]
        head = "\r\n".join([*lines, "", ""]).encode()
        return [head, *(body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))]

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, chaos: Chaos) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = address
        self.chaos = chaos


@contextlib.contextmanager
def proxied(url: str, chaos: Chaos) -> Iterator[str]:
    """A proxy in front of a server on loopback; its own URL."""
    server = _Server(urlsplit(url).netloc, chaos)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
