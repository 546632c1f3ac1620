"""No whole telephone number and no secret of a query reaches the log of a program that logs everything.

Each case is a process of its own with `logging.basicConfig`, against real servers.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NUMBER = "6281277770001"
TOKEN = "T0PS3CRET"
PASSWORD = "PaSsW0rdXyz"

SERVER = """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        where = "/v1/numbers/%2B{number}?token={token}"
        self.send_response(302 if "moved" in self.path else 404)
        self.send_header("Location", where)
        self.send_header("X-Echo", self.path + where)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_GET = do_POST = answer
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
import contextlib
attempted = contextlib.suppress(Exception)
"""

CASES = {
    "recipient": """
from blocklist_sdk.fetch.transport import Transport, TransportSettings
with Transport(settings=TransportSettings(attempts=1)) as transport:
    for path in ("/metadata/1.root.json", "/moved"):
        for address in (url, url.replace("//", "//me:{password}@")):
            with attempted:
                transport.get(f"{address}{path}?token={token}", max_bytes=9)
""",
    "exchange client": """
import asyncio
from blocklist_sdk import AsyncExchangeClient, ExchangeClient
from blocklist_sdk.exchange.wire import ClientSettings
once = ClientSettings(attempts=1)
for base in (url, url + "/moved"):
    with ExchangeClient(base, settings=once) as exchange:
        with attempted: exchange.get_number_status("+{number}")
        with attempted: list(exchange.cases(number="+{number}"))
        with attempted: list(exchange.reports(number="+{number}"))
    async def ask():
        async with AsyncExchangeClient(base, settings=once) as exchange:
            with attempted: await exchange.get_number_status("+{number}")
    asyncio.run(ask())
""",
    "webhook": """
from blocklist_sdk.enforcement import open_sink
from support.sink_batches import items_of, batch_of
import numpy as np
sink = open_sink(f"{url}/p?api_key={token}&number=%2B{number}", feed="id-all", secret="whsec_" + "QUFB" * 8)
with attempted: sink.apply(batch_of(1, "block", items_of([{number}])))
sink.close()
""",
    "token": """
from blocklist_sdk import ClientCredentials, ExchangeClient
from blocklist_sdk.exchange.wire import ClientSettings
auth = ClientCredentials("me", "{password}", token_url=f"{url}/oauth/token?key={token}")
with ExchangeClient(url, auth=auth, settings=ClientSettings(attempts=1)) as exchange:
    with attempted: exchange.get_number_status("+{number}")
""",
    "proxy": """
import os
os.environ["HTTP_PROXY"] = url.replace("//", "//me:{password}@")
from blocklist_sdk.fetch.transport import Transport, TransportSettings
with Transport(settings=TransportSettings(attempts=1)) as transport:
    with attempted: transport.get("http://lists.example/a?token={token}&number=%2B{number}", max_bytes=9)
""",
    "exchange server": """
from blocklist_sdk.sandbox import sandbox
from datetime import UTC, datetime
import support.quick_secrets
with sandbox(cases=1) as box, box.client("hotline") as hotline, box.client("officer") as officer:
    report = hotline.submit_report("+{number}", category="fraud", channel="sms", text="You have won {number}",
        reporter="r", happened_at=datetime(2026, 11, 24, 8, tzinfo=UTC))
    hotline.get_number_status("+{number}")
    list(hotline.reports())
    (case,) = officer.cases(number="+{number}")
    officer.get_case(case.id)
    with attempted: hotline.send(__import__("blocklist_sdk.exchange.calls").exchange.calls._get("/x/{number}", None))
""",
}


HEAD = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
"""

LEVEL = "at level"
"""What a process says before it does everything at the next level."""


def logged(code: str, *, server: str = SERVER) -> tuple[str, str]:
    """What a process logs at INFO, and what at DEBUG."""
    values = {"number": NUMBER, "token": TOKEN, "password": PASSWORD}
    text = textwrap.dedent(code)
    for name, value in values.items():
        text, server = (part.replace("{" + name + "}", value) for part in (text, server))
    program = f"""{HEAD}{server}
for level in ("INFO", "DEBUG"):
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (sys.stdout, sys.stderr):
        print({LEVEL!r}, file=stream, flush=True)
    logging.getLogger().setLevel(level)
    exec({text!r}, dict(globals()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    outs, errs = (stream.split(f"{LEVEL}\n")[1:] for stream in (done.stdout, done.stderr))
    info, debug = (out + err for out, err in zip(outs, errs, strict=True))
    return info, debug


@pytest.mark.parametrize("case", CASES)
def test_no_number_and_no_secret_is_logged(case: str) -> None:
    for log in logged(CASES[case]):
        assert "HTTP" in log or "request " in log, "the log shows that there was a request"
        for secret in (NUMBER, NUMBER[2:], TOKEN, PASSWORD):
            assert secret not in log, [line for line in log.splitlines() if secret in line]


@pytest.mark.parametrize("kind", ["redis", "postgresql", "kafka"])
def test_the_drivers_of_sinks_log_none_either(kind: str, request: pytest.FixtureRequest) -> None:
    fixture = {"redis": "redis_url", "postgresql": "postgres_url", "kafka": "kafka_url"}[kind]
    url: str = request.getfixturevalue(fixture)
    code = f'''
from blocklist_sdk.enforcement import open_sink
from support.sink_batches import items_of, batch_of
import contextlib
for password in (None, "{PASSWORD}"):
    sink = open_sink({url!r}, feed="id-all", password=password)
    with contextlib.suppress(Exception): sink.apply(batch_of(1, "block", items_of([{NUMBER}])))
    with contextlib.suppress(Exception): list(sink.current())
    sink.close()
print("was asked")
'''
    for log in logged(code, server=""):
        assert "was asked" in log
        for secret in (NUMBER, PASSWORD):
            assert secret not in log


def test_requests_of_the_program_itself_are_logged_as_ever() -> None:
    code = """
from blocklist_sdk.net.http import httpx
from blocklist_sdk.fetch.transport import Transport
with attempted: Transport().get(url + "/a", max_bytes=9)
httpx.get(url + "/own?page=2", trust_env=False)
"""
    assert "/own?page=2" in logged(code)[0]
