"""SIP over UDP, as much of it as a call needs: somebody who calls, and a next hop that answers."""

import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from integration.neighbours import free_port

ANSWER_S: Final = 15.0
"""So long a caller waits for a final response."""

RETRANSMIT_S: Final = 0.5
"""T1 of RFC 3261: a request is sent again after this time, and then after twice as long each time."""

_COPIED: Final = ("via", "record-route", "from", "to", "call-id", "cseq")
"""The headers of a request that its response has as well (RFC 3261, section 8.2.6)."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Response:
    """The final response to a request.

    Attributes:
        status: such as 608.
        reason: such as ``Rejected``.
        headers: names in small letters, and values, in the order of the message.
        seconds: from the first request to this response.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    seconds: float

    def values(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for each, value in self.headers if each == name]


def headers_of(text: str) -> tuple[tuple[str, str], ...]:
    """The headers of a message."""
    lines = text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    parts = (line.partition(":") for line in lines)
    return tuple((name.strip().lower(), value.strip()) for name, _, value in parts)


@contextlib.contextmanager
def caller(gateway: int, *, address: str = "127.0.0.1") -> Iterator["Caller"]:
    """Somebody who calls through a gateway at a port of loopback, from an address of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((address, 0))
        yield Caller(channel, gateway)


class Caller:
    """Sends requests, and waits for their final responses. Made by `caller`."""

    def __init__(self, channel: socket.socket, gateway: int) -> None:
        self._channel = channel
        self._gateway = ("127.0.0.1", gateway)
        self._address = "{}:{}".format(*channel.getsockname())

    def call(self, origin: str, *, asserted: str | None = None, method: str = "INVITE") -> Response:
        """Send one request.

        Args:
            origin: the URI in ``From``, such as ``sip:+6281200000001@trunk.example``.
            asserted: the value of ``P-Asserted-Identity``; None for no such header.
            method: ``INVITE`` or ``MESSAGE``.

        Raises:
            AssertionError: no final response came within `ANSWER_S`.
        """
        number = next(_numbers)
        call_id, branch = f"{uuid4()}@example", f"z9hG4bK{uuid4().hex}"
        target = "sip:+622150000000@gateway.example"
        common = [
            f"Via: SIP/2.0/UDP {self._address};branch={branch};rport",
            f"From: <{origin}>;tag={number}",
            f"Call-ID: {call_id}",
            "Max-Forwards: 70",
        ]
        lines = [
            f"{method} {target} SIP/2.0",
            *common,
            f"To: <{target}>",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{self._address}>",
            *([f"P-Asserted-Identity: {asserted}"] if asserted else []),
            "Content-Length: 0",
        ]
        response = self._final(_message(lines), call_id)
        if method == "INVITE":
            to = response.values("to")[0]
            # The ACK of a failure belongs to the transaction; that of a success goes the way of the dialog.
            routes: list[str] = []
            if response.status < 300:
                target = response.values("contact")[0].strip("<>")
                routes = [f"Route: {value}" for value in response.values("record-route")]
            acknowledgement = [f"ACK {target} SIP/2.0", *common, f"To: {to}", f"CSeq: {number} ACK", *routes]
            self._channel.sendto(_message([*acknowledgement, "Content-Length: 0"]), self._gateway)
        return response

    def _final(self, request: bytes, call_id: str) -> Response:
        start = time.monotonic()
        wait, again = RETRANSMIT_S, start
        while (now := time.monotonic()) < start + ANSWER_S:
            if now >= again:
                self._channel.sendto(request, self._gateway)
                again, wait = now + wait, wait * 2
            self._channel.settimeout(max(again - now, 0.001))
            try:
                text = self._channel.recv(65_536).decode()
            except TimeoutError:
                continue
            status, reason = text.split("\r\n", 1)[0].split(" ", 2)[1:]
            headers = headers_of(text)
            if ("call-id", call_id) in headers:
                if int(status) >= 200:
                    return Response(int(status), reason, headers, time.monotonic() - start)
                again = start + ANSWER_S  # a provisional response ends retransmission
        raise AssertionError(f"no final response within {ANSWER_S:g} s")


def _message(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


class NextHop:
    """Whoever answers calls that a gateway has let through. Made by `next_hop`.

    Attributes:
        port: its port on loopback.
        origins: the URIs in ``From`` of what came here.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.port: int = channel.getsockname()[1]
        self.origins: list[str] = []

    def answer_all(self) -> None:
        """Answer until an empty message comes."""
        while True:
            data, sender = self._channel.recvfrom(65_536)
            if not data:  # sent by `next_hop` to end this
                return
            text = data.decode()
            if text.startswith(("SIP/2.0 ", "ACK ")):
                continue
            headers = headers_of(text)
            found = re.search(r"<([^>]*)>", dict(headers)["from"])
            self.origins.append(found[1] if found else "")
            lines = ["SIP/2.0 200 OK"]
            for name, value in headers:
                if name in _COPIED:
                    lines.append(f"{name}: {value}{';tag=next' if name == 'to' and ';tag=' not in value else ''}")
            lines += [f"Contact: <sip:127.0.0.1:{self.port}>", "Content-Length: 0"]
            self._channel.sendto(_message(lines), sender)


@contextlib.contextmanager
def next_hop() -> Iterator[NextHop]:
    """A next hop that answers every call with 200."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
        hop = NextHop(channel)
        thread = threading.Thread(target=hop.answer_all, daemon=True)
        thread.start()
        try:
            yield hop
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", hop.port))
            thread.join(5)
