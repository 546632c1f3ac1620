"""Kamailio with a table of prefixes, and the route of the how-to page, refuses whoever is blocked, and nobody else."""

import csv
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.recipient import export_file
from integration.neighbours import free_port, installed_file, program, running
from integration.sip import caller

PAGE: Final = Path(__file__).parents[1] / "docs" / "how-to" / "export-for-phones-and-gateways.md"
FEED: Final = "id-telkomsel"

LIST: Final = """\
number,last
+62811811234,
+62812345678,
+6281234567890,
+62812345####,
+6281299######,
+628120000010,+628120000024
"""
"""Generated; they are nobody's. Numbers of two lengths share the prefix 62812345."""

ASKED: Final = [
    *(62811811234, 628118112340, 6281181123, 62812345678, 628123456789, 62812345000, 6281234500, 6281234567890),
    *(6281234567891, 6281299000000, 6281299999999, 6281298999999, 6281300000000, 62812990000001),
    *range(628120000008, 628120000027),
    *(62812000001, 6281200000100),
]

SETTINGS: Final = """\
loadmodule "db_text.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
"""

ASKING: Final = """
request_route {
    $var(caller) = $fU;
    if (route(BLOCKED)) { sl_send_reply("608", "Rejected"); } else { sl_send_reply("200", "OK"); }
    exit;
}
"""


@pytest.fixture(scope="module")
def blocklist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocklist]:
    folder = tmp_path_factory.mktemp("list")
    publisher = Publisher.init(folder / "p", feeds=[FEED], passphrase="generated for a test", region="ID")
    (folder / "list.csv").write_text(LIST)
    publisher.release(FEED, folder / "list.csv", max_cover=1_000_000)
    url = (folder / "p" / "repository").as_uri()
    with Blocklist.open(url, feed=FEED, root=publisher.root, region="ID", cache_dir=folder / "cache") as opened:
        opened.sync()
        opened.overrides.allow("+628120000013", reason="generated")
        yield opened


@pytest.fixture(scope="module")
def port(blocklist: Blocklist, module_folder: Path) -> Iterator[int]:
    server = program("kamailio", package="Debian's kamailio")
    installed_file("usr/lib/*/kamailio/modules/mtree.so", package="Debian's kamailio")
    export_file(blocklist, module_folder / "blocked.csv", output_format="prefixes")
    rows = list(csv.DictReader((module_folder / "blocked.csv").read_text().splitlines()))
    (module_folder / "version").write_text("table_name(string) table_version(int)\nmtree:1\n")
    table = "".join(f"{place}:{row['prefix']}:{row['digits']}\n" for place, row in enumerate(rows, start=1))
    (module_folder / "blocked").write_text(f"id(int,auto) tprefix(string) tvalue(string)\n{table}")
    found = re.search(r"^```text\n(loadmodule .*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found
    route = re.sub(r'"postgres://[^"]*"', f'"text://{module_folder}"', found[1])
    listen = free_port(socket.SOCK_DGRAM)
    control = f"listen=udp:127.0.0.1:{listen}\nchildren=1\nlog_stderror=yes\n"
    (module_folder / "kamailio.cfg").write_text(control + SETTINGS + route + ASKING)
    command: list[str | Path] = [
        server,
        "-f",
        module_folder / "kamailio.cfg",
        "-DD",
        "-E",
        "-Y",
        module_folder,
        "-m",
        "64",
    ]
    with running(command, folder=module_folder, name="kamailio", ready=lambda: answers(listen)):
        yield listen


def answers(port: int) -> bool:
    """Whether Kamailio answers; the request is sent again until it does."""
    return status(port, "anybody") == 200


def status(port: int, user: str) -> int:
    """How a message is answered: a call that is accepted would need another end that takes it."""
    with caller(port) as client:
        return client.call(f"sip:{user}@trunk.example", method="MESSAGE").status


def test_the_gateway_refuses_exactly_who_is_blocked(blocklist: Blocklist, port: int) -> None:
    found = {number: status(port, str(number)) for number in ASKED}
    assert found == {number: 608 if number in blocklist else 200 for number in ASKED}
    assert set(found.values()) == {200, 608}
