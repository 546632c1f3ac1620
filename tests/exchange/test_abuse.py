"""One party does its worst to a running exchange: it costs little, and an honest account is answered within a second.

Each case of the table is a function that abuses the server, with the memory that the server may take for it and the
time that it may last. Meanwhile an honest account sends a report ten times a second, and every one must be taken within
a second. To add a case, write a function and a line of `CASES`.
"""

import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.abused_server import HONEST_ADDRESS, Abuse, AbusedServer, abused_server, answer_on, status_in
from support.evidence_files import png_of
from support.talking import good

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")

HONEST_WAIT_S = 1.0
TRIES = 3
"""Other tests may keep the processors busy for a while; memory is not theirs."""

ANSWER_BYTES_MAX = 10_000
FILES = 1024
"""Files that the server may open, at most: systemd's soft limit, and what many systems start with."""


def refused(answer: bytes, status: int) -> None:
    """The answer is a problem with this status, and short."""
    assert status_in(answer) == status, answer[:300]
    assert len(answer) <= ANSWER_BYTES_MAX


def many_empty_objects(server: AbusedServer) -> None:
    body = b'{"reports":[' + b"{}," * 33_000 + b"{}]}"
    refused(server.send("web", "/v1/reports/bulk", body), 422)
    refused(server.send("telkomsel", "/v1/receipts", body.replace(b"reports", b"receipts") * 3), 400)
    refused(server.send("telkomsel", "/v1/receipts", b'{"receipts":[' + b"{}," * 6_000_000 + b"{}]}"), 400)


def many_unknown_keys(server: AbusedServer) -> None:
    keys = json.dumps({f"key{index}": index for index in range(90_000)}).encode()
    refused(server.send("web", "/v1/reports/bulk", keys), 422)
    refused(server.send("web", "/v1/reports", keys), 413)
    refused(server.send("web", "/v1/reports", json.dumps({"k" * 60_000: 1}).encode()), 422)


def long_bodies_that_stall(server: AbusedServer, who: str, path: str) -> list[int]:
    """Twenty bodies that stop before their end; the statuses of the answers, 0 where none has come."""
    with ExitStack() as stack:
        lines = [stack.enter_context(server.connect()) for _ in range(20)]
        for line in lines:
            line.settimeout(0.5)
            with suppress(OSError):
                line.sendall(server.head(who, path, 19_000_000) + b" " * 18_900_000)
        return [status_in(answer_on(line)) for line in lines]


def long_bodies_without_the_scope(server: AbusedServer) -> None:
    assert set(long_bodies_that_stall(server, "telkomsel", "/v1/reports/bulk")) <= {403, 0}


def long_bodies_of_one_account(server: AbusedServer) -> None:
    assert 429 in long_bodies_that_stall(server, "telkomsel", "/v1/receipts")


def a_bulk_that_is_wrong_at_its_end(server: AbusedServer) -> None:
    report = server.new_report() | {"text": "\N{PILE OF POO}" * 4_000}
    body = json.dumps({"reports": [*[report] * 999, {}]}, ensure_ascii=False).encode()
    assert len(body) > 16_000_000
    refused(server.send("web", "/v1/reports/bulk", body), 422)


def bodies_of_strange_shapes(server: AbusedServer) -> None:
    report = json.dumps(server.new_report())
    twice = report[:-1] + ', "category": "spam"}'
    for body in (
        twice.encode(),
        report.encode("utf-16"),
        report.encode("utf-32"),
        report.encode("utf-8-sig"),
        b"[" * 60_000,
        b'{"number":' + b"[" * 9 + b"]" * 9 + b"}",
        report.replace('"fraud"', "NaN").encode(),
        report.replace('"fraud"', "1e999").encode(),
        report.replace('"fraud"', "9" * 50_000).encode(),
    ):
        refused(server.send("web", "/v1/reports", body), 400)
    for body in (b'"' * 19_000_000, b"\\" * 19_000_000, b"[" * 19_000_000, b"[]" * 9_500_000, b'"\\"' * 6_000_000):
        refused(server.send("web", "/v1/reports/bulk", body), 400)
    for kind in ("text/plain", "application/json; charset=utf-16", "application/x-www-form-urlencoded"):
        refused(server.send("web", "/v1/reports", report.encode(), Content_Type=kind), 415)


def many_fields_of_a_form(server: AbusedServer) -> None:
    kind = "application/x-www-form-urlencoded"
    refused(server.send(None, "/oauth/token", b"&".join([b"a=1"] * 15_000), Content_Type=kind), 400)
    refused(server.send(None, "/oauth/token", b"grant_type=a&grant_type=b", Content_Type=kind), 400)
    refused(server.send(None, "/oauth/token", b"a" * 70_000, Content_Type=kind), 413)


def long_heads(server: AbusedServer) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    for head, status in (
        (start + b"X: " + b"a" * 40_000_000, 431),
        (start + b"".join(b"X-%d: 1\r\n" % index for index in range(200)), 431),
        (start + b"X" * 40_000_000, 431),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n", 414),
        (b"G" * 1_000_000, 400),
    ):
        with server.connect() as line:
            line.settimeout(5)
            with suppress(OSError):
                line.sendall(head)
            answer = answer_on(line)
            # The server hangs up on who goes on after its answer, and the answer may be lost.
            assert status_in(answer) in ((status, 0) if len(head) > 1_000_000 else (status,)), head[:50]


def long_trailers(server: AbusedServer) -> None:
    head = server.head("web", "/v1/reports", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for rest in (b"0\r\nX: " + b"a" * 20_000_000, b"1;" + b"a" * 20_000_000):
        with server.connect() as line:
            line.settimeout(5)
            with suppress(OSError):
                line.sendall(head + rest)
            assert status_in(answer_on(line)) != 201


def half_sent_heads(server: AbusedServer) -> None:
    """1,100 of them; an urgent decision is published meanwhile."""
    with ExitStack() as stack, server.client(HONEST_ADDRESS) as client:
        for _ in range(1_100):
            line = stack.enter_context(server.connect())
            with suppress(OSError):
                line.sendall(b"GET / HTTP/1.1\r\nX: ")
        report = good(client.post("/v1/reports", json=server.new_report(), headers=server.headers("bank")))
        file = png_of(200)
        path = f"/v1/reports/{report['id']}/evidence?name=a.png"
        good(client.post(path, content=file, headers=server.headers("bank")))
        seen = good(client.get(f"/v1/reports/{report['id']}", headers=server.headers("anna")))
        case = f"/v1/cases/{seen['case']}"
        version = good(client.get(case, headers=server.headers("anna")))["version"]
        decision = {"kind": "block", "reason": "proved", "urgent": True, "version": version}
        good(client.post(f"{case}/decisions", json=decision, headers=server.headers("anna")))
        while good(client.get(case, headers=server.headers("anna")))["state"] != "published":
            time.sleep(0.1)
        good(client.get("/readyz"))


def pipelined_requests(server: AbusedServer) -> None:
    with server.connect() as line:
        line.settimeout(5)
        with suppress(OSError):
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 300_000)
        with suppress(OSError):
            while line.recv(1 << 16):
                pass


def answers_that_nobody_reads(server: AbusedServer) -> None:
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(40):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            line.connect((server.host, server.port))
            line.sendall(ask * 4)
        time.sleep(0.5)


@dataclass(frozen=True)
class Case:
    """A case of abuse.

    Attributes:
        abuse: does it.
        memory_mb: by how much the server's memory may rise, MB of 1,000,000 bytes.
        seconds: how long it may last.
    """

    abuse: Abuse
    memory_mb: int
    seconds: float


CASES = (
    Case(many_empty_objects, memory_mb=120, seconds=5),
    Case(many_unknown_keys, memory_mb=60, seconds=3),
    Case(long_bodies_without_the_scope, memory_mb=40, seconds=14),
    Case(long_bodies_of_one_account, memory_mb=120, seconds=20),
    Case(a_bulk_that_is_wrong_at_its_end, memory_mb=220, seconds=5),
    Case(bodies_of_strange_shapes, memory_mb=180, seconds=8),
    Case(many_fields_of_a_form, memory_mb=20, seconds=2),
    Case(long_heads, memory_mb=20, seconds=5),
    Case(long_trailers, memory_mb=20, seconds=5),
    Case(half_sent_heads, memory_mb=60, seconds=8),
    Case(pipelined_requests, memory_mb=20, seconds=8),
    Case(answers_that_nobody_reads, memory_mb=60, seconds=5),
)


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AbusedServer]:
    folder = tmp_path_factory.mktemp("abused") / "exchange"
    shutil.copytree(template, folder)
    with abused_server(folder, files=FILES) as server:
        yield server
    errors = (folder.parent / "serve.err").read_text()
    assert "publishing failed" not in errors, errors


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.abuse.__name__)
def test_abuse_costs_little_and_holds_up_nobody(case: Case, server: AbusedServer) -> None:
    for _ in range(TRIES):
        endured = server.enduring(case.abuse)
        print(f"{case.abuse.__name__}: {endured}")
        assert endured.failures == []
        assert endured.memory_bytes <= case.memory_mb * 1_000_000
        if max(endured.waits_s) <= HONEST_WAIT_S and endured.seconds <= case.seconds:
            break
    assert max(endured.waits_s) <= HONEST_WAIT_S
    assert endured.seconds <= case.seconds
